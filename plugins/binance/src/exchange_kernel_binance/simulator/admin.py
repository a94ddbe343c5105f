"""The admin port: faults, the truth, time, and what other people do on the market.

A page of its own, so that a client under test can't reach it by accident.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from aiohttp import web

from exchange_kernel_binance.simulator.errors import ApiError
from exchange_kernel_binance.simulator.faults import fault_from

if TYPE_CHECKING:
    from exchange_kernel_binance.simulator.server import Simulator

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Admin:
    """HTTP with JSON in and out; every route is in `routes`."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def application(self) -> web.Application:
        app = web.Application(middlewares=[_refusals])
        app.router.add_get("/faults", self.faults)
        app.router.add_post("/faults", self.add_fault)
        app.router.add_delete("/faults", self.clear_faults)
        app.router.add_post("/streams/faults", self.add_stream_fault)
        app.router.add_post("/streams/{what}", self.streams)
        app.router.add_get("/truth/{what}", self.truth)
        app.router.add_post("/clock", self.clock)
        app.router.add_post("/habits", self.habits)
        app.router.add_post("/ban", self.ban)
        app.router.add_post("/pardon", self.pardon)
        app.router.add_post("/symbol", self.symbol)
        app.router.add_post("/deposit", self.deposit)
        app.router.add_post("/order", self.order)
        app.router.add_post("/cancel", self.cancel)
        app.router.add_post("/trade", self.trade)
        app.router.add_post("/futures/mark", self.mark)
        app.router.add_post("/futures/adl", self.deleverage)
        return app

    async def faults(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(
            {
                market: {"requests": requests.listed(), "streams": streams.listed()}
                for market, (requests, streams) in self._simulator.faults.items()
            }
        )

    async def add_fault(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        requests, _ = self._simulator.faults[body.pop("market", "spot")]
        return web.json_response(asdict(requests.add(fault_from(body))))

    async def add_stream_fault(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        _, streams = self._simulator.faults[body.pop("market", "spot")]
        return web.json_response(asdict(streams.add(fault_from(body))))

    async def clear_faults(self, request: web.Request) -> web.StreamResponse:
        for requests, streams in self._simulator.faults.values():
            requests.clear()
            streams.clear()
        return web.json_response({})

    async def streams(self, request: web.Request) -> web.StreamResponse:
        body, simulator = await _body(request), self._simulator
        account = body.get("account")
        match request.match_info["what"]:
            case "disconnect":
                users = simulator.futures.users if body.get("market") == "futures" else simulator.streams
                return web.json_response({"ended": users.disconnect(account)})
            case "expire-listen-key":
                return web.json_response({"ended": simulator.futures.streams.expire(account)})
            case "terminate":
                return web.json_response({"ended": simulator.spot_ws.terminate(account)})
            case "shutdown":
                told = simulator.spot_ws.announce_shutdown() + simulator.market_streams.announce_shutdown()
                return web.json_response({"told": told})
            case "disconnect-market":
                return web.json_response({"ended": simulator.market_streams.disconnect()})
            case what:
                raise ValueError(f"no stream action {what!r}")

    async def truth(self, request: web.Request) -> web.StreamResponse:
        truth = self._simulator.truth()
        what = request.match_info["what"]
        if what not in truth:
            raise ValueError(f"no truth about {what!r}; there is {', '.join(truth)}")
        return web.json_response(truth[what]())

    async def clock(self, request: web.Request) -> web.StreamResponse:
        self._simulator.clock.skew = int((await _body(request))["skew_ms"])
        return web.json_response({"now": self._simulator.clock.now()})

    async def habits(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        simulator = self._simulator
        futures = body.get("market", "spot") == "futures"
        habits = (simulator.futures.exchange if futures else simulator.spot).state.habits
        habits.retention = int(body.get("retention_ms", habits.retention))
        habits.query_lag = int(body.get("query_lag_ms", habits.query_lag))
        return web.json_response({"retention_ms": habits.retention, "query_lag_ms": habits.query_lag})

    async def ban(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        for limits in self._simulator.limits.values():
            limits.ban(body.get("address", "127.0.0.1"), int(body.get("ms", 120_000)))
        return web.json_response({})

    async def pardon(self, request: web.Request) -> web.StreamResponse:
        for limits in self._simulator.limits.values():
            limits.pardon()
        return web.json_response({})

    async def symbol(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        symbol = self._simulator.spot.state.symbol(body["symbol"])
        symbol.status = body["status"]
        return web.json_response({"symbol": symbol.symbol, "status": symbol.status})

    async def deposit(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        if body["account"] not in self._simulator.spot.state.accounts:
            raise ValueError(f"no account {body['account']!r}")
        return web.json_response(
            self._simulator.spot.state.deposit(body["account"], body["asset"], Decimal(str(body["amount"])))
        )

    async def order(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        market = body.pop("market", "spot")
        return web.json_response(self._simulator.act("order.place", body.pop("account"), body, market=market))

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        if body.pop("by_exchange", False):
            self._simulator.spot.exchange_cancels(int(body["orderId"]))
            self._simulator.flush()
            return web.json_response({})
        market = body.pop("market", "spot")
        return web.json_response(self._simulator.act("order.cancel", body.pop("account"), body, market=market))

    async def trade(self, request: web.Request) -> web.StreamResponse:
        """Somebody trades at a price: the market comes there, and what rests in between is filled."""
        body = await _body(request)
        self._simulator.trade_at(body["symbol"], Decimal(str(body["price"])), Decimal(str(body["quantity"])))
        return web.json_response({"last": str(self._simulator.spot.state.last[body["symbol"]])})

    async def mark(self, request: web.Request) -> web.StreamResponse:
        """The mark price by hand: conditional orders on it fire, thin accounts are liquidated."""
        body = await _body(request)
        self._simulator.futures.exchange.set_mark(body["symbol"], Decimal(str(body["price"])))
        self._simulator.futures.flush()
        return web.json_response({"symbol": body["symbol"], "mark": str(body["price"])})

    async def deleverage(self, request: web.Request) -> web.StreamResponse:
        body = await _body(request)
        order = self._simulator.futures.exchange.auto_deleverage(
            body["account"], body["symbol"], body.get("positionSide", "BOTH"), Decimal(str(body["quantity"]))
        )
        return web.json_response({"orderId": order.order_id, "clientOrderId": order.client_id})


async def _body(request: web.Request) -> dict[str, Any]:
    text = await request.text()
    body = json.loads(text, parse_float=str) if text else {}
    if not isinstance(body, dict):
        raise ValueError("the body must be a JSON object")
    return body


@web.middleware
async def _refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ApiError as error:
        return web.json_response(error.payload(), status=error.status)
    except KeyError as error:
        return web.json_response({"error": f"{error.args[0]!r} is missing or unknown"}, status=400)
    except (ValueError, TypeError, InvalidOperation) as error:
        return web.json_response({"error": str(error)}, status=400)
