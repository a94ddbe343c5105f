"""What an on-chain account says about itself in ``exk.yaml``, checked. Secrets are not in here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from exchange_kernel.errors import ConfigError
from exchange_kernel.schema.numbers import amount as checked
from exchange_kernel.value import Value
from exchange_kernel_evm.abi import checked_address
from exchange_kernel_evm.chains import Chain, chain_of
from exchange_kernel_evm.endpoint import endpoint_name
from exchange_kernel_evm.fees import Limits

__all__ = ["SETTINGS", "EvmConfig"]

GWEI, ETHER = 10**9, 10**18
SETTINGS = (
    "address",
    "broadcast",
    "chain",
    "confirmations",
    "keystore",
    "max_fee_gwei",
    "max_tip_gwei",
    "max_value_eth",
    "max_value_eth_per_day",
    "poll_ms",
    "rpc",
    "spending",
    "timeout_s",
    "ws",
)
"""Every setting there is for any on-chain venue; a venue adds its own."""


class EvmConfig(Value, frozen=True):
    """``rpc``: nodes to read from, in order; ``broadcast``: where transactions go (() = the same); ``ws``: new blocks.

    ``address``: which the key must sign for; "" for whatever it does. ``limits``: of fees. ``max_value`` and
    ``max_value_per_day``: wei a transaction, and a UTC day's transactions, may send along; None: no limit.
    ``spending``: the file that keeps the day's sum; needed by, and only by, a limit of the day.
    """

    chain: Chain
    rpc: tuple[str, ...]
    broadcast: tuple[str, ...] = ()
    ws: str = ""
    address: str = ""
    keystore: str = ""
    limits: Limits = Limits()
    max_value: int | None = None
    max_value_per_day: int | None = None
    spending: str = ""
    timeout_s: float = 5.0
    poll_ms: int = 1_000

    @classmethod
    def of(cls, config: Mapping[str, Any], extra: Sequence[str] = ()) -> EvmConfig:
        """From an account's configuration; ``extra``: names of the venue's own settings.

        Raises ConfigError with the key, the value and the rule; Unsupported for a chain that is not offered.
        """
        known = sorted({*SETTINGS, *extra})
        for key in config:
            if key not in known:
                raise ConfigError(key, config[key], "is no setting of this venue", f"there are {', '.join(known)}")
        chain = chain_of(config.get("chain", "mainnet"), confirmations=config.get("confirmations"))
        spending = _text("spending", config.get("spending", ""))
        if bool(spending) != (config.get("max_value_eth_per_day") is not None):
            raise ConfigError(
                "spending",
                spending,
                "goes with max_value_eth_per_day: the day's sum must outlive the process",
                "set both, or neither",
            )
        default = Limits()
        return cls(
            chain,
            _urls("rpc", config.get("rpc", ())),
            _urls("broadcast", config.get("broadcast", ())),
            _text("ws", config.get("ws", "")),
            checked_address("address", config["address"]) if "address" in config else "",
            _text("keystore", config.get("keystore", "")),
            Limits(
                _scaled("max_fee_gwei", config.get("max_fee_gwei"), GWEI) or default.max_fee,
                _scaled("max_tip_gwei", config.get("max_tip_gwei"), GWEI) or default.max_tip,
            ),
            _scaled("max_value_eth", config.get("max_value_eth"), ETHER),
            _scaled("max_value_eth_per_day", config.get("max_value_eth_per_day"), ETHER),
            spending,
            _seconds(config.get("timeout_s", 5)),
            _poll(config.get("poll_ms"), chain),
        )


def _urls(key: str, value: Any) -> tuple[str, ...]:
    urls = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list | tuple) else None
    if urls is None or not all(isinstance(each, str) for each in urls):
        raise ConfigError(key, type(value).__name__, "must be an address, or a list of addresses")
    if len(set(urls)) != len(urls):
        raise ConfigError(key, [endpoint_name(each) for each in urls], "names a node twice")
    if key == "rpc" and not urls:
        raise ConfigError(key, "", "is required: the address of a node")
    return urls


def _text(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ConfigError(key, type(value).__name__, "must be text")
    return value


def _scaled(key: str, value: Any, unit: int) -> int | None:
    if value is None:
        return None
    number = Decimal(0) if isinstance(value, float) else checked(key, value, error=ConfigError)
    if not 0 < number < 10**9 or int(number * unit) == 0:
        raise ConfigError(key, value, "must be a number above 0 and below 1000000000, as text or a whole number")
    return int(number * unit)


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 60:
        raise ConfigError("timeout_s", value, "must be a number of seconds above 0, at most 60")
    return float(value)


def _poll(value: Any, chain: Chain) -> int:
    if value is None:
        return max(250, chain.block_ms // 4)
    if isinstance(value, bool) or not isinstance(value, int) or not 10 <= value <= 60_000:
        raise ConfigError("poll_ms", value, "must be a whole number from 10 to 60000")
    return value
