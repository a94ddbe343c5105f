"""Tries plugins in a child process first: one that blocks, or takes its process down, does so there.

The child is a fork where this process has one thread, and a new Python otherwise. It says before and after each plugin
how far it is, so a plugin at which it stops is known by name; a fault handler in it says where it stood.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import re
import select
import selectors
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path

from exchange_kernel.plugins.interrogate import PluginFault, interrogate
from exchange_kernel.plugins.plugin import GROUP

PATIENCE_S = 5.0
"""How long one plugin may take to import and to answer its hooks."""

STARTING_S = 60.0
"""How long a child may take until it begins: a new Python on a busy machine is no plugin's fault, and none is believed
untried because of it."""

LOOK_S, GRACE_LOOKS = 0.002, 1000
"""A child that has said its last word is looked at this often, every so many seconds, until it has ended."""

_PROGRAM = "from exchange_kernel.plugins.probe import serve; serve()"
_LIBRARY = Path(os.__file__).parent
_FRAME = re.compile(r'File "(.+)", line (\d+) in (.+)').search

Points = Sequence[tuple[str, str]]


def try_out(points: Sequence[EntryPoint], patience: float = PATIENCE_S) -> dict[int, str]:
    """Interrogate each of ``points`` in a child. What keeps one from being loaded here, by its place in ``points``.

    A plugin that merely raises is none of these: that can be seen, and told, here."""
    out: dict[int, str] = {}
    left = [number for number, point in enumerate(points) if point.value.partition(":")[0].strip() not in sys.modules]
    while left:
        child = _start([(points[number].name, points[number].value) for number in left], patience)
        if child is None:
            break
        done, trouble = child.watch(patience)
        if not 0 <= done < len(left):
            break
        out[left[done]] = trouble
        left = left[done + 1 :]
    return out


def _start(points: Points, patience: float) -> _Child | None:
    """A child that works through ``points``; None where there is no way to make one."""
    if _alone():
        return _fork(points, patience)
    return _spawn(points, patience) if sys.executable else None


def _alone() -> bool:
    """Has this process one thread only? A fork of one with more may hang by itself."""
    try:
        return len(os.listdir("/proc/self/task")) == 1
    except OSError:
        return False


@dataclass(slots=True)
class _Child:
    """A child at work. ``said``: what it says, ``stood``: where its fault handler writes, ``poll``: its exit code."""

    said: int
    stood: int
    kill: Callable[[], None]
    poll: Callable[[], int | None]

    def watch(self, patience: float) -> tuple[int, str]:
        """How many plugins it got through, and what is wrong with the next, if there is one. -1: it never began."""
        done, late = -1, False
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(self.said, selectors.EVENT_READ)
                while not late:
                    late = not selector.select(patience if done >= 0 else max(patience, STARTING_S))
                    data = b"" if late else os.read(self.said, 65536)
                    if not data:
                        break
                    done += data.count(b"\n")
            code = None if late else self._end()
        finally:
            self.kill()
            self._end()
            stack = _drained(self.stood)
            os.close(self.said)
            os.close(self.stood)
        if code is None:
            return done, f"blocks: not done after {patience:g} s{where(stack)}"
        return done, f"ends the process that imports it ({_ended(code)})"

    def _end(self) -> int | None:
        """Its exit code, once it has ended; None when it does not."""
        for _ in range(GRACE_LOOKS):
            code = self.poll()
            if code is not None:
                return code
            select.select([], [], [], LOOK_S)
        return None


def _ended(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if -code in signal.valid_signals() else f"exit code {code}"


def where(stack: str) -> str:
    """The innermost place of a fault handler's last thread, which is the main one, that is no library of Python's."""
    main = stack.rpartition("most recent call first")[2]
    places = [found for line in main.splitlines() if (found := _FRAME(line)) is not None]
    for found in places:
        path = Path(found[1])
        library = _LIBRARY in path.parents and "site-packages" not in path.parts
        if not library and "<" not in found[1] and path.parent != Path(__file__).parent:
            return f" (in {found[3]}, {path.parent.name}/{path.name}, line {found[2]})"
    return ""


def _drained(descriptor: int) -> str:
    os.set_blocking(descriptor, False)
    found = b""
    with contextlib.suppress(BlockingIOError):
        while data := os.read(descriptor, 65536):
            found += data
    return found.decode(errors="replace")


# ---- the two ways to have a child -----------------------------------------------------------------------------------


def _fork(points: Points, patience: float) -> _Child:
    said, say = os.pipe()
    stood, stand = os.pipe()
    number = os.fork()
    if number == 0:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for each in (signal.SIGINT, signal.SIGTERM):
                signal.signal(each, signal.SIG_DFL)
            _work(points, patience, say, stand)
            code = 0
        finally:
            os._exit(code)
    os.close(say)
    os.close(stand)
    ended: list[int] = []

    def poll() -> int | None:
        if not ended:
            try:
                found, status = os.waitpid(number, os.WNOHANG)
            except ChildProcessError:  # somebody else in this process waits for every child there is
                ended.append(0)
            else:
                if found:
                    ended.append(os.waitstatus_to_exitcode(status))
        return ended[0] if ended else None

    def kill() -> None:
        # Until it has been waited for, its number is its own.
        if poll() is None:
            os.kill(number, signal.SIGKILL)

    return _Child(said, stood, kill, poll)


def _spawn(points: Points, patience: float) -> _Child:
    # Imported late, like json: the fork needs neither, and is the way of every command.
    import json
    import subprocess

    child = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    with contextlib.suppress(BrokenPipeError), child.stdin:
        child.stdin.write(json.dumps({"path": sys.path, "points": list(points), "patience": patience}).encode())
    said, stood = os.dup(child.stdout.fileno()), os.dup(child.stderr.fileno())
    child.stdout.close()
    child.stderr.close()
    return _Child(said, stood, child.kill, child.poll)


# ---- in the child ---------------------------------------------------------------------------------------------------


def serve() -> None:
    """The new Python's program: plugins come on standard input, and nothing they print gets out."""
    import json

    asked = json.loads(sys.stdin.read())
    sys.path[:] = asked["path"]
    _work(asked["points"], asked["patience"], os.dup(1), os.dup(2))
    os._exit(0)


def _work(points: Points, patience: float, say: int, stand: int) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    os.write(say, b"\n")
    for name, value in points:
        # In good time before the parent's patience ends, and once: nobody reads while it lasts.
        faulthandler.dump_traceback_later(patience * 0.6, file=stand)
        with contextlib.suppress(PluginFault):
            interrogate(EntryPoint(name, value, GROUP))
        faulthandler.cancel_dump_traceback_later()
        os.write(say, b"\n")
