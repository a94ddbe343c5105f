"""A small exchange in this process, so that the adapter has something to talk to from its first minute on.

Delete this module when the adapter speaks to the real venue. Until then it keeps the habits of one:

* a request is signed, and taken only while ``ts - 1000 <= now <= ts + window``;
* a client id is unique among *open* orders only: once its order is over, the same id makes a new one;
* answers are JSON with numbers as text, and say the exchange's time in ``t``; a refusal says ``code``;
* prices stand still: the house buys any amount at ``BID`` and sells any at ``ASK``.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

BID, ASK, FEE = Decimal(49900), Decimal(50100), Decimal("0.001")
MARKET = {
    "symbol": "BTC/USD",
    "base": "BTC",
    "quote": "USD",
    "step": "0.001",
    "tick": "0.01",
    "max_amount": "1000",
    "max_price": "1000000",
    "min_notional": "10",
}
AHEAD_MS = 1_000
PAGE = 100
ZERO = Decimal(0)


class Refusal(Exception):
    """A request is not taken; ``code`` says why."""

    def __init__(self, code: str, message: str, **more: object) -> None:
        super().__init__(message)
        self.answer = {"code": code, "message": message, **more}


@dataclass(slots=True)
class Order:
    """One order, in the exchange's books. Times in ms, amounts in base and quote."""

    number: int
    account: str
    client: str
    side: str
    amount: Decimal
    limit: Decimal
    status: str = "open"
    filled: Decimal = ZERO
    spent: Decimal = ZERO
    updated: int = 0
    version: int = 0
    trades: list[dict[str, Any]] = field(default_factory=list)

    def view(self) -> dict[str, Any]:
        """As the exchange shows it."""
        return {
            "id": self.number,
            "client": self.client,
            "symbol": MARKET["symbol"],
            "side": self.side,
            "amount": str(self.amount),
            "limit": str(self.limit),
            "status": self.status,
            "filled": str(self.filled),
            "spent": str(self.spent),
            "updated": self.updated,
            "version": self.version,
            "trades": self.trades,
        }


@dataclass(slots=True)
class Account:
    """One customer: the key requests are signed with, and per asset what is free and what orders hold."""

    secret: bytes
    free: dict[str, Decimal]
    held: dict[str, Decimal]
    events: int = 0


def sign(request: Mapping[str, Any], secret: str) -> bytes:
    """The bytes of a request: JSON, a line feed, and its signature."""
    body = json.dumps(request, separators=(",", ":")).encode()
    return body + b"\n" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest().encode()


class Exchange:
    """One market, any number of accounts. ``clock``: ms UTC."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self.clock = clock
        self.accounts: dict[str, Account] = {}
        self.orders: list[Order] = []
        self.listeners: list[tuple[str, Callable[[bytes], None]]] = []
        self.depth: Decimal | None = None
        """How much base the house still trades; None: any amount."""
        self.halted = False
        """Does the market take no new orders?"""
        self._trades = 0

    def open_account(self, name: str, secret: str, balances: Mapping[str, str]) -> None:
        """Make an account, unless it is there already."""
        free = {asset: Decimal(amount) for asset, amount in balances.items()}
        self.accounts.setdefault(name, Account(secret.encode(), free, dict.fromkeys(free, ZERO)))

    # requests ---------------------------------------------------------------------------------------------------

    def serve(self, data: bytes) -> bytes:
        """Answer one request."""
        body, _, signature = data.partition(b"\n")
        now = self.clock()
        try:
            request = json.loads(body)
            account = self.accounts.get(request["account"])
            if account is None or not hmac.compare_digest(
                hmac.new(account.secret, body, hashlib.sha256).hexdigest().encode(), signature
            ):
                raise Refusal("AUTH", "unknown account or wrong signature")
            answer = getattr(self, f"_do_{request['op']}")(request, account, now)
        except Refusal as refusal:
            answer = refusal.answer
        return json.dumps({"t": now, **answer}).encode()

    def _do_time(self, _: Mapping[str, Any], __: Account, ___: int) -> dict[str, Any]:
        return {}

    def _do_stream(self, _: Mapping[str, Any], account: Account, __: int) -> dict[str, Any]:
        return {"hello": account.events}

    def _do_markets(self, _: Mapping[str, Any], __: Account, ___: int) -> dict[str, Any]:
        return {"markets": [{**MARKET, "open": not self.halted}]}

    def _do_account(self, _: Mapping[str, Any], account: Account, __: int) -> dict[str, Any]:
        return {"balances": [[asset, str(account.free[asset]), str(account.held[asset])] for asset in account.free]}

    def _do_find(self, request: Mapping[str, Any], _: Account, __: int) -> dict[str, Any]:
        mine = [order for order in self.orders if order.account == request["account"]]
        known = [o for o in mine if o.client == request["client"] or o.number in request["ids"]]
        return {"orders": [order.view() for order in known]}

    def _do_open(self, request: Mapping[str, Any], _: Account, __: int) -> dict[str, Any]:
        mine = [o for o in self.orders if o.account == request["account"] and o.status == "open"]
        page = [order for order in mine if order.number > request["after"]][:PAGE]
        more = bool(page) and page[-1].number != mine[-1].number
        return {"orders": [order.view() for order in page], "next": page[-1].number if more else None}

    def _do_order(self, request: Mapping[str, Any], account: Account, now: int) -> dict[str, Any]:
        self._arrived(request, now)
        if self.halted:
            raise Refusal("CLOSED", "the market takes no orders now")
        amount, limit = Decimal(request["amount"]), Decimal(request["limit"])
        if amount % Decimal(MARKET["step"]) or limit % Decimal(MARKET["tick"]):
            raise Refusal("FILTER", "the amount or the price is not on the grid")
        if amount * limit < Decimal(MARKET["min_notional"]) or amount > Decimal(MARKET["max_amount"]):
            raise Refusal("FILTER", "the amount is too small or too big")
        mine = (o for o in self.orders if o.account == request["account"] and o.status == "open")
        if any(order.client == request["client"] for order in mine):
            raise Refusal("DUPLICATE", "an open order has this client id")
        side = request["side"]
        asset, held = self._hold(side, amount, limit)
        if account.free[asset] < held:
            raise Refusal("FUNDS", f"needs {held} {asset}")
        account.free[asset] -= held
        account.held[asset] += held
        order = Order(len(self.orders) + 1, request["account"], request["client"], side, amount, limit, updated=now)
        self.orders.append(order)
        house = ASK if side == "BUY" else BID
        crosses = limit >= house if side == "BUY" else limit <= house
        part = amount if self.depth is None else min(amount, self.depth)
        if crosses and part:
            self.depth = None if self.depth is None else self.depth - part
            self.trade(order, part, house, maker=False)
        else:
            self._tell(order)
        if request["tif"] == "IOC" and order.status == "open":
            self.close(order, "expired")
        return {"order": order.view()}

    def _do_cancel(self, request: Mapping[str, Any], _: Account, now: int) -> dict[str, Any]:
        self._arrived(request, now)
        for order in self.orders:
            named = order.number == request["id"] if "id" in request else order.client == request["client"]
            if named and order.account == request["account"] and order.status == "open":
                self.close(order, "cancelled")
                return {"order": order.view()}
        raise Refusal("UNKNOWN_ORDER", "there is no such open order")

    def _arrived(self, request: Mapping[str, Any], now: int) -> None:
        if not request["ts"] - AHEAD_MS <= now <= request["ts"] + request["window"]:
            raise Refusal("TIMESTAMP", "outside the request's window")

    # books ------------------------------------------------------------------------------------------------------

    def trade(self, order: Order, base: Decimal, price: Decimal, *, maker: bool) -> None:
        """Execute ``base`` of an open order at ``price``."""
        account, quote, now = self.accounts[order.account], base * price, self.clock()
        asset, held = self._hold(order.side, base, order.limit)
        account.held[asset] -= held
        if order.side == "BUY":
            account.free["USD"] += held - quote - quote * FEE
            account.free["BTC"] += base
        else:
            account.free["USD"] += quote - quote * FEE
        self._trades += 1
        fee = str(quote * FEE)
        order.trades.append(
            {
                "id": self._trades,
                "base": str(base),
                "price": str(price),
                "fee": fee,
                "at": now,
                "maker": maker,
                "revision": 0,
            }
        )
        order.filled, order.spent = order.filled + base, order.spent + quote
        order.status = "filled" if order.filled == order.amount else order.status
        self._tell(order)

    def correct(self, order: Order, base: Decimal) -> None:
        """Restate the last trade of an order that is over: it was for ``base``; 0 takes it back."""
        account, trade = self.accounts[order.account], order.trades[-1]
        less = Decimal(trade["base"]) - base
        quote, more = less * Decimal(trade["price"]), 1 if order.side == "BUY" else -1
        account.free["USD"] += more * quote + quote * FEE
        account.free["BTC"] -= more * less
        order.filled, order.spent = order.filled - less, order.spent - quote
        revision, fee = trade["revision"] + 1, str(Decimal(trade["fee"]) - quote * FEE)
        if base:
            order.trades = [*order.trades[:-1], {**trade, "base": str(base), "fee": fee, "revision": revision}]
            self._tell(order)
        else:
            order.trades = order.trades[:-1]
            self._tell(order, {"bust": {"symbol": MARKET["symbol"], "id": trade["id"], "revision": revision}})

    def close(self, order: Order, status: str) -> None:
        """End an open order: ``cancelled`` or ``expired``."""
        asset, held = self._hold(order.side, order.amount - order.filled, order.limit)
        self.accounts[order.account].held[asset] -= held
        self.accounts[order.account].free[asset] += held
        order.status = status
        self._tell(order)

    def _hold(self, side: str, amount: Decimal, limit: Decimal) -> tuple[str, Decimal]:
        return ("USD", amount * limit * (1 + FEE)) if side == "BUY" else ("BTC", amount)

    def _tell(self, order: Order, *more: dict[str, Any]) -> None:
        order.updated, order.version = self.clock(), order.version + 1
        account = self.accounts[order.account]
        for news in (*more, {"order": order.view()}, self._do_account({}, account, 0)):
            account.events += 1
            message = json.dumps({"t": self.clock(), "n": account.events, **news}).encode()
            for name, hear in list(self.listeners):
                if name == order.account:
                    hear(message)
