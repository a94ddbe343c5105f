"""``exk cancel``: want orders gone."""

from __future__ import annotations

from pathlib import Path

import click

from exchange_kernel.cli.desk import account_option, config_option, default_actor, desk, output_option, run, tell
from exchange_kernel.cli.output import as_json, clean
from exchange_kernel.orders.selector import Selector
from exchange_kernel.state.ops import CancelIntents

PART = 500


@click.command("cancel")
@click.argument("intent_ids", nargs=-1)
@config_option
@account_option
@click.option("--all", "everything", is_flag=True, help="Every active intent; never orders of others.")
@click.option("--symbol", help="With --all: only this symbol.")
@click.option("-l", "--selector", help="With --all: only these labels: app=mean-rev,stage!=test,!manual.")
@click.option("--reason", default="", help="Why; kept in the event log.")
@output_option
@run
async def command(
    intent_ids: tuple[str, ...],
    config_path: Path,
    account: str | None,
    everything: bool,
    symbol: str | None,
    selector: str | None,
    reason: str,
    form: str,
) -> None:
    """Want intents gone, by id or with --all. They show CANCELED once that is proved, and keep what was filled."""
    if bool(intent_ids) == everything:
        raise click.UsageError("give intent ids, or --all")
    if (symbol is not None or selector is not None) and not everything:
        raise click.UsageError("--symbol and -l go with --all")
    chosen = Selector() if selector is None else Selector.parse(selector)
    async with desk(config_path) as at:
        wanted: dict[str, list[str]] = {}
        if everything:
            for name in await at.accounts(account):
                found = await at.store.intents(name, symbol=symbol, active_only=True)
                wanted[name] = [intent.intent_id for intent, _ in found if chosen.chooses(intent.labels)]
        else:
            for intent_id in intent_ids:
                wanted.setdefault(await at.find(intent_id, account), []).append(intent_id)
        for name, ids in wanted.items():
            if ids and name in at.config.accounts:
                at.config.accounts[name].may_trade()
        changed: dict[str, list[str]] = {}
        for name, ids in wanted.items():
            changed[name] = []
            for start in range(0, len(ids), PART):
                part = CancelIntents(name, tuple(ids[start : start + PART]), default_actor(), reason[:200])
                changed[name] += await at.store.execute(part)
        remark = await at.when([name for name, ids in changed.items() if ids])
    if form == "json":
        click.echo(as_json(changed))
    else:
        for name, ids in changed.items():
            for intent_id in ids:
                click.echo(f"{clean(name)} {clean(intent_id)}: cancel wanted")
        if not any(changed.values()):
            click.echo("nothing to cancel: finished, or wanted gone before")
    tell(remark)
