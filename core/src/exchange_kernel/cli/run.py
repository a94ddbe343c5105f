"""``exk run``: the kernels themselves."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import click

from exchange_kernel.base import ExchangeKernel
from exchange_kernel.cli.desk import config_option, run
from exchange_kernel.cli.exits import Failed
from exchange_kernel.cli.listen import Serving, listen_options, listening
from exchange_kernel.cli.output import clean
from exchange_kernel.config import load
from exchange_kernel.logs import log_to, tell_events
from exchange_kernel.platform import Platform

POLL_S = 0.5


def log_levels(command: Any) -> Any:
    """How much is logged, and in which form."""
    form = click.Choice(["text", "json"])
    command = click.option("--log-format", type=form, default="text", help="For people, or one JSON object a line.")(
        command
    )
    level = click.Choice(["debug", "info", "warning", "error"])
    return click.option("--log-level", type=level, default="info")(command)


@click.command("run")
@config_option
@click.option("--standby", is_flag=True, help="Wait for accounts that another process owns, instead of refusing them.")
@listen_options(required=False)
@log_levels
@run
async def command(config_path: Path, standby: bool, log_level: str, log_format: str, **listen: Any) -> None:
    """Run the kernels of all configured accounts, until interrupted.

    An account that cannot start is told, and tried again where the cause may pass; the others run. Orders stay at their
    venues when this ends. With --listen the HTTP API is served too: see docs/http-api.md.
    """
    serving = listening(**listen)
    await work(Platform(load(config_path), standby=standby, actor="run"), serving, log_level, log_format)


async def work(platform: Platform, serving: Serving, log_level: str, log_format: str) -> None:
    """Run a platform, and what serves it, until interrupted."""
    log_to(sys.stderr, log_level, as_json=log_format == "json")
    if log_level == "debug":
        platform.store.listen(tell_events)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    click.echo(f"starting {', '.join(clean(name) for name in platform)}")
    if not await _started(platform, stop):
        return
    async with platform, serving(platform):
        told: set[str] = set()
        while not stop.is_set():
            await _tell(platform, told)
            if not platform.running and not platform.retrying:
                raise Failed("no account could be started", 1)
            try:
                async with asyncio.timeout(None if len(told) == len(platform) else POLL_S):
                    await stop.wait()
            except TimeoutError:
                continue
        click.echo("stopping")
    click.echo("stopped")


async def _started(platform: Platform, stop: asyncio.Event) -> bool:
    """Start, unless told to stop before that is done. Raises what keeps the store from opening."""
    starting, stopping = asyncio.create_task(platform.start()), asyncio.create_task(stop.wait())
    await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
    stopping.cancel()
    try:
        await starting
    except asyncio.CancelledError:
        return False
    return True


async def _tell(platform: Platform, told: set[str]) -> None:
    for name in sorted(platform.running - told):
        told.add(name)
        click.echo(f"{clean(name)} is running{await _state(platform[name])}")


async def _state(kernel: ExchangeKernel) -> str:
    health = await kernel.health_check()
    account = health.components.get("account")
    return f", and sends nothing: {clean(account.reason)}" if account is not None and not account.healthy else ""
