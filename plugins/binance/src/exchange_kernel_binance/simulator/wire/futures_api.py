"""The USD-M futures API put together: one exchange, its limits, its ways in and its streams."""

from __future__ import annotations

from aiohttp import web

from exchange_kernel_binance.simulator.clock import Clock
from exchange_kernel_binance.simulator.futures.exchange import FuturesExchange
from exchange_kernel_binance.simulator.ids import SeededIds
from exchange_kernel_binance.simulator.wire.futures_query import FuturesQuery
from exchange_kernel_binance.simulator.wire.futures_streams import FuturesStreams
from exchange_kernel_binance.simulator.wire.futures_trade import FuturesTrade
from exchange_kernel_binance.simulator.wire.gate import Gate
from exchange_kernel_binance.simulator.wire.keys import KeyRing
from exchange_kernel_binance.simulator.wire.limits import FUTURES_RULES, Limits
from exchange_kernel_binance.simulator.wire.rest import Rest
from exchange_kernel_binance.simulator.wire.user_streams import UserStreams
from exchange_kernel_binance.simulator.wire.ws_api import WsApi


class FuturesApi:
    """REST under /fapi, the WebSocket API under /ws-fapi/v1, streams under /private, /public and /market."""

    def __init__(self, clock: Clock, ids: SeededIds, keys: KeyRing) -> None:
        self.exchange = FuturesExchange(clock, ids)
        self.users = UserStreams()
        self.exchange.state.journal.listen(self.users.tell)
        self.limits = Limits(clock, FUTURES_RULES)
        self.gate = Gate(clock, keys, self.limits, self.flush)
        self.streams = FuturesStreams(self.exchange.state, ids, self.users)
        self.endpoints = [
            *FuturesTrade(self.exchange).endpoints(),
            *FuturesQuery(self.exchange, self.limits).endpoints(),
            *self.streams.endpoints(),
        ]
        self.rest = Rest(self.gate, self.endpoints)
        self.ws = WsApi(self.gate, self.users, self.endpoints)

    def owns(self, request: web.Request) -> bool:
        """Whether a request or a connection is the futures API's."""
        path = request.path
        if path.startswith(("/fapi/", "/ws-fapi/", "/private/", "/public/", "/market/")):
            return True
        return request.host.startswith("fstream") and path.startswith(("/ws", "/stream"))

    async def serve(self, request: web.Request) -> web.StreamResponse | None:
        """The answer, or None where there is no such path."""
        if request.path == "/ws-fapi/v1":
            return await self.ws.serve(request)
        if self.rest.knows(request.method, request.path):
            return await self.rest.handle(request)
        if "/ws" in request.path or request.path.endswith("/stream"):
            return await self.streams.serve(request)
        return None

    def flush(self) -> None:
        """Tell what changed, and do what time asks for."""
        self.exchange.tick()
        self.streams.tick()
        self.streams.flush()
