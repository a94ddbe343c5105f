"""What an account says about itself and where its Binance is, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any
from urllib.parse import urlsplit

from exchange_kernel.errors import ConfigError
from exchange_kernel.schema.fields import close_to
from exchange_kernel.venue import Context
from exchange_kernel_ccxt.wire import Route

SERVICES = ("spot", "usdm")
MARGIN = ("margin_cross", "margin_isolated")
MARKETS = (*SERVICES, *MARGIN)
SIDE_EFFECTS = ("NONE", "MARGIN_BUY", "AUTO_REPAY", "AUTO_BORROW_REPAY")
MARGIN_TYPES = ("crossed", "isolated")
POSITION_MODES = ("one_way", "hedge")
_EG = {"leverage": "5", "margin_type": "isolated"}
CONFIRMATION = "real money"
"""What ``confirm_live`` must say."""
NETWORKS: Mapping[str, Mapping[str, str]] = {
    "live": {
        "spot": "https://api.binance.com",
        "spot_ws": "wss://ws-api.binance.com:443/ws-api/v3",
        "usdm": "https://fapi.binance.com",
        "usdm_ws": "wss://fstream.binance.com",
    },
    "testnet": {
        "spot": "https://testnet.binance.vision",
        "spot_ws": "wss://ws-api.testnet.binance.vision/ws-api/v3",
        "usdm": "https://testnet.binancefuture.com",
        "usdm_ws": "wss://fstream.binancefuture.com",
    },
    "demo": {
        "spot": "https://demo-api.binance.com",
        "spot_ws": "wss://demo-ws-api.binance.com/ws-api/v3",
        "usdm": "https://demo-fapi.binance.com",
        "usdm_ws": "wss://fstream.binancefuture.com",
    },
}
"""Origins of the REST services and addresses of the user-data streams, as ccxt lists them."""
_REAL = (".binance.com", ".binance.us", ".binance.vision", ".binancefuture.com")
_DAY_MS = 86_400_000
RETENTION_MS = {"spot": 90 * _DAY_MS, "usdm": 3 * _DAY_MS, "margin_cross": _DAY_MS, "margin_isolated": _DAY_MS}
"""How long an order that ended without a fill can be looked up: spot's -2026 (errors.md), futures' Query Order. Of
margin nothing is documented: a day is taken."""
_MS = ("recv_window_ms", "slack_ms", "read_lag_ms", "timeout_ms", "retention_ms", "silence_ms")


@dataclass(frozen=True, slots=True)
class BinanceConfig:
    """``market``: which wallet this account trades. ``network``: ``testnet``, ``demo``, ``live`` or ``custom``; live
    needs ``confirm_live: real money``, custom needs ``urls`` (of the same names as an entry of :data:`NETWORKS`).

    ``resolve``: ``host:port`` where every name is to be found, and ``ca_file`` whom to trust there: real names, another
    server. ``symbols``: only these are listed (BTC/USDT); empty: all. ``recv_window_ms``: how long Binance may take a
    request after its timestamp. ``slack_ms``: the longest it may then work on it (its own timeout is 10 s).
    ``read_lag_ms``: how far its reads may trail. ``retention_ms``: how long unfilled orders can be looked up; 0: as
    documented. ``silence_ms``: without a sign of life for so long a stream counts as broken. ``share_percent``:
    this process's part of what its address may ask, where several processes share one; ``budget_url``: a Redis or
    Valkey where they meet instead (``redis://…``). ``allow_withdraw_key``: a key that may withdraw is taken, too.
    ``margin_side_effect``: whether margin orders borrow what they lack (MARGIN_BUY), repay with what they receive
    (AUTO_REPAY), or both (AUTO_BORROW_REPAY). ``leverage``, ``margin_type`` (crossed, isolated; both by symbol) and
    ``position_mode`` (one_way, hedge): how the futures account is expected to be set up; it is never changed, and a
    difference is reported.
    """

    market: str = "spot"
    network: str = "testnet"
    confirm_live: str = ""
    urls: Mapping[str, str] = field(default_factory=dict)
    resolve: str = ""
    ca_file: str = ""
    symbols: tuple[str, ...] = ()
    recv_window_ms: int = 5_000
    slack_ms: int = 10_000
    read_lag_ms: int = 3_000
    timeout_ms: int = 10_000
    retention_ms: int = 0
    silence_ms: int = 60_000
    share_percent: int = 100
    budget_url: str = ""
    allow_withdraw_key: bool = False
    leverage: Mapping[str, int] = field(default_factory=dict)
    margin_type: Mapping[str, str] = field(default_factory=dict)
    position_mode: str = ""
    margin_side_effect: str = "NONE"

    @classmethod
    def of(cls, ctx: Context) -> BinanceConfig:
        """From an account's configuration. Raises ConfigError with the key, the value and the rule."""
        known = {each.name for each in fields(cls)}
        for key, value in ctx.config.items():
            if key not in known:
                raise ConfigError(key, value, "is no setting of a Binance account", _meant(key, known))
        given = dict(ctx.config)
        if isinstance(given.get("symbols"), (list, tuple)):
            given["symbols"] = tuple(given["symbols"])
        config = cls(**given)
        config._check()
        return config

    @property
    def service(self) -> str:
        """Which of Binance's services it is at: margin is at spot's."""
        return "spot" if self.market in MARGIN else self.market

    @property
    def side_effect(self) -> str:
        """``sideEffectType`` of its orders."""
        return "NO_SIDE_EFFECT" if self.margin_side_effect == "NONE" else self.margin_side_effect

    @property
    def kept_ms(self) -> int:
        """How long orders that ended without a fill can be looked up."""
        return self.retention_ms or RETENTION_MS[self.market]

    @property
    def mode(self) -> str:
        """What the kernel is to call it: ``live`` only where the real Binance is traded."""
        return "live" if self.network == "live" and not self.resolve else "testnet"

    @property
    def place(self) -> str:
        """Where this is, as part of the account's identity."""
        return self.network if not self.resolve else f"{self.network}@{self.resolve}"

    @property
    def addresses(self) -> Mapping[str, str]:
        """The origins and stream addresses in force."""
        return self.urls if self.network == "custom" else NETWORKS[self.network]

    @property
    def route(self) -> Route:
        """How the names in them are found."""
        return Route(self.resolve, self.ca_file)

    def _check(self) -> None:
        for key, choices in (("market", MARKETS), ("network", (*NETWORKS, "custom"))):
            if getattr(self, key) not in choices:
                raise _no_choice(key, getattr(self, key), choices)
        if self.network == "live" and self.confirm_live != CONFIRMATION:
            raise ConfigError(
                "confirm_live", self.confirm_live, "is needed to trade live", f"write confirm_live: {CONFIRMATION}"
            )
        for key in _MS:
            value = getattr(self, key)
            if type(value) is not int or value < 0:
                raise ConfigError(key, value, "must be an int of at least 0, in milliseconds")
        if not 0 < self.recv_window_ms <= 60_000:
            raise ConfigError("recv_window_ms", self.recv_window_ms, "must lie between 1 and 60000")
        if type(self.share_percent) is not int or not 0 < self.share_percent <= 100:
            raise ConfigError("share_percent", self.share_percent, "must be an int from 1 to 100")
        for key in ("resolve", "ca_file", "confirm_live", "budget_url"):
            value = getattr(self, key)
            if not isinstance(value, str) or not (value.isprintable() or not value):
                raise ConfigError(key, value, "must be printable text")
        if not isinstance(self.symbols, tuple) or not all(isinstance(each, str) for each in self.symbols):
            raise ConfigError("symbols", self.symbols, "must be a list of symbols", "for example [BTC/USDT]")
        if "@" in self.budget_url:
            rule = "holds a password or a user, which does not belong in this file"
            raise ConfigError(
                "budget_url",
                "(not shown)",
                rule,
                "write secrets.budget_url: env:NAME or the like",
            )
        if type(self.allow_withdraw_key) is not bool:
            raise ConfigError("allow_withdraw_key", self.allow_withdraw_key, "must be true or false")
        self._check_account()
        self._check_addresses()

    def _check_account(self) -> None:
        if self.position_mode not in ("", *POSITION_MODES):
            raise _no_choice("position_mode", self.position_mode, POSITION_MODES)
        for key in ("leverage", "margin_type"):
            given = getattr(self, key)
            if not isinstance(given, Mapping) or not all(isinstance(symbol, str) for symbol in given):
                raise ConfigError(
                    key, given, "must be a mapping of symbols", f"for example {{BTC/USDT:USDT: {_EG[key]}}}"
                )
            for symbol, value in given.items():
                name = f"{key}.{symbol}"
                if key == "margin_type" and value not in MARGIN_TYPES:
                    raise _no_choice(name, value, MARGIN_TYPES)
                if key == "leverage" and (type(value) is not int or not 1 <= value <= 125):
                    raise ConfigError(name, value, "must be a whole number from 1 to 125")
                if self.symbols and symbol not in self.symbols:
                    raise ConfigError(name, symbol, "is not among symbols", _meant(symbol, set(self.symbols)))
        if self.margin_side_effect not in SIDE_EFFECTS:
            raise _no_choice("margin_side_effect", self.margin_side_effect, SIDE_EFFECTS)
        if self.margin_side_effect != "NONE" and self.market not in MARGIN:
            raise ConfigError("margin_side_effect", self.margin_side_effect, "belongs to a margin wallet")
        if self.market in MARGIN and self.network in ("testnet", "demo"):
            raise ConfigError(
                "network", self.network, "has no margin wallets", "margin is traded live, or on a custom network"
            )
        if self.market == "margin_isolated" and len(self.symbols) != 1:
            raise ConfigError("symbols", self.symbols, "must name the one symbol whose isolated wallet this is")
        for key in ("leverage", "margin_type", "position_mode"):
            if getattr(self, key) and self.market != "usdm":
                raise ConfigError(key, getattr(self, key), "belongs to market usdm")

    def _check_addresses(self) -> None:
        host, _, port = self.resolve.rpartition(":")
        if self.resolve and (not host or not port.isdigit()):
            raise ConfigError("resolve", self.resolve, "must be host:port")
        if not isinstance(self.urls, Mapping) or bool(self.urls) != (self.network == "custom"):
            raise ConfigError("urls", self.urls, "belongs to network custom, which needs it")
        for name in self.urls:
            if name not in NETWORKS["live"]:
                raise ConfigError(
                    f"urls.{name}", "(not shown)", "is no address here", _meant(name, set(NETWORKS["live"]))
                )
        for name in (self.service, f"{self.service}_ws") if self.network == "custom" else ():
            url: Any = self.urls.get(name, "")
            parts = urlsplit(url) if isinstance(url, str) else urlsplit("")
            schemes = ("ws", "wss") if name.endswith("_ws") else ("http", "https")
            if parts.scheme not in schemes or not parts.hostname:
                raise ConfigError(f"urls.{name}", url, f"must be an address of {' or '.join(schemes)}")
            if parts.hostname.endswith(_REAL):
                raise ConfigError(f"urls.{name}", url, "is Binance's own", "say network: live, testnet or demo")


def secrets_of(ctx: Context) -> tuple[str, str]:
    """The API key, and the secret or private key that signs. Raises ConfigError."""
    for name in ("api_key", "secret"):
        if not ctx.secrets.get(name, ""):
            raise ConfigError(f"secrets.{name}", "", "is required", "name where it is kept, never the secret itself")
        if not ctx.secrets[name].startswith("-----BEGIN ") and any(
            not "!" <= each <= "~" for each in ctx.secrets[name]
        ):
            raise ConfigError(
                f"secrets.{name}", "(not shown)", "has a space, a line end or the like in it", "copy it again"
            )
    return ctx.secrets["api_key"], ctx.secrets["secret"]


def _meant(given: object, known: set[str]) -> str:
    near = close_to(given, known) if isinstance(given, str) else ""
    return f"did you mean {near}?" if near else f"there are {', '.join(sorted(known))}"


def _no_choice(key: str, value: object, choices: Sequence[str]) -> ConfigError:
    near = close_to(value.lower(), choices) if isinstance(value, str) else ""
    hint = f"did you mean {near}?" if near else ""
    return ConfigError(key, value, f"must be one of {', '.join(choices)}", hint)
