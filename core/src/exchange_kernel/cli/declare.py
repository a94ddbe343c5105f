"""Declaring and changing orders beside a running kernel: checked against the venue's own markets, then written as
desired state. Nothing is sent from here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from exchange_kernel.cli.desk import Desk, default_actor
from exchange_kernel.cli.output import money
from exchange_kernel.clock import Clock, Ids, SystemIds
from exchange_kernel.config import AccountConfig, Config
from exchange_kernel.errors import (
    AdmissionDenied,
    ConfigError,
    InvalidOrder,
    NoEffect,
    Unavailable,
    UnknownIntent,
    UnknownSymbol,
)
from exchange_kernel.models import OrderIntent
from exchange_kernel.orders.admission import Admission, AdmissionRequest
from exchange_kernel.orders.names import check_id, check_labels, new_id
from exchange_kernel.orders.validate import emulated_features, suggest, to_spec, validate
from exchange_kernel.orders.watch import needs_watching
from exchange_kernel.plugins import Policy, load
from exchange_kernel.plugins.background import Imports
from exchange_kernel.plugins.parts import find_checks, make_admission
from exchange_kernel.reconcile.apply import notional
from exchange_kernel.reconcile.session import Settings
from exchange_kernel.reconcile.wanted import guarded_spec
from exchange_kernel.schema import StandardOrder, SymbolMetadata
from exchange_kernel.state.ops import BindAccount, CreateIntents, ModifyIntent, NewIntent
from exchange_kernel.venue import (
    Context,
    NeedsFirst,
    Opened,
    Place,
    Prep,
    Preview,
    PriceReads,
    Prices,
    PriceTick,
    Slot,
    Ticket,
    VenueAdapter,
)

PRICE_S = 2.0


@dataclass(frozen=True, slots=True)
class Checked:
    """An order as it may be recorded, its most in quote (None: unknown), and what its user wrote."""

    order: StandardOrder
    notional: Decimal | None
    written: StandardOrder
    preview: Preview


class Counter:
    """A venue opened to look at its markets and to check orders against them."""

    def __init__(
        self, account: AccountConfig, adapter: VenueAdapter, opened: Opened, clock: Clock, admission: Admission
    ) -> None:
        self._account, self._adapter, self._clock, self._admission = account, adapter, clock, admission
        self.opened = opened
        self.markets: dict[str, SymbolMetadata] = {}

    async def look(self) -> None:
        """Read the markets. Raises Unavailable."""
        self.markets = {market.symbol_id: market for market in await self._adapter.markets()}

    async def check(self, order: StandardOrder) -> Checked:
        """Would this order be taken? Raises InvalidOrder, UnknownSymbol, Unsupported."""
        symbol = self.markets.get(order.symbol_id)
        if symbol is None:
            hint = suggest(order.symbol_id, self.markets)
            raise UnknownSymbol("symbol_id", order.symbol_id, f"{self._account.name} does not list it", hint)
        written, order = order, validate(order, symbol, self._clock.now_ms())
        spec = to_spec(order, symbol)
        limits = self._account.limits
        tick = None
        if order.limit_price is None and (limits.bounded or order.max_slippage is not None):
            tick = await self._price(order.symbol_id)
        if order.limit_price is None and order.max_slippage is not None:
            spec = guarded_spec(spec, order, tick, symbol)
        preview = self._adapter.check(spec)
        spec = preview.spec
        price = None if tick is None else tick.ask or tick.last or tick.bid
        return Checked(order, notional(spec, spec.amount, price), written, preview)

    async def preview(self, checked: Checked) -> dict[str, Any]:
        """What sending such an order now would do at the venue, in words: nothing is signed and nothing sent."""
        preview = checked.preview
        spec = preview.spec
        price = "market" if spec.limit is None else money(spec.limit)
        said: dict[str, Any] = {
            "would_send": f"{spec.side} {money(spec.amount)} {spec.symbol} at {price}",
            "plan": "",
            "costs_at_most": {each.asset: money(each.amount) for each in preview.outlay},
            "uses": {name: str(support.level) for name, support in preview.uses.items()},
            "emulated": list(emulated_features(checked.order, self.markets[checked.order.symbol_id])),
            "warnings": list(preview.warnings),
        }
        if needs_watching(checked.order, self.markets[checked.order.symbol_id].capabilities):
            said["plan"] = "it waits in the kernel until its price is met"
            return said
        prep = Prep(self._clock.now_ms(), 2**62, self._slot, dry=True)
        try:
            made = await self._adapter.prepare(Place(b"\0" * 16, spec), prep)
        except (NoEffect, InvalidOrder, Unavailable) as error:
            said["plan"] = f"not now: {error}"
            return said
        if isinstance(made, Ticket):
            said["plan"] = made.note
            said["costs_at_most"] = {each.asset: money(each.amount) for each in made.outlay} or said["costs_at_most"]
        else:
            said["plan"] = f"first: {made.why}" if isinstance(made, NeedsFirst) else f"waits: {made.why}"
        return said

    def _slot(self, scope: str) -> Slot:
        """The number that would be the next; nobody takes it."""
        return Slot(scope, next((each.floor for each in self.opened.scopes if each.name == scope), 0))

    def admit(
        self, checked: Checked, intent_id: str, labels: Mapping[str, str], was: StandardOrder | None = None
    ) -> None:
        """Does the desk's own admission let it in? Raises AdmissionDenied."""
        if not self._admission:
            return
        self._admission.review(
            AdmissionRequest(
                account=self._account.name,
                venue=self._account.venue,
                action="place" if was is None else "modify",
                intent_id=intent_id,
                order=checked.order,
                was=was,
                notional=checked.notional,
                market=self.markets[checked.order.symbol_id],
                labels=labels,
                actor=default_actor(),
                now=self._clock.now_ms(),
            )
        )

    async def _price(self, symbol: str) -> PriceTick | None:
        if isinstance(self._adapter, PriceReads) and not isinstance(self._adapter, Prices):
            return await self._adapter.price(symbol)
        if not isinstance(self._adapter, Prices):
            return None
        try:
            async with asyncio.timeout(PRICE_S):
                async for tick in self._adapter.prices(frozenset((symbol,))):
                    if tick.symbol == symbol:
                        return tick
        except TimeoutError:
            pass
        return None


@asynccontextmanager
async def counter(config: Config, account: AccountConfig, clock: Clock) -> AsyncIterator[Counter]:
    """Open an account's venue to check orders. Raises AdmissionDenied, ConfigError, NotAuthorized, Unavailable."""
    account.may_trade()
    plugins = load(policy=Policy.of(config.allowed_plugins))
    installed = plugins.venue(account.venue, account.plugin)
    field = f"accounts.{account.name}.admission"
    imports = Imports()
    try:
        await imports.wait(installed)
        for part in find_checks(plugins, field, account.admission):
            await imports.wait(part)
    except TimeoutError as error:
        raise ConfigError(f"accounts.{account.name}.venue", account.venue, str(error), "tell its author") from error
    admission = make_admission(plugins, field, account.admission)
    adapter = installed()
    context = Context(account.name, account.config, clock.now_ms, clock.sleep, account.resolve_secrets())
    try:
        found = Counter(account, adapter, await adapter.open(context), clock, admission)
        await found.look()
        yield found
    finally:
        await adapter.close()


async def place(
    desk: Desk,
    venue: Counter,
    account: AccountConfig,
    orders: Sequence[StandardOrder],
    names: Sequence[str | None],
    labels: Mapping[str, str],
    ids: Ids | None = None,
) -> list[str]:
    """Declare orders, all or none. Returns their ids; the same id with the same order is the same intent as before.

    Raises as :meth:`ExchangeKernel.place_order`."""
    fresh = ids or SystemIds()
    tags = check_labels(labels)
    group = fresh.new(8).hex() if len(orders) > 1 else None
    now = desk.clock.now_ms()
    new, chosen = [], []
    for order, name in zip(orders, names, strict=True):
        intent_id = new_id(now, fresh.new(12)) if name is None else name
        check_id("intent_id", intent_id)
        chosen.append(intent_id)
        try:
            checked = await venue.check(order)
            venue.admit(checked, intent_id, tags)
        except (InvalidOrder, AdmissionDenied):
            known = None if name is None else await desk.store.record(account.name, intent_id)
            if known is not None and known.intent.first_hash == order.spec_hash():
                continue
            raise
        new.append(new_intent(account.name, intent_id, checked, tags, group, now))
    if await desk.store.account_row(account.name) is None:
        await desk.store.execute(binding(account, venue))
    if new:
        await desk.store.execute(CreateIntents(account.name, tuple(new), default_actor()))
    return chosen


def new_intent(
    account: str, name: str, checked: Checked, labels: Mapping[str, str], group: str | None, now: int
) -> NewIntent:
    """An order that was checked, as it is recorded. ``now``: ms UTC."""
    intent = OrderIntent(
        account=account,
        intent_id=name,
        order=checked.order,
        labels=dict(labels),
        group_id=group,
        submit_deadline=_deadline(checked.order, now),
        max_attempts=Settings().max_attempts,
        created_at=now,
        first_hash=checked.written.spec_hash(),
    )
    return NewIntent(intent, checked.notional)


def changed_intent(account: str, name: str, checked: Checked, expected: int | None, now: int) -> ModifyIntent:
    """A change of an intent to an order that was checked. ``expected``: its generation now. ``now``: ms UTC."""
    return ModifyIntent(
        account,
        name,
        checked.order,
        checked.written.spec_hash(),
        default_actor(),
        checked.notional,
        expected,
        _deadline(checked.order, now),
    )


def binding(account: AccountConfig, venue: Counter) -> BindAccount:
    """Binds an account of the configuration to what stands behind it (R33)."""
    opened = venue.opened
    return BindAccount(account.name, account.venue, opened.identity, opened.mode, account.limits)


async def modify(
    desk: Desk, venue: Counter, account: str, intent_id: str, order: StandardOrder, expected: int | None = None
) -> int:
    """Replace an intent's order; returns the generation in force. Raises as :meth:`ExchangeKernel.modify_order`."""
    record = await desk.store.record(account, intent_id)
    if record is None:
        raise UnknownIntent(f"intent_id {intent_id}: account {account} has no such intent")
    checked = await venue.check(order)
    venue.admit(checked, intent_id, record.intent.labels, record.intent.order)
    operation = changed_intent(account, intent_id, checked, expected, desk.clock.now_ms())
    generation: int = await desk.store.execute(operation)
    return generation


def _deadline(order: StandardOrder, now: int) -> int:
    settings = Settings()
    patience = settings.single_shot_deadline_ms if order.immediate else settings.resting_deadline_ms
    return now + patience if order.expire_at is None else min(now + patience, order.expire_at)
