"""``exk describe``: one intent, completely."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from exchange_kernel.cli import views
from exchange_kernel.cli.desk import account_option, config_option, desk, output_option, run
from exchange_kernel.cli.output import as_json, cell, clean, table
from exchange_kernel.state.rows import EventRow

PAGE = 1_000


@click.command("describe")
@click.argument("intent_id")
@config_option
@account_option
@output_option
@run
async def command(intent_id: str, config_path: Path, account: str | None, form: str) -> None:
    """Everything known about one intent: wanted, actual, attempts with their tickets, fills, and its events."""
    async with desk(config_path) as at:
        name = await at.find(intent_id, account)
        record = await at.store.record(name, intent_id)
        assert record is not None
        events: list[EventRow] = []
        after = 0
        while page := await at.store.event_rows(name, after, PAGE):
            events += [row for row in page if row.intent_id == intent_id]
            after = page[-1].seq
        found: dict[str, Any] = {
            "wanted": views.intent(record.intent),
            "actual": views.order(record.intent, record.progress),
            "attempts": [views.attempt(each, record.tickets_of(each.n)) for each in record.attempts],
            "fills": [views.fill(each) for each in record.fills],
            "events": [views.event(row) for row in events],
            "owner": await at.owner(name) or None,
        }
    click.echo(as_json(found) if form == "json" else _page(found))


def _page(found: dict[str, Any]) -> str:
    wanted, actual = found["wanted"], found["actual"]
    lines = [f"Intent {clean(wanted['id'])} on {clean(wanted['account'])}", "", "Wanted"]
    lines += _fields(wanted, ("symbol", "side", "amount", "price", "tif", "desired", "generation", "created", "labels"))
    lines += ["", "Actual"]
    lines += _fields(actual, ("status", "reason", "filled", "of", "average", "observed", "next_due"))
    for each in actual["conditions"]:
        message = f": {each['message']}" if each["message"] else ""
        lines.append(
            f"  condition       {clean(each['type'])} {clean(each['reason'])}{clean(message)} since {each['since']}"
        )
    lines.append(f"  kernel          {cell(found['owner']) if found['owner'] else 'none runs this account now'}")
    for attempt in found["attempts"]:
        lines += ["", f"Attempt {attempt['n']}"]
        lines += _fields(
            attempt, ("state", "venue_status", "why", "text", "ids", "amount", "price", "executed_base", "costs")
        )
        lines += _block(table(attempt["tickets"], ("seq", "kind", "generation", "state", "committed", "note"), ""))
    for title, columns in (("fills", ("time", "price", "base", "quote", "fees", "id")), ("events", _EVENT)):
        rows = found[title]
        lines += ["", title.capitalize(), *_block(table(rows, columns, "none"))]
    return "\n".join(lines)


_EVENT = ("time", "seq", "event", "actor", "reason", "body")


def _fields(row: views.Row, names: tuple[str, ...]) -> list[str]:
    return [f"  {name.replace('_', ' '):<16}{cell(row[name])}" for name in names if row[name] not in (None, "", {}, [])]


def _block(text: str) -> list[str]:
    return [f"  {line}" for line in text.splitlines()]
