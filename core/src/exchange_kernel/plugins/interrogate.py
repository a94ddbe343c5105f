"""Imports one plugin and asks its hooks, one by one: whatever it does wrong is told as its own fault."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from itertools import islice
from pathlib import Path
from types import CodeType
from typing import Any, TypeVar

import pluggy

from exchange_kernel.plugins import hookspecs
from exchange_kernel.plugins.hookspecs import HOOKS, PROJECT
from exchange_kernel.plugins.specs import (
    API,
    AdmissionSpec,
    CommandSpec,
    Finding,
    HarnessSpec,
    HealthSpec,
    SinkSpec,
    VenueSpec,
)

T = TypeVar("T")

MOST_ANSWERS = 100
LONGEST_TEXT = 400


class PluginFault(Exception):
    """What a plugin did wrong, in one line; its own exception, if any, is the cause."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What a plugin says about itself, checked."""

    hooks: tuple[str, ...] = ()
    venues: tuple[VenueSpec, ...] = ()
    harnesses: tuple[HarnessSpec, ...] = ()
    admissions: tuple[AdmissionSpec, ...] = ()
    sinks: tuple[SinkSpec, ...] = ()
    checks: tuple[HealthSpec, ...] = ()
    commands: tuple[CommandSpec, ...] = ()


def interrogate(point: EntryPoint) -> Answers:
    """Import the entry point, check its hooks, and call those that describe it. Raises PluginFault, and only
    KeyboardInterrupt besides."""
    hooks = hooks_of(point)
    venues = answers(hooks, "exk_venues", VenueSpec)
    harnesses = answers(hooks, "exk_conformance", HarnessSpec)
    admissions = answers(hooks, "exk_admit", AdmissionSpec)
    sinks = answers(hooks, "exk_event_sinks", SinkSpec)
    checks = answers(hooks, "exk_health_checks", HealthSpec)
    commands = answers(hooks, "exk_commands", CommandSpec)
    for hook, brought in (
        ("exk_venues names venue", venues),
        ("exk_admit names", admissions),
        ("exk_event_sinks names", sinks),
        ("exk_health_checks names", checks),
        ("exk_commands names", commands),
    ):
        _refuse_twice(hook, [spec.name for spec in brought])
    names = [spec.name for spec in venues]
    for spec in venues:
        if spec.api[0] != API[0] or spec.api[1] > API[1]:
            said, ours = (".".join(map(str, version)) for version in (spec.api, API))
            raise PluginFault(
                f"venue {spec.name} is written for version {said} of the contract, and this core has {ours}"
            )
    for harness in harnesses:
        if harness.venue not in names:
            raise PluginFault(f"exk_conformance has a harness for {harness.venue}, which is no venue of this plugin")
    for command in commands:
        if command.name not in (point.name, *names):
            own = " or ".join(dict.fromkeys((point.name, *names)))
            raise PluginFault(f"exk_commands has a command {command.name}, and may only have {own}")
    return Answers(tuple(hooks), venues, harnesses, admissions, sinks, checks, commands)


def _refuse_twice(hook: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise PluginFault(f"{hook} {name} twice")


def hooks_of(point: EntryPoint) -> dict[str, Callable[[], object]]:
    """Import the entry point; its hook implementations by name. Raises PluginFault."""
    if EntryPoint.pattern.match(point.value) is None:
        raise PluginFault(f"its entry point {point.value[:LONGEST_TEXT]!r} names no module")
    plugin = guarded("", point.load)
    _refuse_unmarked(plugin)
    # A manager of its own: what is wrong with one plugin cannot be left behind for the next.
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(plugin, point.name)
        manager.check_pending()
    except KeyboardInterrupt:
        raise
    except pluggy.PluginValidationError as error:
        raise PluginFault(_validation(manager, error)) from error
    except BaseException as error:
        raise PluginFault(told(error)) from error
    found: dict[str, Callable[[], object]] = {}
    for name in HOOKS:
        for implementation in getattr(manager.hook, name).get_hookimpls():
            if implementation.wrapper or implementation.hookwrapper:
                raise PluginFault(f"{name} is a hook wrapper: plugins answer for themselves only")
            found[name] = implementation.function
    if not found:
        raise PluginFault(f"it implements no hook: there are {', '.join(HOOKS)}, marked with @hookimpl")
    return found


def answers(hooks: dict[str, Callable[[], object]], name: str, kind: type[T]) -> tuple[T, ...]:
    """What a hook returns, each of that kind; nothing when it is not implemented. Raises PluginFault."""
    hook = hooks.get(name)
    if hook is None:
        return ()
    if inspect.iscoroutinefunction(hook):
        raise PluginFault(f"{name} is asynchronous: hooks are plain functions")

    def collect() -> list[object]:
        returned: object = hook()
        if isinstance(returned, (str, bytes)) or not isinstance(returned, Iterable):
            raise TypeError(f"it returned {type(returned).__name__}, and must return {kind.__name__} values")
        return list(islice(returned, MOST_ANSWERS + 1))

    found = guarded(f"{name} raised ", collect)
    if len(found) > MOST_ANSWERS:
        raise PluginFault(f"{name} returned more than {MOST_ANSWERS} values")
    for each in found:
        if not isinstance(each, kind):
            raise PluginFault(f"{name} returned {type(each).__name__} among its values: they must be {kind.__name__}")
    return tuple(each for each in found if isinstance(each, kind))


def findings(point: EntryPoint) -> tuple[Finding, ...]:
    """What the plugin's own ``exk_doctor`` finds. Raises PluginFault."""
    return answers(hooks_of(point), "exk_doctor", Finding)


def guarded(what: str, call: Callable[[], T]) -> T:
    """The call's result. Raises PluginFault for whatever it raises, SystemExit included; KeyboardInterrupt as it is."""
    try:
        return call()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise PluginFault(f"{what}{told(error)}") from error


def told(error: BaseException) -> str:
    """An exception in one line: its type, its words, and where it was raised."""
    try:
        words = " ".join(str(error).split())
    except Exception:  # noqa: BLE001 - an exception of a plugin may fail even at this
        words = "(its text cannot be shown)"
    text = f"{type(error).__name__}: {words}" if words else type(error).__name__
    place = "" if isinstance(error, SyntaxError) else _place(error)
    return f"{text[:LONGEST_TEXT]}{place}"


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    codes: list[tuple[CodeType, int]] = []
    while trace is not None:
        codes.append((trace.tb_frame.f_code, trace.tb_lineno))
        trace = trace.tb_next
    for code, line in reversed(codes):
        path = Path(code.co_filename)
        if code.co_filename.startswith("<frozen") or path.parent == Path(__file__).parent:
            continue
        if path.parent.name == "importlib" and path.name == "__init__.py":
            continue
        return f" ({path.parent.name}/{path.name}, line {line})" if path.parent.name else ""
    return ""


def _refuse_unmarked(plugin: object) -> None:
    """A function with a hook's name that was not marked would be passed over without a word."""
    for name in HOOKS:
        try:
            found = inspect.getattr_static(plugin, name)
        except AttributeError:
            continue
        if callable(found) and not hasattr(found, f"{PROJECT}_impl"):
            raise PluginFault(f"{name} is not marked: put @hookimpl above it")


def _validation(manager: pluggy.PluginManager, error: pluggy.PluginValidationError) -> str:
    """pluggy's refusal in our words: which hook, what is wrong with it, what it may have been meant to be."""
    hooks: dict[str, Any] = vars(manager.hook)
    for name, hook in hooks.items():
        if name.startswith("_") or name in HOOKS:
            continue
        if any(not each.optionalhook for each in hook.get_hookimpls()):
            # Imported late: it brings the whole schema.
            from exchange_kernel.schema.fields import close_to

            near = close_to(name, HOOKS)
            hint = f"did you mean {near}?" if near else f"there are {', '.join(HOOKS)}"
            return f"{name} is no hook: {hint}"
    text = " ".join(str(error).split())
    return f"a hook's arguments are wrong: {text[:LONGEST_TEXT]}"
