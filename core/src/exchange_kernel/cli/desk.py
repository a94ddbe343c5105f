"""What most commands share: the configuration, the store beside whatever kernels run, and which accounts are meant."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import click

from exchange_kernel.cli.exits import Failed
from exchange_kernel.clock import SystemClock
from exchange_kernel.config import DEFAULT_PATH, Config, load
from exchange_kernel.errors import ExchangeKernelError
from exchange_kernel.state import IntentStateStore

P = ParamSpec("P")
T = TypeVar("T")

config_option = click.option(
    "-c",
    "--config",
    "config_path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=DEFAULT_PATH,
    envvar="EXK_CONFIG",
    help="The configuration file.",
    show_default=True,
    show_envvar=True,
)


def _accounts(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The configured accounts, for the shell; none where there is no configuration to read."""
    try:
        known = load(ctx.params.get("config_path") or os.environ.get("EXK_CONFIG") or DEFAULT_PATH).accounts
    except ExchangeKernelError:
        return []
    return [name for name in known if name.startswith(incomplete)]


account_option = click.option("-A", "--account", help="Only this account.", shell_complete=_accounts)
output_option = click.option(
    "-o", "--output", "form", type=click.Choice(["table", "json"]), default="table", help="For people, or for programs."
)
forms_option = click.option(
    "-o",
    "--output",
    "form",
    type=click.Choice(["table", "wide", "json", "jsonl", "yaml", "name"]),
    default="table",
    help="For people (wide: every column), or for programs.",
)
actor_option = click.option("--actor", required=True, help="Who does this; kept in the event log.")
reason_option = click.option("--reason", required=True, help="Why; kept in the event log.")


def run(work: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """A command's async body as the plain function that click calls."""

    @wraps(work)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        return asyncio.run(work(*args, **kwargs))

    return call


def default_actor() -> str:
    """Who types, as far as the operating system knows."""
    name = os.environ.get("EXK_ACTOR") or os.environ.get("USER") or os.environ.get("LOGNAME") or "unknown"
    return f"cli:{name}"


class Desk:
    """A configuration and its open store: reads everything, writes desired state, with or without a running kernel."""

    def __init__(self, config: Config, store: IntentStateStore) -> None:
        self.config = config
        self.store = store
        self.clock = SystemClock()

    async def accounts(self, given: str | None) -> list[str]:
        """The account that was named, or every one of the configuration and the store. Raises ConfigError."""
        stored = await self.store.accounts()
        if given is None:
            return sorted({*self.config.accounts, *stored})
        if given not in stored:
            self.config.account(given)
        return [given]

    async def account(self, given: str | None) -> str:
        """The one account that is meant. Raises Failed when it is not clear."""
        names = await self.accounts(given)
        if len(names) != 1:
            raise Failed(f"name the account with --account: there are {', '.join(names)}", 2)
        return names[0]

    async def find(self, intent_id: str, given: str | None) -> str:
        """The account that has this intent. Raises Failed."""
        names = await self.accounts(given)
        found = [name for name in names if await self.store.record(name, intent_id) is not None]
        if not found:
            raise Failed(f"intent {intent_id}: {' and '.join(names)} have no such intent", 4)
        if len(found) > 1:
            raise Failed(f"intent {intent_id} exists in {', '.join(found)}: name the account with --account", 2)
        return found[0]

    async def owner(self, account: str) -> str:
        """The process that runs an account's kernel now, or ""."""
        lease = await self.store.lease(account)
        return lease.owner if lease is not None and lease.expires_at > self.clock.now_ms() else ""

    async def when(self, accounts: list[str]) -> str:
        """A remark on when desired state will be acted on, where no kernel runs now; else ""."""
        idle = [name for name in accounts if not await self.owner(name)]
        return f"no kernel runs {', '.join(idle)} now: it will be acted on when one does" if idle else ""


@asynccontextmanager
async def desk(config_path: Path, *, make: bool = False) -> AsyncIterator[Desk]:
    """Open the configuration and its store. ``make``: a store that is not there yet is made. Raises ConfigError, Failed
    when there is no store yet, StoreError."""
    config = load(config_path)
    url = config.store_url
    missing = missing_file(url)
    if missing and not make:
        raise Failed(f"there is no store at {missing} yet: `exk run` makes it", 5)
    from exchange_kernel.state.sql import SqlIntentStore

    store = SqlIntentStore(url)
    await store.open()
    try:
        yield Desk(config, store)
    finally:
        await store.close()


def missing_file(url: str) -> str:
    """The file of a SQLite store that is not there, or ""."""
    scheme, _, file = url.partition(":///")
    return file if scheme.startswith("sqlite") and not Path(file).exists() else ""


def tell(text: str) -> None:
    """A remark that is not the command's output."""
    if text:
        click.echo(text, err=True)
