"""A small chain with an exchange on it, in this process, so that the adapter has something to talk to at once.

Delete this module when the adapter speaks to a real node. Until then it keeps the habits of a chain:

* a transaction is signed, numbered without gaps, and pays a fee in ``GAS`` whatever becomes of it;
* it waits in the pool until the next block; another with its number takes its place if it pays a tenth more;
* a block is final when ``FINALITY`` more are on top of it, and until then nothing in it is certain;
* the house buys any amount at ``BID`` and sells any at ``ASK``; what does not trade with it rests, in escrow.

Signatures here are keyed hashes, so the chain has to know the keys. A real one verifies with the address alone.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

BLOCK_MS, FINALITY, AHEAD = 250, 2, 64
BID, ASK, GAS, LEAST_FEE = Decimal(49900), Decimal(50100), "ETH", Decimal("0.0001")
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
PAGE = 100
ZERO = Decimal(0)


class Refusal(Exception):
    """The node does not take a request; ``code`` says why."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.answer = {"code": code, "message": message}


class Reverted(Exception):
    """A transaction in a block fails: it pays its fee and changes nothing else."""


@dataclass(slots=True)
class Order:
    """One order in the exchange's contract. ``closed``: height of the block that ended it."""

    owner: str
    key: str
    tx: str
    side: str
    amount: Decimal
    limit: Decimal
    height: int
    status: str = "open"
    closed: int | None = None
    changed: int = 0
    trades: list[dict[str, Any]] = field(default_factory=list)
    costs: list[tuple[str, str]] = field(default_factory=list)
    voided: list[dict[str, Any]] = field(default_factory=list)
    steps: int = 0
    """How often its trades have changed."""

    @property
    def filled(self) -> Decimal:
        """In base."""
        return sum((Decimal(trade["base"]) for trade in self.trades), ZERO)


@dataclass(slots=True)
class Account:
    """One address. ``heights``: of the blocks that took its numbers 0, 1, 2 …"""

    secret: str
    free: dict[str, Decimal]
    held: dict[str, Decimal]
    heights: list[int] = field(default_factory=list)


def address_of(secret: str) -> str:
    """The address that a key signs for."""
    return "0x" + hashlib.sha256(secret.encode()).hexdigest()[:40]


def sign(request: Mapping[str, Any], secret: str) -> bytes:
    """The bytes of a request or transaction: JSON, a line feed, and its signature."""
    body = json.dumps(request, separators=(",", ":")).encode()
    return body + b"\n" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest().encode()


def tx_of(data: bytes) -> str:
    """The id of a transaction, known before it is sent."""
    return "0x" + hashlib.sha256(data).hexdigest()


class Chain:
    """Blocks, a pool, accounts and one market. ``clock``: ms UTC. Blocks due by now are made whenever it is asked."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self.clock = clock
        self.genesis = clock()
        self.height = 0
        self.accounts: dict[str, Account] = {}
        self.orders: dict[tuple[str, str], Order] = {}
        self.receipts: list[dict[str, Any]] = []
        self.depth: Decimal | None = None
        """How much base the house still trades; None: any amount."""
        self.halted = False
        """Does the market take no new orders?"""
        self._pool: dict[tuple[str, int], tuple[str, dict[str, Any]]] = {}

    def open_account(self, secret: str, balances: Mapping[str, str]) -> None:
        """Make an account, unless it is there already."""
        free = {asset: Decimal(amount) for asset, amount in balances.items()}
        self.accounts.setdefault(address_of(secret), Account(secret, free, dict.fromkeys(free, ZERO)))

    @property
    def final(self) -> int:
        """Height of the newest block that cannot go any more."""
        return max(0, self.height - FINALITY)

    # requests ---------------------------------------------------------------------------------------------------

    def serve(self, data: bytes) -> bytes:
        """Answer one request to the node."""
        self.advance()
        body = data.partition(b"\n")[0]
        try:
            request = json.loads(body)
            account = self.accounts.get(request["account"])
            if account is None or sign(request, account.secret) != data:
                raise Refusal("AUTH", "unknown account or wrong signature")
            if "number" in request:
                answer = self._broadcast(request, account, tx_of(data))
            else:
                answer = getattr(self, f"_do_{request['op']}")(request, account)
            answer |= self._head(request["account"], account)
        except Refusal as refusal:
            answer = refusal.answer
        return json.dumps({"t": self.clock(), **answer}).encode()

    def _head(self, address: str, account: Account) -> dict[str, Any]:
        waiting = len(account.heights)
        while (address, waiting) in self._pool:
            waiting += 1
        return {
            "height": self.height,
            "final": self.final,
            "final_ms": self.genesis + self.final * BLOCK_MS,
            "next": waiting,
            "next_final": sum(height <= self.final for height in account.heights),
        }

    def _broadcast(self, request: dict[str, Any], account: Account, tx: str) -> dict[str, Any]:
        slot = (request["account"], request["number"])
        if slot[1] < len(account.heights):
            raise Refusal("NUMBER_TOO_LOW", "this number is used")
        if slot[1] > len(account.heights) + AHEAD:
            raise Refusal("NUMBER_TOO_HIGH", "too far ahead")
        fee = Decimal(request["fee"])
        if account.free[GAS] < fee:
            raise Refusal("FUNDS", f"cannot pay the fee of {fee} {GAS}")
        rival = self._pool.get(slot)
        if rival is not None and rival[0] == tx:
            raise Refusal("KNOWN", "this transaction is in the pool")
        if fee < (LEAST_FEE if rival is None else Decimal(rival[1]["fee"]) * Decimal("1.1")):
            raise Refusal("UNDERPRICED", "its fee is too low")
        self._pool[slot] = (tx, request)
        return {"tx": tx}

    def _do_markets(self, _: Mapping[str, Any], __: Account) -> dict[str, Any]:
        return {"markets": [{**MARKET, "open": not self.halted}]}

    def _do_account(self, _: Mapping[str, Any], account: Account) -> dict[str, Any]:
        return {"balances": [[asset, str(account.free[asset]), str(account.held[asset])] for asset in account.free]}

    def _do_find(self, request: Mapping[str, Any], _: Account) -> dict[str, Any]:
        order = self.orders.get((request["account"], request["key"]))
        mine = [each for each in self.receipts if each["account"] == request["account"]]
        return {
            "orders": [] if order is None else [self._view(order)],
            "pending": [view for view in self._pending(request["account"]) if view["key"] == request["key"]],
            "receipts": [each for each in mine if each["key"] in (request["key"], *request["keys"])],
        }

    def _do_open(self, request: Mapping[str, Any], _: Account) -> dict[str, Any]:
        mine = [order for (owner, _), order in self.orders.items() if owner == request["account"]]
        live = [self._view(order) for order in mine if order.status == "open"]
        start, end = request["after"], request["after"] + PAGE
        return {
            "orders": live[start:end],
            "next_page": end if len(live) > end else None,
            "pending": [] if start else self._pending(request["account"]),
        }

    def _do_changed(self, request: Mapping[str, Any], account: Account) -> dict[str, Any]:
        mine = [order for (owner, _), order in self.orders.items() if owner == request["account"]]
        fresh = [order for order in mine if order.changed > request["after"]]
        voided = [each for order in fresh for each in order.voided if each["height"] > request["after"]]
        views = [self._view(order) for order in fresh]
        return {"orders": views, "voided": voided, **self._do_account(request, account)}

    def _pending(self, address: str) -> list[dict[str, Any]]:
        pool = [(tx, request) for (owner, _), (tx, request) in self._pool.items() if owner == address]
        return [{**request, "tx": tx} for tx, request in pool if request["op"] == "order"]

    def _view(self, order: Order) -> dict[str, Any]:
        return {
            "key": order.key,
            "tx": order.tx,
            "symbol": MARKET["symbol"],
            "side": order.side,
            "amount": str(order.amount),
            "limit": str(order.limit),
            "status": order.status,
            "closed": order.closed,
            "updated": self.genesis + order.changed * BLOCK_MS,
            "trades": order.trades,
            "costs": order.costs,
            "steps": order.steps,
        }

    # blocks -----------------------------------------------------------------------------------------------------

    def advance(self) -> None:
        """Make the blocks that are due."""
        while self.clock() >= self.genesis + (self.height + 1) * BLOCK_MS:
            self.height += 1
            for address, account in self.accounts.items():
                while (address, len(account.heights)) in self._pool:
                    self._include(account, *self._pool.pop((address, len(account.heights))))

    def _include(self, account: Account, tx: str, request: dict[str, Any]) -> None:
        account.heights.append(self.height)
        account.free[GAS] -= Decimal(request["fee"])
        error = ""
        try:
            getattr(self, f"_run_{request['op']}")(request, account, tx)
        except Reverted as reverted:
            error = str(reverted)
        done = {"tx": tx, "height": self.height, "at": self.genesis + self.height * BLOCK_MS, "error": error}
        self.receipts.append({**request, **done})

    def _run_burn(self, request: Mapping[str, Any], account: Account, tx: str) -> None:
        """Nothing but the use of its number."""

    def _run_order(self, request: Mapping[str, Any], account: Account, tx: str) -> None:
        amount, limit, side = Decimal(request["amount"]), Decimal(request["limit"]), request["side"]
        if (request["account"], request["key"]) in self.orders:
            raise Reverted("an order of this key exists")
        if self.halted:
            raise Reverted("the market takes no orders now")
        if amount % Decimal(MARKET["step"]) or limit % Decimal(MARKET["tick"]) or amount * limit < 10:
            raise Reverted("the amount or the price is not one of this market")
        asset, held = _escrow(side, amount, limit)
        if account.free[asset] < held:
            raise Reverted(f"needs {held} {asset}")
        account.free[asset] -= held
        account.held[asset] += held
        order = Order(request["account"], request["key"], tx, side, amount, limit, self.height, changed=self.height)
        order.costs.append((tx, request["fee"]))
        self.orders[order.owner, order.key] = order
        house = ASK if side == "BUY" else BID
        crosses = limit >= house if side == "BUY" else limit <= house
        part = amount if self.depth is None else min(amount, self.depth)
        if crosses and part:
            self.depth = None if self.depth is None else self.depth - part
            self.trade(order, part, house, tx)

    def _run_cancel(self, request: Mapping[str, Any], account: Account, tx: str) -> None:
        order = self.orders.get((request["account"], request["of"]))
        if order is not None:
            order.costs.append((tx, request["fee"]))
            order.changed = self.height
        if order is None or order.status != "open":
            raise Reverted("there is no such open order")
        asset, held = _escrow(order.side, order.amount - order.filled, order.limit)
        account.held[asset] -= held
        account.free[asset] += held
        order.status, order.closed = "cancelled", self.height

    def trade(self, order: Order, base: Decimal, price: Decimal, tx: str) -> None:
        """Execute ``base`` of an open order at ``price``, in transaction ``tx`` of the newest block."""
        account, quote = self.accounts[order.owner], base * price
        asset, held = _escrow(order.side, base, order.limit)
        account.held[asset] -= held
        if order.side == "BUY":
            account.free["USD"] += held - quote
            account.free["BTC"] += base
        else:
            account.free["USD"] += quote
        at = self.genesis + self.height * BLOCK_MS
        trade = {"tx": tx, "number": len(order.trades), "base": str(base), "price": str(price), "at": at, "revision": 0}
        order.trades.append({**trade, "height": self.height})
        order.changed, order.steps = self.height, order.steps + 1
        if order.filled == order.amount:
            order.status, order.closed = "filled", self.height

    def correct(self, order: Order, base: Decimal) -> None:
        """The newest blocks are made anew: in them the last trade of a finished order is for ``base``; 0: is none."""
        account, trade = self.accounts[order.owner], order.trades[-1]
        less, more = Decimal(trade["base"]) - base, 1 if order.side == "BUY" else -1
        account.free["USD"] += more * less * Decimal(trade["price"])
        account.free["BTC"] -= more * less
        anew = {**trade, "base": str(base), "revision": trade["revision"] + 1, "height": self.height}
        order.trades = [*order.trades[:-1], *([anew] if base else [])]
        if not base:
            order.voided.append(anew)
        order.changed, order.steps = self.height, order.steps + 1


def _escrow(side: str, amount: Decimal, limit: Decimal) -> tuple[str, Decimal]:
    return ("USD", amount * limit) if side == "BUY" else ("BTC", amount)
