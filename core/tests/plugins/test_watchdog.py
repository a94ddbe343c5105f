"""What blocks the event loop is named while it does."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType

import pytest

from core.tests.plugins.distributions import publish, python, venues
from exchange_kernel.clock import SystemClock
from exchange_kernel.plugins import Plugin, Status
from exchange_kernel.plugins.watchdog import BEAT_S, Owners, Watchdog

ACME = Plugin("acme", "exchange-kernel-acme", "1.0", "exk_acme.plugin", Status.OK)


class Time:
    """A clock, and a process that uses the processor, moved by hand."""

    def __init__(self) -> None:
        self.now = self.used = 0.0

    def now_ms(self) -> int:
        return int(self.now * 1000)

    def monotonic(self) -> float:
        return self.now

    def cpu(self) -> float:
        return self.used

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nobody sleeps here")

    def pass_by(self, seconds: float, busy: float = 0.0) -> None:
        self.now += seconds
        self.used += busy


Look = Callable[[float, float], None]


@pytest.fixture
def acme(tmp_path: Path) -> Iterator[Callable[[Callable[[], object]], object]]:
    """A function of a plugin's package, that calls what it is given."""
    folder = tmp_path / "exk_acme"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "adapter.py").write_text("def through(call):\n    return call()\n")
    sys.path.insert(0, str(tmp_path))
    from exk_acme.adapter import through  # type: ignore[import-not-found]

    yield through
    sys.path.remove(str(tmp_path))
    for name in [name for name in sys.modules if name.startswith("exk_acme")]:
        del sys.modules[name]


def watched(
    play: Callable[[Watchdog, Time], None], frames: Callable[[], Mapping[int, FrameType]] | None = None
) -> Watchdog:
    """Run ``play`` inside a loop's callback that never ends by itself, with a watchdog on it that is asked by hand."""
    clock = Time()
    dog = Watchdog([ACME], clock, cpu=clock.cpu, **({"frames": frames} if frames else {}))  # type: ignore[arg-type]

    async def main() -> None:
        dog.attach(asyncio.get_running_loop())
        play(dog, clock)

    asyncio.run(main())
    dog.stop()
    return dog


def looks(dog: Watchdog, clock: Time, seconds: float) -> None:
    """Look every so often, while nothing else happens."""
    for _ in range(round(seconds / BEAT_S)):
        clock.pass_by(BEAT_S)
        dog.look()


def test_the_plugin_that_blocks_is_named(
    acme: Callable[[Callable[[], object]], object], caplog: pytest.LogCaptureFixture
) -> None:
    """Not before a second; then by name, distribution, line and stack, and how long it has lasted grows."""

    def play(dog: Watchdog, clock: Time) -> None:
        looks(dog, clock, 1.0)
        assert dog.current is None
        acme(lambda: looks(dog, clock, 0.4))
        found = dog.current
        assert found is not None
        assert (found.plugin, found.distribution, found.over) == ("acme", "exchange-kernel-acme", False)
        assert found.place.startswith("through (")
        assert found.place.endswith("adapter.py, line 2)")
        assert "return call()" in found.stack
        assert found.since == 0
        looks(dog, clock, 1.0)
        assert dog.current is not None
        assert dog.current.seconds == pytest.approx(2.4)
        assert dog.current.text.startswith(
            "plugin acme (exchange-kernel-acme) blocks the event loop, for 2.4 s so far, at"
        )

    with caplog.at_level(logging.ERROR):
        watched(play)
    assert caplog.text.count("blocks the event loop") == 1


def test_a_plugin_is_found_beneath_the_library_it_calls(acme: Callable[[Callable[[], object]], object]) -> None:
    """The innermost frame of a plugin counts, whatever it has called."""

    def play(dog: Watchdog, clock: Time) -> None:
        acme(lambda: sorted([1], key=lambda _: looks(dog, clock, 2.0) or 0))
        assert dog.current is not None
        assert dog.current.plugin == "acme"

    watched(play)


def test_what_is_no_plugin_s_is_told_as_that(acme: Callable[[Callable[[], object]], object]) -> None:
    """The core or the application may block too; a plugin that is seen later is named then."""

    def play(dog: Watchdog, clock: Time) -> None:
        looks(dog, clock, 2.0)
        assert dog.current is not None
        assert (dog.current.plugin, dog.current.distribution) == ("", "")
        assert dog.current.text.startswith("code of no plugin blocks the event loop")
        acme(lambda: looks(dog, clock, 0.2))
        assert dog.current.plugin == "acme"
        assert dog.current.since == 0

    watched(play)


def test_it_is_over_when_the_loop_turns() -> None:
    """It is kept, with how long it lasted, and the loop may be blocked again."""
    clock = Time()
    dog = Watchdog([ACME], clock, cpu=clock.cpu)

    async def main() -> None:
        dog.attach(asyncio.get_running_loop())
        for _ in range(2):
            looks(dog, clock, 2.0)
            assert dog.current is not None
            while dog.current is not None:
                await asyncio.sleep(0.01)
                dog.look()

    asyncio.run(main())
    dog.stop()
    assert [(found.over, found.seconds) for found in dog.past] == [(True, pytest.approx(2.0))] * 2
    assert "blocked the event loop, for 2.0 s, at" in dog.past[0].text


def test_a_process_that_was_stopped_is_nobody_s_fault() -> None:
    """SIGSTOP, or a machine asleep: nothing turned, the watchdog neither, and nobody used the processor."""

    def play(dog: Watchdog, clock: Time) -> None:
        clock.pass_by(3600)
        dog.look()
        assert dog.current is None
        looks(dog, clock, 0.8)
        assert dog.current is None

    assert watched(play).past == ()


def test_code_that_held_the_interpreter_is_named_when_it_lets_go(
    acme: Callable[[Callable[[], object]], object],
) -> None:
    """A library call that lets no thread run: nobody could look before, and the processor was busy."""

    def play(dog: Watchdog, clock: Time) -> None:
        def held() -> None:
            clock.pass_by(5.0, busy=4.9)
            dog.look()

        acme(held)
        assert dog.current is not None
        assert (dog.current.plugin, dog.current.seconds) == ("acme", pytest.approx(5.0))

    watched(play)


def test_a_loop_that_has_ended_blocks_nothing() -> None:
    """An application that closes its loop without stopping the platform."""
    clock = Time()
    dog = Watchdog([], clock, cpu=clock.cpu)

    async def main() -> None:
        dog.attach(asyncio.get_running_loop())

    asyncio.run(main())
    looks(dog, clock, 5.0)
    assert dog.current is None


def test_a_thread_that_cannot_be_seen_is_still_told() -> None:
    """Without a frame there is no stack, and the fact stays."""

    def play(dog: Watchdog, clock: Time) -> None:
        looks(dog, clock, 2.0)
        assert dog.current is not None
        assert (dog.current.place, dog.current.stack) == ("an unknown place", "")

    watched(play, frames=dict)


def test_a_module_belongs_to_the_nearest_package() -> None:
    """Two plugins may share a namespace; the module of an adapter counts as well as that of the entry point."""
    outer = Plugin("outer", "outer", "1", "acme.plugin", Status.OK)
    inner = Plugin("inner", "inner", "1", "acme.deep.plugin", Status.OK)
    owners = Owners([outer, inner, Plugin("single", "single", "1", "one_module", Status.OK)])

    assert [getattr(owners.of(name), "name", None) for name in ("acme.x", "acme.deep", "acme.deep.y", "acmes", "")] == [
        "outer",
        "inner",
        "inner",
        None,
        None,
    ]
    assert owners.of("one_module") is not None
    assert owners.of("exchange_kernel.kernel") is None


def test_a_real_loop_is_watched_from_a_thread() -> None:
    """A loop blocked for a second and a half is told while it is, from another thread, and the thread ends."""
    seen: list[tuple[float, str]] = []

    async def main() -> None:
        dog = Watchdog([], SystemClock())
        dog.start()
        dog.start()
        await asyncio.sleep(0.05)
        began = time.monotonic()

        def ask() -> None:
            while dog.current is None and time.monotonic() < began + 10:
                time.sleep(0.01)
            found = dog.current
            seen.append((time.monotonic() - began, "" if found is None else found.stack))

        asking = threading.Thread(target=ask)
        asking.start()
        while not seen and time.monotonic() < began + 10:
            asking.join(0.01)
        asking.join()
        await asyncio.sleep(3 * BEAT_S)
        assert dog.current is None
        assert len(dog.past) == 1
        dog.stop()
        dog.stop()

    asyncio.run(main())
    after, stack = seen[0]
    assert __file__ in stack
    assert after < 2.0
    assert not [thread for thread in threading.enumerate() if "watchdog" in thread.name]


PLATFORM = """
    import asyncio, json, sys, threading, time
    from exchange_kernel import Platform, Side, StandardOrder

    async def main():
        told = []
        async with Platform.from_file("exk.yaml") as platform:
            while not platform.ready:
                await asyncio.sleep(0.01)
            began = time.monotonic()

            def ask():
                while platform.ready and time.monotonic() < began + 10:
                    time.sleep(0.005)
                last = platform.blockages[-1]
                after = time.monotonic() - began
                told.append([after, platform.ready, last.plugin, last.distribution, last.place, last.over])

            asking = threading.Thread(target=ask)
            asking.start()
            try:
                await platform["bad"].place_order(StandardOrder("BTC/USD", Side.BUY, "0.1", limit_price="40000"), "x")
            except Exception as error:
                told.append(repr(error))
            asking.join()
            while not platform.ready:
                await asyncio.sleep(0.01)
            health = await platform.health_check()
            loops = {name: (found.ready, found.components["loop"]) for name, found in health.items()}
            told.append({name: [ready, loop.healthy, loop.reason] for name, (ready, loop) in loops.items()})
            await platform["good"].place_order(StandardOrder("BTC/USD", Side.BUY, "0.1", limit_price="40000"), "y")
        print(json.dumps(told))

    asyncio.run(main())
"""
BLOCKING = """
    import time
    from exchange_kernel_paper.adapter import PaperAdapter

    class Adapter(PaperAdapter):
        blocked = False

        def check(self, spec, was=None):
            if not self.blocked:
                self.blocked = True
                time.sleep(1.6)
            return super().check(spec, was)
"""


def test_a_platform_is_not_ready_while_a_plugin_blocks(tmp_path: Path) -> None:
    """Within two seconds it is known which plugin, and at which line; afterwards it works on, and says what was."""
    publish(
        tmp_path,
        "blocker",
        venues("blocker", target="exk_blocker_adapter.adapter:Adapter"),
        modules={"exk_blocker_adapter/__init__": "", "exk_blocker_adapter/adapter": BLOCKING},
    )
    config = "config: {balances: {USD: 100000}}"
    (tmp_path / "exk.yaml").write_text(
        f"accounts: {{good: {{venue: paper, {config}}}, bad: {{venue: blocker, {config}}}}}"
    )
    done = python(tmp_path, PLATFORM)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    after, ready, plugin, distribution, place, over = told[0]
    assert after < 2.0
    assert (ready, plugin, distribution, over) == (False, "blocker", "exchange-kernel-blocker", False)
    assert place.startswith("Adapter.check (")
    assert "exk_blocker_adapter/adapter.py, line 11)" in place
    for healthy in told[-1].values():
        assert healthy[:2] == [True, True]
        assert healthy[2].startswith("plugin blocker (exchange-kernel-blocker) blocked the event loop, for 1.")
    assert "plugin blocker (exchange-kernel-blocker) blocks the event loop" in done.stderr
    assert "time.sleep(1.6)" in done.stderr
