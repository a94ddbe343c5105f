"""``exk history``: how an intent came to be what it is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from exchange_kernel.cli import views
from exchange_kernel.cli.desk import account_option, config_option, desk, forms_option, run
from exchange_kernel.cli.output import as_json, clean, show
from exchange_kernel.cli.story import events_of
from exchange_kernel.state.rows import EventRow

POLL_S = 0.25
COLUMNS = ("time", "seq", "event", "actor", "reason", "body")


@click.command("history")
@click.argument("intent_id")
@config_option
@account_option
@click.option("--watch", "-w", is_flag=True, help="Go on with what happens, until it is finished or this interrupted.")
@forms_option
@run
async def command(intent_id: str, config_path: Path, account: str | None, watch: bool, form: str) -> None:
    """Tell the story of an intent, oldest first: what happened, how long after the step before, who did it and why.

    With --watch, -o json prints one event per line.
    """
    async with desk(config_path) as at:
        name = await at.find(intent_id, account)
        rows, seen = await events_of(at, name, intent_id)
        if form != "table" and not watch:
            show([views.event(row) for row in rows], COLUMNS, form, "no events", name="seq", kind="event")
            return
        last: EventRow | None = None
        while True:
            for row in rows:
                click.echo(_line(row, last) if form in ("table", "wide") else as_json(views.event(row), indent=None))
                last = row
            if not watch:
                return
            record = await at.store.record(name, intent_id)
            if record is not None and record.progress.status.terminal and not rows:
                return
            await asyncio.sleep(POLL_S)
            rows, seen = await events_of(at, name, intent_id, seen)


def _line(row: EventRow, last: EventRow | None) -> str:
    shown = views.event(row)
    after = "" if last is None else f"+{(row.at - last.at) / 1000:.3f} s"
    parts = [shown["time"], f"{after:>12}", f"{row.kind:<22}", _words(shown["body"])]
    parts += [f"by {clean(row.actor)}"] if row.actor != "kernel" else []
    parts += [f"({clean(row.reason)})"] if row.reason else []
    return "  ".join(part for part in parts if part).rstrip()


def _words(body: dict[str, Any]) -> str:
    return " ".join(f"{clean(name)}={clean(value)}" for name, value in body.items() if value not in (None, ""))
