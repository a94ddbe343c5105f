"""Parameters, read as strictly as Binance reads them (binance-spot-api-docs, errors.md, 11xx)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from exchange_kernel_binance.simulator.errors import (
    INVALID_SYMBOL,
    ApiError,
    illegal,
    invalid_data,
    missing,
    unread,
)

Kind = Callable[[str, str], Any]

_DECIMAL = re.compile(r"([0-9]{1,20})(\.[0-9]{1,20})?", re.ASCII)
_LONG = re.compile(r"[0-9]{1,20}", re.ASCII)
_CLIENT_ID = re.compile(r"[a-zA-Z0-9\-_]{1,36}", re.ASCII)
_WIDE_CLIENT_ID = re.compile(r"[.A-Z:/a-z0-9_-]{1,36}", re.ASCII)
_SYMBOL = re.compile(r"[A-Z0-9\-_.]{1,20}", re.ASCII)


def decimal(places: int = 8) -> Kind:
    """A number with at most so many decimals."""

    def read(name: str, raw: str) -> Decimal:
        if not _DECIMAL.fullmatch(raw):
            raise illegal(name, r"^([0-9]{1,20})(\.[0-9]{1,20})?$")
        if "." in raw and len(raw.split(".")[1].rstrip("0")) > places:
            raise ApiError(-1111, f"Parameter '{name}' has too much precision.")
        return Decimal(raw)

    return read


def long(name: str, raw: str) -> int:
    """A whole number."""
    if not _LONG.fullmatch(raw):
        raise illegal(name, "^[0-9]{1,20}$")
    value = int(raw)
    if value > 2**63 - 1:
        raise ApiError(-1108, f"Parameter '{name}' overflowed.")
    return value


def positive_quantity(name: str, raw: str) -> Decimal:
    """A quantity; zero is refused by the filters of the symbol."""
    value: Decimal = decimal()(name, raw)
    return value


def client_id(name: str, raw: str) -> str:
    """A client order id of the spot API."""
    if not _CLIENT_ID.fullmatch(raw):
        raise illegal(name, "^[a-zA-Z0-9-_]{1,36}$")
    return raw


def wide_client_id(name: str, raw: str) -> str:
    """A client order id of the futures API."""
    if not _WIDE_CLIENT_ID.fullmatch(raw):
        raise illegal(name, r"^[\.A-Z\:/a-z0-9_-]{1,36}$")
    return raw


def symbol(name: str, raw: str) -> str:
    """A symbol's name; whether it exists is asked later."""
    if not _SYMBOL.fullmatch(raw):
        raise illegal(name, "^[A-Z0-9-_.]{1,20}$")
    return raw


def anything(name: str, raw: str) -> str:
    """Text as it is."""
    return raw


def boolean(name: str, raw: str) -> bool:
    """`true` or `false`, in any letter case."""
    if raw.lower() not in ("true", "false"):
        raise invalid_data(name)
    return raw.lower() == "true"


def one_of(values: Iterable[str], refusal: tuple[int, str] | None = None) -> Kind:
    """One of the names; otherwise `refusal`, or -1130."""
    allowed = frozenset(values)

    def read(name: str, raw: str) -> str:
        if raw not in allowed:
            raise ApiError(*refusal) if refusal else invalid_data(name)
        return raw

    return read


def names(name: str, raw: str) -> list[str]:
    """A JSON array of names, or one name."""
    if not raw.startswith("["):
        return [raw]
    try:
        values = json.loads(raw)
    except ValueError:
        raise ApiError(-1135, f"JSON sent for parameter '{name}' is not valid") from None
    if not isinstance(values, list) or not values or not all(isinstance(value, str) for value in values):
        raise ApiError(*INVALID_SYMBOL)
    return values


SIDE = one_of(("BUY", "SELL"), (-1117, "Invalid side."))
TYPE = one_of(
    ("LIMIT", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT", "LIMIT_MAKER"),
    (-1116, "Invalid orderType."),
)
TIME_IN_FORCE = one_of(("GTC", "IOC", "FOK"), (-1115, "Invalid timeInForce."))
RESPONSE = one_of(("ACK", "RESULT", "FULL"))
STP = one_of(("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT", "TRANSFER"))
RESTRICTIONS = one_of(("ONLY_NEW", "ONLY_PARTIALLY_FILLED"), (-1145, "Invalid cancelRestrictions"))


def read(
    sent: Iterable[tuple[str, str]],
    known: Mapping[str, Kind],
    required: Iterable[str],
    ignored: frozenset[str],
) -> dict[str, Any]:
    """The values of what was sent; `ignored` are those that every endpoint of this kind reads.

    :raises ApiError: -1101 sent twice, -1102 missing, -1104 unknown, -1105 empty, and what each kind refuses.
    """
    given: dict[str, str] = {}
    for name, raw in sent:
        if name in given:
            raise ApiError(-1101, "Duplicate values for a parameter detected.")
        given[name] = raw
    for name in required:
        if given.get(name, "") == "":
            raise missing(name)
    values: dict[str, Any] = {}
    for name, kind in known.items():
        if name in given:
            if given[name] == "":
                raise ApiError(-1105, f"Parameter '{name}' was empty.")
            values[name] = kind(name, given[name])
    read_count = sum(name in known or name in ignored for name in given)
    if read_count < len(given):
        raise unread(read_count, len(given))
    return values
