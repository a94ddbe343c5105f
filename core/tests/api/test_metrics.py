"""Metrics: what is served is what is listed, it counts what happened, and no label grows with orders."""

from __future__ import annotations

import asyncio
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from core.tests.api.serving import ORDER, served
from exchange_kernel import StandardOrder
from exchange_kernel.metrics import CATALOGUE
from exchange_kernel.models import IntentStatus

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read(text: str) -> Samples:
    """Every sample by its name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_what_happened_is_counted(tmp_path: Path) -> None:
    """Tickets, fills, statuses and durations, per account; names of orders and symbols are in no label."""

    async def run() -> None:
        async with served(tmp_path, "one", "two") as at, at.http(at.token("*:read")) as http:
            kernel = at.platform["one"]
            for n in range(3):
                await kernel.place_order(StandardOrder(**ORDER), f"canary-{n}")
            await kernel.place_order(StandardOrder("BTC/USD", "BUY", "0.1"), "canary-now")
            while (await kernel.get_order_state("canary-now")).status is not IntentStatus.FILLED:
                await asyncio.sleep(0.01)
            while not all(state.venue_ids for state in [await kernel.get_order_state(f"canary-{n}") for n in range(3)]):
                await asyncio.sleep(0.01)
            await http.get("/v1/accounts", headers={"authorization": "Bearer nonsense"})
            answer = await http.get("/metrics")
            assert answer.headers["content-type"].startswith("text/plain")
            found = read(answer.text)
            one = ("account", "one")
            assert found["exk_submits_total", (one, ("outcome", "sent"))] == 4
            assert found["exk_submits_total", (one, ("outcome", "unknown"))] == 0
            assert found["exk_intents", (one, ("status", "WORKING"))] == 3
            assert found["exk_fills_total", (one,)] >= 1
            assert found["exk_converged_seconds_count", (one, ("what", "place"))] == 4
            assert found["exk_converged_seconds_count", (("account", "two"), ("what", "place"))] == 0
            assert found["exk_reconcile_seconds_count", (one,)] >= 4
            assert found["exk_reconcile_failures_total", (one,)] == 0
            assert found["exk_contradictions_total", (one,)] == 0
            assert found["exk_ready", (one,)] == found["exk_owned", (one,)] == found["exk_up", (one,)] == 1
            assert found["exk_auth_failures_total", (("reason", "malformed"),)] == 1
            assert "canary" not in answer.text
            assert "BTC" not in answer.text
            names = {
                f"{family.name}_total" if family.type == "counter" else family.name
                for family in text_string_to_metric_families(answer.text)
            }
            assert names == set(CATALOGUE)

    asyncio.run(run())


def test_a_scraper_sees_its_accounts_only(tmp_path: Path) -> None:
    """A token of one account reads that account's metrics, and nothing about the whole; without one there are none."""

    async def run() -> None:
        async with served(tmp_path, "one", "two") as at, at.http(at.token("one:read")) as http:
            found = read((await http.get("/metrics")).text)
            assert {value for _, labels in found for name, value in labels if name == "account"} == {"one"}
            assert not any(name == "exk_auth_failures_total" for name, _ in found)
            async with at.http() as nobody:
                assert (await nobody.get("/metrics")).status_code == 401

    asyncio.run(run())
