"""Conditional futures orders: objects of the algo service, each of which becomes an order of its own when it triggers.

The conditional order never executes. Its ``clientAlgoId`` is the client id of the order that it places; that order's
number is ``actualOrderId`` from then on. Both are one attempt: as long as there is no order, the conditional order is
told of; then the order is, linked to it.

Sources: USD-M futures documentation (New Algo Order, Cancel Algo Order, Query Algo Order, Current All Algo Open Orders,
Event: Algo Order Update).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgspec

from exchange_kernel.errors import Unavailable
from exchange_kernel.schema import PriceSource, Side, TriggerKind, canonical
from exchange_kernel.value import revised
from exchange_kernel.venue import Absent, Found, Key, Lookup, OrderReport, Ref, Spec, VenueId, VenueStatus, Why
from exchange_kernel_binance.lookups import Lookups
from exchange_kernel_binance.names import algo_id, client_id, key_of, number_of, order_id
from exchange_kernel_binance.session import Fields, NoSuch, Session, decoder
from exchange_kernel_binance.usdm.markets import Contract
from exchange_kernel_binance.usdm.orders import leg_of
from exchange_kernel_binance.usdm.reports import LEGS, OrderView, TradeView

PLACE = ("POST", "fapiPrivate", "algoOrder")
CANCEL = ("DELETE", "fapiPrivate", "algoOrder")
OPEN = ("GET", "fapiPrivate", "openAlgoOrders")
_ONE = ("GET", "fapiPrivate", "algoOrder")
WORKING_TYPES = {PriceSource.LAST: "CONTRACT_PRICE", PriceSource.MARK: "MARK_PRICE"}
"""Which price it watches."""
_TYPES = {
    (TriggerKind.STOP_LOSS, True): "STOP_MARKET",
    (TriggerKind.STOP_LOSS, False): "STOP",
    (TriggerKind.TAKE_PROFIT, True): "TAKE_PROFIT_MARKET",
    (TriggerKind.TAKE_PROFIT, False): "TAKE_PROFIT",
    (TriggerKind.TRAILING_STOP, True): "TRAILING_STOP_MARKET",
}
_STATUS = {
    "NEW": VenueStatus.DORMANT,
    "TRIGGERING": VenueStatus.TRIGGERING,
    "TRIGGERED": VenueStatus.TRIGGERING,
    "FINISHED": VenueStatus.TRIGGERING,
    "CANCELED": VenueStatus.CANCELED,
    "EXPIRED": VenueStatus.EXPIRED,
    "REJECTED": VenueStatus.REJECTED,
}


class AlgoView(msgspec.Struct):
    """A conditional order as a query shows it, and as the answer to a new one does."""

    algoId: int
    clientAlgoId: str
    symbol: str
    side: str
    positionSide: str
    algoStatus: str
    quantity: str
    price: str
    createTime: int
    updateTime: int
    actualOrderId: str = ""


class CanceledView(msgspec.Struct):
    """The answer to a cancel."""

    algoId: int
    clientAlgoId: str


read_one = decoder(AlgoView)
read_open = decoder(list[AlgoView])
read_canceled = decoder(CanceledView)


def is_conditional(ref: Ref) -> bool:
    """May this attempt have a conditional order? Of one without its spec nobody knows."""
    return ref.spec is None or ref.spec.trigger is not None or any(known.kind == "algo" for known in ref.ids)


def waits(ref: Ref) -> bool:
    """Is it, as far as is known, a conditional order that has placed no order yet?"""
    ours = any(known.kind == "algo" for known in ref.ids) or (ref.spec is not None and ref.spec.trigger is not None)
    return ours and not any(known.kind == "order" for known in ref.ids)


def place(spec: Spec, key: Key, contract: Contract, hedge: bool) -> Fields:
    """A new conditional order; ``spec`` as previewed."""
    trigger = spec.trigger
    assert trigger is not None
    leg = leg_of(spec, hedge)
    fields = [("algoType", "CONDITIONAL"), ("symbol", contract.name), ("side", spec.side.value)]
    if leg != "NET":
        fields.append(("positionSide", leg))
    fields.append(("type", _TYPES[trigger.kind, spec.limit is None]))
    if spec.limit is not None:
        fields += [("timeInForce", spec.tif.value), ("price", canonical(spec.limit))]
    fields.append(("quantity", canonical(spec.amount)))
    if trigger.price is not None:
        fields.append(("triggerPrice", canonical(trigger.price)))
    if trigger.activation is not None:
        fields.append(("activatePrice", canonical(trigger.activation)))
    if trigger.offset is not None:
        fields.append(("callbackRate", canonical(trigger.offset)))
    fields.append(("workingType", WORKING_TYPES[trigger.source]))
    if spec.reduce_only and leg == "NET":
        fields.append(("reduceOnly", "true"))
    return (*fields, ("clientAlgoId", client_id(key)))


def cancel(ref: Ref) -> Fields:
    """A cancel of exactly this conditional order; the order that it may have placed meanwhile is not touched."""
    number = next((number_of(known) for known in ref.ids if known.kind == "algo"), None)
    return (("clientAlgoId", client_id(ref.key)),) if number is None else (("algoId", str(number)),)


def report(view: AlgoView, symbol: str) -> OrderReport:
    """A conditional order. ``symbol``: its name with us."""
    return _report(
        view.symbol, symbol, view.algoId, view.clientAlgoId, view.side, view.positionSide, view.algoStatus,
        view.updateTime, view.quantity, view.price, view.actualOrderId, "",
    )  # fmt: skip


def told(order: Mapping[str, Any], at: int, symbol: str) -> OrderReport:
    """The conditional order of an ALGO_UPDATE. Raises KeyError, ValueError for one that is not whole."""
    return _report(
        order["s"], symbol, order["aid"], order["caid"], order["S"], order["ps"], order["X"],
        at, order["q"], order["p"], order.get("ai", ""), order.get("rm") or "",
    )  # fmt: skip


def _report(
    venue_symbol: str,
    symbol: str,
    number: int,
    client: str,
    side: str,
    leg: str,
    said: str,
    at: int,
    amount: str,
    price: str,
    child: str,
    text: str,
) -> OrderReport:
    placed = _number(child)
    status = _STATUS.get(said)
    if status is None:
        raise Unavailable(f"conditional order {number} is {said}, which is not documented")
    # Once there is an order, the end is the order's.
    status = VenueStatus.TRIGGERING if placed else status
    links = [VenueId("client", client)] + ([order_id(venue_symbol, placed)] if placed else [])
    return OrderReport(
        id=algo_id(venue_symbol, number),
        symbol=symbol,
        side=Side(side),
        status=status,
        as_of=at,
        key=key_of(client),
        links=tuple(links),
        leg=LEGS[leg],
        why=Why.USER if status is VenueStatus.CANCELED else Why.NONE,
        text=text,
        amount=Decimal(amount),
        price=Decimal(price) or None,
        fills_complete=True,
        final=status.terminal,
    )


def _number(child: str) -> int:
    """The order that it has placed; 0 for none, which is said in several ways."""
    return int(child) if child else 0


class Conditional:
    """Look-ups of attempts that may have a conditional order."""

    def __init__(self, session: Session, lookups: Lookups[OrderView, TradeView]) -> None:
        self._session, self._lookups = session, lookups

    async def find(self, ref: Ref, venue_symbol: str) -> Lookup:
        """The order that it has placed, else the conditional order itself. Raises Unavailable."""
        plain = await self._lookups.find(ref, venue_symbol)
        view = await self._one(ref)
        if view is None:
            return plain if isinstance(plain, Found) else self._without(ref, venue_symbol, plain)
        own = report(view, ref.symbol)
        child = _number(view.actualOrderId)
        if child and not isinstance(plain, Found):  # it was placed between the two questions, or was forgotten
            again = await self._lookups.find(revised(ref, ids=(*ref.ids, order_id(venue_symbol, child))), venue_symbol)
            plain = again if isinstance(again, Found) else plain
        if isinstance(plain, Found):
            linked = (own.id, *own.links)
            return Found(tuple(_joined(each, linked) for each in plain.reports), plain.at)
        if not isinstance(plain, Absent):
            return plain
        return Found((own,), plain.at)

    async def open(self, venue: Mapping[str, str]) -> list[OrderReport]:
        """Those that wait. ``venue``: our names of contracts. Raises Unavailable."""
        views = await self._session.read(OPEN, (), read_open)
        return [report(view, venue.get(view.symbol, view.symbol)) for view in views]

    async def _one(self, ref: Ref) -> AlgoView | None:
        number = next((number_of(known) for known in ref.ids if known.kind == "algo"), None)
        target = ("clientAlgoId", client_id(ref.key)) if number is None else ("algoId", str(number))
        try:
            return await self._session.read(_ONE, (target,), read_one)
        except NoSuch:
            return None

    def _without(self, ref: Ref, venue_symbol: str, plain: Lookup) -> Lookup:
        """Neither is there. One that was seen, and that by now is unknown only if it ended without a fill, did so."""
        number = next((number_of(known) for known in ref.ids if known.kind == "algo"), None)
        if not isinstance(plain, Absent):
            return plain
        at = plain.at.venue_ms
        if number is None or at is None or not self._lookups.forgets(ref, at):
            return revised(plain, looked=(*plain.looked, "algoOrder"))
        return Found(
            (
                OrderReport(
                    id=algo_id(venue_symbol, number),
                    symbol=ref.symbol,
                    side=Side.BUY if ref.spec is None else ref.spec.side,
                    status=VenueStatus.EXPIRED,
                    as_of=at,
                    key=ref.key,
                    links=(VenueId("client", client_id(ref.key)),),
                    why=Why.OTHER,
                    text="archived: cancelled or expired without a fill",
                    fills_complete=True,
                    final=True,
                ),
            ),
            plain.at,
        )


def _joined(each: Any, links: tuple[VenueId, ...]) -> Any:
    """A report of the order, with the conditional order's ids."""
    if not isinstance(each, OrderReport):
        return each
    more = tuple(link for link in links if link != each.id and link not in each.links)
    return revised(each, links=(*each.links, *more))
