"""Declaring: what is accepted is one intent, what is not leaves nothing behind, and every refusal is an error by
name."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

from exchange_kernel.base import ExchangeKernel, GroupKind, Resolution
from exchange_kernel.errors import (
    ConfigError,
    IdentityMismatch,
    IntentConflict,
    InvalidOrder,
    NotRunning,
    Unsupported,
)
from exchange_kernel.models import IntentStatus, Limits
from exchange_kernel.schema import (
    ConditionalOrderMode,
    ConditionalTrigger,
    PriceSource,
    TrailUnit,
    TriggerKind,
)
from tests.interleavings.desk import ACCOUNT, BTC, Desk, buy, play
from tests.interleavings.venues import Live


def test_the_same_id_two_hundred_times_at_once_is_one_intent_and_one_order() -> None:
    """However many callers repeat the call, they all get the one id (R38)."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        answers = await asyncio.gather(*(process.kernel.place_order(buy(), "a") for _ in range(200)))
        assert set(answers) == {"a"}
        await desk.reaches("a", IntentStatus.WORKING)
        assert len(await process.kernel.get_all_intents()) == len(desk.orders()) == 1
        assert (await desk.kinds("a")).count("IntentCreated") == 1

    play(scene)


def test_the_same_id_with_another_order_is_a_conflict() -> None:
    """At once and at any later time, finished or not; the first order is not touched."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        answers = await asyncio.gather(
            *(process.kernel.place_order(buy(amount), "a") for amount in ("0.1", "0.2", "0.1", "0.3")),
            return_exceptions=True,
        )
        assert [type(answer) for answer in answers] == [str, IntentConflict, str, IntentConflict]
        await process.kernel.cancel_order("a")
        await desk.reaches("a", IntentStatus.CANCELED)
        with pytest.raises(IntentConflict, match="exists in desk with another order"):
            await process.kernel.place_order(buy("0.2"), "a")
        assert await process.kernel.place_order(buy("0.1"), "a") == "a"
        assert await desk.status("a") is IntentStatus.CANCELED

    play(scene)


@pytest.mark.parametrize(
    "bad",
    [buy("0.1", "49000.001"), buy("0.00005"), buy("0.1", symbol="BTC/EUR"), buy("0.0001", "1")],
    ids=["off the tick", "off the step", "unknown symbol", "below the least notional"],
)
def test_a_group_with_one_bad_order_writes_nothing(bad: Any) -> None:
    """All or none: the good ones before and after it are not declared either, and no event tells of them."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        before = len(await desk.store.event_rows(ACCOUNT, 0, 1000))
        with pytest.raises(InvalidOrder):
            await process.kernel.place_order_group([buy(), bad, buy()], intent_ids=["a", "b", "c"])
        assert await process.kernel.get_all_intents() == []
        assert [row.kind for row in (await desk.store.event_rows(ACCOUNT, 0, 1000))[before:] if row.intent_id] == []
        ids = await process.kernel.place_order_group([buy(), buy()], intent_ids=["a", "c"], group_id="g")
        assert ids == ["a", "c"]
        assert {i.group_id for i in await process.kernel.get_all_intents()} == {"g"}

    play(scene)


def test_a_group_that_conflicts_in_one_id_writes_nothing() -> None:
    """The conflict is found in the transaction: the other orders of the group are not declared."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        await process.kernel.place_order(buy(), "b")
        with pytest.raises(IntentConflict):
            await process.kernel.place_order_group([buy(), buy("0.7")], intent_ids=["a", "b"])
        assert [i.intent_id for i in await process.kernel.get_all_intents()] == ["b"]

    play(scene)


def stop_loss(**changes: Any) -> ConditionalTrigger:
    """A trigger below the market."""
    return ConditionalTrigger(**{"kind": TriggerKind.STOP_LOSS, "trigger_price": Decimal(48000), **changes})


TRIGGERS = {
    "stop loss": stop_loss(),
    "take profit": stop_loss(kind=TriggerKind.TAKE_PROFIT, trigger_price=Decimal(52000)),
    "stop limit": stop_loss(limit_price=Decimal(47000)),
    "by mark": stop_loss(price_source=PriceSource.MARK),
    "by index": stop_loss(price_source=PriceSource.INDEX),
    "by mid": stop_loss(price_source=PriceSource.MID),
    "trailing by an amount": ConditionalTrigger(
        TriggerKind.TRAILING_STOP, trail_offset=Decimal(100), trail_unit=TrailUnit.ABSOLUTE
    ),
    "trailing by a fraction": ConditionalTrigger(
        TriggerKind.TRAILING_STOP, trail_offset=Decimal(1), trail_unit=TrailUnit.PERCENT
    ),
    "trailing when activated": ConditionalTrigger(
        TriggerKind.TRAILING_STOP, trail_offset=Decimal(100), trail_unit=TrailUnit.ABSOLUTE,
        activation_price=Decimal(51000),
    ),
}  # fmt: skip


def test_what_this_release_does_not_do_is_refused_by_name_and_leaves_no_trace() -> None:
    """Every group but BATCH, every trigger and every conditional mode, and reduce-only on a spot venue: Unsupported."""

    async def scene(desk: Desk) -> None:
        process = await desk.start()
        kernel = process.kernel
        for kind in GroupKind:
            if kind is not GroupKind.BATCH:
                with pytest.raises(Unsupported, match=f"group {kind}"):
                    await kernel.place_order_group([buy(), buy()], kind)
        for trigger in TRIGGERS.values():
            for mode in ConditionalOrderMode:
                order = buy("0.1", None, conditional_trigger=trigger, conditional_mode=mode)
                for call in (kernel.place_order, kernel.dry_run):
                    with pytest.raises(Unsupported):
                        await call(order)
        with pytest.raises(Unsupported, match="reduce_only"):
            await kernel.place_order(buy(reduce_only=True))
        assert await kernel.get_all_intents() == []

    play(scene)


CALLS: dict[str, Callable[[ExchangeKernel], Awaitable[Any]]] = {
    "place_order": lambda k: k.place_order(buy()),
    "place_order_group": lambda k: k.place_order_group([buy()]),
    "modify_order": lambda k: k.modify_order("a", buy()),
    "cancel_order": lambda k: k.cancel_order("a"),
    "cancel_all_orders": lambda k: k.cancel_all_orders(),
    "resolve_order": lambda k: k.resolve_order("a", Resolution.ABANDON, actor="op", reason="why"),
    "dry_run": lambda k: k.dry_run(buy()),
    "halt": lambda k: k.halt(actor="op", reason="why"),
    "resume": lambda k: k.resume(actor="op", reason="why"),
    "get_order_intent": lambda k: k.get_order_intent("a"),
    "get_order_state": lambda k: k.get_order_state("a"),
    "get_all_intents": lambda k: k.get_all_intents(),
    "get_all_orders": lambda k: k.get_all_orders(),
    "get_positions": lambda k: k.get_positions(),
    "get_account_state": lambda k: k.get_account_state(),
    "get_symbol_metadata": lambda k: k.get_symbol_metadata(BTC),
    "get_asset_metadata": lambda k: k.get_asset_metadata("BTC"),
    "force_reconciliation": lambda k: k.force_reconciliation(),
}
LIFECYCLE = {"start", "stop", "health_check", "subscribe_events", "unsubscribe_events"}


def test_every_call_before_the_start_and_after_the_stop_says_not_running() -> None:
    """Nothing is written then; health still answers, and says so."""
    assert set(CALLS) | LIFECYCLE == set(ExchangeKernel.__abstractmethods__)

    async def scene(desk: Desk) -> None:
        process = desk.process()

        async def refused() -> None:
            for name, call in CALLS.items():
                with pytest.raises(NotRunning, match="is not running"):
                    await call(process.kernel)
                assert name
            health = await process.kernel.health_check()
            assert not health.ready
            await process.kernel.stop()

        await refused()
        await process.kernel.start()
        await process.kernel.start()
        await process.kernel.place_order(buy(), "a")
        await desk.reaches("a", IntentStatus.WORKING)
        await process.kernel.stop()
        await refused()
        assert [order.live for order in desk.orders("a")] == [True]
        assert len(await desk.store.intents(ACCOUNT)) == 1

    play(scene)


def test_another_account_behind_the_same_exchange_id_refuses_to_start() -> None:
    """The store knows which account at the venue is meant (R33): nothing is sent to the other one."""

    async def scene(desk: Desk) -> None:
        desk.exchange.open_account("other", "paper", {"USD": "1000000"})
        first = await desk.start()
        await first.kernel.place_order(buy(), "a")
        await desk.reaches("a", IntentStatus.WORKING)
        await first.kernel.stop()
        wrong = desk.process(venue_account="other")
        with pytest.raises(IdentityMismatch, match=r"paper:hall:other.*paper:hall:desk"):
            await wrong.kernel.start()
        with pytest.raises(NotRunning):
            await wrong.kernel.place_order(buy(), "b")
        assert not [order for order in desk.exchange.ledger.orders() if order.account == "other"]
        again = await desk.start()
        assert len(await again.kernel.get_all_intents()) == 1

    play(scene)


def test_another_mode_behind_the_same_exchange_id_refuses_to_start() -> None:
    """Paper yesterday and live today is another account."""

    async def scene(desk: Desk) -> None:
        first = await desk.start()
        await first.kernel.stop()
        complete = Limits(Decimal(1000), Decimal(1000), 10)
        with pytest.raises(IdentityMismatch, match="mode"):
            await desk.process(adapter=Live, limits=complete).kernel.start()

    play(scene)


@pytest.mark.parametrize(
    "limits",
    [
        Limits(),
        Limits(max_order_notional=Decimal(1000), max_open_notional=Decimal(1000)),
        Limits(max_order_notional=Decimal(1000), order_count=10),
        Limits(max_open_notional=Decimal(1000), order_count=10),
    ],
)
def test_a_live_account_without_complete_limits_does_not_start(limits: Limits) -> None:
    """Size, open notional and rate must all be set where real money is at stake; then it starts."""

    async def scene(desk: Desk) -> None:
        with pytest.raises(ConfigError, match="limits"):
            await desk.process(adapter=Live, limits=limits).kernel.start()
        complete = Limits(Decimal(10_000), Decimal(10_000), 10)
        process = await desk.start(adapter=Live, limits=complete)
        await process.kernel.place_order(buy(), "a")
        await desk.reaches("a", IntentStatus.WORKING)

    play(scene)
