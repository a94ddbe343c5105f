"""``exk accounts``: what is configured, what works of it, and what is there."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from exchange_kernel.cli.desk import account_option, config_option, forms_option, output_option, run
from exchange_kernel.cli.inspect import inspect, report, row, well
from exchange_kernel.cli.output import as_json, cell, clean, money, show, table
from exchange_kernel.cli.visit import chosen, order_row, plugins_of, state_rows, visit
from exchange_kernel.config import AccountConfig, load

COLUMNS = ("account", "venue", "mode", "trades", "secrets", "limits")
BALANCES = ("asset", "total", "free", "borrowed")
POSITIONS = ("symbol", "leg", "amount", "entry")
ORDERS = ("id", "symbol", "side", "status", "amount", "price", "filled", "origin")


@click.group("accounts")
def command() -> None:
    """The accounts of the configuration. None of these commands can send anything to a venue."""


@command.command("list")
@config_option
@forms_option
def list_accounts(config_path: Path, form: str) -> None:
    """List the configured accounts. Asks no venue and opens no store."""
    rows = [_row(each) for each in load(config_path).accounts.values()]
    show(rows, COLUMNS, form, "no accounts", name="account", kind="account")


@command.command("test")
@click.argument("names", nargs=-1)
@config_option
@output_option
@run
async def test(names: tuple[str, ...], config_path: Path, form: str) -> None:
    """Say per account what works and what is missing: all of them, or those of these NAMES.

    Reads only; works beside a running kernel. Exits 1 when anything keeps an account from working.
    """
    config = load(config_path)
    meant = [config.account(name) for name in dict.fromkeys(names)] or list(config.accounts.values())
    plugins = plugins_of(config)
    found = await asyncio.gather(*(inspect(each, plugins) for each in meant))
    if form == "json":
        both = zip(meant, found, strict=True)
        rows = [{"account": a.name, "well": well(f), "findings": [row(each) for each in f]} for a, f in both]
        click.echo(as_json(rows))
    else:
        for account, findings in zip(meant, found, strict=True):
            report(account.name, findings)
    if not all(well(each) for each in found):
        raise click.exceptions.Exit(1)


@command.command("show")
@click.argument("name", required=False)
@config_option
@account_option
@output_option
@run
async def show_account(name: str | None, config_path: Path, account: str | None, form: str) -> None:
    """Ask the venue what an account holds: balances, positions, every open order, rights, and its limits."""
    config = load(config_path)
    configured = chosen(config, name or account)
    async with visit(configured, plugins_of(config)) as at:
        found: dict[str, Any] = {
            **_row(configured),
            "identity": at.opened.identity,
            "is": at.opened.mode,
            "rights": dict(at.opened.rights),
            **state_rows(await at.state()),
            "orders": [order_row(each) for each in await at.orders()],
        }
    click.echo(as_json(found) if form == "json" else _page(found))


def _page(found: dict[str, Any]) -> str:
    lines = [f"Account {clean(found['account'])} at {clean(found['venue'])}"]
    for name in ("identity", "is", "mode", "trades", "rights", "limits", "margin"):
        if found[name]:
            lines.append(f"  {name:<10}{cell(found[name])}")
    lines += [f"  notice    {clean(each)}" for each in found["notices"]]
    for title, columns in (("balances", BALANCES), ("positions", POSITIONS), ("orders", ORDERS)):
        lines += ["", title.capitalize(), *(f"  {each}" for each in table(found[title], columns, "none").splitlines())]
    return "\n".join(lines)


def _row(account: AccountConfig) -> dict[str, Any]:
    limits = account.limits
    said = {
        "max_order_notional": money(limits.max_order_notional),
        "max_open_notional": money(limits.max_open_notional),
        "orders": None if limits.order_count is None else f"{limits.order_count} in {limits.order_period_ms} ms",
        "symbols": None if limits.symbols is None else " ".join(sorted(limits.symbols)),
    }
    return {
        "account": account.name,
        "venue": account.venue,
        "mode": account.mode or "any",
        "trades": not account.observed,
        "secrets": {name: reference.text for name, reference in account.secrets.items()},
        "limits": {name: value for name, value in said.items() if value is not None},
    }
