"""``exk plugins uninstall``: remove plugins, and nothing else."""

from __future__ import annotations

import sys

import click

from exchange_kernel.cli.exits import Failed
from exchange_kernel.cli.output import clean
from exchange_kernel.cli.plugin_install import announce, carry_out, exact_option, yes_option
from exchange_kernel.plugins import Policy, scan
from exchange_kernel.plugins.compat import canonical
from exchange_kernel.plugins.packages import distribution, installer, uninstall_command


@click.command("uninstall")
@click.argument("names", nargs=-1, required=True)
@exact_option
@yes_option
def command(names: tuple[str, ...], exact: bool, yes: bool) -> None:
    """Remove plugins from this Python. NAMES as for install; only what brings a plugin is removed."""
    installed = {canonical(each.distribution): each.distribution for each in scan(policy=Policy()).found}
    wanted = []
    for name in names:
        meant = canonical(distribution(name, exact=exact))
        found = installed.get(meant) or installed.get(canonical(name))
        if found is None:
            known = ", ".join(sorted(installed)) or "none"
            raise Failed(f"{clean(name)} is no installed plugin: there are {clean(known)}", 2)
        wanted.append(found)
    tool = installer()
    announce(f"uninstall {', '.join(wanted)}", f"from {sys.executable}", "accounts that use it will not start", yes=yes)
    carry_out(uninstall_command(tool, wanted), "nothing was removed")
