"""How a futures account is set up, against how its configuration says that it is. Nothing is ever changed.

Sources: USD-M futures documentation (Futures Account Configuration, Symbol Configuration).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from exchange_kernel.errors import ConfigError
from exchange_kernel.schema.fields import close_to
from exchange_kernel.venue import Notice
from exchange_kernel_binance.config import BinanceConfig
from exchange_kernel_binance.session import Session, decoder

MODES = {False: "one_way", True: "hedge"}


class AccountView(msgspec.Struct):
    """The account. ``dualSidePosition``: hedge mode."""

    dualSidePosition: bool
    canTrade: bool = True


class SymbolView(msgspec.Struct):
    """One symbol. ``marginType``: CROSSED or ISOLATED."""

    symbol: str
    marginType: str
    leverage: int


_read_account = decoder(AccountView)
_read_symbols = decoder(list[SymbolView])


class Settings:
    """Of one session. ``hedge``: the position mode when it was read last."""

    def __init__(self, session: Session) -> None:
        self._session, self._config = session, session.config
        self.hedge = False
        self._began: bool | None = None

    async def login(self) -> None:
        """The position mode that orders are written for. Raises what reads raise."""
        self.hedge = self._began = (await self._account()).dualSidePosition

    async def _account(self) -> AccountView:
        return await self._session.read(("GET", "fapiPrivate", "accountConfig"), (), _read_account)

    def check(self, names: Mapping[str, str]) -> None:
        """``names``: Binance's, by ours. Raises ConfigError for a symbol that is configured and not listed."""
        for key in ("leverage", "margin_type"):
            for symbol in getattr(self._config, key):
                if symbol not in names:
                    raise _unlisted(f"{key}.{symbol}", symbol, names)

    async def notices(self, names: Mapping[str, str]) -> tuple[Notice, ...]:
        """What is not as configured. ``names``: Binance's, by ours. Raises what reads raise."""
        account, config = await self._account(), self._config
        self.hedge = account.dualSidePosition
        found = []
        if not account.canTrade:
            found.append(Notice("credentials", "Binance says that this account may not trade (canTrade)", "canTrade"))
        mode = MODES[self.hedge]
        if config.position_mode not in ("", mode):
            text = f"the position mode is {mode}, configured {config.position_mode}"
            found.append(Notice("account_config", text, "position_mode"))
        elif self._began is not None and self._began is not self.hedge:
            text = (
                f"the position mode is {mode}, and was {MODES[self._began]} when the account was opened: open it again"
            )
            found.append(Notice("account_config", text, "position_mode"))
        if config.leverage or config.margin_type:
            views = await self._session.read(("GET", "fapiPrivate", "symbolConfig"), (), _read_symbols)
            found += _differences(config, {view.symbol: view for view in views}, names)
        return tuple(found)


def _differences(config: BinanceConfig, views: Mapping[str, SymbolView], names: Mapping[str, str]) -> Sequence[Notice]:
    found = []
    for symbol, wanted in config.leverage.items():
        view = views.get(names[symbol])
        is_now = "unknown" if view is None else str(view.leverage)
        if is_now != str(wanted):
            found.append(
                Notice("account_config", f"the leverage is {is_now}, configured {wanted}", f"{symbol} leverage")
            )
    for symbol, kind in config.margin_type.items():
        view = views.get(names[symbol])
        is_now = "unknown" if view is None else view.marginType.lower()
        if is_now != kind:
            found.append(
                Notice("account_config", f"the margin type is {is_now}, configured {kind}", f"{symbol} margin_type")
            )
    return found


def _unlisted(field: str, symbol: str, names: Mapping[str, str]) -> ConfigError:
    near = close_to(symbol, names)
    return ConfigError(field, symbol, "is not listed here", f"did you mean {near}?" if near else "")
