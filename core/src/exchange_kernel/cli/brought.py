"""``exk NAME`` for a name of a plugin's own: the commands that plugins bring."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import click

from exchange_kernel.cli.exits import Failed
from exchange_kernel.cli.output import clean
from exchange_kernel.cli.plugins import policy_of
from exchange_kernel.config import DEFAULT_PATH
from exchange_kernel.errors import ExchangeKernelError
from exchange_kernel.plugins import Policy, load
from exchange_kernel.plugins.interrogate import PluginFault, guarded
from exchange_kernel.plugins.loader import resolve


@cache
def find(name: str) -> click.Command | None:
    """The command of that name, of a plugin that is in order and allowed. Raises Failed when it cannot be imported."""
    try:
        policy = policy_of(Path(os.environ.get("EXK_CONFIG", DEFAULT_PATH)))
    except ExchangeKernelError:
        # A configuration that cannot be read allows nothing: its list may be what is wrong with it.
        policy = Policy.of(())
    found = load(policy=policy).command(name)
    if found is None:
        return None
    plugin, spec = found
    try:
        command: object = guarded("", lambda: resolve(spec.factory))
    except PluginFault as fault:
        raise Failed(
            f"{clean(name)}: the command of {clean(plugin.distribution)} cannot be used: {fault}", 1
        ) from fault
    if not isinstance(command, click.Command):
        raise Failed(f"{clean(name)}: {spec.factory} of {clean(plugin.distribution)} is no click command", 1)
    return command
