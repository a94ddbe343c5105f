"""``exk why``: what keeps an intent where it is."""

from __future__ import annotations

from pathlib import Path

import click

from exchange_kernel.cli.desk import account_option, config_option, desk, output_option, run
from exchange_kernel.cli.output import as_json, clean
from exchange_kernel.cli.story import why


@click.command("why")
@click.argument("intent_id")
@config_option
@account_option
@output_option
@run
async def command(intent_id: str, config_path: Path, account: str | None, form: str) -> None:
    """Say why an intent is where it is: what holds it, what was wanted and what the venue said last, and what is next.

    Reads the store; works while a kernel runs, and while none does.
    """
    async with desk(config_path) as at:
        name = await at.find(intent_id, account)
        record = await at.store.record(name, intent_id)
        assert record is not None
        lines = await why(at, name, record, at.clock.now_ms())
    if form == "json":
        status = record.progress.status.value
        pairs = [line.partition(": ") for line in lines[1:]]
        because = [{"kind": kind, "text": text} for kind, _, text in pairs]
        click.echo(as_json({"id": intent_id, "account": name, "status": status, "means": lines[0], "because": because}))
        return
    click.echo(clean(lines[0]))
    for line in lines[1:]:
        click.echo(f"  {clean(line)}")
