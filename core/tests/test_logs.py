"""Logs: one line each, about something, without control characters and without secrets."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.tests.api.serving import ORDER, served
from exchange_kernel.logs import Lines, log_to, redacted
from exchange_kernel.reconcile.meter import about

TOKEN = "exk_0123456789ab_" + "cAnArY" * 7 + "x"


@pytest.fixture
def root() -> Iterator[None]:
    """The root logger as it was, afterwards."""
    logger = logging.getLogger()
    before, level = logger.handlers[:], logger.level
    yield
    logger.handlers[:], logger.level = before, level


@pytest.mark.parametrize(
    "text",
    [
        f"refused {TOKEN}",
        "Authorization: Bearer cAnArYcAnArY",
        "authorization: basic cAnArYcAnArY==",
        "X-MBX-APIKEY=cAnArYcAnArY",
        '{"api_key": "cAnArYcAnArY"}',
        "https://api/order?symbol=X&signature=cAnArYcAnArY&x=1",
        "postgresql://exk:cAnArYcAnArY@db/x",
        "password='cAnArYcAnArY'",
        "private_key: cAnArYcAnArY",
        "secret=cAnArYcAnArY; next",
    ],
)
def test_what_looks_like_a_credential_is_taken_out(text: str) -> None:
    """Tokens, authorization headers, keys, signatures and passwords in addresses; what is around them stays."""
    assert "cAnArY" not in redacted(text)
    assert redacted(text)[:6] == text[:6]


def test_ids_and_hashes_stay() -> None:
    """What one looks for in a log is no secret: ids, hashes, addresses, amounts."""
    text = "order 0x" + "ab" * 32 + " of 0x" + "cd" * 20 + " key=deadbeef amount=1.5 at http://host:80/path"
    assert redacted(text) == text


def test_a_line_says_what_it_is_about() -> None:
    """An order's line carries account, intent, attempt and venue ids: behind the words, or as JSON fields."""
    record = logging.LogRecord("x", logging.WARNING, "f", 1, "quote\n\x1b[31m failed: secret=cAnArYcAnArY", (), None)
    record.__dict__.update(about("one", "a", None) | {"attempt": 2, "venue_ids": ["7", "8"]})
    plain = Lines().format(record)
    assert "\x1b" not in plain
    assert "cAnArY" not in plain
    assert plain.splitlines()[0].endswith("account=one intent=a attempt=2 venue_ids=7,8")
    said = json.loads(Lines(as_json=True).format(record))
    assert (said["account"], said["intent"], said["attempt"], said["venue_ids"]) == ("one", "a", "2", "7,8")
    assert said["level"] == "warning"
    assert "cAnArY" not in json.dumps(said)


def test_no_secret_is_anywhere(tmp_path: Path, root: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A venue's secret, tokens good and bad, and a header are put in, and searched for in all that comes out."""
    monkeypatch.setenv("EXK_TEST_SECRET", "cAnArY-of-the-venue")
    stream = io.StringIO()
    log_to(stream, "debug", as_json=True)

    async def run() -> None:
        out: list[str] = []
        async with served(tmp_path) as at:
            good = at.token("*:admin", name="desk")
            secrets = [good.split("_", 2)[2], "cAnArY"]
            async with at.http(good) as http:
                await http.put("/v1/accounts/one/orders/a", json={"order": ORDER})
                await http.put("/v1/accounts/one/orders/b", json={"order": {**ORDER, "amount": "x"}})
                for header in (f"Bearer {TOKEN}", f"Bearer {TOKEN[:-2]}", "Basic cAnArY"):
                    out.append((await http.get("/v1/accounts", headers={"authorization": header})).text)
                for path in ("/metrics", "/openapi.json", "/v1/accounts/one", "/v1/accounts/one/events?limit=500"):
                    answer = await http.get(path)
                    out += [answer.text, str(answer.headers)]
                out.append((await http.get("/v1/accounts/one/health")).text)
            stream_of: Any = {"headers": {"accept": "text/event-stream"}, "timeout": 0.5}
            path = "/v1/accounts/one/events?after=0"
            with suppress(httpx.ReadTimeout):
                async with at.http(good) as http, http.stream("GET", path, **stream_of) as answer:
                    async for line in answer.aiter_lines():
                        out.append(line)
            with closing(sqlite3.connect(tmp_path / "exk.db")) as database:
                out += list(database.iterdump())
        out.append(stream.getvalue())
        out += [path.read_bytes().decode("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
        for secret in secrets:
            assert not [text for text in out if secret in text], secret

    asyncio.run(run())
