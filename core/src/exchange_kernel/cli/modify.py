"""``exk modify``: the same order with another amount, price or expiry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from exchange_kernel.cli.declare import counter, modify
from exchange_kernel.cli.desk import account_option, config_option, desk, output_option, run, tell
from exchange_kernel.cli.output import as_json


@click.command("modify")
@click.argument("intent_id")
@config_option
@account_option
@click.option("--amount", help="New total, what is filled already included.")
@click.option("--limit", help="New limit price.")
@click.option("--expect-generation", type=click.IntRange(1), help="Refuse if the intent is at another generation.")
@output_option
@run
async def command(
    intent_id: str,
    config_path: Path,
    account: str | None,
    amount: str | None,
    limit: str | None,
    expect_generation: int | None,
    form: str,
) -> None:
    """Change the amount or the limit price of an intent. Prints the generation that is wanted from now on."""
    changes: dict[str, Any] = {}
    if amount is not None:
        changes["amount"] = amount
    if limit is not None:
        changes["limit_price"] = limit
    if not changes:
        raise click.UsageError("give --amount, --limit or both")
    async with desk(config_path) as at:
        name = await at.find(intent_id, account)
        record = await at.store.record(name, intent_id)
        assert record is not None
        order = record.intent.order.but(**changes)
        async with counter(at.config, at.config.account(name), at.clock) as venue:
            generation = await modify(at, venue, name, intent_id, order, expect_generation)
        remark = await at.when([name])
    click.echo(as_json({"id": intent_id, "generation": generation}) if form == "json" else f"generation {generation}")
    tell(remark)
