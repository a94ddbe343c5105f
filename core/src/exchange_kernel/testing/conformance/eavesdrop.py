"""Hears everything a program says while a case runs: log records of every logger, standard output, warnings."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any, cast

__all__ = ["eavesdropping", "named_tasks"]


class _Listener(logging.Handler):
    def __init__(self, heard: list[object]) -> None:
        super().__init__(logging.NOTSET)
        self._heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._heard.append(record.getMessage())
        except (TypeError, ValueError):  # a format that does not fit its arguments
            self._heard.append((str(record.msg), str(record.args)))
        if record.exc_info and record.exc_info[1] is not None:
            self._heard.append(record.exc_info[1])
        known = logging.LogRecord("", 0, "", 0, "", (), None).__dict__
        self._heard += [value for name, value in record.__dict__.items() if name not in known]
        self._heard.append((record.stack_info or "", record.exc_text or ""))


@contextlib.contextmanager
def eavesdropping() -> Iterator[list[object]]:
    """A list that fills with all that is said in the block. Loggers are as talkative as they can be meanwhile."""
    heard: list[object] = []
    listener = _Listener(heard)
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    levels = [(each, each.level) for each in loggers if isinstance(each, logging.Logger)]
    alone = [each for each, _ in levels if each is logging.root or not each.propagate]
    disabled = logging.root.manager.disable
    out = io.StringIO()
    for each, _ in levels:
        each.setLevel(logging.DEBUG)
    for each in alone:
        each.addHandler(listener)
    logging.disable(logging.NOTSET)
    try:
        with (
            warnings.catch_warnings(record=True) as caught,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(out),
        ):
            warnings.simplefilter("always")
            yield heard
    finally:
        for each, level in levels:
            each.setLevel(level)
        for each in alone:
            each.removeHandler(listener)
        logging.disable(disabled)
        heard += [str(each.message) for each in caught]
        heard += [line for line in out.getvalue().splitlines() if line]


@contextlib.contextmanager
def named_tasks() -> Iterator[list[str]]:
    """What the tasks are called that the running loop makes in the block; filled in at its end."""
    loop, tasks, names = asyncio.get_running_loop(), list[asyncio.Task[Any]](), list[str]()
    before = loop.get_task_factory()

    def made(loop: asyncio.AbstractEventLoop, coro: Any, **more: Any) -> Any:
        task = asyncio.Task(coro, loop=loop, **more) if before is None else before(loop, coro, **more)
        tasks.append(cast("asyncio.Task[Any]", task))
        return task

    loop.set_task_factory(made)
    try:
        yield names
    finally:
        loop.set_task_factory(before)
        names += [task.get_name() for task in tasks]
