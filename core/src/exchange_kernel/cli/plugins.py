"""``exk plugins``: what is installed, whether it works, and who made it."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import click

from exchange_kernel.cli.desk import config_option, output_option
from exchange_kernel.cli.exits import Failed
from exchange_kernel.cli.output import clean, show
from exchange_kernel.config import DEFAULT_PATH
from exchange_kernel.plugins import HOOKS, Plugin, Policy, load, scan

# Subcommands that are modules of their own, imported when they are used: name to module and what it does.
MODULES: Final = {
    "install": ("plugin_install", "Install plugins into this Python, without moving the core."),
    "uninstall": ("plugin_uninstall", "Remove plugins from this Python."),
    "doctor": ("plugin_doctor", "Examine plugins, each in a process of its own."),
    "grade": ("grade", "What a venue is worth, by a conformance run made now."),
}
COLUMNS = ("name", "distribution", "version", "status", "venues", "origin")


class Lazy(click.Group):
    """A group some of whose commands are imported when they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *MODULES]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in MODULES:
            found: click.Command = import_module(f"exchange_kernel.cli.{MODULES[cmd_name][0]}").command
            return found
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        own = [(name, command.get_short_help_str(80)) for name, command in sorted(self.commands.items())]
        with formatter.section("Commands"):
            formatter.write_dl([*own, *((name, text) for name, (_, text) in MODULES.items())])


@click.group("plugins", cls=Lazy)
def command() -> None:
    """Look after plugins: what other distributions bring. They run inside the kernel, with all it can do.

    EXK_PLUGINS names the plugins to look at, between commas ("" for none). EXK_STRICT_PLUGINS=1 stops at the first that
    is not in order.
    """


def policy_of(config_path: Path) -> Policy:
    """The configuration's allow-list where there is a configuration, and the environment. Raises ConfigError."""
    if config_path == Path(DEFAULT_PATH) and not config_path.exists():
        return Policy.of()
    from exchange_kernel.config import load as load_config

    return Policy.of(load_config(config_path).allowed_plugins)


@command.command("list")
@config_option
@output_option
@click.option("--no-load", is_flag=True, help="From what is installed alone: import nothing of any plugin.")
def list_plugins(config_path: Path, form: str, no_load: bool) -> None:
    """List the installed plugins, what they bring, and what is wrong with them."""
    policy = policy_of(config_path)
    found = scan(policy=policy) if no_load else load(policy=policy)
    show([_row(plugin) for plugin in found.found], COLUMNS, form, "no plugin is installed")
    if form == "table":
        for line in remarks(found.found):
            click.echo(line)


def remarks(plugins: Sequence[Plugin]) -> list[str]:
    """A line for every plugin about which there is something to say."""
    lines = []
    for plugin in plugins:
        name = clean(f"{plugin.name} ({plugin.distribution})")
        lines += [f"{name}: {clean(plugin.error)}"] if plugin.error else []
        lines += [f"{name}: {clean(text)}" for text in plugin.warnings]
    return lines


def _row(plugin: Plugin) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "status": plugin.status,
        "error": plugin.error,
        "module": plugin.module,
        "needs": plugin.needs,
        "origin": f"{plugin.origin}{' (editable)' if plugin.editable else ''}",
        "hooks": list(plugin.hooks),
        "venues": [spec.name for spec in plugin.venues],
        "specs": [{name: getattr(spec, name) for name in spec.__dataclass_fields__} for spec in plugin.venues],
        "harnesses": {spec.venue: spec.factory for spec in plugin.harnesses},
        "admission": {spec.name: spec.factory for spec in plugin.admissions},
        "sinks": {spec.name: spec.factory for spec in plugin.sinks},
        "health_checks": {spec.name: spec.factory for spec in plugin.checks},
        "commands": {spec.name: spec.factory for spec in plugin.commands},
        "warnings": list(plugin.warnings),
    }


@command.command("explain")
@click.argument("hook", required=False)
def explain(hook: str | None) -> None:
    """Show a hook's signature and meaning; without a name, all hooks."""
    if hook is not None and hook not in HOOKS:
        raise Failed(f"there is no hook {clean(hook)}: there are {', '.join(HOOKS)}", 2)
    for name in HOOKS if hook is None else (hook,):
        function = HOOKS[name]
        signature = str(inspect.signature(function)).replace("'", "")
        click.echo(f"@hookimpl\ndef {name}{signature}:")
        click.echo("\n".join(f"    {line}".rstrip() for line in (inspect.getdoc(function) or "").splitlines()) + "\n")
