"""Margin wallets: spot's books under endpoints of their own, with debts that nobody makes unasked."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from exchange_kernel.clock import SystemClock
from exchange_kernel.errors import ConfigError
from exchange_kernel.events import Event, MarginCallWarning
from exchange_kernel.models import IntentStatus
from exchange_kernel.schema import (
    AssetType,
    ConditionalOrderMode,
    ConditionalTrigger,
    Side,
    StandardOrder,
    TimeInForce,
    TriggerKind,
)
from exchange_kernel.testing.conformance import Fault, all_cases, run_cases
from exchange_kernel.venue import Context
from exchange_kernel_binance.config import BinanceConfig
from exchange_kernel_binance.simulator import Simulator
from exchange_kernel_binance.testing.margin import CrossHarness, IsolatedHarness
from plugins.binance.tests.trading import ENDED, Trading, crossing, on, resting

FILLED, REJECTED, WORKING = IntentStatus.FILLED, IntentStatus.REJECTED, IntentStatus.WORKING
D = Decimal
CLOCK = SystemClock()
BOTH = pytest.mark.parametrize("wallet", [CrossHarness, IsolatedHarness], ids=["cross", "isolated"])
CROSS = (
    *("META-03", "PREC-01", "PREC-05", "IDEM-01", "UNK-01", "UNK-02", "UNK-03", "UNK-07", "CXL-01", "CXL-05"),
    *("FILL-01", "FILL-04", "BAL-01", "BAL-02", "BAL-03", "BAL-11", "EVT-01", "EVT-02", "RATE-01", "REC-01"),
)
ISOLATED = ("META-03", "IDEM-01", "UNK-01", "UNK-03", "CXL-05", "FILL-01", "BAL-02", "BAL-03", "EVT-01")


@pytest.mark.parametrize(
    ("wallet", "name"), [(CrossHarness, each) for each in CROSS] + [(IsolatedHarness, each) for each in ISOLATED]
)
def test_it_keeps_the_contract(wallet: type[CrossHarness], name: str) -> None:
    """As the kit sees it, past the adapter: what other endpoints, and a wallet of their own, could break."""
    (case,) = (case for case in all_cases() if case.id == name)
    (result,) = run_cases([case], wallet)

    assert result.status == "passed", result.reason


def effect(wallet: type[CrossHarness], says: str) -> type[CrossHarness]:
    """The wallet with a side effect."""
    return type(wallet.__name__, (wallet,), {"more": {**wallet.more, "margin_side_effect": says}})


def sale(amount: str) -> StandardOrder:
    return StandardOrder("BTC/USDT", Side.SELL, amount, time_in_force=TimeInForce.IOC)


async def poor(trading: Trading, btc: str = "0", usdt: str = "100000") -> None:
    """The wallet has this much and no more."""

    def take(binance: Simulator) -> None:
        wallet = trading.harness.wallet  # type: ignore[attr-defined]
        held = binance.margin.wallet("main", None if wallet == "cross" else wallet)
        for asset, amount in (("BTC", btc), ("USDT", usdt), ("ETH", "0")):
            held.credit(asset, D(amount) - held.free(asset))

    await trading.harness._ask(take)


@BOTH
def test_a_short_sale_without_a_loan_is_refused_with_binances_rule(wallet: type[CrossHarness]) -> None:
    """Nothing is borrowed unasked: what is not there is not sold."""

    async def scene(trading: Trading) -> None:
        await poor(trading)
        async with trading.kernel() as kernel:
            await kernel.place_order(sale("0.5"), "a")
            state = await trading.reaches(kernel, "a", *ENDED)
            assert (state.status, state.filled_base) == (REJECTED, 0)
            assert "insufficient balance" in state.reason
        assert await trading.harness._ask(lambda binance: sum(binance.margin.borrowed.values())) == 0

    on(wallet, scene)


@BOTH
def test_with_margin_buy_the_loan_is_made_and_shown(wallet: type[CrossHarness]) -> None:
    """The order borrows what it lacks; the debt stands with the asset's balance."""

    async def scene(trading: Trading) -> None:
        await poor(trading)
        async with trading.kernel() as kernel:
            await kernel.place_order(sale("0.5"), "a")
            state = await trading.reaches(kernel, "a", *ENDED)
            assert (state.status, state.filled_base) == (FILLED, D("0.5"))
            snapshot: Any = await kernel._session.adapter.account()
            (btc,) = (each for each in snapshot.balances if each.asset == "BTC")
            assert (btc.total, btc.borrowed) == (0, D("0.5"))

    on(effect(wallet, "MARGIN_BUY"), scene)


def test_a_loan_that_is_refused_is_no_order() -> None:
    """-3006: the debts would be too large; the order ends with that, and nothing was borrowed."""

    async def scene(trading: Trading) -> None:
        await poor(trading, usdt="1000")
        async with trading.kernel() as kernel:
            await kernel.place_order(sale("5"), "a")
            state = await trading.reaches(kernel, "a", *ENDED)
            assert state.status is REJECTED
            assert "borrow" in state.reason
        assert await trading.orders() == []

    on(effect(CrossHarness, "MARGIN_BUY"), scene)


@BOTH
def test_a_thin_margin_is_called(wallet: type[CrossHarness]) -> None:
    """The level falls to where Binance calls for margin: the account says so."""

    async def scene(trading: Trading) -> None:
        await poor(trading, usdt="15000")
        heard: list[Event] = []
        async with trading.kernel() as kernel:
            kernel.subscribe_events(heard.append)
            await kernel.place_order(sale("0.5"), "a")
            await trading.reaches(kernel, "a", FILLED)
            await trading.harness._ask(lambda binance: binance.spot.state.last.__setitem__("BTCUSDT", D(65_000)))

            async def called() -> bool:
                return any(isinstance(event, MarginCallWarning) for event in heard)

            await trading.until(called)

    on(effect(wallet, "MARGIN_BUY"), scene)


@BOTH
@pytest.mark.parametrize("fault", [Fault.ANSWER_LOST, Fault.ERROR_AFTER])
def test_a_submit_that_times_out_but_executed_is_not_doubled(wallet: type[CrossHarness], fault: Fault) -> None:
    """It is looked for in its own wallet, and found."""

    async def scene(trading: Trading) -> None:
        async with trading.kernel() as kernel:
            await trading.harness.inject(fault)
            await kernel.place_order(crossing(trading.harness), "a")
            state = await trading.reaches(kernel, "a", *ENDED)
        assert (state.status, state.filled_base) == (FILLED, D("0.03"))
        assert len(await trading.orders()) == 1
        assert await trading.harness.changes() == 1

    on(wallet, scene)


@BOTH
def test_it_is_a_wallet_of_its_own(wallet: type[CrossHarness]) -> None:
    """Orders of the spot wallet, and of other margin wallets, are not its own; its symbols are of kind MARGIN; another
    price is a cancel, and a new order."""

    async def scene(trading: Trading) -> None:
        fields = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1"}

        def place(binance: Simulator) -> None:
            for name in (None, "BTCUSDT"):
                binance.margin.wallet("main", name).credit("USDT", D(100_000))
            for whose in ("main", "main@cross", "main@BTCUSDT"):
                binance.act("order.place", whose, {**fields, "price": "40000"})

        await trading.harness._ask(place)
        async with trading.kernel() as kernel:
            await kernel.force_reconciliation()
            assert len(await kernel.get_all_orders()) == 1
            assert (await kernel.get_symbol_metadata("BTC/USDT")).asset_type is AssetType.MARGIN
            await kernel.place_order(resting(trading.harness), "a")
            await trading.reaches(kernel, "a", WORKING)
            await kernel.modify_order("a", resting(trading.harness, price="39000"))

            async def moved() -> bool:
                return D(39_000) in {each.price for each in await trading.live()}

            await trading.until(moved)
            assert len(await trading.live()) == 2

    on(wallet, scene)


def test_a_stop_waits_in_a_margin_wallet_too() -> None:
    """It is placed as on spot, by the margin endpoint."""

    async def scene(trading: Trading) -> None:
        stop = ConditionalTrigger(TriggerKind.STOP_LOSS, trigger_price="45000")
        mode = ConditionalOrderMode.STANDALONE
        order = StandardOrder(
            "BTC/USDT", Side.SELL, "0.03", limit_price="44900", conditional_trigger=stop, conditional_mode=mode
        )
        async with trading.kernel() as kernel:
            await kernel.place_order(order, "a")
            await trading.reaches(kernel, "a", WORKING)
            await kernel.cancel_order("a")
            await trading.reaches(kernel, "a", IntentStatus.CANCELED)

    on(CrossHarness, scene)


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"market": "margin_cross", "network": "testnet"}, "network"),
        ({"market": "margin_isolated", "network": "live", "confirm_live": "real money"}, "symbols"),
        ({"market": "margin_cross", "margin_side_effect": "borrow"}, "margin_side_effect"),
        ({"market": "spot", "margin_side_effect": "MARGIN_BUY"}, "margin_side_effect"),
        ({"market": "margin"}, "market"),
    ],
)
def test_hostile_settings_are_refused_by_name(config: dict[str, Any], key: str) -> None:
    """Margin where there is none, an isolated wallet of nothing, a side effect that nobody knows."""
    with pytest.raises(ConfigError) as error:
        BinanceConfig.of(Context("a", config, CLOCK.now_ms, CLOCK.sleep, {"api_key": "k", "secret": "s"}))
    assert error.value.field == key
