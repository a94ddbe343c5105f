"""The kit in real time: against a process, through the fault proxy, with adapters that hang, and interrupted."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any, NoReturn

import pytest

from exchange_kernel.testing.conformance import Case, Harness, Report, all_cases, run_cases
from exchange_kernel.testing.conformance.bench import Bench
from exchange_kernel.testing.conformance.run import run_case
from exchange_kernel.venue import Cancel, Lookup, Place, Prep, Ref, VenueAdapter
from exchange_kernel_paper.adapter import PaperAdapter
from tests.conformance.real import PaperProcess, RealHarness

CASES = {case.id: case for case in all_cases()}
LONGEST_S = 240
"""On cores that others use as well; alone it takes less than two minutes."""


@pytest.fixture(scope="module")
def process() -> Iterator[PaperProcess]:
    """A venue."""
    with PaperProcess() as running:
        yield running


def made(check: Any) -> Case:
    """A case of a test's own."""
    return Case("OWN-01", "a test's own", "lifecycle", "bronze", "", (), (), check, "A test's own.")


class Harsh(RealHarness):
    """A few seconds for each case."""

    limit_s = 2.0


class Hangs(PaperAdapter):
    """Waits for what never comes, and will not be told to stop."""

    async def lookup(self, ref: Ref) -> Lookup:
        return await self.nothing_comes()

    async def nothing_comes(self) -> NoReturn:
        """Not even when it is cancelled."""
        while True:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                continue


class Blocks(PaperAdapter):
    """Sleeps in the event loop."""

    async def lookup(self, ref: Ref) -> Lookup:
        time.sleep(60)  # noqa: ASYNC251 - that is the mistake
        return await super().lookup(ref)


class Broken(Harsh):
    """The venue through a broken adapter; the sweeper, which comes after the case, gets the same one."""

    kind_of: type[PaperAdapter] = Hangs

    def adapter(self) -> VenueAdapter:
        return self.kind_of()


class Blocked(Broken):
    """Through one that blocks."""

    kind_of = Blocks


def test_every_case_passes_in_real_time(process: PaperProcess) -> None:
    """All of the kit against a process, real sockets, the machine's clock, faults by the proxy: nothing fails, nothing
    is missing, nothing rests afterwards, and it is soon over."""
    began = time.monotonic()
    results = run_cases(CASES.values(), partial(RealHarness, process))
    took = time.monotonic() - began
    wrong = [result for result in results if result.status not in ("passed", "unsupported")]

    assert not wrong
    assert sum(result.status == "passed" for result in results) > 100
    assert Report("paper", "kit", "plugin", tuple(results), {}).grade(tuple(CASES.values())) == "gold"
    assert not process.live()
    assert took < LONGEST_S


def test_a_chain_passes_in_real_time() -> None:
    """Blocks that come by themselves: the cases of chains, of bans and of immediate execution on numbered
    transactions."""
    chosen = [case for case in CASES.values() if case.group == "chain" or case.id in ("RATE-05", "FILL-11", "CXL-02")]
    with PaperProcess(fence="sequence") as running:
        results = run_cases(chosen, partial(RealHarness, running))

        assert {result.id: result.reason for result in results if result.status != "passed"} == {}
        assert not running.live()


def test_a_hung_adapter_fails_its_case_with_its_stack_and_the_next_one_runs(process: PaperProcess) -> None:
    """Told after the case's own time, with the line on which it waits, though it swallows its cancellation."""
    hung = run_case(CASES["CXL-01"], Broken(process))

    assert hung.status == "failed"
    assert "did not end within 2 s" in hung.reason
    assert "in nothing_comes: await asyncio.get_running_loop().create_future()" in hung.reason
    assert not process.live()
    assert run_case(CASES["CXL-01"], RealHarness(process)).status == "passed"


def test_a_blocked_loop_is_freed_and_told_with_the_stack(process: PaperProcess) -> None:
    """Where nothing else can run a clock of the system ends it, and the next case runs."""
    blocked = run_case(CASES["CXL-01"], Blocked(process))

    assert blocked.status == "failed"
    assert "the event loop was blocked" in blocked.reason
    assert "in lookup: time.sleep(60)" in blocked.reason
    assert not process.live()
    assert run_case(CASES["CXL-01"], RealHarness(process)).status == "passed"


def test_an_interrupted_case_leaves_no_order(process: PaperProcess) -> None:
    """Ctrl-C while orders rest: they are cancelled before the interruption goes on to whoever runs the kit."""
    live: list[int] = []

    async def interrupted(bench: Bench) -> None:
        await bench.put()
        await bench.put(bench.harness.resting(2))
        live.append(sum(order.live for order in await bench.harness.truth()))
        os.kill(os.getpid(), signal.SIGINT)
        await bench.clock.sleep(60)

    with pytest.raises(KeyboardInterrupt):
        run_cases([made(interrupted)], partial(RealHarness, process))

    assert live == [2]
    assert not process.live()


def test_a_crashed_case_leaves_no_order(process: PaperProcess) -> None:
    """Neither those its bench knows of, nor a stranger's that the harness placed for it."""

    async def crashes(bench: Bench) -> None:
        await bench.put()
        await bench.stranger()
        raise RuntimeError("boom")

    result = run_case(made(crashes), RealHarness(process))

    assert (result.status, result.reason) == ("failed", "RuntimeError: boom")
    assert not process.live()


def test_an_order_that_a_case_forgets_is_swept(process: PaperProcess) -> None:
    """The venue's truth decides what rests, not the bench's memory: here an order is sent past it, on two accounts."""

    async def forgets(bench: Bench) -> None:
        second, _ = await bench.another("second")
        for adapter in (bench.adapter, second):
            prep = Prep(bench.clock.now_ms(), 2**62, lambda scope: bench.fail(f"a number of {scope}"))
            ticket = await adapter.prepare(Place(bench.key(), bench.harness.resting()), prep)
            await adapter.submit(ticket)  # type: ignore[arg-type]

    assert run_case(made(forgets), RealHarness(process)).status == "passed"
    assert not process.live()


class CannotCancel(RealHarness):
    """Through an adapter whose cancels do nothing."""

    def adapter(self) -> VenueAdapter:
        return _NoCancels()


class _NoCancels(PaperAdapter):
    async def prepare(self, command: Any, prep: Prep) -> Any:
        if isinstance(command, Cancel):
            raise RuntimeError("no cancels today")
        return await super().prepare(command, prep)


def test_what_cannot_be_swept_is_told(process: PaperProcess) -> None:
    """A case that would have passed fails, and names the order that rests at the venue."""

    async def leaves(bench: Bench) -> None:
        await bench.put()

    result = run_case(made(leaves), CannotCancel(process))
    left = process.live()

    assert result.status == "failed"
    assert "no cancels today" in result.reason
    assert len(left) == 1
    assert f"value='{left[0]['id']}'" in result.reason
    process.cancel_all()
    assert not process.live()


def test_a_blocked_loop_in_another_thread_is_nobodys_business(process: PaperProcess) -> None:
    """Signals belong to the main thread: elsewhere the cases run all the same, with their own limit."""
    results: list[Any] = []
    harness: Harness = RealHarness(process)
    thread = threading.Thread(target=lambda: results.append(run_case(CASES["LIFE-01"], harness)))
    thread.start()
    thread.join()

    assert [result.status for result in results] == ["passed"]
