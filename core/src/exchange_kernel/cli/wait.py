"""``exk wait``: until an intent is what it should be."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from exchange_kernel.cli.desk import account_option, config_option, desk, output_option, run
from exchange_kernel.cli.exits import Failed
from exchange_kernel.cli.output import as_json, clean
from exchange_kernel.cli.views import order
from exchange_kernel.models import IntentStatus
from exchange_kernel.schema.fields import close_to
from exchange_kernel.state.rows import Record

POLL_S = 0.1
STATES = {each.value for each in IntentStatus}


@click.command("wait")
@click.argument("intent_ids", nargs=-1, required=True)
@config_option
@account_option
@click.option(
    "--for",
    "goal",
    default="finished",
    show_default=True,
    help="A status (FILLED, WORKING, …), finished, synced, or condition=TYPE.",
)
@click.option(
    "--timeout", "patience", type=click.FloatRange(0.0), default=30.0, show_default=True, help="Seconds; 0: for ever."
)
@output_option
@run
async def command(
    intent_ids: tuple[str, ...], config_path: Path, account: str | None, goal: str, patience: float, form: str
) -> None:
    """Wait until every one of these intents has come there, and print their status.

    finished: it will not change any more. synced: the venue has what is wanted of it now. An intent that has finished
    otherwise ends the waiting at once, with exit code 1; the time running out has 8.
    """
    goal = checked(goal)
    async with desk(config_path) as at:
        missing = {each: await at.find(each, account) for each in dict.fromkeys(intent_ids)}
        wanted = list(missing.items())
        found: dict[str, Record] = {}
        try:
            async with asyncio.timeout(patience or None):
                while missing:
                    for intent_id, name in list(missing.items()):
                        record = await at.store.record(name, intent_id)
                        assert record is not None
                        found[intent_id] = record
                        if reached(record, goal):
                            del missing[intent_id]
                        elif record.progress.status.terminal:
                            raise Failed(f"{_said(record)}: it will never be {goal}", 1)
                    if missing:
                        await asyncio.sleep(POLL_S)
        except TimeoutError:
            known = [_said(found[each]) if each in found else each for each in missing]
            raise Failed(f"not {goal} within {patience:g} s: {'; '.join(known)}", 8) from None
    if form == "json":
        click.echo(as_json([order(found[each].intent, found[each].progress) for each, _ in wanted]))
        return
    for intent_id, name in wanted:
        click.echo(f"{clean(name)} {clean(intent_id)}: {found[intent_id].progress.status.value}")


def checked(goal: str) -> str:
    """What is waited for. Raises Failed for what is none."""
    kind, _, name = goal.partition("=")
    if kind == "condition" and name:
        return goal
    if goal.lower() in ("finished", "synced"):
        return goal.lower()
    if goal.upper() in STATES:
        return goal.upper()
    near = close_to(goal.upper(), STATES) or close_to(goal.lower(), ("finished", "synced"))
    hint = (
        f"did you mean {near}?" if near else f"there are finished, synced, condition=TYPE, {', '.join(sorted(STATES))}"
    )
    raise Failed(f"--for {clean(goal)}: is nothing to wait for; {hint}", 2)


def reached(record: Record, goal: str) -> bool:
    """Has it come there?"""
    progress = record.progress
    kind, _, name = goal.partition("=")
    if kind == "condition":
        return any(each.type == name for each in progress.conditions)
    if goal == "finished":
        return progress.status.terminal
    if goal == "synced":
        if record.intent.desired.value == "CANCELED":
            return progress.status.terminal
        return progress.observed_generation == record.intent.generation and progress.status in (
            IntentStatus.WORKING,
            IntentStatus.PARTIALLY_FILLED,
            IntentStatus.FILLED,
        )
    return progress.status.value == goal


def _said(record: Record) -> str:
    reason = f" ({record.progress.reason})" if record.progress.reason else ""
    return f"{record.intent.intent_id} is {record.progress.status.value}{reason}"
