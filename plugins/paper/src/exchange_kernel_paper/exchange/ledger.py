"""The exchange's own ledger: every request that arrived, every order, fill and end. Append-only; the tests' judge.

It is written beside the orders, never read by the exchange, and never forgets. Writing appends one entry; what became
of each order is worked out from the entries when somebody asks.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from exchange_kernel_paper.exchange.numbers import EXACT, ZERO, text
from exchange_kernel_paper.exchange.orders import DORMANT, FILLED, WORKING, Order, Trade

Entry = tuple[int, str, str, Any, Any]
"""Venue ms UTC, what happened, account, request id (``arrived``, ``refused``) or order id, and a detail."""


class OrderRecord:
    """What became of one order: ``base`` and ``quote`` executed, ``most`` the largest total it was ever allowed.

    ``group``: name, kind and place in it of a group's leg, else None."""

    __slots__ = (
        "account",
        "at",
        "base",
        "client",
        "fills",
        "group",
        "id",
        "in_quote",
        "most",
        "quote",
        "side",
        "status",
        "symbol",
        "why",
    )

    def __init__(
        self,
        number: int,
        account: str,
        at: int,
        client: str | None,
        symbol: str,
        side: str,
        amount: Decimal,
        unit: str,
        group: tuple[str, str, int] | None = None,
        status: str = WORKING,
    ) -> None:
        self.id, self.account, self.at, self.client = number, account, at, client
        self.symbol, self.side, self.most, self.in_quote = symbol, side, amount, unit == "QUOTE"
        self.base = self.quote = ZERO
        self.fills = 0
        self.status, self.why, self.group = status, "", group

    @property
    def live(self) -> bool:
        """True while it rests."""
        return self.status == WORKING

    @property
    def executed(self) -> Decimal:
        """What is executed, in the unit of ``most``."""
        return self.quote if self.in_quote else self.base

    def view(self) -> dict[str, object]:
        """This record as JSON-able data."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        return {name: text(value) if isinstance(value, Decimal) else value for name, value in plain.items()}


class Ledger:
    """See the module. ``entries`` is the ledger; everything else is read from it."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._read = 0
        self._orders: dict[int, OrderRecord] = {}
        self._by_client: dict[str, list[OrderRecord]] = {}

    # written by the exchange ------------------------------------------------------------------------------------

    def arrived(self, now: int, account: str, op: str, request_id: str) -> None:
        """A request reached the exchange, whatever becomes of it."""
        self.entries.append((now, "arrived", account, request_id, op))

    def refused(self, now: int, account: str, request_id: str, code: str) -> None:
        """It was refused."""
        self.entries.append((now, "refused", account, request_id, code))

    def created(self, now: int, order: Order) -> None:
        """An order came to be."""
        unit = "QUOTE" if order.in_quote else "BASE"
        terms: tuple[object, ...] = (order.client, order.market.symbol, order.side, order.amount, unit)
        if order.group is not None:
            terms = (*terms, (order.group.name, order.group.kind, order.group.legs.index(order)), order.status)
        self.entries.append((now, "created", order.account.name, order.id, terms))

    def woken(self, now: int, order: Order) -> None:
        """The leg it waited for is wholly filled."""
        self.entries.append((now, "woken", order.account.name, order.id, ""))

    def amended(self, now: int, order: Order) -> None:
        """Its terms changed."""
        self.entries.append((now, "amended", order.account.name, order.id, order.amount))

    def traded(self, now: int, order: Order, trade: Trade) -> None:
        """A part of it was executed."""
        self.entries.append((now, "traded", order.account.name, order.id, trade))

    def corrected(self, now: int, order: Order, was: Trade, trade: Trade) -> None:
        """A trade was restated afterwards."""
        self.entries.append((now, "corrected", order.account.name, order.id, (was, trade)))

    def finished(self, now: int, order: Order) -> None:
        """It ended."""
        self.entries.append((now, order.status, order.account.name, order.id, order.why))

    # asked by tests ---------------------------------------------------------------------------------------------

    def orders(self) -> tuple[OrderRecord, ...]:
        """Every order there ever was, oldest first."""
        return tuple(self._fold().values())

    def orders_by_client_id(self, client: str) -> tuple[OrderRecord, ...]:
        """Every order that ever carried this client id, oldest first."""
        self._fold()
        return tuple(self._by_client.get(client, ()))

    def client_ids(self) -> tuple[str, ...]:
        """Every client id that ever became an order, in order of first appearance."""
        self._fold()
        return tuple(self._by_client)

    def executed(self, client: str) -> tuple[Decimal, Decimal]:
        """Base and quote executed by all orders of this client id together."""
        return _sum(self.orders_by_client_id(client))

    def arrivals(self, request_id: str, account: str | None = None) -> int:
        """How many requests with this id reached the exchange, copies included."""
        return sum(
            kind == "arrived" and request == request_id and account in (None, name)
            for _, kind, name, request, _ in self.entries
        )

    def doubled(self) -> dict[str, tuple[OrderRecord, ...]]:
        """Client ids that became more than one order that was not rejected: nothing should ever be here."""
        accepted = {
            client: tuple(record for record in self.orders_by_client_id(client) if record.status != "REJECTED")
            for client in self.client_ids()
        }
        return {client: records for client, records in accepted.items() if len(records) > 1}

    def groups(self) -> dict[str, tuple[OrderRecord, ...]]:
        """The legs of every group that was accepted, by account and name, in order."""
        out: dict[str, tuple[OrderRecord, ...]] = {}
        for record in self.orders():
            if record.group is not None:
                name = f"{record.account} {record.group[0]}"
                out[name] = (*out.get(name, ()), record)
        return out

    def unruly(self) -> dict[str, tuple[OrderRecord, ...]]:
        """Groups that broke their own rule: nothing should ever be here."""
        return {name: legs for name, legs in self.groups().items() if not _orderly(legs)}

    def totals(self, account: str | None = None) -> dict[str, object]:
        """How many orders, live orders and fills there are, and how much was executed per symbol and side."""
        records = [record for record in self.orders() if account in (None, record.account)]
        markets = sorted({(record.symbol, record.side) for record in records})
        sums = {market: _sum(r for r in records if (r.symbol, r.side) == market) for market in markets}
        return {
            "orders": len(records),
            "live": sum(record.live for record in records),
            "fills": sum(record.fills for record in records),
            "executed": {f"{symbol} {side}": [text(each) for each in sums[symbol, side]] for symbol, side in markets},
        }

    def dump(self) -> dict[str, object]:
        """The whole ledger as JSON-able data."""
        return {
            "entries": [
                [at, kind, account, subject, _plain(detail)] for at, kind, account, subject, detail in self.entries
            ],
            "orders": [record.view() for record in self.orders()],
            "totals": self.totals(),
        }

    def _fold(self) -> dict[int, OrderRecord]:
        """Read what was written since the last time."""
        for at, kind, account, subject, detail in self.entries[self._read :]:
            if kind == "created":
                record = self._orders[subject] = OrderRecord(subject, account, at, *detail)
                if record.client is not None:
                    self._by_client.setdefault(record.client, []).append(record)
            elif kind == "amended":
                self._orders[subject].most = max(self._orders[subject].most, detail)
            elif kind == "traded":
                record = self._orders[subject]
                record.base, record.quote = EXACT.add(record.base, detail.base), EXACT.add(record.quote, detail.quote)
                record.fills += 1
            elif kind == "corrected":
                record, (was, trade) = self._orders[subject], detail
                record.base = EXACT.add(record.base, EXACT.subtract(trade.base, was.base))
                record.quote = EXACT.add(record.quote, EXACT.subtract(trade.quote, was.quote))
            elif kind == "woken":
                self._orders[subject].status = WORKING
            elif kind not in ("arrived", "refused"):
                self._orders[subject].status, self._orders[subject].why = kind, detail
        self._read = len(self.entries)
        return self._orders


def _orderly(legs: tuple[OrderRecord, ...]) -> bool:
    """Of rivals one at most has traded and then the other is over; what waits does so until the first is filled."""
    assert legs[0].group is not None
    kind = legs[0].group[1]
    rivals = {"oco": legs, "oto": (), "bracket": legs[1:]}[kind]
    traded = [leg for leg in rivals if leg.fills]
    if len(traded) > 1 or (traded and any(leg.live for leg in rivals if leg is not traded[0])):
        return False
    waits = legs[1:] if kind != "oco" else ()
    first_filled = legs[0].status == FILLED
    return all(leg.status == DORMANT or first_filled or not (leg.live or leg.fills) for leg in waits)


def _sum(records: Iterable[OrderRecord]) -> tuple[Decimal, Decimal]:
    base = quote = ZERO
    for record in records:
        base, quote = EXACT.add(base, record.base), EXACT.add(quote, record.quote)
    return base, quote


def _plain(detail: object) -> object:
    if isinstance(detail, Trade):
        return f"{detail.symbol}/{detail.id}"
    if isinstance(detail, tuple):
        return [_plain(each) for each in detail]
    return text(detail) if isinstance(detail, Decimal) else detail
