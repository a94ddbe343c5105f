"""``exk conformance`` and ``exk plugins grade``: the cases against an installed venue, without a test file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from exchange_kernel import __version__
from exchange_kernel.cli.exits import Failed
from exchange_kernel.cli.output import as_json, clean, show, table
from exchange_kernel.errors import ConfigError
from exchange_kernel.plugins import Plugins, load
from exchange_kernel.plugins.loader import resolve
from exchange_kernel.schema import SupportLevel
from exchange_kernel.schema.fields import close_to
from exchange_kernel.testing.conformance.bench import Bench
from exchange_kernel.testing.conformance.harness import Harness
from exchange_kernel.testing.conformance.registry import Case, all_cases
from exchange_kernel.testing.conformance.report import GRADES, Report, Result
from exchange_kernel.testing.conformance.run import run_case, run_cases

_FORM = click.option("-o", "--output", "form", type=click.Choice(["table", "json"]), default="table")
_PLUGIN = click.option("--plugin", default="", metavar="DISTRIBUTION", help="Of this one, where several offer it.")


@click.group("conformance")
def conformance() -> None:
    """Does a venue's adapter keep the contract? Case by case, against the venue that its plugin brings for it."""


@conformance.command("list")
@_FORM
def list_cases(form: str) -> None:
    """The cases of this kit."""
    rows = [{"case": c.id, "group": c.group, "grade": c.grade, "rule": c.rule, "title": c.title} for c in all_cases()]
    show(rows, ("case", "grade", "rule", "title"), form, "no cases")


@conformance.command("run")
@click.argument("venue")
@click.option("--case", "ids", multiple=True, metavar="ID", help="Only this case; may be given several times.")
@click.option("--report", type=click.Path(path_type=Path, dir_okay=False), help="Write the result to FILE, as JSON.")
@click.option("--markdown", type=click.Path(path_type=Path, dir_okay=False), help="The same, for people to read.")
@_PLUGIN
@_FORM
def run(venue: str, ids: tuple[str, ...], report: Path | None, markdown: Path | None, plugin: str, form: str) -> None:
    """Run the cases against VENUE. Exits 1 if one fails.

    A case may also be about something the venue does not offer (unsupported), or need something its plugin's harness
    cannot do (missing). Neither is a failure; a missing one keeps the venue from the grade that needs it.
    """
    cases = _chosen(ids)
    made = _run(venue, plugin, cases, _progress(len(cases)))
    # From all cases: of a run of some of them no grade follows.
    rows = as_json(made.to_dict(all_cases()))
    if report is not None:
        _write(report, rows + "\n")
    if markdown is not None:
        _write(markdown, made.to_markdown(all_cases()))
    if form == "json":
        click.echo(rows)
    else:
        _tell(made, cases, partly=bool(ids))
    if made.failed:
        raise click.exceptions.Exit(1)


@click.command("grade")
@click.argument("venue", required=False)
@_PLUGIN
@_FORM
def grade(venue: str | None, plugin: str, form: str) -> None:
    """The grade of VENUE, or of every venue installed, computed by running all cases now.

    A grade is reached when every case of it, and of the grades below, has passed or is about something the venue does
    not offer.
    """
    installed, cases = load(), all_cases()
    names = [venue] if venue else [name for name in sorted(installed.venues) if _has_harness(installed, name)]
    rows = []
    for name in names:
        report = _run(name, plugin, cases, None)
        counts = Counter(result.status for result in report.results)
        reached = report.grade(cases)
        rows.append(
            {
                "venue": name,
                "plugin": report.plugin,
                "grade": reached or "none",
                "passed": counts["passed"],
                "unsupported": counts["unsupported"],
                "missing": counts["missing"],
                "failed": counts["failed"] + counts["deviation"],
                "in_the_way": _in_the_way(report, cases),
            }
        )
    columns = ("venue", "plugin", "grade", "passed", "unsupported", "missing", "failed", "in_the_way")
    show(rows, columns, form, "no installed venue brings a harness")


def _chosen(ids: Sequence[str]) -> tuple[Case, ...]:
    known = {case.id: case for case in all_cases()}
    for name in ids:
        if name.upper() not in known:
            near = close_to(name.upper(), known)
            raise Failed(f"no case {clean(name)}; {f'did you mean {near}?' if near else 'see exk conformance list'}", 2)
    wanted = {name.upper() for name in ids}
    return tuple(case for case in known.values() if not wanted or case.id in wanted)


def _run(venue: str, distribution: str, cases: Sequence[Case], progress: Callable[[Result], None] | None) -> Report:
    installed = load()
    plugin = installed.venue(venue, distribution).plugin
    spec = installed.harness(venue, distribution)
    try:
        make = resolve(spec.factory)
    except Exception as error:
        rule = f"its harness cannot be imported: {type(error).__name__}: {error}"
        raise ConfigError("venue", venue, rule, f"tell the author of {plugin.distribution}") from error
    if not (isinstance(make, type) and issubclass(make, Harness)):
        raise ConfigError("venue", venue, f"{spec.factory} is no Harness", f"tell the author of {plugin.distribution}")
    results = run_cases(cases, make, make.deviations, progress)
    return Report(
        venue,
        f"exchange-kernel {__version__}",
        f"{plugin.distribution} {plugin.version}",
        tuple(results),
        _capabilities(make()),
    )


def _capabilities(harness: Harness) -> dict[str, dict[str, str]]:
    """Symbol to feature to what the venue says of it; nothing where it cannot even be opened, which cases tell."""
    found: dict[str, dict[str, str]] = {}

    async def look(bench: Bench) -> None:
        for symbol in bench.symbols.values():
            found[symbol.symbol_id] = {
                name: f"{each.level.value}: {each.note}" if each.level is SupportLevel.PARTIAL else each.level.value
                for name, each in symbol.capabilities.features.items()
            }

    run_case(Case("LOOK", "its capabilities", "metadata", "bronze", "", (), (), look, "Looks."), harness)
    return found


def _progress(total: int) -> Callable[[Result], None]:
    done = 0

    def tell(result: Result) -> None:
        nonlocal done
        done += 1
        click.echo(f"{done:>3}/{total} {result.id:<8} {result.status:<11} {result.seconds:6.2f} s", err=True)

    return tell


def _tell(report: Report, cases: Sequence[Case], *, partly: bool) -> None:
    about = {case.id: case for case in cases}
    rows: list[dict[str, Any]] = [
        {
            "case": each.id,
            "grade": about[each.id].grade,
            "result": each.status,
            "what must hold": about[each.id].title,
        }
        for each in report.results
    ]
    click.echo(table(rows, ("case", "grade", "result", "what must hold"), "no cases"))
    for wanted in ("failed", "deviation", "missing"):
        for each in report.results:
            if each.status == wanted:
                click.echo(f"\n{each.id} {wanted}: {clean(each.reason)}")
                if wanted == "failed":
                    click.echo(f"  {' '.join(about[each.id].doc.split())}")
    counts = Counter(result.status for result in report.results)
    summary = ", ".join(f"{count} {status}" for status, count in counts.items())
    reached = "not computed from some of the cases" if partly else report.grade(cases) or "none"
    click.echo(f"\n{report.venue} by {report.plugin}, kit {report.kit}: {summary}; grade: {reached}")


def _in_the_way(report: Report, cases: Sequence[Case]) -> list[str]:
    """The cases that keep the venue from the next grade."""
    reached = report.grade(cases)
    following = GRADES[0 if reached is None else min(GRADES.index(reached) + 1, len(GRADES) - 1)]
    status = {result.id: result.status for result in report.results}
    return [c.id for c in cases if c.grade == following and status[c.id] not in ("passed", "unsupported")]


def _has_harness(installed: Plugins, venue: str) -> bool:
    return any(each.venue == venue for each in installed.venues[venue].plugin.harnesses)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Failed(f"{clean(path)} cannot be written: {error.strerror}", 1) from None
