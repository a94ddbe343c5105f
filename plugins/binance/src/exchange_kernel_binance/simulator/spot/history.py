"""Queries of orders, lists and trades, with what Binance forgets (rest-api.md, Account Endpoints)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

from exchange_kernel_binance.simulator.errors import ApiError, no_such_order
from exchange_kernel_binance.simulator.numbers import ZERO, text
from exchange_kernel_binance.simulator.spot import reports
from exchange_kernel_binance.simulator.spot.orders import Order, OrderList
from exchange_kernel_binance.simulator.spot.state import DAY, SpotState

T = TypeVar("T")


def windowed(start: int | None, end: int | None) -> None:
    """:raises ApiError: -1127 where the window is longer than 24 hours."""
    if start is not None and end is not None:
        if end < start:
            raise ApiError(-1128, "Combination of optional parameters invalid.")
        if end - start > DAY:
            raise ApiError(-1127, "More than 24 hours between startTime and endTime.")


def paged(items: list[T], limit: int, *, oldest: bool) -> list[T]:
    """The oldest or the newest so many, in chronological order."""
    return items[:limit] if oldest else items[-limit:]


class History:
    """What an account can look up."""

    def __init__(self, state: SpotState) -> None:
        self._state = state

    def _visible(self, order: Order) -> bool:
        now = self._state.clock.now()
        return now - order.created >= self._state.habits.query_lag

    def _forgotten(self, order: Order) -> bool:
        if order.is_open or order.executed:
            return False
        return self._state.clock.now() - order.updated > self._state.habits.retention

    def order(self, account: str, symbol: str, order_id: int | None, client_id: str | None) -> dict[str, Any]:
        """:raises ApiError: -2013 unknown, -2026 archived, -2039 ids of two orders."""
        self._state.symbol(symbol)
        found: Order | None = None
        if order_id is not None:
            found = self._state.orders.get(order_id)
            if found is None or found.account != account or found.symbol != symbol:
                raise no_such_order()
            if client_id is not None and found.client_id != client_id:
                raise ApiError(-2039, "Client order ID is not correct for this order ID.")
        else:
            known = [
                order
                for order in self._state.by_client.get((account, symbol, client_id or ""), ())
                if order.client_id == client_id
            ]
            found = known[-1] if known else None
        if found is None or not self._visible(found):
            raise no_such_order()
        if self._forgotten(found):
            raise ApiError(
                -2026, "Order was canceled or expired with no executed qty over 90 days ago and has been archived."
            )
        return reports.queried(found)

    def open_orders(self, account: str, symbol: str | None) -> list[dict[str, Any]]:
        names: Iterable[str] = self._state.symbols if symbol is None else [self._state.symbol(symbol).symbol]
        return [
            reports.queried(order)
            for name in names
            for order in self._state.open_orders(account, name).values()
            if self._visible(order)
        ]

    def all_orders(
        self, account: str, symbol: str, order_id: int | None, start: int | None, end: int | None, limit: int
    ) -> list[dict[str, Any]]:
        self._state.symbol(symbol)
        windowed(start, end)
        orders = [
            order
            for order in self._state.orders.values()
            if order.account == account
            and order.symbol == symbol
            and self._visible(order)
            and not self._forgotten(order)
            and (order_id is None or order.order_id >= order_id)
            and (start is None or order.created >= start)
            and (end is None or order.created <= end)
        ]
        oldest = order_id is not None or start is not None
        return [reports.queried(order) for order in paged(orders, limit, oldest=oldest)]

    def trades(
        self,
        account: str,
        symbol: str,
        order_id: int | None,
        start: int | None,
        end: int | None,
        from_id: int | None,
        limit: int,
    ) -> list[dict[str, Any]]:
        self._state.symbol(symbol)
        windowed(start, end)
        if from_id is not None and (start is not None or end is not None):
            raise ApiError(-1128, "Combination of optional parameters invalid.")
        trades = [
            trade
            for trade in self._state.trades
            if trade.account == account
            and trade.symbol == symbol
            and (order_id is None or trade.order_id == order_id)
            and (from_id is None or trade.trade_id >= from_id)
            and (start is None or trade.time >= start)
            and (end is None or trade.time <= end)
        ]
        oldest = from_id is not None or start is not None
        return [reports.traded(trade) for trade in paged(trades, limit, oldest=oldest)]

    def order_list(self, account: str, list_id: int | None, client_id: str | None) -> dict[str, Any]:
        for listed in reversed(self._state.lists.values()):
            if (
                listed.account == account
                and (list_id is None or listed.list_id == list_id)
                and (client_id is None or listed.client_id == client_id)
            ):
                return reports.list_of(listed)
        raise ApiError(-2018, "Order list does not exist.")

    def open_lists(self, account: str) -> list[dict[str, Any]]:
        return [reports.list_of(each) for each in self._mine(account) if each.is_open]

    def all_lists(
        self, account: str, from_id: int | None, start: int | None, end: int | None, limit: int
    ) -> list[dict[str, Any]]:
        windowed(start, end)
        if from_id is not None and (start is not None or end is not None):
            raise ApiError(-1128, "Combination of optional parameters invalid.")
        lists = [
            each
            for each in self._mine(account)
            if (from_id is None or each.list_id >= from_id)
            and (start is None or each.time >= start)
            and (end is None or each.time <= end)
        ]
        oldest = from_id is not None or start is not None
        return [reports.list_of(each) for each in paged(lists, limit, oldest=oldest)]

    def _mine(self, account: str) -> list[OrderList]:
        return [each for each in self._state.lists.values() if each.account == account]

    def amendments(
        self, account: str, symbol: str, order_id: int, from_id: int | None, limit: int
    ) -> list[dict[str, Any]]:
        order = self._state.orders.get(order_id)
        if order is None or order.account != account or order.symbol != symbol:
            raise no_such_order()
        return [
            {
                "symbol": symbol,
                "orderId": order_id,
                "executionId": each.execution_id,
                "origClientOrderId": each.old_client_id,
                "newClientOrderId": each.new_client_id,
                "origQty": text(each.old_quantity),
                "newQty": text(each.new_quantity),
                "time": each.time,
            }
            for each in order.amendments
            if from_id is None or each.execution_id >= from_id
        ][:limit]

    def prevented(
        self, account: str, symbol: str, match_id: int | None, order_id: int | None, from_id: int | None, limit: int
    ) -> list[dict[str, Any]]:
        self._state.symbol(symbol)
        if match_id is None and order_id is None:
            raise ApiError(-1128, "Combination of optional parameters invalid.")
        return [
            reports.prevented(each)
            for each in self._state.prevented
            if each.account == account
            and each.symbol == symbol
            and (match_id is None or each.match_id == match_id)
            and (order_id is None or order_id in (each.taker_order, each.maker_order))
            and (from_id is None or each.match_id >= from_id)
        ][:limit]

    def account(self, account: str, *, omit_zero: bool) -> dict[str, Any]:
        wallet = self._state.accounts[account]
        maker, taker = wallet.rates.maker, wallet.rates.taker
        assets = {asset for symbol in self._state.symbols.values() for asset in (symbol.base, symbol.quote)}
        balances = []
        for asset in wallet.listed(assets):
            balance = wallet.balance(asset)
            if not omit_zero or balance.free or balance.locked:
                balances.append({"asset": asset, "free": text(balance.free), "locked": text(balance.locked)})
        return {
            "makerCommission": int(maker * 10_000),
            "takerCommission": int(taker * 10_000),
            "buyerCommission": 0,
            "sellerCommission": 0,
            "commissionRates": {
                "maker": text(maker),
                "taker": text(taker),
                "buyer": "0.00000000",
                "seller": "0.00000000",
            },
            "canTrade": wallet.can_trade,
            "canWithdraw": wallet.can_withdraw,
            "canDeposit": True,
            "brokered": False,
            "requireSelfTradePrevention": False,
            "preventSor": False,
            "updateTime": wallet.updated,
            "accountType": wallet.kind,
            "balances": balances,
            "permissions": [wallet.kind],
            "uid": wallet.uid,
        }

    def commission(self, account: str, symbol: str) -> dict[str, Any]:
        self._state.symbol(symbol)
        wallet = self._state.accounts[account]
        nothing = {"maker": text(ZERO), "taker": text(ZERO), "buyer": text(ZERO), "seller": text(ZERO)}
        return {
            "symbol": symbol,
            "standardCommission": nothing | {"maker": text(wallet.rates.maker), "taker": text(wallet.rates.taker)},
            "specialCommission": nothing,
            "taxCommission": nothing,
            "discount": {
                "enabledForAccount": wallet.pays_in_bnb,
                "enabledForSymbol": True,
                "discountAsset": "BNB",
                "discount": text(wallet.discount),
            },
        }
