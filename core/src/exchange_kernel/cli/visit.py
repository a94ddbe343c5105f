"""Looking at an account through its own credentials, beside whatever kernel runs: nothing can be sent from here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from exchange_kernel.cli.exits import Failed
from exchange_kernel.cli.output import average, money, utc
from exchange_kernel.clock import SystemClock
from exchange_kernel.config import AccountConfig, Config
from exchange_kernel.errors import ConfigError, ExchangeKernelError
from exchange_kernel.kernel.observed import Observed, observing
from exchange_kernel.plugins import Plugins, Policy
from exchange_kernel.plugins import load as load_plugins
from exchange_kernel.plugins.background import Imports
from exchange_kernel.venue import AccountSnapshot, Context, Opened, OrderReport, VenueAdapter

ANSWER_S = 30.0
PAGES = 1_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Visit:
    """An account that is open to be looked at. ``bare``: the adapter itself, to be looked at without calling it."""

    account: AccountConfig
    opened: Opened
    adapter: Observed
    bare: VenueAdapter

    async def state(self) -> AccountSnapshot:
        """Balances and positions. Raises Unavailable, TimeoutError."""
        return await patiently(self.adapter.account())

    async def orders(self) -> list[OrderReport]:
        """What is open on the account, whoever placed it, as far as the venue shows it."""
        found: dict[str, OrderReport] = {}
        page: str | None = None
        for _ in range(PAGES):
            snapshot = await patiently(self.adapter.open_orders(page))
            found |= {each.id.value: each for each in snapshot.reports if not each.status.terminal}
            page = snapshot.next
            if page is None:
                return list(found.values())
        raise Failed(f"the venue's open orders have no end after {PAGES} pages", 5)


def plugins_of(config: Config) -> Plugins:
    """The plugins that this configuration allows."""
    return load_plugins(policy=Policy.of(config.allowed_plugins))


async def patiently(answer: Awaitable[T]) -> T:
    """Wait for a venue's answer, but not for ever. Raises TimeoutError."""
    try:
        async with asyncio.timeout(ANSWER_S):
            return await answer
    except TimeoutError:
        raise TimeoutError(f"no answer in {ANSWER_S:g} s") from None


@asynccontextmanager
async def visit(account: AccountConfig, plugins: Plugins) -> AsyncIterator[Visit]:
    """Open an account to look at it. Raises ConfigError, NotAuthorized, Unavailable, TimeoutError."""
    installed = plugins.venue(account.venue, account.plugin)
    await Imports().wait(installed)
    clock = SystemClock()
    secrets = account.resolve_secrets()
    bare = installed()
    context = Context(account.name, account.config, clock.now_ms, clock.sleep, secrets, observe=True)
    adapter = observing(bare)
    try:
        yield Visit(account, await patiently(adapter.open(context)), adapter, bare)
    finally:
        await adapter.close()


def chosen(config: Config, given: str | None) -> AccountConfig:
    """The one account that is meant. Raises Failed where it is not clear, ConfigError for an unknown one."""
    if given is None and len(config.accounts) > 1:
        raise Failed(f"name the account with --account: there are {', '.join(sorted(config.accounts))}", 2)
    return config.account(next(iter(config.accounts)) if given is None else given)


def fault(error: BaseException) -> str:
    """An error in words: ours by their text, others with their kind."""
    if isinstance(error, (ConfigError, Failed)):
        return str(error)
    text = str(error) or "no more is known"
    return f"{type(error).__name__}: {text}" if isinstance(error, ExchangeKernelError) else text


def order_row(report: OrderReport) -> dict[str, Any]:
    """An open order as the venue shows it. ``origin``: OURS where its client id is one that this kernel makes."""
    return {
        "id": report.id.value,
        "symbol": report.symbol,
        "side": report.side.value,
        "status": report.status.value,
        "amount": money(report.amount),
        "price": money(report.price),
        "filled": money(report.filled.base),
        "origin": "VENUE" if report.origin == "venue" else "FOREIGN" if report.key is None else "OURS",
        "as_of": utc(report.as_of),
    }


def state_rows(state: AccountSnapshot) -> dict[str, Any]:
    """Balances that are not nothing, positions, and what its owner should know."""
    return {
        "balances": [
            {
                "asset": each.asset,
                "total": money(each.total),
                "free": money(each.free),
                "borrowed": money(each.borrowed),
            }
            for each in state.balances
            if each.total or each.borrowed
        ],
        "positions": [
            {"symbol": each.symbol, "leg": each.leg, "amount": money(each.amount), "entry": average(each.entry)}
            for each in state.positions
            if each.amount
        ],
        "margin": {name: money(value) for name, value in state.margin.items()},
        "notices": [f"{each.kind}: {each.text}" for each in state.notices or ()],
    }
