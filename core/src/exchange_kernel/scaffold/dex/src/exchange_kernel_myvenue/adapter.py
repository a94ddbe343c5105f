"""The adapter: one session with one address. It keeps nothing; what must be remembered is in tickets or on the chain.

The rules are those of the venue contract (docs/venue-contract.md of Exchange Kernel), referred to by number.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from exchange_kernel.errors import (
    NotAuthorized,
    NotRunning,
    NotSent,
    OutcomeUnknown,
    RateLimited,
    Refused,
    Unavailable,
    UnknownSymbol,
    Unsupported,
)
from exchange_kernel.schema import SymbolMetadata
from exchange_kernel.value import revised
from exchange_kernel.venue import (
    FOREVER,
    Absent,
    AccountSnapshot,
    Ack,
    Amend,
    Burn,
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
    OrderReport,
    Place,
    PlaceGroup,
    Prep,
    Prepared,
    Preview,
    Ref,
    Scope,
    Slot,
    SlotEnd,
    Snapshot,
    Spec,
    StepReport,
    Ticket,
    VenueEvent,
    VenueId,
    Watermark,
)

from . import checks, reports
from .config import Config, secret_of
from .venue import BLOCK_MS, GAS, LEAST_FEE, address_of, sign, tx_of
from .wire import Wire, connect

CODEC = "myvenue/1"
"""Which plugin and which format of ``body`` made a ticket. Raise the number when the format changes, and keep reading
the old one: tickets outlive upgrades."""
RAISE = Decimal("1.25")
"""By how much a transaction that takes the place of another outbids it; the chain asks for a tenth."""
NOT_TAKEN = frozenset({"AUTH", "FUNDS", "NUMBER_TOO_HIGH", "UNDERPRICED", "RATE", "BANNED"})
"""A node's refusals. None is a verdict: the bytes stay valid, and another node may have taken them (R10)."""
ANSWER_S = 5.0
"""How long a read may take."""
CLOSED = "the adapter is not open"


class MyVenueAdapter:
    """Implements VenueAdapter."""

    _ctx: Context
    _wire: Wire
    _address: str
    _secret: str
    _identity: str

    def __init__(self) -> None:
        self._open = False
        self._symbols: dict[str, SymbolMetadata] = {}
        self._offset = self._error = 0

    # session ----------------------------------------------------------------------------------------------------

    async def open(self, ctx: Context) -> Opened:
        config = Config.of(ctx)
        self._ctx, self._secret = ctx, secret_of(ctx)
        self._address = address_of(self._secret)
        if config.address and config.address != self._address:
            raise NotAuthorized(f"the key is not that of {config.address}")
        chain, self._wire = connect(config.chain, ctx.clock)
        chain.open_account(self._secret, {"USD": "100000", "BTC": "10", GAS: "1"})
        self._identity = f"myvenue:{config.chain}:{self._address}"
        self._open = True
        head = await self._markets()
        return Opened(
            identity=self._identity,
            mode="paper",
            scopes=(Scope(self._identity, "gapless", head["next"]),),
            retention=FOREVER,
            clock_offset=self._offset,
            clock_error=self._error,
        )

    async def close(self) -> None:
        self._open = False

    async def markets(self) -> Sequence[SymbolMetadata]:
        await self._markets()
        return tuple(self._symbols.values())

    async def _markets(self) -> Mapping[str, Any]:
        reply = await self._read("markets")
        self._symbols = {view["symbol"]: reports.market(view) for view in reply["markets"]}
        return reply

    # changes ----------------------------------------------------------------------------------------------------

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        if not self._symbols:
            raise NotRunning(CLOSED)
        symbol = self._symbols.get(spec.symbol)
        if symbol is None:
            raise UnknownSymbol("symbol", spec.symbol, "is not listed here")
        exact = checks.preview(spec, symbol, Decimal(0))
        if was is not None:
            raise checks.refuse_amendment(exact.spec, was)
        return exact

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        if not self._open:
            raise NotSent(CLOSED)
        match command:
            case Place(key, spec):
                exact = self.check(spec)
                fields = {
                    "symbol": exact.spec.symbol,
                    "side": exact.spec.side.value,
                    "amount": f"{exact.spec.amount:f}",
                    "limit": f"{exact.spec.limit:f}",
                }
                return self._seal("order", key, prep, fields, exact.outlay)
            case Cancel(key, ref):
                named = next((vid.value for vid in ref.ids if vid.kind == "order"), ref.key.hex())
                return self._seal("cancel", key, prep, {"of": named})
            case Burn(key, slot) if slot.scope == self._identity:
                return self._seal("burn", key, revised(prep, take=lambda _: slot), {})
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
        self._whole(ticket.body)
        if self._ctx.clock() > ticket.send_before:
            raise NotSent(f"too old: it was to be sent before {ticket.send_before} ms")
        try:
            reply = _decoded(await self._wire.call(ticket.body, change=True))
        except ConnectionError as error:
            raise OutcomeUnknown(str(error)) from None
        if reply is None:
            raise OutcomeUnknown("the answer is not whole")
        code, text = reply.get("code"), str(reply.get("message", ""))
        if code is None:
            return Ack("sent")  # taken by a node; only blocks decide
        if code == "KNOWN":
            return Ack("duplicate")
        # A number that is too low is used: by whom, only a look can tell.
        raise (Refused if code in NOT_TAKEN else OutcomeUnknown)(text, code=code)

    def _seal(self, op: str, key: Key, prep: Prep, fields: Mapping[str, Any], outlay: tuple[Money, ...] = ()) -> Ticket:
        """The transaction. Its number comes from ``take`` and nowhere else (rule 17); signed last.

        Repeatable: a number is used once. Dead when something else has used it, in a block that is final.
        """
        slot, fee = prep.take(self._identity), LEAST_FEE
        if prep.instead_of is not None:
            fee = max(fee, Decimal(self._whole(prep.instead_of.body)["fee"]) * RAISE)
        request = {"op": op, "account": self._address, "key": key.hex(), **fields, "number": slot.number}
        body = sign({**request, "fee": f"{fee:f}"}, self._secret)
        named = (VenueId("order", key.hex()),) if op == "order" else ()
        return Ticket(
            key,
            b"" if prep.dry else body,
            CODEC,
            self._identity,
            Fence(True, (SlotEnd(slot),), "ledger"),
            (*named, VenueId("tx", tx_of(body))),
            min(FOREVER, prep.give_up),
            (*outlay, Money(GAS, fee)),
            op,
        )

    def _whole(self, body: bytes) -> dict[str, Any]:
        """The request in a ticket. Raises NotSent for a body that this key did not sign, as it stands (rule 3)."""
        try:
            request: dict[str, Any] = json.loads(body.partition(b"\n")[0])
        except ValueError:
            raise NotSent("the ticket's body is no whole transaction") from None
        if sign(request, self._secret) != body:
            raise NotSent("the ticket's body is not what this key signed")
        return request

    # reads ------------------------------------------------------------------------------------------------------

    async def lookup(self, ref: Ref) -> Lookup:
        # Rule 8: one answer, so that the search and how far it had got are of the same block.
        keys = [ticket.key.hex() for ticket in ref.tickets]
        reply = await self._read("find", key=ref.key.hex(), keys=keys)
        ends = (end for ticket in ref.tickets for end in ticket.fence.ends if isinstance(end, SlotEnd))
        spent = {end.slot for end in ends if end.slot.scope == self._identity}
        at = _mark(reply, frozenset(slot for slot in spent if slot.number < reply["next_final"]))
        found: list[OrderReport | StepReport] = [reports.order(view, reply) for view in reply["orders"]]
        if not found:
            found += [reports.pending(view, reply) for view in reply["pending"]]
        for receipt in reply["receipts"]:
            if receipt["op"] == "order":
                if not found:
                    found.append(reports.reverted(receipt, reply))
            elif receipt["key"] == ref.key.hex() or (found and receipt["error"]):
                # A cancel that failed is news about an order that is there, and no sign of one that is not.
                found.append(reports.step(receipt, reply))
        return Found(tuple(found), at) if found else Absent(at, 0, ("ledger", "pool"))

    async def open_orders(self, page: str | None) -> Snapshot:
        reply = await self._read("open", after=int(page or 0))
        found = [reports.order(view, reply) for view in reply["orders"]]
        found += [reports.pending(view, reply) for view in reply["pending"]]
        following = None if reply["next_page"] is None else str(reply["next_page"])
        return Snapshot(tuple(found), _mark(reply), True, None, "account", following)

    async def account(self) -> AccountSnapshot:
        reply = await self._read("account")
        floors = {self._identity: reply["next"]}
        return AccountSnapshot(_mark(reply), True, reports.balances(reply["balances"]), floors=floors)

    def events(self, cursor: str | None) -> AsyncIterator[VenueEvent]:
        if not self._open:
            raise Unavailable(CLOSED)
        return self._follow()

    async def _follow(self) -> AsyncIterator[VenueEvent]:
        """Ask at every block what changed since the last final one: what is not final yet is told again (rule 15)."""
        seen: Ms = 0
        after: int | None = None
        rows: object = None
        while self._open:
            try:
                reply = await self._read("changed", after=after or 0)
            except (Unavailable, RateLimited) as error:
                yield VenueEvent(seen, None, Gap(seen, None, str(error)))
                await self._ctx.sleep(BLOCK_MS / 1000)
                continue
            if after is None:
                yield VenueEvent(reply["t"], None, Gap(seen, None, "subscribed"))
            else:
                for trade in reply["voided"]:
                    yield VenueEvent(reply["t"], None, reports.voided(trade))
                for view in reply["orders"]:
                    yield VenueEvent(reply["t"], None, reports.order(view, reply))
            if reply["balances"] != rows:
                rows, found = reply["balances"], reports.balances(reply["balances"])
                yield VenueEvent(reply["t"], None, AccountSnapshot(_mark(reply), False, found))
            seen, after = reply["t"], reply["final"]
            await self._ctx.sleep(BLOCK_MS / 1000)

    # requests ---------------------------------------------------------------------------------------------------

    async def _read(self, op: str, **fields: object) -> dict[str, Any]:
        """One read; each also measures the node's clock. Raises Unavailable, RateLimited, NotAuthorized."""
        if not self._open:
            raise Unavailable(CLOSED)
        before, request = self._ctx.clock(), sign({"op": op, "account": self._address, **fields}, self._secret)
        try:
            async with asyncio.timeout(ANSWER_S):  # a node that hangs looks like one that has no news
                reply = _decoded(await self._wire.call(request))
        except (ConnectionError, TimeoutError) as error:
            raise Unavailable(f"{op}: {error}") from None
        if reply is None:
            raise Unavailable(f"{op}: the answer is not whole")
        code, text = reply.get("code"), str(reply.get("message", ""))
        if code in ("RATE", "BANNED"):
            raise RateLimited(reply["retry"] - self._offset + self._error, "account", banned=code == "BANNED")
        if code is not None:
            raise (NotAuthorized if code == "AUTH" else Unavailable)(text, code=code)
        after = self._ctx.clock()
        self._offset, self._error = reply["t"] - (before + after) // 2, (after - before + 1) // 2 + 1
        return reply


def _mark(reply: Mapping[str, Any], spent: frozenset[Slot] = frozenset()) -> Watermark:
    return Watermark(ledger_ms=reply["final_ms"], height=reply["final"], spent=spent)


def _decoded(data: bytes) -> dict[str, Any] | None:
    """An answer, or None if it is not a whole one."""
    try:
        reply = json.loads(data)
    except ValueError:
        return None
    return reply if isinstance(reply, dict) and "t" in reply else None
