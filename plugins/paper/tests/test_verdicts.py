"""Every answer of the venue and what the kernel is told: one row, one test. Nothing else is ever a verdict."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from exchange_kernel.errors import (
    ClockSkew,
    InsufficientFunds,
    MarketClosed,
    NoEffect,
    NotAuthorized,
    NotSent,
    OrderRefused,
    OutcomeUnknown,
    PostOnlyWouldCross,
    RateLimited,
    Refused,
    Rejected,
    Unavailable,
    UnknownTarget,
    VenueError,
)
from exchange_kernel.schema import TimeInForce
from exchange_kernel.venue import Amend, Cancel, Place, Ref
from exchange_kernel_paper.exchange import Code
from exchange_kernel_paper.verdicts import LEDGER, READ, VENUE, judge
from plugins.paper.tests.session import BTC, Session, key, passing, scenario, spec

NOT_VERDICTS = {Code.UNAVAILABLE}
ONLY_NODES = {Code.KNOWN, Code.NUMBER_TOO_LOW, Code.NUMBER_TOO_HIGH, Code.UNDERPRICED, Code.TOO_LATE}

EXPECTED: dict[Code, type[VenueError] | None] = {
    Code.BAD_SIGNATURE: NotAuthorized,
    Code.UNKNOWN_ACCOUNT: NotAuthorized,
    Code.BAD_REQUEST: OrderRefused,
    Code.CLIENT_ID: OrderRefused,
    Code.RATE_LIMIT: RateLimited,
    Code.BANNED: RateLimited,
    Code.TIMESTAMP: ClockSkew,
    Code.DUPLICATE: None,
    Code.UNKNOWN_SYMBOL: OrderRefused,
    Code.MARKET_CLOSED: MarketClosed,
    Code.FILTER_SIDE: OrderRefused,
    Code.FILTER_AMOUNT: OrderRefused,
    Code.FILTER_PRICE: OrderRefused,
    Code.FILTER_NOTIONAL: OrderRefused,
    Code.FILTER_TIME: OrderRefused,
    Code.FILTER_DISPLAY: OrderRefused,
    Code.INSUFFICIENT_FUNDS: InsufficientFunds,
    Code.WOULD_CROSS: PostOnlyWouldCross,
    Code.NOT_ENABLED: OrderRefused,
    Code.UNKNOWN_ORDER: UnknownTarget,
    Code.AMEND_OFF: OrderRefused,
    Code.AMEND_NOT_DOWN: OrderRefused,
    Code.AMEND_BELOW_FILLED: OrderRefused,
    Code.KNOWN: OutcomeUnknown,
    Code.NUMBER_TOO_LOW: OutcomeUnknown,
    Code.NUMBER_TOO_HIGH: OutcomeUnknown,
    Code.UNDERPRICED: OutcomeUnknown,
    Code.TOO_LATE: OutcomeUnknown,
    Code.UNAVAILABLE: OutcomeUnknown,
    Code.GROUP_OFF: OrderRefused,
    Code.GROUP_LEGS: OrderRefused,
}


def told(code: str, table: Any) -> BaseException | None:
    """What an answer with this code raises."""
    try:
        judge({"code": code, "message": "so it is", "retry_ms": 7, "t": 5}, table, lambda ms: ms + 100)
    except VenueError as error:
        return error
    return None


@pytest.mark.parametrize("code", list(Code))
def test_every_code_of_the_venue_has_its_meaning(code: Code) -> None:
    """Exactly the expected error, with the venue's code and words; a duplicate is no error but a reason to look."""
    error = told(code, VENUE)
    expected = EXPECTED[code]
    assert type(error) is expected if expected is not None else error is None
    if isinstance(error, RateLimited):
        assert error.retry_at == 107
    elif isinstance(error, VenueError):
        assert (error.code, str(error)) == (code.value, "so it is")


def test_every_code_has_a_row_or_is_no_verdict() -> None:
    """A new code cannot be forgotten."""
    assert set(VENUE) == set(Code) - NOT_VERDICTS - ONLY_NODES
    assert set(EXPECTED) == set(Code)


@pytest.mark.parametrize("code", [*Code, "SOMETHING_NEW"])
def test_no_word_of_a_node_is_ever_a_verdict(code: str) -> None:
    """On a ledger venue every refusal leaves the outcome open; that it is known already says: look."""
    error = told(code, LEDGER)
    if code == Code.KNOWN:
        assert error is None
    else:
        assert isinstance(error, OutcomeUnknown)
        assert not isinstance(error, NoEffect)
        assert isinstance(error, Refused) == (code in LEDGER)


@pytest.mark.parametrize("code", [*Code, "SOMETHING_NEW"])
def test_a_refused_read_is_unavailable_unless_the_reason_is_the_reader(code: str) -> None:
    """Credentials and rate are told; all else means that nothing was learned."""
    expected = dict.fromkeys((Code.BAD_SIGNATURE, Code.UNKNOWN_ACCOUNT), NotAuthorized)
    expected |= dict.fromkeys((Code.RATE_LIMIT, Code.BANNED), RateLimited)
    assert type(told(code, READ)) is expected.get(code, Unavailable)  # type: ignore[call-overload]


@pytest.mark.parametrize("table", [VENUE, READ])
def test_a_ban_is_told_from_a_limit(table: Any) -> None:
    """A ban stops the account, a limit only the next orders."""
    banned, limited = told(Code.BANNED, table), told(Code.RATE_LIMIT, table)
    assert isinstance(banned, RateLimited)
    assert isinstance(limited, RateLimited)
    assert (banned.banned, limited.banned) == (True, False)


def test_an_unknown_code_proves_nothing() -> None:
    """The outcome is open."""
    assert type(told("SOMETHING_NEW", VENUE)) is OutcomeUnknown


async def submit(session: Session, command: Any) -> Any:
    """The answer to a command, or the error."""
    try:
        return (await passing(session, session.adapter.submit(await session.ticket(command)))).stage
    except VenueError as error:
        return type(error)


@pytest.mark.parametrize(
    ("order", "outcome"),
    [
        (spec(), "decided"),
        (spec(amount="999999"), InsufficientFunds),
        (spec(limit="200", post_only=True), PostOnlyWouldCross),
        (spec(symbol="SOL/USD", limit="50"), MarketClosed),
        (spec(tif=TimeInForce.GTD, until=1), OrderRefused),
    ],
)
def test_verdicts_of_the_venue_end_to_end(order: Any, outcome: Any) -> None:
    """Real refusals of the real exchange."""

    async def play(session: Session) -> None:
        session.exchange.set_ladder(BTC, [], [("150", "5")])
        session.exchange.set_open("SOL/USD", False)
        assert await submit(session, Place(key(1), order)) == outcome

    scenario(Session(), play)


@pytest.mark.parametrize(
    ("fault", "outcome", "orders"),
    [
        ("not_sent", NotSent, 0),
        ("request_lost", OutcomeUnknown, 0),
        ("answer_lost", OutcomeUnknown, 1),
        ("late", OutcomeUnknown, 0),
        ("unavailable", OutcomeUnknown, 0),
        ("error_after", OutcomeUnknown, 1),
        ("garbled", OutcomeUnknown, 1),
        ("rate_limit", RateLimited, 0),
    ],
)
def test_faults_on_the_way_are_told_for_what_they_are(fault: str, outcome: Any, orders: int) -> None:
    """Only NotSent and RateLimited are sure that nothing happened."""

    async def play(session: Session) -> None:
        session.exchange.faults.once(fault, "order", ms=100)
        assert await submit(session, Place(key(1), spec())) == outcome
        assert len(session.exchange.ledger.orders()) == orders

    scenario(Session(), play)


@pytest.mark.parametrize("fault", ["misleading", "forgotten", "rate_limit", "unavailable", "garbled", "answer_lost"])
def test_nothing_a_node_does_is_told_as_an_effect_or_its_absence(fault: str) -> None:
    """After any of it the same bytes may be sent again, and the order executes once."""

    async def play(session: Session) -> None:
        session.exchange.faults.once(fault, "order")
        ticket = await session.ticket(Place(key(1), spec()))
        first: Any = await asyncio.gather(session.adapter.submit(ticket), return_exceptions=True)
        assert getattr(first[0], "stage", "held") == "held"
        assert not isinstance(first[0], NoEffect | Rejected)
        again = await session.adapter.submit(ticket)
        assert again.stage in ("held", "duplicate")
        session.advance(500)
        assert len(session.exchange.ledger.orders()) == 1

    scenario(Session(fence="sequence"), play)


@pytest.mark.parametrize("fence", ["time_window", "permanent_key"])
def test_a_copy_is_told_as_a_duplicate(fence: str) -> None:
    """Never as a rejection."""

    async def play(session: Session) -> None:
        _, ticket = await session.attempt(1)
        assert (await session.adapter.submit(ticket)).stage == "decided"
        assert (await session.adapter.submit(ticket)).stage == "duplicate"

    scenario(Session(fence=fence), play)


@pytest.mark.parametrize("fence", ["time_window", "permanent_key", "none"])
def test_a_cancel_or_an_amend_without_its_target_is_an_unknown_target(fence: str) -> None:
    """Which says nothing about the order. The same cancel may be sent again."""

    async def play(session: Session) -> None:
        ref, _ = await session.place(1)
        cancel = await session.ticket(Cancel(key(2), ref))
        assert (await session.adapter.submit(cancel)).stage == "decided"
        with pytest.raises(UnknownTarget):
            await session.adapter.submit(cancel)
        if fence != "none":
            assert await submit(session, Amend(key(3), ref, spec(amount="2"))) is UnknownTarget
            assert await submit(session, Cancel(key(4), Ref(key(9), BTC, None, 0))) is UnknownTarget

    scenario(Session(fence=fence), play)


def test_a_refused_timestamp_makes_the_adapter_measure_the_clock_again() -> None:
    """The venue's clock jumps 30 s: one ticket is refused, the next one fits."""

    async def play(session: Session) -> None:
        session.exchange.skew(30_000)
        assert await submit(session, Place(key(1), spec())) is ClockSkew
        assert await submit(session, Place(key(2), spec())) == "decided"

    scenario(Session(), play)


def test_no_error_shows_the_secret() -> None:
    """Nor any part of a signature."""

    async def play(session: Session) -> str:
        session.exchange.faults.once("garbled", "order")
        try:
            await session.adapter.submit(await session.ticket(Place(key(1), spec())))
        except VenueError as error:
            return repr(error) + str(error)
        raise AssertionError("the fault did not fire")

    assert "paper" not in scenario(Session(), play)
