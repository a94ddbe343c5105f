"""What holds orders back: halt, limits read in the attempt's own transaction, and a venue that says "too fast"."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from exchange_kernel.errors import AccountHalted, LimitExceeded
from exchange_kernel.models import IntentStatus, Limits
from exchange_kernel.state.ops import BindAccount
from tests.interleavings.desk import ACCOUNT, Desk, buy, play


@pytest.mark.parametrize("fault", ["answer_lost", "request_lost"])
def test_a_halt_while_an_attempt_is_unknown(fault: str) -> None:
    """What arrived is found and kept; what did not is proved dead and not sent again before the account resumes."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        desk.exchange.faults.once(fault, "order", ms=100)
        await process.kernel.place_order(buy(), "a")
        await desk.until(lambda: desk.exchange.faults.counts[fault])
        await process.kernel.halt(actor="op", reason="looks wrong")
        with pytest.raises(AccountHalted, match="looks wrong"):
            await process.kernel.place_order(buy(), "b")
        if fault == "answer_lost":
            await desk.reaches("a", IntentStatus.WORKING)
            await process.kernel.cancel_order("a")
            await desk.reaches("a", IntentStatus.CANCELED)
            return

        async def dead() -> bool:
            return (await desk.record("a")).live is None

        await desk.until(dead)
        await process.kernel.force_reconciliation()
        assert desk.orders() == []
        state = await process.kernel.get_order_state("a")
        assert "Halted" in {condition.type for condition in state.conditions}
        await process.kernel.resume(actor="op", reason="was nothing")
        await desk.reaches("a", IntentStatus.WORKING)
        assert len(desk.orders("a")) == 1

    play(scene)


@pytest.mark.parametrize("label", ["after prepare of place", "after commit of place"])
def test_a_halt_between_decision_and_send_keeps_the_order_back(label: str) -> None:
    """Halted in SQL it is not committed; committed before the halt it is not sent (R4)."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        hold = process.points.hold(label)
        await process.kernel.place_order(buy(), "a")
        await hold.reached()
        await process.kernel.halt(actor="op", reason="stop")
        hold.release()
        await process.kernel.force_reconciliation()
        assert desk.orders() == []
        assert desk.arrivals("a", 1) == 0
        await process.kernel.resume(actor="op", reason="go on")
        await desk.reaches("a", IntentStatus.WORKING)

    play(scene)


def test_a_halt_outlives_the_process_and_cancels_work_in_it() -> None:
    """It is durable: the next process is halted too; orders can be ended, not begun, not enlarged."""

    async def scene(desk: Desk) -> None:
        first = await desk.start()
        await first.kernel.place_order(buy(), "a")
        await first.kernel.place_order(buy(), "b")
        await desk.reaches("a", IntentStatus.WORKING)
        await desk.reaches("b", IntentStatus.WORKING)
        await first.kernel.halt(actor="op", reason="night")
        await first.kernel.stop()
        second = await desk.start()
        assert not (await second.kernel.health_check()).ready
        with pytest.raises(AccountHalted):
            await second.kernel.modify_order("a", buy("0.2"))
        await second.kernel.cancel_order("b")
        await desk.reaches("b", IntentStatus.CANCELED)
        assert await desk.status("a") is IntentStatus.WORKING
        kinds = await desk.kinds()
        assert kinds.count("AccountHalted") == 1

    play(scene)


def test_a_rate_limit_storm_delays_everything_and_loses_nothing() -> None:
    """For seconds the venue refuses whatever comes: each order and each cancel gets through in the end, once."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        await asyncio.gather(*(process.kernel.place_order(buy(), f"old{n}") for n in range(5)))
        for n in range(5):
            await desk.reaches(f"old{n}", IntentStatus.WORKING)
        desk.exchange.faults.set("rate_limit", 1.0, ms=(100, 900))
        await asyncio.gather(*(process.kernel.place_order(buy(), f"n{n}") for n in range(30)))
        await asyncio.gather(*(process.kernel.cancel_order(f"old{n}") for n in range(5)))
        await desk.until(lambda: desk.exchange.faults.counts["rate_limit"] > 100)
        assert len(desk.orders()) == 5
        desk.exchange.faults.clear()
        for n in range(30):
            await desk.reaches(f"n{n}", IntentStatus.WORKING)
            assert len(desk.orders(f"n{n}")) == 1
        for n in range(5):
            await desk.reaches(f"old{n}", IntentStatus.CANCELED)

    play(scene)


def limits(**given: object) -> Limits:
    """Limits of which only these are set."""
    return Limits(**given)  # type: ignore[arg-type]


def configured(desk: Desk, new: Limits) -> BindAccount:
    """The account's configuration as another process brings it."""
    return BindAccount(ACCOUNT, "paper", "paper:hall:desk", "paper", new)


TIGHT = {
    "max_order_notional": limits(max_order_notional=Decimal(1000)),
    "max_open_notional": limits(max_open_notional=Decimal(1000)),
    "symbols": limits(symbols=frozenset({"ETH/USD"})),
    "order_count": limits(order_count=1, order_period_ms=3_600_000),
}


@pytest.mark.parametrize("name", TIGHT)
def test_a_limit_changed_between_declaration_and_attempt_holds(name: str) -> None:
    """Limits are read in the transaction that commits the attempt: nothing is sent beyond them, whatever memory says;
    widened again, the order goes out."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        if name == "order_count":
            await desk.store.execute(configured(desk, TIGHT[name]))
            await process.kernel.place_order(buy("0.02"), "first")
            await desk.reaches("first", IntentStatus.WORKING)
        hold = process.points.hold("before commit of place")
        await process.kernel.place_order(buy(), "a")
        await hold.reached()
        await desk.store.execute(configured(desk, TIGHT[name]))
        hold.release()
        await process.kernel.force_reconciliation()
        await process.kernel.force_reconciliation()
        record = await desk.record("a")
        assert (record.attempts, desk.orders("a")) == ((), [])
        assert [(c.type, c.reason) for c in record.progress.conditions] == [("Limited", name)]
        await desk.store.execute(configured(desk, Limits()))
        await desk.reaches("a", IntentStatus.WORKING)
        assert (await desk.record("a")).progress.conditions == ()

    play(scene)


def test_halted_and_limited_are_told_apart() -> None:
    """A halt comes and goes over an order that a limit holds back; each says so by its own condition."""

    async def scene(desk: Desk) -> None:
        process = await desk.start(limits=TIGHT["max_open_notional"])

        async def held_by() -> set[str]:
            return {condition.type for condition in (await desk.record("a")).progress.conditions}

        async def limited() -> bool:
            return await held_by() == {"Limited"}

        async def both() -> bool:
            return await held_by() == {"Limited", "Halted"}

        await process.kernel.place_order(buy(), "a")
        await desk.until(limited)
        await process.kernel.halt(actor="op", reason="lunch")
        await desk.until(both)
        await process.kernel.resume(actor="op", reason="back")
        await desk.until(limited)
        assert desk.orders() == []

    play(scene)


@pytest.mark.parametrize("name", ["max_order_notional", "max_open_notional", "symbols"])
def test_an_order_beyond_a_limit_is_refused_when_it_is_declared(name: str) -> None:
    """The error names the limit, and nothing is written. Open notional alone depends on what else is open: it waits."""

    async def scene(desk: Desk) -> None:
        process = await desk.start(limits=TIGHT[name])
        if name == "max_open_notional":
            await process.kernel.place_order(buy(), "a")
            await process.kernel.force_reconciliation()
            assert desk.orders() == []
            return
        with pytest.raises(LimitExceeded, match=r"max_order_notional|allow-list"):
            await process.kernel.place_order(buy(), "a")
        assert await process.kernel.get_all_intents() == []

    play(scene)


def test_open_notional_is_freed_by_fills_and_cancels() -> None:
    """What waits goes out as soon as there is room, never before."""

    async def scene(desk: Desk) -> None:
        process = await desk.start(limits=limits(max_open_notional=Decimal(10_000)))
        names = [f"n{n}" for n in range(5)]
        for name in names:
            await process.kernel.place_order(buy("0.1"), name)
        most = 0

        def working() -> list[str]:
            nonlocal most
            live = [name for name in names if any(order.live for order in desk.orders(name))]
            most = max(most, len(live))
            return live

        for _ in names:
            live = await desk.until(working)
            await process.kernel.cancel_order(live[0])
            await desk.reaches(live[0], IntentStatus.CANCELED)
            names.remove(live[0])
            names.append(live[0])
        await desk.until(lambda: len(desk.orders()) == 5)
        assert most == 2

    play(scene)


def test_the_order_rate_is_kept_by_the_attempts_not_by_the_declarations() -> None:
    """Twelve orders are declared at once and sent four to a second; the venue's ledger has the times."""

    async def scene(desk: Desk) -> None:
        process = await desk.start(limits=limits(order_count=4, order_period_ms=1000))
        for n in range(12):
            await process.kernel.place_order(buy("0.01"), f"n{n}")
        await desk.until(lambda: len(desk.orders()) == 12)
        times = sorted(order.at for order in desk.orders())
        busiest = max(sum(start <= at < start + 1000 for at in times) for start in times)
        assert busiest <= 8, "a full bucket, and what it earned in the same second"
        assert times[-1] - times[0] >= 1_900

    play(scene)
