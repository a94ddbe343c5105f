"""The comparison at the end: what the venues say on one side, what the kernel's store says on the other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from exchange_kernel.cli.demo.judge import RESTING, Finding
from exchange_kernel.cli.demo.mixed.facts import Chain, Sent, VenueOrder
from exchange_kernel.cli.demo.mixed.stage import ACCOUNTS, DEX
from exchange_kernel.cli.demo.orders import Wanted
from exchange_kernel.models import ZERO
from exchange_kernel.schema import Side
from exchange_kernel.state import IntentStateStore
from exchange_kernel.state.rows import Attempt, Record
from exchange_kernel.state.sql.verify import verify

Wants = Mapping[str, Wanted]


class Judge:
    """``wanted``: by intent id. ``foreign``: client ids of orders that a second program placed."""

    def __init__(
        self, store: IntentStateStore, wanted: Wants, accounts: Mapping[str, str], foreign: Sequence[str]
    ) -> None:
        self._store, self._wanted, self._accounts, self._foreign = store, wanted, accounts, foreign

    async def compare(self, binance: Sequence[VenueOrder], chain: Chain) -> list[Finding]:
        """Every claim that the product makes, checked."""
        records: dict[str, Record] = {}
        lost = []
        for name, account in self._accounts.items():
            record = await self._store.record(account, name)
            if record is None:
                lost.append(f"{name} is not in the store")
            else:
                records[name] = record
        found = [Finding("intents that were applied are in the store", len(self._accounts), tuple(lost))]
        ends = [
            f"{name}: {record.progress.status} ({record.progress.reason})"
            for name, record in records.items()
            if record.progress.status not in self._wanted[name].ends
        ]
        found.append(Finding("each intent came to where it was meant to", len(records), tuple(ends)))
        found += self._binance({name: each for name, each in records.items() if self._accounts[name] != DEX}, binance)
        found += await self._chain({name: each for name, each in records.items() if self._accounts[name] == DEX}, chain)
        checked = [await verify(self._store, account) for account in ACCOUNTS]
        differences = tuple(each for one in checked for each in one.differences)
        what = "the event logs are unbroken and add up to the stored rows (exk verify)"
        return [*found, Finding(what, sum(one.events for one in checked), differences)]

    # ---- Binance ------------------------------------------------------------------------------------------------

    def _binance(self, records: Mapping[str, Record], orders: Sequence[VenueOrder]) -> list[Finding]:
        there: defaultdict[tuple[str, str], list[VenueOrder]] = defaultdict(list)
        for order in orders:
            there[(order.account, order.client)].append(order)
        doubled: list[str] = []
        several: list[str] = []
        booked: list[str] = []
        statuses: list[str] = []
        known: set[tuple[str, str]] = set()
        attempts = 0
        for name, record in records.items():
            mine: list[VenueOrder] = []
            for attempt in record.attempts:
                attempts += 1
                key = (record.intent.account, _client(attempt))
                known.add(key)
                if len(there[key]) > 1:
                    doubled.append(f"{name}: attempt {attempt.n} became {len(there[key])} orders")
                mine += there[key]
            live = [order for order in mine if order.live]
            if len(live) > 1:
                several.append(f"{name}: {len(live)} live orders")
            base, quote = sum((o.base for o in mine), ZERO), sum((o.quote for o in mine), ZERO)
            progress = record.progress
            if (progress.filled_base, progress.filled_quote) != (base, quote):
                booked.append(
                    f"{name}: {progress.filled_base} for {progress.filled_quote} here, {base} for {quote} there"
                )
            statuses += self._status(name, record, live, base)
        strangers = [
            f"Binance has {client} ({account}), the store does not"
            for (account, client), found in there.items()
            if found and (account, client) not in known and client not in self._foreign
        ]
        untouched = {client: any(o.live for o in orders if o.client == client) for client in self._foreign}
        gone = tuple(f"order {client} is gone" for client, still in untouched.items() if not still)
        return [
            Finding("Binance: an attempt became at most one order", attempts, tuple(doubled)),
            Finding("Binance: an intent has at most one live order", len(records), tuple(several)),
            Finding("Binance: our fills are its fills", len(records), tuple(booked)),
            Finding("Binance: what rests there is what is wanted, at its price", len(records), tuple(statuses)),
            Finding("Binance: every order of ours is known to the store", len(orders), tuple(strangers)),
            Finding("Binance: orders of others were left alone", len(self._foreign), gone),
        ]

    def _status(self, name: str, record: Record, live: Sequence[VenueOrder], done: Decimal) -> Iterable[str]:
        status, order = record.progress.status, record.intent.order
        if (status in RESTING) != bool(live):
            yield f"{name}: {status} here, {'live' if live else 'nothing live'} there"
        elif live:
            trigger = order.conditional_trigger
            price = order.limit_price if trigger is None else trigger.trigger_price
            if live[0].price != price or live[0].left + done != order.amount:
                yield f"{name}: {order.amount} at {price} wanted, {live[0].left} at {live[0].price} rests"

    # ---- the chain ----------------------------------------------------------------------------------------------

    async def _chain(self, records: Mapping[str, Record], chain: Chain) -> list[Finding]:
        sent = await chain.sent()
        known = {
            _hash(each.value)
            for _, progress_record in await self._everything()
            for attempt in progress_record.attempts
            for each in attempt.ids
        }
        strange = tuple(f"{each.hash} is unknown to the store" for each in sent if _hash(each.hash) not in known)
        swaps = [each for each in sent if each.ok and len(each.moved) > 1]
        twice: list[str] = []
        amounts: list[str] = []
        for name, record in records.items():
            hashes = {_hash(vid.value) for attempt in record.attempts for vid in attempt.ids}
            mine = [each for each in swaps if _hash(each.hash) in hashes]
            if len(mine) > 1:
                twice.append(f"{name}: {len(mine)} swaps")
            amounts += _amounts(name, record, mine, chain)
        changed, booked = await chain.changed(), self._sums(records)
        balances = [
            f"{token}: {booked.get(token, ZERO)} in the books, {units} on the chain"
            for token, units in changed.items()
            if units != booked.get(token, ZERO)
        ]
        left = await chain.waiting()
        waiting = (f"{left} transactions wait in the pool",) if left else ()
        return [
            Finding("Uniswap: every transaction of the account is known to the store", len(sent), strange),
            Finding("Uniswap: an intent became at most one swap", len(records), tuple(twice)),
            Finding("Uniswap: our fills are what the transactions moved", len(swaps), tuple(amounts)),
            Finding("Uniswap: the books are the balances, to the unit", len(changed), tuple(balances)),
            Finding("Uniswap: nothing of the account waits in the pool", 1, waiting),
        ]

    async def _everything(self) -> list[tuple[str, Record]]:
        """Every intent of the account, those of the kernel's own (approvals) among them."""
        found = []
        for intent, _ in await self._store.intents(DEX):
            record = await self._store.record(DEX, intent.intent_id)
            assert record is not None
            found.append((intent.intent_id, record))
        return found

    def _sums(self, records: Mapping[str, Record]) -> dict[str, Decimal]:
        sums: defaultdict[str, Decimal] = defaultdict(Decimal)
        for record in records.values():
            base, quote = record.intent.order.symbol_id.split("/")
            sign = 1 if record.intent.order.side is Side.BUY else -1
            sums[base] += sign * record.progress.filled_base
            sums[quote] -= sign * record.progress.filled_quote
        return dict(sums)


def _amounts(name: str, record: Record, swaps: Sequence[Sent], chain: Chain) -> Iterable[str]:
    base, quote = record.intent.order.symbol_id.split("/")
    there = tuple(
        abs(sum((chain.amount(token, swap.moved.get(token, 0)) for swap in swaps), ZERO)) for token in (base, quote)
    )
    here = (record.progress.filled_base, record.progress.filled_quote)
    if here != there:
        yield f"{name}: {here[0]} for {here[1]} here, {there[0]} for {there[1]} there"


def _client(attempt: Attempt) -> str:
    return next((each.value for each in attempt.ids if each.kind == "client"), "")


def _hash(text: str) -> str:
    return text.lower().removeprefix("0x")
