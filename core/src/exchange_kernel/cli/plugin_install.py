"""``exk plugins install``: another distribution beside the core, which it must not move."""

from __future__ import annotations

import importlib
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from exchange_kernel.cli.desk import config_option
from exchange_kernel.cli.exits import Failed
from exchange_kernel.cli.output import clean
from exchange_kernel.cli.plugin_doctor import report
from exchange_kernel.cli.plugins import policy_of
from exchange_kernel.plugins import Policy, scan
from exchange_kernel.plugins.doctor import examine
from exchange_kernel.plugins.packages import install_command, installer, pinned_core, target

exact_option = click.option("--exact", is_flag=True, help="NAMES are distributions as they are, not short names.")
yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


@click.command("install")
@click.argument("names", nargs=-1, required=True)
@config_option
@exact_option
@yes_option
def command(names: tuple[str, ...], config_path: Path, exact: bool, yes: bool) -> None:
    """Install plugins into this Python, then examine them.

    NAMES: short (binance is exchange-kernel-binance), distributions with or without versions (binance==1.2), wheels,
    folders or addresses. The version of the running core is pinned: a plugin that needs another is refused.
    """
    policy = policy_of(config_path)
    targets = [target(name, exact=exact) for name in names]
    tool = installer()
    before = _installed()
    with tempfile.TemporaryDirectory(prefix="exk-") as folder:
        constraints = Path(folder) / "constraints.txt"
        constraints.write_text(pinned_core() + "\n")
        announce(
            f"install {', '.join(targets)}",
            f"into {sys.executable}",
            f"{pinned_core()} stays as it is",
            "a plugin runs inside the kernel, with its accounts' credentials: install what you trust",
            yes=yes,
        )
        carry_out(install_command(tool, targets, constraints), "nothing was installed")
    changed = sorted(name for name, version in _installed().items() if before.get(name) != version)
    if not changed:
        click.echo("nothing changed: no plugin among it, or it was there already")
        return
    if policy.allow is not None:
        for name in changed:
            why = policy.refusal(name, name)
            if why:
                click.echo(f"{clean(name)} will not be loaded: {clean(why)}")
    # Examined whether or not it is allowed yet: its owner has just asked for it.
    found = examine(changed, policy=Policy())
    report(found)
    if not all(each.well for each in found):
        raise Failed("installed, and not fit to be used: `exk plugins uninstall` removes it")


def announce(*lines: str, yes: bool) -> None:
    """Tell what will be done, and ask unless told not to."""
    for line in lines:
        click.echo(clean(line))
    if not yes:
        click.confirm("go on?", abort=True)


def carry_out(command_line: list[str], otherwise: str) -> None:
    """Run an installer, its output on the terminal. Raises Failed."""
    click.echo(f"$ {clean(shlex.join(command_line))}")
    code = subprocess.run(command_line, check=False).returncode
    if code:
        raise Failed(f"the installer failed with exit code {code}: {otherwise}")


def _installed() -> dict[str, str]:
    """Version and origin of every plugin's distribution, read anew."""
    importlib.invalidate_caches()
    return {each.distribution: f"{each.version} {each.origin}" for each in scan(policy=Policy()).found}
