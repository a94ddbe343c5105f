"""``exk api``: the HTTP API beside kernels that run elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from exchange_kernel.cli.desk import config_option, run
from exchange_kernel.cli.listen import listen_options, listening
from exchange_kernel.cli.run import log_levels, work
from exchange_kernel.config import load
from exchange_kernel.platform import Platform


@click.command("api")
@config_option
@listen_options(required=True)
@log_levels
@run
async def command(config_path: Path, log_level: str, log_format: str, **listen: Any) -> None:
    """Serve the HTTP API without running the kernels: what is declared is worked on by `exk run`, wherever it runs.

    Foreign orders are not seen, and nothing is sent to a venue from here. See docs/http-api.md.
    """
    serving = listening(**listen)
    await work(Platform(load(config_path), follow=True, actor="api"), serving, log_level, log_format)
