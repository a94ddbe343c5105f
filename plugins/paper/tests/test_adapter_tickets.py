"""Tickets: what is in them, which fence they carry, and that nothing happens before they are sent."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange_kernel.errors import InvalidOrder, NotSent, UnknownTarget, Unsupported
from exchange_kernel.schema import AmountType, TimeInForce
from exchange_kernel.venue import (
    FOREVER,
    Amend,
    Burn,
    Cancel,
    CancelAll,
    Enable,
    Fence,
    HeightEnd,
    Money,
    Place,
    PlaceGroup,
    Ref,
    Settle,
    Slot,
    SlotEnd,
    Ticket,
    TimeEnd,
)
from exchange_kernel_paper.tickets import read_body
from exchange_kernel_paper.translate import client_id, key_of
from plugins.paper.tests.session import BTC, Session, key, scenario, spec

FENCES = ("time_window", "sequence", "height", "permanent_key", "none")
NOW = 1_700_000_000_000
HEAD = NOW // 500
ME = "paper:test:main"


async def all_tickets(session: Session) -> dict[str, Ticket]:
    """A ticket of every command the fence allows."""
    ref, place = await session.attempt(1)
    known = replace(ref, ids=((await session.place(2))[0].ids) or ref.ids)
    tickets = {"order": place, "cancel_all": await session.ticket(CancelAll(key(5), BTC))}
    if session.opened.scopes or known.ids or session.exchange.settings.fence != "none":
        tickets["cancel"] = await session.ticket(Cancel(key(6), known))
    if session.exchange.settings.fence != "none":
        tickets["amend"] = await session.ticket(Amend(key(7), known, spec(amount="2")))
    return tickets


@pytest.mark.parametrize(
    ("fence", "expected"),
    [
        ("time_window", Fence(False, (TimeEnd(NOW + 2_000, "venue", 250 + 300 + 700),))),
        ("sequence", Fence(True, (SlotEnd(Slot(ME, 0)),), "ledger")),
        ("height", Fence(True, (HeightEnd(HEAD + 4),), "ledger")),
        ("permanent_key", Fence(True, ())),
        ("none", Fence(False, ())),
    ],
)
def test_each_preset_has_the_fence_of_the_contract(fence: str, expected: Fence) -> None:
    """Repeatability and ends as in CONTRACT's table; the slack covers engine delay, read lag and late timers."""
    delays = {"engine_delay_ms": 300, "read_lag_ms": 700} if fence == "time_window" else {}

    async def play(session: Session) -> Fence:
        return (await session.attempt(1))[1].fence

    assert scenario(Session(fence=fence, **delays), play) == expected


@pytest.mark.parametrize(
    ("fence", "repeatable"),
    [
        ("time_window", {"order": False, "amend": False, "cancel": True, "cancel_all": False}),
        ("sequence", dict.fromkeys(("order", "amend", "cancel", "cancel_all"), True)),
        ("height", dict.fromkeys(("order", "amend", "cancel", "cancel_all"), True)),
        ("permanent_key", dict.fromkeys(("order", "amend", "cancel", "cancel_all"), True)),
        ("none", {"order": False, "cancel": True, "cancel_all": False}),
    ],
)
def test_only_harmless_copies_are_called_repeatable(fence: str, repeatable: dict[str, bool]) -> None:
    """A cancel names one order for ever; a cancel-all would hit orders that come later."""
    tickets = scenario(Session(fence=fence), all_tickets)
    assert {name: ticket.fence.repeatable for name, ticket in tickets.items()} == repeatable


@pytest.mark.parametrize("fence", FENCES)
def test_preparing_has_no_effect_at_the_venue(fence: str) -> None:
    """Reads at most: no request to change anything arrives, no order exists."""

    async def play(session: Session) -> None:
        await session.attempt(1)
        await session.ticket(CancelAll(key(3), None))
        assert session.exchange.ledger.entries == []

    scenario(Session(fence=fence), play)


@pytest.mark.parametrize("fence", FENCES)
def test_everything_that_counts_is_in_the_signed_body_and_no_secret_is(fence: str) -> None:
    """What, at what price, until when, for whom; the bytes are small and their signature is the last line."""

    async def play(session: Session) -> dict[str, Ticket]:
        return await all_tickets(session)

    tickets = scenario(Session(fence=fence), play)
    body = read_body(tickets["order"])
    assert body["account"] == "main"
    assert {k: body[k] for k in ("op", "symbol", "side", "amount", "limit", "tif")} == {
        "op": "order",
        "symbol": BTC,
        "side": "BUY",
        "amount": "1",
        "limit": "100",
        "tif": "GTC",
    }
    for ticket in tickets.values():
        assert b"paper" not in ticket.body.lower().replace(b'"account":"main"', b"")  # the default secret
        assert len(ticket.body) < 1_000
        assert (ticket.codec, ticket.identity) == ("paper/1", ME)


def test_a_dry_ticket_is_unsigned_and_cannot_be_sent() -> None:
    """`dry` shows fence and outlay only."""

    async def play(session: Session) -> None:
        ticket = await session.ticket(Place(key(1), spec()), dry=True)
        assert (ticket.body, ticket.outlay) == (b"", (Money("USD", Decimal(100)),))
        with pytest.raises(NotSent):
            await session.adapter.submit(ticket)

    scenario(Session(), play)


@pytest.mark.parametrize("change", [{"identity": "paper:test:other"}, {"codec": "paper/2"}, {"send_before": NOW - 1}])
def test_a_ticket_of_another_account_codec_or_time_is_never_sent(change: dict[str, Any]) -> None:
    """NotSent, and the venue never hears of it."""

    async def play(session: Session) -> None:
        _, ticket = await session.attempt(1)
        with pytest.raises(NotSent):
            await session.adapter.submit(replace(ticket, **change))
        assert session.exchange.ledger.entries == []

    scenario(Session(), play)


def test_tickets_are_sent_well_before_their_window_ends_and_never_after_the_kernel_gave_up() -> None:
    """Three quarters of the window, or the kernel's own deadline where that is earlier."""

    async def play(session: Session) -> None:
        assert (await session.attempt(1))[1].send_before == NOW + 1_500
        assert (await session.ticket(Place(key(2), spec()), give_up=NOW + 10)).send_before == NOW + 10

    scenario(Session(window_ms=2_000), play)


def test_the_timestamp_is_in_the_venues_time() -> None:
    """With a local clock 30 s off the order still arrives inside its window, and the fence ends in venue time."""

    async def play(session: Session) -> None:
        _, ack = await session.place(1)
        assert (session.opened.clock_offset, ack.stage) == (-30_000, "decided")
        _, ticket = await session.attempt(2)
        assert ticket.fence.ends == (TimeEnd(NOW + 2_000, "venue", 250),)
        assert ticket.send_before == NOW + 30_000 + 1_500

    scenario(Session(local_ms=30_000), play)


@pytest.mark.parametrize(
    ("fence", "horizon"),
    [("time_window", 3_250), ("height", 2_500), ("sequence", None), ("permanent_key", None), ("none", None)],
)
def test_the_horizon_is_the_longest_life_of_a_ticket(fence: str, horizon: int | None) -> None:
    """Window, clock tolerance and slack; blocks times their duration; or no limit at all."""

    async def play(session: Session) -> int | None:
        return session.opened.horizon

    assert scenario(Session(fence=fence), play) == horizon


def test_client_ids_are_reversible_renderings_of_keys() -> None:
    """Whatever is not exactly such a rendering is nobody's key."""
    assert key_of(client_id(key(77))) == key(77)
    for foreign in ("exk", "exkzz", "exk0", "exkAB", "exk ab", "other", "EXKab", "exkab "):
        assert key_of(foreign) is None


@given(st.binary(min_size=1, max_size=32))
def test_every_key_comes_back_from_its_client_id(some: bytes) -> None:
    """For all keys."""
    assert key_of(client_id(some)) == some


# check ----------------------------------------------------------------------------------------------------------


def checked(order: Any, was: Any = None, **settings: Any) -> Any:
    """The preview of an order."""

    async def play(session: Session) -> Any:
        return session.adapter.check(order, was)

    return scenario(Session(**settings), play)


@pytest.mark.parametrize(
    ("side", "amount", "limit", "sent"),
    [
        ("BUY", "1.00019", "100.019", ("1.0001", "100.01")),
        ("SELL", "1.00019", "100.011", ("1.0001", "100.02")),
        ("BUY", "1", "100", ("1", "100")),
    ],
)
def test_rounding_never_makes_an_order_worse(side: str, amount: str, limit: str, sent: tuple[str, str]) -> None:
    """Amounts down; a buy never higher, a sell never lower."""
    preview = checked(spec(side, amount, limit))
    assert (preview.spec.amount, preview.spec.limit) == tuple(map(Decimal, sent))


@given(
    side=st.sampled_from(["BUY", "SELL"]),
    amount=st.decimals("0.2", "500", places=8),
    limit=st.decimals("60", "100000", places=6),
    unit=st.sampled_from(list(AmountType)),
)
def test_what_is_previewed_is_sent_and_never_costs_more(
    side: str, amount: Decimal, limit: Decimal, unit: AmountType
) -> None:
    """The body is the preview; price and amount are never worse than the spec; the outlay is never exceeded."""
    order = spec(side, str(amount * 100 if unit is AmountType.QUOTE else amount), str(limit), amount_in=unit)

    async def play(session: Session) -> None:
        preview = session.adapter.check(order)
        body = read_body(await session.ticket(Place(key(1), order)))
        assert (Decimal(body["amount"]), Decimal(body["limit"])) == (preview.spec.amount, preview.spec.limit)
        assert preview.spec.limit is not None
        assert preview.spec.amount <= order.amount
        assert preview.spec.limit <= limit if side == "BUY" else preview.spec.limit >= limit
        before = {asset: balance.free for asset, balance in session.exchange.account("main").balances.items()}
        _, ack = await session.place(2, order)
        assert ack.stage == "decided"
        [outlay] = preview.outlay
        held = session.exchange.account("main").balance(outlay.asset)
        assert before[outlay.asset] - held.free <= outlay.amount

    session = Session(taker_fee="0.001", maker_fee="0.0005")
    session.exchange.open_account("main", "paper", {"USD": "1000000000000", "BTC": "1000000000"})
    scenario(session, play)


@pytest.mark.parametrize(
    ("change", "feature"),
    [
        ({"reduce_only": True}, "reduce_only"),
        ({"leg": "LONG"}, "hedge_legs"),
        ({"symbol": "NEW/USD", "side": "SELL", "limit": "2.5", "amount": "10"}, "side SELL"),
    ],
)
def test_what_the_venue_lacks_is_unsupported(change: dict[str, Any], feature: str) -> None:
    """Named, so that the kernel can emulate or refuse."""
    with pytest.raises(Unsupported) as caught:
        checked(spec(**change))
    assert caught.value.feature == feature


@pytest.mark.parametrize(
    "change",
    [
        {"symbol": "DOGE/USD"},
        {"amount": "0.00001"},
        {"amount": "2000000"},
        {"amount": "0.01", "limit": "100"},
        {"limit": "0.001"},
        {"limit": None, "post_only": True},
        {"tif": TimeInForce.IOC, "post_only": True},
        {"tif": TimeInForce.GTD},
        {"until": 5},
        {"display": Decimal("0.00001")},
        {"limit": None, "display": Decimal(1)},
    ],
)
def test_orders_the_venue_would_refuse_are_refused_before_anything_is_written(change: dict[str, Any]) -> None:
    """By `check`, with the field's name."""
    with pytest.raises(InvalidOrder) as caught:
        checked(spec(**change))
    assert caught.value.field in str(caught.value)


def test_a_preview_names_what_the_order_uses() -> None:
    """Only capabilities the order needs, each with its level."""
    preview = checked(spec(amount="2", post_only=True, display=Decimal(1), tif=TimeInForce.DAY))
    assert {name: support.level.value for name, support in preview.uses.items()} == dict.fromkeys(
        ("limit", "amount_base", "day", "post_only", "iceberg"), "native"
    )
    market = checked(spec(limit=None))
    assert (set(market.uses), len(market.warnings), market.outlay) == ({"market", "amount_base"}, 1, ())


@pytest.mark.parametrize(
    ("mode", "after", "uses"),
    [
        ("full", spec(amount="2"), {"amend_up"}),
        ("full", spec(amount="0.5", limit="101"), {"amend_price", "amend_down"}),
        ("down", spec(amount="0.5"), {"amend_down"}),
        ("down", spec(amount="2"), None),
        ("down", spec(limit="101"), None),
        ("off", spec(amount="0.5"), None),
        ("full", spec(side="SELL"), None),
        ("full", spec(tif=TimeInForce.DAY), None),
        ("full", spec(limit=None), None),
    ],
)
def test_amendments_are_what_the_configuration_allows(mode: str, after: Any, uses: set[str] | None) -> None:
    """Everything else is Unsupported, and the kernel cancels and places again."""
    if uses is None:
        with pytest.raises(Unsupported):
            checked(after, spec(), amend=mode)
    else:
        preview = checked(after, spec(), amend=mode)
        assert {name for name in preview.uses if name.startswith("amend")} == uses


def test_without_client_ids_there_is_no_amend() -> None:
    """Nobody could tell whether an unanswered one arrived."""
    with pytest.raises(Unsupported):
        checked(spec(amount="0.5"), spec(), fence="none")


@pytest.mark.parametrize(
    "command",
    [
        PlaceGroup(key(1), "oco", ()),
        Settle(key(1), Ref(key(2), BTC, None, 0)),
        Enable(key(1), "allowance", {}),
        Burn(key(1), Slot(ME, 0)),
    ],
)
def test_commands_without_an_operation_are_unsupported(command: Any) -> None:
    """Refused in `prepare`, before anything is signed."""

    async def play(session: Session) -> None:
        with pytest.raises(Unsupported):
            await session.adapter.prepare(command, session.prep())

    scenario(Session(), play)


def test_a_cancel_without_any_id_cannot_be_made_where_the_venue_has_no_client_ids() -> None:
    """Only the answer to the order would have named it."""

    async def play(session: Session) -> None:
        ref, _ = await session.attempt(1)
        with pytest.raises(UnknownTarget):
            await session.adapter.prepare(Cancel(key(2), ref), session.prep())

    scenario(Session(fence="none"), play)


# sequence numbers -----------------------------------------------------------------------------------------------


def test_numbers_come_only_from_the_kernel() -> None:
    """One `take` per ticket, and the number in the body is the number in the fence."""

    async def play(session: Session) -> None:
        tickets = [(await session.attempt(number))[1] for number in (1, 2)]
        assert [ticket.slot for ticket in tickets] == [Slot(ME, 0), Slot(ME, 1)]
        assert [read_body(ticket)["number"] for ticket in tickets] == [0, 1]
        assert session.opened.scopes[0].rule == "gapless"

    scenario(Session(fence="sequence"), play)


@pytest.mark.parametrize("what", ["cancel", "amend", "burn", "bump"])
def test_a_replacement_uses_the_same_number_and_beats_the_fee(what: str) -> None:
    """Of a ticket and its replacement only one is ever executed: here the replacement."""

    async def play(session: Session) -> None:
        ref, place = await session.attempt(1)
        await session.adapter.submit(place)
        command: Any = {
            "cancel": Cancel(key(2), ref),
            "amend": Amend(key(2), ref, spec(amount="3")),
            "burn": Burn(key(2), Slot(ME, 0)),
            "bump": Place(key(1), spec()),
        }[what]
        ticket = await session.ticket(command, instead_of=place)
        assert ticket.slot == place.slot
        assert Decimal(read_body(ticket)["fee"]) > Decimal(read_body(place)["fee"])
        assert (await session.adapter.submit(ticket)).stage == "held"
        session.advance(500)
        orders = session.exchange.ledger.orders_by_client_id(client_id(key(1)))
        assert [str(order.most) for order in orders] == {"amend": ["3"], "bump": ["1"]}.get(what, [])

    scenario(Session(fence="sequence"), play)


def test_a_replacement_is_refused_where_there_are_no_numbers() -> None:
    """Both tickets could execute."""

    async def play(session: Session) -> None:
        ref, place = await session.attempt(1)
        with pytest.raises(NotSent):
            await session.adapter.prepare(Cancel(key(2), ref), session.prep(instead_of=place))

    scenario(Session(fence="height"), play)


def test_a_ledger_ticket_says_what_its_fee_may_be() -> None:
    """The network fee is part of the outlay; there is no deadline to send it by."""

    async def play(session: Session) -> None:
        _, ticket = await session.attempt(1)
        assert ticket.outlay == (Money("USD", Decimal(100)), Money("USD", Decimal("0.01")))
        assert ticket.send_before == session.now() + 30_000 < FOREVER

    scenario(Session(fence="sequence"), play)


def test_adapters_of_one_exchange_share_nothing() -> None:
    """Two sessions, two accounts, two identities; neither sees the other's orders."""

    async def play(session: Session) -> None:
        other = Session()
        other.exchange, other.registry, other.clock = session.exchange, session.registry, session.clock
        opened = await other.adapter.open(other.context(account="second"))
        assert (opened.identity, session.opened.identity) == ("paper:test:second", ME)
        await session.place(1)
        assert (await other.adapter.open_orders(None)).reports == ()
        await other.adapter.close()

    asyncio.run(_opened(play))


async def _opened(play: Any) -> None:
    async with Session() as session:
        await play(session)
