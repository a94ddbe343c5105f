"""What stands of an account's conditions, by its event log."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from random import Random

from exchange_kernel.cli import views
from exchange_kernel.clock import SystemClock
from exchange_kernel.events import AccountBalanceUpdated, Event, HealthChanged
from exchange_kernel.models import Condition, Limits
from exchange_kernel.state.conditions import PAGE, told
from exchange_kernel.state.memory import MemoryIntentStore
from exchange_kernel.state.ops import AcquireLease, BindAccount, RecordEvents
from exchange_kernel.testing.virtual import SeededIds


def standing(*events: Event) -> list[tuple[str, str, str]]:
    """What is told after these events."""

    async def ask() -> list[tuple[str, str, str]]:
        store = MemoryIntentStore(SystemClock(), SeededIds(Random(1)))
        await store.open()
        assert await told(store, "a") == {}
        await store.execute(BindAccount("a", "paper", "paper:x:a", "paper", Limits()))
        lease = await store.execute(AcquireLease("a", "me", 60_000, False))
        await store.execute(RecordEvents("a", lease.epoch, events))
        return [(each.type, each.reason, each.message) for each in (await told(store, "a")).values()]

    return asyncio.run(ask())


def health(component: str, reason: str = "") -> HealthChanged:
    return HealthChanged(account="a", at=1, component=component, healthy=not reason, reason=reason)


def test_the_newest_word_on_each_matter_counts() -> None:
    """What came and went is gone, what changed is as it is now; the health of loops is no condition."""
    found = standing(
        health("account_config BTC/USDT:USDT leverage", "is 20, configured 5"),
        health("dead_man", "not renewed"),
        health("stream", "broken"),
        health("account_config BTC/USDT:USDT leverage", "is 10, configured 5"),
        health("dead_man"),
    )
    assert found == [("account_config", "BTC/USDT:USDT leverage", "is 10, configured 5")]


def test_it_is_found_behind_other_events() -> None:
    """More than a page of balances later it still stands."""
    noise = [
        AccountBalanceUpdated(account="a", at=1, asset="USD", total=Decimal(1), free=Decimal(1))
        for _ in range(PAGE + 10)
    ]
    assert standing(health("credentials", "may not trade"), *noise) == [("credentials", "", "may not trade")]


def test_it_is_listed_with_the_account() -> None:
    """``exk get accounts`` shows what stands, in a word for the table and whole for programs."""
    condition = Condition("account_config", "BTC leverage", "is 20, configured 5", 1)
    row = views.account("a", "paper", None, None, "", [condition])
    assert row["told"] == "account_config BTC leverage"
    assert [each["message"] for each in row["conditions"]] == ["is 20, configured 5"]
    assert views.account("a", "paper", None, None, "")["told"] is None
