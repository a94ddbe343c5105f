"""StandardOrder: the venue-neutral order a user writes.

Every rule that needs no market is checked when the order is made; what the symbol and the venue demand is checked by
:func:`exchange_kernel.orders.validate.validate`. Money is exact: a float counts as its shortest repr.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Any, Self

import msgspec

from exchange_kernel.errors import InvalidOrder
from exchange_kernel.schema import numbers
from exchange_kernel.schema.choices import (
    AmountType,
    ConditionalOrderMode,
    PriceSource,
    Rounding,
    Side,
    TimeInForce,
    TrailUnit,
    TriggerKind,
)
from exchange_kernel.schema.fields import check_keys, choice, flag, identifier, moment
from exchange_kernel.schema.numbers import Number, canonical

__all__ = [
    "AmountType",
    "ConditionalOrderMode",
    "ConditionalTrigger",
    "PriceSource",
    "Rounding",
    "Side",
    "StandardOrder",
    "TimeInForce",
    "TrailUnit",
    "TriggerKind",
]


_UNIFIED = frozenset({ConditionalOrderMode.UNIFIED_FIXED, ConditionalOrderMode.UNIFIED_ADJUSTING})
_set = object.__setattr__
_sorted = msgspec.json.Encoder(order="sorted").encode


def _money(field: str, value: object) -> Decimal | None:
    return None if value is None else numbers.amount(field, value)


# Plain dataclasses, not pydantic: importing pydantic alone would break the 0.25 s import budget of the package.
@dataclass(frozen=True, slots=True, init=False)
class ConditionalTrigger:
    """What arms an order. Prices are quote per base.

    ``STOP_LOSS`` and ``TAKE_PROFIT`` need ``trigger_price``. ``TRAILING_STOP`` needs ``trail_offset`` (in
    ``trail_unit``) and starts to follow at once, or when ``activation_price`` is reached. ``limit_price``: the worst
    price after the trigger fired; None sends a market order.

    :raises InvalidOrder: for any value or combination outside these rules.
    """

    kind: TriggerKind
    trigger_price: Decimal | None = None
    price_source: PriceSource = PriceSource.LAST
    trail_offset: Decimal | None = None
    trail_unit: TrailUnit = TrailUnit.ABSOLUTE
    activation_price: Decimal | None = None
    limit_price: Decimal | None = None

    def __init__(
        self,
        kind: TriggerKind | str,
        trigger_price: Number | None = None,
        price_source: PriceSource | str = PriceSource.LAST,
        trail_offset: Number | None = None,
        trail_unit: TrailUnit | str = TrailUnit.ABSOLUTE,
        activation_price: Number | None = None,
        limit_price: Number | None = None,
    ) -> None:
        _set(self, "kind", choice("conditional_trigger.kind", kind, TriggerKind))
        _set(self, "trigger_price", _money("conditional_trigger.trigger_price", trigger_price))
        _set(self, "price_source", choice("conditional_trigger.price_source", price_source, PriceSource))
        _set(self, "trail_offset", _money("conditional_trigger.trail_offset", trail_offset))
        _set(self, "trail_unit", choice("conditional_trigger.trail_unit", trail_unit, TrailUnit))
        _set(self, "activation_price", _money("conditional_trigger.activation_price", activation_price))
        _set(self, "limit_price", _money("conditional_trigger.limit_price", limit_price))
        self._check()

    def _check(self) -> None:
        trailing = self.kind is TriggerKind.TRAILING_STOP
        needed, foreign = ("trail_offset", "trigger_price") if trailing else ("trigger_price", "trail_offset")
        if getattr(self, needed) is None:
            raise InvalidOrder(f"conditional_trigger.{needed}", None, f"is required for {self.kind}")
        if getattr(self, foreign) is not None:
            hint = f"{self.kind} is described by {needed}"
            raise InvalidOrder(
                f"conditional_trigger.{foreign}", getattr(self, foreign), f"does not go with {self.kind}", hint
            )
        if not trailing and self.activation_price is not None:
            rule = "is only for TRAILING_STOP"
            raise InvalidOrder("conditional_trigger.activation_price", self.activation_price, rule)
        if self.trail_unit is TrailUnit.PERCENT:
            if self.trail_offset is None:
                raise InvalidOrder("conditional_trigger.trail_unit", self.trail_unit, "is only for TRAILING_STOP")
            if self.trail_offset >= 100:
                raise InvalidOrder("conditional_trigger.trail_offset", self.trail_offset, "must be below 100 percent")

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; money as canonical text, fields at their default left out."""
        out: dict[str, Any] = {"kind": self.kind.value}
        if self.trigger_price is not None:
            out["trigger_price"] = canonical(self.trigger_price)
        if self.price_source is not PriceSource.LAST:
            out["price_source"] = self.price_source.value
        if self.trail_offset is not None:
            out["trail_offset"] = canonical(self.trail_offset)
        if self.trail_unit is not TrailUnit.ABSOLUTE:
            out["trail_unit"] = self.trail_unit.value
        if self.activation_price is not None:
            out["activation_price"] = canonical(self.activation_price)
        if self.limit_price is not None:
            out["limit_price"] = canonical(self.limit_price)
        return out

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`. Unknown keys are refused."""
        check_keys("conditional_trigger", data, _TRIGGER_FIELDS)
        if "kind" not in data:
            raise InvalidOrder("conditional_trigger.kind", None, "is required")
        return cls(**data)


@dataclass(frozen=True, slots=True, init=False)
class StandardOrder:
    """An order as a user declares it: what should exist, on any venue.

    ``symbol_id``: the venue's market, e.g. ``BTC/USD``. ``amount``: base or quote (``amount_type``), exact before fees.
    ``limit_price``: worst price, quote per base; None makes a market order, which ``max_slippage`` (a fraction below 1)
    bounds. ``expire_at``: ms UTC or an aware datetime, for GTD. ``iceberg_qty``: the visible part, in base.
    ``conditional_trigger`` with ``conditional_mode``: see :class:`ConditionalOrderMode`. ``rounding``: may an amount
    between two steps be rounded down? ``allow_emulation``: may the kernel provide what the venue lacks, while it runs?

    Enum fields accept the member or its exact name. The order is immutable; :meth:`but` makes a changed copy.

    :raises InvalidOrder: for any value or combination the rules forbid, naming field, value, rule and what to do.
    """

    symbol_id: str
    side: Side
    amount: Decimal
    amount_type: AmountType = AmountType.BASE
    limit_price: Decimal | None = None
    time_in_force: TimeInForce = TimeInForce.GTC
    conditional_trigger: ConditionalTrigger | None = None
    conditional_mode: ConditionalOrderMode | None = None
    reduce_only: bool = False
    post_only: bool = False
    iceberg_qty: Decimal | None = None
    expire_at: int | None = None
    max_slippage: Decimal | None = None
    rounding: Rounding = Rounding.REFUSE
    allow_emulation: bool = True

    def __init__(
        self,
        symbol_id: str,
        side: Side | str,
        amount: Number,
        amount_type: AmountType | str = AmountType.BASE,
        limit_price: Number | None = None,
        time_in_force: TimeInForce | str = TimeInForce.GTC,
        conditional_trigger: ConditionalTrigger | None = None,
        conditional_mode: ConditionalOrderMode | str | None = None,
        reduce_only: bool = False,
        post_only: bool = False,
        iceberg_qty: Number | None = None,
        expire_at: int | datetime | None = None,
        max_slippage: Number | None = None,
        rounding: Rounding | str = Rounding.REFUSE,
        allow_emulation: bool = True,
    ) -> None:
        _set(self, "symbol_id", identifier("symbol_id", symbol_id))
        _set(self, "side", choice("side", side, Side))
        _set(self, "amount", numbers.amount("amount", amount))
        _set(self, "amount_type", choice("amount_type", amount_type, AmountType))
        _set(self, "limit_price", _money("limit_price", limit_price))
        _set(self, "time_in_force", choice("time_in_force", time_in_force, TimeInForce))
        if conditional_trigger is not None and not isinstance(conditional_trigger, ConditionalTrigger):
            raise InvalidOrder("conditional_trigger", conditional_trigger, "must be a ConditionalTrigger")
        _set(self, "conditional_trigger", conditional_trigger)
        mode = conditional_mode
        mode = None if mode is None else choice("conditional_mode", mode, ConditionalOrderMode)
        _set(self, "conditional_mode", mode)
        _set(self, "reduce_only", flag("reduce_only", reduce_only))
        _set(self, "post_only", flag("post_only", post_only))
        _set(self, "iceberg_qty", _money("iceberg_qty", iceberg_qty))
        _set(self, "expire_at", None if expire_at is None else moment("expire_at", expire_at))
        _set(self, "max_slippage", _money("max_slippage", max_slippage))
        _set(self, "rounding", choice("rounding", rounding, Rounding))
        _set(self, "allow_emulation", flag("allow_emulation", allow_emulation))
        self._check_life()
        self._check_trigger()
        self._check_price()

    @property
    def own_limit(self) -> Decimal | None:
        """Limit price of this order itself, quote per base; None for a market order.

        The trigger's ``limit_price`` belongs to this order where this order *is* the trigger order, and to its exit
        where this order is the entry (UNIFIED modes).
        """
        if self.limit_price is not None or self.conditional_trigger is None or self.conditional_mode in _UNIFIED:
            return self.limit_price
        return self.conditional_trigger.limit_price

    @property
    def is_market(self) -> bool:
        """True when no limit price bounds this order."""
        return self.own_limit is None

    @property
    def immediate(self) -> bool:
        """True when it is over at once, filled or not: a market, IOC or FOK order that waits for no trigger."""
        once = self.is_market or self.time_in_force in (TimeInForce.IOC, TimeInForce.FOK)
        return once and self.conditional_trigger is None

    def _check_life(self) -> None:
        if self.time_in_force is TimeInForce.GTD:
            if self.expire_at is None:
                raise InvalidOrder("expire_at", None, "is required for GTD", "give ms UTC or an aware datetime")
        elif self.expire_at is not None:
            rule = f"does not go with {self.time_in_force}"
            raise InvalidOrder("expire_at", self.expire_at, rule, "use time_in_force=GTD, or leave it out")

    def _check_trigger(self) -> None:
        trigger, mode = self.conditional_trigger, self.conditional_mode
        if trigger is None:
            if mode is not None:
                raise InvalidOrder("conditional_trigger", None, f"is required with conditional_mode {mode}")
            return
        if mode is None:
            raise InvalidOrder(
                "conditional_mode",
                None,
                "is required with conditional_trigger: 'sell when it falls to 45000' and 'buy now, and sell that if it"
                " falls to 45000' differ by a position",
                "STANDALONE for the first, UNIFIED_ADJUSTING or UNIFIED_FIXED for the second; or SEPARATE_LINKED,"
                " PROTECT_POSITION",
            )
        if mode not in _UNIFIED:
            if self.limit_price is not None and trigger.limit_price is not None:
                hint = f"{mode} has one limit price: keep conditional_trigger.limit_price"
                raise InvalidOrder("limit_price", self.limit_price, "is given twice", hint)
            return
        if trigger.kind is TriggerKind.STOP_LOSS and trigger.trigger_price is not None and self.limit_price is not None:
            buy = self.side is Side.BUY
            if trigger.trigger_price >= self.limit_price if buy else trigger.trigger_price <= self.limit_price:
                raise InvalidOrder(
                    "conditional_trigger.trigger_price",
                    trigger.trigger_price,
                    f"is on the wrong side of limit_price {self.limit_price}: the stop would fire with the entry",
                    f"the stop of a {self.side} entry lies {'below' if buy else 'above'} its limit_price",
                )

    def _check_price(self) -> None:
        market = self.is_market
        if self.post_only:
            if market:
                raise InvalidOrder("post_only", True, "needs a limit_price", "a market order always takes")
            if self.time_in_force in (TimeInForce.IOC, TimeInForce.FOK):
                raise InvalidOrder("post_only", True, f"does not go with {self.time_in_force}", "it could never trade")
        if self.iceberg_qty is not None:
            if market:
                raise InvalidOrder("iceberg_qty", self.iceberg_qty, "needs a limit_price")
            if self.amount_type is AmountType.BASE and self.iceberg_qty > self.amount:
                raise InvalidOrder("iceberg_qty", self.iceberg_qty, f"is above the amount {self.amount}")
        if self.max_slippage is not None:
            if not market:
                rule = "is only for market orders"
                raise InvalidOrder("max_slippage", self.max_slippage, rule, "the limit_price already bounds the price")
            if self.max_slippage >= 1:
                raise InvalidOrder("max_slippage", self.max_slippage, "must be below 1", "0.01 means one percent")

    def but(self, **changes: Any) -> Self:
        """A copy with these fields changed, checked anew. Raises InvalidOrder, also for a name that is no field."""
        check_keys("order", changes, _ORDER_FIELDS)
        return type(self)(**({name: getattr(self, name) for name in _ORDER_FIELDS} | changes))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; money as canonical text, times as int ms UTC, fields at their default left out.

        Defaults are part of the format and never change: a field added later leaves stored orders and hashes as they
        are.
        """
        out: dict[str, Any] = {
            "symbol_id": self.symbol_id,
            "side": self.side.value,
            "amount": canonical(self.amount),
        }
        if self.amount_type is not AmountType.BASE:
            out["amount_type"] = self.amount_type.value
        if self.limit_price is not None:
            out["limit_price"] = canonical(self.limit_price)
        if self.time_in_force is not TimeInForce.GTC:
            out["time_in_force"] = self.time_in_force.value
        if self.conditional_trigger is not None:
            out["conditional_trigger"] = self.conditional_trigger.to_dict()
        if self.conditional_mode is not None:
            out["conditional_mode"] = self.conditional_mode.value
        if self.reduce_only:
            out["reduce_only"] = True
        if self.post_only:
            out["post_only"] = True
        if self.iceberg_qty is not None:
            out["iceberg_qty"] = canonical(self.iceberg_qty)
        if self.expire_at is not None:
            out["expire_at"] = self.expire_at
        if self.max_slippage is not None:
            out["max_slippage"] = canonical(self.max_slippage)
        if self.rounding is not Rounding.REFUSE:
            out["rounding"] = self.rounding.value
        if not self.allow_emulation:
            out["allow_emulation"] = False
        return out

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of :meth:`to_dict`. Unknown and missing fields are refused by name."""
        check_keys("order", data, _ORDER_FIELDS)
        for name in ("symbol_id", "side", "amount"):
            if name not in data:
                raise InvalidOrder(name, None, "is required")
        values = dict(data)
        if isinstance(values.get("conditional_trigger"), Mapping):
            values["conditional_trigger"] = ConditionalTrigger.from_dict(values["conditional_trigger"])
        return cls(**values)

    def spec_hash(self) -> str:
        """SHA-256 (hex) of the canonical JSON: equal for equal orders, however their numbers were written."""
        text = _sorted(self.to_dict())
        if not text.isascii():
            text = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
        return hashlib.sha256(text).hexdigest()


_TRIGGER_FIELDS = tuple(field.name for field in fields(ConditionalTrigger))
_ORDER_FIELDS = tuple(field.name for field in fields(StandardOrder))
