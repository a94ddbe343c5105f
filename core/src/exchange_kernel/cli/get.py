"""``exk get``: lists."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import click

from exchange_kernel.cli import views
from exchange_kernel.cli.desk import Desk, account_option, config_option, desk, forms_option, run
from exchange_kernel.cli.output import cell, show
from exchange_kernel.orders.selector import Selector
from exchange_kernel.state.conditions import told
from exchange_kernel.state.rows import EventRow

NEWEST = 50
POLL_S = 0.25
WIDTH = 14

SHOWN = {
    "intents": (views.INTENTS, "no intents", "id", "intent"),
    "orders": (views.ORDERS, "no orders", "id", "order"),
    "positions": (views.POSITIONS, "no positions", "symbol", "position"),
    "accounts": (views.ACCOUNTS, "no accounts", "account", "account"),
}


@click.command("get")
@click.argument("what", type=click.Choice(["intents", "orders", "positions", "accounts", "events"]))
@config_option
@account_option
@click.option("--symbol", help="Only this symbol (intents and orders).")
@click.option("--active", is_flag=True, help="Only what is not finished (intents and orders).")
@click.option("--last", type=click.IntRange(1, 10_000), default=NEWEST, help="How many events.", show_default=True)
@click.option("-l", "--selector", help="Only these labels (intents and orders): app=mean-rev,stage!=test,!manual.")
@click.option("--watch", "-w", is_flag=True, help="Go on with what changes, until interrupted.")
@forms_option
@run
async def command(
    what: str,
    config_path: Path,
    account: str | None,
    symbol: str | None,
    active: bool,
    last: int,
    selector: str | None,
    watch: bool,
    form: str,
) -> None:
    """List intents (what is wanted), orders (what is true), positions, accounts or events.

    Reads the store; works while a kernel runs, and while none does. Orders of others on an account are known to its
    running kernel only, and are not listed here. With --watch, what has changed or come is printed again; json then
    means lines of it. `exk events --follow` watches events.
    """
    chosen = None if selector is None else Selector.parse(selector)
    if chosen is not None and what not in ("intents", "orders"):
        raise click.UsageError("-l goes with intents and orders: nothing else has labels")
    if watch and what == "events":
        raise click.UsageError("exk events --follow watches events")
    async with desk(config_path) as at:
        names = await at.accounts(account)
        if what == "events":
            await _events(at, names, last, form)
            return
        columns, empty, name, kind = SHOWN[what]
        rows = await _rows(at, names, what, symbol, active, chosen)
        if not watch:
            show(rows, columns, form, empty, name=name, kind=kind)
            return
        seen: dict[tuple[str, str], views.Row] = {}
        head = True
        while True:
            fresh = [row for row in rows if seen.get(_key(row)) != row]
            if fresh:
                _again(fresh, columns, form, name, kind, head=head)
                head = False
            # What is no longer listed is forgotten, so that it is shown again when it comes back.
            seen = {_key(row): row for row in rows}
            await asyncio.sleep(POLL_S)
            names = await at.accounts(account)
            rows = await _rows(at, names, what, symbol, active, chosen)


async def _rows(
    at: Desk, names: Sequence[str], what: str, symbol: str | None, active: bool, chosen: Selector | None
) -> list[views.Row]:
    if what == "positions":
        return [views.position(row) for name in names for row in await at.store.positions(name)]
    if what == "accounts":
        return [await _account(at, name) for name in names]
    found = [pair for name in names for pair in await at.store.intents(name, symbol=symbol, active_only=active)]
    if chosen is not None:
        found = [(intent, progress) for intent, progress in found if chosen.chooses(intent.labels)]
    if what == "intents":
        return [views.intent(row) for row, _ in found]
    return [views.order(row, progress) for row, progress in found]


def _key(row: views.Row) -> tuple[str, str]:
    return str(row["account"]), str(row.get("id") or row.get("symbol") or "")


def _again(rows: list[views.Row], columns: tuple[str, ...], form: str, name: str, kind: str, *, head: bool) -> None:
    """Print rows that changed. Lines of a table keep their columns apart, whatever came before."""
    if form not in ("table", "wide"):
        show(rows, columns, "jsonl" if form == "json" else form, "", name=name, kind=kind)
        return
    lines = [[cell(row.get(each)) for each in columns] for row in rows]
    for line in [[each.upper() for each in columns], *lines] if head else lines:
        click.echo("  ".join(part.ljust(WIDTH) for part in line).rstrip())


async def _account(at: Desk, name: str) -> views.Row:
    configured = at.config.accounts.get(name)
    row, lease = await at.store.account_row(name), await at.store.lease(name)
    known = (await told(at.store, name)).values()
    shown = views.account(name, configured.venue if configured else "", row, lease, await at.owner(name), known)
    halted = (await at.store.store_row()).halted
    if halted is not None:
        shown["halted"] = f"platform, {halted['actor']}: {halted['reason']}"
    return shown


async def _events(at: Desk, names: list[str], last: int, form: str) -> None:
    found: list[EventRow] = []
    for name in names:
        row = await at.store.account_row(name)
        if row is not None:
            found += await at.store.event_rows(name, max(0, row.event_seq - last), last)
    found.sort(key=lambda event: (event.at, event.account, event.seq))
    show([views.event(row) for row in found[-last:]], views.EVENTS, form, "no events", name="seq", kind="event")
