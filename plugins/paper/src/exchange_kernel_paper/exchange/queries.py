"""Reads. Each answers from one state of the exchange, at ``at``: the present, or a moment ago where reads trail."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from exchange_kernel_paper.exchange.accounts import Account
from exchange_kernel_paper.exchange.codes import Code, Refusal
from exchange_kernel_paper.exchange.exchange import Exchange
from exchange_kernel_paper.exchange.fences import clients_of
from exchange_kernel_paper.exchange.filters import Request
from exchange_kernel_paper.exchange.numbers import text
from exchange_kernel_paper.exchange.orders import OPEN, Order

Reply = dict[str, object]


class Queries:
    """The read operations of one exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self.operations = {
            "time": self.time,
            "hello": self.hello,
            "markets": self.markets,
            "find": self.find,
            "recent": self.recent,
            "open": self.open,
            "history": self.history,
            "account": self.account,
            "enabled": self.enabled,
        }

    def time(self, account: Account, request: Request, at: int) -> Reply:
        """Nothing but the time, which every answer carries; on a ledger venue also the newest and the final block."""
        return self._ledger(account, at)

    def hello(self, account: Account, request: Request, at: int) -> Reply:
        """What kind of exchange this is."""
        settings = self._exchange.settings
        return {
            "venue": self._exchange.name,
            "account": account.name,
            "fence": settings.fence,
            "window_ms": settings.window_ms,
            "future_ms": settings.future_ms,
            "engine_delay_ms": settings.engine_delay_ms,
            "read_lag_ms": settings.read_lag_ms,
            "retention_ms": settings.retention_ms,
            "heartbeat_ms": settings.heartbeat_ms,
            "block_ms": settings.block_ms,
            "valid_blocks": settings.valid_blocks,
            "finality": settings.finality,
            "gas_asset": settings.gas_asset,
            "amend": settings.amend,
            "enable": settings.enable,
            "groups": list(settings.groups),
            "settle": settings.settle,
            "rests": settings.rests,
            "maker_fee": text(settings.maker_fee),
            "taker_fee": text(settings.taker_fee),
            "fee_in": settings.fee_in,
            **self._ledger(account, at),
        }

    def enabled(self, account: Account, request: Request, at: int) -> Reply:
        """What is enabled on the account, and up to which amount."""
        return {"enabled": {name: text(amount) for name, amount in sorted(account.enabled.items())}}

    def markets(self, account: Account, request: Request, at: int) -> Reply:
        """Every market with its filters."""
        engine = self._exchange.engine
        return {"markets": [m.view(open_=m.symbol not in engine.closed) for m in engine.markets.values()]}

    def find(self, account: Account, request: Request, at: int) -> Reply:
        """Orders by client id (``clients``), the venue's id (``orders``) or the name of their group (``groups``), and
        receipts and pending transactions by request id (``rids``). Every match; all fills. An order that finished
        without fills may be forgotten."""
        orders: dict[int, Order] = {}
        for client in _strings(request.get("clients")):
            orders.update((order.id, order) for order in account.by_client.get(client, ()))
        for name in _strings(request.get("groups")):
            legs = account.groups[name].legs if name in account.groups else ()
            orders.update((order.id, order) for order in legs if order.id in self._exchange.engine.orders)
        for number in _integers(request.get("orders")):
            order = self._exchange.engine.orders.get(number)
            if order is not None and order.account is account:
                orders[number] = order
        rids = _strings(request.get("rids"))
        receipts = [(rid, account.receipts[rid]) for rid in rids if rid in account.receipts]
        asked = {*rids, *_strings(request.get("clients"))}
        pending = [tx for tx in account.pool.values() if asked & {tx.rid, *clients_of(tx.request)}]
        return {
            "orders": self._views((orders[number] for number in sorted(orders)), at),
            "receipts": [receipt.view(rid) for rid, receipt in receipts if receipt.at <= at],
            "pending": [tx.view() for tx in pending],
            **self._ledger(account, at),
        }

    def recent(self, account: Account, request: Request, at: int) -> Reply:
        """Orders of one symbol created at or after ``since``, newest last, at most a page."""
        symbol, since = request.get("symbol"), request.get("since")
        if type(since) is not int:
            raise Refusal(Code.BAD_REQUEST, "since is needed, ms UTC")
        mine = [
            order
            for order in self._exchange.engine.orders.values()
            if order.account is account and order.market.symbol == symbol and order.created >= since
        ]
        return {"orders": self._views(mine[-self._exchange.settings.page_size :], at)}

    def open(self, account: Account, request: Request, at: int) -> Reply:
        """One page of open orders in order of id, after ``after``. Orders open throughout the paging all appear."""
        after = request.get("after", 0)
        if type(after) is not int:
            raise Refusal(Code.BAD_REQUEST, "after must be an order id")
        size = self._exchange.settings.page_size
        numbers = list(account.open)  # ascending: ids rise, and an order keeps its place here
        start = bisect_right(numbers, after)
        trail = self._exchange.trail
        if trail is None or at >= self._exchange.now:
            page = numbers[start : start + size]
            views = [account.open[number].view() for number in page]
            more = start + size < len(numbers)
        else:
            changed = {order.id: order for order in trail.changed_since(at) if order.account is account}
            candidates = changed | {number: account.open[number] for number in numbers}
            past = (trail.view(candidates[number], at) for number in sorted(candidates) if number > after)
            shown = [view for view in past if view is not None and view["status"] in OPEN]
            views, more = shown[:size], len(shown) > size
        pending = [] if after else [tx.view() for tx in account.pool.values()]
        last = views[-1]["id"] if more else None
        return {"orders": views, "pending": pending, "next": last, **self._ledger(account, at)}

    def history(self, account: Account, request: Request, at: int) -> Reply:
        """What finished or traded after position ``after``, oldest first: finished orders with all fills, and fills of
        orders that were still open. Empty at the end. A ledger venue lists only what is final."""
        position = request.get("after", 0)
        if type(position) is not int or position < 0:
            raise Refusal(Code.BAD_REQUEST, "after must be a position of an earlier page")
        chain = self._exchange.chain
        until = at if chain is None else chain.time_of(chain.head(at) - self._exchange.settings.finality)
        end = bisect_right(account.past, until, key=lambda entry: entry[0])
        items: list[dict[str, object]] = []
        known = self._exchange.engine.orders
        while position < end and len(items) < self._exchange.settings.page_size:
            _, order, trade = account.past[position]
            position += 1
            if order.id not in known:
                continue
            if trade is None:
                items.append({"order": order.view()})
            elif not order.finished:
                names = {"id": order.id, "client": order.client, "symbol": trade.symbol}
                items.append({"trade": trade.row(order.id), **names})
        return {"items": items, "next": position, **self._ledger(account, at)}

    def account(self, account: Account, request: Request, at: int) -> Reply:
        """Balances: free and held."""
        rows = [[asset, text(b.free), text(b.held)] for asset, b in sorted(account.balances.items())]
        return {"balances": rows, **self._ledger(account, at)}

    def _views(self, orders: Iterable[Order], at: int) -> list[dict[str, object]]:
        trail = self._exchange.trail
        if trail is None or at >= self._exchange.now:
            return [order.view() for order in orders]
        return [view for order in orders if (view := trail.view(order, at)) is not None]

    def _ledger(self, account: Account, at: int) -> Reply:
        chain = self._exchange.chain
        return {} if chain is None else {"ledger": chain.view(account, at)}


def _strings(value: object) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _integers(value: object) -> list[int]:
    return [each for each in value if type(each) is int] if isinstance(value, list) else []
