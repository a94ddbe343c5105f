"""A fuzzer that knows the API's own description: whatever it sends, the answer is never a 5xx."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from core.tests.api.serving import ORDER, served
from exchange_kernel.sync import Worker

NAME = {"anyOf": [{"enum": ["one-a"]}, {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._:-]{0,10}$"}]}
KNOWN: dict[str, Any] = {"account": {"enum": ["one"]}, "name": NAME, "group": NAME, "symbol": {"enum": ["BTC/USD"]}}


def description(url: str) -> dict[str, Any]:
    """The server's own, with what exists there put in, so that requests reach what is behind the routes."""
    found: dict[str, Any] = httpx.get(f"{url}/openapi.json", trust_env=False).json()
    for path in found["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path" and parameter["name"] in KNOWN:
                    parameter["schema"] = KNOWN[parameter["name"]]
            _known_symbol(operation.get("requestBody"))
    return found


def _known_symbol(node: Any) -> None:
    if isinstance(node, dict):
        for name, each in node.items():
            if name == "symbol_id" and isinstance(each, dict):
                node[name] = {"enum": ["BTC/USD"]}
            _known_symbol(each)


def test_no_request_makes_the_server_fail(tmp_path: Path) -> None:
    """Requests made from the description, and ones that break it, get answers below 500, problems where refused."""
    worker = Worker()
    serving = served(tmp_path)
    at = worker.do(serving.__aenter__())
    counts: Counter[int] = Counter()
    try:
        token = at.token("*:admin")
        headers = {"authorization": f"Bearer {token}"}
        path = "/v1/accounts/one/orders/one-a"
        httpx.put(at.url + path, json={"order": ORDER}, headers=headers, trust_env=False).raise_for_status()
        schema = schemathesis.openapi.from_dict(description(at.url))
        schema.config.base_url = at.url
        operations = [each.ok() for each in schema.get_all_operations()]
        assert len(operations) >= 25
        for operation in operations:
            for mode in GenerationMode.POSITIVE, GenerationMode.NEGATIVE:
                if mode is GenerationMode.NEGATIVE and not (operation.body or list(operation.query)):
                    continue

                @given(case=operation.as_strategy(generation_mode=mode))
                @settings(
                    max_examples=4,
                    deadline=None,
                    database=None,
                    derandomize=True,
                    phases=[Phase.generate],
                    suppress_health_check=list(HealthCheck),
                )
                def ask(case: Any) -> None:
                    answer = case.call(headers=headers, timeout=10)
                    counts[answer.status_code] += 1
                    assert answer.status_code < 500, f"{case.as_curl_command()}\n{answer.text}"
                    if answer.status_code >= 400:
                        assert answer.headers["content-type"][0] == "application/problem+json"
                        assert answer.json()["code"]

                try:
                    ask()
                except Unsatisfiable:
                    assert mode is GenerationMode.NEGATIVE
        assert min(counts[status] for status in (200, 422)) >= 10, counts
    finally:
        worker.do(serving.__aexit__(None, None, None))
        worker.close()
