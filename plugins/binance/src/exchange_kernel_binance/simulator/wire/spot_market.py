"""Public spot requests: the exchange's rules, its books and trades."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from exchange_kernel_binance.simulator.errors import ApiError
from exchange_kernel_binance.simulator.numbers import ZERO, ratio, text
from exchange_kernel_binance.simulator.spot.exchange import SpotExchange
from exchange_kernel_binance.simulator.spot.state import DAY, PublicTrade
from exchange_kernel_binance.simulator.wire import parameters as p
from exchange_kernel_binance.simulator.wire.gate import Call, Endpoint
from exchange_kernel_binance.simulator.wire.limits import Limits

INTERVALS = {
    "1s": 1_000,
    "1m": 60_000,
    "3m": 180_000,
    "5m": 300_000,
    "15m": 900_000,
    "30m": 1_800_000,
    "1h": 3_600_000,
    "2h": 7_200_000,
    "4h": 14_400_000,
    "6h": 21_600_000,
    "8h": 28_800_000,
    "12h": 43_200_000,
    "1d": DAY,
    "3d": 3 * DAY,
    "1w": 7 * DAY,
}


def candle(trades: list[PublicTrade], start: int, length: int) -> dict[str, Any]:
    """What the trades of one interval make; prices and amounts as text."""
    prices = [trade.price for trade in trades]
    bought = [trade for trade in trades if not trade.buyer_is_maker]
    return {
        "start": start,
        "end": start + length - 1,
        "open": text(prices[0]),
        "high": text(max(prices)),
        "low": text(min(prices)),
        "close": text(prices[-1]),
        "base": text(sum((trade.quantity for trade in trades), ZERO)),
        "quote": text(sum((trade.quantity * trade.price for trade in trades), ZERO)),
        "count": len(trades),
        "taker_base": text(sum((trade.quantity for trade in bought), ZERO)),
        "taker_quote": text(sum((trade.quantity * trade.price for trade in bought), ZERO)),
        "first": trades[0].trade_id,
        "last": trades[-1].trade_id,
    }


class SpotMarket:
    """Handlers over one exchange."""

    def __init__(self, exchange: SpotExchange, limits: Limits) -> None:
        self.state = exchange.state
        self.limits = limits

    def ping(self, call: Call) -> Any:
        return {}

    def time(self, call: Call) -> Any:
        return {"serverTime": self.state.clock.now()}

    def info(self, call: Call) -> Any:
        wanted = [call.args["symbol"]] if "symbol" in call.args else call.get("symbols")
        if wanted is not None and ("permissions" in call.args or "symbolStatus" in call.args):
            raise ApiError(-1128, "Combination of optional parameters invalid.")
        symbols = [self.state.symbol(name) for name in wanted] if wanted else list(self.state.symbols.values())
        if "symbolStatus" in call.args:
            symbols = [symbol for symbol in symbols if symbol.status == call.args["symbolStatus"]]
        if "permissions" in call.args:
            asked = set(call.args["permissions"])
            symbols = [each for each in symbols if asked & {"SPOT", *(["MARGIN"] if each.margin else [])}]
        with_sets = call.get("showPermissionSets", True)
        return {
            "timezone": "UTC",
            "serverTime": self.state.clock.now(),
            "rateLimits": [rule.shown() for rule in self.limits.rules],
            "exchangeFilters": [],
            "symbols": [symbol.info(with_sets) for symbol in symbols],
        }

    def depth(self, call: Call) -> Any:
        book = self._book(call)
        limit = min(call.get("limit", 100), 5000)
        return {
            "lastUpdateId": book.update_id,
            "bids": [[text(price), text(amount)] for price, amount in book.depth("BUY", limit)],
            "asks": [[text(price), text(amount)] for price, amount in book.depth("SELL", limit)],
        }

    def _book(self, call: Call) -> Any:
        return self.state.books[self.state.symbol(call.args["symbol"]).symbol]

    def _tape(self, call: Call) -> list[PublicTrade]:
        return self.state.tape[self.state.symbol(call.args["symbol"]).symbol]

    def trades(self, call: Call) -> Any:
        limit = min(call.get("limit", 500), 1000)
        return [
            {
                "id": trade.trade_id,
                "price": text(trade.price),
                "qty": text(trade.quantity),
                "quoteQty": text(trade.price * trade.quantity),
                "time": trade.time,
                "isBuyerMaker": trade.buyer_is_maker,
                "isBestMatch": True,
            }
            for trade in self._tape(call)[-limit:]
        ]

    def aggregate(self, call: Call) -> Any:
        limit = min(call.get("limit", 500), 1000)
        start, end, first = call.get("startTime"), call.get("endTime"), call.get("fromId")
        trades = [
            trade
            for trade in self._tape(call)
            if (start is None or trade.time >= start)
            and (end is None or trade.time <= end)
            and (first is None or trade.trade_id >= first)
        ]
        trades = trades[:limit] if start is not None or first is not None else trades[-limit:]
        return [
            {
                "a": trade.trade_id,
                "p": text(trade.price),
                "q": text(trade.quantity),
                "f": trade.trade_id,
                "l": trade.trade_id,
                "T": trade.time,
                "m": trade.buyer_is_maker,
                "M": True,
            }
            for trade in trades
        ]

    def klines(self, call: Call) -> Any:
        length = INTERVALS[call.args["interval"]]
        start, end, limit = call.get("startTime", 0), call.get("endTime", 2**63), min(call.get("limit", 500), 1000)
        by_start: dict[int, list[PublicTrade]] = {}
        for trade in self._tape(call):
            opened = trade.time // length * length
            if start <= opened <= end:
                by_start.setdefault(opened, []).append(trade)
        rows = []
        for opened, trades in sorted(by_start.items()):
            c = candle(trades, opened, length)
            rows.append(
                [
                    opened,
                    *(c[name] for name in ("open", "high", "low", "close", "base")),
                    c["end"],
                    c["quote"],
                    c["count"],
                    c["taker_base"],
                    c["taker_quote"],
                    "0",
                ]
            )
        return rows[:limit] if "startTime" in call.args else rows[-limit:]

    def average(self, call: Call) -> Any:
        symbol = self.state.symbol(call.args["symbol"]).symbol
        tape = self.state.tape[symbol]
        closed = tape[-1].time if tape else self.state.clock.now()
        return {"mins": 5, "price": text(self.state.average(symbol)), "closeTime": closed}

    def _each(self, call: Call, show: Callable[[str], dict[str, Any]]) -> Any:
        if "symbol" in call.args and "symbols" in call.args:
            raise ApiError(-1128, "Combination of optional parameters invalid.")
        if "symbol" in call.args:
            return show(self.state.symbol(call.args["symbol"]).symbol)
        wanted = call.get("symbols") or list(self.state.symbols)
        if len(set(wanted)) != len(wanted):
            raise ApiError(-1151, "Symbol is present multiple times in the list.")
        return [show(self.state.symbol(name).symbol) for name in wanted]

    def price(self, call: Call) -> Any:
        return self._each(call, lambda name: {"symbol": name, "price": text(self.state.last[name])})

    def best(self, name: str) -> dict[str, Any]:
        """The best bid and ask of a symbol, zeros where a side is empty."""
        book = self.state.books[name]
        bid = (book.depth("BUY", 1) or [(ZERO, ZERO)])[0]
        ask = (book.depth("SELL", 1) or [(ZERO, ZERO)])[0]
        return {
            "symbol": name,
            "bidPrice": text(bid[0]),
            "bidQty": text(bid[1]),
            "askPrice": text(ask[0]),
            "askQty": text(ask[1]),
        }

    def book_ticker(self, call: Call) -> Any:
        return self._each(call, self.best)

    def day(self, call: Call) -> Any:
        kind = call.get("type", "FULL")
        return self._each(call, lambda name: self.day_of(name, kind))

    def day_of(self, name: str, kind: str = "FULL") -> dict[str, Any]:
        """The 24 hours of a symbol."""
        now = self.state.clock.now()
        trades = [trade for trade in self.state.tape[name] if trade.time > now - DAY]
        last = self.state.last[name]
        opened = trades[0].price if trades else last
        base = sum((trade.quantity for trade in trades), ZERO)
        quote = sum((trade.quantity * trade.price for trade in trades), ZERO)
        prices = [trade.price for trade in trades] or [last]
        short = {
            "symbol": name,
            "openPrice": text(opened),
            "highPrice": text(max(prices)),
            "lowPrice": text(min(prices)),
            "lastPrice": text(last),
            "volume": text(base),
            "quoteVolume": text(quote),
            "openTime": now - DAY,
            "closeTime": now,
            "firstId": trades[0].trade_id if trades else -1,
            "lastId": trades[-1].trade_id if trades else -1,
            "count": len(trades),
        }
        if kind == "MINI":
            return short
        best = self.best(name)
        percent = ratio((last - opened) * 100, opened) if opened else Decimal(0)
        full = {
            "symbol": name,
            "priceChange": text(last - opened),
            "priceChangePercent": text(percent, 3),
            "weightedAvgPrice": text(ratio(quote, base) if base else ZERO),
            "prevClosePrice": text(opened),
            "lastPrice": text(last),
            "lastQty": text(trades[-1].quantity if trades else ZERO),
        }
        best.pop("symbol")
        return full | best | short

    def endpoints(self) -> list[Endpoint]:
        """Every request of this room."""

        def public(
            name: str,
            path: str,
            handle: Callable[[Call], Any],
            weight: int | Callable[[Mapping[str, Any]], int],
            parameters: dict[str, p.Kind] | None = None,
            required: tuple[str, ...] = (),
        ) -> Endpoint:
            return Endpoint(name, handle, ("GET", f"/api/v3/{path}"), "", parameters or {}, required, weight)

        symbol: dict[str, p.Kind] = {"symbol": p.symbol, "limit": p.long}
        many: dict[str, p.Kind] = {"symbol": p.symbol, "symbols": p.names}
        window: dict[str, p.Kind] = {"startTime": p.long, "endTime": p.long}
        interval = p.one_of(INTERVALS, (-1120, "Invalid interval."))
        needed = ("symbol",)
        return [
            public("ping", "ping", self.ping, 1),
            public("time", "time", self.time, 1),
            public(
                "exchangeInfo",
                "exchangeInfo",
                self.info,
                20,
                many
                | {
                    "permissions": p.names,
                    "showPermissionSets": p.boolean,
                    "symbolStatus": p.one_of(("TRADING", "HALT", "BREAK"), (-1122, "Invalid symbolStatus.")),
                },
            ),
            public("depth", "depth", self.depth, _depth_weight, symbol, needed),
            public("trades.recent", "trades", self.trades, 25, symbol, needed),
            public("trades.aggregate", "aggTrades", self.aggregate, 4, symbol | window | {"fromId": p.long}, needed),
            public(
                "klines", "klines", self.klines, 2, symbol | window | {"interval": interval}, ("symbol", "interval")
            ),
            public("avgPrice", "avgPrice", self.average, 2, {"symbol": p.symbol}, needed),
            public("ticker.price", "ticker/price", self.price, lambda args: 2 if "symbol" in args else 4, many),
            public(
                "ticker.book", "ticker/bookTicker", self.book_ticker, lambda args: 2 if "symbol" in args else 4, many
            ),
            public(
                "ticker.24hr",
                "ticker/24hr",
                self.day,
                lambda args: 2 if "symbol" in args else 80,
                many | {"type": p.one_of(("FULL", "MINI"), (-1139, "Invalid ticker type."))},
            ),
        ]


def _depth_weight(args: Mapping[str, Any]) -> int:
    limit = args.get("limit", "100")
    size = int(limit) if str(limit).isdigit() else 100
    return 5 if size <= 100 else 25 if size <= 500 else 50 if size <= 1000 else 250
