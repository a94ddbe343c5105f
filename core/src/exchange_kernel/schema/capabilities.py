"""What a market can do: every feature answered, native, partial with a note, or unsupported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Self

from exchange_kernel.errors import InvalidMetadata
from exchange_kernel.schema.choices import AmountType, PriceSource, Side, TimeInForce, TrailUnit, TriggerKind
from exchange_kernel.schema.fields import choice, close_to

__all__ = ["FEATURES", "MarketCapabilities", "Support", "SupportLevel"]

FEATURES: tuple[str, ...] = (
    "market",
    "limit",
    "amount_base",
    "amount_quote",
    "gtc",
    "ioc",
    "fok",
    "day",
    "gtd",
    "post_only",
    "reduce_only",
    "iceberg",
    "stop_loss",
    "take_profit",
    "trailing_abs",
    "trailing_pct",
    "trailing_activation",
    "trigger_limit",
    "source_last",
    "source_mark",
    "source_index",
    "source_mid",
    "amend_price",
    "amend_up",
    "amend_down",
    "amend_keeps_queue",
    "cancel_free",
    "cancel_provable",
    "cancel_all",
    "group_oco",
    "group_oto",
    "group_bracket",
    "dead_man",
    "hedge_legs",
    "margin_cross",
    "margin_isolated",
    "find_by_key",
    "lists_foreign",
    "fills_of_order",
    "stream",
    "replay",
    "partial_fills",
    "fills_final_at_once",
    "orders_outlive_session",
    "prices",
    "quotes",
    "history",
)
"""The closed list of capability names. Those of choices are theirs in lower case: ``gtd``, ``source_mark``."""

_NAMES = frozenset(FEATURES)


class SupportLevel(StrEnum):
    """How far the venue itself offers a feature. Only the kernel turns ``unsupported`` into *emulated*."""

    NATIVE = "native"
    PARTIAL = "partial"
    UNSUPPORTED = "unsupported"


@dataclass(frozen=True, slots=True)
class Support:
    """The answer for one feature; a partial one says in ``note`` what is missing. Raises InvalidMetadata."""

    level: SupportLevel
    note: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.level, SupportLevel):
            raise InvalidMetadata("level", self.level, "is not a SupportLevel")
        if self.level is SupportLevel.PARTIAL and not self.note:
            raise InvalidMetadata("note", self.note, "is required for partial support", "say what is missing")


_NATIVE = Support(SupportLevel.NATIVE)
_UNSUPPORTED = Support(SupportLevel.UNSUPPORTED)


@dataclass(frozen=True, slots=True)
class MarketCapabilities:
    """The answers of one market: every name of :data:`FEATURES`, no other; and the ``sides`` it takes.

    :meth:`of` fills what is not named as unsupported. :raises InvalidMetadata: unknown or unanswered features, no side.
    """

    features: Mapping[str, Support] = field(hash=False)
    sides: frozenset[Side] = frozenset(Side)

    def __post_init__(self) -> None:
        for name in self.features:
            if name not in _NAMES:
                raise _unknown(name)
        for name in FEATURES:
            if not isinstance(self.features.get(name), Support):
                raise InvalidMetadata(name, self.features.get(name), "is not answered with a Support")
        object.__setattr__(self, "features", MappingProxyType({name: self.features[name] for name in FEATURES}))
        sides = frozenset(choice("sides", side, Side, InvalidMetadata) for side in self.sides)
        object.__setattr__(self, "sides", sides)
        if not self.sides:
            raise InvalidMetadata("sides", self.sides, "must name at least one side")

    def __reduce__(self) -> tuple[Any, ...]:
        # The read-only view of a mapping can be neither pickled nor deep-copied.
        return type(self), (dict(self.features), self.sides)

    @classmethod
    def of(
        cls,
        native: Iterable[str] = (),
        partial: Mapping[str, str] = MappingProxyType({}),
        sides: Iterable[Side] = tuple(Side),
    ) -> Self:
        """These features native, those partial (name to note), all others unsupported."""
        answers = dict.fromkeys(FEATURES, _UNSUPPORTED) | dict.fromkeys(native, _NATIVE)
        for name, note in partial.items():
            if answers.get(name) is _NATIVE:
                raise InvalidMetadata(name, note, "is given as native and as partial")
            answers[name] = Support(SupportLevel.PARTIAL, note)
        return cls(answers, frozenset(sides))

    def support(self, feature: str) -> Support:
        """The answer for one feature. Raises InvalidMetadata for a name that is no feature."""
        answer = self.features.get(feature)
        if answer is None:
            raise _unknown(feature)
        return answer

    def offers(self, feature: str) -> bool:
        """True when the venue offers the feature, natively or in part."""
        answer = self.features.get(feature)
        if answer is None:
            raise _unknown(feature)
        return answer.level is not SupportLevel.UNSUPPORTED

    @property
    def amount_types(self) -> frozenset[AmountType]:
        """What ``amount`` may count here."""
        return frozenset(kind for kind in AmountType if self.offers(f"amount_{kind.lower()}"))

    @property
    def market_orders(self) -> bool:
        """Does it take orders without a limit price?"""
        return self.offers("market")

    @property
    def limit_orders(self) -> bool:
        """Does it take orders with a limit price?"""
        return self.offers("limit")

    @property
    def times_in_force(self) -> frozenset[TimeInForce]:
        """The times in force the venue itself keeps."""
        return frozenset(tif for tif in TimeInForce if self.offers(tif.lower()))

    @property
    def trigger_kinds(self) -> frozenset[TriggerKind]:
        """The triggers the venue itself watches; a trailing stop counts with either unit (see :attr:`trail_units`)."""
        kinds = {kind for kind in (TriggerKind.STOP_LOSS, TriggerKind.TAKE_PROFIT) if self.offers(kind.lower())}
        return frozenset(kinds | {TriggerKind.TRAILING_STOP} if self.trail_units else kinds)

    @property
    def trail_units(self) -> frozenset[TrailUnit]:
        """The units in which the venue takes a trailing distance."""
        units = {TrailUnit.ABSOLUTE: "trailing_abs", TrailUnit.PERCENT: "trailing_pct"}
        return frozenset(unit for unit, feature in units.items() if self.offers(feature))

    @property
    def price_sources(self) -> frozenset[PriceSource]:
        """The prices the venue's triggers can watch."""
        return frozenset(source for source in PriceSource if self.offers(f"source_{source.lower()}"))

    @property
    def post_only(self) -> bool:
        """Can an order be refused rather than take liquidity?"""
        return self.offers("post_only")

    @property
    def reduce_only(self) -> bool:
        """Can an order be kept from opening or growing a position?"""
        return self.offers("reduce_only")

    @property
    def iceberg(self) -> bool:
        """Can only a part of an order be shown?"""
        return self.offers("iceberg")


def _unknown(name: object) -> InvalidMetadata:
    guess = close_to(str(name), FEATURES)
    return InvalidMetadata("features", name, "is not a feature", f"did you mean {guess}?" if guess else "see FEATURES")
