"""The words an order chooses from. Every value equals its name, which is how it is written in files and on the wire."""

from __future__ import annotations

from enum import StrEnum

__all__ = [
    "AmountType",
    "ConditionalOrderMode",
    "PriceSource",
    "Rounding",
    "Side",
    "TimeInForce",
    "TrailUnit",
    "TriggerKind",
]


class Side(StrEnum):
    """Which way base moves: BUY receives base and pays quote, SELL gives base and receives quote."""

    BUY = "BUY"
    SELL = "SELL"


class AmountType(StrEnum):
    """What ``amount`` counts, exact before fees: base received or given, or quote spent (BUY) or received (SELL)."""

    BASE = "BASE"
    QUOTE = "QUOTE"


class TimeInForce(StrEnum):
    """How long an order lives.

    GTC: until it is filled or cancelled. IOC: trades what it can at once, the rest vanishes. FOK: all at once, or
    nothing. DAY: until the end of the day. GTD: until ``expire_at``.
    """

    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"
    DAY = "DAY"
    GTD = "GTD"


class TriggerKind(StrEnum):
    """What arms an order: a price against a position, one in its favour, or a distance that follows the best price."""

    STOP_LOSS = "STOP_LOSS"
    TAKE_PROFIT = "TAKE_PROFIT"
    TRAILING_STOP = "TRAILING_STOP"


class PriceSource(StrEnum):
    """The price a trigger watches: last trade, mark, index, or the middle of the book."""

    LAST = "LAST"
    MARK = "MARK"
    INDEX = "INDEX"
    MID = "MID"


class TrailUnit(StrEnum):
    """Unit of ``trail_offset``: quote per base, or percent of the best price."""

    ABSOLUTE = "ABSOLUTE"
    PERCENT = "PERCENT"


class ConditionalOrderMode(StrEnum):
    """Whose quantity a trigger acts on.

    ``STANDALONE``: this order is a plain trigger order with its own amount. ``UNIFIED_FIXED``: this order is the entry;
    an exit of the same amount is armed when it is fully filled. ``UNIFIED_ADJUSTING``: as before, but the exit always
    equals what the entry has filled minus its own exits. ``SEPARATE_LINKED``: this order is a trigger order tied to
    others by a group. ``PROTECT_POSITION``: this order is a trigger order that follows the account's position in the
    symbol.
    """

    STANDALONE = "STANDALONE"
    UNIFIED_FIXED = "UNIFIED_FIXED"
    UNIFIED_ADJUSTING = "UNIFIED_ADJUSTING"
    SEPARATE_LINKED = "SEPARATE_LINKED"
    PROTECT_POSITION = "PROTECT_POSITION"


class Rounding(StrEnum):
    """What to do with an amount between two steps: refuse it, or round it down."""

    REFUSE = "REFUSE"
    DOWN = "DOWN"
