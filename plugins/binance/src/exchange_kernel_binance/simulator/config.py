"""What the simulator is made of: symbols, accounts, the market maker. Read from TOML or made in code."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, TypeVar

from exchange_kernel_binance.simulator.futures.contracts import Contract
from exchange_kernel_binance.simulator.spot.symbols import SpotSymbol
from exchange_kernel_binance.simulator.wire.keys import ALL_PERMISSIONS

T = TypeVar("T")


class BadConfig(ValueError):
    """A setting that can't be; the text names it."""


@dataclass(slots=True)
class AccountConfig:
    """A customer. Balances are amounts by asset; without a `key` one is made from the seed."""

    name: str
    key: str = ""
    secret: str = field(default="", repr=False)
    public_key: str = ""
    permissions: frozenset[str] = ALL_PERMISSIONS
    balances: dict[str, Decimal] = field(default_factory=dict)
    maker_rate: Decimal = Decimal("0.001")
    taker_rate: Decimal = Decimal("0.001")
    pays_in_bnb: bool = False
    can_withdraw: bool = False
    # The key's permissions by Binance's names, where they are not the usual ones: {"enableFutures": False}.
    restrictions: dict[str, bool] = field(default_factory=dict)
    futures: Decimal = Decimal(0)


@dataclass(slots=True)
class MakerConfig:
    """A market maker with `levels` levels of `quote` notional each, `spread` (a fraction) apart from each other."""

    levels: int = 5
    spread: Decimal = Decimal("0.0005")
    quote: Decimal = Decimal(20_000)
    interval_ms: int = 500
    # The price it quotes around moves by up to this fraction each time.
    drift: Decimal = Decimal(0)


@dataclass(slots=True)
class SimulatorConfig:
    """Everything; `seed` decides ids, keys and the market maker's moves."""

    seed: int = 1
    spot: list[SpotSymbol] = field(default_factory=list)
    futures: list[Contract] = field(default_factory=list)
    accounts: list[AccountConfig] = field(default_factory=list)
    market_maker: MakerConfig | None = None
    retention_ms: int | None = None
    query_lag_ms: int = 0


def standard_config(*, market_maker: bool = False) -> SimulatorConfig:
    """Three symbols, and two accounts with money."""
    spot = [
        SpotSymbol("BTCUSDT", "BTC", "USDT", Decimal(50_000)),
        SpotSymbol("ETHUSDT", "ETH", "USDT", Decimal(3_000), step=Decimal("0.0001"), min_qty=Decimal("0.0001")),
        SpotSymbol("BNBUSDT", "BNB", "USDT", Decimal(500), step=Decimal("0.001"), min_qty=Decimal("0.001")),
    ]
    money = {"BTC": Decimal(10), "ETH": Decimal(100), "BNB": Decimal(100), "USDT": Decimal(1_000_000)}
    accounts = [AccountConfig(name, balances=dict(money), futures=Decimal(100_000)) for name in ("alice", "bob")]
    futures = [
        Contract("BTCUSDT", "BTC", "USDT", Decimal(50_000)),
        Contract("ETHUSDT", "ETH", "USDT", Decimal(3_000), tick=Decimal("0.01"), min_price=Decimal("0.01")),
    ]
    return SimulatorConfig(
        spot=spot, futures=futures, accounts=accounts, market_maker=MakerConfig() if market_maker else None
    )


def load_config(path: Path) -> SimulatorConfig:
    """:raises BadConfig: with the setting's name; OSError where the file can't be read."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise BadConfig(f"{path}: {error}") from None
    known = {each.name for each in fields(SimulatorConfig)}
    _only(data, known, "the config")
    config = standard_config()
    for name in ("seed", "retention_ms", "query_lag_ms"):
        if name in data:
            setattr(config, name, int(data[name]))
    if "spot" in data:
        config.spot = [_made(SpotSymbol, each, "spot") for each in data["spot"]]
    if "futures" in data:
        config.futures = [_made(Contract, each, "futures") for each in data["futures"]]
    if "accounts" in data:
        config.accounts = [_account(each) for each in data["accounts"]]
    if "market_maker" in data:
        config.market_maker = _made(MakerConfig, data["market_maker"], "market_maker")
    return config


def _only(data: Mapping[str, Any], known: set[str], where: str) -> None:
    if unknown := set(data) - known:
        raise BadConfig(f"{where} has no {', '.join(sorted(unknown))}; it has {', '.join(sorted(known))}")


def _amount(value: Any, where: str) -> Decimal:
    if isinstance(value, float):
        raise BadConfig(f"{where} is {value!r}; write amounts as text, so that nothing is rounded")
    try:
        return Decimal(str(value))
    except InvalidOperation:
        raise BadConfig(f"{where} is {value!r}, which is no amount") from None


def _made(kind: type[T], data: Mapping[str, Any], where: str) -> T:
    types = {each.name: each.type for each in fields(kind)}  # type: ignore[arg-type]
    _only(data, set(types), where)
    values = {
        name: _amount(value, f"{where}.{name}") if types[name] == "Decimal" else value for name, value in data.items()
    }
    try:
        return kind(**values)
    except TypeError as error:
        raise BadConfig(f"{where}: {error}") from None


def _account(data: Mapping[str, Any]) -> AccountConfig:
    plain = dict(data)
    balances = plain.pop("balances", {})
    permissions = plain.pop("permissions", None)
    account = _made(AccountConfig, plain, "accounts")
    account.balances = {asset: _amount(value, f"balances.{asset}") for asset, value in balances.items()}
    if permissions is not None:
        account.permissions = frozenset(permissions)
    return account
