"""Accounts beside broken and lying plugins: each fails alone, by name, and all others trade."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.tests.plugins.broken import SOURCES, publish_broken
from core.tests.plugins.distributions import exk, publish, python, venues

ADAPTER = "from exchange_kernel_paper.adapter import PaperAdapter\n"
# What an adapter's module holds, and what keeps its account from starting.
ADAPTERS = {
    "liar": (
        ADAPTER + "from dataclasses import replace\n"
        "from exchange_kernel.schema import MarketCapabilities\n"
        "class Adapter(PaperAdapter):\n"
        "    async def markets(self):\n"
        "        return [replace(m, capabilities=MarketCapabilities.of(['limit', 'gtc', 'amount_base', 'dead_man']))\n"
        "                for m in await super().markets()]\n",
        "dead_man: BTC/USD declares it, and the adapter has no method arm",
    ),
    "historian": (
        ADAPTER + "class Adapter(PaperAdapter):\n    history = None\n",
        "history: BTC/USD declares it, and the adapter has no method history",
    ),
    "stub": ("class Adapter:\n    pass\n", "open: the adapter has no such method, and every adapter needs it"),
    "missing": ("", "AttributeError: module 'exk_missing_adapter' has no attribute 'Adapter'"),
    "quits": ("raise SystemExit('bye')", "SystemExit: bye"),
    "opens": (
        ADAPTER + "class Adapter(PaperAdapter):\n    async def open(self, ctx):\n        raise SystemExit(4)\n",
        "SystemExit(4)",
    ),
    "half": (
        ADAPTER + "class Adapter(PaperAdapter):\n    async def open(self, ctx):\n        raise KeyError('token')\n",
        "'token'",
    ),
    "hangs": (
        "import time\ntime.sleep(600)",
        "the adapter of exchange-kernel-hangs is still being imported after 0.5 s",
    ),
}
PROGRAM = """
    import asyncio, json, logging
    from exchange_kernel import Platform, Side, StandardOrder
    from exchange_kernel.plugins import background
    background.Imports.wait.__defaults__ = (0.5,)
    logging.basicConfig(level="WARNING")

    async def main():
        async with Platform.from_file("exk.yaml") as platform:
            failures = {name: f"{type(e).__name__}: {e}" for name, e in platform.failures.items()}
            order = StandardOrder("BTC/USD", Side.BUY, "0.1", limit_price="40000")
            intent = await platform["good"].place_order(order)
            while (await platform["good"].get_order_state(intent)).status != "WORKING":
                await asyncio.sleep(0.01)
            ready = {name: health.ready for name, health in (await platform.health_check()).items()}
            print(json.dumps([sorted(platform.running), failures, ready, platform.ready]))

    asyncio.run(main())
"""


def test_no_plugin_keeps_another_account_from_trading(tmp_path: Path) -> None:
    """Lying, missing, hanging and quitting adapters, and plugins that are broken: each account says why, one trades."""
    for name, (source, _) in ADAPTERS.items():
        publish(
            tmp_path, name, venues(name, target=f"exk_{name}_adapter:Adapter"), modules={f"exk_{name}_adapter": source}
        )
    publish_broken(tmp_path, "import_error", "exits", "hook_raises")
    publish(tmp_path, "rival_a", venues("shared"))
    publish(tmp_path, "rival_b", venues("shared"))
    publish(tmp_path, "future", venues("future"), requires=["exchange-kernel>=7"])
    names = [*ADAPTERS, "import_error", "exits", "hook_raises", "shared", "future"]
    accounts = "".join(f"  on_{name}: {{venue: {name}}}\n" for name in names)
    pinned = "  pinned: {venue: shared, plugin: exchange-kernel-rival_b}\n"
    good = "  good: {venue: paper, config: {balances: {USD: 100000}}}\n"
    (tmp_path / "exk.yaml").write_text(f"accounts:\n{accounts}{pinned}{good}")
    done = python(tmp_path, PROGRAM)
    assert done.returncode == 0, done.stderr
    running, failures, ready, all_ready = json.loads(done.stdout)

    assert running == ["good", "pinned"]
    assert {name for name, healthy in ready.items() if healthy} == {"good", "pinned"}
    assert all_ready is False
    for name, (_, said) in ADAPTERS.items():
        assert said in failures[f"on_{name}"], name
    for name in ("import_error", "exits", "hook_raises"):
        assert f"exchange-kernel-{name} is broken: {SOURCES[name][1]}" in failures[f"on_{name}"]
        assert f"plugin {name} (exchange-kernel-{name}) is broken: {SOURCES[name][1]}" in done.stderr
    assert "venue shared is claimed by" in failures["on_shared"]
    assert "needs exchange-kernel>=7, and this is 0.1.0" in failures["on_future"]


@pytest.mark.parametrize("command", [["run"], ["place", "BTC/USD", "buy", "1"]])
def test_the_allow_list_holds_for_commands_too(tmp_path: Path, command: list[str]) -> None:
    """What is not allowed is not loaded by anything that reads the configuration."""
    (tmp_path / "exk.yaml").write_text("plugins: {allow: []}\naccounts: {a: {venue: paper}}\n")
    exk(tmp_path, "db", "upgrade")
    done = exk(tmp_path, *command)

    assert done.returncode != 0
    assert "exchange-kernel-paper is blocked: not in plugins.allow" in done.stderr


def test_panic_is_not_kept_up_by_other_plugins(tmp_path: Path) -> None:
    """Where plugins are broken, rivals or block, and even where strictness is asked for, an account can be emptied."""
    publish(tmp_path, "sleeps", SOURCES["sleeps"][0])
    publish(tmp_path, "thief", venues("paper"))
    (tmp_path / "exk.yaml").write_text("accounts: {a: {venue: paper, plugin: exchange-kernel-paper}}\n")
    done = exk(tmp_path, "panic", "--all", "--actor", "ann", "--reason", "fire", EXK_STRICT_PLUGINS="1")

    assert "a: 0 cancelled, 0 left open" in done.stdout, done.stdout + done.stderr
