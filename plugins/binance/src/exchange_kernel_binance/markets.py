"""exchangeInfo of thousands of symbols, read without holding up the event loop.

The answer is cut into its symbols first, which is quick, and each symbol is decoded by itself, a few at a time.

Sources: rest-api.md (Exchange information), USD-M futures (Exchange Information).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, TypeVar

import msgspec

from exchange_kernel.errors import Unavailable
from exchange_kernel.schema import MarketCapabilities
from exchange_kernel.value import Value
from exchange_kernel_binance.filters import Asked, Rule, rule_of

T = TypeVar("T")
SLICE = 32
"""Symbols that are read before others may go on."""


class _Filters(msgspec.Struct):
    symbol: str
    status: str
    filters: list[msgspec.Raw]


class _Whole(msgspec.Struct):
    symbols: list[msgspec.Raw]
    rateLimits: list[dict[str, Any]] = []


_cut = msgspec.json.Decoder(_Whole).decode
_read_symbol = msgspec.json.Decoder(_Filters).decode


class ExchangeInfo(Value, frozen=True):
    """An answer of exchangeInfo, cut: ``symbols`` are not decoded yet. ``rate_limits``: as Binance lists them."""

    symbols: tuple[msgspec.Raw, ...]
    rate_limits: tuple[Mapping[str, Any], ...]


class SymbolRules(Value, frozen=True):
    """The filters of one symbol, by Binance's name of it."""

    symbol: str
    status: str
    rules: tuple[Rule, ...]

    def rule(self, kind: type[T]) -> T | None:
        """The filter of this type, where the symbol has one."""
        return next((each for each in self.rules if isinstance(each, kind)), None)

    def breaches(self, asked: Asked) -> list[tuple[str, str]]:
        """(filter, what it refuses) of every filter that refuses the order."""
        found = ((each.name, each.breach(asked)) for each in self.rules)
        return [(name, text) for name, text in found if text]


def cut(body: bytes) -> ExchangeInfo:
    """Cut an answer into its symbols. Raises ValueError where it is not whole."""
    whole = _cut(body)
    return ExchangeInfo(tuple(whole.symbols), tuple(whole.rateLimits))


def rules_of_symbol(raw: msgspec.Raw) -> SymbolRules:
    """One symbol's filters. Raises ValueError where they are not whole."""
    symbol = _read_symbol(raw)
    return SymbolRules(symbol.symbol, symbol.status, tuple(rule_of(each) for each in symbol.filters))


@cache
def offering(native: tuple[str, ...], partial: tuple[tuple[str, str], ...]) -> MarketCapabilities:
    """What a symbol offers: one object for all that offer the same. There are thousands of symbols and a handful of
    offers; an object each would bring the garbage collector to look through everything while they are read."""
    return MarketCapabilities.of(native, dict(partial))


async def in_slices(info: ExchangeInfo, read: Callable[[msgspec.Raw], T | None], size: int = SLICE) -> list[T]:
    """What ``read`` makes of each symbol, without the Nones; others may go on after every ``size`` of them.

    Raises Unavailable where a symbol is not whole.
    """
    found: list[T] = []
    for number, raw in enumerate(info.symbols, 1):
        try:
            made = read(raw)
        except (ValueError, KeyError):
            raise Unavailable("exchangeInfo: a symbol is not whole") from None
        if made is not None:
            found.append(made)
        if number % size == 0:
            await asyncio.sleep(0)
    return found
