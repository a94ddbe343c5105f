"""Exact numbers at the edge: what a user or a venue wrote becomes a ``Decimal``, or a refusal that names the field."""

from __future__ import annotations

import re
from decimal import Context, Decimal
from functools import lru_cache

from exchange_kernel.errors import FieldError, InvalidOrder

__all__ = ["EXACT", "MAX_FRACTION_DIGITS", "MAX_INTEGER_DIGITS", "Number", "amount", "canonical", "plain"]

Number = Decimal | int | float | str

MAX_INTEGER_DIGITS = 60
MAX_FRACTION_DIGITS = 36

# Two accepted numbers have at most 96 digits each: their product, and the multiple of a step next to them, fit exactly.
EXACT = Context(prec=200)

_PLAIN = re.compile(r"[0-9]{1,60}(?:\.[0-9]{1,36})?").fullmatch
_WITH_EXPONENT = re.compile(r"[+-]?[0-9]*\.?[0-9]+[eE][+-]?[0-9]+").fullmatch
_LONGEST = MAX_INTEGER_DIGITS + 1 + MAX_FRACTION_DIGITS
_INTEGER_LIMIT = 10**MAX_INTEGER_DIGITS
_CANONICAL_LIMIT = 400
_TOO_LONG = f"has more than {MAX_INTEGER_DIGITS} digits before the point or {MAX_FRACTION_DIGITS} after it"
_PLAIN_HINT = "write plain ASCII digits with at most one point, like 1234.56"


def amount(field: str, value: object, *, zero: bool = False, error: type[FieldError] = InvalidOrder) -> Decimal:
    """The exact decimal behind ``value``, which must be greater than zero (``zero``: or equal to it).

    Accepts ``Decimal``, ``int``, ``str`` and ``float``. A float counts as its shortest repr, so ``0.1`` is exactly 0.1;
    text must match ``[0-9]{1,60}(.[0-9]{1,36})?``. Cost is bounded however large the number is.

    :raises InvalidOrder: (or ``error``) naming ``field``, the value, the rule it breaks and what to write instead.
    """
    text = _plain_text(field, value, error)
    if len(text) > _LONGEST or not _PLAIN(text):
        raise error(field, value, _broken_rule(text, zero), _PLAIN_HINT)
    number = Decimal(text)
    if not number and not zero:
        raise error(field, value, "must be greater than 0")
    return number


def _plain_text(field: str, value: object, error: type[FieldError]) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Decimal):
        # The magnitude comes first: the plain text of Decimal("1E+999999999") would be a gigabyte.
        if abs(value.adjusted()) > _LONGEST:
            raise error(field, value, _TOO_LONG)
        return format(value, "f")
    if isinstance(value, bool):
        raise error(field, value, "is not a number", "give a Decimal, an int, or plain text")
    if isinstance(value, int):
        if not -_INTEGER_LIMIT < value < _INTEGER_LIMIT:
            raise error(field, value, _TOO_LONG)
        return int.__repr__(value)
    if isinstance(value, float):
        text = float.__repr__(value)
        return format(Decimal(text), "f") if "e" in text else text
    rule = "is required" if value is None else f"is not a number but of type {type(value).__name__}"
    raise error(field, value, rule, "give a Decimal, an int, or plain text")


def _broken_rule(text: str, zero: bool) -> str:
    if len(text) > _LONGEST:
        return _TOO_LONG
    if text.strip().lower().lstrip("+-").startswith(("nan", "snan", "inf")):
        return "is not a finite number"
    if _WITH_EXPONENT(text):
        return "is written with an exponent"
    if text.startswith("-") and _PLAIN(text[1:]):
        return "must not be negative" if zero else "must be greater than 0"
    if text.replace(".", "", 1).isdigit() and text.isascii():
        return _TOO_LONG if text[:1].isdigit() and text[-1:].isdigit() else "needs a digit on both sides of its point"
    if not text.isascii():
        return "has characters that are not ASCII digits"
    if text.strip() != text or not text:
        return "is empty or has spaces around it"
    return "is not a plain decimal number"


def canonical(number: Decimal) -> str:
    """Plain text without exponent, sign of zero or trailing zeros, as stored and hashed: ``50000.00`` is ``50000``.

    :raises ValueError: not finite, or longer than any sum of accepted amounts can be.
    """
    try:
        return plain(number)
    except TypeError:  # a signalling NaN has no hash
        raise ValueError(f"no plain text for {number!r}") from None


# Equal numbers have one text, and an order's few come up again and again: in its rows, in its events, on the wire.
@lru_cache(maxsize=4096)
def plain(number: Decimal) -> str:
    """:func:`canonical` of a number that is known to be none of those without a hash."""
    text = str(number)
    if len(text) <= _CANONICAL_LIMIT:
        whole, point, fraction = text.partition(".")
        # Nearly every number is plain already; a sign, an exponent and what is not finite go the long way.
        if whole.isdigit() and (not point or fraction.isdigit()):
            return text.rstrip("0").rstrip(".") if point else text
    if abs(number.adjusted()) > _CANONICAL_LIMIT or not number.is_finite():
        raise ValueError(f"no plain text for {number!r}")
    if not number:
        return "0"
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
