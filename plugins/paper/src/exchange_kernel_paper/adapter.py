"""The paper venue's adapter. It keeps nothing of its own: what it must remember is in the tickets, or at the venue."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from exchange_kernel.errors import (
    NotRunning,
    NotSent,
    OutcomeUnknown,
    Unavailable,
    UnknownSymbol,
    UnknownTarget,
)
from exchange_kernel.orders import suggest
from exchange_kernel.schema import SymbolMetadata, canonical
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.value import revised
from exchange_kernel.venue import (
    FOREVER,
    AccountSnapshot,
    Ack,
    Amend,
    Burn,
    Cancel,
    CancelAll,
    Command,
    Context,
    Enable,
    Fill,
    LedgerEntry,
    Lookup,
    Ms,
    NeedsFirst,
    Opened,
    OrderReport,
    Place,
    PlaceGroup,
    Prep,
    Prepared,
    Preview,
    PriceTick,
    Ref,
    Scope,
    Settle,
    Snapshot,
    Spec,
    Ticket,
    VenueEvent,
)
from exchange_kernel_paper import checks
from exchange_kernel_paper.config import DEFAULT_SECRET, PaperConfig
from exchange_kernel_paper.exchange import decode, reader
from exchange_kernel_paper.groups import group_fields, leg_keys
from exchange_kernel_paper.link import Link, NeverSent, NoAnswer, Stream, StreamRefused
from exchange_kernel_paper.lookups import Lookups
from exchange_kernel_paper.streams import Events
from exchange_kernel_paper.terms import VenueTerms, read_symbol
from exchange_kernel_paper.tickets import (
    CODEC,
    Tickets,
    VenueState,
    operation,
    place_fields,
    read_body,
    unsupported,
)
from exchange_kernel_paper.translate import Translator, client_id
from exchange_kernel_paper.verdicts import LEDGER, READ, VENUE, judge

PREVIEWS = 512
"""Checks whose results are kept."""
SILENT_BEATS = 3
"""Heartbeats that may be missing before a stream counts as dead."""


class PaperAdapter:
    """One session with one account of a paper exchange. Implements VenueAdapter, Prices and History."""

    _ctx: Context
    _link: Link
    _terms: VenueTerms
    _tickets: Tickets
    _translate: Translator
    _events: Events
    _lookups: Lookups
    _identity: str
    _symbols: dict[str, SymbolMetadata]

    def __init__(self) -> None:
        self._state = VenueState()
        self._symbols = {}
        self._previews: dict[Spec, Preview] = {}
        self._open = False

    # session ----------------------------------------------------------------------------------------------------

    async def open(self, ctx: Context) -> Opened:
        config = PaperConfig.of(ctx)
        self._ctx, self._link, self._open = ctx, config.link(ctx), True
        secret = ctx.secrets.get("secret", DEFAULT_SECRET).encode()
        # Requests can be signed before the terms are known; only tickets need them.
        self._tickets = Tickets("", config.account, secret, _UNKNOWN_TERMS, self._state)
        hello = await self.read("hello")
        terms = self._terms = VenueTerms.read(hello)
        self._identity = f"paper:{hello['venue']}:{hello['account']}"
        self._tickets = Tickets(self._identity, config.account, secret, terms, self._state)
        self._translate = Translator(terms)
        self._lookups = Lookups(self.read, self._translate, terms, self._identity, ctx.clock)
        self._events = Events(ctx, self._translate, SILENT_BEATS * terms.heartbeat_ms / 1000)
        await self.markets()
        await self.read("time")  # a second measurement of the clock, now that the connection stands
        scopes = (Scope(self._identity, "gapless", hello["ledger"]["next"]),) if terms.fence == "sequence" else ()
        return Opened(
            identity=self._identity,
            mode="paper",
            scopes=scopes,
            retention=terms.retention_ms or FOREVER,
            read_lag=terms.read_lag_ms,
            clock_offset=self._state.offset,
            clock_error=self._state.error,
            horizon=self._tickets.horizon,
        )

    async def close(self) -> None:
        if self._open:
            self._open = False
            if hasattr(self, "_events"):
                self._events.closed = True
            await self._link.close()

    async def markets(self) -> Sequence[SymbolMetadata]:
        reply = await self.read("markets")
        self._symbols = {market["symbol"]: read_symbol(market, self._terms) for market in reply["markets"]}
        self._previews.clear()
        return tuple(self._symbols.values())

    # changes ----------------------------------------------------------------------------------------------------

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        symbol = self._symbols.get(spec.symbol)
        if symbol is None:
            if not self._symbols:
                raise NotRunning(_CLOSED)
            raise UnknownSymbol("symbol", spec.symbol, "is not listed here", suggest(spec.symbol, self._symbols))
        if was is None:
            # The kernel asks before it takes an order, before it makes the ticket, and the ticket's maker asks again.
            try:
                known = self._previews.get(spec)
            except TypeError:  # a signalling NaN has no hash, and is refused by name
                return checks.preview(spec, symbol, self._terms)
            if known is None:
                if len(self._previews) >= PREVIEWS:
                    self._previews.clear()
                known = self._previews[spec] = checks.preview(spec, symbol, self._terms)
            return known
        return checks.amendment(spec, was, symbol, self._terms)

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        if not self._open:
            raise NotSent(_CLOSED)
        if isinstance(command, PlaceGroup) and command.kind not in self._terms.groups:
            raise unsupported(command)  # before any read: nobody need be asked
        if self._state.stale or self._terms.fence == "height" or prep.instead_of is not None:
            await self.read("time")
        match command:
            case Place(key, spec):
                sent = self.check(spec)
                first = await self._first(sent, prep)
                if first is not None:
                    return first
                fields = place_fields(sent.spec, client_id(key) if self._terms.client_ids else None)
                return self._tickets.seal("order", key, prep, fields, sent.outlay, f"{spec.side} {spec.symbol}")
            case PlaceGroup(key, kind, _):
                fields, costs = group_fields(command, self.check, client_ids=self._terms.client_ids)
                return self._tickets.seal("group", key, prep, fields, costs, f"{kind} {fields['symbol']}")
            case Amend(key, ref, spec):
                first = await self._first(self.check(spec), prep)
                if first is not None:
                    return first
                return self._amend(key, ref, spec, prep)
            case Cancel(key, ref, _):
                fields = {"symbol": ref.symbol, **self._target(ref)}
                return self._tickets.seal("cancel", key, prep, fields, note=f"cancel {ref.symbol}")
            case CancelAll(key, symbol):
                fields = {} if symbol is None else {"symbol": symbol}
                return self._tickets.seal("cancel_all", key, prep, fields, note=f"cancel all {symbol or ''}")
            case Enable(key, name, _, amount) if self._terms.enable != "off":
                fields = {"name": name, "amount": canonical(amount)}
                return self._tickets.seal("enable", key, prep, fields, note=f"enable {name}")
            case Settle(key, ref) if self._terms.settle == "on":
                fields = {"symbol": ref.symbol, **self._target(ref)}
                return self._tickets.seal("settle", key, prep, fields, note=f"settle {ref.symbol}")
            case Burn(key, slot) if self._terms.fence == "sequence" and slot.scope == self._identity:
                return self._tickets.seal(
                    "burn", key, revised(prep, take=lambda _: slot), {}, note=f"burn {slot.number}"
                )
            case _:
                raise unsupported(command)

    async def submit(self, ticket: Ticket) -> Ack:
        if not self._open:
            raise NotSent(_CLOSED)
        if ticket.identity != self._identity or ticket.codec != CODEC:
            raise NotSent(f"this ticket is {ticket.codec} for {ticket.identity}, not {CODEC} for {self._identity}")
        if not self._tickets.whole(ticket.body):
            raise NotSent("not the bytes this account signed: the ticket is cut, changed, or was never signed")
        if self._ctx.clock() > ticket.send_before:
            raise NotSent(f"too old: it was to be sent before {ticket.send_before} ms")
        op = operation(ticket.body)
        try:
            data = await self._link.call(op, ticket.body)
        except NeverSent as error:
            raise NotSent(str(error)) from None
        except NoAnswer as error:
            raise OutcomeUnknown(str(error)) from None
        decided = self._decided(data, op)
        if decided is not None:
            return decided
        reply = _decoded(data)
        if reply is None:
            raise OutcomeUnknown("the answer is not whole")
        if reply.get("code") is not None:
            self._state.stale = self._state.stale or reply["code"] == "TIMESTAMP"
            judge(reply, LEDGER if self._terms.ledger else VENUE, self._local)
            return Ack("duplicate")
        if "held" in reply:
            return Ack("held")
        if op == "enable":
            done = {"rid": client_id(ticket.key), "code": "", "fee": None, "at": reply["t"]}
            return Ack("decided", (self._translate.step(done, ticket.key, None),))
        # Without client ids only this answer says which order is whose.
        keys: tuple[bytes | None, ...] = (None,) * len(reply["orders"])
        if not self._terms.client_ids and op in ("order", "group"):
            keys = (ticket.key,) if op == "order" else leg_keys(ticket)
        views = zip(reply["orders"], keys, strict=True)
        return Ack("decided", tuple(self._translate.order(view, key=key) for view, key in views))

    def _decided(self, data: bytes, op: str) -> Ack | None:
        """The answer that shows orders under their client ids, as most do; None for any other."""
        if not self._terms.client_ids or op == "enable":
            return None
        try:
            reply = _read_orders(data)
        except ValueError:
            return None
        return Ack("decided", tuple([self._translate.answered(bytes(view)) for view in reply.orders]))

    async def _first(self, sent: Preview, prep: Prep) -> NeedsFirst | None:
        """What must be enabled, or for more than it is, before this may be ordered beside what uses it already."""
        for name, amount in sent.needs.items():
            wanted = EXACT.add(amount, prep.in_use.get(name, _NOTHING))
            enabled = (await self.read("enabled"))["enabled"].get(name)
            if enabled is None:
                return NeedsFirst(name, {}, f"{name} is not enabled on this account")
            if Decimal(enabled) < wanted:
                return NeedsFirst(name, {}, f"{name} is enabled for {enabled}, {canonical(wanted)} is needed")
        return None

    def _amend(self, key: bytes, ref: Ref, spec: Spec, prep: Prep) -> Ticket:
        place = prep.instead_of
        if place is not None and self._terms.fence == "sequence" and read_body(place)["op"] == "order":
            # The old order never came to be: the new terms take its number, and its client id.
            fields = place_fields(self.check(spec).spec, read_body(place)["client"])
            return self._tickets.seal("order", key, prep, fields, self.check(spec).outlay, f"amend {spec.symbol}")
        sent = self.check(spec, ref.spec)
        fields = {"symbol": ref.symbol, **self._target(ref)}
        fields.update((name, value) for name, value in place_fields(sent.spec, None).items() if name in _AMENDED)
        return self._tickets.seal("amend", key, prep, fields, sent.outlay, f"amend {spec.symbol}")

    def _target(self, ref: Ref) -> dict[str, Any]:
        """How a cancel or an amend names its order: the venue's id where known, else the client id."""
        for known in ref.ids:
            if known.kind == "order":
                return {"order": int(known.value)}
        if not self._terms.client_ids:
            raise UnknownTarget("the venue's id of this order is not known, and the venue has no client ids")
        return {"client": client_id(ref.key)}

    # reads ------------------------------------------------------------------------------------------------------

    async def lookup(self, ref: Ref) -> Lookup:
        self._reads()
        return await self._lookups.find(ref)

    async def open_orders(self, page: str | None) -> Snapshot:
        self._reads()
        return await self._lookups.open_orders(page)

    async def account(self) -> AccountSnapshot:
        self._reads()
        at, reply = await self._lookups.marked("account")
        floors = {self._identity: reply["ledger"]["next"]} if self._terms.fence == "sequence" else {}
        return AccountSnapshot(at, True, self._translate.balances(reply["balances"]), floors=floors)

    async def history(self, cursor: str | None) -> tuple[Sequence[OrderReport | Fill | LedgerEntry], str | None]:
        reply = await self.read("history", after=int(cursor or 0))
        ledger = reply.get("ledger")
        items: list[OrderReport | Fill | LedgerEntry] = []
        for item in reply["items"]:
            if "order" in item:
                items.append(self._translate.order(item["order"], ledger))
            else:
                items.append(self._translate.loose_fill(item, ledger))
        return items, str(reply["next"])

    def events(self, cursor: str | None) -> AsyncIterator[VenueEvent]:
        self._reads()
        return self._events.account(lambda: self._subscribe("events"))

    def prices(self, symbols: frozenset[str]) -> AsyncIterator[PriceTick]:
        self._reads()
        return self._events.prices(lambda: self._subscribe("prices", symbols=sorted(symbols)))

    def _reads(self) -> None:
        if not self._open:
            raise Unavailable(_CLOSED)

    async def read(self, op: str, **fields: object) -> dict[str, Any]:
        """One read; ``hello`` and ``time`` also measure the clock. Raises Unavailable, RateLimited, NotAuthorized."""
        if not self._open:
            raise Unavailable(f"{op}: {_CLOSED}")
        before = self._ctx.clock()
        try:
            data = await self._link.call(op, self._tickets.request(op, **fields))
        except (NeverSent, NoAnswer) as error:
            raise Unavailable(f"{op}: {error}") from None
        reply = _decoded(data)
        if reply is None:
            raise Unavailable(f"{op}: the answer is not whole")
        judge(reply, READ, self._local)
        if op in ("hello", "time"):
            self._measure(before, self._ctx.clock(), reply)
        return reply

    async def _subscribe(self, op: str, **fields: object) -> Stream:
        try:
            return await self._link.subscribe(self._tickets.request(op, **fields))
        except (NeverSent, NoAnswer) as error:
            raise Unavailable(f"{op}: {error}") from None
        except StreamRefused as refused:
            judge(_decoded(refused.reply) or {"code": "UNAVAILABLE"}, READ, self._local)
            raise Unavailable(f"{op}: refused") from None

    def _measure(self, before: Ms, after: Ms, reply: dict[str, Any]) -> None:
        """How far the venue's clock is ahead of the local one, and how wrong that may be."""
        state = self._state
        state.offset = reply["t"] - (before + after) // 2
        state.error = (after - before + 1) // 2 + 1
        state.stale = False
        if "ledger" in reply:
            state.height, state.base_fee = reply["ledger"]["height"], Decimal(reply["ledger"]["base_fee"])

    def _local(self, venue_ms: Ms) -> Ms:
        return venue_ms - self._state.offset + self._state.error


class _Orders(msgspec.Struct, forbid_unknown_fields=True):
    """An answer that shows orders and nothing else."""

    t: int
    orders: list[msgspec.Raw]


_read_orders = reader(_Orders)

_CLOSED = "the adapter is not open"
_NOTHING = Decimal(0)
_AMENDED = frozenset({"amount", "limit"})
_UNKNOWN_TERMS = VenueTerms(
    "none", 0, 0, 0, 0, 0, 0, 0, 0, 0, "", "off", (), Decimal(0), Decimal(0), "quote", "off", "off", "on"
)


def _decoded(data: bytes) -> dict[str, Any] | None:
    """An answer, or None if it is no whole JSON object with a time."""
    try:
        reply = decode(data)
    except ValueError:
        return None
    return reply if isinstance(reply, dict) and "t" in reply else None
