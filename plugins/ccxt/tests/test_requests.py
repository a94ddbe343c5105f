"""Requests that ccxt signs: exactly as planned, or not at all."""

from __future__ import annotations

from typing import Any

import pytest

from exchange_kernel.errors import NotSent
from exchange_kernel_ccxt.requests import Plan, Signer, load, redirected

SECRET = "canary8a7711c2"
FIELDS = (("symbol", "BTCUSDT"), ("side", "BUY"), ("quantity", "0.010"), ("timestamp", "1795000000000"))
NAMED = (*FIELDS, ("newClientOrderId", "ek00ff"))


def exchange() -> Any:
    made = load("binance")({"apiKey": "key", "secret": SECRET})
    made.options |= {"timeDifference": 0, "recvWindow": None}
    return made


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "GET"])
def test_a_request_says_what_was_planned(method: str) -> None:
    """Every field as written, 0.010 included, in the body or in the query; signed, and with the key in a header."""
    request = Signer(exchange()).sign(Plan(method, "private", "order", NAMED))

    fields = dict(each.split("=") for each in request.query.split("&"))
    assert fields.pop("signature")
    assert fields == dict(NAMED)
    assert request.url.startswith("https://api.binance.com/api/v3/order")
    assert (request.body is None) == (method in ("GET", "DELETE"))
    assert request.headers["X-MBX-APIKEY"] == "key"


def test_what_ccxt_adds_by_itself_is_refused() -> None:
    """Without a client id ccxt makes one up: such an order is not sent."""
    with pytest.raises(NotSent, match="newClientOrderId"):
        Signer(exchange()).sign(Plan("POST", "private", "order", FIELDS))


def test_what_ccxt_changes_is_refused() -> None:
    """A window that ccxt's own options set in place of the planned one."""
    made = exchange()
    made.options["recvWindow"] = 10_000

    with pytest.raises(NotSent, match="recvWindow"):
        Signer(made).sign(Plan("POST", "private", "order", NAMED))


def test_what_ccxt_drops_is_refused() -> None:
    """A field that is not in the request as sent."""
    made = exchange()
    sign = made.sign
    made.sign = lambda path, api, method, params: sign(
        path, api, method, {name: value for name, value in params.items() if name != "quantity"}
    )

    with pytest.raises(NotSent, match="quantity"):
        Signer(made).sign(Plan("POST", "private", "order", NAMED))


def test_a_stored_request_is_the_same_again() -> None:
    """From its query alone: the same address, the same bytes, the same signature."""
    signer = Signer(exchange())
    request = signer.sign(Plan("POST", "private", "order", NAMED))

    assert signer.again("POST", "private", "order", request.query) == request


@pytest.mark.parametrize(
    "change",
    [
        lambda query: query.replace("BUY", "SELL"),
        lambda query: query[: len(query) // 2],
        lambda query: query + "&price=1",
        lambda query: query.rpartition("&")[0],
        lambda query: "",
        lambda query: query.replace("signature=", "signature=00"),
    ],
)
def test_a_changed_request_is_not_sent(change: Any) -> None:
    """Cut, longer, unsigned or with another side: it is not what this key signed."""
    signer = Signer(exchange())
    query = signer.sign(Plan("POST", "private", "order", NAMED)).query

    with pytest.raises(NotSent):
        signer.again("POST", "private", "order", change(query))


def test_only_the_hosts_that_are_named_change() -> None:
    """The table of addresses is rewritten by host, at any depth, and keeps its paths."""
    table = {"private": "https://api.binance.com/api/v3", "ws": {"spot": "wss://stream.binance.com/ws"}}

    assert redirected(table, {"api.binance.com": "http://127.0.0.1:5"}) == {
        "private": "http://127.0.0.1:5/api/v3",
        "ws": {"spot": "wss://stream.binance.com/ws"},
    }


def test_no_secret_in_what_is_printed() -> None:
    """Neither a request nor its error shows the key or the secret."""
    signer = Signer(exchange())
    request = signer.sign(Plan("POST", "private", "order", NAMED))

    assert "key" not in repr(request)
    assert SECRET not in repr(request) + repr(signer) + request.query
