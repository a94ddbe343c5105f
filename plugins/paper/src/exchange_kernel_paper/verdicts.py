"""What each answer of the venue means to the kernel: one row per code. Everything not in a table proves nothing.

The source of every row is the venue's own documentation of its codes, :mod:`exchange_kernel_paper.exchange.codes`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from exchange_kernel.errors import (
    ClockSkew,
    InsufficientFunds,
    MarketClosed,
    NotAuthorized,
    OrderRefused,
    OutcomeUnknown,
    PostOnlyWouldCross,
    RateLimited,
    Refused,
    Unavailable,
    UnknownTarget,
    VenueError,
)
from exchange_kernel.venue import Why
from exchange_kernel_paper.exchange import Code

Verdict = tuple[type[VenueError], Why] | Literal["duplicate", "rate"]

VENUE: Mapping[str, Verdict] = {
    # never reached the matching engine
    Code.BAD_SIGNATURE: (NotAuthorized, Why.OTHER),
    Code.UNKNOWN_ACCOUNT: (NotAuthorized, Why.OTHER),
    Code.BAD_REQUEST: (OrderRefused, Why.FILTER),
    Code.CLIENT_ID: (OrderRefused, Why.FILTER),
    Code.RATE_LIMIT: "rate",
    Code.BANNED: "rate",
    Code.TIMESTAMP: (ClockSkew, Why.OTHER),
    # known already: only a look tells what became of it
    Code.DUPLICATE: "duplicate",
    # refused by a rule of the market
    Code.UNKNOWN_SYMBOL: (OrderRefused, Why.FILTER),
    Code.MARKET_CLOSED: (MarketClosed, Why.MARKET_CLOSED),
    Code.FILTER_SIDE: (OrderRefused, Why.FILTER),
    Code.FILTER_AMOUNT: (OrderRefused, Why.FILTER),
    Code.FILTER_PRICE: (OrderRefused, Why.FILTER),
    Code.FILTER_NOTIONAL: (OrderRefused, Why.FILTER),
    Code.FILTER_TIME: (OrderRefused, Why.FILTER),
    Code.FILTER_DISPLAY: (OrderRefused, Why.FILTER),
    Code.INSUFFICIENT_FUNDS: (InsufficientFunds, Why.FUNDS),
    Code.WOULD_CROSS: (PostOnlyWouldCross, Why.WOULD_CROSS),
    Code.NOT_ENABLED: (OrderRefused, Why.FILTER),
    # refused as a group, all legs of it
    Code.GROUP_OFF: (OrderRefused, Why.FILTER),
    Code.GROUP_LEGS: (OrderRefused, Why.FILTER),
    # cancels and amends
    Code.UNKNOWN_ORDER: (UnknownTarget, Why.OTHER),
    Code.AMEND_OFF: (OrderRefused, Why.FILTER),
    Code.AMEND_NOT_DOWN: (OrderRefused, Why.FILTER),
    Code.AMEND_BELOW_FILLED: (OrderRefused, Why.FILTER),
}
"""Answers to a change, where the venue is the authority. UNAVAILABLE is not here: a server error decides nothing."""

LEDGER: Mapping[str, Verdict] = {
    Code.KNOWN: "duplicate",
    Code.BAD_SIGNATURE: (Refused, Why.OTHER),
    Code.UNKNOWN_ACCOUNT: (Refused, Why.OTHER),
    Code.BAD_REQUEST: (Refused, Why.OTHER),
    Code.CLIENT_ID: (Refused, Why.OTHER),
    Code.RATE_LIMIT: (Refused, Why.OTHER),
    Code.BANNED: (Refused, Why.OTHER),
    Code.INSUFFICIENT_FUNDS: (Refused, Why.OTHER),
    Code.UNDERPRICED: (Refused, Why.OTHER),
    Code.NUMBER_TOO_HIGH: (Refused, Why.OTHER),
    Code.TOO_LATE: (Refused, Why.OTHER),
}
"""Answers of a node to a broadcast (R10): at most "not now". NUMBER_TOO_LOW is not here: ours may be what landed."""

READ: Mapping[str, Verdict] = {
    Code.BAD_SIGNATURE: (NotAuthorized, Why.OTHER),
    Code.UNKNOWN_ACCOUNT: (NotAuthorized, Why.OTHER),
    Code.RATE_LIMIT: "rate",
    Code.BANNED: "rate",
}
"""Answers to a read; any other refusal means that the read failed."""


def judge(reply: Mapping[str, Any], table: Mapping[str, Verdict], local: Callable[[int], int]) -> None:
    """Raise what a reply means by ``table``; return when it is a success, or a duplicate (``reply["code"]`` is set).

    ``local``: venue ms to local ms.
    """
    code = reply.get("code")
    if code is None:
        return
    text = str(reply.get("message", code))
    verdict = table.get(str(code))
    if verdict == "duplicate":
        return
    if verdict == "rate":
        raise RateLimited(local(int(reply.get("retry_ms", reply["t"]))), "account", banned=code == Code.BANNED)
    if verdict is not None:
        error, why = verdict
        raise error(text, code=str(code), why=why.value)
    if table is READ:
        raise Unavailable(text, code=str(code))
    raise OutcomeUnknown(text, code=str(code))
