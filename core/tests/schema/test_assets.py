"""Asset metadata: each asset type has exactly the fields that belong to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from exchange_kernel.errors import InvalidMetadata
from exchange_kernel.schema import (
    AssetMetadata,
    AssetType,
    ContractSpec,
    Margin,
    OptionKind,
    Settlement,
    SettlementKind,
)

EXPIRY = 1_800_000_000_000
PLAIN = ContractSpec(Decimal("0.001"), "BTC", "BTC")
DATED = replace(PLAIN, expiry=EXPIRY)
OPTION = replace(DATED, strike=Decimal(60000), option_kind=OptionKind.CALL)
CASH = Settlement("USDT")
MARGIN = Margin(Decimal("0.05"), Decimal("0.025"), Decimal(20))
CONTRACTS = {
    AssetType.PERP: PLAIN,
    AssetType.FUTURE: DATED,
    AssetType.OPTION: OPTION,
    AssetType.SYNTHETIC: PLAIN,
}


def wrong(value: Any) -> Any:
    """A value of another type than the field's."""
    return value


def asset(asset_type: Any, **fields: Any) -> AssetMetadata:
    """An asset of this type with what it needs, and these fields changed."""
    needed: dict[str, Any] = {}
    if asset_type in CONTRACTS:
        needed = {"contract": CONTRACTS[asset_type], "settlement": CASH}
    return AssetMetadata("X", asset_type, **needed | fields)


@pytest.mark.parametrize("asset_type", AssetType)
def test_each_asset_type_can_be_described(asset_type: AssetType) -> None:
    """Every type of the specification has a valid description, by member or by name."""
    made = asset(asset_type, name="Ein Name, 名前", decimals=8)
    assert made.asset_type is asset_type
    assert replace(made, asset_type=asset_type.value) == made  # type: ignore[arg-type]
    if asset_type is not AssetType.SPOT:
        assert replace(made, margin=MARGIN).margin == MARGIN


def test_values_become_exact() -> None:
    """Numbers and choices may be written as text; they are stored exact."""
    made = ContractSpec("0.10", "USD", "BTC", EXPIRY, "60000", "PUT")  # type: ignore[arg-type]
    assert (made.contract_size, made.strike, made.option_kind) == (Decimal("0.1"), Decimal(60000), OptionKind.PUT)
    assert Settlement("BTC", "PHYSICAL").kind is SettlementKind.PHYSICAL  # type: ignore[arg-type]
    assert Margin(1, 1).max_leverage is None  # type: ignore[arg-type]


def test_allowed_edges() -> None:
    """The last value on the allowed side of each rule is accepted."""
    assert Margin(Decimal(1), Decimal(1), Decimal(1)).max_leverage == 1
    assert asset(AssetType.SPOT, name="A" * 128, decimals=0).decimals == 0
    assert asset(AssetType.SPOT, decimals=36).decimals == 36


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda: asset(AssetType.SPOT, contract=PLAIN), "contract"),
        (lambda: asset(AssetType.SPOT, settlement=CASH), "settlement"),
        (lambda: asset(AssetType.SPOT, margin=MARGIN), "margin"),
        (lambda: asset(AssetType.MARGIN, contract=PLAIN), "contract"),
        (lambda: asset(AssetType.PERP, contract=None), "contract"),
        (lambda: asset(AssetType.PERP, settlement=None), "settlement"),
        (lambda: asset(AssetType.PERP, contract=DATED), "contract.expiry"),
        (lambda: asset(AssetType.FUTURE, contract=PLAIN), "contract.expiry"),
        (lambda: asset(AssetType.FUTURE, contract=OPTION), "contract.strike"),
        (lambda: asset(AssetType.OPTION, contract=DATED), "contract.strike"),
        (lambda: asset(AssetType.OPTION, contract=replace(OPTION, option_kind=None)), "contract.option_kind"),
        (lambda: asset(AssetType.OPTION, contract=replace(OPTION, expiry=None)), "contract.expiry"),
        (lambda: asset(AssetType.SYNTHETIC, contract=None), "contract"),
        (lambda: asset(AssetType.SYNTHETIC, contract=OPTION), "contract.expiry"),
        (lambda: asset("COIN"), "asset_type"),
        (lambda: AssetMetadata("", AssetType.SPOT), "asset_id"),
        (lambda: AssetMetadata("US DT", AssetType.SPOT), "asset_id"),
        (lambda: asset(AssetType.SPOT, name="\x1b[31m"), "name"),
        (lambda: asset(AssetType.SPOT, name="A" * 129), "name"),
        (lambda: asset(AssetType.SPOT, decimals=255), "decimals"),
        (lambda: asset(AssetType.SPOT, decimals=-1), "decimals"),
        (lambda: asset(AssetType.SPOT, decimals=True), "decimals"),
        (lambda: replace(PLAIN, contract_size=Decimal(0)), "contract_size"),
        (lambda: replace(PLAIN, contract_unit=""), "contract_unit"),
        (lambda: replace(PLAIN, underlying="\n"), "underlying"),
        (lambda: replace(PLAIN, expiry=-5), "expiry"),
        (lambda: replace(PLAIN, strike=Decimal("NaN")), "strike"),
        (lambda: replace(PLAIN, option_kind=wrong("STRADDLE")), "option_kind"),
        (lambda: Settlement("", SettlementKind.CASH), "settlement.asset"),
        (lambda: Settlement("USD", wrong("LATER")), "settlement.kind"),
        (lambda: Margin(Decimal(0), Decimal(0)), "margin.initial"),
        (lambda: Margin(Decimal(5), Decimal(1)), "margin.initial"),
        (lambda: Margin(Decimal("0.1"), Decimal("0.2")), "margin.maintenance"),
        (lambda: Margin(Decimal("0.1"), Decimal("0.1"), Decimal("0.5")), "margin.max_leverage"),
    ],
)
def test_a_description_that_makes_no_sense_is_refused(make: Callable[[], object], field: str) -> None:
    """A missing, foreign or impossible field is refused when the metadata is made, with its name."""
    with pytest.raises(InvalidMetadata) as caught:
        make()
    assert caught.value.field == field
