"""All that the futures exchange knows, and how it tells about it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from decimal import Decimal

from exchange_kernel_binance.simulator.book import Book
from exchange_kernel_binance.simulator.clock import Clock
from exchange_kernel_binance.simulator.errors import INVALID_SYMBOL, ApiError
from exchange_kernel_binance.simulator.events import Journal
from exchange_kernel_binance.simulator.futures import reports
from exchange_kernel_binance.simulator.futures.contracts import Contract
from exchange_kernel_binance.simulator.futures.orders import (
    AlgoOrder,
    FuturesAccount,
    FuturesOrder,
    FuturesTrade,
    Position,
)
from exchange_kernel_binance.simulator.ids import SeededIds
from exchange_kernel_binance.simulator.numbers import ZERO, ratio, times
from exchange_kernel_binance.simulator.spot.state import DAY, Counting, Habits, PublicTrade


class FuturesState:
    """Orders, books, positions and wallets. `mark` is moved by trades unless `pinned` by hand."""

    def __init__(self, clock: Clock, ids: SeededIds, journal: Journal) -> None:
        self.clock = clock
        self.ids = ids
        self.journal = journal
        self.habits = Habits(retention=3 * DAY)
        self.contracts: dict[str, Contract] = {}
        self.books: dict[str, Book] = {}
        self.last: dict[str, Decimal] = {}
        self.mark: dict[str, Decimal] = {}
        self.pinned: set[str] = set()
        self.accounts: dict[str, FuturesAccount] = {}
        self.orders: dict[int, FuturesOrder] = {}
        self.algos: dict[int, AlgoOrder] = {}
        # What may still be open, by account; the ended ones are dropped when somebody looks.
        self._live: dict[str, dict[int, FuturesOrder]] = {}
        self._waiting: dict[int, AlgoOrder] = {}
        self.trades: list[FuturesTrade] = []
        self.tape: dict[str, list[PublicTrade]] = {}
        self.todo: deque[Callable[[], None]] = deque()
        self.first_fill: Counting | None = None
        self.order_id = self.algo_id = self.trade_id = 0

    def add_contract(self, contract: Contract) -> None:
        self.contracts[contract.symbol] = contract
        self.books[contract.symbol] = Book()
        self.last[contract.symbol] = self.mark[contract.symbol] = contract.last_price
        self.tape[contract.symbol] = []

    def contract(self, symbol: str) -> Contract:
        """:raises ApiError: -1121."""
        if symbol not in self.contracts:
            raise ApiError(*INVALID_SYMBOL)
        return self.contracts[symbol]

    def admit(self, order: FuturesOrder) -> None:
        """The order exists from now on."""
        self.orders[order.order_id] = order
        self._live.setdefault(order.account, {})[order.order_id] = order

    def open_orders(self, account: str, symbol: str | None = None) -> list[FuturesOrder]:
        live = self._live.get(account, {})
        for order_id in [order.order_id for order in live.values() if not order.is_open]:
            del live[order_id]
        return [order for order in live.values() if symbol is None or order.symbol == symbol]

    def admit_algo(self, order: AlgoOrder) -> None:
        """The conditional order exists from now on."""
        self.algos[order.algo_id] = order
        self._waiting[order.algo_id] = order

    def unfinished_algos(self) -> list[AlgoOrder]:
        """Those that wait, and those whose plain order is still at work."""
        for algo_id in [each.algo_id for each in self._waiting.values() if not each.is_unfinished]:
            del self._waiting[algo_id]
        return list(self._waiting.values())

    def open_algos(self, account: str, symbol: str | None = None) -> list[AlgoOrder]:
        return [
            order
            for order in self.unfinished_algos()
            if order.account == account and order.is_open and (symbol is None or order.request.symbol == symbol)
        ]

    def report(self, order: FuturesOrder, kind: str, trade: FuturesTrade | None = None) -> None:
        """Tell the owner's stream about an order."""
        now = self.clock.now()
        order.updated = now
        contract = self.contracts[order.symbol]
        if trade is not None:
            self.journal.tell(order.account, reports.trade_lite(order, contract, trade, now))
        self.journal.tell(order.account, reports.order_update(order, contract, kind, now, trade))

    def report_account(
        self, account: FuturesAccount, reason: str, positions: list[Position], change: Decimal = ZERO
    ) -> None:
        now = self.clock.now()
        account.updated = now
        shown = [(each, self.contracts[each.symbol], self.mark[each.symbol]) for each in positions]
        self.journal.tell(account.name, reports.account_update(account, reason, change, shown, "USDT", now))

    def report_algo(self, order: AlgoOrder) -> None:
        now = self.clock.now()
        order.updated = now
        self.journal.tell(order.account, reports.algo_update(order, self.contracts[order.request.symbol], now))

    # Margin: all in the margin asset.

    def profit(self, account: FuturesAccount, *, isolated: bool = False) -> Decimal:
        """Unrealized profit of the cross (or the isolated) positions."""
        return sum(
            (
                each.profit(self.mark[each.symbol])
                for each in account.held()
                if account.setting(each.symbol).isolated is isolated
            ),
            ZERO,
        )

    def position_margin(self, account: FuturesAccount, position: Position) -> Decimal:
        if account.setting(position.symbol).isolated:
            return position.margin
        notional = abs(times(position.amount, self.mark[position.symbol]))
        return ratio(notional, Decimal(account.setting(position.symbol).leverage))

    def maintenance(self, position: Position) -> Decimal:
        notional = abs(times(position.amount, self.mark[position.symbol]))
        return times(notional, self.contracts[position.symbol].maintenance)

    def order_margin(self, account: FuturesAccount) -> Decimal:
        """What open orders hold that don't reduce."""
        return sum(
            (
                ratio(times(order.price, order.remaining), Decimal(account.setting(order.symbol).leverage))
                for order in self.open_orders(account.name)
                if not order.reduce_only and not self.reduces(account, order.symbol, order.side, order.position_side)
            ),
            ZERO,
        )

    def reduces(self, account: FuturesAccount, symbol: str, side: str, position_side: str) -> bool:
        """Whether an order of this side makes the position smaller."""
        amount = account.position(symbol, position_side).amount
        return (amount > 0 and side == "SELL") or (amount < 0 and side == "BUY")

    def available(self, account: FuturesAccount) -> Decimal:
        """What new orders may use."""
        used = sum((self.position_margin(account, each) for each in account.held()), ZERO)
        return account.wallet + min(ZERO, self.profit(account)) - used - self.order_margin(account)

    def work_off(self) -> None:
        while self.todo:
            self.todo.popleft()()
