"""The spot protocol as a client meets it: signatures, time, strictness, limits."""

from __future__ import annotations

import base64
from urllib.parse import quote, urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from exchange_kernel_binance.simulator import Simulator
from exchange_kernel_binance.simulator.config import AccountConfig
from exchange_kernel_binance.simulator.wire.keys import ApiKey
from plugins.binance.tests.stage import Listener, Raw, config, on_stage

ORDER = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1", "price": "40000"}
PATH = "/api/v3/order"


def test_documented_signature() -> None:
    """The worked HMAC example of rest-api.md (HMAC Keys) verifies, in either letter case, and no other bytes do."""
    key = ApiKey(
        "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A",
        "doc",
        "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j",
    )
    payload = (
        b"symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000"
        b"&timestamp=1499827319559"
    )
    signature = "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71"
    assert key.verifies(payload, signature)
    assert key.verifies(payload, signature.upper())
    assert not key.verifies(payload + b"0", signature)


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_asymmetric_keys(kind: str) -> None:
    """Orders signed with RSA and Ed25519 are accepted, and refused with one byte changed."""
    private: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
    private = rsa.generate_private_key(65537, 2048) if kind == "rsa" else ed25519.Ed25519PrivateKey.generate()
    pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    settings = config()
    money = settings.accounts[0].balances
    settings.accounts = [AccountConfig("alice", public_key=pem, balances=dict(money))]

    def sign(payload: str) -> str:
        if isinstance(private, ed25519.Ed25519PrivateKey):
            raw = private.sign(payload.encode())
        else:
            raw = private.sign(payload.encode(), padding.PKCS1v15(), SHA256())
        return quote(base64.b64encode(raw).decode(), safe="")

    async def scene(simulator: Simulator) -> None:
        async with Raw(simulator) as raw:
            query = urlencode({**ORDER, "timestamp": simulator.clock.now()})
            status, _, body = await raw.send("POST", PATH, f"{query}&signature={sign(query)}")
            assert status == 200, body
            status, _, body = await raw.send("POST", PATH, f"{query}&signature={sign(query + '0')}")
            assert (status, body["code"]) == (400, -1022)

    on_stage(scene, settings)


def test_the_signature_covers_query_and_body_as_sent() -> None:
    """Parameters may be split between query and body; what is signed is both, as sent; the query wins."""

    async def scene(simulator: Simulator) -> None:
        async with Raw(simulator) as raw:
            query = f"symbol=BTCUSDT&side=BUY&type=LIMIT&timestamp={simulator.clock.now()}"
            body = "timeInForce=GTC&quantity=1&price=40000&side=SELL"
            signature = raw.sign(query + body)
            status, _, reply = await raw.send("POST", PATH, query, f"{body}&signature={signature}")
            assert (status, reply["side"]) == (200, "BUY")
            odd = f"symbol=BTC%55SDT&timestamp={simulator.clock.now()}"
            status, _, reply = await raw.send("GET", "/api/v3/openOrders", f"{odd}&signature={raw.sign(odd)}")
            assert (status, len(reply)) == (200, 1)

    on_stage(scene)


def test_time_window() -> None:
    """A request is good until its recvWindow is over, and not more than a second early (rest-api.md)."""

    async def scene(simulator: Simulator) -> None:
        async with Raw(simulator) as raw:
            late = simulator.clock.now() - 5_500
            outside = (400, -1021, "Timestamp for this request is outside of the recvWindow.")
            assert await raw.refused("POST", PATH, **ORDER, timestamp=late) == outside
            await raw.ok("POST", PATH, **ORDER, timestamp=late, recvWindow="7000.5")
            micro = simulator.clock.now() * 1000
            await raw.ok("POST", PATH, **ORDER, timestamp=micro)
            early = simulator.clock.now() + 5_000
            assert (await raw.refused("POST", PATH, **ORDER, timestamp=early))[2] == (
                "Timestamp for this request was 1000ms ahead of the server's time."
            )
            assert (await raw.refused("POST", PATH, **ORDER, recvWindow=60_001))[1] == -1102
            simulator.clock.skew = 20_000
            real = simulator.clock.now() - 20_000
            assert await raw.refused("POST", PATH, **ORDER, timestamp=real) == outside

    on_stage(scene)


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"reduceOnly": "true"}, -1104, "Not all sent parameters were read; read '8' parameter(s) but was sent '9'."),
        (
            {"symbol": None},
            -1102,
            "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.",
        ),
        ({"symbol": "NOSUCH"}, -1121, "Invalid symbol."),
        (
            {"symbol": "btcusdt"},
            -1100,
            "Illegal characters found in parameter 'symbol'; legal range is '^[A-Z0-9-_.]{1,20}$'.",
        ),
        ({"side": "UP"}, -1117, "Invalid side."),
        ({"type": "STOP"}, -1116, "Invalid orderType."),
        ({"timeInForce": "GTX"}, -1115, "Invalid timeInForce."),
        ({"timeInForce": None}, -1102, "Mandatory parameter 'timeInForce' was not sent, was empty/null, or malformed."),
        ({"price": ""}, -1105, "Parameter 'price' was empty."),
        (
            {"price": "4e4"},
            -1100,
            "Illegal characters found in parameter 'price'; legal range is '^([0-9]{1,20})(\\.[0-9]{1,20})?$'.",
        ),
        ({"quantity": "1.123456789"}, -1111, "Parameter 'quantity' has too much precision."),
        ({"newOrderRespType": "ALL"}, -1130, "Data sent for parameter 'newOrderRespType' is not valid."),
        ({"stopPrice": "39000"}, -1106, "Parameter 'stopPrice' sent when not required."),
        ({"type": "MARKET", "price": None}, -1106, "Parameter 'timeInForce' sent when not required."),
        ({"strategyType": "5"}, -1134, "strategyType was less than 1000000."),
        (
            {"newClientOrderId": "a b"},
            -1100,
            "Illegal characters found in parameter 'newClientOrderId'; legal range is '^[a-zA-Z0-9-_]{1,36}$'.",
        ),
        ({"quantity": "0.0001"}, -1013, "Filter failure: NOTIONAL"),
    ],
)
def test_strictness(change: dict[str, str | None], code: int, message: str) -> None:
    """What Binance doesn't take, it refuses with its code and its words."""

    async def scene(simulator: Simulator) -> None:
        async with Raw(simulator) as raw:
            params = {name: value for name, value in {**ORDER, **change}.items() if value is not None}
            assert await raw.refused("POST", PATH, **params) == (400, code, message)
            assert simulator.truth()["orders"]() == []

    on_stage(scene)


def test_keys() -> None:
    """No key -2014, an unknown one -2015, one without the permission -2015, no signature -1102."""
    settings = config()
    settings.accounts[1].permissions = frozenset({"USER_DATA"})

    async def scene(simulator: Simulator) -> None:
        async with Raw(simulator, "bob") as raw:
            refused = (401, -2015, "Invalid API-key, IP, or permissions for action.")
            assert await raw.refused("POST", PATH, **ORDER) == refused
            await raw.ok("GET", "/api/v3/account")
            status, _, body = await raw.send("GET", "/api/v3/account", f"timestamp={simulator.clock.now()}")
            assert (status, body["code"]) == (400, -1102)
            simulator.keys.revoke(raw.key.key)
            assert await raw.refused("GET", "/api/v3/account") == refused
            raw.key = ApiKey("", "bob", "x")
            assert await raw.refused("GET", "/api/v3/account") == (401, -2014, "API-key format invalid.")

    on_stage(scene, settings)


def test_weights_and_bans() -> None:
    """Weight is counted in the headers, too much of it is 429 with Retry-After, and going on is 418."""

    async def scene(simulator: Simulator) -> None:
        simulator.clock.skew = 60_000 - simulator.clock.now() % 60_000 + 1_000
        async with Raw(simulator) as raw:
            _, headers, _ = await raw.signed("GET", "/api/v3/account")
            assert headers["X-MBX-USED-WEIGHT-1M"] == "20"
            simulator.limits["spot"].request("127.0.0.1", 5_975)
            assert (await raw.signed("GET", "/api/v3/time"))[0] == 400
            for _ in range(3):
                await raw.send("GET", "/api/v3/ping")
            status, headers, body = await raw.send("GET", "/api/v3/exchangeInfo")
            assert (status, body["code"]) == (429, -1003)
            assert 0 < int(headers["Retry-After"]) <= 60
            for _ in range(10):
                status, headers, body = await raw.send("GET", "/api/v3/ping")
            assert (status, headers["Retry-After"]) == (418, "120")
            assert body["msg"].startswith("Way too much request weight used; IP banned until ")

    on_stage(scene)


def test_order_counts() -> None:
    """Every accepted order counts, a fill gives back, the limit answers 429/-1015 and nothing is placed."""

    async def scene(simulator: Simulator) -> None:
        simulator.clock.skew = 10_000 - simulator.clock.now() % 10_000
        async with Raw(simulator) as raw:
            _, headers, _ = await raw.signed("POST", PATH, **ORDER)
            assert headers["X-MBX-ORDER-COUNT-10S"] == "1"
            simulator.act("order.place", "bob", {**ORDER, "side": "SELL"})
            _, headers, _ = await raw.signed("POST", PATH, **ORDER)
            assert headers["X-MBX-ORDER-COUNT-10S"] == "1"
            counts = await raw.ok("GET", "/api/v3/rateLimit/order")
            assert counts[0] == {
                "rateLimitType": "ORDERS",
                "interval": "SECOND",
                "intervalNum": 10,
                "limit": 100,
                "count": 1,
            }
            simulator.limits["spot"].ordered("alice", 99)
            placed = len(simulator.truth()["orders"]())
            assert await raw.refused("POST", PATH, **ORDER) == (
                429,
                -1015,
                "Too many new orders; current limit is 100 orders per 10 SECOND.",
            )
            assert len(simulator.truth()["orders"]()) == placed

    on_stage(scene)


def test_websocket_requests() -> None:
    """The WebSocket API echoes the id with its type, shows limits, refuses like REST, and answers a broken frame."""

    async def scene(simulator: Simulator) -> None:
        async with Raw(simulator) as raw:
            listener = await raw.listen()
            reply = await listener.call("order.place", {**ORDER, "newClientOrderId": "mine"})
            assert (reply["id"], reply["status"]) == (2, 200)
            assert [each["rateLimitType"] for each in reply["rateLimits"]] == ["ORDERS", "ORDERS", "REQUEST_WEIGHT"]
            assert (await listener.until("executionReport", x="NEW"))["c"] == "mine"
            refusal = await listener.call("order.place", {**ORDER, "postOnly": "true"})
            assert (refusal["status"], refusal["error"]["code"]) == (400, -1104)
            again = await listener.call("userDataStream.subscribe.signature", {})
            assert again["error"] == {"code": -2035, "msg": "User Data Stream subscription already active."}
            status = await listener.call("session.status", {}, signed=False)
            assert status["result"]["userDataStream"] is True
            await listener.call("userDataStream.unsubscribe", {"subscriptionId": 0}, signed=False)
            assert listener.events[-1]["e"] == "eventStreamTerminated"
            await listener.socket.send_str("{")
            assert (await listener.frame())["error"]["code"] == -1135

    on_stage(scene)


def test_session_logon() -> None:
    """An Ed25519 key logs a connection on; requests and the stream then need no signature, until it logs out."""
    private = ed25519.Ed25519PrivateKey.generate()
    pem = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    settings = config()
    settings.accounts = [AccountConfig("alice", public_key=pem, balances=dict(settings.accounts[0].balances))]

    async def scene(simulator: Simulator) -> None:
        async with Raw(simulator) as raw, raw.session.ws_connect(simulator.ws_url + "/ws-api/v3") as socket:
            listener = Listener(raw, socket)
            refused = await listener.call("userDataStream.subscribe", {}, signed=False)
            assert refused["status"] == 401
            params = {"apiKey": raw.key.key, "timestamp": simulator.clock.now()}
            payload = "&".join(f"{name}={params[name]}" for name in sorted(params))
            signature = base64.b64encode(private.sign(payload.encode())).decode()
            logged = await listener.call("session.logon", {**params, "signature": signature}, signed=False)
            assert logged["result"]["apiKey"] == raw.key.key
            opened = await listener.call("userDataStream.subscribe", {}, signed=False)
            assert opened["result"] == {"subscriptionId": 0}
            now = simulator.clock.now()
            placed = await listener.call("order.place", {**ORDER, "timestamp": now}, signed=False)
            assert placed["status"] == 200
            assert (await listener.until("executionReport"))["x"] == "NEW"
            await listener.call("session.logout", {}, signed=False)
            assert listener.events[-1]["e"] == "eventStreamTerminated"
            again = await listener.call("order.place", {**ORDER, "timestamp": now}, signed=False)
            assert again["error"]["code"] == -2014

    on_stage(scene, settings)


def test_an_hmac_key_cannot_log_on() -> None:
    """Only Ed25519 keys may log a session on."""

    async def scene(simulator: Simulator) -> None:
        async with Raw(simulator) as raw, raw.session.ws_connect(simulator.ws_url + "/ws-api/v3") as socket:
            assert (await Listener(raw, socket).call("session.logon", {}))["status"] == 400

    on_stage(scene)
