"""What belongs to the process and not to a session: settings that every account shares, and that no adapter touches."""

from __future__ import annotations

import asyncio
import decimal
import gc
import locale
import logging
import os
import random
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exchange_kernel.testing.conformance.bench import Bench

__all__ = ["Surroundings", "as_it_was", "expect_untouched", "new_variables", "surroundings"]

Surroundings = Mapping[str, object]
"""What is set, by the words in which it is told."""

_VARIABLE = "the environment variable "
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGPIPE")


def surroundings() -> Surroundings:
    """How the process and the running loop are set up now."""
    loop, context = asyncio.get_running_loop(), decimal.getcontext()
    out: dict[str, object] = {
        "the event loop's exception handler": loop.get_exception_handler(),
        "the event loop's task factory": loop.get_task_factory(),
        "the event loop's debug mode": loop.get_debug(),
        "the decimal context": (
            *(context.prec, context.rounding, context.Emin, context.Emax, context.capitals, context.clamp),
            frozenset(name.__name__ for name, on in context.traps.items() if on),
        ),
        "sys.excepthook": sys.excepthook,
        "the default timeout of sockets": socket.getdefaulttimeout(),
        "the level below which logging is disabled": logging.root.manager.disable,
        "the locale": locale.setlocale(locale.LC_ALL),
        "the working directory": os.getcwd(),
        "garbage collection": gc.isenabled(),
        "the recursion limit": sys.getrecursionlimit(),
    }
    for name in _SIGNALS:
        if hasattr(signal, name):
            out[f"the handler of {name}"] = signal.getsignal(getattr(signal, name))
    out |= {f"{_VARIABLE}{name}": value for name, value in os.environ.items() if not _of_tests(name)}
    return out


def new_variables(before: Surroundings) -> list[str]:
    """The values of the environment's variables that were not there before, or were others."""
    return [str(value) for name, value in surroundings().items() if _VARIABLE in name and before.get(name) != value]


def _of_tests(name: str) -> bool:
    return name.startswith("PYTEST_")


def expect_untouched(bench: Bench, after: str) -> None:
    """Everything is set up as it was before the first session of the case."""
    was, now = bench.surroundings, surroundings()
    changed = sorted(name for name in {*was, *now} if was.get(name) != now.get(name))
    bench.expect(
        not changed,
        f"after {after} the adapter has changed {', '.join(changed)}: that belongs to the process, and to every other "
        "account in it",
    )


@contextmanager
def as_it_was() -> Iterator[None]:
    """What the block changes of the process is put back after it: no case runs in what another one left."""
    context, environment = decimal.getcontext().copy(), dict(os.environ)
    hook, timeout, disabled = sys.excepthook, socket.getdefaulttimeout(), logging.root.manager.disable
    state, directory, depth = random.getstate(), os.getcwd(), sys.getrecursionlimit()
    place, collects = locale.setlocale(locale.LC_ALL), gc.isenabled()
    numbers = [getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)]
    handlers = [(number, signal.getsignal(number)) for number in numbers]
    try:
        yield
    finally:
        decimal.setcontext(context)
        if dict(os.environ) != environment:
            os.environ.clear()
            os.environ.update(environment)
        sys.excepthook = hook
        socket.setdefaulttimeout(timeout)
        logging.disable(disabled)
        random.setstate(state)
        os.chdir(directory)
        sys.setrecursionlimit(depth)
        locale.setlocale(locale.LC_ALL, place)
        (gc.enable if collects else gc.disable)()
        with suppress(ValueError):  # only the main thread may set handlers, and only it can have changed them
            for number, handler in handlers:
                if handler is not None and signal.getsignal(number) != handler:
                    signal.signal(number, handler)
