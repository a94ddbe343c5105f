"""All that the spot exchange knows, and how it tells about it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

from exchange_kernel_binance.simulator.accounts import Account
from exchange_kernel_binance.simulator.book import Book
from exchange_kernel_binance.simulator.clock import Clock
from exchange_kernel_binance.simulator.errors import INVALID_SYMBOL, ApiError
from exchange_kernel_binance.simulator.events import Journal
from exchange_kernel_binance.simulator.ids import SeededIds
from exchange_kernel_binance.simulator.numbers import ZERO, ratio, times
from exchange_kernel_binance.simulator.spot import reports
from exchange_kernel_binance.simulator.spot.orders import Order, OrderList, PreventedMatch, Trade
from exchange_kernel_binance.simulator.spot.symbols import SpotSymbol

DAY = 86_400_000


@dataclass(frozen=True, slots=True)
class PublicTrade:
    """A trade as everybody sees it."""

    trade_id: int
    symbol: str
    price: Decimal
    quantity: Decimal
    time: int
    buyer_is_maker: bool


@dataclass(slots=True)
class Window:
    """The trades from `start` to `end` of a tape, added up."""

    start: int = 0
    end: int = 0
    quote: Decimal = ZERO
    base: Decimal = ZERO


class Counting(Protocol):
    """Told once per order when it first trades (faqs/order_count_decrement.md)."""

    def __call__(self, account: str, is_maker: bool) -> None: ...


@dataclass(slots=True)
class Habits:
    """What the exchange can be made to do differently; times in ms.

    `retention`: after it, an order that ended without a fill answers -2026. `query_lag`: for so long after its
    acceptance an order is unknown to queries.
    """

    retention: int = 90 * DAY
    query_lag: int = 0


class SpotState:
    """Orders, books, balances and trades; every change goes through one of the exchange's rooms."""

    def __init__(self, clock: Clock, ids: SeededIds, journal: Journal) -> None:
        self.clock = clock
        self.ids = ids
        self.journal = journal
        self.habits = Habits()
        self.symbols: dict[str, SpotSymbol] = {}
        self.books: dict[str, Book] = {}
        self.last: dict[str, Decimal] = {}
        self.accounts: dict[str, Account] = {}
        self.orders: dict[int, Order] = {}
        self.open: dict[tuple[str, str], dict[int, Order]] = {}
        self.by_client: dict[tuple[str, str, str], list[Order]] = {}
        self.stops: dict[str, dict[int, Order]] = {}
        self.lists: dict[int, OrderList] = {}
        self.trades: list[Trade] = []
        self.tape: dict[str, list[PublicTrade]] = {}
        self._windows: dict[str, Window] = {}
        self.prevented: list[PreventedMatch] = []
        self.todo: deque[Callable[[], None]] = deque()
        self.first_fill: Counting = _uncounted
        self.market_listeners: list[Callable[[PublicTrade], None]] = []
        self.order_id = 0
        self.list_id = -1
        self.trade_id = 0
        self.execution_id = 0

    def add_symbol(self, symbol: SpotSymbol) -> None:
        self.symbols[symbol.symbol] = symbol
        self.books[symbol.symbol] = Book()
        self.last[symbol.symbol] = symbol.last_price
        self.stops[symbol.symbol] = {}
        self.tape[symbol.symbol] = []
        self._windows[symbol.symbol] = Window()

    def symbol(self, name: str) -> SpotSymbol:
        """:raises ApiError: -1121."""
        if name not in self.symbols:
            raise ApiError(*INVALID_SYMBOL)
        return self.symbols[name]

    def average(self, symbol: str) -> Decimal:
        """The volume weighted price of the last five minutes; the last price where nothing traded."""
        tape, window = self.tape[symbol], self._windows[symbol]
        for trade in tape[window.end :]:
            window.quote += times(trade.price, trade.quantity)
            window.base += trade.quantity
        window.end = len(tape)
        since = self.clock.now() - 5 * 60_000
        while window.start < window.end and tape[window.start].time < since:
            gone = tape[window.start]
            window.quote -= times(gone.price, gone.quantity)
            window.base -= gone.quantity
            window.start += 1
        return ratio(window.quote, window.base) if window.base else self.last[symbol]

    def open_orders(self, account: str, symbol: str) -> dict[int, Order]:
        return self.open.setdefault((account, symbol), {})

    def admit(self, order: Order) -> None:
        """The order exists from now on."""
        self.orders[order.order_id] = order
        self.open_orders(order.account, order.symbol)[order.order_id] = order
        self.named(order)

    def named(self, order: Order) -> None:
        """The order can be found by its present client id."""
        known = self.by_client.setdefault((order.account, order.symbol, order.client_id), [])
        if order not in known:
            known.append(order)

    def ended(self, order: Order) -> None:
        """The order is off the book and holds nothing."""
        self.books[order.symbol].remove(order)
        self.stops[order.symbol].pop(order.order_id, None)
        self.open_orders(order.account, order.symbol).pop(order.order_id, None)

    def is_used(self, account: str, symbol: str, client_id: str) -> bool:
        return any(order.is_open for order in self.by_client.get((account, symbol, client_id), ()))

    def next_order_id(self) -> int:
        self.order_id += 1
        return self.order_id

    def report(
        self,
        order: Order,
        kind: str,
        *,
        client_id: str | None = None,
        original: str = "",
        trade: Trade | None = None,
        match: PreventedMatch | None = None,
    ) -> int:
        """Tell the owner's stream about the order and the balances it touched; returns the execution id."""
        self.execution_id += 1
        now = self.clock.now()
        order.updated = now
        event = reports.execution(
            order,
            kind,
            now,
            self.execution_id,
            client_id=client_id,
            original=original,
            trade=trade,
            match=match,
        )
        self.journal.tell(order.account, event)
        symbol = self.symbols[order.symbol]
        assets = [symbol.base, symbol.quote]
        if trade is not None:
            assets.append(trade.commission_asset)
        account = self.accounts[order.account]
        account.updated = now
        self.journal.tell(order.account, reports.position(account, assets, now))
        return self.execution_id

    def tell_list(self, orders: OrderList) -> None:
        orders.time = self.clock.now()
        self.journal.tell(orders.account, reports.list_status(orders, orders.time))

    def work_off(self) -> None:
        """Do what the last step set off: triggered stops, the second phase of an OTO."""
        while self.todo:
            self.todo.popleft()()

    def deposit(self, account: str, asset: str, amount: Decimal) -> dict[str, Any]:
        """Money from outside (or, negative, to it), told as balanceUpdate."""
        wallet = self.accounts[account]
        wallet.credit(asset, amount)
        now = self.clock.now()
        wallet.updated = now
        event = {"e": "balanceUpdate", "E": now, "a": asset, "d": f"{amount:.8f}", "T": now}
        self.journal.tell(account, event)
        self.journal.tell(account, reports.position(wallet, [asset], now))
        return event


def _uncounted(account: str, is_maker: bool) -> None:
    """Nobody counts."""
