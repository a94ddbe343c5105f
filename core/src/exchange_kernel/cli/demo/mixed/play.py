"""The demo on mixed accounts: three venues, orders from files, faults, a murder, and a verdict from the venues."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from exchange_kernel.cli.demo.judge import RESTING, Finding
from exchange_kernel.cli.demo.mixed.facts import Chain, binance_orders
from exchange_kernel.cli.demo.mixed.judge import Judge
from exchange_kernel.cli.demo.mixed.stage import ACCOUNTS, ORDERS, SOMEBODY, TRADER, Child, Kernel, configure, exk
from exchange_kernel.cli.demo.mixed.wire import get, post
from exchange_kernel.cli.demo.orders import Wanted
from exchange_kernel.cli.demo.show import Rows, Screen
from exchange_kernel.cli.desk import Desk, desk
from exchange_kernel.cli.exits import Failed
from exchange_kernel.clock import SystemClock
from exchange_kernel.manifests import Declared, find_files, read_manifests
from exchange_kernel.models import IntentStatus as S
from exchange_kernel.state.rows import is_step

IN_FLIGHT: Final = (S.SUBMITTING, S.UNKNOWN)
TICK_S: Final = 0.1
FLIGHT_S: Final = 6.0
SETTLE_S: Final = 45.0
BY_HAND: Final = "by-hand"
CANCEL: Final = "spot-cancelled"

_OVER: Final = frozenset((S.FILLED, S.EXPIRED, S.CANCELED))
ENDS: Final[Mapping[str, frozenset[S]]] = {
    "spot-market": _OVER,
    "spot-resting": frozenset((S.WORKING,)),
    "spot-changed": frozenset((S.WORKING,)),
    "spot-cancelled": frozenset((S.CANCELED,)),
    "perp-open": frozenset((S.FILLED,)),
    "perp-stop": frozenset((S.WORKING,)),
    "perp-changed": frozenset((S.WORKING,)),
    "swap-market": _OVER,
    "swap-resting": frozenset((S.PENDING,)),  # it waits in the kernel: nothing of it is on the chain
    "spot-crossing": frozenset((S.FILLED,)),
    "spot-at-once": _OVER,
    "perp-more": frozenset((S.FILLED,)),
    "swap-sell": _OVER,
    "swap-spend": _OVER,
}
# What goes wrong at Binance: market, kind, which requests or events, how often, after how many, ms.
REQUESTS: Final = (
    ("spot", "drop_after", "order.place", 1, 1, 0),
    ("spot", "drop_before", "order.place", 1, 2, 0),
    ("futures", "drop_after", "order.place", 1, 0, 0),
    ("futures", "late", "algoOrder.place", 1, 0, 400),
    ("spot", "error_before", "order.status", 1, 0, 0),
)
EVENTS: Final = (
    ("spot", "lose", "executionReport", 1, 1),
    ("spot", "duplicate", "executionReport", 2, 2),
    ("futures", "reorder", "ORDER_TRADE_UPDATE", 1, 1),
)
# When the kernel is killed: these answers are on their way.
SLOW: Final = (
    ("spot", "delay_reply", "order.place", 2, 0, 1200),
    ("futures", "delay_reply", "order.place", 1, 0, 1200),
)
WORDS: Final = {
    "drop_after": "Binance executed it, and the connection ended",
    "drop_before": "the connection ended before Binance had it",
    "late": "Binance said it does not know, and did it later",
    "delay_reply": "Binance answered late",
    "error_before": "a look-up was answered with a server error",
    "lose": "an event was lost",
    "duplicate": "an event came twice",
    "reorder": "two events were swapped",
    "answer_lost": "a node took a transaction, and its answer was lost",
    "request_lost": "a transaction never reached the node",
    "read_failed": "a node answered a question with an error",
}


class MixedDemo:
    """One run in ``folder``. ``seed``: of the simulated Binance."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder, self._seed = folder, seed
        self._clock = SystemClock()
        self._screen = Screen(self._clock)
        self._wanted: dict[str, Wanted] = {}
        self._accounts: dict[str, str] = {}
        os.environ["EXK_ACTOR"] = "demo"

    async def play(self) -> bool:
        """Run it; True when the venues and the store agree in everything."""
        say = self._screen.say
        say("starting a simulated Binance, and a chain with all of Uniswap on it")
        simulator = ["binance", "sim", "--market-maker", "--seed", str(self._seed)]
        chain = ["uniswap", "chain", "--lose-answers", "1", "--lose-requests", "1", "--fail-reads", "5"]
        children = [
            await Child.start(self._folder, "binance", simulator, say),
            await Child.start(self._folder, "chain", chain, say),
        ]
        kernel: Kernel | None = None
        try:
            binance, node = await asyncio.gather(*(child.ready(self._clock) for child in children))
            config = configure(self._folder, binance, node)
            on_chain = Chain(node["node_url"], node["address"], {n: node["tokens"][n] for n in ("WETH", "USDC")})
            await on_chain.begin()
            await self._others(binance["admin_url"])
            kernel = Kernel(self._folder, config, self._clock)
            await self._start(kernel)
            with self._screen:
                async with desk(config) as at:
                    flying, settled = await self._with(at, config, kernel, binance["admin_url"])
                    rows = await self._rows(at)
                    self._screen.__exit__(None, None, None)
                    self._screen.plain("")
                    self._screen.last(list(self._wanted.values()), rows)
                    findings = await self._judge(at, binance["admin_url"], on_chain)
            fired = await self._fired(binance["admin_url"], await children[1].end())
            return self._sum_up(findings, fired, flying, settled)
        finally:
            if kernel is not None:
                await kernel.kill()
            for child in children:
                await child.end()

    async def _start(self, kernel: Kernel) -> None:
        await kernel.start()
        self._screen.say(f"the kernel runs {len(ACCOUNTS)} accounts, as process {kernel.pid}, on SQLite")

    async def _others(self, admin: str) -> None:
        """Somebody makes the market of the futures, and an order by hand stands on the account already."""
        for symbol, price in (("BTCUSDT", 50_000), ("ETHUSDT", 3_000)):
            for side, far in (("SELL", 1), ("BUY", -1)):
                order = {"symbol": symbol, "side": side, "type": "LIMIT", "timeInForce": "GTC", "quantity": "3"}
                at = price + far * price // 1000
                await post(f"{admin}/order", market="futures", account=SOMEBODY, price=str(at), **order)
        by_hand = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01"}
        await post(f"{admin}/order", account=TRADER, price="40000", newClientOrderId=BY_HAND, **by_hand)

    async def _faults(self, admin: str, rules: tuple[tuple[str, str, str, int, int, int], ...]) -> None:
        for market, kind, where, times, skip, ms in rules:
            fault = {"market": market, "kind": kind, "where": where, "times": times, "skip": skip, "ms": ms}
            await post(f"{admin}/faults", account=TRADER, **fault)

    # ---- the plan -----------------------------------------------------------------------------------------------

    async def _with(self, at: Desk, config: Path, kernel: Kernel, admin: str) -> tuple[list[str], bool]:
        say = self._screen.say
        await self._faults(admin, REQUESTS)
        for market, kind, where, times, skip in EVENTS:
            await post(f"{admin}/streams/faults", market=market, kind=kind, where=where, times=times, skip=skip)
        say("faults on: requests, answers and events get lost, late, doubled and swapped, at both venues", "bold")
        await self._apply(config, "first")
        await self._watch(at, 4.0)
        await self._faults(admin, SLOW)
        await self._apply(config, "second")
        await self._await_flight(at)
        await kernel.kill()
        flying = await self._flying(at)
        say(f"kill -9 {kernel.pid}: {len(flying)} orders in flight: {', '.join(flying)}", "bold red")
        say("nobody runs; changes and a cancellation are applied all the same")
        await self._apply(config, "changed")
        say(f"exk cancel {CANCEL}")
        await exk(config, "cancel", CANCEL)
        await self._start(kernel)
        say("the new kernel finds out what became of them", "bold")
        settled = await self._settle(at)
        await self._apply(config, "first/uniswap.yaml")
        say("settled: stopping the kernel" if settled else "NOT settled in time: stopping the kernel")
        await kernel.end()
        return flying, settled

    async def _apply(self, config: Path, part: str) -> None:
        for each in read_manifests(find_files([str(ORDERS / part)])):
            self._accounts[each.name] = each.account
            self._wanted[each.name] = Wanted(each.name, _words(each), each.order, ENDS[each.name])
        done = await exk(config, "apply", "-f", str(ORDERS / part), "-o", "jsonl")
        actions = Counter(line.partition('"action": "')[2].partition('"')[0] for line in done.splitlines())
        said = ", ".join(f"{number} {action}" for action, number in actions.items())
        self._screen.say(f"exk apply -f {part}: {said}")

    # ---- watching -----------------------------------------------------------------------------------------------

    async def _rows(self, at: Desk) -> Rows:
        found = [pair for account in ACCOUNTS for pair in await at.store.intents(account)]
        return {intent.intent_id: (intent, progress) for intent, progress in found if not is_step(intent.intent_id)}

    async def _show(self, at: Desk) -> Rows:
        rows = await self._rows(at)
        self._screen.intents(list(self._wanted.values()), rows)
        return rows

    async def _watch(self, at: Desk, seconds: float) -> None:
        until = self._clock.monotonic() + seconds
        while self._clock.monotonic() < until:
            await self._show(at)
            await self._clock.sleep(TICK_S)

    async def _flying(self, at: Desk) -> list[str]:
        return [name for name, (_, progress) in (await self._rows(at)).items() if progress.status in IN_FLIGHT]

    async def _await_flight(self, at: Desk) -> None:
        """Wait until orders are on their way: sent, and not known to have arrived. Raises Failed."""
        give_up = self._clock.monotonic() + FLIGHT_S
        while len(await self._flying(at)) < 3:
            if self._clock.monotonic() > give_up:
                if await self._flying(at):
                    return
                raise Failed("no order was ever in flight: nothing to be learnt from killing the kernel now")
            await self._clock.sleep(0.01)

    async def _settle(self, at: Desk) -> bool:
        """Wait until nothing moves any more: each intent is finished, or rests as wanted."""
        give_up = self._clock.monotonic() + SETTLE_S
        while self._clock.monotonic() < give_up:
            rows = await self._show(at)
            if all(
                progress.status.terminal
                or (
                    progress.status in (*RESTING, S.PENDING)
                    and intent.desired.value == "ACTIVE"
                    and (progress.status is S.PENDING or progress.observed_generation == intent.generation)
                    and progress.status in self._wanted[name].ends
                )
                for name, (intent, progress) in rows.items()
            ):
                return True
            await self._clock.sleep(TICK_S)
        return False

    # ---- the verdict --------------------------------------------------------------------------------------------

    async def _judge(self, at: Desk, admin: str, chain: Chain) -> list[Finding]:
        judge = Judge(at.store, self._wanted, self._accounts, (BY_HAND,))
        return await judge.compare(await binance_orders(admin), chain)

    async def _fired(self, admin: str, chain: Mapping[str, Any]) -> Counter[str]:
        fired: Counter[str] = Counter(chain)
        for market in (await get(f"{admin}/faults")).values():
            for rule in (*market["requests"], *market["streams"]):
                fired[rule["kind"]] += rule["struck"]
        return fired

    def _sum_up(self, findings: list[Finding], fired: Counter[str], flying: list[str], settled: bool) -> bool:
        screen = self._screen
        screen.plain("")
        screen.plain(f"Faults that really happened: {sum(fired.values()) + 1}", "bold")
        for kind, count in fired.most_common():
            if count:
                screen.plain(f"  {count:3}  {WORDS.get(kind, kind)}")
        screen.plain(f"    1  kill -9 of the kernel, with {len(flying)} orders in flight")
        screen.plain("")
        screen.plain("The kernel's store against Binance's own ledger and the chain's own blocks", "bold")
        for each in findings:
            mark, style = ("DIFFERS", "bold red") if each.against else ("ok", "green")
            screen.plain(f"  {mark:7}  {each.what} ({each.cases} checked)", style)
            for case in each.against:
                screen.plain(f"           {case}", "red")
        agrees = settled and not any(each.against for each in findings)
        screen.plain("")
        if agrees:
            screen.plain(f"Everything agrees, after {screen.elapsed:.0f} seconds.", "bold green")
        else:
            screen.plain("NOT everything agrees." if settled else "It did not settle in time.", "bold red")
        return agrees


def _words(each: Declared) -> str:
    order = each.order
    unit = order.symbol_id.split("/")[1 if order.amount_type.value == "QUOTE" else 0].split(":")[0]
    trigger = order.conditional_trigger
    if trigger is not None:
        price = f"if it falls to {trigger.trigger_price}"
    else:
        price = "at market" if order.limit_price is None else f"at {order.limit_price}"
    venue = {"binance_spot": "spot", "binance_futures": "perp", "uniswap": "Uniswap"}[each.account]
    return f"{venue}: {order.side.value.lower()} {order.amount} {unit} {price}"
