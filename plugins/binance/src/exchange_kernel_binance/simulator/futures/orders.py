"""Orders, conditional orders, positions and wallets of the futures exchange."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from exchange_kernel_binance.simulator.book import Resting
from exchange_kernel_binance.simulator.numbers import ZERO, ratio, times

OPEN = frozenset({"NEW", "PARTIALLY_FILLED"})


@dataclass(frozen=True, slots=True)
class FuturesRequest:
    """A new order as asked for; `None` where a parameter wasn't sent."""

    symbol: str
    side: str
    type: str
    quantity: Decimal | None = None
    price: Decimal | None = None
    time_in_force: str | None = None
    position_side: str = "BOTH"
    reduce_only: bool = False
    close_position: bool = False
    client_id: str | None = None
    stp: str = "NONE"
    good_till: int = 0
    trigger_price: Decimal | None = None
    working_type: str = "CONTRACT_PRICE"
    price_protect: bool = False
    activate_price: Decimal | None = None
    callback_rate: Decimal | None = None


@dataclass(slots=True, kw_only=True)
class FuturesOrder(Resting):
    """A plain order; times in ms UTC. `liquidation` marks the exchange's own."""

    type: str
    time_in_force: str
    client_id: str
    created: int
    updated: int
    position_side: str = "BOTH"
    reduce_only: bool = False
    close_position: bool = False
    status: str = "NEW"
    quote_executed: Decimal = ZERO
    good_till: int = 0
    original_type: str = ""
    modifications: list[Modification] = field(default_factory=list)
    liquidation: bool = False
    expiry: str = "0"
    algo_id: int = 0

    @property
    def is_open(self) -> bool:
        return self.status in OPEN

    @property
    def average(self) -> Decimal:
        return ratio(self.quote_executed, self.executed) if self.executed else ZERO


@dataclass(frozen=True, slots=True)
class Modification:
    """One change of an order's price and quantity."""

    number: int
    old_price: Decimal
    new_price: Decimal
    old_quantity: Decimal
    new_quantity: Decimal
    time: int


@dataclass(slots=True)
class AlgoOrder:
    """A conditional order: it waits in the algo service and becomes a plain order when triggered."""

    algo_id: int
    account: str
    request: FuturesRequest
    client_id: str
    created: int
    updated: int
    status: str = "NEW"
    triggered: int = 0
    order: FuturesOrder | None = None
    extreme: Decimal | None = None
    reason: str = ""

    @property
    def is_open(self) -> bool:
        return self.status == "NEW"

    @property
    def is_unfinished(self) -> bool:
        return self.status in ("NEW", "TRIGGERING", "TRIGGERED")


@dataclass(slots=True)
class Position:
    """`amount` is signed base; `margin` is what an isolated position holds."""

    symbol: str
    side: str
    amount: Decimal = ZERO
    entry: Decimal = ZERO
    realized: Decimal = ZERO
    fees: Decimal = ZERO
    margin: Decimal = ZERO
    updated: int = 0

    def profit(self, mark: Decimal) -> Decimal:
        """Unrealized, in the margin asset."""
        return times(self.amount, mark - self.entry)


@dataclass(slots=True)
class Setting:
    """What an account has chosen for one symbol."""

    leverage: int = 20
    isolated: bool = False


@dataclass(slots=True)
class FuturesAccount:
    """A futures wallet in one margin asset. `wallet` includes what isolated positions hold."""

    name: str
    wallet: Decimal = ZERO
    hedge: bool = False
    multi_assets: bool = False
    can_trade: bool = True
    maker_rate: Decimal = Decimal("0.0002")
    taker_rate: Decimal = Decimal("0.0004")
    positions: dict[tuple[str, str], Position] = field(default_factory=dict)
    settings: dict[str, Setting] = field(default_factory=dict)
    # Symbol -> when its countdown ends.
    countdowns: dict[str, int] = field(default_factory=dict)
    unlimited: bool = False
    updated: int = 0

    def position(self, symbol: str, side: str) -> Position:
        return self.positions.setdefault((symbol, side), Position(symbol, side))

    def setting(self, symbol: str) -> Setting:
        return self.settings.setdefault(symbol, Setting())

    def held(self, symbol: str | None = None) -> list[Position]:
        return [each for each in self.positions.values() if each.amount and (symbol is None or each.symbol == symbol)]


@dataclass(frozen=True, slots=True)
class FuturesTrade:
    """One account's side of a trade."""

    trade_id: int
    account: str
    symbol: str
    order_id: int
    side: str
    position_side: str
    price: Decimal
    quantity: Decimal
    quote: Decimal
    commission: Decimal
    realized: Decimal
    time: int
    is_maker: bool
