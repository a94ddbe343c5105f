"""Client ids that are the kernel's keys, and ids that are unique in the account for ever."""

from __future__ import annotations

from exchange_kernel.venue import Key, VenueId

PREFIX = "ek"
"""Spot takes ``^[a-zA-Z0-9-_]{1,36}$`` (errors.md, -1100), futures ``^[\\.A-Z\\:/a-z0-9_-]{1,36}$``."""


def client_id(key: Key) -> str:
    """The client id of a key: reversible, and legal in every market."""
    return PREFIX + key.hex()


def key_of(client: str) -> Key | None:
    """The key behind a client id; None for an id that is not one of ours."""
    try:
        key = bytes.fromhex(client.removeprefix(PREFIX))
    except ValueError:
        return None
    return key if key and client == client_id(key) else None


def order_id(symbol: str, number: int) -> VenueId:
    """Order ids count per symbol; ``symbol``: as Binance writes it."""
    return VenueId("order", f"{symbol}/{number}")


def number_of(known: VenueId) -> int:
    """The number in an order's id."""
    return int(known.value.rpartition("/")[2])


def list_id(symbol: str, number: int) -> VenueId:
    """An order list's id."""
    return VenueId("list", f"{symbol}/{number}")


def trade_id(symbol: str, number: int) -> str:
    """Trade ids count per symbol, too."""
    return f"{symbol}/{number}"
