"""The simulated Binance: exchanges, protocol and ports put together. Traffic stays on the loopback interface."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from aiohttp import web

from exchange_kernel_binance.simulator.accounts import Account, Rates
from exchange_kernel_binance.simulator.admin import Admin
from exchange_kernel_binance.simulator.clock import ManualClock, SkewedClock
from exchange_kernel_binance.simulator.config import AccountConfig, SimulatorConfig, standard_config
from exchange_kernel_binance.simulator.errors import ApiError
from exchange_kernel_binance.simulator.futures import reports as futures_reports
from exchange_kernel_binance.simulator.futures.orders import FuturesAccount
from exchange_kernel_binance.simulator.ids import SeededIds
from exchange_kernel_binance.simulator.market_maker import MarketMaker
from exchange_kernel_binance.simulator.numbers import text
from exchange_kernel_binance.simulator.spot import reports
from exchange_kernel_binance.simulator.spot.exchange import SpotExchange
from exchange_kernel_binance.simulator.spot.orders import OrderRequest
from exchange_kernel_binance.simulator.tls import make_authority
from exchange_kernel_binance.simulator.wire.futures_api import FuturesApi
from exchange_kernel_binance.simulator.wire.gate import Call, Gate
from exchange_kernel_binance.simulator.wire.keys import ApiKey, KeyRing
from exchange_kernel_binance.simulator.wire.limits import SPOT_RULES, Limits
from exchange_kernel_binance.simulator.wire.margin_api import MarginApi
from exchange_kernel_binance.simulator.wire.market_streams import MarketStreams
from exchange_kernel_binance.simulator.wire.parameters import read
from exchange_kernel_binance.simulator.wire.rest import Rest
from exchange_kernel_binance.simulator.wire.spot_market import SpotMarket
from exchange_kernel_binance.simulator.wire.spot_query import SpotQuery
from exchange_kernel_binance.simulator.wire.spot_trade import SpotTrade
from exchange_kernel_binance.simulator.wire.user_streams import UserStreams
from exchange_kernel_binance.simulator.wire.wallet_api import WalletApi
from exchange_kernel_binance.simulator.wire.ws_api import WsApi

LOOPBACK = "127.0.0.1"
CROWD = "crowd"


class Simulator:
    """`start` opens the ports, `close` ends everything; use it as an async context manager.

    `url` speaks plain HTTP and WebSocket, `tls_url` the same with a certificate for *.binance.com from `ca_file`,
    `admin_url` takes faults and tells the truth. `keys_of` has the API keys.
    """

    def __init__(self, config: SimulatorConfig | None = None, clock: SkewedClock | ManualClock | None = None) -> None:
        self.config = config or standard_config()
        self.clock = clock or SkewedClock()
        self.ids = SeededIds(self.config.seed)
        self.keys = KeyRing()
        self.keys_of: dict[str, ApiKey] = {}
        self.streams = UserStreams()
        self.spot = SpotExchange(self.clock, self.ids)
        for symbol in self.config.spot:
            self.spot.add_symbol(symbol)
        habits = self.spot.state.habits
        habits.query_lag = self.config.query_lag_ms
        habits.retention = self.config.retention_ms or habits.retention
        self.futures = FuturesApi(self.clock, self.ids, self.keys)
        for contract in self.config.futures:
            self.futures.exchange.add_contract(contract)
        self.futures.exchange.add_account(FuturesAccount(CROWD, unlimited=True))
        for uid, account in enumerate(self.config.accounts, 1):
            self._open_account(uid, account)
        self.spot.add_account(Account(CROWD, 999_999, unlimited=True))
        self.maker = (
            MarketMaker(self.spot, self.config.market_maker, self.config.seed) if self.config.market_maker else None
        )
        self.spot.state.journal.listen(self.streams.tell)
        limits = Limits(self.clock, SPOT_RULES)
        self.limits = {"spot": limits, "futures": self.futures.limits}
        self.spot.state.first_fill = limits.first_fill
        self.gate = Gate(self.clock, self.keys, limits, self.flush)
        self.faults = {
            "spot": (self.gate.faults, self.streams.faults),
            "futures": (self.futures.gate.faults, self.futures.users.faults),
        }
        market = SpotMarket(self.spot, limits)
        trade, query = SpotTrade(self.spot, limits), SpotQuery(self.spot, limits)
        self.margin = MarginApi(self.spot, trade, query, self.ids)
        wallet = WalletApi(self.keys, self.clock)
        endpoints = [*market.endpoints(), *trade.endpoints(), *query.endpoints(), *self.margin.endpoints()]
        endpoints += wallet.endpoints()
        self._endpoints = {
            "spot": {each.name: each for each in endpoints},
            "futures": {each.name: each for each in self.futures.endpoints},
        }
        self.rest = Rest(self.gate, endpoints)
        self.spot_ws = WsApi(self.gate, self.streams, endpoints, self.margin.opens)
        self.market_streams = MarketStreams(self.spot.state, market)
        self._runners: list[web.AppRunner] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._quoting: asyncio.Task[None] | None = None
        self._ticking: asyncio.Task[None] | None = None
        self.port = self.tls_port = self.admin_port = 0
        self.ca_file = Path()

    def _open_account(self, uid: int, config: AccountConfig) -> None:
        account = Account(config.name, uid)
        account.rates = Rates(config.maker_rate, config.taker_rate)
        account.pays_in_bnb = config.pays_in_bnb
        account.can_withdraw = config.can_withdraw
        for asset, amount in config.balances.items():
            account.credit(asset, amount)
        self.spot.add_account(account)
        self.futures.exchange.add_account(FuturesAccount(config.name, wallet=config.futures))
        secret = config.secret or ("" if config.public_key else self.ids.key())
        may = {"enableWithdrawals": config.can_withdraw, **config.restrictions}
        key = ApiKey(config.key or self.ids.key(), config.name, secret, config.public_key, config.permissions, may)
        self.keys_of[config.name] = key
        self.keys.add(key)

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def ws_url(self) -> str:
        return f"ws://{LOOPBACK}:{self.port}"

    @property
    def tls_url(self) -> str:
        return f"https://{LOOPBACK}:{self.tls_port}"

    @property
    def admin_url(self) -> str:
        return f"http://{LOOPBACK}:{self.admin_port}"

    async def start(self, port: int = 0, tls_port: int = 0, admin_port: int = 0) -> Simulator:
        """Open the three ports on the loopback interface; 0 takes a free one."""
        self._folder = tempfile.TemporaryDirectory(prefix="simulated-binance-")
        self.ca_file, tls = make_authority(Path(self._folder.name), SkewedClock().now())
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        runner = await self._runner(app)
        self.port = await _listen(web.TCPSite(runner, LOOPBACK, port))
        self.tls_port = await _listen(web.TCPSite(runner, LOOPBACK, tls_port, ssl_context=tls))
        admin = await self._runner(Admin(self).application())
        self.admin_port = await _listen(web.TCPSite(admin, LOOPBACK, admin_port))
        self._ticking = asyncio.ensure_future(self._tick())
        if self.maker is not None:
            self.maker.quote()
            self._quoting = asyncio.ensure_future(self._quote())
        return self

    async def _runner(self, app: web.Application) -> web.AppRunner:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        self._runners.append(runner)
        return runner

    async def close(self) -> None:
        """Close every connection and port."""
        for task in (self._quoting, self._ticking):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        for gate, streams in ((self.gate, self.streams), (self.futures.gate, self.futures.users)):
            await gate.close()
            streams.disconnect()
            streams.close()
        self.market_streams.disconnect()
        for runner in self._runners:
            await runner.cleanup()
        if self._folder is not None:
            self._folder.cleanup()

    async def __aenter__(self) -> Simulator:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        if self.futures.owns(request):
            return await self.futures.serve(request) or _nowhere()
        if path == "/ws-api/v3":
            return await self.spot_ws.serve(request)
        if path in ("/ws", "/stream") or path.startswith("/ws/"):
            return await self.market_streams.serve(request)
        if self.rest.knows(request.method, path):
            return await self.rest.handle(request)
        return web.Response(
            status=404, text="<html><body><h2>404 Not found</h2></body></html>", content_type="text/html"
        )

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(0.1)
            self.futures.flush()

    async def _quote(self) -> None:
        assert self.maker is not None
        assert self.config.market_maker is not None
        while True:
            await asyncio.sleep(self.config.market_maker.interval_ms / 1000)
            self.maker.quote()
            self.flush()

    def flush(self) -> None:
        """Tell the market streams what changed."""
        self.market_streams.flush()

    def act(self, name: str, account: str, params: Mapping[str, Any], *, market: str = "spot") -> Any:
        """Do as the account what a request would, past signatures, limits and faults; `market` spot or futures.

        :raises ApiError: what the exchange refuses.
        """
        if account not in self.spot.state.accounts:
            raise ValueError(f"no account {account!r}; there is {', '.join(self.spot.state.accounts)}")
        endpoint = self._endpoints[market][name]
        args = read(
            [(key, str(value)) for key, value in params.items()],
            endpoint.parameters,
            endpoint.required,
            frozenset(),
        )
        try:
            return endpoint.handle(Call(endpoint, args, account, "admin"))
        finally:
            self.flush()
            self.futures.flush()

    def trade_at(self, symbol: str, price: Decimal, quantity: Decimal) -> None:
        """The crowd trades with itself at `price`, after filling what rests in the way.

        :raises ApiError: where the price or the amount break a filter of the symbol.
        """
        state = self.spot.state
        for side in ("SELL", "BUY"):
            # Take what rests better than the price first, so that the trade can happen there.
            for maker in tuple(state.books[state.symbol(symbol).symbol].orders(side)):
                better = maker.price < price if side == "SELL" else maker.price > price
                if better:
                    self._crowd(symbol, "BUY" if side == "SELL" else "SELL", maker.price, maker.remaining, "IOC")
        self._crowd(symbol, "SELL", price, quantity, "GTC")
        self._crowd(symbol, "BUY", price, quantity, "IOC")
        if state.open_orders(CROWD, symbol):
            self.spot.cancel_all(CROWD, symbol)
        self.flush()

    def _crowd(self, symbol: str, side: str, price: Decimal, quantity: Decimal, tif: str) -> None:
        try:
            self.spot.place(CROWD, OrderRequest(symbol, side, "LIMIT", tif, quantity, None, price, stp="NONE"))
        except ApiError as error:
            if tif == "GTC":
                raise
            # A remnant below a filter stays; nothing else may be refused.
            if error.code != -1013:
                raise

    def truth(self) -> dict[str, Callable[[], Any]]:
        """What really is, by name: without limits, lags or forgetting."""
        state, futures = self.spot.state, self.futures.exchange.state
        return {
            "orders": lambda: [{"account": order.account, **reports.queried(order)} for order in state.orders.values()],
            "fills": lambda: [{"account": trade.account, **reports.traded(trade)} for trade in state.trades],
            "lists": lambda: [{"account": each.account, **reports.list_of(each)} for each in state.lists.values()],
            "balances": lambda: {
                name: {
                    asset: {"free": text(balance.free), "locked": text(balance.locked)}
                    for asset, balance in account.balances.items()
                }
                for name, account in state.accounts.items()
            },
            "requests": lambda: dict(self.gate.counts),
            "events": lambda: [{"account": account, **event} for account, event in state.journal.told],
            "futures-orders": lambda: [
                {"account": order.account, **futures_reports.queried(order, futures.contracts[order.symbol])}
                for order in futures.orders.values()
            ],
            "futures-algos": lambda: [
                {"account": each.account, **futures_reports.algo(each, futures.contracts[each.request.symbol])}
                for each in futures.algos.values()
            ],
            "futures-fills": lambda: [
                {"account": trade.account, **futures_reports.traded(trade, futures.contracts[trade.symbol])}
                for trade in futures.trades
            ],
            "futures-accounts": lambda: {name: self.futures.exchange.account(name) for name in futures.accounts},
            "futures-requests": lambda: dict(self.futures.gate.counts),
            "futures-events": lambda: [{"account": who, **event} for who, event in futures.journal.told],
            "streams": lambda: {"sent": self.streams.sent, "open": len(self.streams.subscriptions)},
        }


def _nowhere() -> web.Response:
    page = "<html><body><h2>404 Not found</h2></body></html>"
    return web.Response(status=404, text=page, content_type="text/html")


async def _listen(site: web.TCPSite) -> int:
    await site.start()
    server = site._server
    assert isinstance(server, asyncio.Server)
    port: int = server.sockets[0].getsockname()[1]
    return port
