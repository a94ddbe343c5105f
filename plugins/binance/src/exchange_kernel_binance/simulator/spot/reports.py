"""Orders as the wire shows them: replies, queries and user-stream events.

Sources: rest-api.md (Trading endpoints, Account Endpoints), user-data-stream.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from exchange_kernel_binance.simulator.accounts import Account
from exchange_kernel_binance.simulator.numbers import ZERO, text
from exchange_kernel_binance.simulator.spot.orders import (
    Order,
    OrderList,
    PreventedMatch,
    Trade,
)


def _conditional(order: Order) -> dict[str, Any]:
    """Fields that appear only where they mean something (Conditional fields in Order Responses)."""
    fields: dict[str, Any] = {}
    if order.is_stop:
        fields["stopPrice"] = text(order.stop_price or ZERO)
    if order.iceberg:
        fields["icebergQty"] = text(order.iceberg)
    if order.trailing_delta is not None:
        fields["trailingDelta"] = order.trailing_delta
        fields["trailingTime"] = order.trailing_time
    if order.strategy_id is not None:
        fields["strategyId"] = order.strategy_id
    if order.strategy_type is not None:
        fields["strategyType"] = order.strategy_type
    if order.prevented_match is not None:
        fields["preventedMatchId"] = order.prevented_match
        fields["preventedQuantity"] = text(order.prevented)
    if order.reason is not None:
        fields["expiryReason"] = order.reason
    return fields


def _result(order: Order, now: int) -> dict[str, Any]:
    return {
        "symbol": order.symbol,
        "orderId": order.order_id,
        "orderListId": order.list_id,
        "clientOrderId": order.client_id,
        "transactTime": now,
        "price": text(order.price),
        "origQty": text(order.quantity),
        "executedQty": text(order.executed),
        "origQuoteOrderQty": text(order.quote_quantity),
        "cummulativeQuoteQty": text(order.quote_executed),
        "status": order.status,
        "timeInForce": order.time_in_force,
        "type": order.type,
        "side": order.side,
    }


def placed(order: Order, kind: str | None, now: int) -> dict[str, Any]:
    """The reply to a new order; `kind` is newOrderRespType. Its time is that of what the matching engine did."""
    now = order.fills[-1].time if order.fills else now
    shape = kind or ("FULL" if order.type in ("MARKET", "LIMIT") else "ACK")
    if shape == "ACK":
        return {
            "symbol": order.symbol,
            "orderId": order.order_id,
            "orderListId": order.list_id,
            "clientOrderId": order.client_id,
            "transactTime": now,
        }
    # What trades at once has traded at the time of the transaction.
    at = order.fills[-1].time if order.fills else now
    reply = _result(order, at) | {"workingTime": order.working_time}
    if shape == "FULL":
        reply["fills"] = [
            {
                "price": text(trade.price),
                "qty": text(trade.quantity),
                "commission": text(trade.commission),
                "commissionAsset": trade.commission_asset,
                "tradeId": trade.trade_id,
            }
            for trade in order.fills
        ]
    return reply | _conditional(order) | {"selfTradePreventionMode": order.stp}


def cancelled(order: Order, cancel_id: str, now: int) -> dict[str, Any]:
    """The reply to a cancel; the cancel has an id of its own."""
    reply = _result(order, now)
    reply = {"symbol": reply.pop("symbol"), "origClientOrderId": order.client_id, **reply}
    reply["clientOrderId"] = cancel_id
    return reply | _conditional(order) | {"selfTradePreventionMode": order.stp}


def queried(order: Order) -> dict[str, Any]:
    """An order as a query shows it."""
    reply: dict[str, Any] = {
        "symbol": order.symbol,
        "orderId": order.order_id,
        "orderListId": order.list_id,
        "clientOrderId": order.client_id,
        "price": text(order.price),
        "origQty": text(order.quantity),
        "executedQty": text(order.executed),
        "cummulativeQuoteQty": text(order.quote_executed),
        "status": order.status,
        "timeInForce": order.time_in_force,
        "type": order.type,
        "side": order.side,
        "stopPrice": text(order.stop_price or ZERO),
        "icebergQty": text(order.iceberg),
        "time": order.created,
        "updateTime": order.updated,
        "isWorking": order.working,
        "workingTime": order.working_time,
        "origQuoteOrderQty": text(order.quote_quantity),
        "selfTradePreventionMode": order.stp,
    }
    return reply | _conditional(order)


def amended(order: Order, old_client_id: str) -> dict[str, Any]:
    """The `amendedOrder` of amend-keep-priority."""
    reply = {
        "symbol": order.symbol,
        "orderId": order.order_id,
        "orderListId": order.list_id,
        "origClientOrderId": old_client_id,
        "clientOrderId": order.client_id,
        "price": text(order.price),
        "qty": text(order.quantity),
        "executedQty": text(order.executed),
        "preventedQty": text(order.prevented),
        "quoteOrderQty": text(order.quote_quantity),
        "cumulativeQuoteQty": text(order.quote_executed),
        "status": order.status,
        "timeInForce": order.time_in_force,
        "type": order.type,
        "side": order.side,
        **_conditional(order),
        "selfTradePreventionMode": order.stp,
    }
    if order.working_time != -1:
        reply["workingTime"] = order.working_time
    return reply


def traded(trade: Trade) -> dict[str, Any]:
    """A trade as myTrades shows it."""
    return {
        "symbol": trade.symbol,
        "id": trade.trade_id,
        "orderId": trade.order_id,
        "orderListId": trade.list_id,
        "price": text(trade.price),
        "qty": text(trade.quantity),
        "quoteQty": text(trade.quote),
        "commission": text(trade.commission),
        "commissionAsset": trade.commission_asset,
        "time": trade.time,
        "isBuyer": trade.side == "BUY",
        "isMaker": trade.is_maker,
        "isBestMatch": True,
    }


def prevented(match: PreventedMatch) -> dict[str, Any]:
    """An entry of myPreventedMatches."""
    reply: dict[str, Any] = {
        "symbol": match.symbol,
        "preventedMatchId": match.match_id,
        "takerOrderId": match.taker_order,
        "makerSymbol": match.symbol,
        "makerOrderId": match.maker_order,
        "tradeGroupId": -1,
        "selfTradePreventionMode": match.mode,
        "price": text(match.price),
    }
    if match.taker_quantity:
        reply["takerPreventedQuantity"] = text(match.taker_quantity)
    if match.maker_quantity:
        reply["makerPreventedQuantity"] = text(match.maker_quantity)
    return reply | {"transactTime": match.time}


def list_of(orders: OrderList) -> dict[str, Any]:
    """An order list as a query shows it."""
    return {
        "orderListId": orders.list_id,
        "contingencyType": orders.contingency,
        "listStatusType": orders.status_type,
        "listOrderStatus": orders.status,
        "listClientOrderId": orders.client_id,
        "transactionTime": orders.time,
        "symbol": orders.symbol,
        "orders": [
            {"symbol": order.symbol, "orderId": order.order_id, "clientOrderId": order.client_id}
            for order in orders.orders
        ],
    }


def list_cancelled(orders: OrderList, cancel_id: str, now: int) -> dict[str, Any]:
    """The reply to the cancel of a whole list."""
    return list_of(orders) | {"orderReports": [cancelled(order, cancel_id, now) for order in orders.orders]}


def list_status(orders: OrderList, now: int) -> dict[str, Any]:
    """The listStatus event."""
    return {
        "e": "listStatus",
        "E": now,
        "s": orders.symbol,
        "g": orders.list_id,
        "c": orders.contingency,
        "l": orders.status_type,
        "L": orders.status,
        "r": "NONE",
        "C": orders.client_id,
        "T": orders.time,
        "O": [{"s": order.symbol, "i": order.order_id, "c": order.client_id} for order in orders.orders],
    }


def position(account: Account, assets: Iterable[str], now: int) -> dict[str, Any]:
    """The outboundAccountPosition event."""
    return {
        "e": "outboundAccountPosition",
        "E": now,
        "u": account.updated,
        "B": [
            {"a": asset, "f": text(account.balance(asset).free), "l": text(account.balance(asset).locked)}
            for asset in dict.fromkeys(assets)
        ],
    }


def execution(
    order: Order,
    kind: str,
    now: int,
    execution_id: int,
    *,
    client_id: str | None = None,
    original: str = "",
    trade: Trade | None = None,
    match: PreventedMatch | None = None,
) -> dict[str, Any]:
    """The executionReport event; `kind` is the execution type."""
    event: dict[str, Any] = {
        "e": "executionReport",
        "E": now,
        "s": order.symbol,
        "c": client_id or order.client_id,
        "S": order.side,
        "o": order.type,
        "f": order.time_in_force,
        "q": text(order.quantity),
        "p": text(order.price),
        "P": text(order.stop_price or ZERO),
        "F": text(order.iceberg),
        "g": order.list_id,
        "C": original,
        "x": kind,
        "X": order.status,
        "r": "NONE",
        "i": order.order_id,
        "l": text(trade.quantity if trade else ZERO),
        "z": text(order.executed),
        "L": text(trade.price if trade else ZERO),
        "n": text(trade.commission) if trade else "0",
        "N": trade.commission_asset if trade else None,
        "T": trade.time if trade else now,
        "t": trade.trade_id if trade else -1,
        "I": execution_id,
        "w": order.working and order.is_open,
        "m": trade.is_maker if trade else False,
        "M": bool(trade),
        "O": order.created,
        "Z": text(order.quote_executed),
        "Y": text(trade.quote if trade else ZERO),
        "Q": text(order.quote_quantity),
        "V": order.stp,
    }
    if order.working_time != -1:
        event["W"] = order.working_time
    if order.trailing_delta is not None:
        event |= {"d": order.trailing_delta, "D": order.trailing_time}
    if order.strategy_id is not None:
        event["j"] = order.strategy_id
    if order.strategy_type is not None:
        event["J"] = order.strategy_type
    if order.reason is not None:
        event["eR"] = order.reason
    if match is not None:
        taker = order.order_id == match.taker_order
        quantity = match.taker_quantity if taker else match.maker_quantity
        event |= {
            "v": match.match_id,
            "A": text(order.prevented),
            "B": text(quantity),
            "u": -1,
            "U": match.maker_order if taker else match.taker_order,
            "Cs": match.symbol,
            "pl": text(ZERO),
            "pL": text(ZERO),
            "pY": text(ZERO),
        }
    return event
