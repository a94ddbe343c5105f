"""What is true at the venue: every answer says how far the state it was read from had got.

The rule behind all of it: the watermark is taken *before* the search (or, on a ledger venue, from the very state that
was searched). Taken after, an order that arrived in between would look absent at a time when it was there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from exchange_kernel.venue import (
    Absent,
    Found,
    Lookup,
    Ms,
    OrderReport,
    Ref,
    SlotEnd,
    Snapshot,
    Spec,
    StepReport,
    Unsure,
    VenueId,
    Watermark,
)
from exchange_kernel_paper.terms import VenueTerms
from exchange_kernel_paper.tickets import operation
from exchange_kernel_paper.translate import Translator, client_id, key_of

CLOCK_SPREAD_MS = 5_000
"""How much earlier than its attempt's first ticket an order may seem to be created when searching without ids."""


_GROUP = b'{"op":"group",'
PLACING = ("order", "group")
"""Operations that make orders."""


class Read(Protocol):
    """One read of the venue."""

    async def __call__(self, op: str, **fields: object) -> dict[str, Any]: ...


class Lookups:
    """Look-ups and snapshots of one account. ``clock``: local ms."""

    def __init__(
        self, read: Read, translator: Translator, terms: VenueTerms, scope: str, clock: Callable[[], Ms]
    ) -> None:
        self._read, self._translate, self._terms = read, translator, terms
        self._scope, self._clock = scope, clock

    async def marked(self, op: str, **fields: object) -> tuple[Watermark, dict[str, Any]]:
        """A read with its watermark. Raises Unavailable."""
        if self._terms.ledger:
            reply = await self._read(op, **fields)
            return self._ledger_mark(reply, None), reply
        now = (await self._read("time"))["t"]
        return Watermark(venue_ms=now), await self._read(op, **fields)

    async def find(self, ref: Ref) -> Lookup:
        """What became of one attempt. Raises Unavailable."""
        numbers = [int(known.value) for known in ref.ids if known.kind == "order"]
        groups = [client_id(ref.key)] if self._terms.client_ids else []
        if _places_group(ref):
            groups += [known.value for known in ref.ids if known.kind == "group" and known.value not in groups]
        if not self._terms.client_ids and not numbers and not groups:
            return await self._candidates(ref)
        clients = [client_id(ref.key)] if self._terms.client_ids else []
        rids = [client_id(key) for key in dict.fromkeys((ref.key, *(ticket.key for ticket in ref.tickets)))]
        at, reply = await self.marked("find", clients=clients, orders=numbers, groups=groups, rids=rids)
        ledger = reply.get("ledger")
        if ledger is not None:
            at = self._ledger_mark(reply, ref)
        reports = self._reports(ref, reply)
        if reports:
            return Found(tuple(reports), at)
        # What finished without a fill that long before the *answer* may be forgotten.
        forgets = self._terms.retention_ms and not _is_step(ref)
        since = reply["t"] - self._terms.retention_ms + 1 if forgets else 0
        return Absent(at, since, ("ledger", "pool") if ledger is not None else ("orders",))

    async def open_orders(self, page: str | None) -> Snapshot:
        """One page of the account's open orders, foreign ones included. Raises Unavailable."""
        at, reply = await self.marked("open", after=int(page or 0))
        ledger, following = reply.get("ledger"), reply["next"]
        reports = [self._translate.order(view, ledger) for view in reply["orders"]]
        reports += [leg for view in reply["pending"] if view["op"] in PLACING for leg in self._pending(view, reply)]
        return Snapshot(tuple(reports), at, True, None, "account", None if following is None else str(following))

    def _reports(self, ref: Ref, reply: dict[str, Any]) -> list[OrderReport | StepReport]:
        ledger = reply.get("ledger")
        known = None if self._terms.client_ids or _places_group(ref) else ref.key
        found: list[OrderReport | StepReport] = []
        found += [self._translate.order(view, ledger, known) for view in reply["orders"]]
        if not found:
            group = VenueId("group", client_id(ref.key))
            pending = [leg for view in reply["pending"] if view["op"] in PLACING for leg in self._pending(view, reply)]
            found += [leg for leg in pending if leg.key == ref.key or group in leg.links]
        for receipt in reply["receipts"]:
            key = key_of(receipt["rid"])
            assert key is not None
            own_step = key == ref.key and receipt["op"] not in PLACING
            # A failed amend or cancel is news about an order that is there; it is no sign of one that is not.
            failed_change = bool(found) and bool(receipt["code"]) and receipt["op"] in ("amend", "cancel", "settle")
            if own_step or failed_change:
                found.append(self._translate.step(receipt, key, ledger))
        return found

    def _pending(self, view: dict[str, Any], reply: dict[str, Any]) -> list[OrderReport]:
        return self._translate.waiting(view, reply["ledger"], reply["t"], self._clock())

    async def _candidates(self, ref: Ref) -> Unsure:
        """Without any id nothing is ever certain; orders that could be it are shown."""
        reply = await self._read("recent", symbol=ref.symbol, since=ref.placed_at - CLOCK_SPREAD_MS)
        reports = [self._translate.order(view) for view in reply["orders"]]
        alike = tuple(report for report in reports if ref.spec is None or _could_be(report, ref.spec))
        return Unsure("this venue has no client ids: only the answer to the order names it", None, alike)

    def _ledger_mark(self, reply: dict[str, Any], ref: Ref | None) -> Watermark:
        ledger = reply["ledger"]
        ends = (end for ticket in ref.tickets for end in ticket.fence.ends) if ref is not None else ()
        slots = [end.slot for end in ends if isinstance(end, SlotEnd) and end.slot.scope == self._scope]
        spent = frozenset(slot for slot in slots if slot.number < ledger["next_final"])
        return Watermark(ledger_ms=ledger["final_ms"], height=ledger["final"], spent=spent)


def _is_step(ref: Ref) -> bool:
    """Is this no order, but something enabled? Receipts of requests are kept for ever."""
    return bool(ref.tickets) and all(operation(ticket.body) == "enable" for ticket in ref.tickets)


def _places_group(ref: Ref) -> bool:
    """Does the reference mean a group, not one of its legs?"""
    return any(ticket.key == ref.key and ticket.body.startswith(_GROUP) for ticket in ref.tickets)


def _could_be(report: OrderReport, spec: Spec) -> bool:
    return (report.side, report.amount, report.price) == (spec.side, spec.amount, spec.limit)
