"""Orders over HTTP: declared by name, idempotent, changed under a generation, listed by page."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from core.tests.api.serving import ORDER, served

BASE = "/v1/accounts/one"


def test_an_order_is_declared_changed_and_cancelled(tmp_path: Path) -> None:
    """PUT makes it, the same PUT leaves it, another changes it under its generation, DELETE wants it gone."""

    async def run() -> None:
        async with served(tmp_path) as at, at.http(at.token("one:admin", name="desk")) as http:
            first = await http.put(f"{BASE}/orders/a", json={"order": ORDER, "labels": {"app": "x"}})
            assert (first.status_code, first.json()["result"], first.headers["etag"]) == (201, "created", '"1"')
            again = await http.put(f"{BASE}/orders/a", json={"order": {**ORDER, "amount": 0.10}})
            assert (again.status_code, again.json()["result"]) == (200, "unchanged")
            other = {**ORDER, "limit_price": "41000"}
            only_new = await http.put(f"{BASE}/orders/a", json={"order": other}, headers={"if-none-match": "*"})
            assert (only_new.status_code, only_new.json()["code"]) == (409, "intent-conflict")
            changed = await http.put(f"{BASE}/orders/a", json={"order": other}, headers={"if-match": '"1"'})
            assert (changed.status_code, changed.json()["result"], changed.headers["etag"]) == (200, "changed", '"2"')
            repeated = await http.put(f"{BASE}/orders/a", json={"order": other}, headers={"if-match": '"1"'})
            assert (repeated.status_code, repeated.headers["etag"]) == (200, '"2"')
            late = await http.put(f"{BASE}/orders/a", json={"order": ORDER}, headers={"if-match": '"1"'})
            assert (late.status_code, late.json()["code"]) == (409, "intent-conflict")
            relabelled = await http.put(f"{BASE}/orders/a", json={"order": other, "labels": {"app": "y"}})
            assert relabelled.status_code == 409
            gone = await http.delete(f"{BASE}/orders/a", params={"reason": "enough"})
            assert gone.status_code == 202
            for _ in range(200):
                found = (await http.get(f"{BASE}/orders/a")).json()
                if found["state"]["status"] == "CANCELED":
                    break
                await asyncio.sleep(0.02)
            assert found["state"]["status"] == "CANCELED"
            assert found["intent"]["generation"] == 2
            story = (await http.get(f"{BASE}/orders/a/history", params={"limit": 500})).json()["items"]
            assert story[0]["kind"] == "IntentCreated"
            assert story[0]["actor"] == "desk"
            assert [each["reason"] for each in story if each["kind"] == "CancelRequested"] == ["enough"]
            finished = await http.put(f"{BASE}/orders/a", json={"order": ORDER})
            assert (finished.status_code, finished.json()["code"]) == (409, "intent-finished")

    asyncio.run(run())


def test_a_refused_order_says_what_to_do(tmp_path: Path) -> None:
    """Errors are problem+json with a stable code and field, value, rule and hint; nothing is declared."""
    wrong: list[tuple[dict[str, Any], str, str]] = [
        ({**ORDER, "amount": "1e3"}, "invalid-order", "amount"),
        ({**ORDER, "symbol_id": "BTC/USDX"}, "unknown-symbol", "symbol_id"),
        ({**ORDER, "limit_prce": "1"}, "invalid-order", "order"),
        ({**ORDER, "time_in_force": "FOREVER"}, "invalid-order", "time_in_force"),
    ]

    async def run() -> None:
        async with served(tmp_path) as at, at.http(at.token("one:place")) as http:
            for order, code, field in wrong:
                answer = await http.put(f"{BASE}/orders/a", json={"order": order})
                said = answer.json()
                assert answer.status_code == 422, said
                assert answer.headers["content-type"] == "application/problem+json"
                assert (said["code"], said["field"], said["status"]) == (code, field, 422)
                assert said["rule"]
                assert said["detail"]
            assert "limit_price" in (await http.put(f"{BASE}/orders/a", json={"order": wrong[2][0]})).json()["hint"]
            assert (await http.get(f"{BASE}/orders/a")).status_code == 404

    asyncio.run(run())


def test_pages_show_every_order_once(tmp_path: Path) -> None:
    """Paging by name goes through all orders in order, whatever is added meanwhile; selectors and states choose."""

    async def run() -> None:
        async with served(tmp_path) as at, at.http(at.token("one:admin")) as http:
            for n in range(7):
                body = {"order": ORDER, "labels": {"app": "odd" if n % 2 else "even"}}
                assert (await http.put(f"{BASE}/orders/o-{n}", json=body)).status_code == 201
            names: list[str] = []
            after: str | None = ""
            while after is not None:
                page = (await http.get(f"{BASE}/orders", params={"limit": 3, "after": after})).json()
                names += [each["intent"]["intent_id"] for each in page["items"]]
                after = page["next"]
            assert names == [f"o-{n}" for n in range(7)]
            odd = (await http.get(f"{BASE}/orders", params={"selector": "app=odd", "limit": 2})).json()
            assert [each["intent"]["intent_id"] for each in odd["items"]] == ["o-1", "o-3"]
            assert odd["next"] == "o-3"
            rest = (await http.get(f"{BASE}/orders", params={"selector": "app=odd", "after": "o-3"})).json()
            assert [each["intent"]["intent_id"] for each in rest["items"]] == ["o-5"]
            none = (await http.get(f"{BASE}/orders", params={"symbol": "ETH/USD"})).json()
            assert none == {"items": [], "next": None}
            assert (await http.get(f"{BASE}/orders", params={"after": "nobody"})).status_code == 422

    asyncio.run(run())


def test_a_group_is_declared_whole_and_once(tmp_path: Path) -> None:
    """All orders of a group or none; repeating it is the same group."""

    async def run() -> None:
        async with served(tmp_path) as at, at.http(at.token("one:place")) as http:
            orders = [{"name": name, "order": ORDER} for name in ("a", "b")]
            for _ in range(2):
                answer = await http.put(f"{BASE}/groups/g", json={"orders": orders})
                assert (answer.status_code, answer.json()) == (200, {"names": ["a", "b"]})
            bad = [{"name": "c", "order": ORDER}, {"name": "d", "order": {**ORDER, "amount": "0"}}]
            assert (await http.put(f"{BASE}/groups/h", json={"orders": bad})).status_code == 422
            listed = (await http.get(f"{BASE}/orders")).json()["items"]
            assert [each["intent"]["intent_id"] for each in listed] == ["a", "b"]

    asyncio.run(run())


def test_a_dry_run_leaves_no_trace(tmp_path: Path) -> None:
    """It says what would be sent and what it may cost, to whoever may read; nothing is declared."""

    async def run() -> None:
        async with served(tmp_path) as at, at.http(at.token("one:read")) as http:
            answer = await http.post(f"{BASE}/dry-run", json={"order": ORDER})
            assert (answer.status_code, answer.json()["notional"]) == (200, "4000")
            assert (await http.get(f"{BASE}/orders")).json()["items"] == []

    asyncio.run(run())


def test_halted_accounts_refuse_orders_until_resumed(tmp_path: Path) -> None:
    """A halt is durable and told; orders are refused with a code of their own, cancels still work."""

    async def run() -> None:
        async with served(tmp_path) as at, at.http(at.token("*:admin", name="ops")) as http:
            assert (await http.put(f"{BASE}/orders/a", json={"order": ORDER})).status_code == 201
            for path in (BASE, "/v1"):
                done = await http.post(f"{path}/halt", json={"actor": "eve", "reason": "drill"})
                assert done.json() == {"halted": True}
                refused = await http.put(f"{BASE}/orders/b", json={"order": ORDER})
                assert (refused.status_code, refused.json()["code"]) == (409, "account-halted")
                assert (await http.post(f"{path}/resume", json={"reason": "over"})).json() == {"halted": False}
            assert (await http.post(f"{BASE}/halt", json={"reason": " "})).status_code == 422
            assert (await http.post(f"{BASE}/cancel-all", json={})).json() == {"canceled": ["a"]}
            told = (await http.get(f"{BASE}/events", params={"limit": 500})).json()["items"]
            assert [each["actor"] for each in told if each["kind"] == "AccountHalted"] == ["eve (ops)"] * 2

    asyncio.run(run())


@pytest.mark.parametrize("path", ["", "/balances", "/positions", "/health", "/symbols/BTC/USD", "/assets/BTC"])
def test_every_query_answers(path: str, tmp_path: Path) -> None:
    """What a kernel tells of an account can be read."""

    async def run() -> None:
        async with served(tmp_path) as at, at.http(at.token("one:read")) as http:
            answer = await http.get(f"{BASE}{path}")
            assert answer.status_code == 200, answer.text
            assert answer.headers["cache-control"] == "no-store"

    asyncio.run(run())
