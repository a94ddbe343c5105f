"""What became of an attempt: the watermark first, then the search, then, where a number is gone, who has used it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from eth_utils.address import to_checksum_address

from exchange_kernel.errors import NotSent, Unavailable
from exchange_kernel.value import Value, revised
from exchange_kernel.venue import (
    Absent,
    Found,
    Key,
    Lookup,
    Need,
    OrderReport,
    Ref,
    Slot,
    StepReport,
    Ticket,
    Watermark,
)
from exchange_kernel_evm import reports
from exchange_kernel_evm.body import Body, read_body
from exchange_kernel_evm.fees import Fees, is_stuck
from exchange_kernel_evm.finality import Mined
from exchange_kernel_evm.ledger import Ledger, State
from exchange_kernel_evm.transactions import Unsigned, key_of
from exchange_kernel_evm.venue import OnceOnly, OnChainVenue, Outcome, Resting, Terms

__all__ = ["Lookups", "unsigned_of"]

MOST_WAITING = 1_000
"""Transactions of which is remembered since when they wait, or that nodes did not take them."""
_LOOKED = ("blocks", "pool")
K = TypeVar("K")
T = TypeVar("T")


class _Row(Value, frozen=True):
    ticket: Ticket
    body: Body

    @property
    def hash(self) -> str:
        return self.body.tx.hash


class Lookups:
    """Finds what tickets became, for one account."""

    def __init__(self, ledger: Ledger, venue: OnChainVenue, scope: str, codec: str) -> None:
        self._ledger, self._venue, self._scope, self._codec = ledger, venue, scope, codec
        self._waits_since: dict[str, int] = {}
        self._priced_out: dict[str, int] = {}
        self._taken: dict[int, tuple[str, str]] = {}

    def rows(self, ref: Ref) -> list[tuple[Ticket, Body]]:
        """The attempt's tickets that hold a transaction of this account. Raises NotSent for a damaged one."""
        address, chain = self._ledger.address, self._ledger.chain.id
        ours = (t for t in ref.tickets if t.codec == self._codec and t.identity == self._scope and t.body)
        return [(ticket, read_body(ticket, address, chain)) for ticket in ours]

    async def find(self, ref: Ref) -> Lookup:
        """Raises Unavailable, RateLimited."""
        try:
            rows = [_Row(*row) for row in self.rows(ref)]
        except NotSent as error:
            raise Unavailable(f"what this ticket would have become cannot be told: {error}") from None
        if not rows:
            return await self._by_key(ref)
        state, mined, pooled = await self.places([row.body for row in rows])
        by_number: dict[int, list[_Row]] = defaultdict(list)
        for row in rows:
            by_number[row.body.tx.unsigned.nonce].append(row)
        found: list[OrderReport | StepReport] = []
        steps: list[StepReport] = []
        for nonce, same in by_number.items():
            used = next((row for row in same if row.hash in mined), None)
            if used is None and nonce < state.used:
                copied = await self._used_by_another(nonce, same, state, ref.placed_at)
                if copied is not None:
                    found.append(copied)
                    continue
            if any(row.body.op == "order" for row in same):
                others = [mined[row.hash] for row in rows if row not in same and row.hash in mined]
                report = await self._order(ref, nonce, same, used, mined, pooled, state, others)
                found += [] if report is None else [report]
            else:
                steps += self._steps(ref, same, used, mined, pooled, state, bool(found))
        found += steps
        at = self._mark(state, ref)
        if found:
            return Found(tuple(found), at)
        ours = [mined[row.hash] for row in rows if row.hash in mined]
        paid = [reports.gas(each, self._ledger.chain.native) for each in ours if each.block <= state.final.number]
        return Absent(at, 0, _LOOKED, tuple(paid))

    async def places(self, bodies: Sequence[Body]) -> tuple[State, dict[str, Mined], set[str]]:
        """Where these transactions are, and in which state of the chain: those in blocks, and the hashes of those that
        a node has in its pool. A number that is used in no block needs no receipt, and one that is used no pool; nor
        does, once, a transaction that a node took in this very block.

        Raises Unavailable, RateLimited.
        """
        hashes = {body.tx.hash: body.tx.unsigned.nonce for body in bodies}
        before, tip = self._ledger.next_number, self._ledger.tip
        told = {each for each, nonce in hashes.items() if tip and self._taken.pop(nonce, None) == (each, tip)}
        asked = [each for each, nonce in hashes.items() if nonce >= before and each not in told]
        state = await self._ledger.state([("eth_getTransactionByHash", (each,)) for each in asked])
        answers = dict(zip(asked, state.answers, strict=True))
        mined = await self._ledger.included([each for each, nonce in hashes.items() if nonce < state.next], state)
        # A reorganisation may have taken back what used them.
        still = told if state.head.hash == tip else set()
        late = [h for h, nonce in hashes.items() if nonce >= state.next and h not in answers and h not in still]
        if late:
            _, more = await self._ledger.rpc.read([("eth_getTransactionByHash", (each,)) for each in late])
            answers |= dict(zip(late, more, strict=True))
        for each in answers.values():
            if isinstance(each, Exception):
                raise Unavailable(str(each))
        pooled = {each for each, row in answers.items() if isinstance(row, Mapping)} | still
        return state, mined, pooled - mined.keys()

    async def outcome(self, key: Key | None, terms: Terms, mined: Mined, others: Sequence[Mined] = ()) -> Outcome:
        """What a placing transaction did. ``others``: what else of the attempt is in a block. Raises Unavailable."""
        if not mined.ok:
            once = self._venue if isinstance(self._venue, OnceOnly) else None
            if key is not None and once is not None and await once.spent(key, self._ledger):
                return await self._elsewhere(key)
            return reports.reverted()
        if isinstance(self._venue, Resting):
            return await self._venue.progress(terms, mined, others, self._ledger)
        return self._venue.executed(terms, mined, self._ledger.address)

    async def _elsewhere(self, key: Key) -> Outcome:
        """A contract refused the order for it had executed it: by another transaction of the account with its tag, of
        whoever has a copy of the store. Raises Unavailable where none is shown."""
        state = await self._ledger.state()
        own, _ = await self._ledger.own_since(0, state.head)
        tagged = [row for row in own if key_of(bytes.fromhex(str(row["input"])[2:])) == key]
        mined = await self._ledger.included([str(row["hash"]) for row in tagged], state)
        for row in tagged:
            at, terms = mined.get(str(row["hash"]).lower()), self._venue.terms(unsigned_of(row))
            if at is not None and at.ok and terms is not None:
                outcome = self._venue.executed(terms, at, self._ledger.address)
                trades = tuple(revised(trade, by=at) for trade in outcome.trades)
                return revised(outcome, trades=trades, text=f"executed by {at.hash}, from another copy of this store")
        raise Unavailable("the contract says that it has executed this order, and no node shows the transaction")

    async def _order(
        self,
        ref: Ref,
        nonce: int,
        same: list[_Row],
        used: _Row | None,
        mined: Mapping[str, Mined],
        pooled: set[str],
        state: State,
        others: Sequence[Mined],
    ) -> OrderReport | None:
        seen = state.seen(self._ledger.chain.native)
        placing = [row for row in same if row.body.op == "order"]
        hashes = [row.hash for row in placing]
        if used is None:
            waiting = next((row for row in reversed(placing) if row.hash in pooled), None)
            others_wait = any(row.hash in pooled for row in same)
            if waiting is None and not others_wait and self._outbid(placing[-1].body.tx.unsigned, state):
                # Nodes drop it, and refuse it when it is sent again: it waits for higher fees wherever it is.
                waiting = placing[-1]
            if waiting is None:
                return None
            assert waiting.body.terms is not None
            need = self._need(waiting, placing[-1], state)
            return reports.pending(waiting.body.key, nonce, hashes, waiting.body.terms, seen, need)
        if used.body.op == "burn":
            return None
        row = used if used.body.op == "order" else placing[-1]
        assert row.body.terms is not None
        at = mined[used.hash]
        outcome = await self.outcome(row.body.key, row.body.terms, at, others) if row is used else reports.canceled()
        applied = used.ticket.key if used.ticket.key != row.body.key else None
        also = tuple(reports.gas(each, seen.native) for each in others)
        terms = row.body.terms
        return reports.order(row.body.key, nonce, hashes, terms, at, outcome, seen, applied=applied, also=also)

    def _steps(
        self,
        ref: Ref,
        same: list[_Row],
        used: _Row | None,
        mined: Mapping[str, Mined],
        pooled: set[str],
        state: State,
        among_orders: bool,
    ) -> list[StepReport]:
        """A transaction that is no order is news where it is what was asked for, or where its order is there."""
        seen = state.seen(self._ledger.chain.native)
        if used is not None and (among_orders or used.ticket.key == ref.key):
            return [reports.step(used.ticket.key, mined[used.hash], seen)]
        wanted = (row for row in same if row.hash in pooled and row.ticket.key == ref.key)
        return [reports.waiting(row.ticket.key, row.hash, seen) for row in wanted]

    async def _used_by_another(self, nonce: int, same: list[_Row], state: State, since: int) -> OrderReport | None:
        """The number is spent for good, and no receipt of ours was shown: prove that it was somebody else's. A
        transaction with the order's tag is the order, whoever has sent it: a kernel with a copy of this store.

        Raises Unavailable where it was ours after all: the node that answered did not have its own receipts yet.
        """
        user = await self._ledger.user_of(nonce, state.final.number, since)
        if user is None:
            return None
        tx_hash = str(user["hash"]).lower()
        if tx_hash in {row.hash for row in same}:
            raise Unavailable(f"number {nonce} was used by {tx_hash}, whose receipt the node does not show")
        tx = unsigned_of(user)
        key, terms = key_of(tx.data), self._venue.terms(tx)
        if terms is None or not any(row.body.op == "order" and row.body.key == key for row in same):
            return None
        at = (await self._ledger.included([tx_hash], state)).get(tx_hash)
        if at is None:
            raise Unavailable(f"number {nonce} was used by {tx_hash}, whose receipt the node does not show")
        hashes = [row.hash for row in same if row.body.op == "order"]
        outcome = await self.outcome(key, terms, at)
        assert key is not None
        return reports.order(key, nonce, hashes, terms, at, outcome, state.seen(self._ledger.chain.native))

    async def _by_key(self, ref: Ref) -> Lookup:
        """Without tickets: the account's transactions since then, by their tags."""
        state = await self._ledger.state()
        own, since = await self._ledger.own_since(ref.placed_at, state.head)
        seen = state.seen(self._ledger.chain.native)
        tagged = [row for row in own if key_of(bytes.fromhex(str(row["input"])[2:])) == ref.key]
        mined = await self._ledger.included([str(row["hash"]) for row in tagged], state)
        found: list[OrderReport | StepReport] = []
        for row in tagged:
            tx, at = unsigned_of(row), mined.get(str(row["hash"]).lower())
            terms = self._venue.terms(tx)
            if terms is not None and at is not None:
                outcome = await self.outcome(ref.key, terms, at)
                found.append(reports.order(ref.key, tx.nonce, (), terms, at, outcome, seen))
        for tx, tx_hash in await self.pool():
            terms = self._venue.terms(tx)
            if terms is not None and key_of(tx.data) == ref.key:
                found.append(reports.pending(ref.key, tx.nonce, [tx_hash], terms, seen))
        at_ = self._mark(state, ref)
        return Found(tuple(found), at_) if found else Absent(at_, since, _LOOKED)

    async def pool(self) -> list[tuple[Unsigned, str]]:
        """The account's transactions that wait in the pool of the node that is asked, as far as it tells, and their
        hashes."""
        _, (block,) = await self._ledger.rpc.read([("eth_getBlockByNumber", ("pending", True))])
        rows = block.get("transactions", ()) if isinstance(block, Mapping) else ()
        mine = [row for row in rows if str(row.get("from", "")).lower() == self._ledger.address.lower()]
        return [(unsigned_of(row), str(row["hash"]).lower()) for row in mine]

    def taken(self, tx: Unsigned, tx_hash: str) -> None:
        """A node has just taken it, instead of any other of its number."""
        self._taken.pop(tx.nonce, None)
        _remember(self._taken, tx.nonce, (tx_hash, self._ledger.tip))

    def priced_out(self, tx_hash: str) -> None:
        """A node did not take it, for its fees."""
        _remember(self._priced_out, tx_hash, 0)

    def _need(self, waiting: _Row, newest: _Row, state: State) -> Need | None:
        """What waits is counted for each transaction from when it was first seen to wait: one that has just taken
        another's place is not stuck. One that was to take it and that no node has taken asks for higher fees only where
        that was the reason."""
        tx, height = waiting.body.tx.unsigned, state.head.number
        _remember(self._waits_since, waiting.hash, height)
        why = is_stuck(Fees(tx.max_fee, tx.tip), state.head.base_fee, max(0, height - self._waits_since[waiting.hash]))
        if not why or tx.nonce != state.next:
            return None
        meant = newest if newest.hash in self._priced_out else waiting
        return Need("replace", state.head.time, why, reports.tx_id(meant.hash))

    @staticmethod
    def _outbid(tx: Unsigned, state: State) -> bool:
        """Its number is the next one, and no block can take it for its fee."""
        return tx.nonce == state.next and bool(is_stuck(Fees(tx.max_fee, tx.tip), state.head.base_fee, 0))

    def _mark(self, state: State, ref: Ref) -> Watermark:
        slots = (ticket.slot for ticket in ref.tickets)
        spent = frozenset(s for s in slots if isinstance(s, Slot) and s.scope == self._scope and s.number < state.used)
        return Watermark(ledger_ms=state.final.time, height=state.final.number, spent=spent)


def _remember(what: dict[K, T], key: K, value: T) -> None:
    """The first that was said of it."""
    what.setdefault(key, value)
    while len(what) > MOST_WAITING:
        del what[next(iter(what))]


def unsigned_of(row: Mapping[str, Any]) -> Unsigned:
    """A transaction as a node tells it. ``to`` is "" where it creates a contract. Raises Unavailable."""
    try:
        price = int(row.get("maxFeePerGas") or row.get("gasPrice") or "0x0", 16)
        return Unsigned(
            int(row.get("chainId") or "0x0", 16),
            int(row["nonce"], 16),
            _checksum(row.get("to")),
            int(row["value"], 16),
            bytes.fromhex(str(row["input"])[2:]),
            int(row["gas"], 16),
            price,
            int(row.get("maxPriorityFeePerGas") or "0x0", 16),
        )
    except (KeyError, TypeError, ValueError):
        raise Unavailable("a node's answer is no transaction") from None


def _checksum(address: object) -> str:
    return to_checksum_address(str(address)) if address else ""
