"""Whether an adapter is what it says it is: its methods against the contract, its claims against its methods."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Sequence

from exchange_kernel.errors import ConfigError
from exchange_kernel.plugins.interrogate import PluginFault, guarded
from exchange_kernel.plugins.specs import Finding, Level
from exchange_kernel.schema import SymbolMetadata
from exchange_kernel.venue import VenueAdapter

log = logging.getLogger("exchange_kernel.plugins")

METHODS = ("open", "close", "markets", "check", "prepare", "submit", "lookup", "open_orders", "account", "events")
"""The ten methods of every adapter."""

PROTOCOLS = {"prices": "prices", "quotes": "quote", "history": "history", "dead_man": "arm"}
"""Features that stand for an optional protocol, and the method it has."""

NEEDS_ONE_OF = {
    "trailing_activation": ("trailing_abs", "trailing_pct"),
    "trigger_limit": ("stop_loss", "take_profit", "trailing_abs", "trailing_pct"),
    "amend_keeps_queue": ("amend_price", "amend_up", "amend_down"),
    "replay": ("stream",),
}
"""Features that say something about others, and mean nothing without one of those."""

SHOWN = 5
_PLAIN = frozenset(("check", "events", "prices"))


def shape(adapter: object) -> list[Finding]:
    """What is wrong with the adapter's methods, as far as it can be seen without calling them."""
    return list(_shape(adapter))


def contradictions(adapter: object, markets: Sequence[object]) -> list[Finding]:
    """Where the adapter and what it says about its markets cannot both be true. Pure; calls nothing of the adapter.

    A FAILURE keeps the account from starting. A WARNING is an offer that is there and not declared."""
    return [*_shape(adapter), *_markets(adapter, markets)]


def vet(account: str, venue: str, adapter: VenueAdapter, markets: Sequence[SymbolMetadata]) -> None:
    """Raises ConfigError for an adapter that contradicts itself, with all of it; logs what is merely odd."""
    try:
        found = guarded("", lambda: contradictions(adapter, markets))
    except PluginFault as fault:
        # Even to be looked at takes code of the adapter's: attributes, and a sequence of its own.
        found = [Finding(Level.FAILURE, "adapter", f"it cannot be looked at: {fault}")]
    kind = f"{type(adapter).__module__}.{type(adapter).__qualname__}"
    for each in found:
        if each.level is Level.WARNING:
            log.warning("account %s: %s: %s: %s", account, kind, each.subject, each.text)
    lies = [f"{each.subject}: {each.text}" for each in found if each.level is Level.FAILURE]
    if lies:
        more = f"; and {len(lies) - SHOWN} more" if len(lies) > SHOWN else ""
        rule = f"its adapter {kind} contradicts itself: {'; '.join(lies[:SHOWN])}{more}"
        raise ConfigError(f"accounts.{account}.venue", venue, rule, "tell the plugin's author")


def _shape(adapter: object) -> Iterator[Finding]:
    for name in METHODS:
        method = getattr(adapter, name, None)
        if not callable(method):
            yield Finding(Level.FAILURE, name, "the adapter has no such method, and every adapter needs it")
        else:
            yield from _kind(name, method)


def _kind(name: str, method: object) -> Iterator[Finding]:
    """Refuses only what is certain: a method that is neither may be wrapped by something that hides what it is."""
    if name in _PLAIN and inspect.iscoroutinefunction(method):
        what = "a plain function" if name == "check" else "an asynchronous iterator, not a coroutine that returns one"
        yield Finding(Level.FAILURE, name, f"it is a coroutine function, and must be {what}")
    elif name not in _PLAIN and (inspect.isgeneratorfunction(method) or inspect.isasyncgenfunction(method)):
        yield Finding(Level.FAILURE, name, "it is a generator, and must be a coroutine function")


def _markets(adapter: object, markets: Sequence[object]) -> Iterator[Finding]:
    declared: dict[str, str] = {}
    seen: set[str] = set()
    flawed: set[str] = set()
    for number, market in enumerate(markets):
        if not isinstance(market, SymbolMetadata):
            text = f"number {number} is {type(market).__name__}, and must be SymbolMetadata"
            yield Finding(Level.FAILURE, "markets", text)
            continue
        if market.symbol_id in seen:
            yield Finding(Level.FAILURE, "markets", f"{market.symbol_id} is there twice")
        seen.add(market.symbol_id)
        offered = frozenset(name for name in (*PROTOCOLS, *NEEDS_ONE_OF) if market.capabilities.offers(name))
        for name in offered:
            declared.setdefault(name, market.symbol_id)
        for name in offered & NEEDS_ONE_OF.keys() - flawed:
            if not any(market.capabilities.offers(other) for other in NEEDS_ONE_OF[name]):
                flawed.add(name)
                others = " or ".join(NEEDS_ONE_OF[name])
                yield Finding(Level.FAILURE, name, f"{market.symbol_id} declares it without {others}")
    for name, method in PROTOCOLS.items():
        found = getattr(adapter, method, None)
        if name in declared and not callable(found):
            yield Finding(Level.FAILURE, name, f"{declared[name]} declares it, and the adapter has no method {method}")
        elif name in declared:
            yield from _kind(method, found)
        elif callable(found) and seen:
            yield Finding(Level.WARNING, name, f"the adapter has the method {method}, and no market declares it")
