"""A spot exchange with two traders, for the tests of the pure engine."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from exchange_kernel_binance.simulator.accounts import Account
from exchange_kernel_binance.simulator.clock import ManualClock
from exchange_kernel_binance.simulator.ids import SeededIds
from exchange_kernel_binance.simulator.spot.exchange import SpotExchange
from exchange_kernel_binance.simulator.spot.orders import Order, OrderRequest
from exchange_kernel_binance.simulator.spot.symbols import SpotSymbol

D = Decimal


class Floor:
    """BTCUSDT at 50000; alice and bob with 10 BTC and a million USDT each."""

    def __init__(self, **symbol: Any) -> None:
        self.clock = ManualClock()
        self.exchange = SpotExchange(self.clock, SeededIds(1))
        self.exchange.add_symbol(SpotSymbol("BTCUSDT", "BTC", "USDT", D(50_000), **symbol))
        for uid, name in enumerate(("alice", "bob"), 1):
            account = Account(name, uid)
            account.credit("BTC", D(10))
            account.credit("USDT", D(1_000_000))
            self.exchange.add_account(account)

    @property
    def told(self) -> list[tuple[str, dict[str, Any]]]:
        return self.exchange.state.journal.told

    def request(self, side: str, kind: str, quantity: Any = None, price: Any = None, **more: Any) -> OrderRequest:
        timed = kind in ("LIMIT", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT")
        more.setdefault("time_in_force", "GTC" if timed else None)
        more.setdefault("stp", "NONE")
        for name in ("stop_price", "iceberg", "quote_quantity"):
            if more.get(name) is not None:
                more[name] = D(str(more[name]))
        return OrderRequest(
            "BTCUSDT",
            side,
            kind,
            quantity=None if quantity is None else D(str(quantity)),
            price=None if price is None else D(str(price)),
            **more,
        )

    def place(self, who: str, side: str, kind: str, quantity: Any = None, price: Any = None, **more: Any) -> Order:
        return self.exchange.place(who, self.request(side, kind, quantity, price, **more))

    def free(self, who: str, asset: str) -> Decimal:
        return self.exchange.state.accounts[who].balance(asset).free

    def locked(self, who: str, asset: str) -> Decimal:
        return self.exchange.state.accounts[who].balance(asset).locked

    def executions(self, order: Order) -> list[str]:
        """`type/status` of every report of the order, in order."""
        return [
            f"{event['x']}/{event['X']}"
            for _, event in self.told
            if event["e"] == "executionReport" and event["i"] == order.order_id
        ]

    def total(self, asset: str) -> Decimal:
        return sum((b.free + b.locked for a in self.exchange.state.accounts.values() for b in [a.balance(asset)]), D(0))
