"""What Binance's answers mean: every row of the table, and everything that is no row of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from aiohttp import web

from exchange_kernel.errors import (
    ClockSkew,
    InsufficientFunds,
    MarketClosed,
    NoEffect,
    NotAuthorized,
    NotSent,
    OrderRefused,
    OutcomeUnknown,
    PostOnlyWouldCross,
    RateLimited,
    Unavailable,
    UnknownTarget,
    VenueError,
)
from exchange_kernel.venue import Context, Fence, Ticket, TimeEnd
from exchange_kernel_binance.config import BinanceConfig
from exchange_kernel_binance.filtering import FUTURES
from exchange_kernel_binance.limits import reopen_all
from exchange_kernel_binance.session import CODEC, Session, decoder
from exchange_kernel_binance.spot.reports import OrderView
from exchange_kernel_binance.verdicts import READS, SPOT, USDM
from exchange_kernel_ccxt.requests import Plan
from exchange_kernel_ccxt.verdicts import Row

SECRET = "canary51b0c9d4e7"
NOW = 1_795_000_000_000
PLACE = ("POST", "private", "order")
_read = decoder(OrderView)


class Desk:
    """A session with a server that answers what the test says."""

    def __init__(self, market: str = "spot") -> None:
        self.market = market
        self.answer: web.Response = web.json_response({})
        self.asked: list[str] = []

    async def __aenter__(self) -> Desk:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        url = site.name
        config = {"market": self.market, "network": "custom"}
        config["urls"] = {self.market: url, f"{self.market}_ws": "ws://127.0.0.1:1"}
        secrets = {"api_key": "key" * 21, "secret": SECRET}
        ctx = Context("desk", config, clock=lambda: NOW, sleep=asyncio.sleep, secrets=secrets)
        table, clock = (SPOT, ("public", "time")) if self.market == "spot" else (USDM, ("fapiPublic", "time"))
        self.session = Session(ctx, BinanceConfig.of(ctx), table, clock, frozenset({-2013}))
        await self.session.open({"api.binance.com": url, "fapi.binance.com": url})
        self.session.time.observe(NOW, 1, NOW)
        self.session.identity = f"binance:custom:{self.market}:1"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.session.close()
        await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.Response:
        self.asked.append(f"{request.method} {request.path}")
        return self.answer

    def says(self, status: int, code: int | None, text: str = "", headers: Mapping[str, str] | None = None) -> None:
        body = {} if code is None else {"code": code, "msg": text}
        self.answer = web.Response(status=status, body=json.dumps(body).encode(), headers=headers)

    async def send(self) -> Any:
        fields = (("symbol", "BTCUSDT"), ("timestamp", str(NOW)), ("newClientOrderId", "ek00"))
        place = PLACE if self.market == "spot" else ("POST", "fapiPrivate", "order")
        request = self.session._signer.sign(Plan(*place, fields))
        body = f"{' '.join(place)}\n{request.query}".encode()
        fence = Fence(False, (TimeEnd(NOW + 5_000, "venue", 10_000),))
        ticket = Ticket(b"k" * 16, body, CODEC, self.session.identity, fence, send_before=NOW + 1)
        _, again = self.session.request_of(ticket)
        return await self.session.send(ticket, again, _read)


def at_the_desk(status: int, code: int | None, text: str = "", headers: Mapping[str, str] | None = None) -> Any:
    """What a change comes to that is answered so: an error, or None for a duplicate."""

    async def play() -> Any:
        async with Desk() as desk:
            desk.says(status, code, text, headers)
            try:
                return await desk.send()
            except VenueError as error:
                return error
            finally:
                assert desk.asked == ["POST /api/v3/order"]

    return asyncio.run(play())


@pytest.mark.parametrize("row", SPOT.rows, ids=lambda row: f"{row.code or row.status} {row.text or row.meaning}")
def test_every_row_decides_as_it_says(row: Row) -> None:
    """An answer that meets a row is told by the row's error, with Binance's code and text, and had no effect."""
    text = f"Well: {row.text}."
    decided(row, text, at_the_desk(row.status or 400, row.code, text, {"Retry-After": "7"}))


def test_every_row_of_futures_decides_as_it_says() -> None:
    """The same; and a code that means a filter is told with the filter's name."""

    async def play() -> None:
        async with Desk("usdm") as desk:
            for row in USDM.rows:
                text = f"Well: {row.text}."
                desk.says(row.status or 400, row.code, text, {"Retry-After": "7"})
                try:
                    found = await desk.send()
                except VenueError as error:
                    found = error
                rule = FUTURES.get(row.code or 0, "")
                decided(row, f"{text} ({rule})" if rule else text, found)
                reopen_all()
            assert desk.asked == ["POST /fapi/v1/order"] * len(USDM.rows)

    asyncio.run(play())
    assert set(FUTURES) <= {row.code for row in USDM.rows}


def decided(row: Row, text: str, error: Any) -> None:
    """It is what the row says."""
    if row.meaning == "duplicate":
        assert error is None
    elif row.meaning == "rate":
        assert isinstance(error, RateLimited)
        assert error.retry_at == NOW + 7_000
    else:
        assert type(error) is row.meaning, row
        assert isinstance(error, NoEffect)
        assert (error.code, str(error), error.why) == (str(row.code), text, row.why.value)
    assert row.source


@pytest.mark.parametrize(
    ("status", "code", "text", "meaning"),
    [
        (400, -2010, "Duplicate order sent.", None),
        (400, -2010, "Account has insufficient balance for requested action.", InsufficientFunds),
        (400, -2010, "Order would immediately match and take.", PostOnlyWouldCross),
        (400, -2010, "Market is closed.", MarketClosed),
        (400, -2010, "Order would trigger immediately.", OrderRefused),
        (400, -1013, "Filter failure: LOT_SIZE", OrderRefused),
        (400, -1013, "Filter failure: MAX_NUM_ORDERS", OrderRefused),
        (400, -1104, "Not all sent parameters were read; read '8' parameter(s) but was sent '9'.", OrderRefused),
        (400, -1121, "Invalid symbol.", OrderRefused),
        (400, -2011, "Unknown order sent.", UnknownTarget),
        (400, -2011, "Order was not canceled due to cancel restrictions.", UnknownTarget),
        (400, -1021, "Timestamp for this request is outside of the recvWindow.", ClockSkew),
        (400, -1022, "Signature for this request is not valid.", NotAuthorized),
        (401, -2015, "Invalid API-key, IP, or permissions for action.", NotAuthorized),
        (429, -1003, "Too much request weight used.", RateLimited),
        (418, -1003, "Way too much request weight used; IP banned.", RateLimited),
        (429, -1015, "Too many new orders.", RateLimited),
        # Nothing is decided by these: the order may be there.
        (500, -1000, "An unknown error occurred while processing the request.", OutcomeUnknown),
        (503, -1001, "Internal error; unable to process your request.", OutcomeUnknown),
        (500, -1006, "An unexpected response was received from the message bus.", OutcomeUnknown),
        (503, -1007, "Timeout waiting for response from backend server.", OutcomeUnknown),
        (408, -1007, "Timeout waiting for response from backend server.", OutcomeUnknown),
        (503, -1008, "Server is currently overloaded with other requests.", OutcomeUnknown),
        (503, -2010, "Duplicate order sent.", OutcomeUnknown),
        (503, None, "", OutcomeUnknown),
        (403, None, "", OutcomeUnknown),
        (400, None, "", OutcomeUnknown),
        (400, -9999, "Something new.", OutcomeUnknown),
        (302, None, "", OutcomeUnknown),
    ],
)
def test_documented_answers(status: int, code: int | None, text: str, meaning: type[VenueError] | None) -> None:
    """Binance's own words, and what they prove."""
    error = at_the_desk(status, code, text)

    assert error is None if meaning is None else type(error) is meaning


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"symbol":"BTCUSDT"}', b'{"code":-2010,"msg":"x"}', b"<a>"]
)
def test_a_success_that_cannot_be_read_is_an_unknown_outcome(body: bytes) -> None:
    """A 200 that is empty, cut, or of another shape says nothing about the order."""

    async def play() -> None:
        async with Desk() as desk:
            desk.answer = web.Response(status=200, body=body)
            with pytest.raises(OutcomeUnknown):
                await desk.send()

    asyncio.run(play())


def test_a_ban_without_a_date_lasts_as_long_as_the_shortest() -> None:
    """A 418 that does not say until when is obeyed for two minutes, for the whole address."""
    error = at_the_desk(418, None)

    assert isinstance(error, RateLimited)
    assert (error.retry_at, error.scope, error.banned) == (NOW + 120_000, "ip", True)


def test_too_many_orders_is_the_accounts_own_limit() -> None:
    """-1015 stops this account, and nobody else behind the same address."""
    error = at_the_desk(429, -1015, "Too many new orders.", {"Retry-After": "3"})

    assert isinstance(error, RateLimited)
    assert (error.retry_at, error.scope, error.banned) == (NOW + 3_000, "account", False)


def test_a_refused_connection_was_never_sent() -> None:
    """Nothing listens there, so nothing left: that is definite."""

    async def play() -> None:
        async with Desk() as desk:
            await desk._runner.cleanup()
            with pytest.raises(NotSent):
                await desk.send()

    asyncio.run(play())


@pytest.mark.parametrize(
    ("status", "code", "meaning"),
    [
        (418, -1003, RateLimited),
        (401, -2015, NotAuthorized),
        (400, -1022, NotAuthorized),
        (400, -1121, Unavailable),
        (503, -2015, Unavailable),
        (500, None, Unavailable),
    ],
)
def test_reads_are_never_absence(status: int, code: int | None, meaning: type[VenueError]) -> None:
    """A read that is refused says why, or that it has to be asked again."""

    async def play() -> None:
        async with Desk() as desk:
            desk.says(status, code, "no")
            with pytest.raises(meaning):
                await desk.session.read(("GET", "private", "order"), (), _read)

    asyncio.run(play())


def test_the_tables_name_their_sources() -> None:
    """No row without the page of Binance's documentation that it is from."""
    assert all(row.source for row in (*SPOT.rows, *USDM.rows, *READS.rows))
