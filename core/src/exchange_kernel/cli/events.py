"""``exk events``: the log, and what is added to it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from exchange_kernel.cli import views
from exchange_kernel.cli.desk import account_option, config_option, desk, output_option, run
from exchange_kernel.cli.output import as_json, cell, clean

PAGE = 500
POLL_S = 0.25


@click.command("events")
@config_option
@account_option
@click.option(
    "--after", type=click.IntRange(0), default=0, help="Begin behind this sequence number.", show_default=True
)
@click.option("--follow", "-f", is_flag=True, help="Go on with what is added, until interrupted.")
@click.option("--for", "intent_id", help="Only this intent.")
@output_option
@run
async def command(
    config_path: Path, account: str | None, after: int, follow: bool, intent_id: str | None, form: str
) -> None:
    """Print events, oldest first: one line each, or with -o json one JSON object per line.

    Sequence numbers count per account without gaps, so `--after N` goes on exactly behind what was handled before.
    """
    async with desk(config_path) as at:
        names = [await at.account(account)] if after else await at.accounts(account)
        seen = dict.fromkeys(names, after)
        while True:
            quiet = True
            for name in names:
                rows = await at.store.event_rows(name, seen[name], PAGE)
                for row in rows:
                    if intent_id in (None, row.intent_id):
                        click.echo(_line(views.event(row), form))
                if rows:
                    seen[name], quiet = rows[-1].seq, False
            if quiet:
                if not follow:
                    return
                await asyncio.sleep(POLL_S)


def _line(row: views.Row, form: str) -> str:
    if form == "json":
        return as_json(row, indent=None)
    parts = [row["time"], clean(row["account"]), str(row["seq"]), row["event"]]
    parts += [clean(row["intent"])] if row["intent"] else []
    parts += [f"by {clean(row['actor'])}"] if row["actor"] != "kernel" else []
    parts += [f"({clean(row['reason'])})"] if row["reason"] else []
    parts += [cell(row["body"])] if row["body"] else []
    return "  ".join(parts)
