"""`mode: observe`: everything of an account can be seen, and nothing can be prepared, signed or sent."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from core.tests.processes import Shell
from core.tests.test_platform import QUICK, RESTING, configured, paper, reached, until
from exchange_kernel import Platform
from exchange_kernel.base import Resolution
from exchange_kernel.config import load, parse
from exchange_kernel.errors import AdmissionDenied, ConfigError, NotSent, OutcomeUnknown
from exchange_kernel.kernel.observed import Observed, observing
from exchange_kernel.models import IntentStatus, OrderIntent, Origin
from exchange_kernel.state.ops import CancelIntents, CreateIntents, NewIntent
from exchange_kernel.venue import CancelAll, DeadMan, History, Prep, Prices, Quotes, Slot, VenueAdapter
from exchange_kernel_paper.adapter import PaperAdapter

METHODS = {name for name in vars(VenueAdapter) if not name.startswith("_")}


def observer(platform: Platform) -> Platform:
    """The same accounts and the same store, only looked at."""
    path = platform.config.path
    path.write_text(path.read_text().replace("venue: paper,", "venue: paper, mode: observe,"))
    return Platform(load(path), settings=QUICK)


def test_an_observed_account_shows_everything_and_sends_nothing(tmp_path: Path) -> None:
    """Balances, foreign orders, rights and markets are there; each way to change something is refused by name."""

    async def run() -> None:
        trading = configured(tmp_path, paper("one", tmp_path))
        async with trading:
            await trading["one"].place_order(RESTING, "before")
            await reached(trading["one"], "before", IntentStatus.WORKING)
            async with observer(elsewhere(tmp_path)) as platform:
                kernel = platform["one"]
                state = await kernel.get_account_state()
                assert {each.asset_id: each.total for each in state.assets}["USD"] == 100_000
                assert state.mode == "paper"

                async def seen() -> bool:
                    return any(each.origin is Origin.FOREIGN for each in await kernel.get_all_orders())

                await until(seen, "the other program's order")
                assert (await kernel.get_symbol_metadata("BTC/USD")).active
                health = await kernel.health_check()
                assert health.ready
                assert health.components["account"].reason == "only observed (mode: observe)"
                assert (await kernel.dry_run(RESTING)).would_wait == "only observed (mode: observe)"
                for refused in (
                    kernel.place_order(RESTING, "new"),
                    kernel.place_order_group([RESTING]),
                    kernel.modify_order("before", RESTING.but(limit_price="40100")),
                    kernel.cancel_order("before"),
                    kernel.cancel_all_orders(),
                ):
                    with pytest.raises(AdmissionDenied, match="'one': is only observed"):
                        await refused
                assert await kernel.get_all_intents() == []
                await kernel.force_reconciliation()
            assert (await trading["one"].get_order_state("before")).status is IntentStatus.WORKING

    asyncio.run(run())


def elsewhere(folder: Path) -> Platform:
    """A second store for the very same account of the same exchange."""
    (folder / "elsewhere").mkdir()
    return configured(folder / "elsewhere", paper("one", folder))


def test_what_was_wanted_before_is_followed_and_not_acted_on(tmp_path: Path) -> None:
    """An account that traded and is only observed now: its order is still followed, a cancel wanted meanwhile waits."""

    async def run() -> None:
        async with configured(tmp_path, paper("one", tmp_path)) as trading:
            await trading["one"].place_order(RESTING, "mine")
            await reached(trading["one"], "mine", IntentStatus.WORKING)
        async with observer(trading) as platform:
            kernel = platform["one"]
            new = OrderIntent(account="one", intent_id="waits", order=RESTING)
            await platform.store.execute(CreateIntents("one", (NewIntent(new, None),), "test"))
            await platform.store.execute(CancelIntents("one", ("mine",), "test", ""))
            await kernel.resolve_order("mine", Resolution.LOOK_AGAIN, actor="test", reason="look")
            await kernel.force_reconciliation()

            async def told() -> bool:
                return "observed" in str((await kernel.get_order_state("mine")).conditions)

            await until(told, "why the cancel waits")
            assert (await kernel.get_order_state("mine")).status is IntentStatus.CANCELING
            assert (await kernel.get_order_state("waits")).attempts == 0
        path = platform.config.path
        path.write_text(path.read_text().replace(" mode: observe,", ""))
        async with Platform(load(path), settings=QUICK) as again:
            await reached(again["one"], "mine", IntentStatus.CANCELED)
            await reached(again["one"], "waits", IntentStatus.WORKING)

    asyncio.run(run())


def test_nothing_of_an_adapter_is_reachable_that_sends(tmp_path: Path) -> None:
    """The adapter is out of reach behind the reads: prepare, submit and the dead-man switch end here."""

    async def run() -> None:
        adapter = PaperAdapter()
        seen = observing(adapter)
        with pytest.raises(NotSent, match="only observed"):
            await seen.prepare(CancelAll(b"k" * 16, "BTC/USD"), Prep(0, 1, _no_slot))
        with pytest.raises(OutcomeUnknown, match="not sent again"):
            await seen.submit(None)  # type: ignore[arg-type]
        assert isinstance(adapter, DeadMan) or not hasattr(adapter, "arm")
        assert not isinstance(seen, DeadMan)
        for kind in (Prices, Quotes, History):
            assert isinstance(seen, kind) == isinstance(adapter, kind)
        assert set(vars(Observed)) >= METHODS

    asyncio.run(run())


def test_a_dead_man_s_switch_needs_an_account_that_trades() -> None:
    """The switch cancels orders: it is refused where nothing is ever sent."""
    text = b"accounts: {a: {venue: paper, mode: observe, dead_man: {after_s: 60}}}"
    with pytest.raises(ConfigError, match=r"accounts\.a\.dead_man .* must not stand where nothing is sent"):
        parse(text, Path("/etc/exk/exk.yaml"))


def test_the_shell_refuses_too(tmp_path: Path) -> None:
    """`place`, `modify`, `cancel` and `panic` write and send nothing on an account that is only observed."""
    shell = Shell(tmp_path)
    shell.config.write_text("accounts: {solo: {venue: paper, config: {balances: {USD: 100000}}}}")
    shell.ok("db", "upgrade")
    shell.ok("place", "BTC/USD", "buy", "0.1", "--limit", "40000", "--id", "known")
    shell.config.write_text(shell.config.read_text().replace("venue: paper", "venue: paper, mode: observe"))
    before = shell.json("get", "intents")
    for words in (
        ("place", "BTC/USD", "buy", "0.1", "--limit", "40000"),
        ("modify", "known", "--limit", "40100"),
        ("cancel", "known"),
        ("cancel", "--all"),
    ):
        assert "account 'solo': is only observed (mode: observe)" in shell.refused(3, *words)
    told = shell.run("panic", "--account", "solo", "--actor", "test", "--reason", "test")
    assert told.exit_code == 2
    assert "nothing is cancelled from here" in told.stdout
    assert shell.json("get", "intents") == before


def _no_slot(scope: str) -> Slot:
    raise AssertionError(scope)
