"""The fences, proved from outside: whenever a look-up proves a ticket dead, no order of it ever appears afterwards."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange_kernel.errors import NoEffect, OutcomeUnknown, VenueError
from exchange_kernel.venue import Absent, Burn, Found, Slot
from exchange_kernel_paper.translate import client_id
from plugins.paper.tests.session import Session, key, passing, proves_dead, scenario, settle

weather = st.fixed_dictionaries(
    {
        "fence": st.sampled_from(["time_window", "sequence", "height"]),
        "read_lag_ms": st.sampled_from([0, 700]),
        "engine_delay_ms": st.sampled_from([0, 900]),
    }
)
arrivals = st.lists(
    st.tuples(st.sampled_from(["late", "delay", "engine_delay", "answer_lost"]), st.integers(0, 6_000)), max_size=3
)
looks = st.lists(st.integers(1, 1_500), min_size=4, max_size=12)


@settings(max_examples=200)
@given(weather, arrivals, looks, st.booleans(), st.integers(-40_000, 40_000))
def test_a_proved_death_is_for_ever(
    given_settings: dict[str, Any], faults: list[tuple[str, int]], pauses: list[int], burnt: bool, skew: int
) -> None:
    """Late and delayed copies, a slow engine, trailing reads, a local clock far off: a proof is never wrong."""

    async def play(session: Session) -> None:
        ref, ticket = await session.attempt(1)
        tickets = [ticket]
        copies = 1 if not ticket.fence.repeatable else 2
        for kind, ms in faults:
            session.exchange.faults.once(kind, "order", ms=ms)
        for _ in range(copies):
            try:
                await passing(session, session.adapter.submit(ticket), 2_000)
            except NoEffect:
                return  # told so: nothing to prove
            except VenueError:
                pass
        if burnt and given_settings["fence"] == "sequence":
            burn = await session.ticket(Burn(key(2), Slot(session.opened.identity, 0)), instead_of=ticket)
            tickets.append(burn)
            with suppress(VenueError):
                await session.adapter.submit(burn)
        session.exchange.faults.clear()
        session.exchange.faults.set("query_lag", 0.7, "find")
        ref = type(ref)(ref.key, ref.symbol, ref.spec, ref.placed_at, (), tuple(tickets))
        for pause in pauses:
            look = await session.adapter.lookup(ref)
            if isinstance(look, Absent) and proves_dead(ref, look):
                session.advance(60_000)
                assert session.exchange.ledger.orders_by_client_id(client_id(key(1))) == ()
                return
            if isinstance(look, Found):
                return
            session.advance(pause)

    scenario(Session(local_ms=skew, window_ms=2_000, **given_settings), play)


@settings(max_examples=60)
@given(weather, st.integers(0, 700))
def test_what_never_arrived_is_proved_dead_in_the_end(given_settings: dict[str, Any], lag: int) -> None:
    """Liveness: a lost request is provably dead once its window or its blocks have passed, or its number is burnt."""

    async def play(session: Session) -> bool:
        ref, ticket = await session.attempt(1)
        tickets = (ticket,)
        if given_settings["fence"] == "sequence":
            burn = await session.ticket(Burn(key(2), Slot(session.opened.identity, 0)))
            await session.adapter.submit(burn)
        session.exchange.faults.set("query_lag", 0.5, "find", ms=lag)
        session.advance(10_000)
        look = await session.adapter.lookup(type(ref)(ref.key, ref.symbol, ref.spec, ref.placed_at, (), tickets))
        assert isinstance(look, Absent)
        return proves_dead(ref, look)

    assert scenario(Session(**given_settings), play)


@pytest.mark.parametrize("what", ["engine_delay", "query_lag"])
def test_the_slack_covers_what_happens_between_the_check_and_the_sight_of_an_order(what: str) -> None:
    """In its window's last moment the order is let in; the engine is slow, or the read trails: absent, not dead."""

    async def play(session: Session) -> None:
        ref, ticket = await session.attempt(1)
        session.exchange.faults.once("late", "order", ms=1_990)
        if what == "engine_delay":
            session.exchange.faults.once("engine_delay", "order", ms=900)
        with pytest.raises(OutcomeUnknown):
            await session.adapter.submit(ticket)
        await settle()
        session.advance(2_400)
        if what == "query_lag":
            session.exchange.faults.once("query_lag", "find", ms=700)
        look = await session.adapter.lookup(ref)
        assert isinstance(look, Absent)
        assert not proves_dead(ref, look)
        session.advance(1_000)
        assert isinstance(await session.adapter.lookup(ref), Found)

    scenario(Session(window_ms=2_000, engine_delay_ms=900, read_lag_ms=700), play)
