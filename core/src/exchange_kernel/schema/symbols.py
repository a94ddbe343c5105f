"""What a market is: its assets, the amounts and prices it takes, and what it can do."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from exchange_kernel.errors import InvalidMetadata
from exchange_kernel.schema.assets import AssetType
from exchange_kernel.schema.capabilities import FEATURES, MarketCapabilities, Support, SupportLevel
from exchange_kernel.schema.fields import choice, flag, identifier
from exchange_kernel.schema.numbers import amount

__all__ = [
    "FEATURES",
    "AmountConstraints",
    "MarketCapabilities",
    "PriceConstraints",
    "Support",
    "SupportLevel",
    "SymbolMetadata",
    "TickBand",
    "TickSpacing",
]

_set = object.__setattr__


class TickSpacing(StrEnum):
    """How prices are spaced: one tick (FIXED), a tick that depends on the price (DYNAMIC), or freely (CONTINUOUS)."""

    FIXED = "FIXED"
    DYNAMIC = "DYNAMIC"
    CONTINUOUS = "CONTINUOUS"


@dataclass(frozen=True, slots=True)
class AmountConstraints:
    """The amounts a market takes. Amounts are multiples of their step, counted from zero.

    ``min_amount``, ``max_amount``, ``step``: in base (a venue without a minimum: its step). ``min_notional``,
    ``max_notional``, ``quote_step``: in quote; they bound amount times limit price, and quote amounts themselves.

    :raises InvalidMetadata: not positive, or a minimum above its maximum.
    """

    min_amount: Decimal
    step: Decimal
    max_amount: Decimal | None = None
    min_notional: Decimal | None = None
    max_notional: Decimal | None = None
    quote_step: Decimal | None = None

    def __post_init__(self) -> None:
        _positive(self, "min_amount", "step")
        _positive_if_given(self, "max_amount", "min_notional", "max_notional", "quote_step")
        _ordered("amount", self.min_amount, self.max_amount)
        _ordered("notional", self.min_notional, self.max_notional)


@dataclass(frozen=True, slots=True)
class TickBand:
    """From ``from_price`` (quote per base, inclusive) up to the next band, prices are multiples of ``tick``."""

    from_price: Decimal
    tick: Decimal

    def __post_init__(self) -> None:
        _set(self, "from_price", amount("from_price", self.from_price, zero=True, error=InvalidMetadata))
        _positive(self, "tick")


@dataclass(frozen=True, slots=True)
class PriceConstraints:
    """The prices a market takes, quote per base.

    FIXED: multiples of ``tick``. DYNAMIC: ``bands`` in ascending order, the first of which starts at zero or at most at
    ``min_price``. CONTINUOUS: any price, or any with at most ``significant_digits``.

    :raises InvalidMetadata: not positive, bands out of order, or a field that does not belong to the spacing.
    """

    spacing: TickSpacing
    tick: Decimal | None = None
    bands: tuple[TickBand, ...] = ()
    significant_digits: int | None = None
    min_price: Decimal | None = None
    max_price: Decimal | None = None

    def __post_init__(self) -> None:
        _set(self, "spacing", choice("spacing", self.spacing, TickSpacing, InvalidMetadata))
        _set(self, "bands", tuple(self.bands))
        _positive_if_given(self, "tick", "min_price", "max_price")
        _ordered("price", self.min_price, self.max_price)
        if (self.tick is not None) != (self.spacing is TickSpacing.FIXED):
            raise InvalidMetadata("tick", self.tick, "belongs to FIXED spacing, which needs it")
        if bool(self.bands) != (self.spacing is TickSpacing.DYNAMIC):
            raise InvalidMetadata("bands", self.bands, "belong to DYNAMIC spacing, which needs them")
        self._check_bands()
        self._check_digits()

    def _check_bands(self) -> None:
        previous: TickBand | None = None
        for band in self.bands:
            if not isinstance(band, TickBand):
                raise InvalidMetadata("bands", band, "is not a TickBand")
            if previous is None and band.from_price > (self.min_price or 0):
                raise InvalidMetadata("bands", band, "leaves lower prices without a tick", "start at 0 or at min_price")
            if previous is not None and band.from_price <= previous.from_price:
                raise InvalidMetadata("bands", band, f"does not start above {previous.from_price}")
            previous = band

    def _check_digits(self) -> None:
        digits = self.significant_digits
        if digits is None:
            return
        if self.spacing is not TickSpacing.CONTINUOUS:
            raise InvalidMetadata("significant_digits", digits, "belongs to CONTINUOUS spacing")
        if type(digits) is not int or not 1 <= digits <= 36:
            raise InvalidMetadata("significant_digits", digits, "must be an int from 1 to 36")


@dataclass(frozen=True, slots=True)
class SymbolMetadata:
    """One market of a venue, as its adapter describes it.

    ``symbol_id``: what users write, unique at the venue. ``base``, ``quote``: ids of the assets that change hands.
    ``active``: does it take orders now? ``venue_symbol``: the venue's own name of it, where it differs.

    :raises InvalidMetadata: naming the field.
    """

    symbol_id: str
    base: str
    quote: str
    asset_type: AssetType
    amounts: AmountConstraints
    prices: PriceConstraints
    capabilities: MarketCapabilities
    active: bool = True
    venue_symbol: str = ""

    def __post_init__(self) -> None:
        for field in ("symbol_id", "base", "quote"):
            identifier(field, getattr(self, field), InvalidMetadata)
        _set(self, "asset_type", choice("asset_type", self.asset_type, AssetType, InvalidMetadata))
        parts = (("amounts", AmountConstraints), ("prices", PriceConstraints), ("capabilities", MarketCapabilities))
        for field, kind in parts:
            if not isinstance(getattr(self, field), kind):
                raise InvalidMetadata(field, getattr(self, field), f"is not of type {kind.__name__}")
        flag("active", self.active, InvalidMetadata)
        if self.venue_symbol:
            identifier("venue_symbol", self.venue_symbol, InvalidMetadata)


def _positive(record: object, *names: str) -> None:
    for name in names:
        _set(record, name, amount(name, getattr(record, name), error=InvalidMetadata))


def _positive_if_given(record: object, *names: str) -> None:
    _positive(record, *(name for name in names if getattr(record, name) is not None))


def _ordered(what: str, least: Decimal | None, most: Decimal | None) -> None:
    if least is not None and most is not None and least > most:
        raise InvalidMetadata(f"min_{what}", least, f"is above max_{what} {most}")
