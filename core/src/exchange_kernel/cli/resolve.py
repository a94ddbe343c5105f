"""``exk resolve``: an operator's decision about one order."""

from __future__ import annotations

from pathlib import Path

import click

from exchange_kernel.cli.desk import (
    Desk,
    account_option,
    actor_option,
    config_option,
    desk,
    reason_option,
    run,
    tell,
)
from exchange_kernel.cli.output import clean
from exchange_kernel.errors import IntentConflict, IntentFinished, StaleWrite
from exchange_kernel.events import OrderResolved
from exchange_kernel.orders.names import check_accountable
from exchange_kernel.reconcile.draft import Draft
from exchange_kernel.reconcile.resolve import dead_by_word, over_by_word
from exchange_kernel.state.commit import Change
from exchange_kernel.state.ops import CancelIntents

TRIES = 8
_WORDS = {"never-sent": dead_by_word, "ended": over_by_word}


@click.command("resolve")
@click.argument("intent_id")
@click.option("--as", "how", type=click.Choice(["look-again", "abandon", "never-sent", "ended"]), required=True)
@config_option
@account_option
@actor_option
@reason_option
@run
async def command(intent_id: str, how: str, config_path: Path, account: str | None, actor: str, reason: str) -> None:
    """Decide about an order that is PARKED or UNKNOWN, under the same rules of proof.

    \b
    look-again   ask the venue now
    abandon      want nothing of it any more; it ends when that is proved
    never-sent   you have proof from the venue that no order exists; taken only
                 where the venue itself can never prove it
    ended        you know from the venue that the order has ended with the fills
                 booked; taken only for one that the venue forgot (Unaccounted)
    """
    check_accountable(actor, reason)
    async with desk(config_path) as at:
        name = await at.find(intent_id, account)
        if how == "abandon":
            await at.store.execute(CancelIntents(name, (intent_id,), actor, reason[:200]))
        await _resolve(at, name, intent_id, how, actor, reason)
        record = await at.store.record(name, intent_id)
        remark = await at.when([name])
    assert record is not None
    click.echo(f"{clean(intent_id)}: {record.progress.status} {clean(record.progress.reason)}".rstrip())
    tell(remark)


async def _resolve(at: Desk, account: str, intent_id: str, how: str, actor: str, reason: str) -> None:
    """Written by compare-and-swap under the owner's epoch: a running kernel that changed the intent meanwhile wins, and
    one that holds it in memory reads it again."""
    for _ in range(TRIES):
        record, lease = await at.store.record(account, intent_id), await at.store.lease(account)
        assert record is not None
        if record.progress.status.terminal and record.revived is None:
            raise IntentFinished(f"intent {intent_id}: finished {record.progress.status}: there is nothing to resolve")
        if lease is None:
            raise IntentConflict(f"intent {intent_id}: no kernel ever ran account {account}: nothing was sent")
        now = at.clock.now_ms()
        word = _WORDS.get(how)
        draft = Draft(record, now) if word is None else word(record, intent_id, now, actor, reason)
        draft.emit(OrderResolved, actor=actor, how=f"{how}: {reason}"[:200])
        draft.progress(next_due=0)
        change = Change(account, lease.epoch, draft.before, draft.record, tuple(draft.events))
        try:
            await at.store.execute(change)
        except StaleWrite:
            continue
        return
    raise IntentConflict(f"intent {intent_id} keeps changing; try again")
