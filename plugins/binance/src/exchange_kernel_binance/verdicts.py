"""What each of Binance's answers means for a change: one row per code by which it documents that it did nothing.

What is not here decides nothing: -1000, -1001, -1006, -1007, -1008, every 5xx, a 403 of the firewall, and a 200 that
cannot be read. Sources: ``errors`` is errors.md of the spot documentation, ``rest`` its rest-api.md.
"""

from __future__ import annotations

from exchange_kernel.errors import (
    ClockSkew,
    InsufficientFunds,
    MarketClosed,
    NotAuthorized,
    OrderRefused,
    PostOnlyWouldCross,
    UnknownTarget,
)
from exchange_kernel.venue import Why
from exchange_kernel_ccxt.verdicts import Meaning, Row, Table

_LIMITS = "rest, LIMITS: 429 and 418 are sent instead of executing the request"
_KEY = "errors, 10xx and 20xx: refused for its key, signature or permissions"
_REQUEST = "errors, 11xx Request issues: refused as it was read"
_ENGINE = "errors, Messages for -1010, -2010 and -2011: of the matching engine"

LIMITS = (
    Row(None, "rate", Why.OTHER, _LIMITS, status=429),
    Row(None, "rate", Why.OTHER, _LIMITS, status=418),
    Row(-1003, "rate", Why.OTHER, "errors, -1003 TOO_MANY_REQUESTS"),
    Row(-1015, "rate", Why.OTHER, "errors, -1015 TOO_MANY_ORDERS"),
)
KEYS = (
    Row(-1002, NotAuthorized, Why.OTHER, _KEY),
    Row(-1022, NotAuthorized, Why.OTHER, _KEY),
    Row(-2014, NotAuthorized, Why.OTHER, _KEY),
    Row(-2015, NotAuthorized, Why.OTHER, _KEY),
)
CLOCK = (Row(-1021, ClockSkew, Why.OTHER, "rest, Timing security: the request is rejected"),)
_UNREAD = (
    *range(-1106, -1099),
    *(-1108, -1111, -1112, -1114, -1115, -1116, -1117, -1118, -1119, -1120, -1121, -1122, -1127, -1128),
    *(-1130, -1131, -1134, -1135, -1136, -1145, -1151, -1152, -1158, -1160, -1161, -1165, -1166, -1167, -1168),
    *(-1196, -1197, -1198, -1199),
)
REQUESTS = tuple(Row(code, OrderRefused, Why.FILTER, _REQUEST) for code in _UNREAD)


def _engine(text: str, meaning: Meaning, why: Why) -> tuple[Row, ...]:
    """The engine's message, under each of the codes that it comes with."""
    return tuple(Row(code, meaning, why, _ENGINE, text) for code in (-1010, -2010))


SPOT = Table(
    (
        *LIMITS,
        *KEYS,
        *CLOCK,
        *REQUESTS,
        Row(-1013, OrderRefused, Why.FILTER, "errors, -1013 INVALID_MESSAGE: did not reach the matching engine"),
        Row(-1013, MarketClosed, Why.MARKET_CLOSED, "errors, messages of -1010, -2010, -2011", "Market is closed"),
        *_engine("Duplicate order sent", "duplicate", Why.OTHER),
        *_engine("insufficient balance", InsufficientFunds, Why.FUNDS),
        *_engine("would immediately match and take", PostOnlyWouldCross, Why.WOULD_CROSS),
        *_engine("would trigger immediately", OrderRefused, Why.FILTER),
        *_engine("relationship of the prices", OrderRefused, Why.FILTER),
        *_engine("Market is closed", MarketClosed, Why.MARKET_CLOSED),
        *_engine("", OrderRefused, Why.OTHER),
        Row(-1010, UnknownTarget, Why.OTHER, _ENGINE, "Unknown order sent"),
        Row(-2011, UnknownTarget, Why.OTHER, "errors, -2011 CANCEL_REJECTED"),
        Row(-2013, UnknownTarget, Why.OTHER, "errors, -2013 NO_SUCH_ORDER"),
        Row(-2026, UnknownTarget, Why.OTHER, "errors, -2026 ORDER_ARCHIVED"),
        Row(-2038, OrderRefused, Why.FILTER, "errors, -2038 ORDER_AMEND_REJECTED"),
        Row(-2038, UnknownTarget, Why.OTHER, "errors, -2038 ORDER_AMEND_REJECTED", "Unknown order"),
        Row(-2039, UnknownTarget, Why.OTHER, "errors, -2039 CLIENT_ORDER_ID_INVALID"),
    )
)
"""Answers to a change of the spot account."""

_MARGIN = "Margin Trading, Error Codes"
SPOT_MARGIN = Table(
    (
        Row(-3006, InsufficientFunds, Why.FUNDS, f"{_MARGIN}, -3006 EXCEED_MAX_BORROWABLE: nothing was borrowed"),
        Row(-3007, MarketClosed, Why.MARKET_CLOSED, f"{_MARGIN}, -3007 HAS_PENDING_TRANSACTION"),
        Row(-3021, OrderRefused, Why.OTHER, f"{_MARGIN}, -3021: margin account are not allowed to trade this pair"),
        Row(-3027, OrderRefused, Why.OTHER, f"{_MARGIN}, -3027: not a valid margin asset"),
        Row(-3028, OrderRefused, Why.OTHER, f"{_MARGIN}, -3028: not a valid margin pair"),
        Row(-3041, InsufficientFunds, Why.FUNDS, f"{_MARGIN}, -3041 BALANCE_NOT_CLEARED: balance is not enough"),
        Row(-3045, InsufficientFunds, Why.FUNDS, f"{_MARGIN}, -3045: the system has not enough of the asset to lend"),
        Row(-3067, OrderRefused, Why.RISK, f"{_MARGIN}, -3067: the margin level does not allow it"),
        Row(-11001, OrderRefused, Why.OTHER, f"{_MARGIN}, -11001: the isolated account does not exist"),
        *SPOT.rows,
    )
)
"""Answers to a change of a margin wallet: spot's, and those about debts."""

_FUTURES = "futures, Error Codes"
_ORDERS_20XX = (-2010, -2020, -2021, -2022, -2023, -2024, -2025, -2026, -2027, -2028)
_ORDERS_40XX = (
    *range(-4015, -4000),
    *(-4016, -4019, -4022, -4023, -4024, -4045, -4061, -4062, -4087, -4088, -4104, -4114, -4118, -4120, -4131, -4136),
    *(-4137, -4138, -4139, -4140, -4142, -4164, -4183, -4184, -4210, -4211),
)
"""Filters and other issues: the order was refused as it was read, or by a risk rule."""
_ORDERS_50XX = (-5021, -5024, -5025, -5026, -5027, -5029, -5037, -5038, -5039, -5040, -5041, -5047)
_BARRED = (-4192, -4400, -4401, -4402, -4403)
"""The account, or its owner, may not trade that now: a cooling-off period, quantitative rules, compliance."""

USDM = Table(
    (
        *LIMITS,
        *KEYS,
        *CLOCK,
        *REQUESTS,
        Row(-5028, ClockSkew, Why.OTHER, f"{_FUTURES}, -5028 ME_RECVWINDOW_REJECT"),
        Row(-1013, OrderRefused, Why.FILTER, f"{_FUTURES}, -1013 INVALID_MESSAGE"),
        *(Row(code, OrderRefused, Why.RISK, f"{_FUTURES}, 20xx Processing Issues") for code in _ORDERS_20XX),
        Row(-2017, NotAuthorized, Why.OTHER, f"{_FUTURES}, -2017 API_KEYS_LOCKED"),
        Row(-1011, NotAuthorized, Why.OTHER, f"{_FUTURES}, -1011 NON_WHITE_LIST: this IP cannot access this route"),
        Row(-2018, InsufficientFunds, Why.FUNDS, f"{_FUTURES}, -2018 BALANCE_NOT_SUFFICIENT"),
        Row(-2019, InsufficientFunds, Why.FUNDS, f"{_FUTURES}, -2019 MARGIN_NOT_SUFFICIEN"),
        *(
            Row(code, OrderRefused, Why.RISK, f"{_FUTURES}, 40xx: the account may not trade that now")
            for code in _BARRED
        ),
        Row(-2011, UnknownTarget, Why.OTHER, f"{_FUTURES}, -2011 CANCEL_REJECTED"),
        Row(-2013, UnknownTarget, Why.OTHER, f"{_FUTURES}, -2013 NO_SUCH_ORDER"),
        *(Row(code, OrderRefused, Why.FILTER, f"{_FUTURES}, 40xx Filters and other Issues") for code in _ORDERS_40XX),
        Row(-4108, MarketClosed, Why.MARKET_CLOSED, f"{_FUTURES}, -4108 INVALID_SYMBOL_STATUS: on delivering"),
        Row(-4141, MarketClosed, Why.MARKET_CLOSED, f"{_FUTURES}, -4141 SYMBOL_ALREADY_CLOSED"),
        Row(-4116, "duplicate", Why.OTHER, f"{_FUTURES}, -4116: clientOrderId is duplicated"),
        *(Row(code, OrderRefused, Why.OTHER, f"{_FUTURES}, 50xx Order Execution Issues") for code in _ORDERS_50XX),
        Row(-5022, PostOnlyWouldCross, Why.WOULD_CROSS, f"{_FUTURES}, -5022 GTX_ORDER_REJECT"),
    )
)
"""Answers to a change of the USD-M futures account."""

READS = Table((*LIMITS, *KEYS))
"""Answers to a read; any other refusal means that the read failed, or names what is not there."""
