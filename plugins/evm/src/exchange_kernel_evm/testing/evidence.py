"""What an account did, in the chain's own words: asked past whatever is under test, and compared with its books."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from exchange_kernel.state.rows import Record
from exchange_kernel.value import Value
from exchange_kernel.venue import Key
from exchange_kernel_evm.body import Body, read_body
from exchange_kernel_evm.testing.calls import calldata
from exchange_kernel_evm.transactions import hash_of, key_of

__all__ = ["Evidence", "Seen"]

Node = Callable[..., Any]
"""``node("eth_blockNumber")``: the result of one call."""


class Seen(Value, frozen=True):
    """One transaction of the account in a block of the chain, and its receipt, as the node tells them."""

    tx: Mapping[str, Any]
    receipt: Mapping[str, Any]

    @property
    def ok(self) -> bool:
        """Did it succeed?"""
        return bool(self.receipt["status"] == "0x1")

    @property
    def key(self) -> Key | None:
        """Of its tag."""
        return key_of(bytes.fromhex(self.tx["input"][2:]))

    @property
    def gas(self) -> int:
        """Wei paid for it."""
        return int(self.receipt["gasUsed"], 16) * int(self.receipt["effectiveGasPrice"], 16)


class Evidence:
    """What ``address`` did since this was made. ``tokens``: by name, whose balances count besides ether, "ETH"."""

    def __init__(self, node: Node, address: str, tokens: Mapping[str, str], chain_id: int = 1) -> None:
        self._node, self._address, self._tokens, self._chain_id = node, address, tokens, chain_id
        self._start, self._nonce, self._had = self._head(), self._count(), self.balances()

    def balances(self) -> dict[str, int]:
        """Units now, in the newest block."""
        found = {"ETH": int(self._node("eth_getBalance", self._address, "latest"), 16)}
        data = "0x" + calldata("balanceOf(address)", self._address).hex()
        for name, token in self._tokens.items():
            found[name] = int(self._node("eth_call", {"to": token, "data": data}, "latest"), 16)
        return found

    @property
    def used(self) -> int:
        """Numbers used."""
        return self._count() - self._nonce

    @property
    def moved(self) -> dict[str, int]:
        """Exact changes of balances, with gas given back to ETH; those that did not change are left out."""
        paid, now = sum(each.gas for each in self.transactions()), self.balances()
        change = {name: now[name] - had + (paid if name == "ETH" else 0) for name, had in self._had.items()}
        return {name: units for name, units in change.items() if units}

    def transactions(self) -> list[Seen]:
        """The account's, oldest first: every block since is read, and each is the chain's own at its height."""
        rows = []
        for height in range(self._start + 1, self._head() + 1):
            block = self._node("eth_getBlockByNumber", hex(height), True)
            for tx in block["transactions"]:
                if tx["from"].lower() == self._address.lower():
                    receipt = self._node("eth_getTransactionReceipt", tx["hash"])
                    assert receipt["blockHash"] == tx["blockHash"] == block["hash"], "a receipt of another branch"
                    rows.append(Seen(tx, receipt))
        return rows

    def by_key(self) -> Counter[Key]:
        """Transactions that succeeded, by the key in their tag."""
        return Counter(each.key for each in self.transactions() if each.ok and each.key is not None)

    def judge(self, records: Iterable[Record], foreign: int = 0) -> None:
        """Exactly once, and nothing unstored. Raises AssertionError.

        As many transactions as numbers used; at most one success for a tag; every transaction stored before it was
        sent, but for ``foreign`` of other wallets; each stored hash is that of the stored bytes; gas booked as paid.
        """
        seen, records = self.transactions(), list(records)
        assert len(seen) == self.used, f"{len(seen)} transactions used {self.used} numbers"
        twice = {key.hex(): count for key, count in self._placing(seen, records).items() if count > 1}
        assert not twice, f"an attempt succeeded more than once: {twice}"
        stored = {body.tx.hash: tags for record in records for body, tags in self._stored(record)}
        strange = [each.tx["hash"] for each in seen if each.tx["hash"] not in stored]
        assert len(strange) == foreign, f"on the chain, and not in the store: {strange}"
        for each in seen:
            tags = stored.get(each.tx["hash"])
            if tags is not None and each.key is not None:
                assert each.key in tags, f"{each.tx['hash']} has the tag of another order"
        wrong = self.misbooked(records)
        assert not wrong, "; ".join(wrong)

    def misbooked(self, records: Iterable[Record]) -> list[str]:
        """The orders that are over and of which another sum of gas is booked than was paid. What used a number after
        its order was over is booked some time after it is final."""
        paid = {each.tx["hash"]: each.gas for each in self.transactions()}
        wrong = []
        for record in records:
            if record.progress.status.terminal:
                own = {body.tx.hash for body in self.bodies(record)} & paid.keys()
                costs = [cost for attempt in record.attempts for cost in attempt.costs if cost.kind == "network"]
                booked = sum((cost.amount for cost in costs), Decimal(0))
                if booked != Decimal(sum(paid[each] for each in own)).scaleb(-18):
                    sums = [paid[each] for each in own]
                    wrong.append(f"{record.intent.intent_id}: {booked} booked, {own} paid {sums}")
        return wrong

    def bodies(self, record: Record) -> list[Body]:
        """The transactions stored for an intent, each with the hash of its bytes."""
        return [body for body, _ in self._stored(record)]

    def _stored(self, record: Record) -> list[tuple[Body, set[Key]]]:
        """With the keys it may have as its tag: its order's, or, where it only ends one, its own."""
        rows = [row.ticket for row in record.tickets if row.ticket.body]
        found = [(read_body(ticket, self._address, self._chain_id), ticket.key) for ticket in rows]
        assert all(body.tx.hash == hash_of(body.tx.raw) for body, _ in found)
        return [(body, {body.key} if body.op == "order" else {body.key, key}) for body, key in found]

    def of(self, record: Record) -> list[Seen]:
        """The transactions of an intent that are on the chain."""
        own = {body.tx.hash for body in self.bodies(record)}
        return [each for each in self.transactions() if each.tx["hash"] in own]

    def _placing(self, seen: list[Seen], records: list[Record]) -> Counter[Key]:
        """Successes by tag, without those that only cancel: they have their order's tag."""
        idle = {body.tx.hash for record in records for body in self.bodies(record) if body.op != "order"}
        return Counter(each.key for each in seen if each.ok and each.key is not None and each.tx["hash"] not in idle)

    def _count(self) -> int:
        return int(self._node("eth_getTransactionCount", self._address, "latest"), 16)

    def _head(self) -> int:
        return int(self._node("eth_blockNumber"), 16)
