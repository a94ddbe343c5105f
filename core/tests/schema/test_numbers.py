"""Numbers at the edge: exact, or refused with the field's name."""

from __future__ import annotations

import re
import tracemalloc
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange_kernel.errors import InvalidMetadata, InvalidOrder
from exchange_kernel.schema.numbers import MAX_FRACTION_DIGITS, MAX_INTEGER_DIGITS, amount, canonical

plain_text = st.from_regex(r"[0-9]{1,60}(\.[0-9]{1,36})?", fullmatch=True)
positive_text = plain_text.filter(lambda text: text.strip("0.") != "")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.0, "1"),
        (0.1, "0.1"),
        (1e-7, "0.0000001"),
        (1e22, "10000000000000000000000"),
        (7, "7"),
        ("50000.00", "50000"),
        ("007", "7"),
        (Decimal("1E+5"), "100000"),
        (10**60 - 1, "9" * 60),
        ("9" * 60 + "." + "9" * 36, "9" * 60 + "." + "9" * 36),
        (Decimal("1E-36"), "0." + "0" * 35 + "1"),
    ],
)
def test_accepted_numbers_are_exact(value: object, expected: str) -> None:
    """Decimal, int, text and float become exactly the number they show."""
    assert canonical(amount("amount", value)) == expected


REFUSED: list[tuple[object, str]] = [
    ("NaN", "finite"),
    ("sNaN", "finite"),
    (".nan", "plain decimal"),
    (Decimal("NaN"), "finite"),
    (Decimal("sNaN"), "finite"),
    (float("nan"), "finite"),
    ("Infinity", "finite"),
    (".inf", "plain decimal"),
    ("-inf", "finite"),
    (float("inf"), "finite"),
    (float("-inf"), "finite"),
    (Decimal("-Infinity"), "finite"),
    ("1e400", "exponent"),
    ("1e999999999", "exponent"),
    ("1E-400", "exponent"),
    ("1e5", "exponent"),
    ("1.5E+3", "exponent"),
    (Decimal("1E+999999999"), "more than 60 digits"),
    (Decimal("1E-999999999"), "more than 60 digits"),
    (Decimal("0E+999999999"), "more than 60 digits"),
    (Decimal("-1E+999999999"), "more than 60 digits"),
    (Decimal("1E+60"), "more than 60 digits"),
    (Decimal("1E-37"), "more than 60 digits"),
    (1e61, "more than 60 digits"),
    (5e-324, "more than 60 digits"),
    ("9" * 5000, "more than 60 digits"),
    ("0." + "1" * 5000, "more than 60 digits"),
    ("1" * 61, "more than 60 digits"),
    ("0." + "1" * 37, "more than 60 digits"),
    (10**5000, "more than 60 digits"),
    (-(10**5000), "more than 60 digits"),
    (2**256, "more than 60 digits"),
    (10**60, "more than 60 digits"),
    ("-1", "greater than 0"),
    (-1, "greater than 0"),
    (-0.5, "greater than 0"),
    ("0", "greater than 0"),
    ("0.000", "greater than 0"),
    (0, "greater than 0"),
    (0.0, "greater than 0"),
    ("-0", "greater than 0"),
    (-0.0, "greater than 0"),
    (Decimal("-0"), "greater than 0"),
    ("1,5", "plain decimal"),
    ("0x10", "plain decimal"),
    ("12:30:45", "plain decimal"),
    ("", "empty"),
    (" 5 ", "spaces"),
    ("5\n", "spaces"),
    ("1_000", "plain decimal"),
    ("+1", "plain decimal"),
    ("1.", "both sides"),
    (".5", "both sides"),
    (".", "plain decimal"),
    ("1.2.3", "plain decimal"),
    ("\uff11\uff12", "not ASCII"),
    ("\u0661\u0662\u0663", "not ASCII"),
    ("1\u200b", "not ASCII"),
    ("\ud800", "not ASCII"),
    ("NO", "plain decimal"),
    ("'; DROP TABLE intents;--", "plain decimal"),
    (True, "not a number"),
    (False, "not a number"),
    (None, "required"),
    ([], "type list"),
    ({}, "type dict"),
    (b"1", "type bytes"),
    (1j, "type complex"),
    (float, "type type"),
]


@pytest.mark.parametrize(
    ("value", "rule"), REFUSED, ids=[f"{type(value).__name__}{i}" for i, (value, _) in enumerate(REFUSED)]
)
def test_refused_numbers_name_field_and_rule(value: object, rule: str) -> None:
    """Whatever is not a plain positive decimal is refused, with field, value and rule on one printable line."""
    with pytest.raises(InvalidOrder, match=rule) as caught:
        amount("iceberg_qty", value)
    assert caught.value.field == "iceberg_qty"
    message = str(caught.value)
    assert message.startswith("iceberg_qty ")
    assert len(message) < 400
    assert "\n" not in message


def test_giant_numbers_are_never_spelled_out() -> None:
    """A number that would be gigabytes of digits is refused by its size: no memory is spent on it."""
    giants: list[object] = [
        Decimal("1E+999999999"),
        Decimal("0E-999999999"),
        Decimal("-1E+999999999"),
        1.7e308,
        10**5000,
    ]
    tracemalloc.start()
    try:
        for giant in giants:
            with pytest.raises(InvalidOrder):
                amount("amount", giant)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000


def test_zero_only_where_it_is_allowed() -> None:
    """``zero=True`` accepts zero, and still no negative number."""
    assert amount("from_price", "0.0", zero=True) == 0
    with pytest.raises(InvalidMetadata, match="must not be negative"):
        amount("from_price", "-1", zero=True, error=InvalidMetadata)


def test_number_subclasses_cannot_smuggle_their_own_text() -> None:
    """The number counts, not the text its class prints: a float subclass with another repr is read as a float."""

    class Loud(float):
        def __repr__(self) -> str:
            return "Loud(1.5)"

    assert amount("amount", Loud(1.5)) == Decimal("1.5")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("50000.00", "50000"),
        ("1E+3", "1000"),
        ("0E+5", "0"),
        ("-0.00", "0"),
        ("-1.50", "-1.5"),
        ("1E-10", "0.0000000001"),
    ],
)
def test_canonical_text(number: str, text: str) -> None:
    """Canonical text has no exponent, no trailing zeros and no negative zero; balances may be zero or negative."""
    assert canonical(Decimal(number)) == text


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1E+999999999", "1E-999999999"])
def test_canonical_refuses_what_has_no_plain_text(number: str) -> None:
    """What is not finite, or would be absurdly long, has no canonical text."""
    with pytest.raises(ValueError, match="no plain text"):
        canonical(Decimal(number))


@given(positive_text)
def test_text_decimal_and_canonical_agree(text: str) -> None:
    """Text is accepted as exactly its number, and canonical text is read back as the same number, unchanged."""
    number = amount("amount", text)
    assert number == Decimal(text)
    plain = canonical(number)
    assert amount("amount", plain) == number
    assert canonical(Decimal(plain)) == plain
    assert amount("amount", Decimal(text)) == number


@given(st.floats())
def test_every_float_is_its_shortest_repr_or_refused(value: float) -> None:
    """A float is accepted as exactly the number its repr shows, or refused; never rounded."""
    try:
        number = amount("amount", value)
    except InvalidOrder:
        exact = Decimal(repr(value))
        assert not exact.is_finite() or exact <= 0 or exact.adjusted() >= MAX_INTEGER_DIGITS or _fraction(exact) > 36
    else:
        assert number == Decimal(repr(value))


def _fraction(number: Decimal) -> int:
    text = format(number, "f")
    return len(text.partition(".")[2])


@given(st.decimals())
def test_every_decimal_is_kept_or_refused(value: Decimal) -> None:
    """A Decimal is accepted unchanged if its plain text is allowed, and refused otherwise."""
    allowed = value.is_finite() and value > 0 and abs(value.adjusted()) <= 100
    if allowed:
        whole, _, fraction = format(value, "f").partition(".")
        allowed = len(whole) <= MAX_INTEGER_DIGITS and len(fraction) <= MAX_FRACTION_DIGITS
    if allowed:
        assert amount("amount", value) == value
    else:
        with pytest.raises(InvalidOrder):
            amount("amount", value)


@given(st.text() | st.text("0123456789.eE+-_ ", max_size=8))
def test_any_text_is_a_plain_number_or_refused(text: str) -> None:
    """No text crashes: it is accepted as its number, or refused with the field's name."""
    if re.fullmatch(r"[0-9]{1,60}(\.[0-9]{1,36})?", text) and text.strip("0."):
        assert amount("amount", text) == Decimal(text)
    else:
        with pytest.raises(InvalidOrder):
            amount("amount", text)
