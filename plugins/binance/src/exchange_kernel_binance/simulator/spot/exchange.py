"""The spot exchange as one object: orders in, events and answers out."""

from __future__ import annotations

from exchange_kernel_binance.simulator.accounts import Account
from exchange_kernel_binance.simulator.clock import Clock
from exchange_kernel_binance.simulator.events import Journal
from exchange_kernel_binance.simulator.ids import SeededIds
from exchange_kernel_binance.simulator.spot.changing import Changing
from exchange_kernel_binance.simulator.spot.history import History
from exchange_kernel_binance.simulator.spot.state import SpotState
from exchange_kernel_binance.simulator.spot.symbols import SpotSymbol


class SpotExchange(Changing):
    """Symbols and accounts are added first; then `place`, `cancel`, `oco` and the rest."""

    def __init__(self, clock: Clock, ids: SeededIds, journal: Journal | None = None) -> None:
        super().__init__(SpotState(clock, ids, journal or Journal()))
        self.history = History(self.state)

    def add_symbol(self, symbol: SpotSymbol) -> None:
        self.state.add_symbol(symbol)

    def add_account(self, account: Account) -> None:
        self.state.accounts[account.name] = account
