"""Groups in one request: what is sent for each leg, and whose leg is whose.

Each leg carries the id of its own key, the request that of the group's. Both find it again: the exchange shows the
group's id on every leg.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from exchange_kernel.errors import InvalidOrder
from exchange_kernel.schema import TimeInForce
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.venue import Key, Money, PlaceGroup, Preview, Spec, Ticket
from exchange_kernel_paper.tickets import place_fields, read_body
from exchange_kernel_paper.translate import client_id

LEGS = {"oco": 2, "oto": 2, "bracket": 3}
_RESTS = frozenset({TimeInForce.GTC, TimeInForce.DAY, TimeInForce.GTD})


def group_fields(
    command: PlaceGroup, check: Callable[[Spec], Preview], *, client_ids: bool
) -> tuple[dict[str, Any], tuple[Money, ...]]:
    """The fields of a group's request, and the most all its legs together may cost.

    Raises what ``check`` raises for a leg; InvalidOrder for legs that are no group.
    """
    kind, legs = command.kind, command.legs
    if len(legs) != LEGS[kind]:
        raise InvalidOrder("legs", len(legs), f"must be {LEGS[kind]} in {kind}")
    if len({command.key, *(leg.key for leg in legs)}) != len(legs) + 1:
        raise InvalidOrder("legs", [leg.key.hex() for leg in legs], "have one key twice, or that of the group")
    symbols = sorted({leg.spec.symbol for leg in legs})
    if len(symbols) != 1:
        raise InvalidOrder("legs", symbols, "must be of one symbol")
    previews = [check(leg.spec) for leg in legs]
    for preview in previews:
        if preview.spec.limit is None or preview.spec.tif not in _RESTS:
            raise InvalidOrder("legs", preview.spec, "must have a limit price and a time in force that rests")
    rows = []
    for leg, preview in zip(legs, previews, strict=True):
        row = place_fields(preview.spec, client_id(leg.key) if client_ids else None)
        # Where the venue knows no client ids, only the order of its answer says which leg is whose.
        rows.append(row if client_ids else {**row, "of": leg.key.hex()})
    costs: dict[str, Decimal] = {}
    for money in (money for preview in previews for money in preview.outlay):
        costs[money.asset] = EXACT.add(costs.get(money.asset, Decimal(0)), money.amount)
    return {"kind": kind, "symbol": symbols[0], "legs": rows}, tuple(Money(*each) for each in costs.items())


def leg_keys(ticket: Ticket) -> tuple[Key | None, ...]:
    """The keys of the legs a ticket places, where the venue has no client ids."""
    return tuple(bytes.fromhex(row["of"]) for row in read_body(ticket)["legs"])
