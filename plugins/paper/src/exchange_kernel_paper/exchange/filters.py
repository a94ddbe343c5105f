"""What an order request may say: reading its fields, and the filters of the market."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from exchange_kernel_paper.exchange.codes import Code, Refusal
from exchange_kernel_paper.exchange.markets import Market
from exchange_kernel_paper.exchange.numbers import number, text
from exchange_kernel_paper.exchange.orders import BUY, SELL

Request = dict[str, object]

DAY_MS = 86_400_000
TIMES_IN_FORCE = frozenset({"GTC", "IOC", "FOK", "DAY", "GTD"})
RESTING = frozenset({"GTC", "DAY", "GTD"})
_WORDS = {word: word for word in (BUY, SELL, *TIMES_IN_FORCE)}


class Terms(NamedTuple):
    """A checked order request. ``amount`` is a total, in quote when ``in_quote``; ``until`` in venue ms UTC."""

    side: str
    amount: Decimal
    in_quote: bool
    limit: Decimal | None
    guard: Decimal | None
    tif: str
    until: int | None
    post_only: bool
    display: Decimal | None


def read_terms(market: Market, request: Request, now: int) -> Terms:
    """The terms of an order request at venue time ``now``. Raises Refusal: BAD_REQUEST, or the filter it breaks."""
    side, tif = (
        _WORDS.get(str(request.get("side"))),
        _WORDS.get(str(request.get("tif", "GTC"))),
    )  # our own strings: an order keeps them for ever
    if side is None or side not in (BUY, SELL):
        raise Refusal(Code.BAD_REQUEST, "side must be BUY or SELL")
    if side not in market.sides:
        raise Refusal(Code.FILTER_SIDE, f"{market.symbol} takes {' and '.join(market.sides)} only")
    if tif is None or tif not in TIMES_IN_FORCE:
        raise Refusal(Code.BAD_REQUEST, f"tif must be one of {', '.join(sorted(TIMES_IN_FORCE))}")
    unit = request.get("in", "BASE")
    if unit not in ("BASE", "QUOTE"):
        raise Refusal(Code.BAD_REQUEST, "in must be BASE or QUOTE")
    in_quote = unit == "QUOTE"
    amount = number("amount", request.get("amount"))
    limit, guard = read_price(market, "limit", request), read_price(market, "guard", request)
    if limit is not None and guard is not None:
        raise Refusal(Code.BAD_REQUEST, "guard is for market orders, which have no limit")
    post_only = request.get("post_only", False) is True
    if post_only and (limit is None or tif not in RESTING):
        raise Refusal(Code.FILTER_TIME, "post_only needs a limit and a time in force that rests")
    check_amount(market, amount, limit, in_quote=in_quote)
    display = _read_display(market, request.get("display"), amount, limit, in_quote=in_quote)
    until = _read_until(request.get("until"), tif, now)
    return Terms(side, amount, in_quote, limit, guard, tif, until, post_only, display)


def read_price(market: Market, field: str, request: Request) -> Decimal | None:
    """A price in a request, one of this market's, or None where there is none."""
    value = request.get(field)
    if value is None:
        return None
    price = number(field, value)
    market.check_price(field, price)
    return price


def check_amount(market: Market, amount: Decimal, limit: Decimal | None, *, in_quote: bool) -> None:
    """Raises Refusal: step, bounds, and least notional. A market order in base has no notional yet."""
    step = market.quote_step if in_quote else market.step
    if not amount or amount % step:
        raise Refusal(Code.FILTER_AMOUNT, f"amount {text(amount)} is not a multiple of {text(step)}")
    if not in_quote and not market.min_amount <= amount <= market.max_amount:
        low, high = text(market.min_amount), text(market.max_amount)
        raise Refusal(Code.FILTER_AMOUNT, f"amount {text(amount)} is outside {low} to {high}")
    notional = amount if in_quote else amount * limit if limit is not None else None
    if notional is not None and notional < market.min_notional:
        raise Refusal(Code.FILTER_NOTIONAL, f"{text(notional)} {market.quote} is below {text(market.min_notional)}")
    if in_quote and amount > market.max_amount * market.max_price:
        raise Refusal(Code.FILTER_NOTIONAL, f"{text(amount)} {market.quote} is too much")


def _read_display(
    market: Market, value: object, amount: Decimal, limit: Decimal | None, *, in_quote: bool
) -> Decimal | None:
    if value is None:
        return None
    display = number("display", value)
    if limit is None:
        raise Refusal(Code.FILTER_DISPLAY, "display needs a limit")
    if not display or display % market.step:
        raise Refusal(Code.FILTER_DISPLAY, f"display {text(display)} is not a multiple of {text(market.step)}")
    if not in_quote and display > amount:
        raise Refusal(Code.FILTER_DISPLAY, f"display {text(display)} is above the amount {text(amount)}")
    return display


def _read_until(value: object, tif: str, now: int) -> int | None:
    if tif == "DAY":
        return (now // DAY_MS + 1) * DAY_MS
    if tif != "GTD":
        if value is not None:
            raise Refusal(Code.FILTER_TIME, "until needs tif GTD")
        return None
    if type(value) is not int:
        raise Refusal(Code.FILTER_TIME, "GTD needs until, ms UTC")
    if value <= now:
        raise Refusal(Code.FILTER_TIME, f"until {value} is not after {now}")
    return value
