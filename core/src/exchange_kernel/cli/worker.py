"""``exk worker``: one of several processes that share the accounts."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import click

from exchange_kernel.cli.desk import config_option, run
from exchange_kernel.cli.listen import Serving, listen_options, listening
from exchange_kernel.cli.output import clean
from exchange_kernel.cli.run import log_levels
from exchange_kernel.config import load
from exchange_kernel.logs import log_to, tell_events
from exchange_kernel.platform import Platform
from exchange_kernel.worker import Timing, Worker


@click.command("worker")
@config_option
@click.option(
    "--worker-name", default="", metavar="NAME", help="By which the others know it; host and process id else."
)
@click.option(
    "--drain",
    type=click.FloatRange(0, 3600),
    default=20.0,
    show_default=True,
    metavar="SECONDS",
    help="How long it waits at its end for others to stand ready.",
)
@listen_options(required=False)
@log_levels
@run
async def command(
    config_path: Path, worker_name: str, drain: float, log_level: str, log_format: str, **listen: Any
) -> None:
    """Run a share of the configured accounts, beside other workers on the same store.

    Accounts are spread over the workers that are there, taken over from those that are gone, and handed over where that
    is fairer. At SIGTERM it gives its accounts to workers that stand ready for them, and ends. With --listen it serves
    /livez, /readyz and /metrics. See docs/operate.md.
    """
    serving = listening(probes=True, **listen)
    platform = Platform(load(config_path), placed=True, name=worker_name, actor="worker")
    log_to(sys.stderr, log_level, as_json=log_format == "json")
    if log_level == "debug":
        platform.store.listen(tell_events)
    await _work(Worker(platform, timing=Timing(drain=drain)), serving)


async def _work(worker: Worker, serving: Serving) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    platform = worker.platform
    platform.takes_part = lambda: worker.ready and not worker.draining
    async with platform, serving(platform):
        click.echo(f"worker {clean(worker.name)} takes part in {len(platform)} accounts")
        await worker.run(stop)
        click.echo("stopping")
    click.echo("stopped")
