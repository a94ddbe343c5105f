"""The venue's dead-man switch: armed while the owner works, and what it cancels is ours, not drift (R22, R37)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from exchange_kernel.errors import ConfigError, Unavailable
from exchange_kernel.models import DeadManPolicy, IntentStatus
from tests.interleavings.desk import ACCOUNT, BTC, SETTINGS, Desk, buy, play
from tests.interleavings.test_foreign import by_hand
from tests.interleavings.venues import Switched

CANCELED, WORKING = IntentStatus.CANCELED, IntentStatus.WORKING
OFF = DeadManPolicy(20)
ALL = DeadManPolicy(20, cancels_everything=True)


class Guarded:
    """A desk whose account has a switch, and a kernel that keeps it armed."""

    def __init__(self, desk: Desk, policy: DeadManPolicy) -> None:
        self.desk, self.settings = desk, replace(SETTINGS, dead_man=policy)
        self.venue: Switched

    async def start(self, **more: Any) -> Any:
        def wrapped(adapter: Any) -> Switched:
            self.venue = Switched(adapter, self.desk.exchange, ACCOUNT, self.desk.clock.now_ms)
            return self.venue

        return await self.desk.start(adapter=wrapped, settings=self.settings, **more)

    async def told(self) -> list[tuple[str, bool, str]]:
        """What was told of the switch: component, well, reason."""
        events = await self.desk.store.events(ACCOUNT, 0, 10_000)
        health = [event for event in events if event.kind == "HealthChanged"]
        return [(e.component, e.healthy, e.reason) for e in health if e.component.startswith("dead_man")]  # type: ignore[attr-defined]


def guarded(policy: DeadManPolicy, scene: Callable[[Desk, Guarded], Awaitable[None]]) -> None:
    """Play the scene."""
    play(lambda desk: scene(desk, Guarded(desk, policy)))


def test_it_is_armed_while_the_owner_works_and_disarmed_at_a_stop() -> None:
    """Renewed well before it fires, for as long as it takes; orders rest on after a clean stop."""

    async def scene(desk: Desk, account: Guarded) -> None:
        process = await account.start()
        await desk.clock.sleep(60)
        assert account.venue.calls == []  # nothing rests that could be cancelled
        await process.kernel.place_order(buy(), "a")
        await desk.until(lambda: account.venue.due)
        await desk.clock.sleep(100)
        assert await desk.status("a") is WORKING
        assert len(account.venue.calls) >= 100 / (20 / 4 + 1)
        await process.kernel.stop()
        assert account.venue.calls[-1] == (None, frozenset({BTC}))
        await desk.clock.sleep(60)
        assert [order.live for order in desk.orders("a")] == [True]

    guarded(OFF, scene)


def test_an_owner_that_dies_takes_its_orders_with_it() -> None:
    """The process stops between two steps: the venue cancels; the next owner takes that for ours, and no drift."""

    async def scene(desk: Desk, account: Guarded) -> None:
        process = await account.start()
        await process.kernel.place_order(buy(), "a")
        await desk.until(lambda: account.venue.due)
        process.points.stop()
        await desk.until(lambda: not any(order.live for order in desk.orders("a")), 30)
        await desk.clock.sleep(15)
        await account.start()
        record = await desk.reaches("a", CANCELED)
        assert "dead-man" in record.progress.reason
        assert "DriftDetected" not in await desk.kinds("a")

    guarded(OFF, scene)


def test_an_owner_that_cannot_read_is_not_alive() -> None:
    """Open orders cannot be read any more: it is not renewed, says so, and what it cancels is ours."""

    async def scene(desk: Desk, account: Guarded) -> None:
        process = await account.start()
        await process.kernel.place_order(buy(), "a")
        await desk.until(lambda: account.venue.due)
        process.points.fail("before snapshot", Unavailable("down"), times=1_000)
        record = await desk.reaches("a", CANCELED, seconds=120)
        assert "dead-man" in record.progress.reason
        assert "DriftDetected" not in await desk.kinds("a")
        assert [(name, well) for name, well, _ in await account.told()][:1] == [("dead_man", False)]

    guarded(OFF, scene)


@pytest.mark.parametrize("way", ["mute", "failing"])
def test_an_answer_that_does_not_come_is_told_and_asked_for_again(way: str) -> None:
    """Three requests go unanswered, heard or not: it is armed again in time, and the condition is over then."""

    async def scene(desk: Desk, account: Guarded) -> None:
        process = await account.start()
        await process.kernel.place_order(buy(), "a")
        await desk.until(lambda: account.venue.due)
        setattr(account.venue, way, 3)
        await desk.clock.sleep(60)
        assert await desk.status("a") is WORKING
        told = await account.told()
        assert [(name, well) for name, well, _ in told] == [("dead_man", False), ("dead_man", True)]
        assert "not renewed: Unavailable: no answer" in told[0][2]
        state = await process.kernel.get_account_state()
        assert state.conditions == ()

    guarded(OFF, scene)


def test_a_symbol_with_somebody_elses_orders_is_not_armed() -> None:
    """It would cancel theirs, too: told with what to do about it, and armed as soon as they are gone."""

    async def scene(desk: Desk, account: Guarded) -> None:
        process = await account.start()
        by_hand(desk, "0.7")
        await process.kernel.force_reconciliation()
        await process.kernel.place_order(buy(), "a")
        await desk.reaches("a", WORKING)
        await desk.clock.sleep(30)
        assert account.venue.calls == []
        (condition,) = (await process.kernel.get_account_state()).conditions
        assert (condition.type, condition.reason) == ("dead_man", BTC)
        assert "somebody else" in condition.message
        assert "cancels_everything" in condition.message
        (theirs,) = (order for order in desk.orders() if order.live and order.most == Decimal("0.7"))
        request = {"op": "cancel", "symbol": BTC, "order": theirs.id, "ts": desk.clock.now_ms(), "window": 2000}
        desk.exchange.trade(ACCOUNT, request)
        await desk.until(lambda: account.venue.due)
        assert (await process.kernel.get_account_state()).conditions == ()

    guarded(OFF, scene)


def test_when_somebody_else_comes_it_is_disarmed() -> None:
    """Seen in the next snapshot, and off a second later: R22 holds while the owner lives."""

    async def scene(desk: Desk, account: Guarded) -> None:
        process = await account.start()
        await process.kernel.place_order(buy(), "a")
        await desk.until(lambda: account.venue.due)
        by_hand(desk, "0.7")
        await process.kernel.force_reconciliation()
        await desk.until(lambda: not account.venue.due, 3)
        assert account.venue.calls[-1] == (None, frozenset({BTC}))
        await process.kernel.stop()
        await desk.clock.sleep(60)
        assert len([order for order in desk.orders() if order.live]) == 2

    guarded(OFF, scene)


def test_who_says_that_everything_may_go_has_everything_cancelled() -> None:
    """With somebody else's order there it is armed all the same; when the owner dies both are gone."""

    async def scene(desk: Desk, account: Guarded) -> None:
        by_hand(desk, "0.7")
        process = await account.start()
        await process.kernel.place_order(buy(), "a")
        await desk.until(lambda: account.venue.due)
        process.points.stop()
        await desk.clock.sleep(40)
        assert not any(order.live for order in desk.orders())

    guarded(ALL, scene)


def test_left_at_a_stop_it_fires() -> None:
    """``at_stop: LEAVE``: the kernel is stopped, and its orders end when their time is over."""

    async def scene(desk: Desk, account: Guarded) -> None:
        process = await account.start()
        await process.kernel.place_order(buy(), "a")
        await desk.until(lambda: account.venue.due)
        await process.kernel.stop()
        assert any(order.live for order in desk.orders("a"))
        await desk.clock.sleep(30)
        assert not any(order.live for order in desk.orders("a"))
        await account.start()
        assert "dead-man" in (await desk.reaches("a", CANCELED)).progress.reason

    guarded(DeadManPolicy(20, at_stop="LEAVE"), scene)


def test_a_cancellation_by_hand_is_drift_though_a_switch_is_armed() -> None:
    """Long before it is due, so it was not the switch."""

    async def scene(desk: Desk, account: Guarded) -> None:
        process = await account.start()
        await process.kernel.place_order(buy(), "a")
        await desk.until(lambda: account.venue.due)
        [order] = desk.orders("a")
        request = {"op": "cancel", "symbol": BTC, "order": order.id, "ts": desk.clock.now_ms(), "window": 2000}
        desk.exchange.trade(ACCOUNT, request)
        record = await desk.reaches("a", CANCELED)
        assert "dead-man" not in record.progress.reason
        assert (await desk.kinds("a")).count("DriftDetected") == 1

    guarded(OFF, scene)


def test_a_venue_that_spares_nobody_is_not_armed() -> None:
    """Its switch is of the whole account: that is told, and nothing is armed."""

    async def scene(desk: Desk, account: Guarded) -> None:
        process = await account.start()
        account.venue.whole_account = True
        await process.kernel.place_order(buy(), "a")
        await desk.reaches("a", WORKING)
        await desk.until(account.told)
        assert "of the whole account only" in (await account.told())[0][2]

    guarded(OFF, scene)


def test_a_venue_without_a_switch_is_refused_at_the_start() -> None:
    """The configuration asks for what is not there: the account does not start, and says which setting it is."""

    async def scene(desk: Desk) -> None:
        with pytest.raises(ConfigError) as refused:
            await desk.start(settings=replace(SETTINGS, dead_man=OFF))
        assert refused.value.field == f"accounts.{ACCOUNT}.dead_man"

    play(scene, judged=False)
