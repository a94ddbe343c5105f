"""Market data streams: raw, combined, subscribed to while connected (web-socket-streams.md)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from aiohttp import WSMsgType, web

from exchange_kernel_binance.simulator.numbers import text
from exchange_kernel_binance.simulator.spot.state import PublicTrade, SpotState
from exchange_kernel_binance.simulator.wire.outbox import Outbox
from exchange_kernel_binance.simulator.wire.spot_market import INTERVALS, SpotMarket, candle

_DEPTH = re.compile(r"depth(5|10|20)?(@100ms|@1000ms)?")
_KINDS = ("trade", "aggTrade", "bookTicker", "miniTicker", "ticker", "avgPrice")


@dataclass(eq=False, slots=True)
class Listener:
    """A connection and the streams it wants."""

    outbox: Outbox
    combined: bool
    streams: set[str] = field(default_factory=set)

    def send(self, stream: str, data: dict[str, Any]) -> None:
        self.outbox.put({"stream": stream, "data": data} if self.combined else data)


class MarketStreams:
    """Follows one exchange's books and trades."""

    def __init__(self, state: SpotState, market: SpotMarket) -> None:
        self._state = state
        self._market = market
        self.listeners: set[Listener] = set()
        self._best: dict[str, dict[str, Any]] = {}
        self._told: dict[str, int] = {}
        state.market_listeners.append(self.traded)

    def is_stream(self, name: str) -> bool:
        symbol, _, kind = name.partition("@")
        if symbol.upper() not in self._state.symbols:
            return False
        if kind.startswith("kline_"):
            return kind.removeprefix("kline_") in INTERVALS
        return kind in _KINDS or _DEPTH.fullmatch(kind) is not None

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One connection, until it ends: `/ws/<stream>` raw, `/stream?streams=a/b` combined."""
        socket = web.WebSocketResponse(heartbeat=20)
        await socket.prepare(request)
        combined = request.path.endswith("/stream")
        listener = Listener(Outbox(socket), combined)
        names = request.query.get("streams", "") if combined else request.path.partition("/ws/")[2]
        listener.streams |= {name for name in names.split("/") if self.is_stream(name)}
        self.listeners.add(listener)
        try:
            async for message in socket:
                if message.type is not WSMsgType.TEXT:
                    break
                listener.outbox.put(self._command(listener, message.data))
        finally:
            self.listeners.discard(listener)
            await listener.outbox.close()
        return socket

    def _command(self, listener: Listener, frame: str) -> dict[str, Any]:
        try:
            command = json.loads(frame)
            method, params, identity = command["method"], command.get("params") or [], command.get("id")
        except (ValueError, KeyError, TypeError):
            return {"error": {"code": 3, "msg": "Invalid JSON: expected value at line 1 column 1"}}
        result: Any = None
        if method == "SUBSCRIBE":
            listener.streams |= {str(name) for name in params}
        elif method == "UNSUBSCRIBE":
            listener.streams -= {str(name) for name in params}
        elif method == "LIST_SUBSCRIPTIONS":
            result = sorted(listener.streams)
        elif method == "SET_PROPERTY" and params[:1] == ["combined"]:
            listener.combined = bool(params[1])
        elif method == "GET_PROPERTY" and params == ["combined"]:
            result = listener.combined
        else:
            return {"error": {"code": 2, "msg": f"Invalid request: unknown variant {method}"}, "id": identity}
        return {"result": result, "id": identity}

    def announce_shutdown(self) -> int:
        """serverShutdown on every connection; how many there are."""
        for listener in self.listeners:
            listener.send("!serverShutdown", {"e": "serverShutdown", "E": self._state.clock.now()})
        return len(self.listeners)

    def disconnect(self) -> int:
        for listener in self.listeners:
            listener.outbox.end()
        return len(self.listeners)

    def _tell(self, stream: str, make: Any) -> None:
        data = None
        for listener in self.listeners:
            if stream in listener.streams:
                data = data or make()
                listener.send(stream, data)

    def traded(self, trade: PublicTrade) -> None:
        """Tell trade, aggTrade, kline and the tickers."""
        if not self.listeners:
            return
        low, now = trade.symbol.lower(), self._state.clock.now()
        base = {
            "E": now,
            "s": trade.symbol,
            "p": text(trade.price),
            "q": text(trade.quantity),
            "T": trade.time,
            "m": trade.buyer_is_maker,
            "M": True,
        }
        number = trade.trade_id
        self._tell(f"{low}@trade", lambda: {"e": "trade", "t": number, **base})
        self._tell(f"{low}@aggTrade", lambda: {"e": "aggTrade", "a": number, "f": number, "l": number, **base})
        self._tell(f"{low}@ticker", lambda: self._ticker(trade.symbol))
        self._tell(f"{low}@miniTicker", lambda: self._mini(trade.symbol))
        for interval, length in INTERVALS.items():
            self._tell(f"{low}@kline_{interval}", lambda i=interval, n=length: self._kline(trade, i, n))

    def _kline(self, trade: PublicTrade, interval: str, length: int) -> dict[str, Any]:
        start = trade.time // length * length
        trades = [each for each in self._state.tape[trade.symbol] if each.time >= start]
        c = candle(trades, start, length)
        return {
            "e": "kline",
            "E": self._state.clock.now(),
            "s": trade.symbol,
            "k": {
                "t": start,
                "T": c["end"],
                "s": trade.symbol,
                "i": interval,
                "f": c["first"],
                "L": c["last"],
                "o": c["open"],
                "c": c["close"],
                "h": c["high"],
                "l": c["low"],
                "v": c["base"],
                "n": c["count"],
                "x": False,
                "q": c["quote"],
                "V": c["taker_base"],
                "Q": c["taker_quote"],
                "B": "0",
            },
        }

    def _mini(self, symbol: str) -> dict[str, Any]:
        day = self._market.day_of(symbol)
        return {
            "e": "24hrMiniTicker",
            "E": self._state.clock.now(),
            "s": symbol,
            "c": day["lastPrice"],
            "o": day["openPrice"],
            "h": day["highPrice"],
            "l": day["lowPrice"],
            "v": day["volume"],
            "q": day["quoteVolume"],
        }

    def _ticker(self, symbol: str) -> dict[str, Any]:
        day = self._market.day_of(symbol)
        names = {
            "p": "priceChange",
            "P": "priceChangePercent",
            "w": "weightedAvgPrice",
            "x": "prevClosePrice",
            "c": "lastPrice",
            "Q": "lastQty",
            "b": "bidPrice",
            "B": "bidQty",
            "a": "askPrice",
            "A": "askQty",
            "o": "openPrice",
            "h": "highPrice",
            "l": "lowPrice",
            "v": "volume",
            "q": "quoteVolume",
            "O": "openTime",
            "C": "closeTime",
            "F": "firstId",
            "L": "lastId",
            "n": "count",
        }
        head = {"e": "24hrTicker", "E": self._state.clock.now(), "s": symbol}
        return head | {short: day[name] for short, name in names.items()}

    def flush(self) -> None:
        """Tell what changed in the books since the last time."""
        for name, book in self._state.books.items():
            if not book.changed:
                continue
            changed, book.changed = book.changed, set()
            first, self._told[name] = self._told.get(name, 0) + 1, book.update_id
            if self.listeners:
                self._book_changed(name, first, changed)

    def _book_changed(self, name: str, first: int, changed: set[tuple[str, Decimal]]) -> None:
        book, low = self._state.books[name], name.lower()
        best = self._market.best(name)
        if best != self._best.get(name):
            self._best[name] = best
            short = {"u": book.update_id, "s": name, "b": best["bidPrice"], "B": best["bidQty"]}
            self._tell(f"{low}@bookTicker", lambda: short | {"a": best["askPrice"], "A": best["askQty"]})

        def side(which: str) -> list[list[str]]:
            prices = sorted(price for each, price in changed if each == which)
            return [[text(price), text(book.shown_at(which, price))] for price in prices]

        def difference() -> dict[str, Any]:
            return {
                "e": "depthUpdate",
                "E": self._state.clock.now(),
                "s": name,
                "U": first,
                "u": book.update_id,
                "b": side("BUY"),
                "a": side("SELL"),
            }

        def partial(size: int) -> dict[str, Any]:
            return {
                "lastUpdateId": book.update_id,
                "bids": [[text(price), text(amount)] for price, amount in book.depth("BUY", size)],
                "asks": [[text(price), text(amount)] for price, amount in book.depth("SELL", size)],
            }

        for pace in ("", "@100ms", "@1000ms"):
            self._tell(f"{low}@depth{pace}", difference)
            for size in (5, 10, 20):
                self._tell(f"{low}@depth{size}{pace}", lambda size=size: partial(size))
