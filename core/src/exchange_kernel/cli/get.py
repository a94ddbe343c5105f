"""``exk get``: lists."""

from __future__ import annotations

from pathlib import Path

import click

from exchange_kernel.cli import views
from exchange_kernel.cli.desk import Desk, account_option, config_option, desk, forms_option, run
from exchange_kernel.cli.output import show
from exchange_kernel.orders.selector import Selector
from exchange_kernel.state.conditions import told
from exchange_kernel.state.rows import EventRow

NEWEST = 50


@click.command("get")
@click.argument("what", type=click.Choice(["intents", "orders", "positions", "accounts", "events"]))
@config_option
@account_option
@click.option("--symbol", help="Only this symbol (intents and orders).")
@click.option("--active", is_flag=True, help="Only what is not finished (intents and orders).")
@click.option("--last", type=click.IntRange(1, 10_000), default=NEWEST, help="How many events.", show_default=True)
@click.option("-l", "--selector", help="Only these labels (intents and orders): app=mean-rev,stage!=test,!manual.")
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
    form: str,
) -> None:
    """List intents (what is wanted), orders (what is true), positions, accounts or events.

    Reads the store; works while a kernel runs, and while none does. Orders of others on an account are known to its
    running kernel only, and are not listed here.
    """
    chosen = None if selector is None else Selector.parse(selector)
    if chosen is not None and what not in ("intents", "orders"):
        raise click.UsageError("-l goes with intents and orders: nothing else has labels")
    async with desk(config_path) as at:
        names = await at.accounts(account)
        if what in ("intents", "orders"):
            await _intents(at, names, what, symbol, active, chosen, form)
        elif what == "positions":
            rows = [views.position(row) for name in names for row in await at.store.positions(name)]
            show(rows, views.POSITIONS, form, "no positions", name="symbol", kind="position")
        elif what == "accounts":
            rows = [await _account(at, name) for name in names]
            show(rows, views.ACCOUNTS, form, "no accounts", name="account", kind="account")
        else:
            await _events(at, names, last, form)


async def _intents(
    at: Desk, names: list[str], what: str, symbol: str | None, active: bool, chosen: Selector | None, form: str
) -> None:
    found = [pair for name in names for pair in await at.store.intents(name, symbol=symbol, active_only=active)]
    if chosen is not None:
        found = [(intent, progress) for intent, progress in found if chosen.chooses(intent.labels)]
    if what == "intents":
        rows = [views.intent(row) for row, _ in found]
        show(rows, views.INTENTS, form, "no intents", kind="intent")
    else:
        rows = [views.order(row, progress) for row, progress in found]
        show(rows, views.ORDERS, form, "no orders", kind="order")


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
