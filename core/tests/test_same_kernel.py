"""One contract, three ways in: the kernel here, the one behind a server, and the facade without ``async``.

Each case is written once, against :class:`ExchangeKernel`, and runs on all three.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.tests.api.serving import platform_of, served
from exchange_kernel import Side, StandardOrder
from exchange_kernel.base import ExchangeKernel, Resolution
from exchange_kernel.client import connect
from exchange_kernel.errors import (
    AccountHalted,
    CommitUnknown,
    ConfigError,
    IntentConflict,
    IntentFinished,
    InvalidOrder,
    NotAllowed,
    NotRunning,
    UnknownIntent,
    UnknownSymbol,
    Unsupported,
)
from exchange_kernel.models import IntentStatus
from exchange_kernel.sync import SyncKernel

RESTING = StandardOrder("BTC/USD", Side.BUY, "0.1", limit_price="40000")
WAYS = ("local", "remote", "sync")


class Awaited:
    """The facade called from its own thread, so that one suite can await all three."""

    def __init__(self, kernel: SyncKernel) -> None:
        self._kernel = kernel

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._kernel, name)
        if name == "exchange_id" or not inspect.iscoroutinefunction(getattr(ExchangeKernel, name, None)):
            return method

        async def call(*arguments: Any, **named: Any) -> Any:
            return await asyncio.to_thread(method, *arguments, **named)

        return call


@asynccontextmanager
async def kernel_of(way: str, folder: Path) -> AsyncIterator[Any]:
    if way == "local":
        async with platform_of(folder, "one") as platform:
            yield platform["one"]
        return
    async with served(folder) as at:
        token = at.token("one:admin")
        if way == "remote":
            async with connect(at.url, token, "one") as kernel:
                yield kernel
            return
        facade = SyncKernel(connect(at.url, token, "one"))
        await asyncio.to_thread(facade.__enter__)
        try:
            yield Awaited(facade)
        finally:
            await asyncio.to_thread(facade.__exit__, None, None, None)


async def reached(kernel: Any, intent_id: str, *wanted: IntentStatus) -> Any:
    for _ in range(500):
        state = await kernel.get_order_state(intent_id)
        if state.status in wanted:
            return state
        await asyncio.sleep(0.02)
    raise AssertionError(f"{intent_id} is {state.status}, not {wanted}")


@pytest.mark.parametrize("way", WAYS)
def test_orders_live_and_die_the_same(way: str, tmp_path: Path) -> None:
    """Declared, read back as the same values, changed, cancelled, and told of by events from the first on."""

    async def run() -> None:
        async with kernel_of(way, tmp_path) as kernel:
            seen: list[Any] = []
            kernel.subscribe_events(seen.append, after=0)
            name = await kernel.place_order(RESTING, "mine", labels={"app": "x"})
            assert (name, await kernel.place_order(RESTING, "mine")) == ("mine", "mine")
            fresh = await kernel.place_order(RESTING)
            assert len(fresh) == 35
            intent = await kernel.get_order_intent("mine")
            assert (intent.order, dict(intent.labels), intent.generation) == (RESTING, {"app": "x"}, 1)
            state = await reached(kernel, "mine", IntentStatus.WORKING)
            assert (state.symbol_id, state.side) == ("BTC/USD", Side.BUY)
            assert (state.amount, state.price) == (RESTING.amount, RESTING.limit_price)
            changed = RESTING.but(limit_price="41000")
            assert await kernel.modify_order("mine", changed, expected_generation=1) == 2
            assert await kernel.modify_order("mine", changed, expected_generation=1) == 2
            group = await kernel.place_order_group([RESTING, RESTING], intent_ids=["g1", "g2"], group_id="g")
            assert group == ["g1", "g2"]
            assert [each.intent_id for each in await kernel.get_all_intents()] == ["mine", fresh, "g1", "g2"]
            assert {each.intent_id for each in await kernel.get_all_orders(symbol_id="BTC/USD")} >= {"mine", "g2"}
            assert await kernel.get_all_intents(symbol_id="ETH/USD") == []
            await kernel.cancel_order("mine", reason="enough")
            await reached(kernel, "mine", IntentStatus.CANCELED)
            assert sorted(await kernel.cancel_all_orders(reason="all")) == sorted([fresh, "g1", "g2"])
            for each in (fresh, "g1", "g2"):
                await reached(kernel, each, IntentStatus.CANCELED)
            assert await kernel.get_all_intents(active_only=True) == []
            await kernel.force_reconciliation()
            for _ in range(200):
                if sum(each.kind == "OrderCanceled" for each in seen) == 4:
                    break
                await asyncio.sleep(0.02)
            assert [each.seq for each in seen] == list(range(1, len(seen) + 1))
            mine = [each for each in seen if each.intent_id == "mine"]
            assert (mine[0].kind, mine[-1].kind) == ("IntentCreated", "OrderCanceled")
            kernel.unsubscribe_events(seen.append)

    asyncio.run(run())


@pytest.mark.parametrize("way", WAYS)
def test_queries_give_the_same_values(way: str, tmp_path: Path) -> None:
    """Account, positions, markets, assets, health and dry runs come as the types that the interface says."""

    async def run() -> None:
        async with kernel_of(way, tmp_path) as kernel:
            await kernel.place_order(StandardOrder("BTC/USD", Side.BUY, "0.5"), "buy")
            await reached(kernel, "buy", IntentStatus.FILLED)
            position = (await kernel.get_positions())[0]
            assert (position.symbol_id, position.amount) == ("BTC/USD", RESTING.but(amount="0.5").amount)
            account = await kernel.get_account_state()
            assert (account.account, account.mode) == ("one", "paper")
            assert {each.asset_id for each in account.assets} >= {"USD"}
            market = await kernel.get_symbol_metadata("BTC/USD")
            assert (market.base, market.capabilities.offers("limit")) == ("BTC", True)
            assert (await kernel.get_asset_metadata("BTC")).asset_id == "BTC"
            assert (await kernel.health_check()).ready
            preview = await kernel.dry_run(RESTING)
            assert (preview.order, preview.notional, preview.would_wait) == (RESTING, 4000, "")

    asyncio.run(run())


@pytest.mark.parametrize("way", WAYS)
def test_errors_are_the_same(way: str, tmp_path: Path) -> None:
    """Whatever is refused is refused with the same type, field, rule and hint."""

    async def run() -> None:
        async with kernel_of(way, tmp_path) as kernel:
            with pytest.raises(UnknownSymbol) as unknown:
                await kernel.place_order(StandardOrder("BTC/USDX", Side.BUY, "1"))
            assert (unknown.value.field, unknown.value.hint) == ("symbol_id", "did you mean BTC/USD?")
            with pytest.raises(InvalidOrder) as off:
                await kernel.place_order(RESTING.but(amount="0.00000000001"))
            assert (off.value.field, type(off.value)) == ("amount", InvalidOrder)
            for bad in ("", "a b", "x" * 65, "../../etc", "é"):
                with pytest.raises(InvalidOrder, match="must be 1 to 64"):
                    await kernel.place_order(RESTING, bad)
            for unknown_id in ("nobody", "~step", "a/b", "é"):
                with pytest.raises(UnknownIntent, match="has no such intent"):
                    await kernel.get_order_state(unknown_id)
            await kernel.place_order(RESTING, "a")
            with pytest.raises(IntentConflict):
                await kernel.place_order(RESTING.but(amount="0.2"), "a")
            with pytest.raises(IntentConflict):
                await kernel.modify_order("a", RESTING.but(amount="0.2"), expected_generation=7)
            with pytest.raises(UnknownIntent):
                await kernel.modify_order("b", RESTING)
            with pytest.raises(UnknownIntent):
                await kernel.cancel_order("b")
            with pytest.raises(Unsupported) as group:
                await kernel.place_order_group([RESTING], "OCO")
            assert group.value.feature == "group OCO"
            with pytest.raises(UnknownSymbol):
                await kernel.cancel_all_orders("XXX/YYY")
            with pytest.raises(UnknownSymbol):
                await kernel.get_asset_metadata("XXX")
            await kernel.cancel_order("a")
            await reached(kernel, "a", IntentStatus.CANCELED)
            with pytest.raises(IntentFinished):
                await kernel.modify_order("a", RESTING.but(amount="0.2"))
            await kernel.halt(actor="me", reason="drill")
            with pytest.raises(AccountHalted):
                await kernel.place_order(RESTING, "c")
            await kernel.resume(actor="me", reason="over")
            with pytest.raises(InvalidOrder, match="reason"):
                await kernel.halt(actor="me", reason=" ")
            with pytest.raises(UnknownIntent):
                await kernel.resolve_order("b", Resolution.LOOK_AGAIN, actor="me", reason="why")
            assert (await kernel.resolve_order("a", Resolution.LOOK_AGAIN, actor="me", reason="why")).intent_id == "a"

    asyncio.run(run())


@pytest.mark.parametrize("way", WAYS)
def test_a_kernel_that_was_stopped_says_so(way: str, tmp_path: Path) -> None:
    """After stop() nothing is done any more, and stopping again changes nothing."""

    async def run() -> None:
        async with kernel_of(way, tmp_path) as kernel:
            await kernel.stop()
            await kernel.stop()
            with pytest.raises(NotRunning):
                await kernel.place_order(RESTING)
            with pytest.raises(NotRunning):
                await kernel.get_positions()

    asyncio.run(run())


def test_the_facade_has_every_method_with_its_signature() -> None:
    """The facade says the same as the interface, method by method, and nothing else."""
    for name in ExchangeKernel.__abstractmethods__:
        theirs, ours = (inspect.signature(getattr(kind, name)) for kind in (ExchangeKernel, SyncKernel))
        assert ours == theirs, name


class Lossy(httpx.AsyncBaseTransport):
    """Carries every request, and loses the answers that it is told to lose."""

    def __init__(self) -> None:
        self._inner = httpx.AsyncHTTPTransport()
        self.lose = 0
        self.carried: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self._inner.handle_async_request(request)
        self.carried.append(request.method)
        if self.lose:
            self.lose -= 1
            await answer.aread()
            await answer.aclose()
            raise httpx.ReadError("the answer was lost")
        return answer

    async def aclose(self) -> None:
        await self._inner.aclose()


def test_a_lost_answer_is_asked_for_again_and_never_doubles(tmp_path: Path) -> None:
    """Whichever answers are lost, an order is declared once and changed once; when none comes, it says so."""

    async def run() -> None:
        async with served(tmp_path) as at:
            lossy = Lossy()
            async with connect(at.url, at.token("one:admin"), transport=lossy) as kernel:
                lossy.lose = 2
                name = await kernel.place_order(RESTING)
                lossy.lose = 2
                assert await kernel.modify_order(name, RESTING.but(amount="0.2"), expected_generation=1) == 2
                lossy.lose = 2
                assert len(await kernel.place_order_group([RESTING, RESTING])) == 2
                lossy.lose = 2
                await kernel.cancel_order(name)
                assert lossy.carried.count("PUT") == 9
                lossy.lose = 99
                with pytest.raises(CommitUnknown, match="repeat it under the same id"):
                    await kernel.place_order(RESTING, "late")
                lossy.lose = 0
                assert await kernel.place_order(RESTING, "late") == "late"
                kinds = [each.kind for each in await at.platform.store.events("one", 0)]
                assert kinds.count("IntentCreated") == 4
                assert kinds.count("IntentModified") == 1

    asyncio.run(run())


def test_a_token_is_sent_to_nobody_else(tmp_path: Path) -> None:
    """Plain http goes to this machine only, and neither errors nor representations show the token."""
    for url in (
        "http://example.net",
        "ftp://127.0.0.1",
        "https://user:pw@example.net",
        "127.0.0.1:1",
        "http://10.0.0.1:1",
    ):
        with pytest.raises(ConfigError) as refused:
            connect(url, "exk_secret")
        assert "secret" not in str(refused.value)
        assert "pw" not in str(refused.value)

    async def run() -> None:
        async with served(tmp_path, "one", "two") as at:
            with pytest.raises(NotAllowed):
                await connect(at.url, "exk_000000000000_" + "a" * 43, "one").start()
            token = at.token("*:read")
            with pytest.raises(ConfigError, match="the token reaches one, two"):
                await connect(at.url, token).start()
            kernel = connect(at.url, token, "one")
            assert token.split("_")[2] not in repr(kernel)
            async with kernel:
                with pytest.raises(NotAllowed):
                    await kernel.place_order(RESTING)

    asyncio.run(run())
