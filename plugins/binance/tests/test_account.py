"""The account itself, with a real kernel: how it is set up, its legs, margin calls, and what Binance does by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from exchange_kernel.events import Event, HealthChanged, MarginCallWarning
from exchange_kernel.kernel import Kernel
from exchange_kernel.models import DeadManPolicy, IntentStatus
from exchange_kernel.schema import Side, StandardOrder, TimeInForce
from exchange_kernel.venue import Context
from exchange_kernel_binance.conformance import BinanceHarness, HedgeHarness, UsdmHarness
from exchange_kernel_binance.session import decoder
from exchange_kernel_binance.usdm import reports
from plugins.binance.tests.trading import ENDED, QUICK, Trading, crossing, on, resting

D = Decimal
BTC = "BTC/USDT:USDT"
CANCELED, FILLED, WORKING = IntentStatus.CANCELED, IntentStatus.FILLED, IntentStatus.WORKING
FORCED = {
    "liquidation": "autoclose-1795000000000",
    "adl": "adl_autoclose",
    "settlement": "settlement_autoclose-7",
    "delivery": "delivery_autoclose-7",
}
"""Client ids of orders that Binance makes itself (Event: Order Update)."""
CHANGING = ("leverage", "marginType", "positionMode.set", "multiAssetsMode.set", "countdownCancelAll")


def configured(kind: type[BinanceHarness], **settings: Any) -> type[BinanceHarness]:
    """The harness with more settings in the account's configuration."""

    class Configured(kind):  # type: ignore[valid-type,misc]
        def context(self, account: str = "main", secrets: Mapping[str, str] | None = None) -> Context:
            made = super().context(account, secrets)
            return replace(made, config={**made.config, **settings})

    return Configured


class Ears:
    """What a subscriber of the kernel is told."""

    def __init__(self, trading: Trading, kernel: Kernel) -> None:
        self.events: list[Event] = []
        self._trading = trading
        kernel.subscribe_events(self.events.append, after=0)

    def health(self, component: str) -> list[tuple[bool, str]]:
        """(well, reason) of each word on this matter."""
        told = [event for event in self.events if isinstance(event, HealthChanged)]
        return [(event.healthy, event.reason) for event in told if event.component == component]

    async def hear(self, component: str, *said: tuple[bool, str]) -> None:
        """Wait until exactly this was said of it."""

        async def there() -> bool:
            return self.health(component) == list(said)

        try:
            await self._trading.until(there)
        except TimeoutError:
            raise AssertionError(f"{component}: {self.health(component)}") from None


async def futures(trading: Trading, what: Any) -> Any:
    """Do something to the futures exchange itself."""
    return await trading.harness._ask(lambda binance: what(binance.futures.exchange))


def _leverage(leverage: int, exchange: Any) -> None:
    exchange.set_leverage("main", "BTCUSDT", leverage)


async def changes(trading: Trading) -> int:
    """Requests that would have changed how the account is set up."""
    counts = await trading.harness._ask(lambda binance: dict(binance.futures.gate.counts))
    return sum(counts.get(name, 0) for name in CHANGING)


def test_settings_that_are_not_as_configured_are_told_and_never_changed() -> None:
    """Leverage, margin type and position mode: told when they differ, when that changes, and when it is over."""

    async def scene(trading: Trading) -> None:
        async with trading.kernel() as kernel:
            ears = Ears(trading, kernel)
            await ears.hear(f"account_config {BTC} leverage", (False, "the leverage is 1, configured 5"))
            await ears.hear(
                "account_config ETH/USDT:USDT margin_type", (False, "the margin type is crossed, configured isolated")
            )
            await ears.hear("account_config position_mode", (False, "the position mode is one_way, configured hedge"))
            await futures(trading, lambda exchange: exchange.set_leverage("main", "BTCUSDT", 7))
            first = (False, "the leverage is 1, configured 5")
            await ears.hear(f"account_config {BTC} leverage", first, (False, "the leverage is 7, configured 5"))
            known = {(each.type, each.reason) for each in (await kernel.get_account_state()).conditions}
            assert ("account_config", f"{BTC} leverage") in known
            assert len(known) == 3
            await futures(trading, lambda exchange: exchange.set_leverage("main", "BTCUSDT", 5))
            await futures(trading, lambda exchange: exchange.set_margin_type("main", "ETHUSDT", True))

            second = (False, "the leverage is 7, configured 5")
            await ears.hear(f"account_config {BTC} leverage", first, second, (True, ""))
            await ears.hear(
                "account_config ETH/USDT:USDT margin_type",
                (False, "the margin type is crossed, configured isolated"),
                (True, ""),
            )
            assert len((await kernel.get_account_state()).conditions) == 1
            assert await changes(trading) == 0

    kind = configured(UsdmHarness, leverage={BTC: 5}, margin_type={"ETH/USDT:USDT": "isolated"}, position_mode="hedge")
    on(kind, scene)


def test_a_change_of_leverage_is_told_at_once() -> None:
    """ACCOUNT_CONFIG_UPDATE: not when the next snapshot happens to be due."""

    async def scene(trading: Trading) -> None:
        async with trading.kernel(replace(QUICK, snapshot_every=600.0)) as kernel:
            ears = Ears(trading, kernel)
            await kernel.force_reconciliation()
            assert (await kernel.get_account_state()).conditions == ()
            told = []
            for leverage in (20, 10, 5):  # one may still be seen by a snapshot that was asked for before
                told.append((False, f"the leverage is {leverage}, configured 1"))
                await futures(trading, partial(_leverage, leverage))
                await ears.hear(f"account_config {BTC} leverage", *told)

    on(configured(UsdmHarness, leverage={BTC: 1}), scene)


def test_what_stands_is_not_told_again_by_the_next_process() -> None:
    """A restart finds the same difference: no second event; it is over meanwhile: that is told."""

    async def scene(trading: Trading) -> None:
        component = f"account_config {BTC} leverage"
        first = (False, "the leverage is 1, configured 5")
        async with trading.kernel() as kernel:
            await Ears(trading, kernel).hear(component, first)
        async with trading.kernel() as kernel:
            ears = Ears(trading, kernel)
            await kernel.force_reconciliation()
            await ears.hear(component, first)
        await futures(trading, lambda exchange: exchange.set_leverage("main", "BTCUSDT", 5))
        async with trading.kernel() as kernel:
            await Ears(trading, kernel).hear(component, first, (True, ""))

    on(configured(UsdmHarness, leverage={BTC: 5}), scene)


def test_a_margin_call_reaches_who_listens() -> None:
    """MARGIN_CALL of the stream is a MarginCallWarning that names the position."""

    async def scene(trading: Trading) -> None:
        async with trading.kernel() as kernel:
            ears = Ears(trading, kernel)
            await kernel.place_order(crossing(trading.harness, "1"), "a")
            await trading.reaches(kernel, "a", FILLED)
            await futures(trading, _nearly_ruined)

            async def warned() -> bool:
                return any(isinstance(event, MarginCallWarning) for event in ears.events)

            await trading.until(warned)
            (warning,) = (event for event in ears.events if isinstance(event, MarginCallWarning))
            assert BTC in warning.text

    on(UsdmHarness, scene)


def _nearly_ruined(exchange: Any) -> None:
    """Between one and two times of what must be there."""
    state, owner = exchange.state, exchange.state.accounts["main"]
    (position,) = owner.held()
    price = state.mark["BTCUSDT"]
    owner.wallet = state.maintenance(position) * D("1.5") - position.profit(price)
    exchange.set_mark("BTCUSDT", price)


@pytest.mark.parametrize("way", FORCED)
def test_what_binance_orders_by_itself_is_its_own(way: str) -> None:
    """Known as the venue's with its reason, no order of ours cancelled or ended for it, and never cancelled by us."""

    async def scene(trading: Trading) -> None:
        async with trading.kernel() as kernel:
            ears = Ears(trading, kernel)
            await kernel.place_order(crossing(trading.harness, "0.5"), "a")
            filled = await trading.reaches(kernel, "a", FILLED)
            await kernel.place_order(resting(trading.harness), "b")
            await trading.reaches(kernel, "b", WORKING)
            order_id = await futures(trading, lambda exchange: _forced(exchange, way))
            snapshot = await _told_position(trading, kernel, D("0.3"))
            assert [(each.symbol, each.leg, each.amount) for each in snapshot.positions] == [(BTC, "NET", D("0.3"))]
            report = await _report(kernel, order_id)
            reason = "settlement" if way == "delivery" else way
            assert (report.origin, report.why.value, report.key) == ("venue", reason, None)
            await kernel.force_reconciliation()
            assert (await kernel.get_order_state("b")).status is WORKING
            assert await kernel.get_order_state("a") == filled
            assert not any(event.kind == "OrderCanceled" for event in ears.events)
            counts = await trading.harness._ask(lambda binance: dict(binance.futures.gate.counts))
            assert "order.cancel" not in counts
            (position,) = await kernel.get_positions()
            assert position.amount == D("0.5")  # by the intents' own fills

    on(UsdmHarness, scene)


def _forced(exchange: Any, way: str) -> int:
    return int(exchange.auto_deleverage("main", "BTCUSDT", "BOTH", D("0.2"), FORCED[way]).order_id)


async def _told_position(trading: Trading, kernel: Kernel, amount: Decimal) -> Any:
    async def there() -> bool:
        known = kernel._actual.get_account("main")
        return known is not None and [each.amount for each in known.positions] == [amount]

    await trading.until(there)
    return kernel._actual.get_account("main")


async def _report(kernel: Kernel, order_id: int) -> Any:
    session = kernel._adapter._now.session  # type: ignore[attr-defined]
    fields = (("symbol", "BTCUSDT"), ("orderId", str(order_id)))
    view = await session.read(("GET", "fapiPrivate", "order"), fields, decoder(reports.OrderView))
    return reports.report(view, BTC)


def test_a_liquidated_account_keeps_its_books() -> None:
    """Below maintenance Binance cancels and closes: our resting order ends as the venue's doing, fills stay booked."""

    async def scene(trading: Trading) -> None:
        async with trading.kernel() as kernel:
            await kernel.place_order(crossing(trading.harness, "1"), "a")
            await trading.reaches(kernel, "a", FILLED)
            await kernel.place_order(resting(trading.harness), "b")
            await trading.reaches(kernel, "b", WORKING)

            def ruin(exchange: Any) -> None:
                exchange.state.accounts["main"].wallet = D(900)
                exchange.set_mark("BTCUSDT", D(49_300))

            await futures(trading, ruin)
            state = await trading.reaches(kernel, "b", *ENDED)
            assert (state.status, state.filled_base) == (CANCELED, 0)
            assert (await kernel.get_order_state("a")).filled_base == 1

            async def flat() -> bool:
                known = kernel._actual.get_account("main")
                return known is not None and all(not each.amount for each in known.positions)

            await trading.until(flat)

    on(UsdmHarness, scene)


def test_hedge_mode_keeps_long_and_short_side_by_side() -> None:
    """Buying opens LONG, selling opens SHORT; reduce-only makes the leg smaller that it can; a second is not opened."""

    async def scene(trading: Trading) -> None:
        def order(side: Side, amount: str, *, reduce_only: bool = False) -> StandardOrder:
            return StandardOrder(BTC, side, amount, time_in_force=TimeInForce.IOC, reduce_only=reduce_only)

        async with trading.kernel() as kernel:
            for name, wanted in (("long", order(Side.BUY, "0.05")), ("short", order(Side.SELL, "0.03"))):
                await kernel.place_order(wanted, name)
                await trading.reaches(kernel, name, FILLED)
            assert await _legs(kernel) == {"LONG": D("0.05"), "SHORT": D("-0.03")}
            await kernel.place_order(order(Side.SELL, "0.02", reduce_only=True), "less-long")
            await trading.reaches(kernel, "less-long", FILLED)
            await kernel.place_order(order(Side.BUY, "0.01", reduce_only=True), "less-short")
            await trading.reaches(kernel, "less-short", FILLED)
            assert await _legs(kernel) == {"LONG": D("0.03"), "SHORT": D("-0.02")}
            await kernel.place_order(order(Side.SELL, "0.04", reduce_only=True), "too-much")
            state = await trading.reaches(kernel, "too-much", *ENDED)
            assert state.status is IntentStatus.REJECTED
            assert await _legs(kernel) == {"LONG": D("0.03"), "SHORT": D("-0.02")}

    on(HedgeHarness, scene)


async def _legs(kernel: Kernel) -> dict[str, Decimal]:
    snapshot = await kernel._adapter.account()
    return {each.leg: each.amount for each in snapshot.positions}


def test_a_dead_owner_of_a_futures_account_leaves_no_order() -> None:
    """The countdown is renewed while the kernel works; when it does not, Binance cancels, and that is no drift."""

    async def scene(trading: Trading) -> None:
        harness = trading.harness
        guarded = replace(QUICK, dead_man=DeadManPolicy(10, at_stop="LEAVE"))
        async with trading.kernel(guarded) as kernel:
            await kernel.place_order(resting(harness), "a")
            await trading.reaches(kernel, "a", WORKING)

            async def armed() -> bool:
                return bool(await futures(trading, lambda exchange: dict(exchange.state.accounts["main"].countdowns)))

            await trading.until(armed)
        await harness.leap(12_000)

        async def gone() -> bool:
            return not await trading.live()

        await trading.until(gone)
        async with trading.kernel(guarded) as kernel:
            ears = Ears(trading, kernel)
            state = await trading.reaches(kernel, "a", *ENDED)
            assert state.status is CANCELED
            assert "dead-man" in state.reason
            assert not any(event.kind == "DriftDetected" for event in ears.events)

    on(UsdmHarness, scene)


def test_a_countdown_is_armed_for_the_symbols_named_and_disarmed() -> None:
    """Nothing else of the account is armed, and zero ends it."""

    async def scene(trading: Trading) -> None:
        async with trading.kernel() as kernel:
            adapter: Any = kernel._adapter
            until = trading.harness.clock.now_ms() + 60_000
            assert await adapter.arm(until, frozenset({BTC})) == until
            down = await futures(trading, lambda exchange: dict(exchange.state.accounts["main"].countdowns))
            assert list(down) == ["BTCUSDT"]
            assert abs(down["BTCUSDT"] - until) < 5_000
            assert await adapter.arm(None, frozenset({BTC})) is None
            assert await futures(trading, lambda exchange: dict(exchange.state.accounts["main"].countdowns)) == {}

    on(UsdmHarness, scene)


def test_where_an_order_protects_a_position_nothing_is_armed() -> None:
    """A countdown would take the protection with it: told, with the setting that allows it."""

    async def scene(trading: Trading) -> None:
        async with trading.kernel(replace(QUICK, dead_man=DeadManPolicy(10))) as kernel:
            await kernel.place_order(crossing(trading.harness, "0.05"), "a")
            await trading.reaches(kernel, "a", FILLED)
            exit_ = StandardOrder(BTC, Side.SELL, "0.05", limit_price="56000", reduce_only=True)
            await kernel.place_order(exit_, "exit")
            await trading.reaches(kernel, "exit", WORKING)
            ears = Ears(trading, kernel)
            why = "not armed: exit protects a position, and it would cancel everything"
            await ears.hear(f"dead_man {BTC}", (False, f"{why}; say cancels_everything to allow it"))
            assert await changes(trading) == 0

    on(UsdmHarness, scene)
