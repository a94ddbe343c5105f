"""Futures orders, positions and events as the wire shows them (USD-M futures API)."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from exchange_kernel_binance.simulator.futures.contracts import Contract
from exchange_kernel_binance.simulator.futures.orders import (
    AlgoOrder,
    FuturesAccount,
    FuturesOrder,
    FuturesTrade,
    Position,
)
from exchange_kernel_binance.simulator.numbers import ZERO, ratio, text


def _body(order: FuturesOrder, contract: Contract) -> dict[str, Any]:
    return {
        "orderId": order.order_id,
        "symbol": order.symbol,
        "status": order.status,
        "clientOrderId": order.client_id,
        "price": contract.price(order.price),
        "avgPrice": contract.price(order.average),
        "origQty": contract.amount(order.quantity),
        "executedQty": contract.amount(order.executed),
        "timeInForce": order.time_in_force,
        "type": order.type,
        "reduceOnly": order.reduce_only,
        "closePosition": order.close_position,
        "side": order.side,
        "positionSide": order.position_side,
        "stopPrice": contract.price(ZERO),
        "workingType": "CONTRACT_PRICE",
        "priceProtect": False,
        "origType": order.original_type or order.type,
        "priceMatch": "NONE",
        "selfTradePreventionMode": order.stp,
        "goodTillDate": order.good_till,
        "updateTime": order.updated,
    }


def placed(order: FuturesOrder, contract: Contract) -> dict[str, Any]:
    """The reply to a new, cancelled or modified order."""
    return _body(order, contract) | {
        "cumQty": contract.amount(order.executed),
        "cumQuote": text(order.quote_executed, 5),
    }


def queried(order: FuturesOrder, contract: Contract) -> dict[str, Any]:
    """An order as a query shows it."""
    return _body(order, contract) | {"cumQuote": text(order.quote_executed, 5), "time": order.created}


def algo(order: AlgoOrder, contract: Contract) -> dict[str, Any]:
    """A conditional order as its reply and its queries show it."""
    request = order.request
    return {
        "algoId": order.algo_id,
        "clientAlgoId": order.client_id,
        "algoType": "CONDITIONAL",
        "orderType": request.type,
        "symbol": request.symbol,
        "side": request.side,
        "positionSide": request.position_side,
        "timeInForce": request.time_in_force or "GTC",
        "quantity": contract.amount(request.quantity or ZERO),
        "algoStatus": order.status,
        "triggerPrice": contract.price(request.trigger_price or ZERO),
        "price": contract.price(request.price or ZERO),
        "icebergQuantity": None,
        "selfTradePreventionMode": request.stp,
        "workingType": request.working_type,
        "priceMatch": "NONE",
        "closePosition": request.close_position,
        "priceProtect": request.price_protect,
        "reduceOnly": request.reduce_only,
        "createTime": order.created,
        "updateTime": order.updated,
        "triggerTime": order.triggered,
        "goodTillDate": request.good_till,
    }


def algo_placed(order: AlgoOrder, contract: Contract) -> dict[str, Any]:
    """The reply to a new conditional order."""
    request = order.request
    return algo(order, contract) | {
        "activatePrice": contract.price(request.activate_price) if request.activate_price else "",
        "callbackRate": str(request.callback_rate) if request.callback_rate else "",
    }


def algo_queried(order: AlgoOrder, contract: Contract, *, alone: bool) -> dict[str, Any]:
    """A conditional order in a query; asked for alone it shows what became of it."""
    child = order.order
    reply = algo(order, contract) | {
        "actualOrderId": str(child.order_id) if child else "",
        "actualPrice": contract.price(child.average if child else ZERO),
        "tpOrderType": "",
    }
    if alone:
        return reply | {
            "actualType": child.type if child else "",
            "actualQty": contract.amount(child.executed if child else ZERO),
        }
    return reply | {"tpTriggerPrice": "0", "tpPrice": "0", "slTriggerPrice": "0", "slPrice": "0"}


def traded(trade: FuturesTrade, contract: Contract) -> dict[str, Any]:
    """A trade as userTrades shows it."""
    return {
        "symbol": trade.symbol,
        "id": trade.trade_id,
        "orderId": trade.order_id,
        "side": trade.side,
        "price": contract.price(trade.price),
        "qty": contract.amount(trade.quantity),
        "realizedPnl": text(trade.realized),
        "quoteQty": text(trade.quote, 5),
        "commission": text(trade.commission),
        "commissionAsset": contract.quote,
        "time": trade.time,
        "positionSide": trade.position_side,
        "maker": trade.is_maker,
        "buyer": trade.side == "BUY",
    }


def order_update(
    order: FuturesOrder, contract: Contract, kind: str, now: int, trade: FuturesTrade | None
) -> dict[str, Any]:
    """The ORDER_TRADE_UPDATE event; `kind` is the execution type."""
    fields: dict[str, Any] = {
        "s": order.symbol,
        "c": order.client_id,
        "S": order.side,
        "o": order.type,
        "f": order.time_in_force,
        "q": contract.amount(order.quantity),
        "p": contract.price(order.price),
        "ap": contract.price(order.average),
        "sp": contract.price(ZERO),
        "x": kind,
        "X": order.status,
        "i": order.order_id,
        "l": contract.amount(trade.quantity if trade else ZERO),
        "z": contract.amount(order.executed),
        "L": contract.price(trade.price if trade else ZERO),
        "n": text(trade.commission if trade else ZERO),
        "N": contract.quote,
        "T": trade.time if trade else now,
        "t": trade.trade_id if trade else 0,
        "b": "0",
        "a": "0",
        "m": trade.is_maker if trade else False,
        "R": order.reduce_only,
        "wt": "CONTRACT_PRICE",
        "ot": order.original_type or order.type,
        "ps": order.position_side,
        "cp": order.close_position,
        "rp": text(trade.realized if trade else ZERO),
        "pP": False,
        "si": 0,
        "ss": 0,
        "V": order.stp,
        "pm": "NONE",
        "gtd": order.good_till,
        "er": order.expiry,
    }
    return {"e": "ORDER_TRADE_UPDATE", "T": fields["T"], "E": now, "o": fields}


def trade_lite(order: FuturesOrder, contract: Contract, trade: FuturesTrade, now: int) -> dict[str, Any]:
    """The TRADE_LITE event."""
    return {
        "e": "TRADE_LITE",
        "E": now,
        "T": now,
        "s": order.symbol,
        "q": contract.amount(order.quantity),
        "p": contract.price(order.price),
        "m": trade.is_maker,
        "c": order.client_id,
        "S": order.side,
        "L": contract.price(trade.price),
        "l": contract.amount(trade.quantity),
        "t": trade.trade_id,
        "i": order.order_id,
    }


def _position_event(position: Position, contract: Contract, mark: Decimal, isolated: bool) -> dict[str, Any]:
    return {
        "s": position.symbol,
        "pa": contract.amount(position.amount),
        "ep": contract.price(position.entry),
        "bep": contract.price(break_even(position)),
        "cr": text(position.realized),
        "up": text(position.profit(mark)),
        "mt": "isolated" if isolated else "cross",
        "iw": text(position.margin),
        "ps": position.side,
    }


def break_even(position: Position) -> Decimal:
    """The price at which the position has earned its fees."""
    return position.entry + ratio(position.fees, position.amount) if position.amount else ZERO


def account_update(
    account: FuturesAccount,
    reason: str,
    change: Decimal,
    positions: Iterable[tuple[Position, Contract, Decimal]],
    asset: str,
    now: int,
) -> dict[str, Any]:
    """The ACCOUNT_UPDATE event; `change` is what the wallet gained apart from profit and commission."""
    isolated = sum((each.margin for each in account.positions.values()), ZERO)
    return {
        "e": "ACCOUNT_UPDATE",
        "T": now,
        "E": now,
        "a": {
            "B": [{"a": asset, "wb": text(account.wallet), "cw": text(account.wallet - isolated), "bc": text(change)}],
            "P": [
                _position_event(position, contract, mark, account.setting(position.symbol).isolated)
                for position, contract, mark in positions
            ],
            "m": reason,
        },
    }


def algo_update(order: AlgoOrder, contract: Contract, now: int) -> dict[str, Any]:
    """The ALGO_UPDATE event."""
    request, child = order.request, order.order
    fields: dict[str, Any] = {
        "caid": order.client_id,
        "aid": order.algo_id,
        "at": "CONDITIONAL",
        "o": request.type,
        "s": request.symbol,
        "S": request.side,
        "ps": request.position_side,
        "f": request.time_in_force or "GTC",
        "q": contract.amount(request.quantity or ZERO),
        "X": order.status,
        "ai": str(child.order_id) if child else "",
        "ap": contract.price(child.average if child else ZERO),
        "aq": contract.amount(child.executed if child else ZERO),
        "act": child.type if child else "0",
        "tp": contract.price(request.trigger_price or ZERO),
        "p": contract.price(request.price or ZERO),
        "V": request.stp,
        "wt": request.working_type,
        "pm": "NONE",
        "cp": request.close_position,
        "pP": request.price_protect,
        "R": request.reduce_only,
        "tt": order.triggered,
        "gtd": request.good_till,
        "rm": order.reason,
    }
    return {"e": "ALGO_UPDATE", "T": now, "E": now, "o": fields}
