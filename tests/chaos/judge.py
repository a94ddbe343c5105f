"""What must hold when the faults have stopped: every intent, by the store and by the venue's own ledger."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import psycopg

from exchange_kernel.models import ZERO, Desired, IntentStatus, OrderIntent
from exchange_kernel.schema import StandardOrder
from exchange_kernel.state import SqlIntentStore
from exchange_kernel.state.rows import Progress, Record
from exchange_kernel.state.sql.verify import verify
from exchange_kernel_paper.tcp import Control
from exchange_kernel_paper.translate import client_id
from tests.chaos.load import Wish

RESTING = (IntentStatus.WORKING, IntentStatus.PARTIALLY_FILLED)
PAGE = 500
Orders = list[dict[str, Any]]


@dataclass
class Verdict:
    """``broken``: what does not hold, with the rule it breaks; ``counts``: how the intents ended."""

    broken: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


class Owners:
    """Looks at the leases while things happen: an account's epoch never falls, and never has two owners (S8)."""

    def __init__(self, url: str) -> None:
        self._url = url.replace("+psycopg", "")
        self._seen: dict[str, tuple[int, str]] = {}
        self.broken: list[str] = []
        self.takeovers = 0

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            with contextlib.suppress(psycopg.Error, OSError):
                async with await psycopg.AsyncConnection.connect(self._url, autocommit=True) as connection:
                    while True:
                        rows = await connection.execute("SELECT account, epoch, owner FROM account_lease")
                        for account, epoch, owner in await rows.fetchall():
                            self._look(account, epoch, owner)
                        await asyncio.sleep(0.2)
            await asyncio.sleep(0.2)

    def _look(self, account: str, epoch: int, owner: str) -> None:
        before = self._seen.get(account)
        self._seen[account] = (epoch, owner)
        if before is None or before == (epoch, owner):
            return
        self.takeovers += 1
        if epoch <= before[0]:
            self.broken.append(f"S8: {account}: epoch {before[0]} of {before[1]} was followed by {epoch} of {owner}")


class Judge:
    """Compares what users were told, the store, and the ledger."""

    def __init__(self, url: str, control: Control, accounts: tuple[str, ...], wishes: dict[tuple[str, str], Wish]):
        self._url, self._control, self._accounts, self._wishes = url, control, accounts, wishes
        self._verdict = Verdict()

    def _broken(self, rule: str, text: str) -> None:
        self._verdict.broken.append(f"{rule}: {text}")

    async def unsettled(self) -> list[str]:
        """Intents that have not arrived where they are wanted."""
        out = []
        store = SqlIntentStore(self._url)
        await store.open()
        try:
            for account in self._accounts:
                for intent, progress in await store.intents(account, active_only=True):
                    why = _unsettled(intent, progress)
                    if why:
                        out.append(f"{account} {intent.intent_id} {why}")
        finally:
            await store.close()
        return out

    async def judge(self) -> Verdict:
        """Everything, once all is quiet."""
        store = SqlIntentStore(self._url)
        await store.open()
        try:
            if (await store.store_row()).suspicion is not None:
                self._broken("R32", "the store says that commits were lost")
            for account in self._accounts:
                await self._account(store, account)
        finally:
            await store.close()
        return self._verdict

    async def _account(self, store: SqlIntentStore, account: str) -> None:
        ledger: Orders = await self._control.do("orders_of", account)
        by_client: dict[str | None, Orders] = defaultdict(list)
        for order in ledger:
            if order["status"] != "REJECTED":
                by_client[order["client"]].append(order)
        intents = await store.intents(account)
        known = {intent.intent_id for intent, _ in intents}
        for (where, name), wish in self._wishes.items():
            if where == account and wish.placed and name not in known:
                self._broken("S12", f"{account} {name} was acknowledged, and is gone")
        epochs: dict[tuple[str, int], int] = {}
        for start in range(0, len(intents), PAGE):
            ids = [intent.intent_id for intent, _ in intents[start : start + PAGE]]
            for (_, progress), record in zip(
                intents[start : start + PAGE],
                await asyncio.gather(*(store.record(account, each) for each in ids)),
                strict=True,
            ):
                assert record is not None
                orders = {a.n: by_client.pop(client_id(a.key), []) for a in record.attempts}
                self._intent(account, record, progress, orders)
                epochs |= {(record.intent.intent_id, a.n): a.epoch for a in record.attempts}
        for client, orders_left in by_client.items():
            self._broken("S4", f"{account}: orders {client} that no attempt names: {orders_left}")
        await self._epochs(store, account, epochs)
        for difference in (await verify(store, account)).differences:
            self._broken("S11", f"{account}: {difference}")

    def _intent(self, account: str, record: Record, progress: Progress, orders: dict[int, Orders]) -> None:
        intent, counts = record.intent, self._verdict.counts
        name = f"{account} {intent.intent_id} {progress.status.value} ({progress.reason})"
        wish = self._wishes[account, intent.intent_id]
        placed = [order for each in orders.values() for order in each]
        counts[progress.status.value] += 1
        counts["orders at the venue"] += len(placed)
        for n, each in orders.items():
            if len(each) > 1:
                self._broken("S1", f"{name}: attempt {n} became {len(each)} orders: {each}")
        live = [order for order in placed if order["live"]]
        if len(live) > 1:
            self._broken("S2", f"{name}: {len(live)} orders are live: {live}")
        base = sum((Decimal(order["base"]) for order in placed), ZERO)
        quote = sum((Decimal(order["quote"]) for order in placed), ZERO)
        if base > wish.most:
            self._broken("S3", f"{name}: {base} executed, {wish.most} asked for: {placed}")
        fills = [fill for fill in record.fills if not fill.voided]
        if (progress.filled_base, progress.filled_quote) != (base, quote):
            booked = f"{progress.filled_base}/{progress.filled_quote}"
            self._broken("S10", f"{name}: booked {booked}, executed {base}/{quote}: {placed}")
        if len(fills) != sum(order["fills"] for order in placed):
            self._broken("S10", f"{name}: {len(fills)} fills booked of {placed}")
        why = _unsettled(intent, progress)
        if why:
            self._broken("L1", f"{account} {intent.intent_id} {why}: {placed}")
        elif progress.status.terminal:
            if live:
                self._broken("S6", f"{name}: and it is live: {live}")
            if progress.status is IntentStatus.FILLED and base < intent.order.amount:
                self._broken("S6", f"{name}: with {base} of {intent.order.amount}")
        else:
            elsewhere = sum((Decimal(order["base"]) for order in placed if not order["live"]), ZERO)
            refused = progress.amend_refused == intent.generation
            self._resting(name, intent.order, wish, live, elsewhere, refused)
        if wish.canceled and not progress.status.terminal:
            self._broken("L6", f"{name}: its cancel was acknowledged")
        if intent.generation < wish.generation:
            self._broken("S12", f"{name}: generation {wish.generation} was acknowledged, there is {intent.generation}")

    def _resting(
        self, name: str, order: StandardOrder, wish: Wish, live: Orders, elsewhere: Decimal, refused: bool
    ) -> None:
        if len(live) != 1:
            self._broken("L1", f"{name}: it should rest, and {live} do")
            return
        if refused:
            return
        wanted = (order.limit_price, order.amount - elsewhere)
        there = (Decimal(live[0]["limit"]), Decimal(live[0]["most"]))
        # The ledger's total is the largest the order ever had.
        if there[0] != wanted[0] or not wanted[1] <= there[1] <= wish.most:
            self._broken("L1", f"{name}: wanted are {wanted}, at the venue are {there}")

    async def _epochs(self, store: SqlIntentStore, account: str, epochs: dict[tuple[str, int], int]) -> None:
        """Attempts in the order in which they were committed: their epochs never fall (S8, R31)."""
        after, newest, seen = 0, 0, set()
        while page := await store.event_rows(account, after, 2_000):
            after = page[-1].seq
            for row in page:
                for n in json.loads(row.patch).get("attempts", {}) if row.patch else ():
                    key = (str(row.intent_id), int(n))
                    if key in seen or key not in epochs:
                        continue
                    seen.add(key)
                    if epochs[key] < newest:
                        self._broken(
                            "S8", f"{account} {key}: committed under epoch {epochs[key]} after one under {newest}"
                        )
                    newest = max(newest, epochs[key])
        self._verdict.counts["attempts"] += len(seen)


def _unsettled(intent: OrderIntent, progress: Progress) -> str:
    """Why an intent has not arrived where it is wanted, or ""."""
    status = progress.status
    if status.terminal:
        return ""
    if status not in RESTING:
        return f"is {status.value}: {progress.reason}"
    if intent.desired is Desired.CANCELED:
        return f"is {status.value}, and wanted gone"
    if progress.observed_generation != intent.generation and progress.amend_refused != intent.generation:
        return f"is {status.value} as of generation {progress.observed_generation}, wanted is {intent.generation}"
    return ""
