"""The comparison at the end: the venue's own ledger on one side, the kernel's store on the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from exchange_kernel.cli.demo.orders import Wanted
from exchange_kernel.models import ZERO, IntentStatus
from exchange_kernel.schema import AmountType, Side
from exchange_kernel.state import IntentStateStore
from exchange_kernel.state.rows import Record

PREFIX = "exk"
RESTING = (IntentStatus.WORKING, IntentStatus.PARTIALLY_FILLED)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked: over how many cases, and each case in which it does not hold."""

    what: str
    cases: int
    against: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VenueSide:
    """What the venue says. ``orders``: its ledger's, of this account, by client id. ``resting``: open orders by client
    id. ``foreign``: the ids of orders that a second program placed, and whether they are open."""

    orders: Mapping[str, Sequence[Mapping[str, Any]]]
    resting: Mapping[str, Mapping[str, Any]]
    foreign: Mapping[int, bool]


async def compare(wanted: Sequence[Wanted], venue: VenueSide, store: IntentStateStore, account: str) -> list[Finding]:
    """Every claim the product makes about these intents, checked."""
    records = {each.intent_id: await store.record(account, each.intent_id) for each in wanted}
    known = {name: record for name, record in records.items() if record is not None}
    lost = [f"{name} is not in the store" for name in records if name not in known]
    rows = [_Case(each, known[each.intent_id], venue) for each in wanted if each.intent_id in known]
    attempts = [(case, n) for case in rows for n in range(len(case.record.attempts))]
    ours = {client for case in rows for client in case.clients if client}
    strangers = [client for client in venue.orders if client.startswith(PREFIX) and client not in ours]
    unknown = [f"the venue has {client}, the store does not" for client in strangers]
    return [
        Finding("intents that were acknowledged are in the store", len(records), tuple(lost)),
        Finding("an attempt became at most one order", len(attempts), _against(c.doubled(n) for c, n in attempts)),
        Finding("an intent has at most one live order", len(rows), _against(case.live() for case in rows)),
        Finding("nothing was executed beyond what was asked", len(rows), _against(case.over() for case in rows)),
        Finding("our fills are the venue's fills", len(rows), _against(case.fills() for case in rows)),
        Finding("our statuses are the venue's", len(rows), _against(case.status() for case in rows)),
        Finding("each intent came to where it was meant to", len(rows), _against(case.end() for case in rows)),
        Finding("every order of ours at the venue is known to the store", len(venue.orders), tuple(unknown)),
        Finding("positions are the sum of the venue's executions", *await _positions(venue, store, account)),
        Finding(
            "orders of others were left alone",
            len(venue.foreign),
            tuple(f"order {number} is gone" for number, there in venue.foreign.items() if not there),
        ),
    ]


def _against(found: Any) -> tuple[str, ...]:
    return tuple(each for each in found if each)


async def _positions(venue: VenueSide, store: IntentStateStore, account: str) -> tuple[int, tuple[str, ...]]:
    built: dict[str, Decimal] = {}
    for orders in venue.orders.values():
        for order in orders:
            sign = 1 if order["side"] == Side.BUY else -1
            built[order["symbol"]] = built.get(order["symbol"], ZERO) + sign * Decimal(order["base"])
    stored = {row.symbol: row.amount for row in await store.positions(account)}
    symbols = sorted({*built, *stored})
    against = [
        f"{symbol}: {stored.get(symbol, ZERO)} here, {built.get(symbol, ZERO)} there"
        for symbol in symbols
        if stored.get(symbol, ZERO) != built.get(symbol, ZERO)
    ]
    return len(symbols), tuple(against)


class _Case:
    """One intent, both sides of it. Each check returns what is wrong, or ""."""

    def __init__(self, wanted: Wanted, record: Record, venue: VenueSide) -> None:
        self.wanted, self.record = wanted, record
        self._name = wanted.intent_id
        self.clients = [
            next((each.value for each in attempt.ids if each.kind == "client"), "") for attempt in record.attempts
        ]
        self._orders = [list(venue.orders.get(client, ())) for client in self.clients]
        self._resting = [venue.resting[client] for client in self.clients if client in venue.resting]
        self._base = sum((Decimal(order["base"]) for orders in self._orders for order in orders), ZERO)
        self._quote = sum((Decimal(order["quote"]) for orders in self._orders for order in orders), ZERO)

    def doubled(self, n: int) -> str:
        alive = [order for order in self._orders[n] if order["status"] != "REJECTED"]
        return f"{self._name}: attempt {n + 1} became {len(alive)} orders" if len(alive) > 1 else ""

    def live(self) -> str:
        return f"{self._name}: {len(self._resting)} live orders" if len(self._resting) > 1 else ""

    def over(self) -> str:
        in_quote = self.record.intent.order.amount_type is AmountType.QUOTE
        executed = self._quote if in_quote else self._base
        most = max(self.wanted.order.amount, self.record.intent.order.amount)
        return f"{self._name}: {executed} executed, {most} asked" if executed > most else ""

    def fills(self) -> str:
        progress = self.record.progress
        booked = (progress.filled_base, progress.filled_quote)
        if booked != (self._base, self._quote):
            return f"{self._name}: {booked[0]} for {booked[1]} here, {self._base} for {self._quote} there"
        count = sum(not fill.voided for fill in self.record.fills)
        there = sum(order["fills"] for orders in self._orders for order in orders)
        return f"{self._name}: {count} fills here, {there} there" if count != there else ""

    def status(self) -> str:
        status, order = self.record.progress.status, self.record.intent.order
        if status.terminal:
            return f"{self._name}: {status} here, live there" if self._resting else ""
        if status not in RESTING or not self._resting:
            return f"{self._name}: {status} here, {'live' if self._resting else 'nothing live'} there"
        view = self._resting[0]
        price, left = Decimal(view["limit"]), Decimal(view["amount"])
        if price != order.limit_price:
            return f"{self._name}: wanted at {order.limit_price}, rests at {price}"
        done = sum((Decimal(each["base"]) for orders in self._orders[:-1] for each in orders), ZERO)
        return f"{self._name}: wanted {order.amount}, rests for {left}" if left + done != order.amount else ""

    def end(self) -> str:
        status = self.record.progress.status
        return "" if status in self.wanted.ends else f"{self._name}: {status} ({self.record.progress.reason})"
