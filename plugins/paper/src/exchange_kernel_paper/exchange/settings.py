"""How one exchange behaves: its fence preset, fees, delays. Plain data, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation

FENCES = ("time_window", "sequence", "height", "permanent_key", "none")
LEDGERS = ("sequence", "height")
AMENDS = ("full", "down", "off")
RESTS = ("on", "off")
SETTLES = ("off", "on")
ENABLES = ("off", "mode", "allowance")
GROUPS = ("oco", "oto", "bracket")
FEE_ASSETS = ("quote", "base", "received")


class SettingError(ValueError):
    """A setting cannot be used: its name, the value, and the rule."""

    def __init__(self, name: str, value: object, rule: str) -> None:
        super().__init__(f"{name} {value!r}: {rule}")
        self.name, self.value, self.rule = name, value, rule


@dataclass(frozen=True, slots=True)
class Settings:
    """Times in ms.

    ``fence``: one of :data:`FENCES`. ``window_ms``: life of a request under ``time_window``. ``future_ms``: how far a
    timestamp may lie ahead of the venue's clock. ``engine_delay_ms``: longest time between that check and execution.
    ``block_ms``, ``finality``: block time of a ledger venue, and how many blocks make a change final.
    ``valid_blocks``: life of a transaction under ``height``. ``base_fee``: least network fee, in ``gas_asset``.
    ``amend``: ``full``, ``down`` (less quantity only, keeps its place) or ``off``. ``maker_fee``, ``taker_fee``:
    fractions, in ``fee_in``: quote, base, or whatever the trader receives. ``read_lag_ms``: longest time reads may
    trail (with the query_lag fault). ``retention_ms``: how long a finished order without fills can be looked up; 0 is
    for ever, as always on a ledger venue. ``page_size``: orders per page. ``queue_size``: events a slow subscriber
    may fall behind. ``groups``: which of :data:`GROUPS` it keeps together itself. ``enable``: ``off``; or each market
    must be enabled on the account before its first order: as a ``mode``, or with an ``allowance`` that all working
    orders of the account there share, in the unit of their amounts.
    ``settle``: ``on``: what an order executes while it rests stays tentative until it ends; one that has executed in
    full does not end by itself, its owner has to settle it (or cancel it, which brings the same).
    ``rests``: ``off``: limit orders are taken as IOC or FOK only.
    """

    fence: str = "time_window"
    window_ms: int = 2_000
    future_ms: int = 1_000
    engine_delay_ms: int = 0
    block_ms: int = 500
    finality: int = 2
    valid_blocks: int = 4
    base_fee: Decimal = Decimal("0.01")
    gas_asset: str = "USD"
    amend: str = "full"
    maker_fee: Decimal = Decimal("0.0002")
    taker_fee: Decimal = Decimal("0.0005")
    fee_in: str = "quote"
    read_lag_ms: int = 0
    retention_ms: int = 0
    page_size: int = 500
    heartbeat_ms: int = 1_000
    balance_event_ms: int = 100
    queue_size: int = 20_000
    enable: str = "off"
    groups: tuple[str, ...] = ()
    settle: str = "off"
    rests: str = "on"

    def __post_init__(self) -> None:
        for name, choices in (
            ("fence", FENCES),
            ("amend", AMENDS),
            ("fee_in", FEE_ASSETS),
            ("enable", ENABLES),
            ("settle", SETTLES),
            ("rests", RESTS),
        ):
            if getattr(self, name) not in choices:
                raise SettingError(name, getattr(self, name), f"choose one of {', '.join(choices)}")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "int":
                least = 1 if field.name in _AT_LEAST_ONE else 0
                if type(value) is not int or value < least:
                    raise SettingError(field.name, value, f"must be an int of at least {least}")
            elif field.type == "Decimal":
                object.__setattr__(self, field.name, _fraction(field.name, value))
            elif field.name == "groups":
                object.__setattr__(self, "groups", _kinds(value))
            elif not isinstance(value, str):
                raise SettingError(field.name, value, "must be text")
        if self.ledger and self.retention_ms:
            raise SettingError("retention_ms", self.retention_ms, "a ledger venue forgets nothing: leave it 0")
        if self.groups and self.enable != "off":
            raise SettingError(
                "groups", self.groups, "are not kept where markets must be enabled: leave one of them out"
            )

    @property
    def ledger(self) -> bool:
        """Is this a venue of blocks and transactions?"""
        return self.fence in LEDGERS

    @classmethod
    def of(cls, given: Mapping[str, object]) -> Settings:
        """From a plain mapping. Raises SettingError for unknown names and unusable values."""
        known = {field.name for field in fields(cls)}
        for name in given:
            if name not in known:
                raise SettingError(name, given[name], f"is no setting; there are {', '.join(sorted(known))}")
        return cls(**given)  # type: ignore[arg-type]


_AT_LEAST_ONE = frozenset({"block_ms", "valid_blocks", "window_ms", "page_size", "queue_size", "heartbeat_ms"})


def _kinds(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or any(kind not in GROUPS for kind in value):
        raise SettingError("groups", value, f"must be a list of {', '.join(GROUPS)}")
    return tuple(kind for kind in GROUPS if kind in value)


def _fraction(name: str, value: object) -> Decimal:
    try:
        number = value if isinstance(value, Decimal) else Decimal(str(value))
    except InvalidOperation:
        raise SettingError(name, value, "must be a decimal number") from None
    if not number.is_finite() or not 0 <= number < 1 or number != number.quantize(Decimal("1E-18")):
        raise SettingError(name, value, "must be at least 0 and below 1, with at most 18 digits after the point")
    return number
