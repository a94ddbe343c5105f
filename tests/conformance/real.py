"""The paper venue as authors meet theirs: a process of its own, real time, and the fault proxy in between."""

from __future__ import annotations

import asyncio
import ctypes
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Self

from exchange_kernel.clock import Clock, SystemClock
from exchange_kernel.schema import Side, TimeInForce
from exchange_kernel.testing.conformance import Fault, Harness, TruthOrder
from exchange_kernel.testing.faults import Direction, Ending, FaultProxy
from exchange_kernel.venue import Context, Spec, VenueAdapter, VenueId
from exchange_kernel_paper.adapter import PaperAdapter
from exchange_kernel_paper.exchange import decode, encode
from exchange_kernel_paper.tcp import Control

SECRET = "canary-8f3b1c"
HOST = "127.0.0.1"
BALANCES = {"USD": "10000000", "BTC": "1000"}
CHANGES = ("order", "amend", "cancel", "cancel_all", "burn")
READS = ("find", "open", "account", "history", "markets", "time", "hello")
SHORT: Mapping[str, Any] = {
    "window_ms": 500,
    "future_ms": 400,
    "heartbeat_ms": 60,
    "balance_event_ms": 20,
    "read_lag_ms": 60,
    "page_size": 3,
    "queue_size": 50,
    "block_ms": 60,
}
"""What a venue makes a case wait for, as short as a machine with other work on it allows."""


class PaperProcess:
    """A paper exchange in a process that ends with this one. ``leapt``: ms its clock is ahead of the machine's."""

    def __init__(self, **settings: Any) -> None:
        self.settings = {**SHORT, **settings}
        self.ledger = self.settings.get("fence") in ("sequence", "height")
        if not self.ledger:
            self.settings.setdefault("retention_ms", 100_000)
        self.leapt = 0
        self.accounts = 0

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "exchange_kernel_paper.server", "--name", "kit", "--config", "-"]
        end_with_us = _end_with_parent if sys.platform == "linux" else None
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=end_with_us
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"settings": self.settings, "house": False}))
        self._process.stdin.close()
        self.port: int = json.loads(self._process.stdout.readline())["port"]
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def live(self) -> list[dict[str, Any]]:
        """Every order that rests at it now, whose ever it is, but the house's own."""
        orders = asyncio.run(self._ask("dump"))["orders"]
        return [each for each in orders if each["status"] == "WORKING" and "-" in each["account"]]

    def cancel_all(self) -> None:
        """Somebody buys what is left."""
        for each in self.live():
            asyncio.run(self._ask("trade_through", each["symbol"], "SELL" if each["side"] == "BUY" else "BUY", "1"))

    async def _ask(self, name: str, *args: object) -> Any:
        control = Control(HOST, self.port)
        try:
            return await control.do(name, *args)
        finally:
            await control.close()


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, 9)


ALL = 1_000_000
"""More requests than a case makes."""


class LocalClock(SystemClock):
    """The machine's clock, wrong by ``skew_ms``."""

    skew_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.skew_ms


class RealHarness(Harness):
    """One case on a running exchange: accounts of its own, and a fault proxy of its own."""

    venue, kind, symbol = "paper", "sim", "BTC/USD"
    secrets: Mapping[str, str] = {"secret": SECRET}
    faults = frozenset(Fault) - {Fault.NODE_REFUSES}
    quiet_s = 0.16
    limit_s = 60.0

    def __init__(self, process: PaperProcess) -> None:
        self._process, self._clock = process, LocalClock()
        if process.ledger:
            self.faults = frozenset(Fault)
        process.accounts += 1
        self._number = process.accounts
        self._skew = 0
        self._bid = 49_900
        self._outages: list[asyncio.Task[None]] = []
        self._set_clock()

    @property
    def clock(self) -> Clock:
        return self._clock

    async def start(self) -> None:
        self._control = Control(HOST, self._process.port)
        self._proxy = FaultProxy(f"tcp://{HOST}:{self._process.port}", rpc_member="op", secrets=[SECRET])
        await self._proxy.start()
        for account in ("main", "second"):
            await self._control.do("open_account", self._named(account), SECRET, BALANCES)
        await self._quote("100")
        self._before: dict[str, int] = await self._control.do("traffic")

    async def stop(self) -> None:
        try:
            for outage in self._outages:
                outage.cancel()
            await self._control.do("clear_faults")
        finally:
            await self._control.close()
            await self._proxy.aclose()

    def adapter(self) -> VenueAdapter:
        return PaperAdapter()

    def context(self, account: str = "main", secrets: Mapping[str, str] | None = None) -> Context:
        config = {"connect": f"{HOST}:{self._proxy.port}", "account": self._named(account), "timeout_ms": 3_000}
        given = self.secrets if secrets is None else secrets
        return Context(account, config, clock=self._clock.now_ms, sleep=self._clock.sleep, secrets=given)

    def wrong_secrets(self) -> Mapping[str, str]:
        return {"secret": "not-the-one"}

    def resting(self, steps: int = 1) -> Spec:
        return Spec(self.symbol, Side.BUY, Decimal("0.01") * steps, limit=Decimal(40_000))

    def crossing(self, steps: int = 1) -> Spec:
        return Spec(self.symbol, Side.BUY, Decimal("0.01") * steps, limit=Decimal(50_100), tif=TimeInForce.GTC)

    def elsewhere(self) -> Spec:
        return Spec("ETH/USD", Side.BUY, Decimal("0.1"), limit=Decimal(2_000))

    async def truth(self, account: str = "main") -> Sequence[TruthOrder]:
        return tuple(_truth(each) for each in await self._control.do("orders_of", self._named(account)))

    async def changes(self) -> int:
        return int((await self._control.do("traffic"))["changes"]) - self._before["changes"]

    async def requests(self) -> int:
        return int((await self._control.do("traffic"))["requests"]) - self._before["requests"]

    # what goes wrong --------------------------------------------------------------------------------------------

    async def inject(self, fault: Fault, *, times: int = 1, ms: int = 0, after: int = 0) -> None:
        often: dict[str, Any] = {"times": times, "skip": after}
        up: dict[str, Any] = {**often, "direction": Direction.TO_UPSTREAM}
        down: dict[str, Any] = {**often, "direction": Direction.TO_CLIENT}
        proxy = self._proxy
        match fault:
            case Fault.REQUEST_LOST:
                proxy.cut(rpc=CHANGES, **up)
            case Fault.ANSWER_LOST:
                proxy.cut(rpc=CHANGES, **down)
            case Fault.LATE:
                proxy.strand_frame(ms / 1000, rpc=CHANGES, times=times, skip=after)
            case Fault.ERROR_AFTER:
                proxy.replace_frame(self._says("UNAVAILABLE"), rpc=CHANGES, **down)
            case Fault.UNAVAILABLE:
                proxy.answer_frame(self._says("UNAVAILABLE"), rpc=CHANGES, **up)
            case Fault.RATE_LIMIT:
                proxy.answer_frame(self._says("RATE_LIMIT", ms), rpc=CHANGES, **up)
            case Fault.BANNED:
                proxy.answer_frame(self._says("BANNED", ms), rpc=(*CHANGES, *READS), **up)
            case Fault.NODE_REFUSES:
                proxy.replace_frame(self._says("INSUFFICIENT_FUNDS"), rpc=CHANGES, **down)
            case Fault.GARBLED:
                proxy.replace_frame(_halved, rpc=CHANGES, **down)
            case Fault.SLOW:
                proxy.late_frame(ms / 1000, rpc=(*CHANGES, *READS), **up)
            case Fault.READ_FAILS:
                proxy.answer_frame(self._says("UNAVAILABLE"), rpc=READS, **up)
            case Fault.READ_GARBLED:
                proxy.replace_frame(_halved, rpc=READS, **down)
            case Fault.READ_LIMITED:
                proxy.answer_frame(self._says("RATE_LIMIT", ms), rpc=READS, **up)
            case Fault.READ_LAGS:  # no wire does this: the exchange's own
                await self._control.do("fault_once", "query_lag", "|".join(READS), times=times, ms=ms, after=after)
            case Fault.STREAM_CUT:
                proxy.cut(data=_is_event, **down)
            case Fault.STREAM_SILENT:
                proxy.silence(data=_is_streamed, **down)
            case Fault.EVENT_LOST:
                proxy.drop_frame(data=_is_event, **down)
            case Fault.EVENT_REPEATED:
                proxy.duplicate_frame(data=_is_event, **down)
            case Fault.EVENTS_REORDERED:
                proxy.reorder_frames(2, data=_is_event, **down)
            case _:
                raise AssertionError(f"{fault} is not offered")

    async def clear(self) -> None:
        self._proxy.clear()
        await self._control.do("clear_faults")

    async def restart(self) -> None:
        self._proxy.cut_now()
        await self._control.do("restart")

    async def outage(self, ms: int) -> None:
        await self._proxy.refuse_connections()
        self._proxy.cut_now(ending=Ending.RESET)
        self._outages.append(asyncio.create_task(self._over(ms / 1000)))

    async def _over(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._proxy.accept_connections()

    # what the market does ---------------------------------------------------------------------------------------

    async def fill(self, order: TruthOrder, base: Decimal) -> None:
        await self._control.do("set_ladder", order.symbol, [], [])
        taker = "SELL" if order.side == "BUY" else "BUY"
        await self._control.do("trade_through", order.symbol, taker, f"{order.price:f}", f"{base:f}")
        await self._quote("100")

    async def correct(self, order: TruthOrder, base: Decimal) -> None:
        await self._control.do("correct", _number(order), f"{base:f}")

    async def liquidity(self, base: Decimal) -> None:
        await self._quote(f"{base:f}")

    async def foreign(self) -> TruthOrder:
        client = None if self._process.settings.get("fence") == "none" else f"other-{self._number}-{time.time_ns()}"
        made = await self._control.do("place", self._named("main"), self.symbol, "BUY", "0.02", "41000", client)
        return next(each for each in await self.truth() if _number(each) == made)

    async def reprice(self) -> None:
        self._bid -= 10
        await self._quote("100")

    async def halt(self, halted: bool) -> None:
        await self._control.do("set_open", self.symbol, not halted)

    async def revoke(self, revoked: bool) -> None:
        self._proxy.clear()
        if revoked:
            self._proxy.answer_frame(
                self._says("BAD_SIGNATURE"), rpc=(*CHANGES, *READS), times=ALL, direction=Direction.TO_UPSTREAM
            )

    async def skew(self, ms: int) -> None:
        self._skew += ms
        self._set_clock()

    async def leap(self, ms: int) -> None:
        self._process.leapt += ms
        await self._control.do("skew", self._process.leapt)
        self._set_clock()

    async def settle(self) -> None:
        settings = self._process.settings
        blocks = settings.get("finality", 2) + 2 if self._process.ledger else 0
        await self._clock.sleep((settings["block_ms"] * blocks + 20) / 1000)

    # parts ------------------------------------------------------------------------------------------------------

    def _named(self, account: str) -> str:
        return f"{account}-{self._number}"

    def _set_clock(self) -> None:
        self._clock.skew_ms = self._process.leapt + self._skew

    async def _quote(self, base: str) -> None:
        await self._control.do("set_ladder", self.symbol, [(str(self._bid), base)], [("50100", base)])

    def _says(self, code: str, retry_ms: int = 0) -> Any:
        """An answer of the venue, made on the way: of a refusal, or of a server error."""

        def answer(line: str | bytes) -> str:
            now = SystemClock().now_ms() + self._process.leapt
            refusal = {"code": code, "message": "as it happens", "t": now, "retry_ms": now + retry_ms}
            number = decode(line if isinstance(line, bytes) else line.encode())["id"]
            return encode({"id": number, "body": encode(refusal).decode()}).decode()

        return answer


def _halved(line: str | bytes) -> str:
    """The answer's body breaks off in the middle."""
    message = decode(line if isinstance(line, bytes) else line.encode())
    body = message["body"]
    return encode({**message, "body": body[: len(body) // 2]}).decode()


def _is_streamed(line: str | bytes) -> bool:
    return str(line).startswith('{"event"')


def _is_event(line: str | bytes) -> bool:
    """A numbered event of an account: no heartbeat, and no price."""
    return _is_streamed(line) and str(line).startswith('{"event":"{\\"n\\"')


def _number(order: TruthOrder) -> int:
    return int(next(vid.value for vid in order.ids if vid.kind == "order"))


def _truth(view: dict[str, Any]) -> TruthOrder:
    client = [] if view["client"] is None else [VenueId("client", view["client"])]
    return TruthOrder(
        (VenueId("order", str(view["id"])), *client),
        view["symbol"],
        view["side"],
        Decimal(view["most"]),
        Decimal(view["base"]),
        Decimal(view["quote"]),
        view["live"],
        None if view["limit"] is None else Decimal(view["limit"]),
    )
