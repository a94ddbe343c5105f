"""From the venue's words to the kernel's: orders, fills, receipts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from exchange_kernel.schema import Side
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.value import revised
from exchange_kernel.venue import (
    Balance,
    Cost,
    Executed,
    Fill,
    FillVoided,
    Key,
    Ms,
    Need,
    OrderReport,
    StepReport,
    VenueId,
    VenueStatus,
    Why,
)
from exchange_kernel_paper.exchange import decode
from exchange_kernel_paper.terms import VenueTerms

View = Mapping[str, Any]
Row = Sequence[Any]
"""One trade on the wire: id, price, base, quote, at, height, fee, its asset, whether the order was the maker, and, once
it was corrected, its revision."""

PREFIX = "exk"
ANSWERS = 1024
"""So many reports of answers are kept for the stream to repeat."""
ZERO = Decimal(0)

_STATUS = {
    "DORMANT": VenueStatus.DORMANT,
    "WORKING": VenueStatus.WORKING,
    "FILLED": VenueStatus.FILLED,
    "CANCELED": VenueStatus.CANCELED,
    "EXPIRED": VenueStatus.EXPIRED,
    "REJECTED": VenueStatus.REJECTED,
}
_WHY = {
    "USER": Why.USER,
    "SELF_TRADE": Why.SELF_TRADE,
    "INSUFFICIENT_FUNDS": Why.FUNDS,
    "WOULD_CROSS": Why.WOULD_CROSS,
    "MARKET_CLOSED": Why.MARKET_CLOSED,
    "LIQUIDATION": Why.LIQUIDATION,
    "ADL": Why.ADL,
    "SETTLEMENT": Why.SETTLEMENT,
}
_SIDES = {"BUY": Side.BUY, "SELL": Side.SELL}
_NOTHING = Executed()
_VERSIONS_PER_BLOCK = 1_000_000


def client_id(key: Key) -> str:
    """The client id of a key; :func:`key_of` reverses it."""
    return PREFIX + key.hex()


def key_of(client: str | None) -> Key | None:
    """The key behind a client id, or None if the id is not one of ours."""
    if client is None or not client.startswith(PREFIX):
        return None
    digits = client[len(PREFIX) :]
    try:
        key = bytes.fromhex(digits)
    except ValueError:
        return None
    return key if key and key.hex() == digits else None


class Translator:
    """Reports in the words of one venue with these terms."""

    def __init__(self, terms: VenueTerms) -> None:
        self._ledger = terms.ledger
        self._settles = terms.settle == "on"
        self._sequence = terms.fence == "sequence"
        self._answered: dict[bytes, OrderReport] = {}

    def answered(self, data: bytes) -> OrderReport:
        """One order as an answer shows it, which the stream is about to repeat."""
        report = self.order(decode(data))
        if len(self._answered) >= ANSWERS:
            self._answered.clear()
        self._answered[data] = report
        return report

    def told(self, data: bytes, ledger: View | None) -> OrderReport:
        """One order as the stream shows it. The same words say the same."""
        report = self._answered.pop(data, None) if ledger is None else None
        return self.order(decode(data), ledger) if report is None else report

    def order(self, view: View, ledger: View | None = None, key: Key | None = None) -> OrderReport:
        """One order. ``ledger``: the state of the ledger in the same read. ``key``: where the venue cannot show it.

        On a ledger venue an order is known by its client id, which exists before it is in a block; elsewhere, and where
        somebody gave it none, by the venue's.
        """
        symbol, client = view["symbol"], view.get("client")
        order_id = VenueId("order", str(view["id"]))
        named = self._named(view)
        links: tuple[VenueId, ...] = ()
        if client is not None:
            links = (order_id,) if self._ledger else (VenueId("client", client),)
            key = key_of(client)
        if "group" in view:
            links = (*links, VenueId("group", view["group"]))
        status = _STATUS[view["status"]]
        filled = tentative = _NOTHING
        final = status.terminal
        confirmations, version = None, view["version"]
        trades = view["trades"]
        # What rests may still be undone by the market: it is final when the order is.
        undone = self._settles and status is VenueStatus.WORKING
        settled = not undone
        if undone:
            tentative = Executed(Decimal(view["filled"]), Decimal(view["spent"]))
        if self._ledger:
            assert ledger is not None
            settled = not self._settles or (final and view["height"] <= ledger["final"])
            filled, tentative = _split(trades, ledger["final"] if settled else -1)
            final = final and view["height"] <= ledger["final"]
            confirmations = max(0, ledger["height"] - view["height"] + 1)
            version += ledger["height"] * _VERSIONS_PER_BLOCK  # what is final changes with each block
        elif view["filled"] != "0" and not undone:
            filled = Executed(Decimal(view["filled"]), Decimal(view["spent"]))
        limit, applied, why = view.get("limit"), view.get("applied"), view.get("why")
        return OrderReport(
            id=named,
            symbol=symbol,
            side=_SIDES[view["side"]],
            status=status,
            as_of=view["updated"],
            key=key,
            links=links,
            why=Why.NONE if why is None else self._why(why, status),
            text=why or "",
            amount=Decimal(view["amount"]),
            price=None if limit is None else Decimal(limit),
            applied=key if applied is None else key_of(applied),
            filled=filled,
            tentative=tentative,
            fills=self._fills(trades, named, symbol, ledger, settled=settled) if trades else (),
            fills_complete="partial" not in view,
            costs=_costs(view["costs"]) if "costs" in view else (),
            final=final,
            confirmations=confirmations,
            version=version,
            origin="venue" if view.get("origin") == "venue" else "account",
            need=Need("settle", view["updated"], "executed in full, and not settled") if "due" in view else None,
            raw={"amount_in": "QUOTE"} if view.get("in") == "QUOTE" else {},
        )

    def _fills(
        self, trades: Sequence[Row], of: VenueId, symbol: str, ledger: View | None, *, settled: bool
    ) -> tuple[Fill, ...]:
        fills = [self.fill(trade, of, symbol, ledger) for trade in trades]
        return tuple(fills) if settled else tuple([revised(fill, final=False) for fill in fills])

    def fill(self, trade: Row, of: VenueId, symbol: str, ledger: View | None = None) -> Fill:
        """One execution. The venue counts trades per symbol, so the symbol is part of the id."""
        number, price, base, quote, at, height, fee, fee_asset, maker, *revision = trade
        name = f"{symbol}/{number}"
        return Fill(
            id=name,
            of=of,
            base=Decimal(base),
            quote=Decimal(quote),
            price=Decimal(price),
            at=at,
            fees=(Cost(f"{name}/fee", fee_asset, Decimal(fee)),) if fee != "0" else (),
            maker=maker,
            revision=revision[0] if revision else 0,
            final=ledger is None or height <= ledger["final"],
        )

    def busted(self, bust: View) -> FillVoided:
        """A trade that the exchange took back."""
        return FillVoided(f"{bust['symbol']}/{bust['id']}", bust["revision"], Why.OTHER)

    def loose_fill(self, item: View, ledger: View | None) -> Fill:
        """A fill of history, whose order is given by its ids."""
        return self.fill(item["trade"], self._named(item), item["symbol"], ledger)

    def _named(self, view: View) -> VenueId:
        client = view.get("client") if self._ledger else None
        return VenueId("order", str(view["id"])) if client is None else VenueId("client", client)

    def waiting(self, view: View, ledger: View, now: Ms, local: Ms) -> list[OrderReport]:
        """The orders of a placing transaction that waits in the pool: one, or the legs of a group."""
        legs = [view] if view["op"] == "order" else [{**view, **leg, "group": view["rid"]} for leg in view["legs"]]
        return [self.pending(leg, ledger, now, local) for leg in legs]

    def pending(self, view: View, ledger: View, now: Ms, local: Ms) -> OrderReport:
        """An order whose transaction waits in the pool. ``now``: venue ms; ``local``: local ms."""
        cheap = Decimal(view["fee"]) < Decimal(ledger["base_fee"])
        limit, client = view.get("limit"), view.get("client")
        return OrderReport(
            id=VenueId("request", view["rid"]) if client is None else VenueId("client", client),
            symbol=view["symbol"],
            side=_SIDES[view["side"]],
            status=VenueStatus.PENDING,
            as_of=now,
            key=key_of(client),
            links=(VenueId("group", view["group"]),) if "group" in view else (),
            amount=Decimal(view["amount"]),
            price=None if limit is None else Decimal(limit),
            confirmations=0,
            need=Need("replace", local, "its fee is below the base fee") if cheap and self._sequence else None,
            raw={"amount_in": "QUOTE"} if view.get("in") == "QUOTE" else {},
        )

    def step(self, receipt: View, key: Key, ledger: View | None) -> StepReport:
        """What became of a command that is no order."""
        fee, code = receipt["fee"], receipt["code"]
        rid = receipt["rid"]
        return StepReport(
            id=VenueId("request", rid),
            key=key,
            state="failed" if code else "done",
            final=ledger is None or receipt["height"] <= ledger["final"],
            as_of=receipt["at"],
            why=(Why.REVERTED if self._ledger else _WHY.get(code, Why.OTHER)) if code else Why.NONE,
            text=code,
            costs=() if fee is None else (Cost(f"{rid}/fee", fee[0], Decimal(fee[1]), "network"),),
        )

    def balances(self, rows: Sequence[Sequence[str]]) -> tuple[Balance, ...]:
        """Rows of asset, free and held."""
        return tuple(
            Balance(asset, EXACT.add(Decimal(free), Decimal(held)), Decimal(free)) for asset, free, held in rows
        )

    def _why(self, code: str, status: VenueStatus) -> Why:
        if status is VenueStatus.REJECTED and self._ledger:
            return Why.REVERTED
        return _WHY.get(code, Why.FILTER if code.startswith("FILTER") else Why.OTHER)


def _costs(rows: Sequence[Row]) -> tuple[Cost, ...]:
    return tuple(Cost(f"{tx}/fee", asset, Decimal(fee), "network") for tx, asset, fee in rows)


def _split(trades: Sequence[Row], final_height: int) -> tuple[Executed, Executed]:
    """What is executed for good, and what beyond that a reorganisation could still undo."""
    sums = {True: [ZERO, ZERO], False: [ZERO, ZERO]}
    for _, _, base, quote, _, height, *_ in trades:
        part = sums[height <= final_height]
        part[0] = EXACT.add(part[0], Decimal(base))
        part[1] = EXACT.add(part[1], Decimal(quote))
    return Executed(*sums[True]), Executed(*sums[False])
