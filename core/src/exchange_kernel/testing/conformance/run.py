"""Runs cases: each in an event loop of its own, with a new harness, in its time, swept and closed, leaving nothing."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, cast

from exchange_kernel.testing.conformance.attempts import Missing
from exchange_kernel.testing.conformance.bench import Bench, Inapplicable
from exchange_kernel.testing.conformance.harness import Harness
from exchange_kernel.testing.conformance.overtime import Blocked, never_longer, waits_at
from exchange_kernel.testing.conformance.registry import Case
from exchange_kernel.testing.conformance.report import Result, Status
from exchange_kernel.testing.conformance.surroundings import as_it_was, surroundings
from exchange_kernel.testing.conformance.sweeping import rests, sweep, sweep_anew

LEAVING_S = 30.0
"""Longest time to sweep and close after a case that did not end well, in the harness' own time."""
GRACE_S = 2.0
"""How long what is cancelled may take to end."""


def run_case(case: Case, harness: Harness) -> Result:
    """Run one case. Never raises for what the adapter does; an interruption is raised once everything is swept."""
    began = time.perf_counter()
    missing = case.missing(harness)
    if missing and not case.features:
        harness.loop().close()
        return Result(case.id, "missing", missing)
    with as_it_was():
        run = _Run(case, harness)
        status, reason = run.verdict()
    return Result(case.id, status, reason, time.perf_counter() - began)


def run_cases(
    cases: Iterable[Case],
    make: Callable[[], Harness],
    deviations: Mapping[str, str] | None = None,
    progress: Callable[[Result], None] | None = None,
) -> list[Result]:
    """Run cases one after the other, each with a new harness. ``deviations``: id to the reason why it fails here.

    A declared deviation that passes is a failure: the note has to go.
    """
    out = []
    for case in cases:
        result = judged(run_case(case, make()), deviations or {})
        out.append(result)
        if progress is not None:
            progress(result)
    return out


def judged(result: Result, deviations: Mapping[str, str]) -> Result:
    """The result in the light of what the author declared."""
    why = deviations.get(result.id)
    if why is None:
        return result
    if not why.strip():
        return Result(result.id, "failed", "a deviation needs a reason", result.seconds)
    if result.status == "failed":
        return Result(result.id, "deviation", f"{why} ({result.reason})", result.seconds)
    if result.status == "passed":
        return Result(result.id, "failed", f"declared as a deviation ({why}), and passes: remove it", result.seconds)
    return result


class _Run:
    """One case, from the venue's start to its stop. What it began is ended whichever way it goes."""

    def __init__(self, case: Case, harness: Harness) -> None:
        self._case, self._harness = case, harness
        self._bench = Bench(harness, case.id)
        self._loop = harness.loop()
        self._started = self._swept = False
        self._cases: list[asyncio.Task[Any]] = []

    def verdict(self) -> tuple[Status, str]:
        """Run it, leave, and say what came of it."""
        asyncio.set_event_loop(self._loop)
        interrupted: KeyboardInterrupt | None = None
        try:
            status, reason = self._within(self._harness.limit_s, self._judged())
        except AssertionError as error:
            status, reason = "failed", str(error) or "an assertion failed"
        except Blocked as blocked:
            status, reason = "failed", f"the event loop was blocked, and nothing else could run:\n{blocked}"
        except KeyboardInterrupt as error:
            interrupted, status, reason = error, "failed", "interrupted"
        except Exception as error:  # noqa: BLE001 - an adapter may raise anything, and the next case must run
            status, reason = "failed", f"{type(error).__name__}: {error}"
        left = self._leave()
        if interrupted is not None:
            if left:
                interrupted.add_note(f"{self._case.id}: {left}")
            raise interrupted
        if left and status in ("passed", "unsupported", "missing"):
            return "failed", left
        return status, f"{reason}; {left}" if left else reason

    async def _judged(self) -> tuple[Status, str]:
        self._started = True
        await self._harness.start()
        verdict = await _judge(self._case, self._bench)
        self._swept = True
        await self._bench.close()
        return verdict

    def _leave(self) -> str:
        """End and sweep everything; what could not be, or ""."""
        left = ""
        try:
            # Only what the case itself was doing: what else runs may be the harness', and is needed yet.
            _end_tasks(self._loop, self._cases)
            if self._started:
                left = self._within(LEAVING_S, self._left())
        except (Exception, Blocked) as error:  # noqa: BLE001 - what the case found is the news, this only adds to it
            left = f"afterwards {type(error).__name__}: {error}"
        finally:
            try:
                _close(self._loop)
            except Blocked as blocked:
                left += f"; its tasks end not:\n{blocked}"
            finally:
                asyncio.set_event_loop(None)
        return left

    async def _left(self) -> str:
        bench, left = self._bench, ""
        try:
            if not self._swept and bench.found_there:
                try:
                    async with asyncio.timeout(LEAVING_S / 2):
                        await sweep_anew(bench)
                except Exception as error:  # noqa: BLE001 - it may be what the case has found; what rests is told
                    resting = await rests(bench)
                    if resting:
                        left = f"left behind, since {type(error).__name__}: {error}; at the venue rest {resting!r}"
            try:
                await bench.close()
            except Exception as error:  # noqa: BLE001 - the same
                left = left or (f"close() raised {error!r}" if self._swept else "")
        finally:
            await self._harness.stop()
        return left

    def _within(self, seconds: float, work: Coroutine[Any, Any, Any]) -> Any:
        """Run it in the loop, in that time of the harness and about that much of real time."""
        with never_longer(seconds + 5 * GRACE_S, self._harness.clock.monotonic):
            task = self._loop.create_task(work)
            timed = self._loop.create_task(_timed(task, seconds))
            self._cases += [task, timed]
            return self._loop.run_until_complete(timed)


async def _timed(task: asyncio.Task[Any], seconds: float) -> Any:
    await asyncio.wait([task], timeout=seconds)
    if task.done():
        return task.result()
    others = asyncio.all_tasks() - {task, asyncio.current_task()}
    where = waits_at(task, sorted(others, key=lambda each: each.get_name()))
    raise AssertionError(f"it did not end within {seconds:g} s; it waits at\n{where}")


async def _judge(case: Case, bench: Bench) -> tuple[Status, str]:
    bench.surroundings = surroundings()
    await bench.ready()
    lacking = [each for each in case.features if not any(bench.offers(name) for name in each.split("|"))]
    if lacking:
        return "unsupported", f"{bench.harness.symbol} does not offer {', '.join(lacking).replace('|', ' or ')}"
    missing = case.missing(bench.harness)
    if missing:
        return "missing", missing
    try:
        await case.check_of(bench.harness)(bench)
    except Missing as why:
        await sweep(bench)
        return "missing", str(why)
    except Inapplicable as why:
        await sweep(bench)
        return "unsupported", str(why)
    await sweep(bench)
    return "passed", ""


def _end_tasks(loop: asyncio.AbstractEventLoop, tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel them, and give them a moment to end; what swallows that is left lying."""
    known = list(tasks)
    pending = [task for task in known if not task.done()]
    for task in pending:
        task.cancel()
    if pending:
        with never_longer(5 * GRACE_S):
            loop.run_until_complete(asyncio.wait(pending, timeout=GRACE_S))
    for task in known:
        if task.done() and not task.cancelled():
            task.exception()  # seen: what it failed with is no news now


def _close(loop: asyncio.AbstractEventLoop) -> None:
    _end_tasks(loop, asyncio.all_tasks(loop))
    with never_longer(5 * GRACE_S):
        loop.run_until_complete(asyncio.wait([loop.create_task(loop.shutdown_asyncgens())], timeout=GRACE_S))
    for task in asyncio.all_tasks(loop):
        # What will not end is closed here, unheard; else it would run on whenever it is collected.
        cast(Any, task)._log_destroy_pending = False
        with contextlib.suppress(BaseException):
            cast(Coroutine[Any, Any, Any], task.get_coro()).close()
    loop.close()
