"""What an account may say about its paper venue, and where the exchange comes from."""

from __future__ import annotations

import asyncio
from dataclasses import fields
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from exchange_kernel.errors import ConfigError, Unavailable
from exchange_kernel.schema import SupportLevel
from exchange_kernel.venue import Context, Opened
from exchange_kernel_paper import create
from exchange_kernel_paper.adapter import PaperAdapter
from exchange_kernel_paper.config import PaperConfig
from exchange_kernel_paper.exchange import SettingError, Settings
from exchange_kernel_paper.plugin import exk_venues
from exchange_kernel_paper.registry import EXCHANGES, Registry
from plugins.paper.tests.session import BTC, Session, scenario


def context(name: str = "main", /, **config: Any) -> Context:
    """A context with this configuration, on a clock that stands still."""

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(0)

    return Context(name, config, lambda: 1_700_000_000_000, sleep)


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("fence", "wooden", "choose one of time_window"),
        ("fance", "time_window", "is no setting"),
        ("window_ms", "2s", "must be an int"),
        ("window_ms", 0, "at least 1"),
        ("read_lag_ms", -1, "at least 0"),
        ("block_ms", True, "must be an int"),
        ("maker_fee", "one", "decimal"),
        ("maker_fee", "1", "below 1"),
        ("taker_fee", "-0.1", "at least 0"),
        ("taker_fee", "NaN", "at least 0"),
        ("amend", "maybe", "full, down, off"),
        ("fee_in", "gold", "quote, base, received"),
        ("venue", "", "printable text"),
        ("venue", "a:b", "colon"),
        ("account", 7, "printable text"),
        ("house", "yes", "true or false"),
        ("seed", "x", "int"),
        ("walk_ms", -1, "int"),
        ("timeout_ms", 1.5, "int"),
        ("connect", "somewhere", "host:port"),
        ("balances", 5, "map"),
        ("balances", {"USD": "-1"}, "negative"),
        ("balances", {"USD": "1e9"}, "exponent"),
    ],
)
def test_unusable_configuration_is_refused_with_key_value_and_rule(key: str, value: object, rule: str) -> None:
    """Before anything is opened."""
    registry = Registry()

    async def open_it() -> None:
        await PaperAdapter().open(context(registry=registry, **{key: value}))

    with pytest.raises(ConfigError, match=rule) as caught:
        asyncio.run(open_it())
    assert key in str(caught.value)
    assert registry.get("paper") is None


def test_retention_does_not_go_with_a_ledger() -> None:
    """A ledger forgets nothing."""
    with pytest.raises(SettingError, match="forgets nothing"):
        Settings.of({"fence": "sequence", "retention_ms": 5})


def test_settings_of_another_process_are_not_given_here() -> None:
    """`connect` names who has them."""
    for key, value in (("balances", {"USD": "1"}), ("fence", "none")):
        with pytest.raises(ConfigError, match="belongs to the process"):
            PaperConfig.of(context(connect="127.0.0.1:1", **{key: value}))


async def opened(config: Any, name: str = "main") -> tuple[PaperAdapter, Opened]:
    """An open adapter."""
    adapter = PaperAdapter()
    return adapter, await adapter.open(context(name, **config))


def test_accounts_that_name_the_same_venue_meet_in_one_exchange() -> None:
    """Which outlives any adapter, and keeps its balances."""
    registry = Registry()

    async def play() -> None:
        first, _ = await opened({"registry": registry, "venue": "v", "balances": {"USD": "5"}})
        await first.close()
        again, _ = await opened({"registry": registry, "venue": "v", "balances": {"USD": "7"}})
        other, opening = await opened({"registry": registry, "venue": "v", "account": "b"})
        elsewhere, _ = await opened({"registry": registry, "venue": "w"})
        assert [b.total for b in (await again.account()).balances] == [Decimal(5)]
        assert opening.identity == "paper:v:b"
        exchange = registry.get("v")
        assert exchange is not None
        assert {"main", "b"} <= set(exchange.engine.accounts)
        assert registry.get("w") is not exchange
        for adapter in (again, other, elsewhere):
            await adapter.close()
        registry.forget("v")
        assert registry.get("v") is None

    asyncio.run(play())


def test_an_exchange_runs_with_one_set_of_settings() -> None:
    """A second account may leave them out or repeat them; others are refused."""
    registry = Registry()

    async def play() -> None:
        adapters = [(await opened({"registry": registry, "window_ms": 3_000}, name))[0] for name in ("a", "b")]
        adapters.append((await opened({"registry": registry}, "c"))[0])
        with pytest.raises(ConfigError, match="other settings"):
            await opened({"registry": registry, "window_ms": 4_000}, "d")
        for adapter in adapters:
            await adapter.close()

    asyncio.run(play())


def test_an_exchange_made_by_an_account_has_somebody_to_trade_with() -> None:
    """Every market is quoted around its reference price; the one-sided one on one side."""
    registry = Registry()

    async def play() -> None:
        adapter, _ = await opened({"registry": registry})
        exchange = registry.get("paper")
        assert exchange is not None
        tops = {symbol: exchange.book(symbol).top()[:2] for symbol in exchange.engine.markets}
        assert [None in top for top in tops.values()] == [False, False, False, False, True]
        bid, ask = tops[BTC]
        assert bid is not None
        assert ask is not None
        assert bid < 50_000 < ask
        await adapter.close()

    asyncio.run(play())


def test_the_default_registry_is_the_process_wide_one() -> None:
    """So that configuration files need not name it."""

    async def play() -> None:
        adapter, _ = await opened({"venue": "process-wide"})
        await adapter.close()

    asyncio.run(play())
    assert EXCHANGES.get("process-wide") is not None
    EXCHANGES.forget("process-wide")


def test_a_venue_that_is_down_cannot_be_opened() -> None:
    """Unavailable, and it can be tried again."""
    session = Session()
    session.exchange.outage(1_000)

    async def play() -> None:
        with pytest.raises(Unavailable):
            await session.adapter.open(session.context())
        session.advance(1_000)
        assert (await session.adapter.open(session.context())).mode == "paper"
        await session.adapter.close()

    asyncio.run(play())


@pytest.mark.parametrize(
    ("settings", "different"),
    [
        ({}, {}),
        ({"amend": "down"}, {"amend_price": "unsupported", "amend_up": "unsupported", "amend_keeps_queue": "native"}),
        (
            {"amend": "off"},
            dict.fromkeys(("amend_price", "amend_up", "amend_down", "amend_keeps_queue"), "unsupported"),
        ),
        ({"fence": "sequence"}, {"fills_final_at_once": "unsupported", "cancel_free": "unsupported"}),
        (
            {"fence": "none"},
            dict.fromkeys(("find_by_key", "amend_price", "amend_up", "amend_down", "amend_keeps_queue"), "unsupported"),
        ),
    ],
)
def test_capabilities_say_what_this_configuration_can_do(settings: dict[str, Any], different: dict[str, str]) -> None:
    """Every capability answered, per symbol; what is native can be used, as the other tests show."""
    native = {
        *("market", "limit", "amount_base", "amount_quote", "gtc", "ioc", "fok", "day", "gtd", "post_only", "iceberg"),
        *("amend_price", "amend_up", "amend_down", "cancel_free", "cancel_provable", "cancel_all", "find_by_key"),
        *("lists_foreign", "fills_of_order", "stream", "partial_fills", "fills_final_at_once"),
        *("orders_outlive_session", "prices", "history"),
    }

    async def play(session: Session) -> dict[str, str]:
        symbols = {symbol.symbol_id: symbol for symbol in await session.adapter.markets()}
        assert [side.value for side in symbols["NEW/USD"].capabilities.sides] == ["BUY"]
        return {name: support.level.value for name, support in symbols[BTC].capabilities.features.items()}

    expected = {"amend_keeps_queue": SupportLevel.PARTIAL.value, **dict.fromkeys(native, "native"), **different}
    levels = scenario(Session(**settings), play)
    assert {name: level for name, level in levels.items() if level != "unsupported" or name in expected} == expected


def test_the_plugin_names_its_venue_and_makes_adapters() -> None:
    """By a dotted name that is resolved when first used."""
    assert [(spec.name, spec.factory) for spec in exk_venues()] == [
        ("paper", "exchange_kernel_paper.adapter:PaperAdapter")
    ]
    assert type(create()) is PaperAdapter
    assert create() is not create()


def test_every_key_is_documented() -> None:
    """The README's table has a row for every key an account may have, with its default, and no row for any other."""
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| `")]
    named = {key.strip(" `"): (cells[3], len(cells[1].split(","))) for cells in rows for key in cells[1].split(",")}
    known = {each.name: each.default for each in fields(PaperConfig) if each.name != "settings"}
    known |= {each.name: each.default for each in fields(Settings)}
    assert set(named) == set(known)
    for key, default in known.items():
        shown, together = named[key]
        if type(default) in (int, str, Decimal) and together == 1:
            assert shown.strip(" `") == str(default), f"{key}: {shown} in the README, {default} in the code"
