"""Everything an account says about its Uniswap besides what any on-chain venue is told, checked against its chain."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from exchange_kernel.errors import ConfigError, InvalidOrder, Unsupported
from exchange_kernel.schema.numbers import amount as checked
from exchange_kernel.value import Value
from exchange_kernel_evm.chains import Chain
from exchange_kernel_evm.tokens import Allow
from exchange_kernel_evm.tokens import Token as Held
from exchange_kernel_uniswap.config import Setup, known_router
from exchange_kernel_uniswap.deployment import MAINNET, SIGNED_VERSIONS, Deployment

__all__ = ["DEPLOYMENTS", "SETTINGS", "UniswapConfig"]

DEPLOYMENTS: Mapping[int, Deployment] = {MAINNET.chain_id: MAINNET}
"""Where Uniswap is known, by chain id."""

SETTINGS = (
    "allow_ahead",
    "dedupe",
    "max_quote_age_s",
    "pools",
    "signed_permits",
    "symbols",
    "tokens",
    "universal_router",
    "universal_router_version",
    "wait_s",
)
_RESET_FIRST = frozenset({"0xdAC17F958D2ee523a2206206994597C13D831ec7"})
"""Tokens of mainnet that refuse to change an allowance which is not 0: Tether (TetherToken.sol, ``approve``)."""
_EXACT = Allow()
_MOST_AHEAD = Decimal(10) ** 40


class UniswapConfig(Value, frozen=True):
    """``setup``: tokens, pools and symbols. ``ahead``: by token address, up to how many units a spender may be allowed
    ahead of what is needed. ``max_quote_age_s``: the newest block must not be older. ``wait_s``: how long a swap may
    wait to be mined, where the order itself says nothing shorter. ``signed_permits``: an order brings the Universal
    Router's allowance inside Permit2 itself, signed, where nobody else draws on it; else that is a transaction of its
    own. ``dedupe``: the router itself refuses to execute an order a second time."""

    setup: Setup
    ahead: dict[str, int]
    max_quote_age_s: int = 90
    wait_s: int = 600
    signed_permits: bool = True
    dedupe: bool = False

    @classmethod
    def of(cls, config: Mapping[str, Any], chain: Chain) -> UniswapConfig:
        """Raises ConfigError with the key, the value and the rule; Unsupported for a chain without a deployment."""
        at = DEPLOYMENTS.get(chain.id)
        if at is None:
            raise Unsupported(f"chain {chain.name}", "where Uniswap stands there is not in the table of deployments")
        router, version = config.get("universal_router"), config.get("universal_router_version")
        if router is not None or version is not None:
            where = at.universal_router if router is None else router
            at = known_router(at, where, at.universal_router_version if version is None else version)
        setup = Setup.of(config, at)
        for name, token in setup.tokens.items():
            if token.native != (name == chain.native):
                rule = f"is the chain's own coin, which is called {chain.native} here"
                named = f"is the name of the chain's own coin: write {chain.native}: native"
                raise ConfigError(f"tokens.{name}", token.address, rule if token.native else named)
        pairs: dict[frozenset[str], str] = {}
        for name, market in setup.markets.items():
            other = pairs.setdefault(frozenset((market.base.address, market.quote.address)), name)
            if other != name:
                raise ConfigError(
                    "symbols", name, f"is {other} the other way round", "list one of them: both sides trade"
                )
        return cls(
            setup,
            _ahead(config.get("allow_ahead", {}), setup),
            _seconds("max_quote_age_s", config.get("max_quote_age_s", 90), 3_600),
            _seconds("wait_s", config.get("wait_s", 600), 86_400),
            _yes("signed_permits", config.get("signed_permits", True)),
            _dedupe(config.get("dedupe", "number"), setup.at),
        )

    @property
    def held(self) -> tuple[Held, ...]:
        """The tokens as the frame knows them; the native coin is not one of them."""
        return tuple(self.held_as(each.address) for each in self.setup.tokens.values() if not each.native)

    def held_as(self, address: str) -> Held:
        """One of them."""
        token = next(each for each in self.setup.tokens.values() if each.address == address)
        return Held(address, token.symbol, token.decimals, address in _RESET_FIRST)

    def allow(self, address: str) -> Allow:
        """How far spenders of a token are trusted."""
        ahead = self.ahead.get(address)
        return _EXACT if ahead is None else Allow("bounded", ahead)


def _ahead(given: object, setup: Setup) -> dict[str, int]:
    if not isinstance(given, Mapping):
        raise ConfigError("allow_ahead", given, "must map names of tokens to amounts")
    out = {}
    for name, value in given.items():
        field = f"allow_ahead.{name}"
        token = setup.tokens.get(name)
        if token is None or token.native:
            raise ConfigError(field, value, "is no token of the list that is allowed to anybody")
        if isinstance(value, float):
            raise ConfigError(field, value, "must be an amount above 0, as text or a whole number")
        amount = checked(field, value, error=ConfigError)
        if amount >= _MOST_AHEAD:
            raise ConfigError(field, value, f"must be below {_MOST_AHEAD:f}")
        try:
            out[token.address] = token.units(field, amount)
        except InvalidOrder as error:
            raise ConfigError(field, value, error.rule, error.hint) from None
    return out


def _seconds(key: str, value: object, most: int) -> int:
    if type(value) is not int or not 1 <= value <= most:
        raise ConfigError(key, value, f"must be a whole number of seconds from 1 to {most}")
    return value


def _dedupe(value: object, at: Deployment) -> bool:
    if value not in ("number", "onchain"):
        raise ConfigError("dedupe", value, "must be number or onchain", "number: each order has one account number")
    if value == "onchain" and at.universal_router_version not in SIGNED_VERSIONS:
        rule = f"needs a Universal Router with executeSigned, and {at.universal_router_version} has none"
        hint = f"configure universal_router and universal_router_version ({', '.join(SIGNED_VERSIONS)})"
        raise ConfigError("dedupe", value, rule, hint)
    return value == "onchain"


def _yes(key: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(key, value, "must be true or false")
    return value
