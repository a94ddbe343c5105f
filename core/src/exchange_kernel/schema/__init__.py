"""What users and adapters write: orders, symbols, assets. Pure data, checked when it is made; standard library only."""

from __future__ import annotations

from exchange_kernel.schema.assets import (
    AssetMetadata,
    AssetType,
    ContractSpec,
    Margin,
    OptionKind,
    Settlement,
    SettlementKind,
)
from exchange_kernel.schema.capabilities import FEATURES, MarketCapabilities, Support, SupportLevel
from exchange_kernel.schema.choices import (
    AmountType,
    ConditionalOrderMode,
    PriceSource,
    Rounding,
    Side,
    TimeInForce,
    TrailUnit,
    TriggerKind,
)
from exchange_kernel.schema.numbers import Number, amount, canonical
from exchange_kernel.schema.order_spec import ConditionalTrigger, StandardOrder
from exchange_kernel.schema.symbols import AmountConstraints, PriceConstraints, SymbolMetadata, TickBand, TickSpacing

__all__ = [
    "FEATURES",
    "AmountConstraints",
    "AmountType",
    "AssetMetadata",
    "AssetType",
    "ConditionalOrderMode",
    "ConditionalTrigger",
    "ContractSpec",
    "Margin",
    "MarketCapabilities",
    "Number",
    "OptionKind",
    "PriceConstraints",
    "PriceSource",
    "Rounding",
    "Settlement",
    "SettlementKind",
    "Side",
    "StandardOrder",
    "Support",
    "SupportLevel",
    "SymbolMetadata",
    "TickBand",
    "TickSpacing",
    "TimeInForce",
    "TrailUnit",
    "TriggerKind",
    "amount",
    "canonical",
]
