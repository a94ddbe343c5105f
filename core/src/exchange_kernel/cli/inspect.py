"""What works of an account, and what is missing: each finding with what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

import click

from exchange_kernel.cli.output import clean
from exchange_kernel.cli.visit import Visit, fault, patiently, visit
from exchange_kernel.config import AccountConfig
from exchange_kernel.errors import ConfigError, NotAuthorized, Unavailable
from exchange_kernel.plugins import Plugins
from exchange_kernel.plugins.honesty import contradictions
from exchange_kernel.plugins.specs import Finding, Level

MAX_OFFSET_MS = 1_000
_MARKS = {Level.OK: "ok  ", Level.WARNING: "WARN", Level.FAILURE: "FAIL"}
_OK, _WARNING, _FAILURE = Level.OK, Level.WARNING, Level.FAILURE


async def inspect(account: AccountConfig, plugins: Plugins, *, offline: bool = False) -> list[Finding]:
    """Look at one account. Raises nothing for what is wrong with it. ``offline``: without asking its venue."""
    found = [*_secrets(account), *_plugin(account, plugins), *_limits(account)]
    if offline or any(each.level is _FAILURE and each.subject != "limits" for each in found):
        return found
    try:
        async with visit(account, plugins) as open_account:
            found += _opened(open_account)
            found += await _markets(open_account)
            found += await _reads(open_account)
    except Exception as error:  # noqa: BLE001 - whatever an adapter raises: it is what is to be told
        found.append(Finding(_FAILURE, "opened", fault(error), _advice(error)))
    return found


def report(name: str, found: Sequence[Finding]) -> None:
    """Print what was found."""
    click.echo(clean(name))
    for each in found:
        hint = f"; {each.hint}" if each.hint and each.level is not _OK else ""
        click.echo(f"  {_MARKS[each.level]}  {clean(each.subject)}: {clean(each.text)}{clean(hint)}")


def row(each: Finding) -> dict[str, object]:
    """A finding for programs."""
    return {"level": each.level, "subject": each.subject, "text": each.text, "hint": each.hint}


def well(found: Sequence[Finding]) -> bool:
    """Was nothing found that keeps it from working?"""
    return all(each.level is not _FAILURE for each in found)


def _secrets(account: AccountConfig) -> list[Finding]:
    found = []
    for name, reference in account.secrets.items():
        try:
            reference.resolve(f"accounts.{account.name}.secrets.{name}")
        except ConfigError as error:
            found.append(Finding(_FAILURE, "secrets", str(error)))
    if account.secrets and not found:
        found.append(Finding(_OK, "secrets", f"{', '.join(account.secrets)} can be read"))
    return found


def _plugin(account: AccountConfig, plugins: Plugins) -> list[Finding]:
    found = []
    try:
        plugin = plugins.venue(account.venue, account.plugin).plugin
        found.append(Finding(_OK, "plugin", f"{account.venue} is of {plugin.distribution} {plugin.version}"))
        for number, use in enumerate(account.admission):
            field = f"accounts.{account.name}.admission[{number}]"
            plugins.admission(use.name, use.plugin, field)
            use.resolve_secrets(field)
    except ConfigError as error:
        found.append(Finding(_FAILURE, "plugin", str(error)))
    return found


def _limits(account: AccountConfig) -> list[Finding]:
    if account.mode != "live" or account.limits.complete:
        return []
    text = "a live account needs max_order_notional, max_open_notional and order_count"
    return [Finding(_FAILURE, "limits", text, f"set all three in accounts.{account.name}.limits")]


def _opened(at: Visit) -> list[Finding]:
    account, opened = at.account, at.opened
    found = [Finding(_OK, "opened", f"{opened.identity}, which its venue says is {opened.mode}")]
    if account.mode and not account.observed and account.mode != opened.mode:
        hint = "set the mode to what it is, or connect to the other venue"
        found.append(Finding(_FAILURE, "mode", f"the configuration says {account.mode}", hint))
    if account.observed:
        found.append(Finding(_OK, "mode", "it is only observed: nothing is ever sent"))
    elif opened.mode == "live" and account.mode != "live" and not account.limits.complete:
        text = "a live account needs max_order_notional, max_open_notional and order_count"
        found.append(Finding(_FAILURE, "limits", text, f"set all three in accounts.{account.name}.limits"))
    found += _rights(at)
    offset = abs(opened.clock_offset) - opened.clock_error
    said = f"{opened.clock_offset:+d} ms from this machine's, give or take {opened.clock_error} ms"
    late = offset > MAX_OFFSET_MS
    found.append(Finding(_WARNING if late else _OK, "clock", said, "keep this machine's clock right, by NTP"))
    return found


def _rights(at: Visit) -> list[Finding]:
    rights = at.opened.rights
    if not rights:
        return [Finding(_OK, "rights", "this venue does not tell what its credentials allow")]
    text = ", ".join(f"{name}: {'yes' if allowed else 'no'}" for name, allowed in rights.items())
    found = [Finding(_OK, "rights", text)]
    if not rights.get("read", True):
        found.append(Finding(_FAILURE, "rights", "the credentials may not read", "allow it where they were made"))
    if not rights.get("trade", True) and not at.account.observed:
        hint = "allow it where they were made, or write mode: observe"
        found.append(Finding(_FAILURE, "rights", "the credentials may not trade here", hint))
    if rights.get("withdraw", False):
        hint = "use credentials that may not: nothing here ever withdraws"
        found.append(Finding(_WARNING, "rights", "the credentials may withdraw", hint))
    return found


async def _markets(at: Visit) -> list[Finding]:
    listed = await patiently(at.adapter.markets())
    active = {each.symbol_id for each in listed if each.active}
    found = [Finding(_OK, "markets", f"{len(listed)} listed, {len(active)} of them open now")]
    for symbol in sorted((at.account.limits.symbols or frozenset()) - {each.symbol_id for each in listed}):
        hint = f"exk symbols -A {at.account.name} lists them"
        found.append(Finding(_FAILURE, "limits", f"symbols names {symbol}, which is not listed", hint))
    found += [each for each in contradictions(at.bare, listed) if each.level is not _OK]
    if at.account.dead_man is not None and not any(each.capabilities.offers("dead_man") for each in listed):
        found.append(Finding(_FAILURE, "dead_man", "no market of this account has a dead-man switch", "leave it out"))
    return found


async def _reads(at: Visit) -> list[Finding]:
    found: list[Finding] = []
    try:
        state = await at.state()
        held = [each.asset for each in state.balances if each.total]
        shown = ", ".join(held[:8]) + (f" and {len(held) - 8} more" if len(held) > 8 else "")
        found.append(Finding(_OK, "balances", shown or "nothing is held"))
        positions = sum(1 for each in state.positions if each.amount)
        found += [Finding(_OK, "positions", f"{positions} open")] if positions else []
        found += [Finding(_WARNING, each.kind, each.text) for each in state.notices or ()]
        orders = await at.orders()
    except Exception as error:  # noqa: BLE001 - whatever an adapter raises: it is what is to be told
        return [*found, Finding(_FAILURE, "reads", fault(error), _advice(error))]
    ours = sum(1 for each in orders if each.key is not None)
    return [*found, Finding(_OK, "orders", f"{len(orders)} open: {ours} of ours, {len(orders) - ours} of others")]


def _advice(error: BaseException) -> str:
    if isinstance(error, NotAuthorized):
        return "check the credentials, what they allow, and from which addresses they may be used"
    if isinstance(error, (Unavailable, TimeoutError, OSError)):
        return "check the addresses in its config, and this machine's network"
    return ""
