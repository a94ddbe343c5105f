"""Two processes, one account: the epoch fences every write, the venue's fence everything sent, and a zombie does no
harm."""

from __future__ import annotations

from decimal import Decimal

import pytest

from exchange_kernel.errors import ConfigError
from exchange_kernel.models import IntentStatus
from tests.interleavings.desk import SETTINGS, Desk, buy, play

PLACING = (
    "before prepare of place",
    "after prepare of place",
    "before commit of place",
    "after commit of place",
    "before submit of place",
    "before send of place",
    "after send of place",
    "after submit of place",
    "before record of place",
    "after record of place",
)


@pytest.mark.parametrize("label", PLACING)
def test_a_zombie_that_was_placing_does_nothing_after_the_takeover(label: str) -> None:
    """The owner stops for longer than its lease; another settles the order; then the first goes on where it was."""

    async def scene(desk: Desk) -> None:
        zombie = await desk.start()
        stopped = zombie.points.pause_at(label)
        await zombie.kernel.place_order(buy("0.5", "50010"), "a")
        await stopped.wait()
        heir = await desk.start(standby=True)
        await desk.until(lambda: heir.kernel._session.epoch > 0)  # type: ignore[union-attr]
        await desk.reaches("a", IntentStatus.FILLED)
        epoch = heir.kernel._session.epoch  # type: ignore[union-attr]
        zombie.points.go_on()
        await desk.until(lambda: zombie.kernel._session.epoch == 0)  # type: ignore[union-attr]
        await zombie.kernel.place_order(buy("0.2"), "b")
        await desk.reaches("b", IntentStatus.WORKING)
        lease = await desk.store.lease("desk")
        assert lease is not None
        assert lease.epoch == epoch
        assert [order.base for order in desk.orders("a") if order.status != "REJECTED"] == [Decimal("0.5")]

    play(scene)


@pytest.mark.parametrize("command", ["cancel", "amend"])
@pytest.mark.parametrize(
    "label", ["before commit of {}", "after commit of {}", "before send of {}", "after send of {}"]
)
def test_a_zombie_that_was_changing_an_order_does_nothing_after_the_takeover(label: str, command: str) -> None:
    """Its change is finished by the heir; going on, it neither undoes nor repeats it."""

    async def scene(desk: Desk) -> None:
        zombie = await desk.start()
        await zombie.kernel.place_order(buy("0.3"), "a")
        await desk.reaches("a", IntentStatus.WORKING)
        stopped = zombie.points.pause_at(label.format(command))
        if command == "cancel":
            await zombie.kernel.cancel_order("a")
        else:
            await zombie.kernel.modify_order("a", buy("0.4"))
        await stopped.wait()
        heir = await desk.start(standby=True)

        async def settled() -> bool:
            state = await heir.kernel.get_order_state("a")
            return state.status is IntentStatus.CANCELED or state.observed_generation == 2

        await desk.until(settled)
        if command == "amend":
            await heir.kernel.modify_order("a", buy("0.2"))

            async def again() -> bool:
                return (await heir.kernel.get_order_state("a")).observed_generation == 3

            await desk.until(again)
        zombie.points.go_on()
        await desk.until(lambda: zombie.kernel._session.epoch == 0)  # type: ignore[union-attr]
        await heir.kernel.force_reconciliation()
        [order] = desk.orders("a")
        if command == "cancel":
            assert order.status == "CANCELED"
        else:
            assert desk.exchange.engine.orders[order.id].amount == Decimal("0.2")

    play(scene)


def test_a_zombie_within_the_fence_sends_once_and_the_heir_finds_it() -> None:
    """Its ticket is in SQL and its window is open: the heir waits for the venue's word, and adopts what arrives."""

    async def scene(desk: Desk) -> None:
        zombie = await desk.start()
        stopped = zombie.points.pause_at("before send of place")
        await zombie.kernel.place_order(buy(), "a")
        await stopped.wait()
        heir = await desk.start(standby=True)
        await desk.until(lambda: heir.kernel._session.epoch > 0)  # type: ignore[union-attr]
        zombie.points.go_on()
        record = await desk.reaches("a", IntentStatus.WORKING)
        assert len(record.attempts) == 1
        assert desk.arrivals("a", 1) == 1

    play(scene, window_ms=20_000)


def test_an_abandoned_account_is_taken_over_within_the_lease_and_a_second() -> None:
    """L4: a standby process owns the account of a dead one soon after its lease has run out."""

    async def scene(desk: Desk) -> None:
        owner = await desk.start()
        owner.points.stop()
        died = desk.loop.time()
        heir = await desk.start(standby=True)
        await desk.until(lambda: heir.kernel._session.epoch > 0)  # type: ignore[union-attr]
        assert desk.loop.time() - died <= SETTINGS.lease_ms / 1000 + 1

    play(scene)


def test_a_second_process_is_refused_while_the_owner_lives_and_waits_as_standby() -> None:
    """Without ``standby`` the start fails and says who owns the account; the owner is not disturbed."""

    async def scene(desk: Desk) -> None:
        owner = await desk.start()
        other = desk.process()
        with pytest.raises(ConfigError, match="which renews its lease"):
            await other.kernel.start()
        epoch = owner.kernel._session.epoch  # type: ignore[union-attr]
        waiting = await desk.start(standby=True)
        await waiting.kernel.place_order(buy(), "a")
        await desk.reaches("a", IntentStatus.WORKING)
        assert owner.kernel._session.epoch == epoch  # type: ignore[union-attr]
        await owner.kernel.stop()
        await desk.until(lambda: waiting.kernel._session.epoch > epoch)  # type: ignore[union-attr]
        await waiting.kernel.cancel_order("a")
        await desk.reaches("a", IntentStatus.CANCELED)

    play(scene)
