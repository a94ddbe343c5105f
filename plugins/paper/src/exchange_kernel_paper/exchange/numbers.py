"""Exact decimal arithmetic: inside the exchange nothing is ever rounded, except to a step on purpose."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow

from exchange_kernel_paper.exchange.codes import Code, Refusal

# Inexact is trapped: a result that would need rounding raises instead of quietly losing money.
EXACT = Context(
    prec=200, rounding=ROUND_HALF_EVEN, traps=[DivisionByZero, Inexact, InvalidOperation, Overflow], Emax=999, Emin=-999
)
ZERO = Decimal(0)

_PLAIN = re.compile(r"[0-9]{1,60}(?:\.[0-9]{1,36})?", re.ASCII).fullmatch


def number(field: str, value: object) -> Decimal:
    """The exact value of plain decimal text, zero included. Raises Refusal(BAD_REQUEST) for anything else."""
    if isinstance(value, str) and _PLAIN(value):
        return Decimal(value)
    raise Refusal(Code.BAD_REQUEST, f"{field} must be plain decimal text")


def text(value: Decimal) -> str:
    """The value as the wire carries it: plain digits, never an exponent."""
    written = str(value)
    return format(value, "f") if "E" in written else written


def floor_to(value: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of ``step`` not above ``value`` (both positive), exact under :data:`EXACT`."""
    return value // step * step
