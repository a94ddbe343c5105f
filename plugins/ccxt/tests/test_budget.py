"""Budgets in virtual time: what may leave, what must wait, and what answers correct."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from fractions import Fraction
from random import Random

import pytest

from exchange_kernel.errors import RateLimited
from exchange_kernel.testing.virtual import VirtualClock, run_virtual
from exchange_kernel_ccxt.budget import Booking, Budget, Cost, Rule
from exchange_kernel_ccxt.budget_pool import SharedBudget

WEIGHT = Rule("1M", "weight", 100, 60_000)
ORDERS = Rule("10S", "orders", 10, 10_000, "account")
EPOCH = 1_700_000_040_000  # a minute begins
"""Local time when the loop starts."""


def in_time(scene: Callable[[VirtualClock], Awaitable[None]]) -> None:
    async def play(loop: asyncio.AbstractEventLoop) -> None:
        await scene(VirtualClock(loop, EPOCH))

    run_virtual(play)


def refusal(budget: Budget, cost: Cost) -> RateLimited:
    with pytest.raises(RateLimited) as caught:
        budget.take(cost)
    return caught.value


def test_a_limit_is_kept_and_the_window_ends() -> None:
    """What would be too much is refused with the time at which it may leave, and then it may."""

    async def scene(clock: VirtualClock) -> None:
        budget = Budget([WEIGHT], clock, reserve=Fraction(0))
        await clock.sleep(20)
        for _ in range(10):
            budget.take(Cost(10))
        error = refusal(budget, Cost(1))
        assert (error.retry_at, error.scope, error.banned) == (EPOCH + 60_000, "ip", False)
        await clock.sleep(39.9)
        refusal(budget, Cost(1))
        await clock.sleep(0.2)
        assert refusal(budget, Cost(1)).retry_at == EPOCH + 120_000  # nothing was answered: it may be counted now

    in_time(scene)


def test_a_new_window_is_free_of_what_was_answered() -> None:
    """Answered requests belong to the window that has ended."""

    async def scene(clock: VirtualClock) -> None:
        budget = Budget([WEIGHT], clock, reserve=Fraction(0))
        budget.answered(budget.take(Cost(100)), {("weight", "1M"): 100})
        refusal(budget, Cost(1))
        await clock.sleep(60)
        budget.take(Cost(100))

    in_time(scene)


def test_cancels_and_lookups_have_a_reserve() -> None:
    """Ordinary requests leave a part of the weight alone; urgent ones may use it, up to the limit."""

    async def scene(clock: VirtualClock) -> None:
        budget = Budget([WEIGHT], clock, reserve=Fraction(1, 10))
        budget.take(Cost(90))
        refusal(budget, Cost(1))
        budget.take(Cost(10, urgent=True))
        refusal(budget, Cost(1, urgent=True))

    in_time(scene)


def test_a_process_keeps_to_its_share() -> None:
    """With a third of the address's limit a process uses a third, its reserve within it."""

    async def scene(clock: VirtualClock) -> None:
        budget = Budget([WEIGHT, ORDERS], clock, share=Fraction(1, 3))
        for _ in range(30):
            budget.take(Cost(1))
        refusal(budget, Cost(1))
        for _ in range(3):
            budget.take(Cost(1, urgent=True))
        assert refusal(budget, Cost(1, urgent=True)).scope == "ip"

    in_time(scene)


def test_the_venues_count_corrects_ours() -> None:
    """What other processes used shows in the answers; a request that is under way is counted on top."""

    async def scene(clock: VirtualClock) -> None:
        budget = Budget([WEIGHT], clock, reserve=Fraction(0))
        first, second = budget.take(Cost(10)), budget.take(Cost(10))
        budget.answered(first, {("weight", "1M"): 80})
        assert budget.used("weight", "1M") == 90
        refusal(budget, Cost(11))
        budget.answered(second, {("weight", "1M"): 75})  # overtaken on its way
        assert budget.used("weight", "1M") == 80
        budget.take(Cost(20))

    in_time(scene)


def test_orders_that_trade_give_their_count_back() -> None:
    """Of orders the count of the newest request holds, also where it is less."""

    async def scene(clock: VirtualClock) -> None:
        budget = Budget([ORDERS], clock)
        bookings = [budget.take(Cost(0, orders=1)) for _ in range(10)]
        assert refusal(budget, Cost(0, orders=1)).scope == "account"
        budget.answered(bookings[9], {("orders", "10S"): 4})
        budget.answered(bookings[0], {("orders", "10S"): 9})
        assert budget.used("orders", "10S") == 4 + 8

    in_time(scene)


def test_a_late_answer_does_not_fill_the_new_window() -> None:
    """The count of an answer that was made in the old window is not taken for the new one's."""

    async def scene(clock: VirtualClock) -> None:
        budget = Budget([WEIGHT], clock, reserve=Fraction(0))
        budget.answered(budget.take(Cost(85)), {("weight", "1M"): 85})
        late = budget.take(Cost(5))
        await clock.sleep(60)
        budget.answered(late, {("weight", "1M"): 90})
        assert budget.used("weight", "1M") == 5
        other = budget.take(Cost(5))
        budget.answered(other, {("weight", "1M"): 30})
        assert budget.used("weight", "1M") == 30

    in_time(scene)


def test_what_has_no_answer_counts_and_what_never_left_does_not() -> None:
    """A lost answer says nothing about the weight; a request that was not sent has none."""

    async def scene(clock: VirtualClock) -> None:
        budget = Budget([WEIGHT], clock, reserve=Fraction(0))
        budget.unanswered(budget.take(Cost(60)))
        unsent = budget.take(Cost(40))
        budget.never_sent(unsent)
        budget.never_sent(unsent)  # ended once
        assert budget.used("weight", "1M") == 60
        budget.take(Cost(40))

    in_time(scene)


def test_a_refusal_closes_everything() -> None:
    """After a 429 or 418 of the address nothing leaves, cancels included, before the venue allows it."""

    async def scene(clock: VirtualClock) -> None:
        budget = Budget([WEIGHT, ORDERS], clock)
        budget.refused(EPOCH + 90_000, "ip", banned=True)
        budget.refused(EPOCH + 30_000, "ip")  # an older word does not shorten it
        assert budget.closed_until == EPOCH + 90_000
        await clock.sleep(89.9)
        error = refusal(budget, Cost(1, urgent=True))
        assert (error.retry_at, error.banned) == (EPOCH + 90_000, True)
        await clock.sleep(0.2)
        budget.take(Cost(1))
        assert budget.closed_until == 0

    in_time(scene)


def test_too_many_orders_leave_cancels_free() -> None:
    """A refusal for the account's orders stops orders alone."""

    async def scene(clock: VirtualClock) -> None:
        budget = Budget([WEIGHT, ORDERS], clock)
        budget.refused(EPOCH + 10_000, "account")
        assert refusal(budget, Cost(1, orders=1)).retry_at == EPOCH + 10_000
        budget.take(Cost(1, urgent=True))
        budget.take(Cost(1))

    in_time(scene)


def test_windows_follow_the_venues_clock() -> None:
    """Its windows begin by its clock; as long as that is uncertain, the old one counts."""

    async def scene(clock: VirtualClock) -> None:
        budget = Budget([WEIGHT], clock, reserve=Fraction(0), offset=lambda: 15_000, error=lambda: 500)
        budget.answered(budget.take(Cost(100)), {("weight", "1M"): 100})
        error = refusal(budget, Cost(1))
        assert error.retry_at == EPOCH + 45_500
        await clock.sleep(45.4)
        refusal(budget, Cost(1))
        await clock.sleep(0.2)
        budget.take(Cost(1))

    in_time(scene)


class Counter:
    """A pool in memory, which can be down or slow."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock, self.used, self.down, self.asked = clock, dict[str, int](), "", 0

    async def lease(self, key: str, amount: int, most: int, ttl_ms: int) -> int:
        self.asked += 1
        if self.down == "slow":
            await self.clock.sleep(3600)
        if self.down:
            raise ConnectionError("no pool")
        granted = min(amount, max(0, most - self.used.get(key, 0)))
        self.used[key] = self.used.get(key, 0) + granted
        return granted


@pytest.mark.parametrize("seed", range(5))
def test_processes_share_by_leases(seed: int) -> None:
    """Three processes on one address use all of its limit, however uneven their load, and never more."""

    async def scene(clock: VirtualClock) -> None:
        pool, rng = Counter(clock), Random(seed)
        many = [SharedBudget(Budget([WEIGHT], clock, share=Fraction(1, 3)), pool, clock) for _ in range(3)]
        passed = [0, 0, 0]
        for _ in range(400):
            who = rng.choices(range(3), (8, 1, 1))[0]
            try:
                await many[who].take(Cost(1))
            except RateLimited:
                continue
            passed[who] += 1
        assert 84 <= sum(passed) <= 90
        assert passed[0] > 33
        for _ in range(20):
            try:
                await many[2].take(Cost(1, urgent=True))
            except RateLimited:
                continue
            passed[2] += 1
        assert 94 <= sum(passed) <= 100

    in_time(scene)


@pytest.mark.parametrize("down", ["refused", "slow"])
def test_without_its_pool_a_process_has_its_share(down: str) -> None:
    """A pool that does not answer is asked once per window, and the fixed share holds."""

    async def scene(clock: VirtualClock) -> None:
        pool = Counter(clock)
        pool.down = down
        shared = SharedBudget(Budget([WEIGHT], clock, share=Fraction(1, 4), reserve=Fraction(0)), pool, clock)
        for _ in range(25):
            shared.budget.answered(await shared.take(Cost(1)), {})
        with pytest.raises(RateLimited):
            await shared.take(Cost(1))
        assert pool.asked == 1
        assert clock.monotonic() < 1
        pool.down = ""
        await clock.sleep(60)
        for _ in range(50):
            shared.budget.answered(await shared.take(Cost(1)), {})
        assert len(asyncio.all_tasks()) == 1

    in_time(scene)


@pytest.mark.parametrize("seed", range(20))
def test_a_venue_is_never_asked_too_much(seed: int) -> None:
    """Requests at random, answers late and out of order, clocks apart: the venue never counts more than its limit."""

    async def scene(clock: VirtualClock) -> None:
        rng = Random(seed)
        skew, doubt = rng.randrange(-30_000, 30_000), 300
        # What was measured is off by less than is admitted.
        measured = skew + rng.randrange(-doubt, doubt)
        budget = Budget([WEIGHT], clock, reserve=Fraction(0), offset=lambda: measured, error=lambda: doubt)
        used: dict[int, int] = {}
        passed = 0

        async def send(booking: Booking) -> None:
            await clock.sleep(rng.random() * 2)
            number = (clock.now_ms() + skew) // WEIGHT.length_ms
            used[number] = used.get(number, 0) + booking.cost.weight
            assert used[number] <= WEIGHT.limit
            count = used[number]
            await clock.sleep(rng.random() * 2)
            budget.answered(booking, {("weight", "1M"): count})

        async with asyncio.TaskGroup() as group:
            for _ in range(3_000):
                await clock.sleep(rng.random() / 5)
                try:
                    booking = budget.take(Cost(rng.choice((1, 2, 5))))
                except RateLimited:
                    continue
                passed += booking.cost.weight
                group.create_task(send(booking))
        assert passed > 300
        assert max(used.values()) > 80

    in_time(scene)
