"""``exk halt``: no orders until somebody resumes."""

from __future__ import annotations

from pathlib import Path

import click

from exchange_kernel.cli.desk import Desk, account_option, actor_option, config_option, desk, reason_option, run
from exchange_kernel.cli.output import clean
from exchange_kernel.errors import ConfigError
from exchange_kernel.orders.names import check_accountable
from exchange_kernel.state.ops import SetHalt


@click.command("halt")
@config_option
@account_option
@click.option("--all", "platform", is_flag=True, help="The whole platform: every account of the store.")
@actor_option
@reason_option
@run
async def command(config_path: Path, account: str | None, platform: bool, actor: str, reason: str) -> None:
    """Refuse and send no order on an account, or on all, until resumed. It outlives restarts; cancels still work."""
    one_or_all(account, platform)
    check_accountable(actor, reason)
    async with desk(config_path) as at:
        await at.store.execute(await halting(at, account, True, actor, reason))
    click.echo(f"{'the platform' if account is None else clean(account)} is halted")


def one_or_all(account: str | None, platform: bool) -> None:
    """Exactly one of --account and --all. Raises UsageError."""
    if (account is None) != platform:
        raise click.UsageError("give --account or --all")


async def halting(at: Desk, account: str | None, halt: bool, actor: str, reason: str) -> SetHalt:
    """The operation that halts or resumes an account, or with None the platform. Raises ConfigError."""
    stored = tuple(await at.store.accounts())
    if account is None:
        return SetHalt(None, halt, actor, reason[:200], stored)
    if account not in stored:
        at.config.account(account)
        raise ConfigError("account", account, "is not in the store yet", "its kernel was never started")
    return SetHalt(account, halt, actor, reason[:200])
