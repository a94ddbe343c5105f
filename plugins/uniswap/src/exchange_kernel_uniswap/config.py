"""What an account says about its Uniswap: tokens by address, the pools to trade in, and the symbols it offers.

::

    tokens:
      WETH: {address: "0xC02a…6Cc2", decimals: 18}
      USDC: {address: "0xA0b8…eB48", decimals: 6}
      ETH: native
    pools:
      - {version: v3, tokens: [WETH, USDC], fee: 500}
      - {version: v2, tokens: [WETH, USDC]}
      - {version: v4, tokens: [ETH, USDC], fee: 500, tick_spacing: 10}
    symbols: [WETH/USDC, ETH/USDC]
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from exchange_kernel.errors import ConfigError, UnknownSymbol
from exchange_kernel.schema.fields import close_to
from exchange_kernel.schema.numbers import MAX_FRACTION_DIGITS
from exchange_kernel.value import Value, revised
from exchange_kernel_uniswap.addresses import NATIVE, address
from exchange_kernel_uniswap.deployment import ROUTER_VERSIONS, Deployment
from exchange_kernel_uniswap.pools import Pool, Version, v2_pool, v3_pool, v4_pool
from exchange_kernel_uniswap.prices import PriceScale
from exchange_kernel_uniswap.routes import Route, routes_between
from exchange_kernel_uniswap.tokens import Token

__all__ = ["MAX_POOLS", "Market", "Setup", "known_router"]

MAX_POOLS = 64
_SYMBOL = re.compile(r"[A-Za-z0-9._-]{1,24}").fullmatch
_TOKEN_KEYS = frozenset({"address", "decimals"})
_POOL_KEYS = {
    Version.V2: frozenset({"version", "tokens"}),
    Version.V3: frozenset({"version", "tokens", "fee"}),
    Version.V4: frozenset({"version", "tokens", "fee", "tick_spacing"}),
}
_ETHER_DECIMALS = 18


class Market(Value, frozen=True):
    """One symbol: its tokens, every route that sells the base and that buys it, and the v3 pools that can keep its
    post-only orders, lowest fee first."""

    symbol: str
    base: Token
    quote: Token
    sells: tuple[Route, ...]
    buys: tuple[Route, ...]
    makers: tuple[Pool, ...]
    scale: PriceScale


class Setup(Value, frozen=True):
    """A checked configuration on one deployment."""

    at: Deployment
    tokens: dict[str, Token]
    pools: tuple[Pool, ...]
    markets: dict[str, Market]

    @classmethod
    def of(cls, config: Mapping[str, Any], at: Deployment) -> Setup:
        """Raises ConfigError naming the key, the value and the rule."""
        tokens = _tokens(config.get("tokens"), at)
        pools = _pools(config.get("pools"), tokens, at)
        names = _listed("symbols", config.get("symbols"))
        markets: dict[str, Market] = {}
        for name in names:
            market = _market(name, tokens, pools, at)
            if market.symbol in markets:
                raise ConfigError("symbols", name, "is listed twice")
            markets[market.symbol] = market
        return cls(at, tokens, pools, markets)

    def market(self, symbol: str) -> Market:
        """Raises UnknownSymbol."""
        found = self.markets.get(symbol)
        if found is None:
            guess = close_to(symbol, self.markets)
            hint = f"did you mean {guess}?" if guess else "list it under symbols"
            raise UnknownSymbol("symbol_id", symbol, "is not a symbol of this account", hint)
        return found


def _listed(field: str, value: object) -> Sequence[Any]:
    if not isinstance(value, list | tuple) or not value:
        raise ConfigError(field, value, "must be a list of at least one")
    return value


def _tokens(given: object, at: Deployment) -> dict[str, Token]:
    if not isinstance(given, Mapping) or not given:
        raise ConfigError("tokens", given, "must map names to addresses and decimals")
    tokens: dict[str, Token] = {}
    seen: dict[str, str] = {}
    for name, entry in given.items():
        if not isinstance(name, str) or not _SYMBOL(name):
            raise ConfigError("tokens", name, "must be named with 1 to 24 of A-Z a-z 0-9 . _ -")
        token = _token(name, entry)
        if token.address in seen:
            raise ConfigError(f"tokens.{name}", token.address, f"is already {seen[token.address]}")
        if token.address == at.weth and token.decimals != _ETHER_DECIMALS:
            raise ConfigError(f"tokens.{name}.decimals", token.decimals, "wrapped ether has 18")
        seen[token.address] = name
        tokens[name] = token
    return tokens


def _token(name: str, entry: object) -> Token:
    if entry == "native":
        return Token(name, NATIVE, _ETHER_DECIMALS)
    if not isinstance(entry, Mapping) or set(entry) != _TOKEN_KEYS:
        raise ConfigError(f"tokens.{name}", entry, "needs address and decimals", 'or is "native" for ether itself')
    decimals = entry["decimals"]
    if type(decimals) is not int or not 0 <= decimals <= MAX_FRACTION_DIGITS:
        raise ConfigError(f"tokens.{name}.decimals", decimals, f"must be an int from 0 to {MAX_FRACTION_DIGITS}")
    where = address(f"tokens.{name}.address", entry["address"])
    if where == NATIVE:
        raise ConfigError(f"tokens.{name}.address", where, "is no token", 'write "native" for ether itself')
    return Token(name, where, decimals)


def _pools(given: object, tokens: Mapping[str, Token], at: Deployment) -> tuple[Pool, ...]:
    entries = _listed("pools", given)
    if len(entries) > MAX_POOLS:
        raise ConfigError("pools", len(entries), f"are more than {MAX_POOLS}")
    pools: list[Pool] = []
    for place, entry in enumerate(entries):
        field = f"pools[{place}]"
        if not isinstance(entry, Mapping) or entry.get("version") not in tuple(Version):
            raise ConfigError(field, entry, f"needs a version: {', '.join(Version)}")
        version = Version(entry["version"])
        if set(entry) != _POOL_KEYS[version]:
            raise ConfigError(
                field, sorted(map(str, entry)), f"a pool of {version} has {', '.join(sorted(_POOL_KEYS[version]))}"
            )
        pair = entry["tokens"]
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise ConfigError(f"{field}.tokens", pair, "must be two names of tokens")
        one, other = (_named(f"{field}.tokens", name, tokens).address for name in pair)
        if version is Version.V2:
            pool = v2_pool(at, one, other)
        elif version is Version.V3:
            pool = v3_pool(at, one, other, entry["fee"])
        else:
            pool = v4_pool(one, other, entry["fee"], entry["tick_spacing"])
        if pool in pools:
            raise ConfigError(field, entry, "is configured twice")
        pools.append(pool)
    return tuple(pools)


def _named(field: str, name: object, tokens: Mapping[str, Token]) -> Token:
    token = tokens.get(name) if isinstance(name, str) else None
    if token is None:
        raise ConfigError(field, name, "is not in the token list", f"there are {', '.join(tokens)}")
    return token


def _market(name: object, tokens: Mapping[str, Token], pools: tuple[Pool, ...], at: Deployment) -> Market:
    parts = name.split("/") if isinstance(name, str) else []
    if len(parts) != 2:
        raise ConfigError("symbols", name, "must be BASE/QUOTE, two names of tokens")
    base, quote = (_named("symbols", part, tokens) for part in parts)
    ends = [at.weth if token.native else token.address for token in (base, quote)]
    if ends[0] == ends[1]:
        raise ConfigError(
            "symbols", name, "has one token twice", "ETH and WETH are exchanged by wrapping, not by trading"
        )
    sells = routes_between(pools, base.address, quote.address, at.weth)
    if not sells:
        raise ConfigError("symbols", name, "cannot be traded: no route of at most three of these pools joins the two")
    buys = routes_between(pools, quote.address, base.address, at.weth)
    makers = (pool for pool in pools if pool.version is Version.V3 and {pool.token0, pool.token1} == set(ends))
    cheapest = tuple(sorted(makers, key=lambda pool: pool.fee))
    return Market(str(name), base, quote, sells, buys, cheapest, PriceScale.of(base, quote, at.weth))


def known_router(at: Deployment, where: object, version: object) -> Deployment:
    """``at`` with another Universal Router. Raises ConfigError for a release whose encoding is not known."""
    if not isinstance(version, str) or version not in ROUTER_VERSIONS:
        raise ConfigError("universal_router_version", version, f"is not known; known are {', '.join(ROUTER_VERSIONS)}")
    return revised(at, universal_router=address("universal_router", where), universal_router_version=str(version))
