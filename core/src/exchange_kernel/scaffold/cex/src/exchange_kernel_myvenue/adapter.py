"""The adapter: one session with one account. It keeps nothing; what must be remembered is in tickets or at the venue.

The rules are those of the venue contract (docs/venue-contract.md of Exchange Kernel), referred to by number.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from exchange_kernel.errors import (
    NotRunning,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    Unavailable,
    UnknownSymbol,
    Unsupported,
)
from exchange_kernel.schema import SymbolMetadata
from exchange_kernel.venue import (
    FOREVER,
    Absent,
    AccountSnapshot,
    Ack,
    Amend,
    Cancel,
    Command,
    Context,
    Fence,
    Found,
    Gap,
    Key,
    Lookup,
    Money,
    Ms,
    Opened,
    Place,
    PlaceGroup,
    Prep,
    Prepared,
    Preview,
    Ref,
    Snapshot,
    Spec,
    Ticket,
    TimeEnd,
    VenueEvent,
    VenueId,
    Watermark,
)

from . import checks, reports
from .config import Config, secret_of
from .venue import AHEAD_MS, FEE, sign
from .wire import BEAT_S, Wire, connect

CODEC = "myvenue/1"
"""Which plugin and which format of ``body`` made a ticket. Raise the number when the format changes, and keep reading
the old one: tickets outlive upgrades."""
WINDOW_MS = 5_000
"""How long the venue takes a request after it was made, by the venue's clock. Its own choice, sent with the request."""
SLACK_MS = 100
"""Longest time from the venue's check of that window to the order's visibility."""
CLOSED = "the adapter is not open"


class MyVenueAdapter:
    """Implements VenueAdapter."""

    _ctx: Context
    _wire: Wire
    _account: str
    _secret: str
    _identity: str

    def __init__(self) -> None:
        self._open = False
        self._symbols: dict[str, SymbolMetadata] = {}
        self._offset = self._error = 0

    # session ----------------------------------------------------------------------------------------------------

    async def open(self, ctx: Context) -> Opened:
        config = Config.of(ctx)
        self._ctx, self._account, self._secret = ctx, config.account, secret_of(ctx)
        exchange, self._wire = connect(config.exchange, ctx.clock)
        exchange.open_account(self._account, self._secret, {"USD": "100000", "BTC": "10"})
        self._identity = f"myvenue:{config.exchange}:{self._account}"
        self._open = True
        await self._read("time")  # wrong credentials show here, before the first order
        await self.markets()
        return Opened(
            identity=self._identity,
            mode="paper",
            retention=FOREVER,
            clock_offset=self._offset,
            clock_error=self._error,
            horizon=AHEAD_MS + WINDOW_MS + SLACK_MS,
        )

    async def close(self) -> None:
        if self._open:
            self._open = False
            self._wire.close()

    async def markets(self) -> Sequence[SymbolMetadata]:
        reply = await self._read("markets")
        self._symbols = {view["symbol"]: reports.market(view) for view in reply["markets"]}
        return tuple(self._symbols.values())

    # changes ----------------------------------------------------------------------------------------------------

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        if not self._symbols:
            raise NotRunning(CLOSED)
        symbol = self._symbols.get(spec.symbol)
        if symbol is None:
            raise UnknownSymbol("symbol", spec.symbol, "is not listed here")
        exact = checks.preview(spec, symbol, FEE)
        if was is not None:
            raise checks.refuse_amendment(exact.spec, was)
        return exact

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        if not self._open:
            raise NotSent(CLOSED)
        if prep.instead_of is not None:
            raise NotSent("one ticket cannot take the place of another here")
        if self._stale:
            await self._read("time")
        match command:
            case Place(key, spec):
                exact = self.check(spec)
                fields = {
                    "symbol": exact.spec.symbol,
                    "side": exact.spec.side.value,
                    "amount": f"{exact.spec.amount:f}",
                    "limit": f"{exact.spec.limit:f}",
                    "tif": exact.spec.tif.value,
                    "client": reports.client_id(key),
                }
                return self._seal("order", key, prep, fields, exact.outlay)
            case Cancel(key, ref):
                number = next((vid.value for vid in ref.ids if vid.kind == "order"), None)
                target: Mapping[str, Any] = {"client": reports.client_id(ref.key)}
                return self._seal("cancel", key, prep, target if number is None else {"id": int(number)})
            case Amend(_, ref, spec):
                raise checks.refuse_amendment(spec, ref.spec)
            case PlaceGroup(_, kind, _):
                raise Unsupported(f"group_{kind}")
            case _:
                raise Unsupported({"CancelAll": "cancel_all"}.get(type(command).__name__, type(command).__name__))

    async def submit(self, ticket: Ticket) -> Ack:
        if not self._open:
            raise NotSent(CLOSED)
        if ticket.codec != CODEC or ticket.identity != self._identity:
            raise NotSent(f"a ticket {ticket.codec} for {ticket.identity}; this is {CODEC} for {self._identity}")
        request = self._whole(ticket.body)
        if self._ctx.clock() > ticket.send_before:
            raise NotSent(f"too old: it was to be sent before {ticket.send_before} ms")
        try:
            data = await self._wire.call(ticket.body, change=True)
        except ConnectionError as error:
            raise OutcomeUnknown(str(error)) from None  # rule 6: no answer proves nothing
        reply = _decoded(data)
        if reply is None:
            raise OutcomeUnknown("the answer is not whole")
        if reply.get("code") == "DUPLICATE":
            return Ack("duplicate")
        self._judge(reply, OutcomeUnknown)
        assert request["op"] in ("order", "cancel")
        return Ack("decided", (reports.order(reply["order"]),))

    @property
    def _stale(self) -> bool:
        """Is the venue's clock to be measured again? After a request that it refused for its time."""
        return self._error < 0

    def _seal(self, op: str, key: Key, prep: Prep, fields: Mapping[str, Any], outlay: tuple[Money, ...] = ()) -> Ticket:
        """The ticket of a change. What is ordered, its price and its life are in the body (rule 2); signed last.

        Not repeatable: the venue takes a client id again once its order is over. A cancel is: it names one order.
        """
        made = prep.now + self._offset
        request = {"op": op, "account": self._account, **fields, "ts": made, "window": WINDOW_MS}
        fence = Fence(op == "cancel", (TimeEnd(made + WINDOW_MS, "venue", SLACK_MS),))
        ids = (VenueId("client", fields["client"]),) if op == "order" else ()
        body = b"" if prep.dry else sign(request, self._secret)
        send_before = min(prep.now + WINDOW_MS * 3 // 4, prep.give_up)
        return Ticket(key, body, CODEC, self._identity, fence, ids, send_before, outlay, op)

    def _whole(self, body: bytes) -> dict[str, Any]:
        """The request in a ticket. Raises NotSent for a body that this account did not sign, as it stands (rule 3)."""
        try:
            request: dict[str, Any] = json.loads(body.partition(b"\n")[0])
        except ValueError:
            raise NotSent("the ticket's body is no whole request") from None
        if sign(request, self._secret) != body:
            raise NotSent("the ticket's body is not what this account signed")
        return request

    # reads ------------------------------------------------------------------------------------------------------

    async def lookup(self, ref: Ref) -> Lookup:
        # Rule 8: how far the venue had got comes first, the search second.
        at = Watermark(venue_ms=(await self._read("time"))["t"])
        ids = [int(vid.value) for vid in ref.ids if vid.kind == "order"]
        reply = await self._read("find", client=reports.client_id(ref.key), ids=ids)
        if reply["orders"]:
            return Found(tuple(reports.order(view) for view in reply["orders"]), at)
        return Absent(at, 0, ("orders",))  # 0: this venue forgets no order

    async def open_orders(self, page: str | None) -> Snapshot:
        at = Watermark(venue_ms=(await self._read("time"))["t"])
        reply = await self._read("open", after=int(page or 0))
        following = None if reply["next"] is None else str(reply["next"])
        return Snapshot(tuple(reports.order(view) for view in reply["orders"]), at, True, None, "account", following)

    async def account(self) -> AccountSnapshot:
        at = Watermark(venue_ms=(await self._read("time"))["t"])
        reply = await self._read("account")
        return AccountSnapshot(at, True, reports.balances(reply["balances"]))

    def events(self, cursor: str | None) -> AsyncIterator[VenueEvent]:
        if not self._open:
            raise Unavailable(CLOSED)
        return self._follow()

    async def _follow(self) -> AsyncIterator[VenueEvent]:
        """Subscribe, then Gap, then data; Gap again wherever something may have been missed (rule 15)."""
        seen: Ms = 0
        while self._open:
            try:
                answer, stream = await self._wire.stream(self._signed("stream"))
            except ConnectionError:
                await self._ctx.sleep(0.5)
                continue
            try:
                hello = _decoded(answer)
                if hello is None or "hello" not in hello:
                    await self._ctx.sleep(0.5)
                    continue
                last = hello["hello"]
                yield VenueEvent(hello["t"], None, Gap(seen, None, "subscribed"))
                while True:
                    async with asyncio.timeout(3 * BEAT_S):
                        message = json.loads(await stream.receive())
                    number = message.get("beat", message.get("n", 0) - 1)
                    if number > last:
                        yield VenueEvent(message["t"], None, Gap(seen, None, f"{number - last} messages are missing"))
                    last = max(last, number, message.get("n", 0))
                    seen = max(seen, message["t"])
                    if "order" in message:
                        yield VenueEvent(message["t"], None, reports.order(message["order"]))
                    elif "bust" in message:
                        yield VenueEvent(message["t"], None, reports.voided(message["bust"]))
                    elif "balances" in message:
                        found = reports.balances(message["balances"])
                        at = Watermark(venue_ms=message["t"])
                        yield VenueEvent(message["t"], None, AccountSnapshot(at, False, found))
            except (ConnectionError, TimeoutError):
                if self._open:
                    yield VenueEvent(seen, None, Gap(seen, None, "the stream broke, or fell silent"))
            finally:
                stream.close()

    # requests ---------------------------------------------------------------------------------------------------

    def _signed(self, op: str, **fields: object) -> bytes:
        return sign({"op": op, "account": self._account, **fields}, self._secret)

    async def _read(self, op: str, **fields: object) -> dict[str, Any]:
        """One read; each also measures the venue's clock. Raises Unavailable, RateLimited, NotAuthorized."""
        if not self._open:
            raise Unavailable(CLOSED)
        before = self._ctx.clock()
        try:
            data = await self._wire.call(self._signed(op, **fields))
        except ConnectionError as error:
            raise Unavailable(f"{op}: {error}") from None
        reply = _decoded(data)
        if reply is None:
            raise Unavailable(f"{op}: the answer is not whole")
        self._judge(reply, Unavailable)
        after = self._ctx.clock()
        self._offset, self._error = reply["t"] - (before + after) // 2, (after - before + 1) // 2 + 1
        return reply

    def _judge(self, reply: Mapping[str, Any], otherwise: type[Unavailable | OutcomeUnknown]) -> None:
        """Raise what a refusal means; ``otherwise`` where its code proves nothing."""
        code = reply.get("code")
        if code is None:
            return
        if code in ("RATE", "BANNED"):
            retry_at = reply["retry"] - self._offset + max(self._error, 0)
            raise RateLimited(retry_at, "account", banned=code == "BANNED")
        if code == "TIMESTAMP":
            self._error = -1
        verdict = reports.VERDICTS.get(code)
        text = str(reply.get("message", code))
        if verdict is None or (otherwise is Unavailable and code != "AUTH"):
            raise otherwise(text, code=code)
        kind, why = verdict
        raise kind(text, code=code, why=why.value)


def _decoded(data: bytes) -> dict[str, Any] | None:
    """An answer, or None if it is not a whole one."""
    try:
        reply = json.loads(data)
    except ValueError:
        return None
    return reply if isinstance(reply, dict) and "t" in reply else None
