"""Margin: orders of the cross and isolated wallets on the spot books, borrowing, listen tokens (Margin Trading API)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from exchange_kernel_binance.simulator.accounts import Account
from exchange_kernel_binance.simulator.errors import ApiError
from exchange_kernel_binance.simulator.ids import SeededIds
from exchange_kernel_binance.simulator.numbers import ZERO, text, times
from exchange_kernel_binance.simulator.spot.exchange import SpotExchange
from exchange_kernel_binance.simulator.wire import parameters as p
from exchange_kernel_binance.simulator.wire.gate import Call, Endpoint
from exchange_kernel_binance.simulator.wire.spot_query import SpotQuery
from exchange_kernel_binance.simulator.wire.spot_trade import ORDER, SpotTrade, request_of

# What a wallet must be worth for every unit of debt, after borrowing: three times the equity in cross margin.
BORROW_LEVEL = Decimal("1.5")
DAY = 86_400_000
_EFFECTS = ("NO_SIDE_EFFECT", "MARGIN_BUY", "AUTO_REPAY", "AUTO_BORROW_REPAY")
_ISOLATED: dict[str, p.Kind] = {"isIsolated": p.boolean}


@dataclass(frozen=True, slots=True)
class Token:
    """A listen token: whose wallet it opens, and until when (ms UTC)."""

    wallet: str
    end: int


class MarginApi:
    """Handlers over the spot exchange; a wallet is an account named `owner@cross` or `owner@SYMBOL`."""

    def __init__(self, exchange: SpotExchange, trade: SpotTrade, query: SpotQuery, ids: SeededIds) -> None:
        self.exchange = exchange
        self.state = exchange.state
        self._trade = trade
        self._query = query
        self._ids = ids
        self.borrowed: dict[tuple[str, str], Decimal] = {}
        self._tokens: dict[str, Token] = {}
        self._repaying: set[int] = set()
        self.state.journal.listen(self._heard)

    def wallet(self, owner: str, symbol: str | None = None) -> Account:
        """The owner's cross wallet, or the isolated one of a symbol; opened empty when first asked for."""
        name = f"{owner}@{symbol or 'cross'}"
        if name not in self.state.accounts:
            account = Account(name, self.state.accounts[owner].uid, kind="MARGIN")
            account.rates = self.state.accounts[owner].rates
            self.exchange.add_account(account)
        return self.state.accounts[name]

    def _turned(self, call: Call) -> Call:
        """The call as if the wallet had sent it to the spot exchange."""
        isolated = call.get("isIsolated", False)
        symbol = call.get("symbol")
        if isolated and symbol is None:
            raise ApiError(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
        if symbol is not None and not self.state.symbol(symbol).margin:
            raise ApiError(-11001, "Isolated margin account does not exist." if isolated else "Invalid symbol.")
        wallet = self.wallet(call.account, symbol if isolated else None)
        return replace(call, account=wallet.name)

    def _shown(self, call: Call, reply: Any) -> Any:
        if isinstance(reply, list):
            return [self._shown(call, each) for each in reply]
        return reply | {"isIsolated": bool(call.get("isIsolated", False))}

    # Debt.

    def value(self, wallet: Account) -> tuple[Decimal, Decimal]:
        """(what the wallet holds, what it owes), both in USDT by last prices."""
        held = sum((times(b.free + b.locked, self._price(asset)) for asset, b in wallet.balances.items()), ZERO)
        owed = sum(
            (
                times(amount, self._price(asset))
                for (name, asset), amount in self.borrowed.items()
                if name == wallet.name
            ),
            ZERO,
        )
        return held, owed

    def _price(self, asset: str) -> Decimal:
        return Decimal(1) if asset == "USDT" else self.state.last.get(f"{asset}USDT", ZERO)

    def borrow(self, wallet: Account, asset: str, amount: Decimal) -> None:
        """:raises ApiError: -3006 where the wallet would be worth less than 1.5 times its debt."""
        held, owed = self.value(wallet)
        more = times(amount, self._price(asset))
        if not more or held + more < times(BORROW_LEVEL, owed + more):
            raise ApiError(-3006, "Your borrow amount has exceed maximum borrow amount.")
        key = (wallet.name, asset)
        self.borrowed[key] = self.borrowed.get(key, ZERO) + amount
        wallet.credit(asset, amount)

    def repay(self, wallet: Account, asset: str, most: Decimal) -> Decimal:
        """Pay debt back from what is free; returns how much."""
        key = (wallet.name, asset)
        amount = min(most, self.borrowed.get(key, ZERO), max(ZERO, wallet.free(asset)))
        if amount > 0:
            self.borrowed[key] -= amount
            wallet.credit(asset, -amount)
        return amount

    def _heard(self, account: str, event: dict[str, Any]) -> None:
        """A repaying order that has traded repays from what it received."""
        if event["e"] != "executionReport" or event["x"] != "TRADE" or event["i"] not in self._repaying:
            return
        symbol = self.state.symbols[event["s"]]
        asset, got = (symbol.base, event["l"]) if event["S"] == "BUY" else (symbol.quote, event["Y"])
        self.repay(self.state.accounts[account], asset, Decimal(got))

    # Orders.

    def place(self, call: Call) -> Any:
        turned = self._turned(call)
        effect = call.get("sideEffectType", "NO_SIDE_EFFECT")
        wallet = self.state.accounts[turned.account]
        borrowed, asset = ZERO, ""
        if effect in ("MARGIN_BUY", "AUTO_BORROW_REPAY"):
            borrowed, asset = self._borrow_for(turned, wallet)
        repays = effect in ("AUTO_REPAY", "AUTO_BORROW_REPAY")
        # The order may trade at once: it must be known as a repaying one before it is placed.
        coming = self.state.order_id + 1
        if repays:
            self._repaying.add(coming)
        try:
            reply = self._trade.place(turned)
        except ApiError:
            self._repaying.discard(coming)
            self.repay(wallet, asset, borrowed)
            raise
        shown: dict[str, Any] = self._shown(call, reply)
        if borrowed:
            shown |= {"marginBuyBorrowAmount": text(borrowed), "marginBuyBorrowAsset": asset}
        return shown

    def _borrow_for(self, call: Call, wallet: Account) -> tuple[Decimal, str]:
        """Borrow what the order lacks; (how much, of what)."""
        request = request_of(call)
        symbol = self.exchange.check(call.account, request)
        asset = symbol.base if request.side == "SELL" else symbol.quote
        if request.side == "SELL":
            needed = request.quantity or ZERO
        elif request.quote_quantity is not None:
            needed = request.quote_quantity
        else:
            price = request.price or request.stop_price or self.state.last[symbol.symbol]
            needed = times(price, request.quantity or ZERO)
        lacking = needed - wallet.free(asset)
        if lacking <= 0:
            return ZERO, asset
        self.borrow(wallet, asset, lacking)
        return lacking, asset

    def cancel(self, call: Call) -> Any:
        return self._shown(call, self._trade.cancel(self._turned(call)))

    def cancel_all(self, call: Call) -> Any:
        return self._shown(call, self._trade.cancel_all(self._turned(call)))

    def order(self, call: Call) -> Any:
        return self._shown(call, self._query.order(self._turned(call)))

    def open_orders(self, call: Call) -> Any:
        return self._shown(call, self._query.open_orders(self._turned(call)))

    def all_orders(self, call: Call) -> Any:
        return self._shown(call, self._query.all_orders(self._turned(call)))

    def trades(self, call: Call) -> Any:
        return self._shown(call, self._query.trades(self._turned(call)))

    def _asset(self, wallet: Account, asset: str) -> dict[str, Any]:
        balance, owed = wallet.balance(asset), self.borrowed.get((wallet.name, asset), ZERO)
        return {
            "asset": asset,
            "borrowed": text(owed),
            "free": text(balance.free),
            "interest": text(ZERO),
            "locked": text(balance.locked),
            "netAsset": text(balance.free + balance.locked - owed),
        }

    def account(self, call: Call) -> Any:
        """The cross wallet; totals are in BTC."""
        wallet = self.wallet(call.account)
        held, owed = self.value(wallet)
        price = self._price("BTC") or Decimal(1)
        assets = {asset for each in self.state.symbols.values() for asset in (each.base, each.quote)}
        return {
            "created": True,
            "borrowEnabled": True,
            "marginLevel": text(held / owed) if owed else "999.00000000",
            "collateralMarginLevel": text(held / owed) if owed else "999.00000000",
            "totalAssetOfBtc": text(held / price),
            "totalLiabilityOfBtc": text(owed / price),
            "totalNetAssetOfBtc": text((held - owed) / price),
            "TotalCollateralValueInUSDT": text(held),
            "totalOpenOrderLossInUSDT": text(ZERO),
            "tradeEnabled": True,
            "transferInEnabled": True,
            "transferOutEnabled": True,
            "accountType": "MARGIN_1",
            "userAssets": [self._asset(wallet, asset) for asset in wallet.listed(assets)],
        }

    def isolated_account(self, call: Call) -> Any:
        """The isolated wallets of some symbols (Query Isolated Margin Account Info)."""
        assets = []
        for name in str(call.args["symbols"]).split(","):
            symbol, wallet = self.state.symbol(name), self.wallet(call.account, name)
            held, owed = self.value(wallet)
            sides = {"baseAsset": symbol.base, "quoteAsset": symbol.quote}
            more = {"borrowEnabled": True, "repayEnabled": True, "totalAsset": "0", "netAssetOfBtc": "0"}
            assets.append(
                {side: self._asset(wallet, asset) | more for side, asset in sides.items()}
                | {
                    "symbol": name,
                    "isolatedCreated": True,
                    "enabled": True,
                    "marginLevel": text(held / owed) if owed else "999.00000000",
                    "marginLevelStatus": "EXCESSIVE",
                    "marginRatio": "10.00000000",
                    "indexPrice": text(self._price(symbol.base)),
                    "liquidatePrice": text(ZERO),
                    "liquidateRate": text(ZERO),
                    "tradeEnabled": True,
                }
            )
        return {"assets": assets}

    def borrow_repay(self, call: Call) -> Any:
        isolated = call.get("isIsolated", False)
        wallet = self.wallet(call.account, call.get("symbol") if isolated else None)
        asset, amount = call.args["asset"], call.args["amount"]
        if call.args["type"] == "BORROW":
            self.borrow(wallet, asset, amount)
        elif not self.repay(wallet, asset, amount):
            raise ApiError(-3041, "Balance is not enough")
        return {"tranId": self.state.order_id + 100_000_000_000}

    # Listen tokens.

    def token(self, call: Call) -> Any:
        validity = min(call.get("validity", DAY), DAY)
        isolated = call.get("isIsolated", False)
        wallet = self.wallet(call.account, call.get("symbol") if isolated else None)
        token = self._ids.key()
        self._tokens[token] = Token(wallet.name, self.state.clock.now() + validity)
        return {"token": token, "expirationTime": self._tokens[token].end}

    def opens(self, token: str) -> tuple[str, int]:
        """(the wallet that the token opens, until when). :raises ApiError: -1125."""
        known = self._tokens.get(token)
        if known is None or known.end <= self.state.clock.now():
            raise ApiError(-1125, "This listenToken does not exist.")
        return known.wallet, known.end

    def endpoints(self) -> list[Endpoint]:
        """Every request of this room; names begin with `margin.`, and none is a WebSocket method."""

        def ask(
            name: str,
            method: str,
            path: str,
            handle: Callable[[Call], Any],
            security: str,
            parameters: dict[str, p.Kind],
            required: tuple[str, ...] = (),
            **more: Any,
        ) -> Endpoint:
            route = (method, f"/sapi/v1/{path}")
            return Endpoint(name, handle, route, security, parameters, required, websocket=False, **more)

        symbol: dict[str, p.Kind] = {"symbol": p.symbol}
        one = ("symbol",)
        by_id = symbol | {"orderId": p.long, "origClientOrderId": p.client_id} | _ISOLATED
        window: dict[str, p.Kind] = {"startTime": p.long, "endTime": p.long, "limit": p.long}
        placed = ORDER | _ISOLATED | {"sideEffectType": p.one_of(_EFFECTS), "autoRepayAtCancel": p.boolean}
        many = symbol | window | {"orderId": p.long} | _ISOLATED
        amounts: dict[str, p.Kind] = {"asset": p.symbol, "amount": p.decimal()}
        debt = symbol | _ISOLATED | amounts | {"type": p.one_of(("BORROW", "REPAY"))}
        cancelled = by_id | {"newClientOrderId": p.client_id}
        order, needed = "margin/order", ("symbol", "side", "type")
        opened = symbol | _ISOLATED
        token = symbol | _ISOLATED | {"validity": p.long}
        return [
            ask("margin.order.place", "POST", order, self.place, "TRADE", placed, needed, orders=1, weight=6),
            ask("margin.order.cancel", "DELETE", order, self.cancel, "TRADE", cancelled, one, weight=10),
            ask("margin.order.status", "GET", order, self.order, "USER_DATA", by_id, one, weight=10),
            ask("margin.openOrders.cancelAll", "DELETE", "margin/openOrders", self.cancel_all, "TRADE", opened, one),
            ask("margin.openOrders.status", "GET", "margin/openOrders", self.open_orders, "USER_DATA", opened),
            ask("margin.allOrders", "GET", "margin/allOrders", self.all_orders, "USER_DATA", many, one, weight=200),
            ask("margin.myTrades", "GET", "margin/myTrades", self.trades, "USER_DATA", many | {"fromId": p.long}, one),
            ask("margin.account", "GET", "margin/account", self.account, "USER_DATA", {}, weight=10),
            ask(
                "margin.isolated.account",
                "GET",
                "margin/isolated/account",
                self.isolated_account,
                "USER_DATA",
                {"symbols": p.anything},
                ("symbols",),
                weight=10,
            ),
            ask(
                "margin.borrowRepay",
                "POST",
                "margin/borrow-repay",
                self.borrow_repay,
                "TRADE",
                debt,
                ("asset", "amount", "type"),
            ),
            ask("margin.listenToken", "POST", "userListenToken", self.token, "USER_STREAM", token, key_only=True),
        ]
