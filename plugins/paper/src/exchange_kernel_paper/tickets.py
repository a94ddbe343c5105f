"""Tickets: the signed bytes of one command, and the fence that says what may become of them.

The fence of each preset, and why:

=================  ================================================================================================
``time_window``    not repeatable: the venue takes a client id again once its order has filled. Dead when the venue's
                   clock has passed the window. (A cancel may be repeated: it names one order exactly.)
``sequence``       repeatable: a number is used once. Dead when something else has used the number, finally
``height``         repeatable: an id is used once. Dead when a block above the last valid one is final
``permanent_key``  repeatable: an id is accepted once, for ever. Never provably dead
``none``           not repeatable, never provably dead
=================  ================================================================================================
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from exchange_kernel.errors import NotSent, Unsupported
from exchange_kernel.schema import canonical
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.venue import (
    FOREVER,
    Fence,
    HeightEnd,
    Key,
    Money,
    Ms,
    PlaceGroup,
    Prep,
    SlotEnd,
    Spec,
    Ticket,
    TimeEnd,
    VenueId,
)
from exchange_kernel_paper.exchange import decode, encode, sign
from exchange_kernel_paper.terms import VenueTerms
from exchange_kernel_paper.translate import client_id

CODEC = "paper/1"
SCHEDULING_MS = 250
"""Part of every slack: how late the venue's own timers may fire."""
PATIENCE_MS = 2_000
"""Without any fence, a ticket that was not sent at once is not sent at all."""

_NAMED = {"order": "client", "group": "group"}
_EXACT = frozenset({"cancel", "settle"})
"""Operations that name one order, and do nothing to it a second time."""
_REPEATABLE = Fence(repeatable=True, ends=())
_UNREPEATABLE = Fence(repeatable=False, ends=())


@dataclass(slots=True)
class VenueState:
    """What the adapter knows of the venue right now. ``offset``: venue clock minus local clock, ms; ``error``: its
    bound.

    ``height`` and ``base_fee``: of the newest block, on ledger venues. ``stale``: measure again before the next ticket.
    """

    offset: Ms = 0
    error: Ms = 0
    height: int = 0
    base_fee: Decimal = Decimal(0)
    stale: bool = False


class Tickets:
    """Makes the tickets of one account."""

    def __init__(self, identity: str, account: str, secret: bytes, terms: VenueTerms, state: VenueState) -> None:
        self._identity, self._account, self._secret = identity, account, secret
        self._terms, self._state = terms, state
        self._slack = terms.engine_delay_ms + terms.read_lag_ms + SCHEDULING_MS

    @property
    def horizon(self) -> Ms | None:
        """Longest time after ``prepare`` at which a ticket may still take effect, ms; None: no limit."""
        terms = self._terms
        if terms.fence == "time_window":
            return terms.future_ms + terms.window_ms + self._slack
        if terms.fence == "height":
            return (terms.valid_blocks + 1) * terms.block_ms
        return None

    def request(self, op: str, **fields: object) -> bytes:
        """A signed read."""
        return sign(encode({"op": op, "account": self._account, **fields}), self._secret)

    def seal(
        self, op: str, key: Key, prep: Prep, fields: dict[str, Any], outlay: tuple[Money, ...] = (), note: str = ""
    ) -> Ticket:
        """The ticket of a change. To the request's ``fields`` come its id, its life and, last, its signature."""
        terms = self._terms
        request: dict[str, Any] = {"op": op, "account": self._account, **fields}
        ids: tuple[VenueId, ...] = ()
        if terms.client_ids:
            rid = client_id(key)
            ids = (VenueId(_NAMED.get(op, "request"), rid),)
            if rid != request.get("client") or op != "order":
                request["rid"] = rid
        if prep.instead_of is not None and terms.fence != "sequence":
            raise NotSent("this venue has no sequence numbers by which one ticket could replace another")
        fence, send_before = self._fence(op, request, prep)
        if terms.ledger:
            outlay = (*outlay, Money(terms.gas_asset, Decimal(request["fee"])))
        body = b"" if prep.dry else sign(encode(request), self._secret)
        return Ticket(key, body, CODEC, self._identity, fence, ids, min(send_before, prep.give_up), outlay, note)

    def whole(self, body: bytes) -> bool:
        """Is this what :meth:`seal` signed with the account's secret, to the last byte?"""
        payload, _, _ = body.partition(b"\n")
        return bool(payload) and hmac.compare_digest(sign(payload, self._secret), body)

    def _fence(self, op: str, request: dict[str, Any], prep: Prep) -> tuple[Fence, Ms]:
        """The fence, whose parameters go into the request, and the local ms before which to send."""
        terms = self._terms
        if terms.fence == "time_window":
            made = prep.now + self._state.offset
            request["ts"], request["window"] = made, terms.window_ms
            end = TimeEnd(made + terms.window_ms, "venue", self._slack)
            return Fence(op in _EXACT, (end,)), prep.now + terms.window_ms * 3 // 4
        if terms.fence == "sequence":
            slot = prep.take(self._identity)
            request["number"] = slot.number
            request["fee"] = canonical(self._fee(prep.instead_of))
            return Fence(True, (SlotEnd(slot),), "ledger"), FOREVER
        if terms.fence == "height":
            last = self._state.height + terms.valid_blocks
            request["last_height"], request["fee"] = last, canonical(self._state.base_fee)
            return Fence(True, (HeightEnd(last),), "ledger"), prep.now + terms.valid_blocks * terms.block_ms
        if terms.fence == "permanent_key":
            return _REPEATABLE, FOREVER
        return (_REPEATABLE if op in _EXACT else _UNREPEATABLE), prep.now + PATIENCE_MS

    def _fee(self, rival: Ticket | None) -> Decimal:
        """The base fee, or enough to take the place of ``rival``."""
        base = self._state.base_fee
        if rival is None:
            return base
        offered = Decimal(read_body(rival)["fee"])
        return max(base, EXACT.add(offered, max(base, Decimal("0.01"))))


def read_body(ticket: Ticket) -> dict[str, Any]:
    """The request in a ticket of this adapter."""
    request: dict[str, Any] = decode(ticket.body.partition(b"\n")[0])
    return request


def operation(body: bytes) -> str:
    """The operation a body names: its first field."""
    start = len(b'{"op":"')
    return body[start : body.index(b'"', start)].decode()


def place_fields(spec: Spec, client: str | None) -> dict[str, Any]:
    """The fields of a placing request."""
    fields: dict[str, Any] = {"symbol": spec.symbol, "side": spec.side.value, "amount": canonical(spec.amount)}
    if client is not None:
        fields["client"] = client
    if spec.amount_in.value != "BASE":
        fields["in"] = spec.amount_in.value
    if spec.limit is not None:
        fields["limit"] = canonical(spec.limit)
    if spec.guard is not None:
        fields["guard"] = canonical(spec.guard)
    fields["tif"] = spec.tif.value
    if spec.until is not None:
        fields["until"] = spec.until
    if spec.post_only:
        fields["post_only"] = True
    if spec.display is not None:
        fields["display"] = canonical(spec.display)
    return fields


def unsupported(command: object) -> Unsupported:
    """The refusal of a command this venue has no operation for."""
    feature = f"group_{command.kind}" if isinstance(command, PlaceGroup) else type(command).__name__.lower()
    return Unsupported(feature, "this venue has no such operation")
