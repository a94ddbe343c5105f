"""Order lists: which orders Binance keeps together itself, and what is sent of each.

Sources: rest-api.md (New Order list - OCO, - OTO, - OTOCO), errors.md (-1158 to -1199).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal

from exchange_kernel.errors import InvalidOrder
from exchange_kernel.schema import Side, TimeInForce
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.venue import Key, Money, PlaceGroup, Preview, Spec, VenueId
from exchange_kernel_binance.names import client_id
from exchange_kernel_binance.spot import orders
from exchange_kernel_binance.spot.markets import SpotMarket
from exchange_kernel_binance.spot.orders import Fields

PLACES: Mapping[str, tuple[str, str, str]] = {
    "oco": ("POST", "private", "orderList/oco"),
    "oto": ("POST", "private", "orderList/oto"),
    "bracket": ("POST", "private", "orderList/otoco"),
}
LEGS = {"oco": 2, "oto": 2, "bracket": 3}
_TAKING = frozenset({"LIMIT_MAKER", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"})
_LOSING = frozenset({"STOP_LOSS", "STOP_LOSS_LIMIT"})
_OF_THE_LIST = frozenset({"symbol", "side", "quantity", "newClientOrderId", "newOrderRespType"})
_OF_A_LEG = frozenset({"type", "timeInForce", "price", "stopPrice", "trailingDelta", "icebergQty"})


class _Leg:
    """One leg: where it stands in the group, what it is, and its fields as those of an order of its own."""

    def __init__(self, place: int, preview: Preview, key: Key, market: SpotMarket) -> None:
        self.name, self.spec, self.outlay = f"legs[{place}]", preview.spec, preview.outlay
        self.fields = dict(orders.place(self.spec, key, market))

    @property
    def type(self) -> str:
        """Binance's order type."""
        return self.fields["type"]

    def sent(self, prefix: str) -> Fields:
        """Its own fields under the leg's prefix. Raises InvalidOrder where a list has no such field."""
        mine = {name: value for name, value in self.fields.items() if name not in _OF_THE_LIST}
        odd = sorted(mine.keys() - _OF_A_LEG)
        if odd:
            raise InvalidOrder(self.name, ", ".join(odd), "is not taken in an order list (rest-api.md)")
        named = [(f"{prefix}{name[0].upper()}{name[1:]}", value) for name, value in mine.items()]
        return (*named, (f"{prefix}ClientOrderId", self.fields["newClientOrderId"]))


def place(
    command: PlaceGroup, check: Callable[[Spec], Preview], market_of: Callable[[str], SpotMarket]
) -> tuple[Fields, tuple[Money, ...]]:
    """The fields of a list's request, and the most that all its legs may cost together.

    Raises what ``check`` raises for a leg; InvalidOrder for legs that are no list of Binance's.
    """
    market = market_of(_one_symbol(command))
    legs = [_Leg(place, check(leg.spec), leg.key, market) for place, leg in enumerate(command.legs)]
    head = (("symbol", market.name), ("listClientOrderId", client_id(command.key)), ("newOrderRespType", "FULL"))
    if command.kind == "oco":
        first = legs[0].fields
        shared = (("side", first["side"]), ("quantity", _quantity(legs[0])))
        return (*head, *shared, *_pair(legs, "above", "below")), _dearer(legs)
    working, *pending = legs
    _check_working(working)
    fields = (*head, *_sided(working, "working"), *working.sent("working"), *_sided(pending[0], "pending"))
    if command.kind == "oto":
        return (*fields, *pending[0].sent("pending")), _sum(working.outlay, pending[0].outlay)
    return (*fields, *_pair(pending, "pendingAbove", "pendingBelow")), _sum(working.outlay, _dearer(pending))


def ids(command: PlaceGroup) -> tuple[VenueId, ...]:
    """What each leg can be found by."""
    return tuple(VenueId("client", client_id(leg.key)) for leg in command.legs)


def _one_symbol(command: PlaceGroup) -> str:
    """The symbol of all legs. Raises InvalidOrder for what cannot be a group anywhere."""
    kind, legs = command.kind, command.legs
    if len(legs) != LEGS[kind]:
        raise InvalidOrder("legs", len(legs), f"must be {LEGS[kind]} in {kind}")
    if len({command.key, *(leg.key for leg in legs)}) != len(legs) + 1:
        raise InvalidOrder("legs", [leg.key.hex() for leg in legs], "have one key twice, or that of the group")
    symbols = sorted({leg.spec.symbol for leg in legs})
    if len(symbols) != 1:
        raise InvalidOrder("legs", symbols, "must be of one symbol")
    return symbols[0]


def _check_working(leg: _Leg) -> None:
    if leg.type not in ("LIMIT", "LIMIT_MAKER") or leg.spec.limit is None:
        rule = "the order that others wait for must be LIMIT or LIMIT_MAKER"
        raise InvalidOrder(f"{leg.name}.limit", leg.spec.limit, rule, "give it a limit price, and no trigger")


def _pair(legs: Sequence[_Leg], above: str, below: str) -> Fields:
    """Two legs of which one ends the other: one takes a profit, the other stops a loss, each on its side."""
    one, other = legs
    if one.spec.side is not other.spec.side:
        raise InvalidOrder(f"{other.name}.side", other.spec.side, "must be that of the leg that it excludes")
    if one.spec.amount != other.spec.amount:
        raise InvalidOrder(f"{other.name}.amount", other.spec.amount, "must be that of the leg that it excludes")
    for leg in legs:
        _check_excludes(leg)
    if {leg.type in _TAKING for leg in legs} != {True, False}:
        rule = "must be one LIMIT_MAKER or TAKE_PROFIT(_LIMIT) and one STOP_LOSS(_LIMIT) (-1158, -1168)"
        raise InvalidOrder("legs", [leg.type for leg in legs], rule)
    taking, losing = (one, other) if one.type in _TAKING else (other, one)
    sells = one.spec.side is Side.SELL
    profit, loss = _watched(taking.spec), _watched(losing.spec)
    if profit is not None and loss is not None and (profit <= loss if sells else profit >= loss):
        rule = f"must be {'above' if sells else 'below'} the price at which the loss is stopped, {loss:f}"
        raise InvalidOrder(f"{taking.name}.price", profit, rule)
    upper, lower = (taking, losing) if sells else (losing, taking)
    return (*upper.sent(above), *lower.sent(below))


def _check_excludes(leg: _Leg) -> None:
    if leg.type in _TAKING | _LOSING:
        return
    if leg.spec.limit is not None and leg.spec.tif is TimeInForce.GTC:
        rule = "a leg that excludes another rests as LIMIT_MAKER only (-1158)"
        raise InvalidOrder(f"{leg.name}.post_only", leg.spec.post_only, rule, "set post_only")
    rule = f"{leg.type} cannot exclude another order (-1158)"
    raise InvalidOrder(f"{leg.name}.limit", leg.spec.limit, rule, "use a post-only limit order, or a trigger")


def _watched(spec: Spec) -> Decimal | None:
    """The price that must lie on the right side of the market; None where it moves with it."""
    if spec.trigger is None:
        return spec.limit
    return spec.trigger.activation if spec.trigger.price is None else spec.trigger.price


def _quantity(leg: _Leg) -> str:
    if "quantity" not in leg.fields:
        raise InvalidOrder(f"{leg.name}.amount_in", leg.spec.amount_in, "a list's amounts are in base (rest-api.md)")
    return leg.fields["quantity"]


def _sided(leg: _Leg, prefix: str) -> Fields:
    return ((f"{prefix}Side", leg.fields["side"]), (f"{prefix}Quantity", _quantity(leg)))


def _dearer(legs: Sequence[_Leg]) -> tuple[Money, ...]:
    """What two that exclude each other may cost: only one of them trades."""
    most: dict[str, Decimal] = {}
    for money in (money for leg in legs for money in leg.outlay):
        most[money.asset] = max(most.get(money.asset, Decimal(0)), money.amount)
    return tuple(Money(asset, amount) for asset, amount in most.items())


def _sum(*outlays: tuple[Money, ...]) -> tuple[Money, ...]:
    total: dict[str, Decimal] = {}
    for money in (money for outlay in outlays for money in outlay):
        total[money.asset] = EXACT.add(total.get(money.asset, Decimal(0)), money.amount)
    return tuple(Money(asset, amount) for asset, amount in total.items())
