"""What Binance says of futures orders, trades, positions and balances, in the kernel's words.

Sources: USD-M futures documentation (Query Order, Account Trade List, Position Information V3, Futures Account Balance
V3, Event: Order Update, Event: Balance and Position Update).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal

import msgspec

from exchange_kernel.schema import Side
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.venue import (
    Balance,
    Cost,
    Executed,
    Fill,
    Leg,
    OrderReport,
    VenueId,
    VenuePosition,
    VenueStatus,
    Why,
)
from exchange_kernel_binance.names import key_of, order_id, trade_id

_STATUS = {
    "NEW": VenueStatus.WORKING,
    "PARTIALLY_FILLED": VenueStatus.WORKING,
    "FILLED": VenueStatus.FILLED,
    "CANCELED": VenueStatus.CANCELED,
    "EXPIRED": VenueStatus.EXPIRED,
    "EXPIRED_IN_MATCH": VenueStatus.EXPIRED,
    "REJECTED": VenueStatus.REJECTED,
}
LEGS: Mapping[str, Leg] = {"BOTH": "NET", "LONG": "LONG", "SHORT": "SHORT"}
"""What Binance calls the legs."""
_FORCED = {
    "autoclose-": Why.LIQUIDATION,
    "adl_autoclose": Why.ADL,
    "settlement_autoclose-": Why.SETTLEMENT,
    "delivery_autoclose-": Why.SETTLEMENT,
}
"""Client ids of orders that Binance makes itself (Event: Order Update)."""


class OrderView(msgspec.Struct):
    """An order as a query shows it, and as the answer to a new, changed or cancelled one does."""

    symbol: str
    orderId: int
    clientOrderId: str
    price: str
    origQty: str
    executedQty: str
    cumQuote: str
    status: str
    side: str
    updateTime: int
    positionSide: str = "BOTH"
    time: int = 0


class DoneView(msgspec.Struct):
    """The answer to the cancel of all orders (Cancel All Open Orders): it names none."""

    code: Literal[200]


class TradeView(msgspec.Struct):
    """A trade as userTrades shows it."""

    symbol: str
    id: int
    orderId: int
    price: str
    qty: str
    commission: str
    commissionAsset: str
    time: int
    maker: bool


class BalanceView(msgspec.Struct):
    """One asset of the wallet."""

    accountAlias: str
    asset: str
    balance: str
    availableBalance: str


class PositionView(msgspec.Struct):
    """One position."""

    symbol: str
    positionSide: str
    positionAmt: str
    entryPrice: str
    liquidationPrice: str
    isolatedWallet: str = "0"


class ArmedView(msgspec.Struct):
    """The countdown of a symbol, in ms; 0: none."""

    symbol: str
    countdownTime: str


def report(
    view: OrderView, symbol: str, trades: Sequence[TradeView] | None = None, *, applied: bytes | None = None
) -> OrderReport:
    """An order. ``symbol``: its name with us; ``trades``: all of its trades, where they were asked for."""
    named = order_id(view.symbol, view.orderId)
    filled = Executed(Decimal(view.executedQty), Decimal(view.cumQuote))
    fills = tuple(fill(each, named) for each in trades or ())
    return _report(
        named, symbol, view.side, view.status, view.clientOrderId, view.positionSide, view.updateTime, filled, fills,
        Decimal(view.origQty), Decimal(view.price), applied,
    )  # fmt: skip


def executed(order: Mapping[str, Any], symbol: str) -> OrderReport:
    """The order of an ORDER_TRADE_UPDATE. Raises KeyError, ValueError for one that is not whole."""
    named = order_id(order["s"], order["i"])
    filled = Executed(Decimal(order["z"]), EXACT.multiply(Decimal(order["z"]), Decimal(order["ap"])))
    fills: tuple[Fill, ...] = ()
    if order["x"] in ("TRADE", "CALCULATED") and Decimal(order["l"]):
        trade = TradeView(
            order["s"], order["t"], order["i"], order["L"], order["l"], order["n"], order["N"], order["T"], order["m"]
        )
        fills = (fill(trade, named),)
    return _report(
        named, symbol, order["S"], order["X"], order["c"], order["ps"], order["T"], filled, fills,
        Decimal(order["q"]), Decimal(order["p"]), None,
    )  # fmt: skip


def _report(
    named: VenueId,
    symbol: str,
    side: str,
    said: str,
    client: str,
    leg: str,
    at: int,
    filled: Executed,
    fills: tuple[Fill, ...],
    amount: Decimal,
    price: Decimal,
    applied: bytes | None,
) -> OrderReport:
    status = _STATUS[said]
    forced = next((why for prefix, why in _FORCED.items() if client.startswith(prefix)), None)
    origin: Literal["account", "venue"] = "account" if forced is None else "venue"
    return OrderReport(
        id=named,
        symbol=symbol,
        side=Side(side),
        status=status,
        as_of=at,
        key=key_of(client),
        links=(VenueId("client", client),),
        leg=LEGS[leg],
        why=forced or {"CANCELED": Why.USER, "EXPIRED_IN_MATCH": Why.SELF_TRADE}.get(said, Why.NONE),
        amount=amount,
        price=price or None,
        applied=applied,
        filled=filled,
        fills=fills,
        fills_complete=sum((each.base for each in fills), Decimal(0)) == filled.base,
        final=status.terminal,
        origin=origin,
    )


def fill(trade: TradeView, of: VenueId) -> Fill:
    """One trade of an order."""
    base, price = Decimal(trade.qty), Decimal(trade.price)
    name = trade_id(trade.symbol, trade.id)
    cost = Cost(f"{name}/fee", trade.commissionAsset, Decimal(trade.commission))
    return Fill(name, of, base, EXACT.multiply(base, price), price, trade.time, (cost,), maker=trade.maker)


def balances(views: Sequence[BalanceView]) -> tuple[Balance, ...]:
    """Wallet balances; what margin holds of them is not free."""
    return tuple(Balance(each.asset, Decimal(each.balance), Decimal(each.availableBalance)) for each in views)


def position(view: PositionView, symbol: str) -> VenuePosition:
    """One position; short is below zero."""
    return VenuePosition(
        symbol,
        LEGS[view.positionSide],
        Decimal(view.positionAmt),
        Decimal(view.entryPrice) or None,
        Decimal(view.liquidationPrice) or None,
        isolated=bool(Decimal(view.isolatedWallet)),
    )


def moved(each: Mapping[str, Any], symbol: str) -> VenuePosition:
    """One position of an ACCOUNT_UPDATE."""
    return VenuePosition(
        symbol, LEGS[each["ps"]], Decimal(each["pa"]), Decimal(each["ep"]) or None, isolated=each["mt"] == "isolated"
    )
