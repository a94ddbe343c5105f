"""May this order go to this market? The check before anything is written, and the order in a venue's words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal

from exchange_kernel.errors import InvalidOrder, UnknownSymbol, Unsupported
from exchange_kernel.orders.grid import Neighbours, amount_neighbours, price_neighbours, round_down
from exchange_kernel.orders.watch import immediate, needs_watching, rests, unwatchable, watched
from exchange_kernel.schema import (
    AmountType,
    ConditionalOrderMode,
    ConditionalTrigger,
    MarketCapabilities,
    PriceConstraints,
    Rounding,
    Side,
    StandardOrder,
    SymbolMetadata,
    TickSpacing,
    TimeInForce,
    TrailUnit,
    TriggerKind,
    canonical,
)
from exchange_kernel.schema.fields import close_to
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.venue import Spec, Trigger

__all__ = ["emulated_features", "suggest", "to_spec", "validate"]

_TIMED = frozenset({TimeInForce.DAY, TimeInForce.GTD})
_NOT_LETTERS = re.compile(r"[^0-9A-Z]+")
_LISTED = 8


def validate(order: StandardOrder, symbol: SymbolMetadata, now_ms: int) -> StandardOrder:
    """The order as it may be recorded: itself, or with its amounts rounded down to the step where it says so.

    Checks what needs the market and nothing else: state, capabilities, amounts, notional, prices and expiry
    (``now_ms``: local ms UTC). A market order in base has no notional before it has a price; the venue's own ``check``
    follows.

    :raises UnknownSymbol: the order is for another symbol.
    :raises Unsupported: neither the venue nor the kernel offers what it needs; ``feature`` names it.
    :raises InvalidOrder: any other rule, with the two nearest values where one is off the grid.
    """
    if order.symbol_id != symbol.symbol_id:
        raise UnknownSymbol("symbol_id", order.symbol_id, f"is not {symbol.symbol_id}")
    if not symbol.active:
        hint = "the venue lists this market as inactive"
        raise InvalidOrder("symbol_id", order.symbol_id, "takes no orders now", hint)
    _check_capabilities(order, symbol.capabilities)
    order = _rounded(order, symbol)
    _check_amounts(order, symbol)
    _check_notional(order, symbol)
    _check_prices(order, symbol)
    _check_expiry(order, now_ms)
    return order


def emulated_features(order: StandardOrder, symbol: SymbolMetadata) -> tuple[str, ...]:
    """The capabilities this order needs from the kernel because the venue lacks them: ``day`` or ``gtd``, whose end its
    timer keeps; ``gtc``, for which it watches the price; or none."""
    tif = order.time_in_force
    timed = (tif.lower(),) if tif in _TIMED and not symbol.capabilities.offers(tif.lower()) else ()
    return (*timed, "gtc") if watched(order, symbol.capabilities) else timed


def to_spec(order: StandardOrder, symbol: SymbolMetadata) -> Spec:
    """A validated order in the venue's words. An emulated time in force becomes GTC: the kernel's timer ends the order;
    where nothing rests, it becomes immediate: the kernel sends it when the price is met.

    The worst price of a market order (``guard``) is not known here and stays None.
    """
    trigger = order.conditional_trigger
    emulated = bool(emulated_features(order, symbol))
    resting = immediate(symbol.capabilities) if watched(order, symbol.capabilities) else TimeInForce.GTC
    return Spec(
        symbol=symbol.symbol_id,
        side=order.side,
        amount=order.amount,
        amount_in=order.amount_type,
        limit=order.own_limit,
        tif=resting if emulated else order.time_in_force,
        until=None if emulated else order.expire_at,
        post_only=order.post_only,
        reduce_only=order.reduce_only,
        display=order.iceberg_qty,
        trigger=None if trigger is None else _venue_trigger(trigger),
    )


def suggest(symbol_id: str, known: Iterable[str]) -> str:
    """The hint for an unknown symbol: the known one it was probably meant to be, or a few that exist."""
    names = sorted(known)
    if not names:
        return "the venue lists no symbols"
    by_letters = {_letters(name): name for name in reversed(names)}
    wanted = _letters(symbol_id)
    guess = by_letters.get(wanted) or by_letters.get(close_to(wanted, by_letters))
    if guess:
        return f"did you mean {guess}?"
    rest = f", … ({len(names)} in all)" if len(names) > _LISTED else ""
    return f"the venue lists {', '.join(names[:_LISTED])}{rest}"


def _letters(symbol_id: str) -> str:
    return _NOT_LETTERS.sub("", symbol_id.upper())


def _venue_trigger(trigger: ConditionalTrigger) -> Trigger:
    return Trigger(
        kind=trigger.kind,
        price=trigger.trigger_price,
        source=trigger.price_source,
        offset=trigger.trail_offset,
        offset_in=trigger.trail_unit,
        activation=trigger.activation_price,
    )


def _check_capabilities(order: StandardOrder, capabilities: MarketCapabilities) -> None:
    if order.side not in capabilities.sides:
        raise Unsupported(f"side {order.side}", f"this market takes only {', '.join(sorted(capabilities.sides))}")
    mode = order.conditional_mode
    if mode is not None and mode is not ConditionalOrderMode.STANDALONE:
        raise Unsupported(
            f"conditional_mode {mode}",
            "the kernel does not run it; place the entry alone, then a STANDALONE trigger order for what it has filled",
        )
    for feature in _needed(order, watching=needs_watching(order, capabilities)):
        if feature == "gtc" and order.conditional_trigger is None and rests(order, capabilities):
            continue
        if not capabilities.offers(feature):
            raise Unsupported(feature)
    tif = order.time_in_force
    if needs_watching(order, capabilities):
        why = unwatchable(order, capabilities)
        if why or not order.allow_emulation:
            why = why or "the order does not allow emulation"
            raise Unsupported(tif.lower(), f"this venue does not offer it, and {why}")
        return
    if tif not in _TIMED or capabilities.offers(tif.lower()):
        return
    if not order.allow_emulation:
        raise Unsupported(tif.lower(), "this venue does not offer it, and the order does not allow emulation")
    if _may_rest(order) and not rests(order, capabilities):
        raise Unsupported(tif.lower(), "this venue does not offer it, and emulation would need gtc")


def _needed(order: StandardOrder, *, watching: bool) -> list[str]:
    """The capabilities the venue itself must have; DAY and GTD, which the kernel can provide, are not among them."""
    needed = [f"amount_{order.amount_type.lower()}"]
    trigger = order.conditional_trigger
    if trigger is not None:
        needed += _trigger_features(trigger)
        if not order.is_market:
            needed.append("trigger_limit")
    else:
        needed.append("market" if order.is_market else "limit")
    # A plain market order never rests, so GTC asks nothing of the venue.
    if (
        not watching
        and order.time_in_force not in _TIMED
        and (order.time_in_force is not TimeInForce.GTC or _may_rest(order))
    ):
        needed.append(order.time_in_force.lower())
    for feature, wanted in (
        ("post_only", order.post_only),
        ("reduce_only", order.reduce_only),
        ("iceberg", order.iceberg_qty is not None),
    ):
        if wanted:
            needed.append(feature)
    return needed


def _may_rest(order: StandardOrder) -> bool:
    return not order.is_market or order.conditional_trigger is not None


def _trigger_features(trigger: ConditionalTrigger) -> list[str]:
    source = f"source_{trigger.price_source.lower()}"
    if trigger.kind is not TriggerKind.TRAILING_STOP:
        return [trigger.kind.lower(), source]
    features = ["trailing_abs" if trigger.trail_unit is TrailUnit.ABSOLUTE else "trailing_pct", source]
    return features if trigger.activation_price is None else [*features, "trailing_activation"]


def _step(order: StandardOrder, symbol: SymbolMetadata) -> Decimal | None:
    return symbol.amounts.step if order.amount_type is AmountType.BASE else symbol.amounts.quote_step


def _rounded(order: StandardOrder, symbol: SymbolMetadata) -> StandardOrder:
    if order.rounding is not Rounding.DOWN:
        return order
    step = _step(order, symbol)
    changes: dict[str, Decimal] = {}
    for field, value, unit in (("amount", order.amount, step), ("iceberg_qty", order.iceberg_qty, symbol.amounts.step)):
        if value is None or unit is None:
            continue
        rounded = round_down(value, unit)
        if not rounded:
            raise InvalidOrder(field, value, f"is below one step {canonical(unit)} of {symbol.symbol_id}")
        if rounded != value:
            changes[field] = rounded
    return order.but(**changes) if changes else order


def _check_amounts(order: StandardOrder, symbol: SymbolMetadata) -> None:
    amounts = symbol.amounts
    if order.amount_type is AmountType.BASE:
        _within(order, "amount", amounts.min_amount, amounts.max_amount, symbol)
    step = _step(order, symbol)
    if step is not None:
        _on_step("amount", order.amount, step, symbol)
    if order.iceberg_qty is not None:
        _on_step("iceberg_qty", order.iceberg_qty, amounts.step, symbol)


def _within(
    order: StandardOrder, what: str, least: Decimal | None, most: Decimal | None, symbol: SymbolMetadata
) -> None:
    value, unit = order.amount, symbol.base if order.amount_type is AmountType.BASE else symbol.quote
    if least is not None and value < least:
        raise InvalidOrder("amount", value, f"is below min_{what} {canonical(least)} {unit} of {symbol.symbol_id}")
    if most is not None and value > most:
        raise InvalidOrder("amount", value, f"is above max_{what} {canonical(most)} {unit} of {symbol.symbol_id}")


def _on_step(field: str, value: Decimal, step: Decimal, symbol: SymbolMetadata) -> None:
    neighbours = amount_neighbours(value, step)
    if not neighbours.on_grid:
        rule = f"is not a multiple of the step {canonical(step)} of {symbol.symbol_id}"
        raise InvalidOrder(field, value, rule, f"{_nearest(neighbours)}; rounding=DOWN takes the lower by itself")


def _check_notional(order: StandardOrder, symbol: SymbolMetadata) -> None:
    amounts = symbol.amounts
    if order.amount_type is AmountType.QUOTE:
        _within(order, "notional", amounts.min_notional, amounts.max_notional, symbol)
        return
    limit = order.own_limit
    if limit is None:
        return
    notional = EXACT.multiply(order.amount, limit)
    of = f"of {symbol.symbol_id}"
    what = f"times the limit price {canonical(limit)} is {canonical(notional)} {symbol.quote}"
    if amounts.min_notional is not None and notional < amounts.min_notional:
        raise InvalidOrder("amount", order.amount, f"{what}, below min_notional {canonical(amounts.min_notional)} {of}")
    if amounts.max_notional is not None and notional > amounts.max_notional:
        raise InvalidOrder("amount", order.amount, f"{what}, above max_notional {canonical(amounts.max_notional)} {of}")


def _check_prices(order: StandardOrder, symbol: SymbolMetadata) -> None:
    _on_grid("limit_price", order.limit_price, order.side, symbol)
    trigger = order.conditional_trigger
    if trigger is None:
        return
    for field in ("trigger_price", "activation_price", "limit_price"):
        _on_grid(f"conditional_trigger.{field}", getattr(trigger, field), order.side, symbol)
    prices, offset = symbol.prices, trigger.trail_offset
    # A trailing distance has no place on the price scale, so only a constant tick says which distances there are.
    if offset is not None and trigger.trail_unit is TrailUnit.ABSOLUTE and prices.spacing is TickSpacing.FIXED:
        assert prices.tick is not None
        neighbours = amount_neighbours(offset, prices.tick)
        if not neighbours.on_grid:
            rule = f"is not a multiple of the tick {canonical(prices.tick)} of {symbol.symbol_id}"
            raise InvalidOrder("conditional_trigger.trail_offset", offset, rule, _nearest(neighbours))


def _on_grid(field: str, price: Decimal | None, side: Side, symbol: SymbolMetadata) -> None:
    if price is None:
        return
    prices = symbol.prices
    neighbours = price_neighbours(price, prices)
    if prices.min_price is not None and price < prices.min_price:
        rule = f"is below min_price {canonical(prices.min_price)} of {symbol.symbol_id}"
    elif prices.max_price is not None and price > prices.max_price:
        rule = f"is above max_price {canonical(prices.max_price)} of {symbol.symbol_id}"
    elif neighbours.on_grid:
        return
    else:
        rule = f"is not a price of {symbol.symbol_id}, {_spacing(price, prices)}"
    raise InvalidOrder(field, price, rule, _nearest(neighbours))


def _spacing(price: Decimal, prices: PriceConstraints) -> str:
    if prices.spacing is TickSpacing.CONTINUOUS:
        return f"whose prices have at most {prices.significant_digits} significant digits"
    tick = prices.tick or next(band.tick for band in reversed(prices.bands) if price >= band.from_price)
    return f"whose tick {'here ' if prices.bands else ''}is {canonical(tick)}"


def _nearest(neighbours: Neighbours) -> str:
    values = [canonical(value) for value in neighbours if value is not None]
    return f"nearest are {values[0]} and {values[1]}" if len(values) == 2 else f"nearest is {''.join(values)}"


def _check_expiry(order: StandardOrder, now_ms: int) -> None:
    if order.expire_at is not None and order.expire_at <= now_ms:
        hint = "give milliseconds, not seconds" if order.expire_at * 1000 >= now_ms else "choose a later time"
        raise InvalidOrder("expire_at", order.expire_at, f"is not after now, {now_ms} ms UTC", hint)
