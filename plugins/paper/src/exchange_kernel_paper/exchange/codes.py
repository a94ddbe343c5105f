"""Every code the exchange answers with, and what each one promises.

A refusal with one of these codes had no effect at all, with the exceptions stated: codes of the *node* (ledger
presets) speak about one broadcast, never about the transaction.
"""

from __future__ import annotations

from enum import StrEnum


class Code(StrEnum):
    """Wire codes. The adapter's ``verdicts.py`` gives each one its meaning for the kernel."""

    # The request never reached the matching engine.
    BAD_SIGNATURE = "BAD_SIGNATURE"
    UNKNOWN_ACCOUNT = "UNKNOWN_ACCOUNT"
    BAD_REQUEST = "BAD_REQUEST"
    RATE_LIMIT = "RATE_LIMIT"
    BANNED = "BANNED"
    TIMESTAMP = "TIMESTAMP"
    CLIENT_ID = "CLIENT_ID"
    # An order or a request with this id is known already: look it up.
    DUPLICATE = "DUPLICATE"
    # The order breaks a rule of the market.
    UNKNOWN_SYMBOL = "UNKNOWN_SYMBOL"
    MARKET_CLOSED = "MARKET_CLOSED"
    FILTER_SIDE = "FILTER_SIDE"
    FILTER_AMOUNT = "FILTER_AMOUNT"
    FILTER_PRICE = "FILTER_PRICE"
    FILTER_NOTIONAL = "FILTER_NOTIONAL"
    FILTER_TIME = "FILTER_TIME"
    FILTER_DISPLAY = "FILTER_DISPLAY"
    # The order is fine, the moment is not.
    INSUFFICIENT_FUNDS = "INSUFFICIENT_FUNDS"
    WOULD_CROSS = "WOULD_CROSS"
    NOT_ENABLED = "NOT_ENABLED"
    # A group that cannot be: its legs are too many, too few, or of the wrong kind.
    GROUP_OFF = "GROUP_OFF"
    GROUP_LEGS = "GROUP_LEGS"
    # A cancel or an amend found no open order; it may be filled, cancelled, unknown, or not have arrived yet.
    UNKNOWN_ORDER = "UNKNOWN_ORDER"
    AMEND_OFF = "AMEND_OFF"
    AMEND_NOT_DOWN = "AMEND_NOT_DOWN"
    # The new total is at or below what is filled already: cancel instead.
    AMEND_BELOW_FILLED = "AMEND_BELOW_FILLED"
    # Said by a node about a broadcast; the transaction may still be mined, from here or from elsewhere.
    KNOWN = "KNOWN"
    NUMBER_TOO_LOW = "NUMBER_TOO_LOW"
    NUMBER_TOO_HIGH = "NUMBER_TOO_HIGH"
    UNDERPRICED = "UNDERPRICED"
    TOO_LATE = "TOO_LATE"
    # The server could not say what happened (a 5xx).
    UNAVAILABLE = "UNAVAILABLE"


class Why(StrEnum):
    """Why an order is finished, beside the codes above."""

    NONE = ""
    USER = "USER"
    TIME = "TIME"
    SELF_TRADE = "SELF_TRADE"
    NO_LIQUIDITY = "NO_LIQUIDITY"
    FOK = "FOK"
    GROUP = "GROUP"
    LIQUIDATION = "LIQUIDATION"
    ADL = "ADL"
    SETTLEMENT = "SETTLEMENT"


class Refusal(Exception):
    """The exchange refuses a request: ``code``, a text for people, and ``retry_ms`` (venue time) where it says when."""

    def __init__(self, code: Code, message: str = "", retry_ms: int | None = None) -> None:
        super().__init__(message or code.value)
        self.code, self.message, self.retry_ms = code, message, retry_ms
