"""What cannot be, through a real kernel: typed errors that name the rule and Binance's code, and no secret anywhere."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import pytest

from exchange_kernel.errors import InvalidOrder, NotAuthorized, UnknownSymbol, Unsupported
from exchange_kernel.kernel import Kernel
from exchange_kernel.models import IntentStatus
from exchange_kernel.schema import AmountType, Side, StandardOrder, TimeInForce
from exchange_kernel.venue import Context, Spec
from exchange_kernel_binance.conformance import KEYS, SECRETS, BinanceHarness, SpotHarness, UsdmHarness
from exchange_kernel_binance.simulator.wire.keys import ApiKey
from plugins.binance.tests.trading import ENDED, Trading, crossing, on, resting

D = Decimal
REJECTED, WORKING = IntentStatus.REJECTED, IntentStatus.WORKING
MARKETS = pytest.mark.parametrize("market", [SpotHarness, UsdmHarness], ids=["spot", "usdm"])
Market = type[BinanceHarness]


@pytest.fixture(autouse=True)
def _no_secret(caplog: pytest.LogCaptureFixture) -> Any:
    caplog.set_level(logging.DEBUG)
    yield
    assert SECRETS["main"] not in caplog.text
    assert KEYS["main"] not in caplog.text


async def clean(trading: Trading, kernel: Kernel | None, *said: object) -> None:
    """Neither the key nor its secret is in what was said, in any event, row, or answer."""
    texts = [repr(each) + str(each) for each in said]
    for event in await trading.store.event_rows("main", 0, 10_000):
        texts.append(repr(event))
    for intent, progress in await trading.store.intents("main"):
        texts.append(repr(intent) + repr(progress) + repr(await trading.store.record("main", intent.intent_id)))
    if kernel is not None:
        texts += [repr(await kernel.get_account_state()), repr(await kernel.health_check())]
    for text in texts:
        assert SECRETS["main"] not in text
        assert KEYS["main"] not in text


def order(harness: BinanceHarness, amount: str, price: str | None = None, side: Side = Side.BUY, **more: Any) -> Any:
    """A limit order, or one at the market."""
    return StandardOrder(harness.symbol, side, amount, limit_price=price, **more)


def refused_at_once(market: Market, order_of: Callable[[BinanceHarness], Any], *words: str) -> None:
    """Before anything is written or sent, with these words."""

    async def scene(trading: Trading) -> None:
        async with trading.kernel() as kernel:
            with pytest.raises(InvalidOrder) as refused:
                await kernel.place_order(order_of(trading.harness), "a")
            for word in words:
                assert word in str(refused.value)
            assert await trading.orders() == []
            assert await trading.store.intents("main") == []
            await clean(trading, kernel, refused.value)

    on(market, scene)


def refused_by_binance(
    market: Market, order_of: Callable[[BinanceHarness], Any], code: str, *words: str, first: Any = None
) -> None:
    """Sent, refused, and over: with Binance's code, and the name of the rule."""

    async def scene(trading: Trading) -> None:
        async with trading.kernel() as kernel:
            if first is not None:
                await first(trading)
            await kernel.place_order(order_of(trading.harness), "a")
            state = await trading.reaches(kernel, "a", *ENDED)
            assert state.status is REJECTED
            for word in (code, *words):
                assert word in state.reason
            rows = await trading.store.event_rows("main", 0, 1_000)
            assert [code in row.reason for row in rows if row.kind == "OrderRejected"] == [True]
            await clean(trading, kernel, state)

    on(market, scene)


# filters ------------------------------------------------------------------------------------------------------------


@MARKETS
def test_price_and_lot(market: Market) -> None:
    """PRICE_FILTER and LOT_SIZE: refused by what exchangeInfo says, before anything is sent."""
    wrong = (
        ("0.0000001", "45000", "LOT_SIZE|min_amount|step"),
        ("10000000", "45000", "LOT_SIZE|max_amount"),
        ("900", "0.000000001", "PRICE_FILTER|limit_price|min_notional"),
        ("0.03", "99999999999", "PRICE_FILTER|limit_price|max_notional"),
    )

    async def scene(trading: Trading) -> None:
        async with trading.kernel() as kernel:
            for amount, price, words in wrong:
                with pytest.raises(InvalidOrder) as refused:
                    await kernel.place_order(order(trading.harness, amount, price), "a")
                assert any(word in str(refused.value) for word in words.split("|")), refused.value
                await clean(trading, kernel, refused.value)
            assert await trading.orders() == []

    on(market, scene)


def test_the_market_lot() -> None:
    """MARKET_LOT_SIZE has bounds of its own."""
    refused_at_once(UsdmHarness, lambda harness: order(harness, "150"), "MARKET_LOT_SIZE", "120")


def test_the_notional() -> None:
    """What an order is worth, on spot and on futures."""
    for market in (SpotHarness, UsdmHarness):
        refused_at_once(market, lambda harness: order(harness, "0.001", "1000"), "notional")


def test_the_parts_of_an_iceberg() -> None:
    """ICEBERG_PARTS."""
    refused_at_once(SpotHarness, lambda harness: order(harness, "1", "40000", iceberg_qty="0.01"), "ICEBERG_PARTS")


def test_percent_price() -> None:
    """How far from the market a price may be only Binance knows: its refusal names the filter and its code."""
    refused_by_binance(SpotHarness, lambda harness: order(harness, "0.03", "5000"), "-1013", "PERCENT_PRICE_BY_SIDE")
    refused_by_binance(UsdmHarness, lambda harness: order(harness, "0.03", "80000"), "-4016", "PERCENT_PRICE")


def test_how_many_orders_may_be_open() -> None:
    """MAX_NUM_ORDERS, by each market's own code."""

    async def one_only(trading: Trading) -> None:
        def limit(binance: Any) -> None:
            trading.harness._rules(binance, "BTCUSDT").max_orders = 0

        await trading.harness._ask(limit)

    refused_by_binance(SpotHarness, resting, "-1013", "MAX_NUM_ORDERS", first=one_only)
    refused_by_binance(UsdmHarness, resting, "-2025", "MAX_NUM_ORDERS", first=one_only)


@pytest.mark.parametrize(
    ("market", "wrong"),
    [
        (
            SpotHarness,
            (
                (Spec("BTC/USDT", Side.BUY, D("0.000001"), limit=D(40_000)), "amount", "LOT_SIZE"),
                (Spec("BTC/USDT", Side.BUY, D("0.0001"), limit=D(10)), "amount", "NOTIONAL"),
                (Spec("BTC/USDT", Side.BUY, D("0.03"), limit=D("0.0001")), "limit", "PRICE_FILTER"),
            ),
        ),
        (
            UsdmHarness,
            (
                (Spec("BTC/USDT:USDT", Side.BUY, D("0.0001"), limit=D(40_000)), "amount", "LOT_SIZE"),
                (Spec("BTC/USDT:USDT", Side.BUY, D("0.001"), limit=D(10)), "amount", "MIN_NOTIONAL"),
                (Spec("BTC/USDT:USDT", Side.SELL, D("0.03"), limit=D(2_000_000)), "limit", "PRICE_FILTER"),
            ),
        ),
    ],
    ids=["spot", "usdm"],
)
def test_the_adapters_own_check_names_the_filter(market: Market, wrong: Any) -> None:
    """As Binance calls it, for who asks the adapter itself."""

    async def scene(trading: Trading) -> None:
        async with trading.kernel() as kernel:
            for spec, field, name in wrong:
                with pytest.raises(InvalidOrder) as refused:
                    kernel._adapter.check(spec)
                assert (refused.value.field, f"({name})" in refused.value.rule) == (field, True)
                assert f"({name})" in str(refused.value)

    on(market, scene)


# combinations, markets, symbols -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("market", "more", "feature"),
    [
        (SpotHarness, {"reduce_only": True}, "reduce_only"),
        (SpotHarness, {"time_in_force": TimeInForce.DAY}, "day"),
        (UsdmHarness, {"iceberg_qty": "0.01"}, "iceberg"),
        (UsdmHarness, {"amount_type": AmountType.QUOTE}, "amount_quote"),
    ],
)
def test_what_a_market_does_not_have(market: Market, more: Mapping[str, Any], feature: str) -> None:
    """Unsupported, with the capability's name; or kept by the kernel, where it can (a day's end)."""

    async def scene(trading: Trading) -> None:
        async with trading.kernel() as kernel:
            if feature == "day":
                dry = await kernel.dry_run(order(trading.harness, "0.03", "45000", **more))
                assert "day" in dry.emulated
                return
            with pytest.raises(Unsupported) as refused:
                await kernel.place_order(order(trading.harness, "0.03", "45000", **more), "a")
            assert feature in str(refused.value)
            await clean(trading, kernel, refused.value)

    on(market, scene)


@pytest.mark.parametrize(
    ("market", "symbol", "meant"),
    [(UsdmHarness, "BTC/USDT", "BTC/USDT:USDT"), (SpotHarness, "BTC/USDT:USDT", "BTC/USDT")],
)
def test_a_symbol_of_another_market(market: Market, symbol: str, meant: str) -> None:
    """Not listed here, and what was probably meant."""

    async def scene(trading: Trading) -> None:
        async with trading.kernel() as kernel:
            with pytest.raises(UnknownSymbol) as refused:
                await kernel.place_order(StandardOrder(symbol, Side.BUY, "0.03", limit_price="45000"), "a")
            assert meant in refused.value.hint

    on(market, scene)


@MARKETS
def test_a_symbol_that_is_halted(market: Market) -> None:
    """It is refused as a closed market with Binance's code, and over."""

    async def halt(trading: Trading) -> None:
        await trading.harness.halt(True)

    code = "-2010" if market is SpotHarness else "-4141"
    refused_by_binance(market, resting, code, "closed", first=halt)


# keys ---------------------------------------------------------------------------------------------------------------


@MARKETS
@pytest.mark.parametrize("wrong", ["secret", "key"])
def test_a_wrong_key(market: Market, wrong: str) -> None:
    """The account does not start: NotAuthorized with Binance's code, and neither of the two is shown."""

    class Wrong(market):  # type: ignore[valid-type,misc]
        def context(self, account: str = "main", secrets: Mapping[str, str] | None = None) -> Context:
            own = {"api_key": KEYS["main"], "secret": "canaryX" + SECRETS["main"]}
            if wrong == "key":
                own = {"api_key": "nobody" * 10, "secret": SECRETS["main"]}
            return super().context(account, own)

    async def scene(trading: Trading) -> None:
        with pytest.raises(NotAuthorized) as refused:
            async with trading.kernel():
                pass
        assert refused.value.code == ("-1022" if wrong == "secret" else "-2015")
        assert "canaryX" not in str(refused.value)
        await clean(trading, None, refused.value)

    on(Wrong, scene)


@MARKETS
def test_a_key_that_may_not_trade_at_the_first_order(market: Market) -> None:
    """Its permission is withdrawn while the kernel runs: the order is not called placed, and -2015 is told."""

    async def scene(trading: Trading) -> None:
        async with trading.kernel() as kernel:

            def restrict(binance: Any) -> None:
                key = ApiKey(KEYS["main"], "main", SECRETS["main"], permissions=frozenset({"USER_DATA", "USER_STREAM"}))
                binance.keys.add(key)

            await trading.harness._ask(restrict)
            await kernel.place_order(crossing(trading.harness), "a")

            async def halted() -> bool:
                return (await kernel.get_account_state()).halted is not None

            await trading.until(halted)
            assert "(-2015)" in repr((await kernel.get_account_state()).halted)
            state = await kernel.get_order_state("a")
            assert state.filled_base == 0
            assert await trading.orders() == []
            await clean(trading, kernel, state)

    on(market, scene)
