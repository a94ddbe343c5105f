"""Runs cases: each in an event loop of its own, with a new harness, swept and closed, leaving nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Mapping

from exchange_kernel.testing.conformance.bench import Bench, Inapplicable, Missing
from exchange_kernel.testing.conformance.harness import Harness
from exchange_kernel.testing.conformance.registry import Case
from exchange_kernel.testing.conformance.report import Result, Status
from exchange_kernel.testing.conformance.stuck import Stuck, never_stuck

LIMIT_S = 300.0
"""Longest time of one case, in the harness' own time."""


def run_case(case: Case, harness: Harness) -> Result:
    """Run one case. Never raises for what the adapter does."""
    loop = harness.loop()
    began = time.perf_counter()
    try:
        missing = case.missing(harness)
        if missing and not (case.features or case.any_of):
            return Result(case.id, "missing", missing)
        asyncio.set_event_loop(loop)
        with never_stuck(harness.clock.monotonic, 2 * LIMIT_S):
            status, reason = loop.run_until_complete(_within_limit(case, harness))
        return Result(case.id, status, reason, _since(began))
    except Stuck as stuck:
        return Result(case.id, "failed", str(stuck), _since(began))
    except AssertionError as error:
        return Result(case.id, "failed", str(error) or "an assertion failed", _since(began))
    except Exception as error:  # noqa: BLE001 - an adapter may raise anything, and the next case must run
        return Result(case.id, "failed", f"{type(error).__name__}: {error}", _since(began))
    finally:
        _close(loop)
        asyncio.set_event_loop(None)


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


def _since(began: float) -> float:
    return time.perf_counter() - began


async def _within_limit(case: Case, harness: Harness) -> tuple[Status, str]:
    try:
        async with asyncio.timeout(LIMIT_S):
            return await _run(case, harness)
    except TimeoutError:
        raise AssertionError(f"the case did not end within {LIMIT_S:g} s") from None


async def _run(case: Case, harness: Harness) -> tuple[Status, str]:
    await harness.start()
    bench = Bench(harness, case.id)
    try:
        verdict = await _judge(case, bench)
    except BaseException:
        # What the case found is the news; that the session cannot even be closed afterwards is not.
        with contextlib.suppress(Exception):
            await bench.close()
        with contextlib.suppress(Exception):
            await harness.stop()
        raise
    try:
        await bench.close()
    finally:
        await harness.stop()
    return verdict


async def _judge(case: Case, bench: Bench) -> tuple[Status, str]:
    await bench.ready()
    lacking = [feature for feature in case.features if not bench.offers(feature)]
    if lacking:
        return "unsupported", f"{bench.harness.symbol} does not offer {', '.join(lacking)}"
    if case.any_of and not any(bench.offers(feature) for feature in case.any_of):
        return "unsupported", f"{bench.harness.symbol} offers none of {', '.join(case.any_of)}"
    missing = case.missing(bench.harness)
    if missing:
        return "missing", missing
    try:
        await case.check(bench)
    except Missing as why:
        return "missing", str(why)
    except Inapplicable as why:
        return "unsupported", str(why)
    await bench.sweep()
    return "passed", ""


def _close(loop: asyncio.AbstractEventLoop) -> None:
    for task in asyncio.all_tasks(loop):
        task.cancel()
    pending = asyncio.all_tasks(loop)
    if pending:
        loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
