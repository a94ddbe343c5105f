"""``exk verify``: does the event log add up to what is stored?"""

from __future__ import annotations

from pathlib import Path

import click

from exchange_kernel.cli.desk import account_option, config_option, desk, output_option, run
from exchange_kernel.cli.output import as_json, clean


@click.command("verify")
@config_option
@account_option
@output_option
@run
async def command(config_path: Path, account: str | None, form: str) -> None:
    """Check the hash chain of the event log, and that folding it gives the stored rows. Exits 1 at any difference."""
    from exchange_kernel.state.sql.verify import verify

    found = {}
    async with desk(config_path) as at:
        for name in await at.accounts(account):
            if await at.store.account_row(name) is not None:
                found[name] = await verify(at.store, name)
    if form == "json":
        rows = {name: {**each._asdict(), "differences": list(each.differences)} for name, each in found.items()}
        click.echo(as_json(rows))
    else:
        for name, each in found.items():
            verdict = "differs:" if each.differences else "in order"
            click.echo(f"{clean(name)}: {each.intents} intents, {each.events} events, {verdict}")
            for difference in each.differences:
                click.echo(f"  {clean(difference)}")
    if any(each.differences for each in found.values()):
        raise click.exceptions.Exit(1)
