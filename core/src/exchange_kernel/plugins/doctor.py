"""Examines installed plugins one by one, each in a fresh process, so that none can spoil the look at another."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path

from exchange_kernel.errors import ConfigError
from exchange_kernel.plugins.compat import CORE, canonical
from exchange_kernel.plugins.examination import DONE
from exchange_kernel.plugins.loader import scan_points
from exchange_kernel.plugins.plugin import Plugin, Status
from exchange_kernel.plugins.policy import Policy
from exchange_kernel.plugins.probe import where
from exchange_kernel.plugins.specs import Finding, Level

IMPORT_BUDGET_MS = 150
"""How long importing a plugin's entry module may take: every command that uses plugins waits for all of them."""

PATIENCE_S = 30.0
"""How long a plugin may take for everything it is examined for, its adapters' imports included."""

OTHERS_S = 5.0
START_S = 20.0
SHOWN = 3
_PROGRAM = "from exchange_kernel.plugins.examination import serve; serve()"


@dataclass(frozen=True, slots=True)
class Examined:
    """A plugin and all that was found."""

    plugin: Plugin
    findings: tuple[Finding, ...]

    @property
    def well(self) -> bool:
        """Was nothing found that keeps it from working?"""
        return all(each.level is not Level.FAILURE for each in self.findings)


def examine(
    names: Sequence[str] = (), *, policy: Policy | None = None, patience: float = PATIENCE_S
) -> tuple[Examined, ...]:
    """Examine the plugins of these names (of entry points or distributions), or all. Raises ConfigError for a name that
    no plugin has."""
    scanned = scan_points(None, policy or Policy.of())
    known = {name: canonical(name) for plugin, _ in scanned for name in (plugin.name, plugin.distribution)}
    for name in names:
        if canonical(name) not in known.values():
            raise ConfigError("plugin", name, "is not installed", f"there are {', '.join(sorted(known)) or 'none'}")
    wanted = {canonical(name) for name in names}
    meant = [not names or canonical(p.name) in wanted or canonical(p.distribution) in wanted for p, _ in scanned]
    # All are asked, whoever was named: what two of them claim is seen only by asking both. The others not for long.
    asked = [
        (plugin, point, _ask(plugin, point, patience if named else min(patience, OTHERS_S)))
        for named, (plugin, point) in zip(meant, scanned, strict=True)
    ]
    return tuple(
        Examined(plugin, tuple(_findings(plugin, point, answer, asked)))
        for named, (plugin, point, answer) in zip(meant, asked, strict=True)
        if named
    )


@dataclass(slots=True)
class _Answer:
    """What a child told. ``import_ms``: None where it did not get that far."""

    import_ms: float | None = None
    brought: list[str] = field(default_factory=list)
    venues: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


Asked = Sequence[tuple[Plugin, EntryPoint | None, _Answer]]


def _findings(plugin: Plugin, point: EntryPoint | None, answer: _Answer, asked: Asked) -> Iterator[Finding]:
    yield from _requirement(plugin)
    yield from _origin(plugin)
    if point is not None and point.dist is not None:
        yield _files(point.dist)
    if answer.import_ms is not None:
        yield _import_time(answer)
    yield from answer.findings
    yield from _claims(plugin, answer, asked)


# ---- what the metadata tell ------------------------------------------------------------------------------------------


def _requirement(plugin: Plugin) -> Iterator[Finding]:
    if plugin.status is Status.BLOCKED:
        yield Finding(Level.WARNING, "policy", f"it is not loaded, and was not examined: {plugin.error}")
    elif plugin.error:
        yield Finding(Level.FAILURE, "requirement" if plugin.status is Status.INCOMPATIBLE else "files", plugin.error)
    elif not plugin.warnings and plugin.needs:
        yield Finding(Level.OK, "requirement", f"{CORE}{plugin.needs}")
    for text in plugin.warnings:
        yield Finding(Level.WARNING, "requirement", text, f"for example {CORE}>=0.1,<0.2")


def _origin(plugin: Plugin) -> Iterator[Finding]:
    if plugin.editable:
        text = f"it runs from a source tree, {plugin.origin}: whoever can write there changes it"
        yield Finding(Level.WARNING, "origin", text, "install a built wheel where it matters")
    elif plugin.origin == "unreadable":
        yield Finding(Level.WARNING, "origin", "its direct_url.json cannot be read", "install it anew")
    elif plugin.origin:
        yield Finding(Level.OK, "origin", plugin.origin)


def _files(dist: Distribution) -> Finding:
    """Are the files those that were installed? Says nothing of who made them."""
    try:
        listed = dist.files
    except Exception as error:  # noqa: BLE001 - a damaged installation may raise anything
        return Finding(Level.FAILURE, "files", f"its RECORD cannot be read: {type(error).__name__}: {error}")
    if not listed:
        return Finding(Level.WARNING, "files", "it has no RECORD: changed files cannot be told", "install it anew")
    wrong, checked = [], 0
    for file in listed:
        if file.hash is None:
            continue
        checked += 1
        try:
            content = Path(file.locate()).read_bytes()
            digest = base64.urlsafe_b64encode(hashlib.new(file.hash.mode, content).digest()).decode().rstrip("=")
        except (OSError, ValueError) as error:
            wrong.append(f"{file} ({type(error).__name__})")
            continue
        if digest != file.hash.value:
            wrong.append(f"{file} (changed)")
    if wrong:
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        text = f"not as they were installed: {', '.join(wrong[:SHOWN])}{more}"
        return Finding(Level.FAILURE, "files", text, "install it anew, and find out who changed them")
    return Finding(Level.OK, "files", f"{checked} as they were installed")


# ---- what a child tells ----------------------------------------------------------------------------------------------


def _ask(plugin: Plugin, point: EntryPoint | None, patience: float) -> _Answer:
    if plugin.status is not Status.FOUND or point is None:
        return _Answer()
    answer = _child(point, patience)
    for _ in range(2):
        # The machine may have been busy with something else: the quickest of three counts.
        if answer.import_ms is not None and answer.import_ms > IMPORT_BUDGET_MS:
            again = _child(point, patience, only_import=True).import_ms
            answer.import_ms = answer.import_ms if again is None else min(answer.import_ms, again)
    return answer


def _child(point: EntryPoint, patience: float, *, only_import: bool = False) -> _Answer:
    asked = {"name": point.name, "value": point.value, "only_import": only_import, "patience": patience}
    command, given = [sys.executable, "-c", _PROGRAM], json.dumps(asked).encode()
    late = True
    try:
        # The child ends itself when the plugin's time is over, and counts from when it begins: a busy machine may take
        # long to start a Python. The limit here is for a plugin that takes that away from it.
        done = subprocess.run(command, input=given, capture_output=True, timeout=patience + START_S)
        out, stood, late = done.stdout, done.stderr, b"Timeout (" in done.stderr
    except subprocess.TimeoutExpired as error:
        out, stood = error.stdout or b"", error.stderr or b""
    if late:
        end = f"it blocks: not done after {patience:g} s{where(stood.decode(errors='replace'))}"
    else:
        end = f"it ends its process with exit code {done.returncode}"
    answer, stage = _Answer(), "start"
    for line in out.splitlines():
        try:
            told = json.loads(line)
        except ValueError:  # cut off in the middle
            continue
        stage = told.get("stage", stage)
        answer.import_ms = told.get("import_ms", answer.import_ms)
        answer.brought = told.get("brought", answer.brought)
        answer.venues = told.get("venues", answer.venues)
        found = told.get("finding")
        if found is not None:
            answer.findings.append(Finding(Level(found["level"]), found["subject"], found["text"], found["hint"]))
    if stage != DONE:
        answer.findings.append(Finding(Level.FAILURE, stage, end))
    return answer


def _import_time(answer: _Answer) -> Finding:
    took = answer.import_ms or 0.0
    brought = f", with {', '.join(answer.brought[:8])}" if answer.brought else ""
    text = f"{took:.0f} ms of {IMPORT_BUDGET_MS} ms{brought}"
    if took > IMPORT_BUDGET_MS:
        hint = "import libraries in the modules that its venues name, not in its entry module"
        return Finding(Level.FAILURE, "import", text, hint)
    return Finding(Level.OK, "import", text)


def _claims(plugin: Plugin, answer: _Answer, asked: Asked) -> Iterator[Finding]:
    hint = f"uninstall one of them, or write plugin: {plugin.distribution} into the accounts that mean this one"
    for other, _, theirs in asked:
        if other is plugin or Status.BLOCKED in (plugin.status, other.status):
            continue
        for venue in answer.venues:
            if venue in theirs.venues:
                text = f"{other.distribution} ({other.name}) claims venue {venue} too"
                yield Finding(Level.FAILURE, "names", text, hint)
        if other.name == plugin.name:
            yield Finding(Level.FAILURE, "names", f"{other.distribution} has a plugin named {plugin.name} too", hint)
