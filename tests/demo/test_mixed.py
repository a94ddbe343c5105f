"""`exk demo` on mixed accounts, from end to end; and its judge: silent where nothing is wrong, loud at every defect."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from exchange_kernel.cli.demo.judge import Finding
from exchange_kernel.cli.demo.mixed.facts import Sent, VenueOrder
from exchange_kernel.cli.demo.mixed.judge import Judge
from exchange_kernel.cli.demo.mixed.play import BY_HAND, ENDS, WORDS
from exchange_kernel.cli.demo.mixed.stage import DEX, ORDERS, SPOT
from exchange_kernel.cli.demo.orders import Wanted
from exchange_kernel.manifests import find_files, read_manifests
from exchange_kernel.models import IntentStatus
from exchange_kernel.state import SqlIntentStore
from exchange_kernel.state.rows import Record
from tests.demo.test_demo import Ran, demo

DECLARED = read_manifests(find_files([str(ORDERS / part) for part in ("first", "second")]))
ACCOUNTS = {each.name: each.account for each in DECLARED}
WANTED = {each.name: Wanted(each.name, "", each.order, ENDS[each.name]) for each in DECLARED}
TOKENS = {"WETH": 18, "USDC": 6}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """One whole demo, which keeps what it makes."""
    return demo(tmp_path_factory.mktemp("mixed"), "--keep", "kept")


def test_the_demo_agrees_with_binance_and_with_the_chain(ran: Ran) -> None:
    """Three accounts at two venues, orders from files, faults at both, a kill -9 with orders in flight, changes while
    nobody runs; and in the end the venues and the store say the same of every order."""
    assert ran.code == 0, ran.said
    assert re.search(r"kill -9 \d+: [1-9]\d* orders in flight", ran.said)
    assert "exk apply -f first: 9 created" in ran.said
    assert "exk apply -f changed: 2 modified" in ran.said
    assert "exk apply -f first/uniswap.yaml: 2 unchanged" in ran.said
    assert "Everything agrees" in ran.said
    assert "DIFFERS" not in ran.said
    happened = {kind for kind, words in WORDS.items() if words in ran.said}
    assert {"drop_after", "drop_before", "late", "delay_reply", "answer_lost", "request_lost"} <= happened


def test_it_leaves_nothing_behind(ran: Ran) -> None:
    """No file but what it was told to keep; no secret of an account in what it printed or logged."""
    assert ran.left() == []
    kept = ran.folder / "here" / "kept"
    secrets = [(kept / name).read_text() for name in ("binance.secret", "dex.key")]
    for log in ("kernel.log", "exk.yaml"):
        text = (kept / log).read_text()
        assert not any(secret in text for secret in secrets)
    assert not any(secret in ran.said for secret in secrets)
    assert all((kept / name).stat().st_mode & 0o077 == 0 for name in ("binance.secret", "binance.key", "dex.key"))


def test_the_example_folder_is_what_the_demo_applies() -> None:
    """examples/mixed has the very files, and a configuration for the same accounts."""
    example = Path("examples/mixed")
    assert example.resolve() == ORDERS.resolve()
    assert {each.account for each in DECLARED} == {"binance_spot", "binance_futures", "uniswap"}


# ---- the judge ------------------------------------------------------------------------------------------------------


class MadeUp:
    """What a chain would say that did what the books say; tests change it."""

    def __init__(self, records: Mapping[str, Record]) -> None:
        self.transactions: list[Sent] = []
        self.moved: dict[str, Decimal] = {"WETH": Decimal(0), "USDC": Decimal(0)}
        self.left = 0
        for name, record in records.items():
            progress = record.progress
            if ACCOUNTS.get(name) != DEX or not progress.filled_base:
                continue
            sign = 1 if record.intent.order.side.value == "BUY" else -1
            units = {
                "WETH": int(sign * progress.filled_base.scaleb(18)),
                "USDC": int(-sign * progress.filled_quote.scaleb(6)),
            }
            name_of = next(vid.value for vid in record.attempts[-1].ids if vid.kind != "slot")
            self.transactions.append(Sent(name_of, True, units))
            for token, moved in units.items():
                self.moved[token] += self.amount(token, moved)

    def amount(self, token: str, units: int) -> Decimal:
        return Decimal(units).scaleb(-TOKENS[token])

    async def sent(self) -> list[Sent]:
        return self.transactions

    async def changed(self) -> dict[str, Decimal]:
        return self.moved

    async def waiting(self) -> int:
        return self.left


class Case:
    """The kept store, and venues that agree with it."""

    def __init__(self, records: Mapping[str, Record]) -> None:
        self.records = records
        self.orders = [VenueOrder(SPOT, BY_HAND, True, *(Decimal(0),) * 2, Decimal("0.01"), Decimal(40_000))]
        for name, record in records.items():
            if ACCOUNTS[name] == DEX:
                continue
            order, progress = record.intent.order, record.progress
            trigger = order.conditional_trigger
            price = (trigger.trigger_price if trigger else order.limit_price) or Decimal(0)
            live = progress.status is IntentStatus.WORKING
            client = next(vid.value for vid in record.attempts[-1].ids if vid.kind == "client")
            left = order.amount - progress.filled_base
            self.orders.append(
                VenueOrder(ACCOUNTS[name], client, live, progress.filled_base, progress.filled_quote, left, price)
            )
        self.chain = MadeUp(records)

    def at(self, name: str) -> int:
        client = next(vid.value for vid in self.records[name].attempts[-1].ids if vid.kind == "client")
        return next(n for n, each in enumerate(self.orders) if each.client == client)

    def change(self, name: str, **values: Any) -> None:
        self.orders[self.at(name)] = replace(self.orders[self.at(name)], **values)


def judged(ran: Ran, change: Callable[[Case], None]) -> dict[str, Finding]:
    async def look() -> list[Finding]:
        store = SqlIntentStore(f"sqlite:///{ran.folder / 'here' / 'kept' / 'exk.db'}")
        await store.open()
        try:
            records = {}
            for name, account in ACCOUNTS.items():
                record = await store.record(account, name)
                assert record is not None
                records[name] = record
            case = Case(records)
            change(case)
            judge = Judge(store, WANTED, ACCOUNTS, (BY_HAND,))
            return await judge.compare(case.orders, case.chain)  # type: ignore[arg-type]
        finally:
            await store.close()

    return {each.what: each for each in asyncio.run(look())}


DEFECTS: dict[str, tuple[Callable[[Case], None], str]] = {
    "an attempt became two orders": (
        lambda case: case.orders.append(case.orders[case.at("spot-crossing")]),
        "an attempt became at most one order",
    ),
    "two of an intent rest": (
        lambda case: case.orders.append(case.orders[case.at("spot-resting")]),
        "an intent has at most one live order",
    ),
    "an execution is not in the books": (
        lambda case: case.change("perp-more", base=Decimal("0.02")),
        "our fills are its fills",
    ),
    "another price was paid": (
        lambda case: case.change("spot-market", quote=Decimal(1)),
        "our fills are its fills",
    ),
    "it rests at another price": (
        lambda case: case.change("spot-changed", price=Decimal(3300)),
        "what rests there is what is wanted",
    ),
    "it rests for another amount": (
        lambda case: case.change("perp-changed", left=Decimal(2)),
        "what rests there is what is wanted",
    ),
    "what is cancelled here lives there": (
        lambda case: case.change("spot-cancelled", live=True),
        "what rests there is what is wanted",
    ),
    "the stop is gone": (lambda case: case.change("perp-stop", live=False), "what rests there is what is wanted"),
    "an order that nobody knows": (
        lambda case: case.orders.append(replace(case.orders[1], client="unknown")),
        "every order of ours is known",
    ),
    "the order by hand is gone": (lambda case: case.orders.pop(0) and None, "orders of others were left alone"),
    "a transaction that nobody knows": (
        lambda case: case.chain.transactions.append(Sent("0x" + "ab" * 32, True, {})),
        "every transaction of the account is known",
    ),
    "a second swap of an intent": (
        lambda case: case.chain.transactions.append(case.chain.transactions[0]),
        "an intent became at most one swap",
    ),
    "a swap moved another amount": (
        lambda case: case.chain.transactions[0].moved.update(WETH=1),
        "our fills are what the transactions moved",
    ),
    "a unit is missing": (
        lambda case: case.chain.moved.update(USDC=case.chain.moved["USDC"] - Decimal("0.000001")),
        "the books are the balances, to the unit",
    ),
    "a transaction waits": (lambda case: setattr(case.chain, "left", 1), "nothing of the account waits in the pool"),
}


def test_the_judge_has_nothing_against_what_agrees(ran: Ran) -> None:
    """Venues that did exactly what the books say: every finding is empty, and each has looked at something."""
    found = judged(ran, lambda case: None)
    assert {what: each.against for what, each in found.items() if each.against} == {}
    assert all(each.cases for each in found.values())


@pytest.mark.parametrize("defect", DEFECTS)
def test_the_judge_sees_each_defect(ran: Ran, defect: str) -> None:
    """One thing is wrong at a venue: the finding that says so is the one that is expected."""
    change, expected = DEFECTS[defect]
    against = [what for what, each in judged(ran, change).items() if each.against]
    assert any(expected in what for what in against), against
