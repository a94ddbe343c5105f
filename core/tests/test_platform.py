"""The platform: many accounts of one configuration, on one store, none of which can hurt another."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from exchange_kernel import Platform, Side, StandardOrder
from exchange_kernel.base import ExchangeKernel
from exchange_kernel.clock import SystemClock
from exchange_kernel.config import load
from exchange_kernel.errors import AccountHalted, ConfigError, InvalidOrder, LimitExceeded, NotRunning, Unavailable
from exchange_kernel.models import IntentStatus
from exchange_kernel.reconcile.session import Settings
from exchange_kernel.state import SqlIntentStore
from exchange_kernel.state.ops import AcquireLease
from exchange_kernel_paper.exchange import Exchange, House, LoopClock
from exchange_kernel_paper.registry import EXCHANGES
from exchange_kernel_paper.server import Server

RESTING = StandardOrder("BTC/USD", Side.BUY, "0.1", limit_price="40000")
QUICK = Settings(lease_ms=600, sweep_every=0.05)


def configured(folder: Path, accounts: str, more: str = "") -> Platform:
    """A platform on ``exk.yaml`` in ``folder``, with short leases."""
    return Platform(load(written(folder, accounts, more)), settings=QUICK)


def written(folder: Path, accounts: str, more: str = "") -> Path:
    path = folder / "exk.yaml"
    path.write_text(f"accounts: {{{accounts}}}\n{more}")
    return path


def paper(name: str, folder: Path, config: str = "", more: str = "") -> str:
    """An account at an exchange of its own in this process."""
    return (
        f"{name}: {{venue: paper, config: {{venue: '{folder.name}-{name}', balances: {{USD: 100000}}{config}}}{more}}}"
    )


async def until(true: Callable[[], Any], what: str) -> None:
    """Wait until it is true."""
    for _ in range(1000):
        found = true()
        if await found if asyncio.iscoroutine(found) else found:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{what}: not within 10 s")


async def reached(kernel: ExchangeKernel, intent_id: str, status: IntentStatus) -> None:
    async def there() -> bool:
        return (await kernel.get_order_state(intent_id)).status is status

    await until(there, f"{intent_id} {status}")


def test_accounts_trade_side_by_side(tmp_path: Path) -> None:
    """Each account has its own kernel, its own orders, and the store is shared."""

    async def run() -> None:
        accounts = ", ".join(paper(name, tmp_path) for name in ("one", "two"))
        async with configured(tmp_path, accounts) as platform:
            assert platform.running == {"one", "two"}
            for name in platform:
                intent_id = await platform[name].place_order(RESTING, "same-id")
                await reached(platform[name], intent_id, IntentStatus.WORKING)
            assert [len(await platform[name].get_all_intents()) for name in platform] == [1, 1]
            health = await platform.health_check()
            assert all(part.ready for part in health.values())

    asyncio.run(run())


def test_an_account_that_cannot_start_hurts_no_other(tmp_path: Path) -> None:
    """Its failure is reported, asking for it raises the failure, and the others work."""

    async def run() -> None:
        accounts = f"{paper('good', tmp_path)}, odd: {{venue: papr}}, " + paper("bad", tmp_path, ", wrong: 1")
        secret = "bare: {venue: paper, secrets: {secret: 'env:EXK_TEST_UNSET'}}"
        async with configured(tmp_path, f"{accounts}, {secret}") as platform:
            assert platform.running == {"good"}
            assert set(platform.failures) == {"odd", "bad", "bare"}
            assert not platform.retrying
            with pytest.raises(ConfigError, match="did you mean paper"):
                platform["odd"]
            with pytest.raises(ConfigError, match="EXK_TEST_UNSET"):
                platform["bare"]
            with pytest.raises(ConfigError, match="is not in"):
                platform["goood"]
            assert await platform["good"].place_order(RESTING)
            health = await platform.health_check()
            assert {name: part.ready for name, part in health.items()} == {
                "good": True,
                "odd": False,
                "bad": False,
                "bare": False,
            }

    asyncio.run(run())


def test_an_account_whose_venue_is_down_starts_when_it_is_up(tmp_path: Path) -> None:
    """A passing cause is waited out: the account is tried again until it starts."""

    async def run() -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        account = f"far: {{venue: paper, config: {{connect: '127.0.0.1:{port}'}}}}"
        async with configured(tmp_path, account) as platform:
            assert isinstance(platform.failures["far"], Unavailable)
            assert platform.retrying
            exchange = Exchange("late", LoopClock(SystemClock().now_ms))
            exchange.open_account("far", "paper", {"USD": "100000"})
            house = House(exchange, Random(1))
            house.open()
            server = Server(exchange, house)
            await server.start(port)
            serving = asyncio.create_task(server.run())
            await until(lambda: "far" in platform.running, "the account's start")
            assert not platform.failures
            await reached(platform["far"], await platform["far"].place_order(RESTING), IntentStatus.WORKING)
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving

    asyncio.run(run())


def test_events_can_be_subscribed_before_the_start(tmp_path: Path) -> None:
    """A kernel is there before it runs: subscribing works, everything else says that it does not run."""

    async def run() -> None:
        platform = configured(tmp_path, paper("a", tmp_path))
        seen: list[str] = []
        platform["a"].subscribe_events(lambda event: seen.append(event.kind))
        with pytest.raises(NotRunning):
            await platform["a"].place_order(RESTING)
        async with platform:
            await platform["a"].place_order(RESTING)
            await until(lambda: "OrderAccepted" in seen, "the events")
        with pytest.raises(NotRunning):
            await platform["a"].get_positions()

    asyncio.run(run())


def test_a_platform_halt_stops_every_account_and_lasts(tmp_path: Path) -> None:
    """Halted with actor and reason, on every account, over a restart, until somebody resumes."""

    async def run() -> None:
        accounts = ", ".join(paper(name, tmp_path) for name in ("one", "two"))
        async with configured(tmp_path, accounts) as platform:
            with pytest.raises(InvalidOrder, match="reason"):
                await platform.halt(actor="ann", reason=" ")
            await platform.halt(actor="ann", reason="drill")
        async with configured(tmp_path, accounts) as platform:
            for name in platform:
                with pytest.raises(AccountHalted, match="platform is halted by ann: drill"):
                    await platform[name].place_order(RESTING)
            assert not (await platform.health_check())["one"].ready
            await platform["one"].halt(actor="bob", reason="own")
            await platform.resume(actor="ann", reason="over")
            assert await platform["two"].place_order(RESTING)
            with pytest.raises(AccountHalted, match="account one is halted by bob: own"):
                await platform["one"].place_order(RESTING)

    asyncio.run(run())


def test_a_mode_that_is_not_the_venue_s_is_refused(tmp_path: Path) -> None:
    """An account configured as live never trades on something else, nor the other way round."""

    async def run() -> None:
        async with configured(tmp_path, paper("a", tmp_path, more=", mode: live")) as platform:
            with pytest.raises(ConfigError, match=r"accounts\.a\.mode 'live': the venue says this account is paper"):
                platform["a"]

    asyncio.run(run())


def test_configured_limits_hold(tmp_path: Path) -> None:
    """Limits of the file are the account's limits."""

    async def run() -> None:
        limits = ", limits: {max_order_notional: 1000, symbols: [BTC/USD]}"
        async with configured(tmp_path, paper("a", tmp_path, more=limits)) as platform:
            with pytest.raises(LimitExceeded, match="max_order_notional 1000"):
                await platform["a"].place_order(RESTING)
            with pytest.raises(LimitExceeded, match="allow-list"):
                await platform["a"].place_order(StandardOrder("ETH/USD", Side.BUY, "0.1", limit_price="2000"))

    asyncio.run(run())


@pytest.mark.parametrize(("policy", "told"), [("REPORT", 1), ("IGNORE", 0)])
def test_foreign_orders_are_told_about_as_the_policy_says(policy: str, told: int, tmp_path: Path) -> None:
    """REPORT: an event per foreign order. IGNORE: none. Listed, and left alone, either way."""

    async def run() -> None:
        more = f", drift: {{foreign: {policy}}}"
        async with configured(tmp_path, paper("a", tmp_path, more=more)) as platform:
            exchange = EXCHANGES.get(f"{tmp_path.name}-a")
            assert exchange is not None
            seen: list[str] = []
            platform["a"].subscribe_events(lambda event: seen.append(event.kind))
            terms = {"symbol": "BTC/USD", "side": "BUY", "amount": "0.2", "limit": "41000", "tif": "GTC"}
            life = {"ts": exchange.now, "window": 2000}
            exchange.trade("a", {"op": "order", "account": "a", "client": "manual", **life, **terms})

            async def listed() -> bool:
                return any(state.origin == "FOREIGN" for state in await platform["a"].get_all_orders())

            await until(listed, "the foreign order")
            await platform["a"].place_order(RESTING)
            await until(lambda: "OrderAccepted" in seen, "the events")
            assert seen.count("DriftDetected") == told
            assert len(exchange.account("a").open) == 2

    asyncio.run(run())


def test_an_account_that_another_process_owns_is_refused(tmp_path: Path) -> None:
    """Two healthy owners never share an account: the second one says who owns it."""

    async def run() -> None:
        platform = configured(tmp_path, paper("a", tmp_path))
        async with platform:
            pass
        rival = SqlIntentStore(load(tmp_path / "exk.yaml").store_url)
        await rival.open()
        await rival.execute(AcquireLease("a", "elsewhere:1:x", 3_600_000))
        async with configured(tmp_path, paper("a", tmp_path)) as platform:
            with pytest.raises(ConfigError, match="is owned by elsewhere:1:x"):
                platform["a"]
        await rival.close()

    asyncio.run(run())


def test_a_restored_backup_makes_every_account_recover(tmp_path: Path) -> None:
    """Back up, trade, restore, start: every account begins RECOVERING, those too that are no longer configured; orders
    that the store forgot are found, and nothing is sent twice."""

    async def run() -> None:
        both = ", ".join(paper(name, tmp_path) for name in ("kept", "gone"))
        async with configured(tmp_path, both) as platform:
            await platform["kept"].place_order(RESTING, "before")
            await reached(platform["kept"], "before", IntentStatus.WORKING)
        shutil.copy(tmp_path / "exk.db", tmp_path / "backup.db")
        async with configured(tmp_path, both) as platform:
            await platform["kept"].place_order(RESTING, "after")
            await reached(platform["kept"], "after", IntentStatus.WORKING)
        restore(tmp_path / "backup.db", tmp_path / "exk.db")

        async with configured(tmp_path, paper("kept", tmp_path)) as platform:
            kernel = platform["kept"]
            kernel.subscribe_events(lambda event: seen.append(event.kind), after=0)
            seen: list[str] = []
            assert (await platform.store.store_row()).suspicion is None
            assert (await platform.store.store_row()).incarnation == 2
            for name in ("kept", "gone"):
                row = await platform.store.account_row(name)
                assert row is not None
                assert row.recovering is not None or "RecoveryFinished" in seen
            await until(lambda: "RecoveryFinished" in seen, "the end of recovery")
            orders = await kernel.get_all_orders()
            assert sorted(state.status for state in orders if state.origin == "OURS") == ["PARKED", "WORKING"]
            await kernel.place_order(RESTING, "after")
            await reached(kernel, "after", IntentStatus.PARKED)
            exchange = EXCHANGES.get(f"{tmp_path.name}-kept")
            assert exchange is not None
            assert len(exchange.account("kept").open) == 2
            assert exchange.ledger.doubled() == {}

    asyncio.run(run())


def restore(backup: Path, database: Path) -> None:
    """Put a backup in the place of a database, as an operator would; its witness stays."""
    for suffix in ("-wal", "-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)
    shutil.copy(backup, database)


def test_start_and_stop_can_be_repeated(tmp_path: Path) -> None:
    """Stopping twice is stopping, starting twice is starting, and a stopped platform can start again."""

    async def run() -> None:
        platform = configured(tmp_path, paper("a", tmp_path))
        for _ in range(2):
            await platform.start()
            await platform.start()
            assert await platform["a"].get_positions() == []
            await platform.stop()
            await platform.stop()
        assert platform.running == frozenset()

    asyncio.run(run())
