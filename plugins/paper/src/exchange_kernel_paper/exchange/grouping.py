"""Placing a group on the engine: all of its legs, or none."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from exchange_kernel_paper.exchange.accounts import Account
from exchange_kernel_paper.exchange.codes import Code, Refusal
from exchange_kernel_paper.exchange.engine import Engine
from exchange_kernel_paper.exchange.groups import Group, Leg, check_group
from exchange_kernel_paper.exchange.markets import Market
from exchange_kernel_paper.exchange.numbers import ZERO
from exchange_kernel_paper.exchange.orders import DORMANT, Order


def place_group(
    engine: Engine,
    account: Account,
    market: Market,
    kind: str,
    legs: Sequence[Leg],
    name: str | None,
    applied: str | None,
) -> list[Order]:
    """All legs, or none. ``name``: the group's. Refusal: as for each leg, and of :func:`check_group`."""
    check_group(kind, legs)
    orders = [engine.draft(account, market, leg.terms, leg.client, applied) for leg in legs]
    for place, order in enumerate(orders):
        order.id += place
    group = Group(name or str(orders[0].id), kind, orders)
    if kind == "oco":
        _check_oco(engine, orders)
    for order in orders:
        order.group = group
        if kind != "oco" and order is not orders[0]:
            order.status = DORMANT

    def accepted() -> None:
        account.groups[group.name] = group
        for order in orders:
            engine.enter(order)

    engine.match(orders[0], accepted)
    if kind == "oco":
        engine.match(orders[1], lambda: None)
    engine.wake()
    return orders


def reject_group(
    engine: Engine, account: Account, market: Market, kind: str, legs: Sequence[Leg], name: str | None, code: str
) -> list[Order]:
    """Record a group that failed for good, so that whoever looks for it finds its end."""
    orders = [engine.reject(account, market, leg.terms, leg.client, code) for leg in legs]
    if orders:
        group = Group(name or str(orders[0].id), kind, orders)
        account.groups[group.name] = group
        for order in orders:
            order.group = group
    return orders


def _check_oco(engine: Engine, orders: Sequence[Order]) -> None:
    """Both legs must rest, and be paid for together."""
    needed: dict[str, Decimal] = {}
    for order in orders:
        plan = engine.books[order.market.symbol].plan(order, order.amount, order.limit)
        if plan.matches or plan.stop not in ("EMPTY", "PRICE"):
            raise Refusal(Code.WOULD_CROSS, "a leg of an oco would trade at once")
        asset = engine.pays(order)
        needed[asset] = needed.get(asset, ZERO) + engine.needed(order, order.left)
    for asset, amount in needed.items():
        free = orders[0].account.balance(asset).free
        if amount > free:
            raise Refusal(Code.INSUFFICIENT_FUNDS, f"the legs need {amount} {asset}, free are {free}")
