"""StandardOrder: every rule that needs no market, and its canonical form."""

from __future__ import annotations

import copy
import json
import pickle
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange_kernel.errors import InvalidOrder
from exchange_kernel.schema import (
    AmountType,
    ConditionalOrderMode,
    ConditionalTrigger,
    PriceSource,
    Rounding,
    Side,
    StandardOrder,
    TimeInForce,
    TrailUnit,
    TriggerKind,
    canonical,
)

SOON = 1_800_000_000_000
STOP = {"kind": "STOP_LOSS", "trigger_price": "45000"}
TRAIL = {"kind": "TRAILING_STOP", "trail_offset": "100"}


def order(**changes: Any) -> StandardOrder:
    """A plain limit order, with these fields changed."""
    return StandardOrder.from_dict({"symbol_id": "BTC/USD", "side": "BUY", "amount": 1, "limit_price": 50000} | changes)


def market(**changes: Any) -> StandardOrder:
    """A plain market order, with these fields changed."""
    return order(limit_price=None, **changes)


def test_the_seed_example() -> None:
    """The order of the specification's example, its ellipsis filled, is accepted and exact."""
    made = StandardOrder(
        symbol_id="BTC/USD",
        side=Side.BUY,
        amount=1.0,
        amount_type=AmountType.BASE,
        limit_price=50000.0,
        time_in_force=TimeInForce.GTC,
        conditional_trigger=ConditionalTrigger(TriggerKind.STOP_LOSS, trigger_price=45000.0),
        conditional_mode=ConditionalOrderMode.UNIFIED_ADJUSTING,
        reduce_only=False,
        post_only=False,
        iceberg_qty=None,
    )
    assert (made.amount, made.limit_price) == (Decimal(1), Decimal(50000))
    assert StandardOrder.from_dict(made.to_dict()) == made


def test_enum_fields_accept_member_or_exact_name() -> None:
    """An enum field takes the member or its name, and always holds the member."""
    assert order(side="SELL").side is Side.SELL
    assert order(rounding=Rounding.DOWN).rounding is Rounding.DOWN
    assert order(time_in_force="FOK").time_in_force is TimeInForce.FOK


@pytest.mark.parametrize(
    "choices",
    [Side, AmountType, TimeInForce, TriggerKind, PriceSource, TrailUnit, ConditionalOrderMode, Rounding],
)
def test_enum_values_equal_their_names(choices: type[StrEnum]) -> None:
    """What is written in files and on the wire is the member's name."""
    assert all(member.value == name for name, member in choices.__members__.items())


REFUSED: list[tuple[dict[Any, Any], str, str]] = [
    # names, choices and flags
    ({"symbol_id": ""}, "symbol_id", "printable ASCII"),
    ({"symbol_id": "BTC USD"}, "symbol_id", "printable ASCII"),
    ({"symbol_id": "BTC/USD\u200b"}, "symbol_id", "printable ASCII"),
    ({"symbol_id": "BTC/USD\n"}, "symbol_id", "printable ASCII"),
    ({"symbol_id": "BTC\x00USD"}, "symbol_id", "printable ASCII"),
    ({"symbol_id": "BT\u0421/USD"}, "symbol_id", "printable ASCII"),
    ({"symbol_id": "\u202eDSU/CTB"}, "symbol_id", "printable ASCII"),
    ({"symbol_id": "\x1b]0;x\x07"}, "symbol_id", "printable ASCII"),
    ({"symbol_id": "\ud800"}, "symbol_id", "printable ASCII"),
    ({"symbol_id": "'; DROP TABLE intents;--"}, "symbol_id", "printable ASCII"),
    ({"symbol_id": "A" * 65}, "symbol_id", "1 to 64"),
    ({"symbol_id": "A" * 10_000}, "symbol_id", "1 to 64"),
    ({"symbol_id": None}, "symbol_id", "printable ASCII"),
    ({"symbol_id": 5}, "symbol_id", "printable ASCII"),
    ({"side": "buy"}, "side", "did you mean BUY"),
    ({"side": "HOLD"}, "side", "choose one of BUY, SELL"),
    ({"side": None}, "side", "choose one of BUY, SELL"),
    ({"side": True}, "side", "choose one of BUY, SELL"),
    ({"side": []}, "side", "choose one of BUY, SELL"),
    ({"side": AmountType.BASE}, "side", "choose one of BUY, SELL"),
    ({"amount_type": "COIN"}, "amount_type", "choose one of BASE, QUOTE"),
    ({"time_in_force": "GTT"}, "time_in_force", "choose one of GTC, IOC, FOK, DAY, GTD"),
    ({"time_in_force": False}, "time_in_force", "choose one of"),
    ({"rounding": "UP"}, "rounding", "choose one of REFUSE, DOWN"),
    ({"rounding": 10**5000}, "rounding", "choose one of REFUSE, DOWN"),
    ({"reduce_only": 1}, "reduce_only", "true or false"),
    ({"post_only": "true"}, "post_only", "true or false"),
    ({"allow_emulation": None}, "allow_emulation", "true or false"),
    ({"reduce_only": "NO"}, "reduce_only", "true or false"),
    # money
    ({"amount": None}, "amount", "required"),
    ({"amount": True}, "amount", "not a number"),
    ({"amount": "1e3"}, "amount", "exponent"),
    ({"amount": float("nan")}, "amount", "finite"),
    ({"limit_price": "0"}, "limit_price", "greater than 0"),
    ({"limit_price": "-5"}, "limit_price", "greater than 0"),
    ({"iceberg_qty": "1_0"}, "iceberg_qty", "plain decimal"),
    # post-only
    ({"post_only": True, "limit_price": None}, "post_only", "needs a limit_price"),
    ({"post_only": True, "time_in_force": "IOC"}, "post_only", "does not go with IOC"),
    ({"post_only": True, "time_in_force": "FOK"}, "post_only", "does not go with FOK"),
    # life
    ({"time_in_force": "GTD"}, "expire_at", "required for GTD"),
    ({"expire_at": SOON}, "expire_at", "does not go with GTC"),
    ({"time_in_force": "DAY", "expire_at": SOON}, "expire_at", "does not go with DAY"),
    ({"time_in_force": "GTD", "expire_at": datetime(2027, 1, 1)}, "expire_at", "no timezone"),  # noqa: DTZ001
    ({"time_in_force": "GTD", "expire_at": datetime(9999, 1, 1, tzinfo=UTC)}, "expire_at", "year 9999"),
    ({"time_in_force": "GTD", "expire_at": datetime.max.replace(tzinfo=UTC)}, "expire_at", "year 9999"),
    ({"time_in_force": "GTD", "expire_at": datetime(1969, 1, 1, tzinfo=UTC)}, "expire_at", "1970"),
    ({"time_in_force": "GTD", "expire_at": 2**256}, "expire_at", "year 9999"),
    ({"time_in_force": "GTD", "expire_at": 10**5000}, "expire_at", "year 9999"),
    ({"time_in_force": "GTD", "expire_at": 0}, "expire_at", "1970"),
    ({"time_in_force": "GTD", "expire_at": -1}, "expire_at", "1970"),
    ({"time_in_force": "GTD", "expire_at": True}, "expire_at", "int milliseconds"),
    ({"time_in_force": "GTD", "expire_at": 1.8e12}, "expire_at", "int milliseconds"),
    ({"time_in_force": "GTD", "expire_at": "2027-12-31T23:59:60Z"}, "expire_at", "int milliseconds"),
    # iceberg
    ({"iceberg_qty": "1.5"}, "iceberg_qty", "above the amount"),
    ({"iceberg_qty": "0.5", "limit_price": None}, "iceberg_qty", "needs a limit_price"),
    # slippage
    ({"max_slippage": "0.01"}, "max_slippage", "only for market orders"),
    ({"max_slippage": "1", "limit_price": None}, "max_slippage", "below 1"),
    ({"max_slippage": "100", "limit_price": None}, "max_slippage", "below 1"),
    ({"max_slippage": "0", "limit_price": None}, "max_slippage", "greater than 0"),
    # triggers
    ({"conditional_trigger": STOP}, "conditional_mode", "differ by a position"),
    ({"conditional_mode": "STANDALONE"}, "conditional_trigger", "required with conditional_mode"),
    ({"conditional_mode": "SOMETIMES", "conditional_trigger": STOP}, "conditional_mode", "choose one of STANDALONE"),
    ({"conditional_trigger": "STOP"}, "conditional_trigger", "must be a ConditionalTrigger"),
    ({"conditional_trigger": {}}, "conditional_trigger.kind", "required"),
    ({"conditional_trigger": {"kind": "STOP_LOSS"}}, "conditional_trigger.trigger_price", "required for STOP_LOSS"),
    ({"conditional_trigger": {"kind": "TAKE_PROFIT"}}, "conditional_trigger.trigger_price", "required for TAKE"),
    ({"conditional_trigger": {"kind": "TRAILING_STOP"}}, "conditional_trigger.trail_offset", "required for TRAIL"),
    ({"conditional_trigger": TRAIL | STOP | {"kind": "TRAILING_STOP"}}, "conditional_trigger.trigger_price", "go with"),
    ({"conditional_trigger": STOP | {"trail_offset": 1}}, "conditional_trigger.trail_offset", "does not go with"),
    ({"conditional_trigger": STOP | {"activation_price": 1}}, "conditional_trigger.activation_price", "only for TRAIL"),
    ({"conditional_trigger": STOP | {"trail_unit": "PERCENT"}}, "conditional_trigger.trail_unit", "only for TRAIL"),
    ({"conditional_trigger": TRAIL | {"trail_unit": "PERCENT"}}, "conditional_trigger.trail_offset", "below 100"),
    ({"conditional_trigger": TRAIL | {"trail_unit": "BPS"}}, "conditional_trigger.trail_unit", "ABSOLUTE, PERCENT"),
    ({"conditional_trigger": STOP | {"price_source": "BID"}}, "conditional_trigger.price_source", "LAST, MARK"),
    ({"conditional_trigger": STOP | {"trigger_price": "NaN"}}, "conditional_trigger.trigger_price", "finite"),
    (
        {"conditional_trigger": STOP | {"limit_price": 1}, "conditional_mode": "STANDALONE"},
        "limit_price",
        "given twice",
    ),
    (
        {"conditional_trigger": STOP | {"trigger_price": 50000}, "conditional_mode": "UNIFIED_FIXED"},
        "conditional_trigger.trigger_price",
        "wrong side",
    ),
    (
        {"side": "SELL", "conditional_trigger": STOP, "conditional_mode": "UNIFIED_ADJUSTING"},
        "conditional_trigger.trigger_price",
        "wrong side",
    ),
    (
        {"side": "SELL", "conditional_trigger": STOP | {"trigger_price": 50000}, "conditional_mode": "UNIFIED_FIXED"},
        "conditional_trigger.trigger_price",
        "wrong side",
    ),
    # unknown fields
    ({"limit_prce": 5}, "order", "did you mean limit_price"),
    ({"status": "FILLED"}, "order", "is not a field"),
    ({"resourceVersion": 1}, "order", "is not a field"),
    ({"\x1b[31m" * 5000: 1}, "order", "is not a field"),
    ({5: 1}, "order", "names of fields are text"),
    ({"conditional_trigger": STOP | {"triger_price": 1}}, "conditional_trigger", "did you mean trigger_price"),
]


@pytest.mark.parametrize(
    ("changes", "field", "rule"), REFUSED, ids=[f"{field}{i}" for i, (_, field, _) in enumerate(REFUSED)]
)
def test_refusals_name_field_value_and_rule(changes: dict[Any, Any], field: str, rule: str) -> None:
    """Every forbidden value or combination is refused with the field's name and one short, printable line."""
    with pytest.raises(InvalidOrder, match=rule) as caught:
        StandardOrder.from_dict(order().to_dict() | changes)
    assert caught.value.field == field
    message = str(caught.value)
    assert len(message) < 500
    assert message.isprintable()


@pytest.mark.parametrize("data", [None, [], "order", 5, [("side", "BUY")]])
def test_an_order_is_a_mapping(data: Any) -> None:
    """Anything but a mapping is refused, not crashed on."""
    with pytest.raises(InvalidOrder, match="not a mapping"):
        StandardOrder.from_dict(data)


@pytest.mark.parametrize("name", ["symbol_id", "side", "amount"])
def test_missing_fields_are_named(name: str) -> None:
    """A mapping without a required field is refused with its name."""
    data = order().to_dict()
    del data[name]
    with pytest.raises(InvalidOrder, match="is required") as caught:
        StandardOrder.from_dict(data)
    assert caught.value.field == name


@pytest.mark.parametrize(
    "changes",
    [
        {"iceberg_qty": 1},
        {"amount_type": "QUOTE", "iceberg_qty": 5},
        {"post_only": True, "time_in_force": "DAY"},
        {"time_in_force": "GTD", "expire_at": SOON},
        {"limit_price": None, "max_slippage": "0.999"},
        {"limit_price": None, "conditional_trigger": STOP, "conditional_mode": "STANDALONE", "max_slippage": "0.1"},
        {"limit_price": None, "conditional_trigger": STOP | {"limit_price": 9}, "conditional_mode": "STANDALONE"},
        {
            "conditional_trigger": TRAIL | {"activation_price": 5, "price_source": "MARK"},
            "conditional_mode": "STANDALONE",
        },
        {
            "conditional_trigger": TRAIL | {"trail_unit": "PERCENT", "trail_offset": "99.9"},
            "conditional_mode": "STANDALONE",
        },
        {"conditional_trigger": STOP | {"limit_price": 40000}, "conditional_mode": "UNIFIED_FIXED"},
        {"symbol_id": "!" + "~" * 63},
    ],
)
def test_allowed_edges(changes: dict[str, Any]) -> None:
    """The last value or combination on the allowed side of each rule is accepted."""
    order(**changes)


def test_own_limit_tells_the_order_from_its_exit() -> None:
    """A trigger's limit price is the order's own where it is a trigger order, and the exit's where it is the entry."""
    trigger = STOP | {"limit_price": "44000"}
    standalone = market(conditional_trigger=trigger, conditional_mode="STANDALONE")
    assert (standalone.own_limit, standalone.is_market) == (Decimal(44000), False)
    entry = market(conditional_trigger=trigger, conditional_mode="UNIFIED_FIXED")
    assert (entry.own_limit, entry.is_market) == (None, True)
    assert order().own_limit == Decimal(50000)


def test_expiry_is_stored_in_ms_utc() -> None:
    """An aware datetime of any zone becomes ms UTC, cut to the millisecond before it."""
    moment = datetime(2027, 1, 15, 9, 0, 0, 1999, tzinfo=timezone(timedelta(hours=1)))
    assert order(time_in_force="GTD", expire_at=moment).expire_at == 1_800_000_000_001


def test_orders_are_immutable_and_but_makes_a_checked_copy() -> None:
    """No field can be set; ``but`` returns a changed copy, checked anew, and refuses names that are no fields."""
    made = order()
    with pytest.raises(AttributeError):
        made.amount = Decimal(2)  # type: ignore[misc]
    assert made.but(amount="2.50").amount == Decimal("2.5")
    assert made.but() == made
    assert made.amount == 1
    with pytest.raises(InvalidOrder, match="needs a limit_price"):
        made.but(post_only=True, limit_price=None)
    with pytest.raises(InvalidOrder, match="did you mean limit_price"):
        made.but(limitprice=1)


def test_orders_can_be_copied_and_pickled() -> None:
    """Copies through the standard library are equal orders."""
    made = order(limit_price=None, conditional_trigger=STOP, conditional_mode="STANDALONE")
    assert copy.deepcopy(made) == made
    assert pickle.loads(pickle.dumps(made)) == made
    assert hash(made) == hash(made.but())


def test_the_stored_form_is_fixed() -> None:
    """The stored form and its hash are what earlier releases wrote: changing either breaks every stored order."""
    made = order(amount=1.50, conditional_trigger=STOP, conditional_mode="UNIFIED_FIXED", post_only=True)
    assert made.to_dict() == {
        "symbol_id": "BTC/USD",
        "side": "BUY",
        "amount": "1.5",
        "limit_price": "50000",
        "conditional_trigger": {"kind": "STOP_LOSS", "trigger_price": "45000"},
        "conditional_mode": "UNIFIED_FIXED",
        "post_only": True,
    }
    assert made.spec_hash() == "70cb40d6524ef129454c34a49fd25f492cf28bac6e1d726dc6974b9c03edfdee"
    assert order().spec_hash() == "39b951ff04d5b710e5a0e651afbbda8342f32eb85863f82107af87219da1c225"


def test_equal_orders_hash_equal_however_written() -> None:
    """Float, int, text and Decimal of one number make one order and one hash; another number makes another."""
    written = [order(amount=value) for value in (1, 1.0, "1", "1.000", Decimal("1.00"), Decimal("1E+0"))]
    assert len({made.spec_hash() for made in written}) == 1
    assert len(set(written)) == 1
    assert order(amount="1.0000001").spec_hash() != written[0].spec_hash()


def test_every_field_reaches_the_stored_form_and_the_hash() -> None:
    """Each field of an order, and of its trigger, changes the stored form and the hash when it changes."""
    base = market(conditional_trigger=TRAIL, conditional_mode="STANDALONE")
    other: dict[str, Any] = {
        "symbol_id": "ETH/USD",
        "side": "SELL",
        "amount": 2,
        "amount_type": "QUOTE",
        "limit_price": 7,
        "time_in_force": "IOC",
        "conditional_mode": "PROTECT_POSITION",
        "reduce_only": True,
        "post_only": True,
        "iceberg_qty": "0.5",
        "expire_at": SOON,
        "max_slippage": "0.5",
        "rounding": "DOWN",
        "allow_emulation": False,
    }
    together: dict[str, dict[str, Any]] = {
        "post_only": {"limit_price": 7},
        "iceberg_qty": {"limit_price": 7},
        "expire_at": {"time_in_force": "GTD"},
    }
    trigger_changes: list[dict[str, Any]] = [
        {"kind": "STOP_LOSS", "trigger_price": 5, "trail_offset": None},
        {"price_source": "MID"},
        {"trail_offset": "50"},
        {"trail_unit": "PERCENT", "trail_offset": "50"},
        {"activation_price": 3},
        {"limit_price": 3},
    ]
    orders = [base]
    orders += [
        StandardOrder.from_dict(base.to_dict() | {name: value} | together.get(name, {}))
        for name, value in other.items()
    ]
    orders += [market(conditional_trigger=TRAIL | change, conditional_mode="STANDALONE") for change in trigger_changes]
    assert len({made.spec_hash() for made in orders}) == len(orders)
    for made in orders:
        assert StandardOrder.from_dict(json.loads(json.dumps(made.to_dict()))) == made
    assert set(other) | {"conditional_trigger"} == set(StandardOrder.__dataclass_fields__)


money = st.decimals(min_value=Decimal("1E-18"), max_value=Decimal("1E+18"), places=18)


@st.composite
def orders(draw: st.DrawFn) -> StandardOrder:
    """Any accepted order without a trigger."""
    limit = draw(st.none() | money)
    tif = draw(st.sampled_from(TimeInForce))
    amount = draw(money)
    resting = limit is not None and tif not in (TimeInForce.IOC, TimeInForce.FOK)
    return StandardOrder(
        symbol_id=draw(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=64)),
        side=draw(st.sampled_from(Side)),
        amount=amount,
        amount_type=draw(st.sampled_from(AmountType)),
        limit_price=limit,
        time_in_force=tif,
        reduce_only=draw(st.booleans()),
        post_only=draw(st.booleans()) and resting,
        iceberg_qty=draw(st.none() | st.just(amount)) if limit is not None else None,
        expire_at=draw(st.integers(1, 253_370_764_799_999)) if tif is TimeInForce.GTD else None,
        max_slippage=draw(st.none() | st.just("0.5")) if limit is None else None,
        rounding=draw(st.sampled_from(Rounding)),
        allow_emulation=draw(st.booleans()),
    )


@given(orders())
def test_every_order_survives_its_stored_form(made: StandardOrder) -> None:
    """Through JSON and back an order is equal, and its stored form and hash are unchanged."""
    read = StandardOrder.from_dict(json.loads(json.dumps(made.to_dict())))
    assert read == made
    assert read.to_dict() == made.to_dict()
    assert read.spec_hash() == made.spec_hash()


@given(orders(), orders())
def test_hashes_are_equal_exactly_for_equal_orders(one: StandardOrder, other: StandardOrder) -> None:
    """Two orders have one hash if and only if they are equal."""
    assert (one == other) == (one.spec_hash() == other.spec_hash())


@given(money.filter(bool), st.integers(0, 10))
def test_trailing_zeros_never_matter(number: Decimal, zeros: int) -> None:
    """However many zeros are written after the point, it is the same order."""
    plain = canonical(number)
    padded = (plain if "." in plain else plain + ".") + "0" * (zeros + 1)
    assert order(amount=padded).spec_hash() == order(amount=number).spec_hash()
