"""Futures streams: listen keys, private connections raw and combined, a little market data."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from exchange_kernel_binance.simulator.errors import ApiError
from exchange_kernel_binance.simulator.futures.state import FuturesState
from exchange_kernel_binance.simulator.ids import SeededIds
from exchange_kernel_binance.simulator.wire.gate import Call, Endpoint
from exchange_kernel_binance.simulator.wire.outbox import Outbox
from exchange_kernel_binance.simulator.wire.user_streams import Subscription, UserStreams

HOUR = 3_600_000


@dataclass(eq=False, slots=True)
class Connection:
    """One socket: its market streams, and its subscriptions by listen key."""

    outbox: Outbox
    combined: bool
    streams: set[str] = field(default_factory=set)
    keys: dict[str, Subscription] = field(default_factory=dict)


class FuturesStreams:
    """Listen keys live for an hour unless they are kept alive."""

    def __init__(self, state: FuturesState, ids: SeededIds, streams: UserStreams) -> None:
        self._state = state
        self._ids = ids
        self._streams = streams
        self._keys: dict[str, tuple[str, int]] = {}
        self.connections: set[Connection] = set()
        self._seen: dict[str, int] = {}

    def endpoints(self) -> list[Endpoint]:
        route, stream = "/fapi/v1/listenKey", "USER_STREAM"
        return [
            Endpoint("userDataStream.start", self._start, ("POST", route), stream, key_only=True),
            Endpoint("userDataStream.ping", self._keep, ("PUT", route), stream, key_only=True),
            Endpoint("userDataStream.stop", self._stop, ("DELETE", route), stream, key_only=True),
        ]

    def _of(self, account: str) -> str | None:
        self.tick()
        return next((key for key, (owner, _) in self._keys.items() if owner == account), None)

    def _start(self, call: Call) -> Any:
        key = self._of(call.account) or self._ids.key()
        self._keys[key] = (call.account, self._state.clock.now() + HOUR)
        return {"listenKey": key}

    def _keep(self, call: Call) -> Any:
        key = self._of(call.account)
        if key is None:
            raise ApiError(-1125, "This listenKey does not exist.")
        return self._start(call)

    def _stop(self, call: Call) -> Any:
        key = self._of(call.account)
        if key is not None:
            self._end(key)
        return {}

    def tick(self) -> None:
        """Keys whose hour is over end."""
        now = self._state.clock.now()
        for key, (_, end) in tuple(self._keys.items()):
            if end <= now:
                self._end(key)

    def expire(self, account: str | None) -> int:
        """End the keys of the account, or of all; how many there were."""
        ended = [key for key, (owner, _) in self._keys.items() if account in (None, owner)]
        for key in ended:
            self._end(key)
        return len(ended)

    def _end(self, key: str) -> None:
        del self._keys[key]
        event = {"e": "listenKeyExpired", "E": self._state.clock.now(), "listenKey": key}
        for connection in self.connections:
            subscription = connection.keys.pop(key, None)
            if subscription is not None:
                subscription.send(event)
                self._streams.remove(subscription)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One connection: `…/ws/<key>`, `…/ws?listenKey=`, `…/stream?streams=`, or SUBSCRIBE once it is open."""
        socket = web.WebSocketResponse(heartbeat=20)
        await socket.prepare(request)
        connection = Connection(Outbox(socket), request.path.endswith("/stream"))
        names = request.query.get("listenKey") or request.query.get("streams")
        for name in (names or request.path.partition("/ws/")[2]).split("/"):
            self._add(connection, name)
        self.connections.add(connection)
        try:
            async for message in socket:
                if message.type is not WSMsgType.TEXT:
                    break
                connection.outbox.put(self._command(connection, message.data))
        finally:
            self.connections.discard(connection)
            for subscription in connection.keys.values():
                self._streams.remove(subscription)
            await connection.outbox.close()
        return socket

    def _add(self, connection: Connection, name: str) -> None:
        if name not in self._keys or name in connection.keys:
            connection.streams.add(name)
            return

        def send(event: dict[str, Any]) -> None:
            connection.outbox.put({"stream": name, "data": event} if connection.combined else event)

        subscription = Subscription(self._keys[name][0], send, connection.outbox.end)
        connection.keys[name] = self._streams.add(subscription)

    def _command(self, connection: Connection, frame: str) -> dict[str, Any]:
        command = json.loads(frame)
        identity, result = command.get("id"), None
        for name in command.get("params") or []:
            if command["method"] == "SUBSCRIBE":
                self._add(connection, str(name))
            elif command["method"] == "UNSUBSCRIBE":
                connection.streams.discard(str(name))
                subscription = connection.keys.pop(str(name), None)
                if subscription is not None:
                    self._streams.remove(subscription)
        if command["method"] == "LIST_SUBSCRIPTIONS":
            result = [*connection.streams, *connection.keys]
        return {"result": result, "id": identity}

    def _tell(self, stream: str, data: dict[str, Any]) -> None:
        for connection in self.connections:
            if stream in connection.streams:
                connection.outbox.put({"stream": stream, "data": data} if connection.combined else data)

    def flush(self) -> None:
        """Tell the trades, best prices and depth that changed since the last time."""
        now = self._state.clock.now()
        for symbol, contract in self._state.contracts.items():
            low, book, tape = symbol.lower(), self._state.books[symbol], self._state.tape[symbol]
            for trade in tape[self._seen.get(symbol, 0) :]:
                event = {
                    "e": "aggTrade",
                    "E": now,
                    "s": symbol,
                    "a": trade.trade_id,
                    "p": contract.price(trade.price),
                    "q": contract.amount(trade.quantity),
                    "f": trade.trade_id,
                    "l": trade.trade_id,
                    "T": trade.time,
                    "m": trade.buyer_is_maker,
                }
                self._tell(f"{low}@aggTrade", event)
            self._seen[symbol] = len(tape)
            changed, book.changed = book.changed, set()
            if not changed:
                continue
            bid, ask = book.depth("BUY", 1), book.depth("SELL", 1)
            if bid and ask:
                ticker = {"e": "bookTicker", "u": book.update_id, "s": symbol, "E": now, "T": now}
                ticker |= {"b": contract.price(bid[0][0]), "B": contract.amount(bid[0][1])}
                ticker |= {"a": contract.price(ask[0][0]), "A": contract.amount(ask[0][1])}
                self._tell(f"{low}@bookTicker", ticker)
            sides = {
                name: [
                    [contract.price(price), contract.amount(book.shown_at(side, price))]
                    for each, price in sorted(changed)
                    if each == side
                ]
                for name, side in (("b", "BUY"), ("a", "SELL"))
            }
            update = {"e": "depthUpdate", "E": now, "T": now, "s": symbol, "u": book.update_id, **sides}
            first = book.update_id - len(changed) + 1
            self._tell(f"{low}@depth", update | {"U": first, "pu": first - 1})
