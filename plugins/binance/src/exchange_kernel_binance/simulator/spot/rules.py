"""Which parameters an order of each type takes, and the filters of its symbol.

Sources: rest-api.md (New order), filters.md, errors.md.
"""

from __future__ import annotations

from decimal import Decimal

from exchange_kernel_binance.simulator.errors import ApiError, filter_failure, missing, not_required
from exchange_kernel_binance.simulator.numbers import ZERO, is_multiple, times
from exchange_kernel_binance.simulator.spot.orders import STOPS, OrderRequest
from exchange_kernel_binance.simulator.spot.symbols import SpotSymbol

TIMED = frozenset({"LIMIT", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"})
PRICED = TIMED | {"LIMIT_MAKER"}


def composed(request: OrderRequest) -> None:
    """Refuse a request whose parameters don't go together."""

    def named(name: str) -> str:
        return request.prefix + (name[0].upper() + name[1:] if request.prefix else name)

    kind = request.type
    if kind in TIMED and request.time_in_force is None:
        raise missing(named("timeInForce"))
    if kind not in TIMED and request.time_in_force is not None:
        raise not_required(named("timeInForce"))
    if kind == "MARKET":
        if request.quantity is None and request.quote_quantity is None:
            raise ApiError(-1102, "Param 'quantity' or 'quoteOrderQty' must be sent, but both were empty/null!")
        if request.quantity is not None and request.quote_quantity is not None:
            raise ApiError(-1128, "Combination of optional parameters invalid.")
    else:
        if request.quote_quantity is not None:
            raise not_required("quoteOrderQty")
        if request.quantity is None:
            raise missing("quantity")
    if kind in PRICED and request.price is None:
        raise missing(named("price"))
    if kind not in PRICED and request.price is not None:
        raise not_required(named("price"))
    if kind in STOPS:
        if request.stop_price is None and request.trailing_delta is None:
            raise ApiError(
                -1102,
                f"Param '{named('stopPrice')}' or '{named('trailingDelta')}' must be sent, but both were empty/null!",
            )
    else:
        if request.stop_price is not None:
            raise not_required(named("stopPrice"))
        if request.trailing_delta is not None:
            raise not_required(named("trailingDelta"))
    if request.iceberg is not None and request.iceberg > 0:
        if kind not in PRICED:
            raise not_required(named("icebergQty"))
        if request.time_in_force not in (None, "GTC"):
            raise ApiError(-1013, "Unsupported order combination")
    if request.strategy_type is not None and request.strategy_type < 1_000_000:
        raise ApiError(-1134, f"{named('strategyType')} was less than 1000000.")


def filtered(
    request: OrderRequest,
    symbol: SpotSymbol,
    *,
    average: Decimal,
    open_orders: int,
    open_algo_orders: int,
) -> None:
    """Refuse what a filter of the symbol refuses; `average` is the weighted price of the last five minutes."""
    for price in (request.price, request.stop_price):
        if price is not None:
            _price(price, symbol)
    if request.price is not None:
        _percent(request, request.price, symbol, average)
    if request.quantity is not None:
        _quantity(request, request.quantity, symbol)
    _notional(request, symbol, average)
    if request.trailing_delta is not None and not (
        symbol.min_trailing <= request.trailing_delta <= symbol.max_trailing
    ):
        raise filter_failure("TRAILING_DELTA")
    if open_orders >= symbol.max_orders:
        raise filter_failure("MAX_NUM_ORDERS")
    if request.type in STOPS and open_algo_orders >= symbol.max_algo_orders:
        raise filter_failure("MAX_NUM_ALGO_ORDERS")


def _price(price: Decimal, symbol: SpotSymbol) -> None:
    low = symbol.min_price and price < symbol.min_price
    high = symbol.max_price and price > symbol.max_price
    if price <= 0 or low or high or not is_multiple(price, symbol.tick):
        raise filter_failure("PRICE_FILTER")


def _percent(request: OrderRequest, price: Decimal, symbol: SpotSymbol, average: Decimal) -> None:
    up, down = (
        (symbol.bid_multiplier_up, symbol.bid_multiplier_down)
        if request.side == "BUY"
        else (symbol.ask_multiplier_up, symbol.ask_multiplier_down)
    )
    if average and not times(average, down) <= price <= times(average, up):
        raise filter_failure("PERCENT_PRICE_BY_SIDE")


def _quantity(request: OrderRequest, quantity: Decimal, symbol: SpotSymbol) -> None:
    if not symbol.min_qty <= quantity <= symbol.max_qty or not is_multiple(quantity, symbol.step):
        raise filter_failure("LOT_SIZE")
    if request.type in ("MARKET", "STOP_LOSS", "TAKE_PROFIT") and (
        quantity < symbol.market_min_qty
        or quantity > symbol.market_max_qty
        or not is_multiple(quantity, symbol.market_step)
    ):
        raise filter_failure("MARKET_LOT_SIZE")
    if request.iceberg is not None and request.iceberg > 0:
        if request.iceberg > quantity:
            raise ApiError(-1013, "IcebergQty exceeds QTY.")
        if request.iceberg < symbol.min_qty or not is_multiple(request.iceberg, symbol.step):
            raise filter_failure("LOT_SIZE")
        if -(-quantity // request.iceberg) > symbol.iceberg_parts:
            raise filter_failure("ICEBERG_PARTS")


def _notional(request: OrderRequest, symbol: SpotSymbol, average: Decimal) -> None:
    at_market = request.price is None
    price = average if request.price is None else request.price
    notional = request.quote_quantity if request.quote_quantity is not None else times(price, request.quantity or ZERO)
    # NOTIONAL as this exchange sets it: the minimum applies to market orders, the maximum doesn't.
    if notional < symbol.min_notional or (not at_market and notional > symbol.max_notional):
        raise filter_failure("NOTIONAL")
