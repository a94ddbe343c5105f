"""What an API key may do, as Binance says, and which keys are not taken.

Source: Wallet, Get API Key Permission (GET /sapi/v1/account/apiRestrictions). The testnet and the demo have no /sapi:
there nobody knows, and nothing is refused.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from exchange_kernel.errors import ConfigError, NotAuthorized
from exchange_kernel_binance.config import BinanceConfig
from exchange_kernel_binance.session import Session, decoder

_PATH = ("GET", "sapi", "account/apiRestrictions")
TRADES = {
    "spot": "enableSpotAndMarginTrading",
    "margin_cross": "enableSpotAndMarginTrading",
    "margin_isolated": "enableSpotAndMarginTrading",
    "usdm": "enableFutures",
}
"""Which permission the orders of a market need."""


class Restrictions(msgspec.Struct):
    """The answer; a permission that it does not name is not there."""

    enableReading: bool
    ipRestrict: bool = False
    enableWithdrawals: bool = False
    enableInternalTransfer: bool = False
    permitsUniversalTransfer: bool = False
    enableSpotAndMarginTrading: bool = False
    enableFutures: bool = False


_read = decoder(Restrictions)


def told_by(config: BinanceConfig) -> bool:
    """Can it be asked there what the key may do?"""
    return config.network == "live" or (config.network == "custom" and "spot" in config.addresses)


async def rights(session: Session, config: BinanceConfig, *, observe: bool = False) -> Mapping[str, bool]:
    """What the key may do; empty where nobody knows.

    Raises ConfigError for a key that may withdraw where that is not allowed, NotAuthorized for one that may not trade
    (unless ``observe``: it is only to be read with), and what reads raise.
    """
    if not told_by(config):
        return {}
    found = await session.read(_PATH, (), _read)
    return taken(found, config.market, allow_withdraw=config.allow_withdraw_key, observe=observe)


def taken(found: Restrictions, market: str, *, allow_withdraw: bool, observe: bool = False) -> Mapping[str, bool]:
    """What such a key may do in this market. Raises ConfigError, NotAuthorized for one that is not taken."""
    if found.enableWithdrawals and not allow_withdraw:
        raise ConfigError(
            "secrets.api_key",
            "(not shown)",
            "may withdraw (enableWithdrawals), which nothing here ever does",
            "use a key that may not, or write allow_withdraw_key: true",
        )
    permission = TRADES[market]
    may_trade: bool = getattr(found, permission)
    if not may_trade and not observe:
        raise NotAuthorized(
            f"the key may not trade here: its permission {permission} is off, and Binance refuses such orders (-2015)",
            code="-2015",
        )
    return {
        "read": found.enableReading,
        "trade": may_trade,
        "transfer": found.enableInternalTransfer or found.permitsUniversalTransfer,
        "withdraw": found.enableWithdrawals,
        "from_any_address": not found.ipRestrict,
    }
