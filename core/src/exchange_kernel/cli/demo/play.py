"""The demo itself: two processes, a plan, a murder, and a verdict."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from exchange_kernel.cli.declare import Counter as VenueCounter
from exchange_kernel.cli.declare import counter, modify, place
from exchange_kernel.cli.demo import orders
from exchange_kernel.cli.demo.judge import RESTING, Finding, VenueSide, compare
from exchange_kernel.cli.demo.orders import FAULTS, ONCE, WORDS, Wanted
from exchange_kernel.cli.demo.show import Rows, Screen
from exchange_kernel.cli.demo.wire import ACCOUNT as AT_VENUE
from exchange_kernel.cli.demo.wire import SECRET, Process, Venue
from exchange_kernel.cli.desk import Desk, desk
from exchange_kernel.cli.exits import Failed
from exchange_kernel.clock import SystemClock
from exchange_kernel.config import AccountConfig, load
from exchange_kernel.models import IntentStatus
from exchange_kernel.state.ops import CancelIntents

ACCOUNT = "paper_main"
IN_FLIGHT = (IntentStatus.SUBMITTING, IntentStatus.UNKNOWN)
TICK_S = 0.1
START_S = 20.0
FLIGHT_S = 5.0
SETTLE_S = 40.0


class Demo:
    """One run in ``folder``. ``seed``: of the venue's faults."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder, self._seed = folder, seed
        self._clock = SystemClock()
        self._screen = Screen(self._clock)
        self._config = folder / "exk.yaml"
        self._wanted: list[Wanted] = []
        self._kernel: Process | None = None
        os.environ["EXK_ACTOR"] = "demo"

    async def play(self) -> bool:
        """Run it; True when the two sides agree in everything."""
        self._screen.say("starting a paper exchange, as a process of its own")
        venue = await Venue.start(self._folder, self._seed)
        try:
            with self._screen:
                self._configure(venue.port)
                await self._start_kernel()
                config = load(self._config)
                async with desk(self._config) as at, counter(config, config.account(ACCOUNT), self._clock) as shop:
                    return await self._with(venue, at, shop)
        finally:
            if self._kernel is not None:
                await self._kernel.kill()
            await venue.close()

    def _configure(self, port: int) -> None:
        (self._folder / "paper.secret").write_text(SECRET)
        (self._folder / "paper.secret").chmod(0o600)
        self._config.write_text(
            "accounts:\n"
            f"  {ACCOUNT}:\n"
            "    venue: paper\n"
            "    mode: paper\n"
            f"    config: {{connect: '127.0.0.1:{port}', account: {AT_VENUE}}}\n"
            "    secrets: {secret: 'file:paper.secret'}\n"
            "    limits: {max_order_notional: 5000000, max_open_notional: 10000000, order_count: 50}\n"
        )

    async def _start_kernel(self) -> None:
        """Start the kernel's process and wait until it owns the account. Raises Failed."""
        log = self._folder / "kernel.log"
        before = log.read_text().count("is running") if log.exists() else 0
        arguments = ["-m", "exchange_kernel.cli.main", "run", "--config", str(self._config)]
        self._kernel = await Process.start(arguments, log, {**os.environ, "PYTHONUNBUFFERED": "1"})
        self._screen.say(f"starting the kernel, process {self._kernel.pid}, on SQLite")
        give_up = self._clock.monotonic() + START_S
        while log.read_text().count("is running") == before:
            if self._kernel.dead or self._clock.monotonic() > give_up:
                last = log.read_text().strip().splitlines()[-1:] or ["it said nothing"]
                raise Failed(f"the kernel did not start: {last[0]}")
            await self._clock.sleep(0.02)

    # ---- the plan -----------------------------------------------------------------------------------------------

    async def _with(self, venue: Venue, at: Desk, shop: VenueCounter) -> bool:
        screen, account = self._screen, at.config.account(ACCOUNT)
        foreign = await self._foreign_order(venue)
        for kind, probability, op, ms in FAULTS:
            await venue.control("fault", kind, probability, op, ms=ms)
        for kind, op, ms in ONCE:
            await venue.control("fault_once", kind, op, ms=ms)
        screen.say("faults on: messages get lost, late, doubled, swapped and refused", "bold")

        first = orders.first_wave()
        screen.say(f"declaring {len(first)} orders")
        for each in first:
            await self._declare(at, shop, account, [each])
            await self._watch(at, 0.15)
        await self._watch(at, 3.0)

        second = orders.second_wave(self._clock.now_ms())
        screen.say(f"declaring {len(second)} more, and killing the kernel while they are under way")
        for each in second:
            await self._declare(at, shop, account, [each])
        await self._await_flight(at, {each.intent_id for each in second})
        assert self._kernel is not None
        await self._kernel.kill()
        flying = await self._flying(at)
        screen.say(f"kill -9 {self._kernel.pid}: {len(flying)} orders in flight: {', '.join(flying)}", "bold red")

        screen.say("nobody runs; a change, a cancellation and a batch of 3 are declared all the same")
        name, changes = orders.CHANGE
        record = await at.store.record(ACCOUNT, name)
        assert record is not None
        await modify(at, shop, ACCOUNT, name, record.intent.order.but(**changes))
        await at.store.execute(CancelIntents(ACCOUNT, (orders.CANCEL,), "demo", "changed my mind"))
        await self._declare(at, shop, account, orders.batch())
        await self._watch(at, 1.0)

        await self._start_kernel()
        screen.say("the new kernel finds out what became of them", "bold")
        settled = await self._settle(at)
        await venue.control("clear_faults")
        settled = settled and await self._settle(at)
        screen.say("settled: stopping the kernel" if settled else "NOT settled in time: stopping the kernel")
        await self._kernel.end()
        rows = await self._rows(at)
        self._screen.__exit__(None, None, None)
        screen.plain("")
        screen.last(self._wanted, rows)
        counts = await venue.control("counts")
        findings = await self._judge(venue, at, foreign)
        return self._sum_up(findings, counts, flying, settled)

    async def _declare(self, at: Desk, shop: VenueCounter, account: AccountConfig, wanted: Sequence[Wanted]) -> None:
        self._wanted += wanted
        await place(at, shop, account, [each.order for each in wanted], [each.intent_id for each in wanted], {})

    async def _foreign_order(self, venue: Venue) -> int:
        """A second program with the same credentials places an order: the kernel has to leave it alone."""
        terms = {"symbol": "BTC/USD", "side": "BUY", "amount": "0.1", "limit": "45000", "tif": "GTC"}
        reply = await venue.request("order", ts=await venue.control("now"), window=2000, client="manual-1", **terms)
        if "orders" not in reply:
            raise Failed(f"the paper venue refused the foreign order: {reply}")
        self._screen.say("somebody else places an order on the same account, by hand")
        return int(reply["orders"][0]["id"])

    # ---- watching -----------------------------------------------------------------------------------------------

    async def _rows(self, at: Desk) -> Rows:
        return {intent.intent_id: (intent, progress) for intent, progress in await at.store.intents(ACCOUNT)}

    async def _watch(self, at: Desk, seconds: float) -> None:
        """Show the intents for a while."""
        until = self._clock.monotonic() + seconds
        while True:
            self._screen.intents(self._wanted, await self._rows(at))
            left = until - self._clock.monotonic()
            if left <= 0:
                return
            await self._clock.sleep(min(left, TICK_S))

    async def _flying(self, at: Desk) -> list[str]:
        return [name for name, (_, progress) in (await self._rows(at)).items() if progress.status in IN_FLIGHT]

    async def _await_flight(self, at: Desk, names: set[str]) -> None:
        """Wait until some of these orders are on their way: sent, and not known to have arrived. Raises Failed."""
        give_up = self._clock.monotonic() + FLIGHT_S
        while len(names.intersection(await self._flying(at))) < 2:
            if self._clock.monotonic() > give_up:
                if await self._flying(at):
                    return
                raise Failed("no order was ever in flight: nothing to be learnt from killing the kernel now")
            await self._clock.sleep(0.005)

    async def _settle(self, at: Desk) -> bool:
        """Wait until nothing moves any more: each intent is finished, or rests as wanted."""
        give_up = self._clock.monotonic() + SETTLE_S
        while self._clock.monotonic() < give_up:
            rows = await self._rows(at)
            self._screen.intents(self._wanted, rows)
            if all(
                progress.status.terminal
                or (
                    progress.status in RESTING
                    and intent.desired.value == "ACTIVE"
                    and progress.observed_generation == intent.generation
                    and self._may_rest(intent.intent_id)
                )
                for intent, progress in rows.values()
            ):
                return True
            await self._clock.sleep(TICK_S)
        return False

    def _may_rest(self, intent_id: str) -> bool:
        return any(each.intent_id == intent_id and each.ends.intersection(RESTING) for each in self._wanted)

    # ---- the verdict --------------------------------------------------------------------------------------------

    async def _judge(self, venue: Venue, at: Desk, foreign: int) -> list[Finding]:
        from exchange_kernel.state.sql.verify import verify

        ledger: dict[str, list[dict[str, object]]] = {}
        there: set[int] = set()
        for order in (await venue.control("dump"))["orders"]:
            if order["account"] == AT_VENUE and order["id"] != foreign:
                ledger.setdefault(order["client"] or "", []).append(order)
        resting = {}
        for view in await venue.open_orders():
            there.add(view["id"])
            resting[view.get("client") or ""] = view
        side = VenueSide(ledger, resting, {foreign: foreign in there})
        findings = await compare(self._wanted, side, at.store, ACCOUNT)
        checked = await verify(at.store, ACCOUNT)
        what = "the event log is unbroken and adds up to the stored rows (exk verify)"
        return [*findings, Finding(what, checked.events, checked.differences)]

    def _sum_up(self, findings: list[Finding], counts: dict[str, int], flying: list[str], settled: bool) -> bool:
        screen = self._screen
        fired = Counter(counts)
        screen.plain("")
        screen.plain(f"Faults that really happened: {sum(fired.values())}", "bold")
        for kind, count in fired.most_common():
            screen.plain(f"  {count:3}  {WORDS.get(kind, kind)}")
        screen.plain(f"    1  kill -9 of the kernel, with {len(flying)} orders in flight")
        screen.plain("")
        screen.plain("The kernel's store against the exchange's own ledger", "bold")
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
