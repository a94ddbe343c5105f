"""``exk resume``: lift a halt."""

from __future__ import annotations

from pathlib import Path

import click

from exchange_kernel.cli.desk import account_option, actor_option, config_option, desk, reason_option, run, tell
from exchange_kernel.cli.halt import halting, one_or_all
from exchange_kernel.cli.output import clean
from exchange_kernel.orders.names import check_accountable
from exchange_kernel.panic import import_journal


@click.command("resume")
@config_option
@account_option
@click.option("--all", "platform", is_flag=True, help="The platform's halt; accounts halted by themselves stay halted.")
@actor_option
@reason_option
@run
async def command(config_path: Path, account: str | None, platform: bool, actor: str, reason: str) -> None:
    """Lift the halt of an account, or of the platform. A panic that no kernel has seen yet is imported first."""
    one_or_all(account, platform)
    check_accountable(actor, reason)
    async with desk(config_path) as at:
        operation = await halting(at, account, False, actor, reason)
        if account is not None:
            await import_journal(at.store, account, at.config.state_dir)
        changed = await at.store.execute(operation)
        left = []
        if account is not None and (await at.store.store_row()).halted is not None:
            left.append("the platform")
        for name in await at.store.accounts() if account is None else ():
            row = await at.store.account_row(name)
            left += [clean(name)] if row is not None and row.halted is not None else []
    named = "the platform" if account is None else clean(account)
    click.echo(f"{named} is resumed" if changed else f"{named} was not halted")
    tell(f"still halted: {', '.join(left)}" if left else "")
