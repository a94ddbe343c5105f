"""``exk doctor``: what is missing before everything works, and what to do about it."""

from __future__ import annotations

import asyncio
import os
import platform
import shutil
from pathlib import Path

import click

from exchange_kernel import __version__
from exchange_kernel.cli.desk import config_option, missing_file, output_option, run
from exchange_kernel.cli.inspect import inspect, report, row, well
from exchange_kernel.cli.output import as_json
from exchange_kernel.cli.visit import fault, plugins_of
from exchange_kernel.clock import SystemClock
from exchange_kernel.config import Config, load
from exchange_kernel.errors import ConfigError, ExchangeKernelError, SchemaMismatch
from exchange_kernel.plugins import Plugins
from exchange_kernel.plugins.specs import Finding, Level
from exchange_kernel.state import IntentStateStore

LEAST_FREE = 256 * 1024 * 1024
_OK, _WARNING, _FAILURE = Level.OK, Level.WARNING, Level.FAILURE


@click.command("doctor")
@config_option
@click.option("--offline", is_flag=True, help="Without asking any venue.")
@output_option
@run
async def command(config_path: Path, offline: bool, form: str) -> None:
    """Look at everything that a kernel needs: configuration, secrets, plugins, store, folders, and each account at its
    venue. Changes nothing. Exits 1 when anything keeps a kernel from working.
    """
    parts: dict[str, list[Finding]] = {"installation": _installation()}
    try:
        config = load(config_path)
    except ExchangeKernelError as error:
        hint = "exk init writes one with comments, exk schema config tells what may stand in it"
        parts["configuration"] = [Finding(_FAILURE, "configuration", str(error), hint)]
    else:
        parts["configuration"] = [Finding(_OK, "configuration", f"{config_path}: {len(config.accounts)} accounts")]
        plugins = plugins_of(config)
        parts["plugins"] = _plugins(config, plugins)
        parts["store"] = [*await _store(config), *_folder(config)]
        names = list(config.accounts)
        looks = (inspect(config.accounts[name], plugins, offline=offline) for name in names)
        parts |= dict(zip((f"account {name}" for name in names), await asyncio.gather(*looks), strict=True))
    sound = all(well(each) for each in parts.values())
    if form == "json":
        rows = [{"part": name, "well": well(f), "findings": [row(each) for each in f]} for name, f in parts.items()]
        click.echo(as_json(rows))
    else:
        for name, findings in parts.items():
            report(name, findings)
        warnings = sum(each.level is _WARNING for f in parts.values() for each in f)
        failures = sum(each.level is _FAILURE for f in parts.values() for each in f)
        click.echo(f"\n{failures} failures, {warnings} warnings")
    if not sound:
        raise click.exceptions.Exit(1)


def _installation() -> list[Finding]:
    text = f"exchange-kernel {__version__} on Python {platform.python_version()}"
    return [Finding(_OK, "versions", text)]


def _plugins(config: Config, plugins: Plugins) -> list[Finding]:
    venues = ", ".join(sorted(plugins.venues)) or "none"
    found = [Finding(_OK, "venues", venues)]
    for bad in plugins.troubles:
        # What no account needs hurts none; an account that needs it says so itself.
        text = f"{bad.name} ({bad.distribution}) is {bad.status}: {bad.error}"
        found.append(Finding(_WARNING, "plugin", text, "exk plugins doctor tells more"))
    for number, use in enumerate(config.sinks):
        try:
            plugins.sink(use.name, use.plugin, f"sinks[{number}]")
            use.resolve_secrets(f"sinks[{number}]")
        except ConfigError as error:
            found.append(Finding(_FAILURE, "sink", str(error)))
    return found


async def _store(config: Config) -> list[Finding]:
    try:
        url = config.store_url
    except ConfigError as error:
        return [Finding(_FAILURE, "store", str(error))]
    file = missing_file(url)
    if file:
        return [Finding(_OK, "store", f"there is none at {file} yet: `exk run` makes it")]
    from exchange_kernel.state.sql import SqlIntentStore

    store = SqlIntentStore(url)
    try:
        suspicion = await store.open()
        found = [Finding(_OK, "store", f"it answers, and its schema is this release's ({url.partition(':')[0]})")]
        if suspicion is not None:
            text = f"it may have lost commits: {suspicion.cause}"
            found.append(Finding(_WARNING, "store", text, "the next start of each account looks everything up first"))
        return found + await _rows(config, store)
    except SchemaMismatch as error:
        return [Finding(_FAILURE, "store", str(error), "stop its processes, back it up, then exk db upgrade")]
    except (ExchangeKernelError, OSError) as error:
        return [Finding(_FAILURE, "store", fault(error))]
    finally:
        await store.close()


async def _rows(config: Config, store: IntentStateStore) -> list[Finding]:
    found = []
    now = SystemClock().now_ms()
    halted = (await store.store_row()).halted
    if halted is not None:
        found.append(
            Finding(_WARNING, "halted", f"the platform, by {halted['actor']}: {halted['reason']}", "exk resume")
        )
    for name in config.accounts:
        row, lease = await store.account_row(name), await store.lease(name)
        if row is None:
            continue
        if row.halted is not None:
            text = f"account {name}, by {row.halted['actor']}: {row.halted['reason']}"
            found.append(Finding(_WARNING, "halted", text, f"exk resume -A {name}"))
        if row.recovering is not None:
            text = f"account {name} opens nothing yet: {row.recovering.get('cause')}"
            found.append(Finding(_WARNING, "recovering", text, "it goes on by itself once its venue has been read"))
        runs = lease is not None and lease.expires_at > now
        text = f"account {name} is run by {lease.owner}" if runs and lease is not None else f"no kernel runs {name} now"
        found.append(Finding(_OK, "kernel", text))
    for name in sorted({*await store.accounts()} - {*config.accounts}):
        text = f"account {name} is in the store and in no configuration: nobody works on its orders"
        found.append(Finding(_WARNING, "account", text, "configure it again, or cancel its orders"))
    return found


def _folder(config: Config) -> list[Finding]:
    folder = config.state_dir
    existing = next(each for each in (folder, *folder.parents) if each.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        hint = "kernel and panic keep their journals there"
        return [Finding(_FAILURE, "state_dir", f"{folder} cannot be written", hint)]
    free = shutil.disk_usage(existing).free
    if free < LEAST_FREE:
        text = f"{free // 1024 // 1024} MiB are free on the disk of {folder}"
        return [Finding(_WARNING, "disk", text, "a full disk stops every order: make room")]
    return [Finding(_OK, "state_dir", f"{folder} can be written")]
