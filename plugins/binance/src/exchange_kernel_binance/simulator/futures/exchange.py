"""The futures exchange as one object: settings and queries on top of trading."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import Any

from exchange_kernel_binance.simulator.clock import Clock
from exchange_kernel_binance.simulator.errors import ApiError, no_such_order
from exchange_kernel_binance.simulator.events import Journal
from exchange_kernel_binance.simulator.futures import reports
from exchange_kernel_binance.simulator.futures.conditional import ConditionalTrading
from exchange_kernel_binance.simulator.futures.contracts import Contract
from exchange_kernel_binance.simulator.futures.orders import FuturesAccount, FuturesOrder, Position
from exchange_kernel_binance.simulator.futures.state import FuturesState
from exchange_kernel_binance.simulator.ids import SeededIds
from exchange_kernel_binance.simulator.numbers import ZERO, text, times


def _alias(account: str) -> str:
    """Four letters that are the account's, always the same."""
    return "".join(chr(ord("A") + byte % 26) for byte in hashlib.sha256(account.encode()).digest()[:4])


class FuturesExchange(ConditionalTrading):
    """Contracts and accounts are added first; then `place`, `cancel`, `place_algo` and the rest."""

    def __init__(self, clock: Clock, ids: SeededIds, journal: Journal | None = None) -> None:
        super().__init__(FuturesState(clock, ids, journal or Journal()))

    def add_contract(self, contract: Contract) -> None:
        self.state.add_contract(contract)

    def add_account(self, account: FuturesAccount) -> None:
        self.state.accounts[account.name] = account

    def query(self, account: str, symbol: str, order_id: int | None, client_id: str | None) -> dict[str, Any]:
        """:raises ApiError: -2013; unfilled ended orders are forgotten after the retention."""
        order = self.find(account, symbol, order_id, client_id)
        if order is None or not self.visible(order):
            raise no_such_order()
        return reports.queried(order, self.state.contract(symbol))

    def visible(self, order: FuturesOrder) -> bool:
        now, habits = self.state.clock.now(), self.state.habits
        if now - order.created < habits.query_lag:
            return False
        return order.is_open or order.executed > 0 or now - order.updated <= habits.retention

    # Settings.

    def set_leverage(self, account: str, symbol: str, leverage: int) -> dict[str, Any]:
        contract, owner = self.state.contract(symbol), self.state.accounts[account]
        if not 1 <= leverage <= contract.max_leverage:
            raise ApiError(-4028, f"Leverage {leverage} is not valid")
        owner.setting(symbol).leverage = leverage
        now = self.state.clock.now()
        event = {"e": "ACCOUNT_CONFIG_UPDATE", "E": now, "T": now, "ac": {"s": symbol, "l": leverage}}
        self.state.journal.tell(account, event)
        return {"leverage": leverage, "maxNotionalValue": "1000000", "symbol": symbol}

    def set_margin_type(self, account: str, symbol: str, isolated: bool) -> dict[str, Any]:
        self.state.contract(symbol)
        owner = self.state.accounts[account]
        if owner.setting(symbol).isolated is isolated:
            raise ApiError(-4046, "No need to change margin type.")
        if self.state.open_orders(account, symbol):
            raise ApiError(-4047, "Margin type cannot be changed if there exists open orders.")
        if owner.held(symbol):
            raise ApiError(-4048, "Margin type cannot be changed if there exists position.")
        owner.setting(symbol).isolated = isolated
        return {"code": 200, "msg": "success"}

    def set_hedge(self, account: str, hedge: bool) -> dict[str, Any]:
        owner = self.state.accounts[account]
        if owner.hedge is hedge:
            raise ApiError(-4059, "No need to change position side.")
        if self.state.open_orders(account):
            raise ApiError(-4067, "Position side cannot be changed if there exists open orders.")
        if owner.held():
            raise ApiError(-4068, "Position side cannot be changed if there exists position.")
        owner.hedge = hedge
        return {"code": 200, "msg": "success"}

    def set_multi_assets(self, account: str, multi: bool) -> dict[str, Any]:
        owner = self.state.accounts[account]
        if owner.multi_assets is multi:
            raise ApiError(-4171, "No need to change Multi-Assets mode.")
        owner.multi_assets = multi
        now = self.state.clock.now()
        self.state.journal.tell(account, {"e": "ACCOUNT_CONFIG_UPDATE", "E": now, "T": now, "ai": {"j": multi}})
        return {"code": 200, "msg": "success"}

    def countdown(self, account: str, symbol: str, ms: int) -> dict[str, Any]:
        """The dead-man switch; 0 ends it."""
        self.state.contract(symbol)
        countdowns = self.state.accounts[account].countdowns
        if ms:
            countdowns[symbol] = self.state.clock.now() + ms
        else:
            countdowns.pop(symbol, None)
        return {"symbol": symbol, "countdownTime": str(ms)}

    # Account.

    def _sides(self, owner: FuturesAccount, symbol: str) -> list[Position]:
        names = ("LONG", "SHORT") if owner.hedge else ("BOTH",)
        return [owner.position(symbol, name) for name in names]

    def positions(self, account: str, symbol: str | None, *, old: bool = False) -> list[dict[str, Any]]:
        """positionRisk: version 3 shows what is held, version 2 (`old`) every symbol."""
        owner, state = self.state.accounts[account], self.state
        names = [state.contract(symbol).symbol] if symbol is not None else list(state.contracts)
        found = []
        for name in names:
            busy = bool(state.open_orders(account, name))
            for position in self._sides(owner, name):
                if old or position.amount or busy:
                    found.append(self._risk(owner, position, old=old))
        return found

    def _risk(self, owner: FuturesAccount, position: Position, *, old: bool) -> dict[str, Any]:
        state, contract = self.state, self.state.contracts[position.symbol]
        mark, setting = state.mark[position.symbol], owner.setting(position.symbol)
        common = {
            "symbol": position.symbol,
            "positionSide": position.side,
            "positionAmt": contract.amount(position.amount),
            "entryPrice": contract.price(position.entry),
            "breakEvenPrice": contract.price(reports.break_even(position)),
            "markPrice": text(mark),
            "unRealizedProfit": text(position.profit(mark)),
            "liquidationPrice": contract.price(self.liquidation_price(owner, position)),
            "isolatedMargin": text(position.margin + position.profit(mark) if setting.isolated else ZERO),
            "notional": text(times(position.amount, mark)),
            "isolatedWallet": text(position.margin),
            "updateTime": position.updated,
        }
        if old:
            return common | {
                "marginType": "isolated" if setting.isolated else "cross",
                "isAutoAddMargin": "false",
                "leverage": str(setting.leverage),
                "maxNotionalValue": "1000000",
            }
        margin = text(state.position_margin(owner, position))
        return common | {
            "marginAsset": contract.quote,
            "initialMargin": margin,
            "maintMargin": text(state.maintenance(position)),
            "positionInitialMargin": margin,
            "openOrderInitialMargin": text(ZERO),
            "adl": 2 if position.amount else 0,
            "bidNotional": "0",
            "askNotional": "0",
        }

    def liquidation_price(self, owner: FuturesAccount, position: Position) -> Decimal:
        """The mark price at which this position alone would be liquidated; zero where there is none."""
        if not position.amount:
            return ZERO
        contract = self.state.contracts[position.symbol]
        isolated = owner.setting(position.symbol).isolated
        held = position.margin if isolated else owner.wallet
        size, sign = abs(position.amount), Decimal(1 if position.amount > 0 else -1)
        slope = size * (sign - contract.maintenance)
        price = (times(size * sign, position.entry) - held) / slope
        return max(ZERO, price)

    def totals(self, account: str) -> dict[str, Decimal]:
        """Wallet, margin and profit of the account."""
        state, owner = self.state, self.state.accounts[account]
        isolated = sum((each.margin for each in owner.held()), ZERO)
        cross_profit = state.profit(owner)
        profit = cross_profit + state.profit(owner, isolated=True)
        position_margin = sum((state.position_margin(owner, each) for each in owner.held()), ZERO)
        order_margin = state.order_margin(owner)
        available = max(ZERO, state.available(owner))
        return {
            "walletBalance": owner.wallet,
            "unrealizedProfit": profit,
            "marginBalance": owner.wallet + profit,
            "maintMargin": sum((state.maintenance(each) for each in owner.held()), ZERO),
            "initialMargin": position_margin + order_margin,
            "positionInitialMargin": position_margin,
            "openOrderInitialMargin": order_margin,
            "crossWalletBalance": owner.wallet - isolated,
            "crossUnPnl": cross_profit,
            "availableBalance": available,
            "maxWithdrawAmount": available,
        }

    def account(self, account: str, *, old: bool = False) -> dict[str, Any]:
        """/fapi/v3/account, or version 2."""
        owner, totals = self.state.accounts[account], self.totals(account)
        names = {
            "totalInitialMargin": "initialMargin",
            "totalMaintMargin": "maintMargin",
            "totalWalletBalance": "walletBalance",
            "totalUnrealizedProfit": "unrealizedProfit",
            "totalMarginBalance": "marginBalance",
            "totalPositionInitialMargin": "positionInitialMargin",
            "totalOpenOrderInitialMargin": "openOrderInitialMargin",
            "totalCrossWalletBalance": "crossWalletBalance",
            "totalCrossUnPnl": "crossUnPnl",
            "availableBalance": "availableBalance",
            "maxWithdrawAmount": "maxWithdrawAmount",
        }
        reply: dict[str, Any] = {long: text(totals[short]) for long, short in names.items()}
        asset: dict[str, Any] = {"asset": "USDT", **{name: text(value) for name, value in totals.items()}}
        asset["updateTime"] = owner.updated
        if old:
            asset["marginAvailable"] = True
            reply |= {
                "feeTier": 0,
                "feeBurn": True,
                "canTrade": True,
                "canDeposit": True,
                "canWithdraw": False,
                "updateTime": 0,
                "multiAssetsMargin": owner.multi_assets,
                "tradeGroupId": -1,
            }
        return reply | {"assets": [asset], "positions": self._account_positions(owner, old)}

    def _account_positions(self, owner: FuturesAccount, old: bool) -> list[dict[str, Any]]:
        found = []
        for risk in self.positions(owner.name, None):
            setting = owner.setting(risk["symbol"])
            shown = {
                "symbol": risk["symbol"],
                "positionSide": risk["positionSide"],
                "positionAmt": risk["positionAmt"],
                "unrealizedProfit": risk["unRealizedProfit"],
                "initialMargin": risk["initialMargin"],
                "maintMargin": risk["maintMargin"],
                "updateTime": risk["updateTime"],
            }
            if old:
                shown |= {
                    "positionInitialMargin": risk["positionInitialMargin"],
                    "openOrderInitialMargin": risk["openOrderInitialMargin"],
                    "leverage": str(setting.leverage),
                    "isolated": setting.isolated,
                    "entryPrice": risk["entryPrice"],
                    "maxNotional": "1000000",
                    "bidNotional": "0",
                    "askNotional": "0",
                }
            else:
                shown |= {name: risk[name] for name in ("isolatedMargin", "notional", "isolatedWallet")}
            found.append(shown)
        return found

    def balances(self, account: str) -> list[dict[str, Any]]:
        """/fapi/v3/balance."""
        owner, totals = self.state.accounts[account], self.totals(account)
        return [
            {
                "accountAlias": _alias(account),
                "asset": "USDT",
                "balance": text(totals["walletBalance"]),
                "crossWalletBalance": text(totals["crossWalletBalance"]),
                "crossUnPnl": text(totals["crossUnPnl"]),
                "availableBalance": text(totals["availableBalance"]),
                "maxWithdrawAmount": text(totals["maxWithdrawAmount"]),
                "marginAvailable": True,
                "updateTime": owner.updated,
            }
        ]
