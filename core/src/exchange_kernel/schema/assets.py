"""What an asset is: its type, its contract, how it settles, and the margin it asks for.

``OPTION`` and ``SYNTHETIC`` exist as types and metadata; they trade once a venue brings them.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from exchange_kernel.errors import InvalidMetadata
from exchange_kernel.schema.fields import choice, identifier, moment
from exchange_kernel.schema.numbers import MAX_FRACTION_DIGITS, amount

__all__ = ["AssetMetadata", "AssetType", "ContractSpec", "Margin", "OptionKind", "Settlement", "SettlementKind"]


class AssetType(StrEnum):
    """What is held: a coin or share (SPOT), one bought on credit (MARGIN), or a contract on something else."""

    SPOT = "SPOT"
    MARGIN = "MARGIN"
    PERP = "PERP"
    FUTURE = "FUTURE"
    OPTION = "OPTION"
    SYNTHETIC = "SYNTHETIC"


class SettlementKind(StrEnum):
    """What changes hands at settlement: the difference in money (CASH), or the underlying itself (PHYSICAL)."""

    CASH = "CASH"
    PHYSICAL = "PHYSICAL"


class OptionKind(StrEnum):
    """The right an option gives: to buy the underlying (CALL) or to sell it (PUT)."""

    CALL = "CALL"
    PUT = "PUT"


_set = object.__setattr__


@dataclass(frozen=True, slots=True)
class ContractSpec:
    """One contract: ``contract_size`` of ``contract_unit``, on ``underlying``.

    ``contract_unit`` and ``underlying`` are asset or index ids; a contract of fixed value has the quote asset as its
    unit (an inverse contract). ``expiry`` in ms UTC, ``strike`` in quote per underlying; each only where the asset type
    has it.

    :raises InvalidMetadata: naming the field.
    """

    contract_size: Decimal
    contract_unit: str
    underlying: str
    expiry: int | None = None
    strike: Decimal | None = None
    option_kind: OptionKind | None = None

    def __post_init__(self) -> None:
        _set(self, "contract_size", amount("contract_size", self.contract_size, error=InvalidMetadata))
        identifier("contract_unit", self.contract_unit, InvalidMetadata)
        identifier("underlying", self.underlying, InvalidMetadata)
        if self.expiry is not None:
            _set(self, "expiry", moment("expiry", self.expiry, InvalidMetadata))
        if self.strike is not None:
            _set(self, "strike", amount("strike", self.strike, error=InvalidMetadata))
        if self.option_kind is not None:
            _set(self, "option_kind", choice("option_kind", self.option_kind, OptionKind, InvalidMetadata))


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a contract settles: in which ``asset``, in cash or physically. Raises InvalidMetadata."""

    asset: str
    kind: SettlementKind = SettlementKind.CASH

    def __post_init__(self) -> None:
        identifier("settlement.asset", self.asset, InvalidMetadata)
        _set(self, "kind", choice("settlement.kind", self.kind, SettlementKind, InvalidMetadata))


@dataclass(frozen=True, slots=True)
class Margin:
    """Margin of the lowest tier: ``initial`` and ``maintenance`` as fractions of the position's value.

    ``initial``: needed to open; ``maintenance``: below it the venue liquidates, so never above ``initial``.
    ``max_leverage``: largest position divided by its margin, at least 1. Raises InvalidMetadata.
    """

    initial: Decimal
    maintenance: Decimal
    max_leverage: Decimal | None = None

    def __post_init__(self) -> None:
        _set(self, "initial", amount("margin.initial", self.initial, error=InvalidMetadata))
        _set(self, "maintenance", amount("margin.maintenance", self.maintenance, error=InvalidMetadata))
        if self.initial > 1:
            hint = "it is a fraction of the position's value: 0.1 is 10 %"
            raise InvalidMetadata("margin.initial", self.initial, "must not be above 1", hint)
        if self.maintenance > self.initial:
            raise InvalidMetadata("margin.maintenance", self.maintenance, f"is above the initial margin {self.initial}")
        if self.max_leverage is not None:
            _set(self, "max_leverage", amount("margin.max_leverage", self.max_leverage, error=InvalidMetadata))
            if self.max_leverage < 1:
                raise InvalidMetadata("margin.max_leverage", self.max_leverage, "must be at least 1")


# Per asset type: is there a contract that settles, and which of its fields are there (all others must be empty)?
_CONTRACT_FIELDS: dict[AssetType, frozenset[str]] = {
    AssetType.PERP: frozenset(),
    AssetType.FUTURE: frozenset({"expiry"}),
    AssetType.OPTION: frozenset({"expiry", "strike", "option_kind"}),
    AssetType.SYNTHETIC: frozenset(),
}


@dataclass(frozen=True, slots=True)
class AssetMetadata:
    """One asset of a venue.

    ``asset_id``: unique at the venue (a token's is its address, never its ticker). ``decimals``: digits after the point
    of its smallest unit. SPOT and MARGIN have no contract. PERP, FUTURE, OPTION and SYNTHETIC have a ``contract`` and a
    ``settlement``: a FUTURE with an expiry; an OPTION with expiry, strike and kind; a PERP and a SYNTHETIC with none of
    these. ``margin``: what the venue asks of a position, where it publishes it; never for SPOT.

    :raises InvalidMetadata: for whatever breaks these rules, naming the field.
    """

    asset_id: str
    asset_type: AssetType
    name: str = ""
    decimals: int | None = None
    contract: ContractSpec | None = None
    settlement: Settlement | None = None
    margin: Margin | None = None

    def __post_init__(self) -> None:
        identifier("asset_id", self.asset_id, InvalidMetadata)
        _set(self, "asset_type", choice("asset_type", self.asset_type, AssetType, InvalidMetadata))
        if not isinstance(self.name, str) or len(self.name) > 128 or not self.name.isprintable():
            raise InvalidMetadata("name", self.name, "must be at most 128 printable characters")
        decimals = self.decimals
        if decimals is not None and (type(decimals) is not int or not 0 <= decimals <= MAX_FRACTION_DIGITS):
            raise InvalidMetadata("decimals", decimals, f"must be an int from 0 to {MAX_FRACTION_DIGITS}")
        self._check_contract()
        if self.margin is not None and self.asset_type is AssetType.SPOT:
            raise InvalidMetadata("margin", self.margin, "does not go with SPOT")

    def _check_contract(self) -> None:
        allowed = _CONTRACT_FIELDS.get(self.asset_type)
        if allowed is None:
            for field in ("contract", "settlement"):
                if getattr(self, field) is not None:
                    raise InvalidMetadata(field, getattr(self, field), f"does not go with {self.asset_type}")
            return
        if self.contract is None or self.settlement is None:
            field = "contract" if self.contract is None else "settlement"
            raise InvalidMetadata(field, None, f"is required for {self.asset_type}")
        for field in ("expiry", "strike", "option_kind"):
            value = getattr(self.contract, field)
            if value is None and field in allowed:
                raise InvalidMetadata(f"contract.{field}", None, f"is required for {self.asset_type}")
            if value is not None and field not in allowed:
                raise InvalidMetadata(f"contract.{field}", value, f"does not go with {self.asset_type}")
