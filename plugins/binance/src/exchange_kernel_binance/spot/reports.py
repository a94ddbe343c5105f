"""What Binance says of spot orders, trades and balances, in the kernel's words.

Sources: rest-api.md (Order status, Trading endpoints, Account Endpoints), user-data-stream.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from exchange_kernel.schema import Side
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.venue import (
    Balance,
    Cost,
    Executed,
    Fill,
    OrderReport,
    VenueId,
    VenueStatus,
    Why,
)
from exchange_kernel_binance.names import key_of, list_id, order_id, trade_id

_STATUS = {
    "NEW": VenueStatus.WORKING,
    "PENDING_NEW": VenueStatus.DORMANT,
    "PARTIALLY_FILLED": VenueStatus.WORKING,
    "PENDING_CANCEL": VenueStatus.WORKING,
    "FILLED": VenueStatus.FILLED,
    "CANCELED": VenueStatus.CANCELED,
    "EXPIRED": VenueStatus.EXPIRED,
    "EXPIRED_IN_MATCH": VenueStatus.EXPIRED,
    "REJECTED": VenueStatus.REJECTED,
}
_BY_ITS_RULES = frozenset({"REJECTED", "EXCHANGE_CANCELED", "OCO_TRIGGER", "OTO_PHASE_ONE_EXPIRED"})
"""Why an order expired that its own terms would have let live."""
_STOPS = frozenset({"STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"})


class PlacedFill(msgspec.Struct):
    """An execution in the answer to a new order."""

    price: str
    qty: str
    commission: str
    commissionAsset: str
    tradeId: int


class OrderView(msgspec.Struct):
    """An order as a query, a new order's answer or a cancel's answer shows it."""

    symbol: str
    orderId: int
    clientOrderId: str
    price: str
    origQty: str
    executedQty: str
    cummulativeQuoteQty: str
    status: str
    type: str
    side: str
    origClientOrderId: str = ""
    origQuoteOrderQty: str = "0"
    transactTime: int = 0
    updateTime: int = 0
    time: int = 0
    isWorking: bool = True
    workingTime: int = 0
    orderListId: int = -1
    expiryReason: str = ""
    fills: list[PlacedFill] | None = None


class ListView(msgspec.Struct):
    """An order list as the answer to a new or a cancelled one shows it."""

    orderListId: int
    orderReports: list[OrderView]


class ListedOrder(msgspec.Struct):
    """An order's names in a list."""

    orderId: int
    clientOrderId: str


class ListMembers(msgspec.Struct):
    """The orders of a list as a query shows it."""

    orders: list[ListedOrder]


class AmendedOrder(msgspec.Struct):
    """The order in the answer to an amendment."""

    symbol: str
    orderId: int
    clientOrderId: str
    price: str
    qty: str
    executedQty: str
    cumulativeQuoteQty: str
    status: str
    type: str
    side: str
    orderListId: int = -1


class AmendView(msgspec.Struct):
    """The answer to an amendment."""

    transactTime: int
    amendedOrder: AmendedOrder


class TradeView(msgspec.Struct):
    """A trade as myTrades shows it."""

    symbol: str
    id: int
    orderId: int
    price: str
    qty: str
    commission: str
    commissionAsset: str
    time: int
    isMaker: bool


class BalanceView(msgspec.Struct):
    """One asset of the account."""

    asset: str
    free: str
    locked: str


class AccountView(msgspec.Struct):
    """The account."""

    uid: int
    canTrade: bool
    balances: list[BalanceView]


def report(
    view: OrderView, symbol: str, trades: Sequence[TradeView] | None = None, *, applied: bytes | None = None
) -> OrderReport:
    """An order. ``symbol``: its name with us; ``trades``: all of its trades, where they were asked for."""
    named = order_id(view.symbol, view.orderId)
    own = view.origClientOrderId or view.clientOrderId
    status = _status(view.status, view.type, view.isWorking and view.workingTime != -1)
    at = view.transactTime or view.updateTime or view.time
    filled = Executed(Decimal(view.executedQty), Decimal(view.cummulativeQuoteQty))
    if trades is not None:
        fills = tuple(fill(each, named) for each in trades)
    else:
        fills = tuple(_placed(each, view.symbol, named, at) for each in view.fills or ())
    return OrderReport(
        id=named,
        symbol=symbol,
        side=Side(view.side),
        status=status,
        as_of=at,
        key=key_of(own),
        links=_links(view.symbol, own, view.orderListId),
        why=_why(view.status, view.expiryReason),
        text="" if view.expiryReason == "NONE" else view.expiryReason,
        amount=Decimal(view.origQty) if not Decimal(view.origQuoteOrderQty) else None,
        price=Decimal(view.price) or None,
        applied=applied,
        filled=filled,
        fills=fills,
        fills_complete=sum((each.base for each in fills), Decimal(0)) == filled.base,
        final=status.terminal,
    )


def amended(view: AmendView, symbol: str, applied: bytes) -> OrderReport:
    """An order as an amendment left it."""
    order = view.amendedOrder
    named = order_id(order.symbol, order.orderId)
    status = _status(order.status, order.type, True)
    filled = Executed(Decimal(order.executedQty), Decimal(order.cumulativeQuoteQty))
    return OrderReport(
        id=named,
        symbol=symbol,
        side=Side(order.side),
        status=status,
        as_of=view.transactTime,
        key=key_of(order.clientOrderId),
        links=_links(order.symbol, order.clientOrderId, order.orderListId),
        amount=Decimal(order.qty),
        price=Decimal(order.price) or None,
        applied=applied,
        filled=filled,
        fills_complete=not filled.base,
        final=status.terminal,
    )


def fill(trade: TradeView, of: VenueId) -> Fill:
    """One trade of an order."""
    base, price = Decimal(trade.qty), Decimal(trade.price)
    name = trade_id(trade.symbol, trade.id)
    cost = Cost(f"{name}/fee", trade.commissionAsset, Decimal(trade.commission))
    return Fill(name, of, base, EXACT.multiply(base, price), price, trade.time, (cost,), maker=trade.isMaker)


def _placed(each: PlacedFill, symbol: str, of: VenueId, at: int) -> Fill:
    trade = TradeView(
        symbol, each.tradeId, 0, each.price, each.qty, each.commission, each.commissionAsset, at, isMaker=False
    )
    return fill(trade, of)


def executed(event: Mapping[str, Any], symbol: str) -> OrderReport:
    """An executionReport. Raises KeyError, ValueError for one that is not whole."""
    named = order_id(event["s"], event["i"])
    # A cancel and an amendment come with an id of their own; the order's is then the original one.
    own = event["C"] or event["c"]
    status = _status(event["X"], event["o"], bool(event["w"]))
    filled = Executed(Decimal(event["z"]), Decimal(event["Z"]))
    fills: tuple[Fill, ...] = ()
    if event["x"] == "TRADE":
        trade = TradeView(
            event["s"],
            event["t"],
            event["i"],
            event["L"],
            event["l"],
            event["n"],
            event["N"] or "",
            event["T"],
            event["m"],
        )
        fills = (fill(trade, named),)
    return OrderReport(
        id=named,
        symbol=symbol,
        side=Side(event["S"]),
        status=status,
        as_of=event["T"],
        key=key_of(own),
        links=_links(event["s"], own, event["g"]),
        why=_why(event["X"], event.get("eR", "")),
        text=_text(event),
        amount=Decimal(event["q"]) if not Decimal(event["Q"]) else None,
        price=Decimal(event["p"]) or None,
        filled=filled,
        fills=fills,
        fills_complete=sum((each.base for each in fills), Decimal(0)) == filled.base,
        final=status.terminal,
    )


def balances(views: Sequence[BalanceView]) -> tuple[Balance, ...]:
    """Free and locked, added up."""
    return tuple(balance(view.asset, view.free, view.locked) for view in views)


def decimal(text: object) -> Decimal:
    """A number as Binance writes it. Raises ValueError."""
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is no text of a number")
    return Decimal(text)


def balance(asset: str, free: str, locked: str) -> Balance:
    """One asset."""
    return Balance(asset, EXACT.add(Decimal(free), Decimal(locked)), Decimal(free))


def _status(said: str, kind: str, working: bool) -> VenueStatus:
    if said == "NEW" and kind in _STOPS and not working:
        return VenueStatus.DORMANT
    return _STATUS[said]


def _links(symbol: str, own: str, in_list: int) -> tuple[VenueId, ...]:
    """Its client id, and the list that it is in."""
    client = VenueId("client", own)
    return (client,) if in_list == -1 else (client, list_id(symbol, in_list))


def _text(event: Mapping[str, Any]) -> str:
    """Why it was refused, or why it expired (``eR``)."""
    return next((str(event[name]) for name in ("r", "eR") if event.get(name, "NONE") != "NONE"), "")


def _why(said: str, reason: str) -> Why:
    """``reason``: why it expired (enums.md, Expiry Reasons)."""
    return {"CANCELED": Why.USER, "EXPIRED_IN_MATCH": Why.SELF_TRADE}.get(
        said, Why.OTHER if reason in _BY_ITS_RULES else Why.NONE
    )
