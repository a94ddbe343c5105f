"""One way in for every request, over HTTP or WebSocket: limits, key, signature, time, parameters, fault, execution."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from exchange_kernel_binance.simulator.clock import Clock
from exchange_kernel_binance.simulator.errors import ApiError, missing
from exchange_kernel_binance.simulator.faults import REQUEST_FAULTS, Fault, Faults
from exchange_kernel_binance.simulator.wire.keys import ApiKey, KeyRing, permitted, signed, timely
from exchange_kernel_binance.simulator.wire.limits import Limits
from exchange_kernel_binance.simulator.wire.parameters import Kind, decimal, long, read

EVERY_SIGNED = frozenset({"timestamp", "recvWindow", "signature", "apiKey", "returnRateLimits"})
EVERY_PUBLIC = frozenset({"returnRateLimits"})


@dataclass(slots=True)
class Call:
    """A request that was let in."""

    endpoint: Endpoint
    args: dict[str, Any]
    account: str
    address: str
    # The half of a cancelReplace that a fault lets fail.
    fault: str | None = None
    # What a WebSocket method finds out about its connection.
    session: Any = None
    key: str | None = None

    def get(self, name: str, default: Any = None) -> Any:
        return self.args.get(name, default)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A request by its WebSocket method's name and its HTTP route; `security` is empty for public ones.

    `weight` may depend on the arguments. `orders` is what it adds to the unfilled order count.
    """

    name: str
    handle: Callable[[Call], Any]
    route: tuple[str, str] | None = None
    security: str = ""
    parameters: Mapping[str, Kind] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    weight: int | Callable[[Mapping[str, Any]], int] = 1
    orders: int = 0
    websocket: bool = True
    # Checks its own order count (cancelReplace does).
    counts_itself: bool = False
    # Needs the key but no signature (listenKey does).
    key_only: bool = False


@dataclass(slots=True)
class Sent:
    """A request as it came: the raw pairs, the bytes that were signed, where from."""

    pairs: list[tuple[str, str]]
    payload: bytes
    signature: str | None
    key: str | None
    address: str
    # Instead of key and signature: who logged on to this WebSocket connection.
    session_key: ApiKey | None = None
    session: Any = None


@dataclass(slots=True)
class Answer:
    """What goes back. `text` replaces the JSON of `body`; `drop` ends the connection, `silent` keeps it without one."""

    status: int = 200
    body: Any = None
    account: str | None = None
    retry_after: int | None = None
    text: str | None = None
    cut: bool = False
    drop: bool = False
    silent: int | None = None


class Gate:
    """Lets requests in and counts them; `after` is called whenever something was executed."""

    def __init__(self, clock: Clock, keys: KeyRing, limits: Limits, after: Callable[[], None]) -> None:
        self.clock = clock
        self.keys = keys
        self.limits = limits
        self.faults = Faults(REQUEST_FAULTS)
        self.counts: Counter[str] = Counter()
        self._after = after
        self._late: set[asyncio.Task[None]] = set()
        self.sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    async def handle(self, endpoint: Endpoint, sent: Sent) -> Answer:
        """Execute the request, or what a fault makes of it."""
        self.counts[endpoint.name] += 1
        account: str | None = None
        try:
            call, check = self._admit(endpoint, sent)
            account = call.account if endpoint.orders or endpoint.counts_itself else None
            fault = self.faults.strike(endpoint.name, call.account)
            if fault is None:
                return Answer(body=self._execute(call), account=account)
            return await self._faulted(fault, call, check, account)
        except ApiError as error:
            return Answer(error.status, error.payload(), account, error.retry_after)

    def _admit(self, endpoint: Endpoint, sent: Sent) -> tuple[Call, Callable[[], None]]:
        given = dict(sent.pairs)
        weight = endpoint.weight if isinstance(endpoint.weight, int) else endpoint.weight(given)
        self.limits.request(sent.address, weight)
        if not endpoint.security:
            args = read(sent.pairs, endpoint.parameters, endpoint.required, EVERY_PUBLIC)
            return Call(endpoint, args, "", sent.address, session=sent.session), _nothing
        key = sent.session_key
        if key is None or sent.key is not None:
            key = self.keys.known(sent.key, endpoint.security)
            if not endpoint.key_only:
                if sent.signature is None or sent.signature == "":
                    raise missing("signature")
                signed(key, sent.payload, sent.signature)
        else:
            key = self.keys.known(key.key, endpoint.security)
        permitted(key, endpoint.route[1] if endpoint.route else "", endpoint.security)
        if endpoint.key_only:
            args = read(sent.pairs, endpoint.parameters, endpoint.required, EVERY_SIGNED)
            return Call(endpoint, args, key.account, sent.address, session=sent.session), _nothing
        check = self._timing(given)
        check()
        args = read(sent.pairs, endpoint.parameters, endpoint.required, EVERY_SIGNED)
        return Call(endpoint, args, key.account, sent.address, session=sent.session, key=key.key), check

    def _timing(self, given: Mapping[str, str]) -> Callable[[], None]:
        if not given.get("timestamp"):
            raise missing("timestamp")
        timestamp = long("timestamp", given["timestamp"])
        window = decimal(3)("recvWindow", given["recvWindow"]) if given.get("recvWindow") else 5000
        if window > 60_000:
            raise ApiError(-1102, "'recvWindow' contains unexpected value. Cannot be greater than 60000.")
        return lambda: timely(timestamp, float(window), self.clock.now())

    def _execute(self, call: Call) -> Any:
        endpoint = call.endpoint
        if endpoint.orders and not endpoint.counts_itself:
            refusal = self.limits.order_refusal(call.account, endpoint.orders)
            if refusal is not None:
                raise refusal
            # Counted first: what trades at once takes its count back.
            self.limits.ordered(call.account, endpoint.orders)
            try:
                return endpoint.handle(call)
            except ApiError:
                self.limits.ordered(call.account, -endpoint.orders)
                raise
            finally:
                self._after()
        try:
            return endpoint.handle(call)
        finally:
            self._after()

    async def _faulted(self, fault: Fault, call: Call, check: Callable[[], None], account: str | None) -> Answer:
        kind = fault.kind
        if kind in ("cancel_fails", "new_fails"):
            call.fault = kind
            return Answer(body=self._execute(call), account=account)
        if kind == "drop_before":
            return Answer(drop=True)
        if kind == "silent_before":
            return Answer(silent=fault.ms)
        if kind == "delay":
            await self.sleep(fault.ms / 1000)
            check()
            return Answer(body=self._execute(call), account=account)
        if kind == "late":
            task = asyncio.ensure_future(self._later(fault.ms, call, check))
            self._late.add(task)
            task.add_done_callback(self._late.discard)
            return _error(fault, account)
        if kind == "error_before":
            return _error(fault, account)
        return await self._executed(fault, call, account)

    async def _executed(self, fault: Fault, call: Call, account: str | None) -> Answer:
        try:
            answer = Answer(body=self._execute(call), account=account)
        except ApiError as error:
            answer = Answer(error.status, error.payload(), account, error.retry_after)
        match fault.kind:
            case "drop_after":
                answer.drop = True
            case "silent_after":
                answer.silent = fault.ms
            case "delay_reply":
                await self.sleep(fault.ms / 1000)
            case "cut_body":
                answer.cut = True
            case "empty_body":
                answer.text = ""
            case _:
                answer = _error(fault, account)
        return answer

    async def _later(self, ms: int, call: Call, check: Callable[[], None]) -> None:
        await self.sleep(ms / 1000)
        try:
            check()
            self._execute(call)
        except ApiError:
            return

    async def close(self) -> None:
        """Nothing is executed late any more."""
        for task in tuple(self._late):
            task.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)


def _error(fault: Fault, account: str | None) -> Answer:
    return Answer(fault.status, {"code": fault.code, "msg": fault.msg}, account, fault.retry_after, text=fault.body)


def _nothing() -> None:
    """A public request has no time window."""
