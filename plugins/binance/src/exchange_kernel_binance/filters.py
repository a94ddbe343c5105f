"""The filters of a symbol as typed rules: each says which orders it refuses, and why. Pure.

Sources: filters.md (spot), USD-M futures (Common Definition, Filters). A bound of zero is switched off. What a rule
needs and nobody knows (a reference price, how many orders are open) is None: the rule then refuses nothing.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar

import msgspec

from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.value import Value

ZERO = Decimal(0)


class Asked(Value, frozen=True):
    """What an order asks for. ``quantity``: base, None for an amount in quote (``quote``). ``price``, ``stop``: quote
    per base. ``reference``: the price that percentages are of, and market orders are valued at. ``delta``: of a
    trailing stop, in hundredths of a percent; ``above``: its stop lies above the market, None where nobody knows.
    ``open_orders`` and the like: how many there are already. ``held``: base that the account has and has bids for.
    ``market``: it executes without a price, at once or when it triggers."""

    buys: bool
    quantity: Decimal | None = None
    quote: Decimal | None = None
    price: Decimal | None = None
    stop: Decimal | None = None
    market: bool = False
    conditional: bool = False
    iceberg: Decimal | None = None
    delta: Decimal | None = None
    above: bool | None = None
    reference: Decimal | None = None
    open_orders: int | None = None
    open_conditional: int | None = None
    open_icebergs: int | None = None
    held: Decimal | None = None

    @property
    def notional(self) -> Decimal | None:
        """Its value in quote, as far as it can be told."""
        if self.quote is not None:
            return self.quote
        price = self.reference if self.price is None else self.price
        return None if price is None or self.quantity is None else EXACT.multiply(price, self.quantity)


class Rule(Value, frozen=True):
    """A filter. ``name``: its ``filterType``."""

    name: ClassVar[str] = ""

    def breach(self, asked: Asked) -> str:
        """What of the order it refuses and why; "": nothing."""
        raise NotImplementedError


def _outside(what: str, value: Decimal, least: Decimal, most: Decimal, step: Decimal) -> str:
    if least and value < least:
        return f"{what} {value:f} is below {least:f}"
    if most and value > most:
        return f"{what} {value:f} is above {most:f}"
    if step and EXACT.remainder(value, step):
        return f"{what} {value:f} is no multiple of {step:f}"
    return ""


def _too_many(what: str, there: int | None, most: int) -> str:
    return f"{there} {what} are open, of at most {most}" if there is not None and there >= most else ""


class PriceFilter(Rule, frozen=True):
    """PRICE_FILTER: bounds and tick of every price."""

    name: ClassVar[str] = "PRICE_FILTER"
    minPrice: Decimal
    maxPrice: Decimal
    tickSize: Decimal

    def breach(self, asked: Asked) -> str:
        for what, price in (("price", asked.price), ("stop price", asked.stop)):
            if price is not None and (
                found := _outside(what, price, self.minPrice, self.maxPrice, self.tickSize)
                or (f"{what} {price:f} is not positive" if price <= 0 else "")
            ):
                return found
        return ""


class LotSize(Rule, frozen=True):
    """LOT_SIZE: bounds and step of the quantity, and of the part of an iceberg that shows."""

    name: ClassVar[str] = "LOT_SIZE"
    minQty: Decimal
    maxQty: Decimal
    stepSize: Decimal

    def breach(self, asked: Asked) -> str:
        for what, amount in (("quantity", asked.quantity), ("shown quantity", asked.iceberg)):
            if amount is not None and (found := _outside(what, amount, self.minQty, self.maxQty, self.stepSize)):
                return found
        return ""


class MarketLotSize(Rule, frozen=True):
    """MARKET_LOT_SIZE: the same for orders that execute without a price."""

    name: ClassVar[str] = "MARKET_LOT_SIZE"
    minQty: Decimal
    maxQty: Decimal
    stepSize: Decimal

    def breach(self, asked: Asked) -> str:
        if not asked.market or asked.quantity is None:
            return ""
        return _outside("quantity", asked.quantity, self.minQty, self.maxQty, self.stepSize)


class Notional(Rule, frozen=True):
    """NOTIONAL: bounds of price times quantity."""

    name: ClassVar[str] = "NOTIONAL"
    minNotional: Decimal
    maxNotional: Decimal = ZERO
    applyMinToMarket: bool = True
    applyMaxToMarket: bool = True
    avgPriceMins: int = 0

    def breach(self, asked: Asked) -> str:
        value = asked.notional
        if value is None:
            return ""
        least = self.minNotional if self.applyMinToMarket or not asked.market else ZERO
        most = self.maxNotional if self.applyMaxToMarket or not asked.market else ZERO
        return _outside("notional", value, least, most, ZERO)


class MinNotional(Rule, frozen=True):
    """MIN_NOTIONAL: the least price times quantity; futures call it ``notional``."""

    name: ClassVar[str] = "MIN_NOTIONAL"
    minNotional: Decimal = ZERO
    notional: Decimal = ZERO
    applyToMarket: bool = True
    avgPriceMins: int = 0

    def breach(self, asked: Asked) -> str:
        value = asked.notional
        if value is None or (asked.market and not self.applyToMarket):
            return ""
        return _outside("notional", value, max(self.minNotional, self.notional), ZERO, ZERO)


class PercentPrice(Rule, frozen=True):
    """PERCENT_PRICE: how far a price may be from the reference. In futures only bids have an upper bound, and only
    asks a lower one (``multiplierDecimal`` is theirs)."""

    name: ClassVar[str] = "PERCENT_PRICE"
    multiplierUp: Decimal
    multiplierDown: Decimal
    avgPriceMins: int = 0
    multiplierDecimal: str = ""

    def breach(self, asked: Asked) -> str:
        one_sided = bool(self.multiplierDecimal)
        down = ZERO if one_sided and asked.buys else self.multiplierDown
        up = ZERO if one_sided and not asked.buys else self.multiplierUp
        return _percent(asked, down, up)


class PercentPriceBySide(Rule, frozen=True):
    """PERCENT_PRICE_BY_SIDE: the same with bounds of each side."""

    name: ClassVar[str] = "PERCENT_PRICE_BY_SIDE"
    bidMultiplierUp: Decimal
    bidMultiplierDown: Decimal
    askMultiplierUp: Decimal
    askMultiplierDown: Decimal
    avgPriceMins: int = 0

    def breach(self, asked: Asked) -> str:
        if asked.buys:
            return _percent(asked, self.bidMultiplierDown, self.bidMultiplierUp)
        return _percent(asked, self.askMultiplierDown, self.askMultiplierUp)


def _percent(asked: Asked, down: Decimal, up: Decimal) -> str:
    if asked.price is None or not asked.reference:
        return ""
    least, most = EXACT.multiply(asked.reference, down), EXACT.multiply(asked.reference, up)
    return _outside("price", asked.price, least, most, ZERO)


class IcebergParts(Rule, frozen=True):
    """ICEBERG_PARTS: into how many parts an iceberg may come."""

    name: ClassVar[str] = "ICEBERG_PARTS"
    limit: int

    def breach(self, asked: Asked) -> str:
        if not asked.iceberg or asked.quantity is None:
            return ""
        if EXACT.multiply(asked.iceberg, Decimal(self.limit)) < asked.quantity:
            return f"shown quantity {asked.iceberg:f} makes more than {self.limit} parts of {asked.quantity:f}"
        return ""


class TrailingDelta(Rule, frozen=True):
    """TRAILING_DELTA: how far a trailing stop may follow, in hundredths of a percent: with one pair of bounds for stop
    losses that buy and profits that sell (above), and one for the others (faqs/trailing-stop-faq.md)."""

    name: ClassVar[str] = "TRAILING_DELTA"
    minTrailingAboveDelta: int
    maxTrailingAboveDelta: int
    minTrailingBelowDelta: int
    maxTrailingBelowDelta: int

    def breach(self, asked: Asked) -> str:
        if asked.delta is None:
            return ""
        over = (self.minTrailingAboveDelta, self.maxTrailingAboveDelta)
        under = (self.minTrailingBelowDelta, self.maxTrailingBelowDelta)
        bounds = [over, under] if asked.above is None else [over if asked.above else under]
        least, most = min(low for low, _ in bounds), max(high for _, high in bounds)
        return "" if least <= asked.delta <= most else f"trailing delta {asked.delta} is not within {least} and {most}"


class MaxPosition(Rule, frozen=True):
    """MAX_POSITION: how much base an account may have and bid for."""

    name: ClassVar[str] = "MAX_POSITION"
    maxPosition: Decimal

    def breach(self, asked: Asked) -> str:
        if not asked.buys or asked.held is None or asked.quantity is None:
            return ""
        total = EXACT.add(asked.held, asked.quantity)
        return f"position {total:f} would be above {self.maxPosition:f}" if total > self.maxPosition else ""


class MaxNumOrders(Rule, frozen=True):
    """MAX_NUM_ORDERS: how many orders of the symbol may be open; futures call it ``limit``."""

    name: ClassVar[str] = "MAX_NUM_ORDERS"
    maxNumOrders: int = 0
    limit: int = 0

    def breach(self, asked: Asked) -> str:
        return _too_many("orders", asked.open_orders, max(self.maxNumOrders, self.limit))


class MaxNumAlgoOrders(Rule, frozen=True):
    """MAX_NUM_ALGO_ORDERS: how many conditional ones; futures call it ``limit``."""

    name: ClassVar[str] = "MAX_NUM_ALGO_ORDERS"
    maxNumAlgoOrders: int = 0
    limit: int = 0

    def breach(self, asked: Asked) -> str:
        there = asked.open_conditional if asked.conditional else None
        return _too_many("conditional orders", there, max(self.maxNumAlgoOrders, self.limit))


class MaxNumIcebergOrders(Rule, frozen=True):
    """MAX_NUM_ICEBERG_ORDERS: how many icebergs."""

    name: ClassVar[str] = "MAX_NUM_ICEBERG_ORDERS"
    maxNumIcebergOrders: int

    def breach(self, asked: Asked) -> str:
        return _too_many("icebergs", asked.open_icebergs if asked.iceberg else None, self.maxNumIcebergOrders)


class Unread(Rule, frozen=True):
    """A filter that this release does not know. It refuses nothing here; the venue may."""

    filterType: str

    def breach(self, asked: Asked) -> str:
        return ""


_KINDS: tuple[type[Rule], ...] = (
    PriceFilter,
    LotSize,
    MarketLotSize,
    Notional,
    MinNotional,
    PercentPrice,
    PercentPriceBySide,
    IcebergParts,
    TrailingDelta,
    MaxPosition,
    MaxNumOrders,
    MaxNumAlgoOrders,
    MaxNumIcebergOrders,
)
_READ: dict[str, Any] = {kind.name: msgspec.json.Decoder(kind).decode for kind in _KINDS}


class _Named(msgspec.Struct, gc=False):
    filterType: str


_name = msgspec.json.Decoder(_Named).decode


def rule_of(raw: msgspec.Raw | bytes) -> Rule:
    """A filter as exchangeInfo has it. Raises ValueError for one of a known type that is not whole."""
    name = _name(raw).filterType
    read = _READ.get(name)
    if read is None:
        return Unread(name)
    rule: Rule = read(raw)
    return rule
