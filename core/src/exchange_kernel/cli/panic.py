"""``exk panic``: cancel at the venue, whatever has become of kernel and store."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import click

from exchange_kernel.cli.desk import account_option, actor_option, config_option, missing_file, reason_option, run
from exchange_kernel.cli.exits import Failed
from exchange_kernel.cli.halt import one_or_all
from exchange_kernel.cli.output import clean
from exchange_kernel.clock import SystemClock, SystemIds
from exchange_kernel.config import AccountConfig, Config, load
from exchange_kernel.errors import ExchangeKernelError, StoreUnavailable
from exchange_kernel.orders.names import check_accountable
from exchange_kernel.panic import PanicResult, journal_path, panic
from exchange_kernel.plugins import Plugins, Policy
from exchange_kernel.plugins import load as load_plugins
from exchange_kernel.plugins.background import Imports
from exchange_kernel.state.ops import SetHalt
from exchange_kernel.venue import Context

STORE_S = 5.0
PLUGIN_S = 2.0
JOURNAL_SEEN_S = 2.0
SHOWN = 5


@click.command("panic")
@config_option
@account_option
@click.option("--all", "everything", is_flag=True, help="Every account of the configuration.")
@actor_option
@reason_option
@click.option("--foreign", is_flag=True, help="Cancel orders of others on the account too.")
@run
async def command(
    config_path: Path, account: str | None, everything: bool, actor: str, reason: str, foreign: bool
) -> None:
    """Cancel every open order of ours at the venue, now, and leave the account halted.

    Needs the configuration and the credentials; kernel and store may be dead. What is done is journaled in state_dir,
    and imported when the account's kernel starts next. Exits 1 when anything may be left open.
    """
    one_or_all(account, everything)
    check_accountable(actor, reason)
    config = load(config_path)
    accounts = list(config.accounts.values()) if account is None else [config.account(account)]
    # Whatever is wrong with other plugins, the accounts of this one are to be emptied.
    for each in accounts:
        if each.observed:
            click.echo(f"{clean(each.name)}: only observed (mode: observe): nothing is cancelled from here")
    accounts = [each for each in accounts if not each.observed]
    if account is not None and not accounts:
        raise Failed(f"{account} is only observed: say in its mode what it is, with a key that may trade", 2)
    plugins = load_plugins(policy=replace(Policy.of(config.allowed_plugins), strict=False), patience=PLUGIN_S)
    store = asyncio.create_task(_halt_stored(config, [each.name for each in accounts], actor, reason))
    found = await asyncio.gather(*(_one(config, each, plugins, store, actor, reason, foreign) for each in accounts))
    if not all(found):
        raise click.exceptions.Exit(1)


async def _one(
    config: Config,
    account: AccountConfig,
    plugins: Plugins,
    store: asyncio.Task[str],
    actor: str,
    reason: str,
    foreign: bool,
) -> bool:
    """One account; True when nothing can be left open."""
    clock, name = SystemClock(), clean(account.name)

    async def quiet() -> str:
        return await asyncio.shield(store)

    try:
        venue = plugins.venue(account.venue, account.plugin)
        await Imports().wait(venue)
        adapter = venue()
        context = Context(account.name, account.config, clock.now_ms, clock.sleep, account.resolve_secrets())
        result = await panic(
            account.name,
            adapter,
            context,
            config.state_dir,
            actor=actor,
            reason=reason,
            clock=clock,
            ids=SystemIds(),
            foreign_too=foreign,
            quiet=quiet,
            tell=lambda line: click.echo(clean(line)),
        )
    except (ExchangeKernelError, OSError) as error:
        click.echo(f"{name}: FAILED, orders may be open: {clean(error)}")
        return False
    except Exception as error:  # noqa: BLE001 - one account's trouble must not keep the others from being emptied
        click.echo(f"{name}: FAILED, orders may be open: {type(error).__name__}: {clean(error)}")
        return False
    for line in _report(result):
        click.echo(f"{name}: {clean(line)}")
    if result.journal:
        click.echo(f"{name}: NO JOURNAL, its next start may not be halted: {clean(result.journal)}")
    else:
        click.echo(f"{name}: halted by {clean(actor)}; journal {clean(journal_path(config.state_dir, account.name))}")
    return not result.doubt and not result.journal


def _report(result: PanicResult) -> list[str]:
    lines = [
        f"{len(result.canceled)} cancelled, {len(result.left)} left open, {len(result.foreign)} of others untouched"
    ]
    if result.doubt:
        lines += [f"problem: {each}" for each in dict.fromkeys(result.errors[-SHOWN:])]
        lines.append(f"MAY BE LEFT OPEN: {result.doubt}")
    return lines


async def _halt_stored(config: Config, accounts: list[str], actor: str, reason: str) -> str:
    """Halt the accounts in the store, where it still works, so that a running kernel sends nothing more. Returns why
    one may send all the same, or ""."""
    url = ""
    try:
        url = config.store_url
        async with asyncio.timeout(STORE_S):
            await _halt(url, accounts, actor, reason)
    except (ExchangeKernelError, OSError) as error:
        why = str(error) or f"no answer in {STORE_S:g} s"
    else:
        click.echo("halted in the store: running kernels send no more orders")
        return ""
    click.echo(f"not halted in the store: {clean(why)}")
    if url.startswith("sqlite"):
        # Its kernels run on this machine, and see the journal within a second.
        await asyncio.sleep(JOURNAL_SEEN_S)
        return ""
    return "the store cannot be reached from here: a kernel that reaches it may still be sending; stop it"


async def _halt(url: str, accounts: list[str], actor: str, reason: str) -> None:
    missing = missing_file(url)
    if missing:
        raise StoreUnavailable(f"there is no store at {missing}")
    from exchange_kernel.state.sql import SqlIntentStore

    store = SqlIntentStore(url)
    await store.open()
    try:
        stored = await store.accounts()
        for name in accounts:
            if name in stored:
                await store.execute(SetHalt(name, True, actor, f"panic: {reason}"[:200]))
    finally:
        await store.close()
