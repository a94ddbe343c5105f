"""The child's side of the doctor: one plugin is imported and asked everything, and each step is told as it is done."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import sys
from dataclasses import asdict
from importlib.metadata import EntryPoint

from exchange_kernel.clock import SystemClock
from exchange_kernel.plugins.honesty import shape
from exchange_kernel.plugins.interrogate import PluginFault, findings, guarded, interrogate
from exchange_kernel.plugins.loader import resolve
from exchange_kernel.plugins.plugin import GROUP
from exchange_kernel.plugins.specs import Finding, HarnessSpec, Level, VenueSpec

DONE = "done"


def serve() -> None:
    """The child's program: what to examine comes on standard input; what the plugin prints goes nowhere."""
    asked = json.loads(sys.stdin.read())
    tell = _Told(os.dup(1))
    stand = os.dup(2)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    faulthandler.dump_traceback_later(asked["patience"], exit=True, file=stand)
    point = EntryPoint(asked["name"], asked["value"], GROUP)
    tell.stage("import")
    _import(point, tell)
    if not asked["only_import"]:
        _ask(point, tell)
    tell.stage(DONE)
    os._exit(0)


class _Told:
    """Lines of JSON to the parent, each written at once: it may kill this process at any time."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def line(self, **fields: object) -> None:
        os.write(self._descriptor, json.dumps(fields).encode() + b"\n")

    def stage(self, name: str) -> None:
        self.line(stage=name)

    def finding(self, level: Level, subject: str, text: str, hint: str = "") -> None:
        self.line(finding=asdict(Finding(level, subject, text, hint)))


def _import(point: EntryPoint, tell: _Told) -> None:
    before, clock = set(sys.modules), SystemClock()
    began = clock.monotonic()
    with contextlib.suppress(PluginFault):  # told by what asks its hooks
        guarded("", point.load)
    took = (clock.monotonic() - began) * 1000
    new = {name.partition(".")[0] for name in sys.modules.keys() - before}
    own = point.value.partition(":")[0].partition(".")[0].strip()
    brought = sorted(name for name in new - sys.stdlib_module_names - {own} if not name.startswith("_"))
    tell.line(import_ms=took, brought=brought)


def _ask(point: EntryPoint, tell: _Told) -> None:
    tell.stage("hooks")
    try:
        told = interrogate(point)
    except PluginFault as fault:
        tell.finding(Level.FAILURE, "hooks", str(fault))
        return
    tell.finding(Level.OK, "hooks", ", ".join(told.hooks))
    tell.line(venues=[spec.name for spec in told.venues])
    for spec in told.venues:
        tell.stage(f"venue {spec.name}")
        _venue(spec, tell)
    for harness in told.harnesses:
        tell.stage(f"harness of {harness.venue}")
        _harness(harness, tell)
    parts = [("admission check", spec.name, spec.factory) for spec in told.admissions]
    parts += [("sink", spec.name, spec.factory) for spec in told.sinks]
    parts += [("health check", spec.name, spec.factory) for spec in told.checks]
    parts += [("command", spec.name, spec.factory) for spec in told.commands]
    for kind, name, factory in parts:
        tell.stage(f"{kind} {name}")
        _part(f"{kind} {name}", factory, tell)
    tell.stage("exk_doctor")
    try:
        own = findings(point)
    except PluginFault as fault:
        tell.finding(Level.FAILURE, "exk_doctor", str(fault))
        return
    for each in own:
        tell.finding(each.level, each.subject, each.text, each.hint)


def _venue(spec: VenueSpec, tell: _Told) -> None:
    subject = f"venue {spec.name}"
    wrong: list[Finding] = []
    try:
        adapter = guarded(f"{spec.factory} cannot be made: ", resolve(spec.factory))
        wrong = guarded("", lambda: shape(adapter))
    except PluginFault as fault:
        tell.finding(Level.FAILURE, subject, str(fault))
        return
    for each in wrong:
        tell.finding(each.level, subject, f"{each.subject}: {each.text}")
    if spec.config is not None:
        try:
            resolve(spec.config)
        except PluginFault as fault:
            tell.finding(Level.FAILURE, subject, f"its settings {spec.config} cannot be imported: {fault}")
            return
    if not wrong:
        tell.finding(Level.OK, subject, f"{spec.title} ({spec.kind}), {spec.factory}")


def _part(subject: str, factory: str, tell: _Told) -> None:
    try:
        resolve(factory)
    except PluginFault as fault:
        tell.finding(Level.FAILURE, subject, f"{factory} cannot be imported: {fault}")
    else:
        tell.finding(Level.OK, subject, factory)


def _harness(harness: HarnessSpec, tell: _Told) -> None:
    subject = f"harness of {harness.venue}"
    try:
        resolve(harness.factory)
    except PluginFault as fault:
        # A harness may need test libraries, which need not be where orders are run.
        missing = isinstance(fault.__cause__, ModuleNotFoundError)
        hint = "install exchange-kernel[testing], where its cases are to be run" if missing else ""
        tell.finding(Level.WARNING if missing else Level.FAILURE, subject, str(fault), hint)
    else:
        tell.finding(Level.OK, subject, harness.factory)
