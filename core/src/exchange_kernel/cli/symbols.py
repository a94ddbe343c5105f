"""``exk symbols``: what may be traded on an account, and in which steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from exchange_kernel.cli.desk import account_option, config_option, forms_option, run
from exchange_kernel.cli.exits import Failed
from exchange_kernel.cli.output import clean, money, show
from exchange_kernel.cli.visit import chosen, patiently, plugins_of, visit
from exchange_kernel.config import load
from exchange_kernel.orders.validate import suggest
from exchange_kernel.schema import PriceConstraints, SymbolMetadata

COLUMNS = ("symbol", "type", "min_amount", "step", "tick", "min_notional", "open")
FEATURES = ("feature", "level", "note")


@click.command("symbols")
@click.argument("text", required=False)
@config_option
@account_option
@click.option("--all", "everything", is_flag=True, help="Also those that are closed now.")
@click.option("--capabilities", is_flag=True, help="What the one symbol TEXT can do.")
@forms_option
@run
async def command(
    text: str | None, config_path: Path, account: str | None, everything: bool, capabilities: bool, form: str
) -> None:
    """List an account's markets as its venue tells them, or those with TEXT in their name.

    Amounts are in base; tick is the step of prices, in quote per base. Asks the venue; needs no right to trade.
    """
    if capabilities and text is None:
        raise click.UsageError("--capabilities goes with one symbol")
    config = load(config_path)
    async with visit(chosen(config, account), plugins_of(config)) as at:
        listed = sorted(await patiently(at.adapter.markets()), key=lambda each: each.symbol_id)
    known = {each.symbol_id: each for each in listed}
    if capabilities:
        assert text is not None
        if text not in known:
            hint = suggest(text, known)
            raise Failed(f"symbol {clean(text)}: {at.account.name} does not list it{f'; {hint}' if hint else ''}", 3)
        features = known[text].capabilities.features
        rows = [{"feature": name, "level": each.level.value, "note": each.note} for name, each in features.items()]
        show(rows, FEATURES, form, "no features", name="feature")
        return
    part = (text or "").casefold()
    rows = [_row(each) for each in listed if part in each.symbol_id.casefold() and (each.active or everything)]
    if text is not None and not rows:
        hint = suggest(text, known)
        raise Failed(f"no symbol of {at.account.name} has {clean(text)} in its name{f'; {hint}' if hint else ''}", 3)
    show(rows, COLUMNS, form, "no symbols", name="symbol", kind="symbol")


def _row(each: SymbolMetadata) -> dict[str, Any]:
    amounts = each.amounts
    return {
        "symbol": each.symbol_id,
        "type": each.asset_type.value,
        "min_amount": money(amounts.min_amount),
        "step": money(amounts.step),
        "tick": _tick(each.prices),
        "min_notional": money(amounts.min_notional),
        "open": each.active,
        "base": each.base,
        "quote": each.quote,
        "max_amount": money(amounts.max_amount),
        "max_notional": money(amounts.max_notional),
        "quote_step": money(amounts.quote_step),
        "min_price": money(each.prices.min_price),
        "max_price": money(each.prices.max_price),
        "venue_symbol": each.venue_symbol,
    }


def _tick(prices: PriceConstraints) -> str:
    """The step of prices in words: it may depend on the price."""
    if prices.tick is not None:
        return str(money(prices.tick))
    if prices.bands:
        return ", ".join(f"{money(band.tick)} from {money(band.from_price)}" for band in prices.bands)
    if prices.significant_digits is not None:
        return f"{prices.significant_digits} digits"
    return "any"
