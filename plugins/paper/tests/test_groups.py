"""Native groups, and trades the exchange makes by itself: what the matching engine does with them, to the last unit."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from exchange_kernel.errors import InvalidOrder, OutcomeUnknown, Unsupported
from exchange_kernel.schema import SupportLevel
from exchange_kernel.venue import Found, Place, PlaceGroup, Ref, VenueStatus
from exchange_kernel_paper.exchange import Code
from plugins.paper.tests.desk import BTC, Desk
from plugins.paper.tests.session import Session, key, scenario, spec

LEGS = {"oco": 2, "oto": 2, "bracket": 3}
ALL = tuple(LEGS)


def leg(side: str, amount: str, limit: str, client: str, **more: Any) -> dict[str, Any]:
    """One leg as the wire has it."""
    return {"side": side, "amount": amount, "limit": limit, "client": client, **more}


def group(desk: Desk, kind: str, *legs: dict[str, Any], account: str = "main", **fields: Any) -> Any:
    """Place a group; its legs, or the refusal."""
    return desk.group(kind, list(legs), account, **fields)


def states(desk: Desk, *legs: Any) -> list[tuple[str, str]]:
    """Status and executed amount of each."""
    return [(now["status"], f"{Decimal(now['filled']).normalize():f}") for now in (desk.show(each) for each in legs)]


def test_the_first_execution_of_a_leg_cancels_the_other() -> None:
    """Also where only a part traded: the rest goes on alone, and what the other leg held is free."""
    desk = Desk(groups=ALL)
    a, b = group(desk, "oco", leg("BUY", "2", "90", "a"), leg("SELL", "2", "110", "b"))
    desk.order("SELL", "0.5", "90", "other")

    assert states(desk, a, b) == [("WORKING", "0.5"), ("CANCELED", "0")]
    assert desk.show(b)["why"] == "GROUP"
    assert desk.balance("BTC") == (Decimal("100.5"), Decimal(0))
    desk.order("SELL", "1.5", "90", "other")
    assert states(desk, a, b) == [("FILLED", "2"), ("CANCELED", "0")]
    assert desk.exchange.ledger.unruly() == {}


def test_one_order_that_reaches_both_legs_trades_with_one() -> None:
    """A sweep through both prices takes the better leg, and nothing of the other, though both were there."""
    desk = Desk(groups=ALL)
    a, b = group(desk, "oco", leg("BUY", "1", "95", "a"), leg("BUY", "1", "90", "b"))
    stranger = desk.order("BUY", "1", "90", "poor")
    taker = desk.order("SELL", "2", "90", "other")

    assert states(desk, a, b) == [("FILLED", "1"), ("CANCELED", "0")]
    assert desk.show(taker, "other")["status"] == "FILLED"
    assert desk.show(stranger, "poor")["filled"] == "1"
    assert desk.exchange.ledger.unruly() == {}


def test_what_is_left_after_a_leg_was_skipped_rests() -> None:
    """The taker is not told that more was traded than was."""
    desk = Desk(groups=ALL)
    a, b = group(desk, "oco", leg("BUY", "1", "95", "a"), leg("BUY", "1", "90", "b"))
    taker = desk.order("SELL", "2", "90", "other")

    assert states(desk, a, b) == [("FILLED", "1"), ("CANCELED", "0")]
    assert (desk.show(taker, "other")["status"], desk.show(taker, "other")["filled"]) == ("WORKING", "1")


def test_a_leg_of_two_waits_until_the_first_is_wholly_filled() -> None:
    """Dormant until then, on no book, holding nothing; then it rests like any other order."""
    desk = Desk(groups=ALL)
    a, b = group(desk, "oto", leg("BUY", "1", "90", "a"), leg("SELL", "1", "110", "b"))
    assert states(desk, a, b) == [("WORKING", "0"), ("DORMANT", "0")]
    taker = desk.order("BUY", "1", "110", "other")
    assert taker["filled"] == "0", "a leg that waits is on no book"
    desk.call("cancel", "other", order=taker["id"])
    desk.order("SELL", "0.4", "90", "other")
    assert states(desk, a, b) == [("WORKING", "0.4"), ("DORMANT", "0")]
    assert desk.balance("BTC")[1] == 0
    desk.order("SELL", "0.6", "90", "other")

    assert states(desk, a, b) == [("FILLED", "1"), ("WORKING", "0")]
    assert desk.balance("BTC") == (Decimal(100), Decimal(1))
    assert desk.order("BUY", "1", "110", "other")["filled"] == "1"
    assert desk.exchange.ledger.unruly() == {}


def test_a_bracket_is_an_entry_and_two_exits_of_which_one_trades() -> None:
    """Both exits rest once the entry is filled; one sweep through both takes one."""
    desk = Desk(groups=ALL)
    legs = group(
        desk, "bracket", leg("BUY", "1", "90", "a"), leg("SELL", "1", "110", "b"), leg("SELL", "1", "120", "c")
    )
    assert [status for status, _ in states(desk, *legs)] == ["WORKING", "DORMANT", "DORMANT"]
    desk.order("SELL", "1", "90", "other")
    assert [status for status, _ in states(desk, *legs)] == ["FILLED", "WORKING", "WORKING"]
    desk.order("BUY", "2", "120", "other")

    assert states(desk, *legs) == [("FILLED", "1"), ("FILLED", "1"), ("CANCELED", "0")]
    assert desk.balance("BTC") == (Decimal(100), Decimal(0))


@pytest.mark.parametrize(
    ("kind", "place"), [(kind, place) for kind in ALL for place in range(3 if kind[0] == "b" else 2)]
)
def test_a_cancel_of_one_leg_ends_the_group(kind: str, place: int) -> None:
    """Whichever leg is named, all are told to be over, and nothing is held any more."""
    desk = Desk(groups=ALL)
    rows = [leg("BUY", "1", "90", "a"), leg("SELL", "1", "110", "b"), leg("SELL", "1", "120", "c")]
    legs = group(desk, kind, *rows[: LEGS[kind]])
    answer = desk.call("cancel", order=legs[place]["id"])

    assert sorted(each["id"] for each in answer["orders"]) == sorted(each["id"] for each in legs)
    assert {status for status, _ in states(desk, *legs)} == {"CANCELED"}
    assert desk.balance("USD")[1] == desk.balance("BTC")[1] == 0


def test_an_exit_outlives_the_entry_that_was_filled() -> None:
    """Cancelling one of two exits ends the other too; the entry stays filled."""
    desk = Desk(groups=ALL)
    legs = group(
        desk, "bracket", leg("BUY", "1", "90", "a"), leg("SELL", "1", "110", "b"), leg("SELL", "1", "120", "c")
    )
    desk.order("SELL", "1", "90", "other")
    desk.call("cancel", order=legs[1]["id"])

    assert states(desk, *legs) == [("FILLED", "1"), ("CANCELED", "0"), ("CANCELED", "0")]


@pytest.mark.parametrize(
    ("kind", "legs", "code"),
    [
        ("oco", [leg("BUY", "1", "90", "a")], Code.GROUP_LEGS),
        ("bracket", [leg("BUY", "1", "90", "a"), leg("SELL", "1", "110", "b")], Code.GROUP_LEGS),
        ("oco", [leg("BUY", "1", "90", "a"), leg("SELL", "1", "110", "b", tif="IOC")], Code.GROUP_LEGS),
        ("oco", [leg("BUY", "1", "90", "a"), leg("SELL", "1", "110", "a")], Code.CLIENT_ID),
        ("oco", [leg("BUY", "1", "90", "a"), leg("SELL", "1", "80", "b")], Code.WOULD_CROSS),
        ("oco", [leg("BUY", "1", "90", "a"), leg("BUY", "1", "106", "b")], Code.WOULD_CROSS),
        ("oco", [leg("BUY", "6000", "90", "a"), leg("BUY", "6000", "89", "b")], Code.INSUFFICIENT_FUNDS),
        ("oto", [leg("BUY", "1", "90", "a"), leg("SELL", "1", "110.001", "b")], Code.FILTER_PRICE),
        ("oto", [leg("BUY", "1000000", "90", "a"), leg("SELL", "1", "110", "b")], Code.INSUFFICIENT_FUNDS),
    ],
)
def test_a_refused_leg_refuses_all(kind: str, legs: list[dict[str, Any]], code: Code) -> None:
    """Nothing is there afterwards: no order, no money held."""
    desk = Desk(groups=ALL)
    desk.order("SELL", "1", "105", "other")
    before = desk.exchange.ledger.totals("main")

    assert group(desk, kind, *legs)["code"] == code
    assert desk.exchange.ledger.totals("main") == before
    assert desk.balance("USD") == (Decimal(1_000_000), Decimal(0))


def test_an_exit_that_cannot_be_paid_for_is_rejected_when_it_wakes() -> None:
    """What waits holds nothing, so the money may be gone by then; the other exit goes with it."""
    desk = Desk(groups=ALL)
    a, b = group(desk, "oto", leg("BUY", "1", "90", "a"), leg("SELL", "50", "110", "b"), account="poor")
    desk.order("SELL", "1", "90", "other")

    assert [desk.show(each, "poor")["status"] for each in (a, b)] == ["FILLED", "REJECTED"]
    assert desk.show(b, "poor")["why"] == Code.INSUFFICIENT_FUNDS


def test_a_leg_that_waits_is_not_amended_and_can_expire() -> None:
    """Only what works can be changed; the end of its life takes the group along."""
    desk = Desk(groups=ALL)
    end = desk.clock.now_ms() + 1_000
    a, b = group(desk, "oto", leg("BUY", "1", "90", "a"), leg("SELL", "1", "110", "b", tif="GTD", until=end))
    assert desk.call("amend", order=b["id"], amount="2", limit="110")["code"] == Code.AMEND_OFF
    desk.clock.advance(1_001)

    assert [status for status, _ in states(desk, a, b)] == ["CANCELED", "EXPIRED"]


def test_an_amended_leg_that_trades_cancels_the_other() -> None:
    """A leg moved into the market is executed like any other."""
    desk = Desk(groups=ALL)
    a, b = group(desk, "oco", leg("BUY", "1", "90", "a"), leg("BUY", "1", "80", "b"))
    desk.order("SELL", "1", "100", "other")
    desk.call("amend", order=b["id"], amount="1", limit="100")

    assert states(desk, a, b) == [("CANCELED", "0"), ("FILLED", "1")]


@pytest.mark.parametrize("fence", ["time_window", "permanent_key"])
def test_a_group_that_is_open_is_not_taken_again(fence: str) -> None:
    """By its own id or by that of one of its legs."""
    desk = Desk(groups=ALL, fence=fence)
    legs = leg("BUY", "1", "90", "a"), leg("SELL", "1", "110", "b")
    group(desk, "oco", *legs, rid="g")
    other = leg("BUY", "1", "90", "c"), leg("SELL", "1", "110", "d")

    assert group(desk, "oco", *other, rid="g")["code"] == Code.DUPLICATE
    assert group(desk, "oco", other[0], legs[1], rid="h")["code"] == Code.DUPLICATE
    assert desk.order("BUY", "1", "90", client="b")["code"] == Code.DUPLICATE


def test_an_exchange_keeps_only_the_groups_it_is_told_to() -> None:
    """By default none: refused, and answered as unsupported."""
    assert group(Desk(), "oco", leg("BUY", "1", "90", "a"), leg("SELL", "1", "110", "b"))["code"] == Code.GROUP_OFF

    async def play(session: Session) -> None:
        support = (await session.adapter.markets())[0].capabilities.support
        assert support("group_oco").level is SupportLevel.PARTIAL
        assert "limit orders" in support("group_oco").note
        assert support("group_bracket").level is SupportLevel.UNSUPPORTED
        legs = tuple(Place(key(n), spec(limit=str(90 - n))) for n in (2, 3, 4))
        with pytest.raises(Unsupported, match="no such operation"):
            await session.ticket(PlaceGroup(key(1), "bracket", legs))
        with pytest.raises(InvalidOrder, match="must be 2"):
            await session.ticket(PlaceGroup(key(1), "oco", legs))
        with pytest.raises(InvalidOrder, match="one key twice"):
            await session.ticket(PlaceGroup(key(2), "oco", legs[:2]))

    scenario(Session(groups=["oco"]), play)


@pytest.mark.parametrize("fence", ["time_window", "sequence", "height", "permanent_key"])
def test_a_lookup_by_the_groups_key_finds_the_legs(fence: str) -> None:
    """After a lost answer: each under its own key, with the group's id as a link; on a ledger venue in the pool too."""

    async def play(session: Session) -> None:
        legs = Place(key(2), spec("BUY", limit="90")), Place(key(3), spec("SELL", limit="110"))
        ticket = await session.ticket(PlaceGroup(key(1), "oco", legs))
        session.exchange.faults.once("answer_lost", "group")
        with pytest.raises(OutcomeUnknown):
            await session.adapter.submit(ticket)
        ledger = fence in ("sequence", "height")
        whole = Ref(key(1), BTC, None, session.now(), (), (ticket,))
        for status in (VenueStatus.PENDING, VenueStatus.WORKING) if ledger else (VenueStatus.WORKING,):
            found = await session.adapter.lookup(whole)
            assert isinstance(found, Found)
            assert [(r.key, r.status) for r in found.reports] == [(key(2), status), (key(3), status)]  # type: ignore[union-attr]
            assert all(any(link.kind == "group" for link in r.links) for r in found.reports)  # type: ignore[union-attr]
            session.advance(2_000)

    scenario(Session(groups=ALL, fence=fence), play)


@pytest.mark.parametrize("cause", ["LIQUIDATION", "ADL", "SETTLEMENT"])
def test_what_the_exchange_does_by_itself_says_so(cause: str) -> None:
    """An order without a client id, filled from the account's own money, with the exchange as its origin."""
    desk = Desk()
    desk.order("BUY", "3", "90", "other")
    number = desk.exchange.force("main", BTC, "SELL", "2", cause)
    shown = desk.show({"id": number})

    assert (shown["origin"], shown["why"], shown["status"], shown["filled"]) == ("venue", cause, "FILLED", "2")
    assert "client" not in shown
    assert desk.balance("USD")[0] == 1_000_180
    with pytest.raises(ValueError, match="none of LIQUIDATION"):
        desk.exchange.force("main", BTC, "SELL", "2", "WHIM")
