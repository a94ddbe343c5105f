"""A spot order, a list of orders, and what a client asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from exchange_kernel_binance.simulator.accounts import Lock
from exchange_kernel_binance.simulator.book import Resting
from exchange_kernel_binance.simulator.numbers import ZERO

OPEN = frozenset({"NEW", "PENDING_NEW", "PARTIALLY_FILLED"})
STOPS = frozenset({"STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"})
STOP_MARKETS = frozenset({"STOP_LOSS", "TAKE_PROFIT"})


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """A new order as asked for; `None` where a parameter wasn't sent. Prices are quote, quantities base."""

    symbol: str
    side: str
    type: str
    time_in_force: str | None = None
    quantity: Decimal | None = None
    quote_quantity: Decimal | None = None
    price: Decimal | None = None
    client_id: str | None = None
    stop_price: Decimal | None = None
    trailing_delta: int | None = None
    iceberg: Decimal | None = None
    stp: str | None = None
    strategy_id: int | None = None
    strategy_type: int | None = None
    # Where the message of a missing parameter must name it with a prefix, as the legs of a list do.
    prefix: str = ""


@dataclass(slots=True, kw_only=True)
class Order(Resting):
    """An order of the spot exchange; times in ms UTC, -1 where it hasn't happened."""

    type: str
    time_in_force: str
    client_id: str
    created: int
    updated: int
    lock: Lock
    quote_quantity: Decimal = ZERO
    quote_executed: Decimal = ZERO
    status: str = "NEW"
    stop_price: Decimal | None = None
    trailing_delta: int | None = None
    trailing_time: int = -1
    extreme: Decimal | None = None
    list_id: int = -1
    working: bool = False
    working_time: int = -1
    reason: str | None = None
    prevented_match: int | None = None
    strategy_id: int | None = None
    strategy_type: int | None = None
    iceberg_sent: bool = False
    amendments: list[Amendment] = field(default_factory=list)
    fills: list[Trade] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        return self.status in OPEN

    @property
    def is_stop(self) -> bool:
        return self.type in STOPS

    @property
    def limit(self) -> Decimal | None:
        """The price at which it stops trading; none for a market order."""
        return None if self.type == "MARKET" or self.type in STOP_MARKETS else self.price


@dataclass(frozen=True, slots=True)
class Amendment:
    """One step of amend-keep-priority."""

    execution_id: int
    old_client_id: str
    new_client_id: str
    old_quantity: Decimal
    new_quantity: Decimal
    time: int


@dataclass(frozen=True, slots=True)
class Trade:
    """One account's side of a trade."""

    trade_id: int
    account: str
    symbol: str
    order_id: int
    list_id: int
    side: str
    price: Decimal
    quantity: Decimal
    quote: Decimal
    commission: Decimal
    commission_asset: str
    time: int
    is_maker: bool


@dataclass(frozen=True, slots=True)
class PreventedMatch:
    """A self-trade that was prevented (rest-api.md, Query Prevented Matches)."""

    match_id: int
    account: str
    symbol: str
    taker_order: int
    maker_order: int
    mode: str
    price: Decimal
    taker_quantity: Decimal
    maker_quantity: Decimal
    time: int


@dataclass(slots=True)
class OrderList:
    """OCO, OTO or OTOCO. `working` starts an OTO; the `pending` orders follow once it is filled."""

    list_id: int
    account: str
    symbol: str
    client_id: str
    contingency: str
    orders: list[Order]
    time: int
    status_type: str = "EXEC_STARTED"
    status: str = "EXECUTING"
    working: Order | None = None
    # The two orders of which one ends the other.
    pair: tuple[Order, Order] | None = None
    activated: bool = True

    @property
    def is_open(self) -> bool:
        return self.status == "EXECUTING"
