"""``exk plugins doctor``: is a plugin fit to be used?"""

from __future__ import annotations

from pathlib import Path

import click

from exchange_kernel.cli.desk import config_option, output_option
from exchange_kernel.cli.output import as_json, clean
from exchange_kernel.cli.plugins import policy_of
from exchange_kernel.plugins.doctor import PATIENCE_S, Examined, examine
from exchange_kernel.plugins.specs import Level

_MARKS = {Level.OK: "ok  ", Level.WARNING: "WARN", Level.FAILURE: "FAIL"}


@click.command("doctor")
@click.argument("names", nargs=-1)
@config_option
@output_option
@click.option(
    "--timeout", type=click.FloatRange(1.0), default=PATIENCE_S, show_default=True, help="Seconds per plugin."
)
def command(names: tuple[str, ...], config_path: Path, form: str, timeout: float) -> None:
    """Examine plugins, all or those of these NAMES (of entry points or distributions).

    Each is imported, asked and closed down in a fresh process. Exits 1 when any is not fit to be used. A plugin that is
    fit may still do harm: nothing here reads its code.
    """
    found = examine(names, policy=policy_of(config_path), patience=timeout)
    report(found, form)
    if not all(each.well for each in found):
        raise click.exceptions.Exit(1)


def report(found: tuple[Examined, ...], form: str = "table") -> None:
    """Print what was found."""
    if form == "json":
        click.echo(as_json([_row(each) for each in found]))
        return
    if not found:
        click.echo("no plugin is installed")
    for each in found:
        plugin = each.plugin
        click.echo(f"{clean(plugin.name)}  {clean(plugin.distribution)} {clean(plugin.version)}")
        for finding in each.findings:
            hint = f"; {finding.hint}" if finding.hint and finding.level is not Level.OK else ""
            click.echo(f"  {_MARKS[finding.level]}  {clean(finding.subject)}: {clean(finding.text)}{clean(hint)}")


def _row(each: Examined) -> dict[str, object]:
    findings = [
        {"level": finding.level, "subject": finding.subject, "text": finding.text, "hint": finding.hint}
        for finding in each.findings
    ]
    plugin = each.plugin
    named = {"name": plugin.name, "distribution": plugin.distribution, "version": plugin.version}
    return {**named, "well": each.well, "findings": findings}
