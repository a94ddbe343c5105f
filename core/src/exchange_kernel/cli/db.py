"""``exk db``: the store's schema."""

from __future__ import annotations

from pathlib import Path

import click

from exchange_kernel.cli.desk import config_option
from exchange_kernel.config import load


@click.group("db")
def command() -> None:
    """Look after the store's schema. Nothing changes it unasked."""


@command.command("upgrade")
@config_option
def upgrade(config_path: Path) -> None:
    """Bring the store to this release's schema, or make it. Stop its processes and back it up first."""
    from exchange_kernel.state.sql import upgrade as bring_up

    config = load(config_path)
    click.echo("upgrading the store …")
    bring_up(config.store_url)
    click.echo("the store has this release's schema")
