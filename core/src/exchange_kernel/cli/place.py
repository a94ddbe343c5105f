"""``exk place``: declare an order, or several at once."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import click

from exchange_kernel.cli.declare import counter, place
from exchange_kernel.cli.desk import account_option, config_option, desk, output_option, run, tell
from exchange_kernel.cli.output import as_json
from exchange_kernel.errors import InvalidOrder
from exchange_kernel.schema import StandardOrder

LARGEST = 1_048_576


def _sides(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    return None if value is None else value.upper()


@click.command("place")
@click.argument("symbol", required=False)
@click.argument("side", required=False, callback=_sides)
@click.argument("amount", required=False)
@config_option
@account_option
@click.option("--limit", help="Worst price, quote per base; without it a market order.")
@click.option("--quote", is_flag=True, help="AMOUNT is in quote: spend, or receive, exactly that.")
@click.option("--tif", default="GTC", help="GTC, IOC, FOK, DAY or GTD.", show_default=True)
@click.option("--expire-at", help="For GTD: a time with its zone, like 2026-12-31T12:00:00Z.")
@click.option("--post-only", is_flag=True, help="Never take liquidity.")
@click.option("--reduce-only", is_flag=True, help="Never increase a position.")
@click.option("--iceberg", help="Visible part, in base.")
@click.option("--max-slippage", help="For market orders: worst price as a fraction away from now, like 0.005.")
@click.option("--round-down", is_flag=True, help="Round the amount down to the market's step instead of refusing it.")
@click.option("--no-emulation", is_flag=True, help="Refuse what the venue itself does not offer.")
@click.option(
    "--json", "source", type=click.File("rb"), help="An order, or a list of them, from a file or - for stdin."
)
@click.option("--id", "intent_id", help="The intent's id: the same id with the same order is the same intent.")
@click.option("--label", "labels", multiple=True, metavar="NAME=VALUE", help="Kept with the intent; may be repeated.")
@output_option
@run
async def command(
    symbol: str | None,
    side: str | None,
    amount: str | None,
    config_path: Path,
    account: str | None,
    source: Any,
    intent_id: str | None,
    labels: tuple[str, ...],
    form: str,
    **options: Any,
) -> None:
    """Declare an order: exk place BTC/USD buy 0.5 --limit 50000

    Prints its intent id once it is durable; the account's kernel does the rest. With --json a list of orders is
    declared as a batch, all or none; an order is a mapping of StandardOrder's fields, and may have an intent_id.
    """
    if source is not None:
        if symbol is not None:
            raise click.UsageError("give the order as arguments or with --json, not both")
        orders, names = _from_json(source)
        names = [intent_id] if intent_id is not None and len(names) == 1 else names
    elif symbol is None or side is None or amount is None:
        raise click.UsageError("give SYMBOL SIDE AMOUNT, or --json")
    else:
        orders, names = [_from_options(symbol, side, amount, options)], [intent_id]
    async with desk(config_path) as at:
        configured = at.config.account(await at.account(account))
        async with counter(at.config, configured, at.clock) as venue:
            placed = await place(at, venue, configured, orders, names, _labels(labels))
        remark = await at.when([configured.name])
    click.echo(as_json({"account": configured.name, "ids": placed}) if form == "json" else "\n".join(placed))
    tell(remark)


def _from_options(symbol: str, side: str, amount: str, options: dict[str, Any]) -> StandardOrder:
    expire_at = options["expire_at"]
    return StandardOrder(
        symbol_id=symbol,
        side=side,
        amount=amount,
        amount_type="QUOTE" if options["quote"] else "BASE",
        limit_price=options["limit"],
        time_in_force=options["tif"].upper(),
        reduce_only=options["reduce_only"],
        post_only=options["post_only"],
        iceberg_qty=options["iceberg"],
        expire_at=None if expire_at is None else _moment(expire_at),
        max_slippage=options["max_slippage"],
        rounding="DOWN" if options["round_down"] else "REFUSE",
        allow_emulation=not options["no_emulation"],
    )


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise InvalidOrder("expire_at", text, "is not a time", "write it like 2026-12-31T12:00:00Z") from None


def _labels(given: tuple[str, ...]) -> dict[str, str]:
    labels = {}
    for each in given:
        name, separator, value = each.partition("=")
        if not separator:
            raise InvalidOrder("label", each, "must be NAME=VALUE")
        labels[name] = value
    return labels


def _from_json(source: Any) -> tuple[list[StandardOrder], list[str | None]]:
    raw: bytes = source.read(LARGEST + 1)
    if len(raw) > LARGEST:
        raise InvalidOrder("json", f"{len(raw)} bytes", f"must be at most {LARGEST} bytes")
    try:
        # Decimal numbers stay text, so that 0.1 is exactly that; a key that stands twice is refused.
        data = json.loads(raw, parse_float=str, parse_constant=_no_constant, object_pairs_hook=_no_twins)
    except (ValueError, RecursionError) as error:
        raise InvalidOrder("json", "", f"is not JSON: {error}") from None
    rows = data if isinstance(data, list) else [data]
    orders: list[StandardOrder] = []
    names: list[str | None] = []
    for row in rows:
        if not isinstance(row, dict):
            raise InvalidOrder("json", row, "must be an order, or a list of orders")
        names.append(row.pop("intent_id", None))
        orders.append(StandardOrder.from_dict(row))
    if not orders:
        raise InvalidOrder("json", "[]", "must hold at least one order")
    return orders, names


def _no_constant(text: str) -> NoReturn:
    raise InvalidOrder("json", text, "is not a finite number")


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twin = next(name for name in found if sum(name == other for other, _ in pairs) > 1)
        raise InvalidOrder("json", twin, "this key stands twice in one object")
    return found
