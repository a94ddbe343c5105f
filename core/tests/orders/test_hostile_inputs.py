"""What a hostile or careless caller writes into an order: always a typed error that names the field, by every door."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from exchange_kernel.errors import InvalidOrder, UnknownSymbol
from exchange_kernel.orders import validate
from exchange_kernel.schema import (
    FEATURES,
    AmountConstraints,
    AssetType,
    MarketCapabilities,
    PriceConstraints,
    StandardOrder,
    SymbolMetadata,
    TickBand,
    TickSpacing,
)

NOW = 1_800_000_000_000
SYMBOL = SymbolMetadata(
    symbol_id="BTC/USDC",
    base="BTC",
    quote="USDC",
    asset_type=AssetType.SPOT,
    amounts=AmountConstraints(
        Decimal("0.001"), Decimal("0.000001"), min_notional=Decimal(10), quote_step=Decimal("0.000001")
    ),
    prices=PriceConstraints(
        TickSpacing.DYNAMIC, bands=(TickBand(Decimal(0), Decimal("0.01")), TickBand(Decimal(1000), Decimal("0.5")))
    ),
    capabilities=MarketCapabilities.of(native=FEATURES),
)
GOOD: dict[str, Any] = {"symbol_id": "BTC/USDC", "side": "BUY", "amount": "1", "limit_price": "50000"}
STOP = {"kind": "STOP_LOSS", "trigger_price": "45000"}

HOSTILE: list[tuple[str, str, dict[Any, Any]]] = [
    ("not a number", "amount", {"amount": "NaN"}),
    ("signalling not a number", "amount", {"amount": Decimal("sNaN")}),
    ("YAML's not a number", "amount", {"amount": ".nan"}),
    ("float not a number", "amount", {"amount": float("nan")}),
    ("infinity", "amount", {"amount": "Infinity"}),
    ("YAML's infinity", "limit_price", {"limit_price": ".inf"}),
    ("float infinity", "limit_price", {"limit_price": float("inf")}),
    ("exponent", "amount", {"amount": "1e400"}),
    ("exponent past every context", "amount", {"amount": "1e999999999"}),
    ("Decimal past every context", "amount", {"amount": Decimal("1e999999999")}),
    ("vanishing exponent", "amount", {"amount": "1E-400"}),
    ("5000 digits", "amount", {"amount": "7" * 5000}),
    ("5000 digits as int", "amount", {"amount": 7**6000}),
    ("negative", "amount", {"amount": "-1"}),
    ("zero", "amount", {"amount": "0"}),
    ("negative zero", "amount", {"amount": "-0"}),
    ("negative zero as float", "amount", {"amount": -0.0}),
    ("decimal comma", "amount", {"amount": "1,5"}),
    ("hexadecimal", "amount", {"amount": "0x10"}),
    ("empty", "amount", {"amount": ""}),
    ("spaces", "amount", {"amount": " 5 "}),
    ("underscore", "amount", {"amount": "1_000"}),
    ("full-width digits", "amount", {"amount": "\uff11\uff12\uff13"}),
    ("Arabic digits", "amount", {"amount": "\u0661\u0662\u0663"}),
    ("true", "amount", {"amount": True}),
    ("null", "amount", {"amount": None}),
    ("list", "amount", {"amount": []}),
    ("mapping", "amount", {"amount": {}}),
    ("float noise off the step", "amount", {"amount": 0.1 + 0.2}),
    ("off the step", "amount", {"amount": "1.00000001"}),
    ("off a dynamic tick", "limit_price", {"limit_price": "50000.3"}),
    ("18 decimals for 6", "amount", {"amount": "50.000000000000000001", "amount_type": "QUOTE"}),
    ("2**256", "amount", {"amount": 2**256}),
    ("2**256 - 1 as text", "amount", {"amount": str(2**256 - 1)}),
    ("empty symbol", "symbol_id", {"symbol_id": ""}),
    ("10 kB symbol", "symbol_id", {"symbol_id": "B" * 10_000}),
    ("NUL in symbol", "symbol_id", {"symbol_id": "BTC/USDC\x00"}),
    ("newline in symbol", "symbol_id", {"symbol_id": "BTC/USDC\n"}),
    ("path as symbol", "symbol_id", {"symbol_id": "../../etc"}),
    ("look-alike letter", "symbol_id", {"symbol_id": "B\u0422C/USDC"}),
    ("zero-width joiner", "symbol_id", {"symbol_id": "BTC\u200d/USDC"}),
    ("right-to-left mark", "symbol_id", {"symbol_id": "\u200fBTC/USDC"}),
    ("zero-width space", "symbol_id", {"symbol_id": "BTC/USDC\u200b"}),
    ("lower-case symbol", "symbol_id", {"symbol_id": "btc/usdc"}),
    ("other separator", "symbol_id", {"symbol_id": "BTC-USDC"}),
    ("SQL as symbol", "symbol_id", {"symbol_id": "'; DROP TABLE intents;--"}),
    ("markup as symbol", "symbol_id", {"symbol_id": "<script>"}),
    ("terminal control as symbol", "symbol_id", {"symbol_id": "\x1b]0;x\x07"}),
    ("lone surrogate", "symbol_id", {"symbol_id": "\ud800"}),
    ("YAML's no as a flag", "reduce_only", {"reduce_only": "NO"}),
    ("YAML's sexagesimal as text", "amount", {"amount": "12:30:45"}),
    ("misspelt field", "order", {"limit_prce": "1"}),
    ("misspelt field of the trigger", "conditional_trigger", {"conditional_trigger": STOP | {"kindd": 1}}),
    ("faked status", "order", {"status": "FILLED"}),
    ("faked version", "order", {"resourceVersion": 7}),
    ("10 kB field name", "order", {"x" * 10_000: 1}),
    ("slippage on a limit order", "max_slippage", {"max_slippage": "0.01"}),
    ("post-only and IOC", "post_only", {"post_only": True, "time_in_force": "IOC"}),
    ("post-only without a price", "post_only", {"post_only": True, "limit_price": None}),
    ("iceberg above the amount", "iceberg_qty", {"iceberg_qty": "2"}),
    (
        "stop on the wrong side",
        "conditional_trigger.trigger_price",
        {"conditional_trigger": STOP | {"trigger_price": "51000"}, "conditional_mode": "UNIFIED_FIXED"},
    ),
    ("trigger without a mode", "conditional_mode", {"conditional_trigger": STOP}),
    ("GTD without an expiry", "expire_at", {"time_in_force": "GTD"}),
    ("expiry in the past", "expire_at", {"time_in_force": "GTD", "expire_at": NOW - 1}),
    ("expiry now", "expire_at", {"time_in_force": "GTD", "expire_at": NOW}),
    ("expiry in seconds", "expire_at", {"time_in_force": "GTD", "expire_at": NOW // 1000}),
    ("year 9999", "expire_at", {"time_in_force": "GTD", "expire_at": datetime(9999, 12, 31, tzinfo=UTC)}),
    ("expiry past every clock", "expire_at", {"time_in_force": "GTD", "expire_at": 2**256}),
    ("leap second", "expire_at", {"time_in_force": "GTD", "expire_at": "2030-06-30T23:59:60Z"}),
    ("no timezone", "expire_at", {"time_in_force": "GTD", "expire_at": datetime(2030, 1, 1)}),  # noqa: DTZ001
    ("slippage of 100 %", "max_slippage", {"max_slippage": "1", "limit_price": None}),
    ("below the minimum notional", "amount", {"amount": "0.001", "limit_price": "999"}),
    ("below the minimum", "amount", {"amount": "0.0001"}),
]


@pytest.mark.parametrize(("field", "changes"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
def test_hostile_input_is_refused_by_name(field: str, changes: dict[Any, Any]) -> None:
    """From a mapping, through JSON and as arguments, the order is refused with the field's name on one short line."""
    with pytest.raises(InvalidOrder) as caught:
        validate(StandardOrder.from_dict(GOOD | changes), SYMBOL, NOW)
    refused = [caught.value]
    try:
        text = json.dumps(GOOD | changes)
    except (TypeError, ValueError):
        pass  # this one cannot be written as JSON
    else:
        with pytest.raises(InvalidOrder) as caught:
            validate(StandardOrder.from_dict(json.loads(text, parse_float=str, parse_int=_int)), SYMBOL, NOW)
        refused.append(caught.value)
    if field not in ("order", "conditional_trigger") and not isinstance(changes.get("conditional_trigger"), dict):
        with pytest.raises(InvalidOrder) as caught:
            validate(StandardOrder(**GOOD | changes), SYMBOL, NOW)
        refused.append(caught.value)
    for error in refused:
        assert error.field == field
        assert len(str(error)) < 500
        assert str(error).isprintable()


def _int(text: str) -> int | str:
    return int(text) if len(text) < 30 else text


def test_a_wrong_symbol_is_an_unknown_symbol() -> None:
    """A well-formed name of no symbol is told apart from a malformed one."""
    with pytest.raises(UnknownSymbol):
        validate(StandardOrder.from_dict(GOOD | {"symbol_id": "btc/usdc"}), SYMBOL, NOW)


def test_the_good_order_is_accepted() -> None:
    """The order every hostile one is made from has no fault of its own."""
    made = StandardOrder.from_dict(GOOD)
    assert validate(made, SYMBOL, NOW) is made
