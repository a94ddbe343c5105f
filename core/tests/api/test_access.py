"""Who may do what: tokens, scopes, and what is refused before anybody looks at it."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.tests.api.serving import ORDER, platform_of, served
from exchange_kernel.api.grants import Scope, allows, parse_grants
from exchange_kernel.api.serve import Listen, serve
from exchange_kernel.clock import SystemClock
from exchange_kernel.errors import ConfigError
from exchange_kernel.state.sql.tokens import SqlTokens

PUT = ("PUT", "/orders/mine", {"order": ORDER})
ACTIONS: dict[tuple[str, str, Any], str] = {
    ("GET", "", None): "read",
    ("GET", "/orders", None): "read",
    ("GET", "/events", None): "read",
    ("POST", "/dry-run", 0): "read",
    ("PUT", "/orders/mine", 0): "place",
    ("PUT", "/groups/g", 1): "place",
    ("POST", "/reconcile", None): "place",
    ("DELETE", "/orders/held", None): "cancel",
    ("POST", "/cancel-all", 2): "cancel",
    ("POST", "/halt", 3): "admin",
    ("POST", "/resume", 3): "admin",
    ("POST", "/orders/held/resolve", 4): "admin",
}
BODIES: list[dict[str, Any]] = [
    {"order": ORDER},
    {"orders": [{"name": "g1", "order": ORDER}]},
    {},
    {"reason": "test"},
    {"reason": "test", "resolution": "LOOK_AGAIN"},
]


@pytest.mark.parametrize("scope", list(Scope))
def test_a_scope_allows_its_own_actions_and_no_other(scope: Scope, tmp_path: Path) -> None:
    """Read cannot cancel, cancel cannot place, place cannot cancel, and only admin halts and resolves."""

    async def run() -> None:
        async with served(tmp_path) as at:
            async with at.http(at.token("one:admin")) as admin:
                assert (await admin.put("/v1/accounts/one/orders/held", json={"order": ORDER})).status_code == 201
            async with at.http(at.token(f"one:{scope}")) as http:
                for (method, path, number), needed in ACTIONS.items():
                    body = None if number is None else BODIES[number]
                    answer = await http.request(method, f"/v1/accounts/one{path}", json=body)
                    allowed = needed in ("read", scope) or scope is Scope.ADMIN
                    assert (answer.status_code < 300) == allowed, (method, path, answer.text)
                    if not allowed:
                        assert (answer.status_code, answer.json()["code"]) == (403, "not-allowed")
                everywhere = await http.post("/v1/halt", json={"reason": "test"})
                assert everywhere.status_code == 403

    asyncio.run(run())


def test_another_s_account_does_not_exist(tmp_path: Path) -> None:
    """For a token of one account another is exactly as absent as one that there is not, whatever is asked."""

    async def run() -> None:
        async with served(tmp_path, "one", "two") as at, at.http(at.token("one:admin")) as http:
            listed = (await http.get("/v1/accounts")).json()["items"]
            assert listed == [{"account": "one", "running": True}]
            for method, path, number in ACTIONS:
                body = None if number is None else BODIES[number]
                answers = [
                    await http.request(method, f"/v1/accounts/{name}{path}", json=body) for name in ("two", "six")
                ]
                assert [each.status_code for each in answers] == [404, 404]
                assert answers[0].text.replace("two", "six") == answers[1].text
            async with at.http(at.token("two:read")) as other:
                assert (await other.get("/v1/accounts/two/orders")).json()["items"] == []
                assert (await other.get("/v1/accounts/two")).json()["halted"] is None

    asyncio.run(run())


def test_only_a_token_that_holds_is_let_in(tmp_path: Path) -> None:
    """Missing, malformed, unknown, wrong, expired and revoked tokens are 401, and say how to do it."""

    async def run() -> None:
        async with served(tmp_path) as at:
            good, old, gone = at.token("one:read"), at.token("one:read", days=-1), at.token("one:read")
            wrong = good[:-1] + ("A" if good[-1] != "A" else "B")
            unknown = "exk_000000000000_" + "a" * 43
            async with at.http() as http:

                async def ask(header: str | None) -> httpx.Response:
                    headers = {} if header is None else {"authorization": header}
                    return await http.get("/v1/accounts", headers=headers)

                assert (await ask(f"Bearer {good}")).status_code == 200
                assert (await ask(f"Bearer {gone}")).status_code == 200
                tokens = SqlTokens(at.platform.config.store_url)
                assert tokens.revoke(gone.split("_")[1], SystemClock().now_ms())
                assert not tokens.revoke(gone.split("_")[1], SystemClock().now_ms())
                tokens.close()
                for _ in range(200):
                    if (await ask(f"Bearer {gone}")).status_code == 401:
                        break
                    await asyncio.sleep(0.02)
                for bad in (None, "", "Bearer", f"Basic {good}", f"Bearer {old}", f"Bearer {gone}", f"Bearer {wrong}"):
                    answer = await ask(bad)
                    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated"), bad
                    assert answer.headers["www-authenticate"].startswith("Bearer")
                codes = [(await ask(f"Bearer {unknown}")).status_code for _ in range(40)]
                assert codes[0] == 401
                assert codes[-1] == 429
                assert (await http.get("/livez")).status_code == 200
                assert (await http.get("/readyz")).json() == {"ready": True}

    asyncio.run(run())


def test_what_no_client_of_ours_sends_is_refused(tmp_path: Path) -> None:
    """Foreign hosts and pages, wrong types, and bodies that mean two things get a problem of 4xx; nothing is done."""
    order = '{"order": {"symbol_id": "BTC/USD", "side": "BUY", "amount": %s, "limit_price": "40000"}}'
    deep = '{"order":' * 2000 + "{}" + "}" * 2000
    json = {"content-type": "application/json"}
    cases: list[tuple[int, dict[str, str], bytes]] = [
        (421, {"host": "evil.example"}, b"{}"),
        (403, {"origin": "https://evil.example"}, b"{}"),
        (403, {"origin": "null"}, b"{}"),
        (415, {"content-type": "text/plain"}, b"{}"),
        (415, {"content-type": "application/json; charset=utf-16"}, b"{}"),
        (415, {"content-encoding": "gzip"}, b"\x1f\x8b"),
        (413, {}, b" " * 1_048_577),
        (400, {}, b""),
        (400, {}, b"[]"),
        (400, {}, b'"text"'),
        (400, {}, b"{"),
        (400, {}, b"\xff\xfe{\x00}\x00"),
        (400, {}, b'{"order": "\xed\xa0\x80"}'),
        (400, {}, b'{"labels": {"a": "\\ud800"}}'),
        (400, {}, b'{"labels": {"a": "\\u0000"}}'),
        (400, {}, b'{"order": {}, "order": {}}'),
        (400, {}, b'{"order": []}'),
        (400, {}, deep.encode()),
        (400, {}, b"[" * 200_000),
        (400, {}, (order % "NaN").encode()),
        (400, {}, (order % "Infinity").encode()),
        (400, {}, (order % ("9" * 5000)).encode()),
        (422, {}, (order % "1e3").encode()),
        (422, {}, (order % "-1").encode()),
        (422, {}, (order % '"1_000"').encode()),
        (422, {}, (order % '"\\uff11"').encode()),
        (422, {}, (order % "true").encode()),
        (422, {}, (order % "[1]").encode()),
        (422, {}, b'{"order": {}, "status": "FILLED"}'),
        (422, {}, b'{"order": {}}'),
        (422, {}, b"{}"),
    ]

    async def run() -> None:
        async with served(tmp_path) as at, at.http(at.token("one:admin")) as http:
            path = "/v1/accounts/one/orders/a"
            for status, headers, body in cases:
                answer = await http.put(path, content=body, headers=json | headers)
                assert answer.status_code == status, (headers, body[:80], answer.text)
                assert answer.json()["status"] == status
            for method, address, status in (
                ("POST", path, 405),
                ("GET", "/v2", 404),
                ("GET", "/v1/accounts/one/orders/", 404),
                ("GET", "/v1/accounts/one/orders/..%2F..%2Fetc", 404),
                ("GET", "/v1/accounts/one/orders/a%00b", 422),
                ("DELETE", f"{path}?reason=%00", 400),
                ("GET", "/v1/accounts/one/orders?limit=0", 422),
                ("GET", "/v1/accounts/one/orders?selector=a=b=%0a,;", 422),
                ("GET", "/v1/accounts/one/symbols/%00", 400),
                ("GET", f"/v1/accounts/one/orders?after={'a' * 9000}", 414),
            ):
                answer = await http.request(method, address)
                assert answer.status_code == status, (method, address[:80], answer.text)
                assert answer.headers["content-type"] == "application/problem+json"
            same_site = await http.get("/v1/accounts", headers={"origin": at.url})
            assert same_site.status_code == 200
            assert (await http.get("/v1/accounts/one/orders")).json()["items"] == []

    asyncio.run(run())


def test_a_body_that_never_ends_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too much in pieces is 413 as soon as it is; a body that stops half-way is 408, and the server lives."""
    monkeypatch.setattr("exchange_kernel.api.app.Guard.__init__.__defaults__", (0.2,))

    async def run() -> None:
        async with served(tmp_path) as at:
            port = int(at.url.rpartition(":")[2])
            token = at.token("one:place")
            head = f"PUT /v1/accounts/one/orders/a HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
            head += "Content-Type: application/json\r\n"

            async def answer(sent: bytes) -> bytes:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(sent)
                line = await asyncio.wait_for(reader.readline(), 20)
                writer.close()
                return line

            piece = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
            assert b" 413 " in await answer(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + piece * 17)
            assert b" 408 " in await answer(f'{head}Content-Length: 100\r\n\r\n{{"order"'.encode())
            assert b" 400 " in await answer(head.encode() + b"Authorization: Bearer x\r\nContent-Length: 2\r\n\r\n{}")
            huge = f"GET /livez HTTP/1.1\r\nHost: localhost\r\nAuthorization: {'a' * 1_000_000}\r\n\r\n"
            assert b" 4" in await answer(huge.encode())
            async with at.http() as http:
                assert (await http.get("/livez")).status_code == 200

    asyncio.run(run())


@pytest.mark.parametrize(
    ("address", "rule"),
    [
        ("0.0.0.0:8420", "is reached by others"),
        ("192.0.2.1:1", "is reached by others"),
        ("[::]:8420", "is reached by others"),
        ("example.net:1", "must be an address"),
        ("127.0.0.1", "is not HOST:PORT"),
        ("127.0.0.1:99999", "is not HOST:PORT"),
        (":1", "is not HOST:PORT"),
    ],
)
def test_others_reach_it_only_with_a_certificate(address: str, rule: str) -> None:
    """Without a certificate it listens on this machine only."""
    with pytest.raises(ConfigError, match=rule):
        Listen.parse(address)


def test_others_reach_it_only_where_there_is_a_token(tmp_path: Path) -> None:
    """With a certificate, and still nobody who may use it, an open address is refused before it is listened on."""
    pem = Path(__file__).parents[1] / "testing" / "loopback.pem"

    async def run() -> None:
        async with platform_of(tmp_path, "one") as platform:
            listen = Listen.parse("0.0.0.0:0", pem, pem)
            with pytest.raises(ConfigError, match="there is no token"):
                async with serve(platform, listen):
                    pass
            with pytest.raises(ConfigError, match="cannot be used"):
                async with serve(platform, Listen.parse("127.0.0.1:0", tmp_path / "exk.yaml", pem)):
                    pass
            async with serve(platform, Listen.parse("127.0.0.1:0", pem, pem)) as url:
                assert url.startswith("https://")
                trust = ssl.create_default_context(cafile=str(pem))
                trust.check_hostname = False
                async with httpx.AsyncClient(base_url=url, verify=trust, trust_env=False) as http:
                    assert (await http.get("/livez")).json() == {"live": True}

    asyncio.run(run())


def test_grants_are_written_one_way() -> None:
    """Scopes per account, together where an account stands twice; anything else is refused with what was meant."""
    grants = parse_grants(["one:read,place", "one:cancel", "*:read"])
    assert grants == {"one": ("read", "place", "cancel"), "*": ("read",)}
    assert allows(grants, "two", Scope.READ)
    assert not allows(grants, "two", Scope.PLACE)
    assert not allows(grants, "*", Scope.ADMIN)
    for text, hint in (("one:plce", "did you mean place"), ("one", "is not ACCOUNT"), ("a b:read", "must be 1 to 64")):
        with pytest.raises(ConfigError, match=hint):
            parse_grants([text])
