"""Ledger venues: a pool of transactions, executed in blocks. No reorgs: what is ``finality`` blocks deep stays.

Block ``h`` is made at venue time ``h * block_ms``. Under ``sequence`` an account's transactions are executed in the
order of their numbers, each number once, without a gap; under ``height`` in the order of arrival, each id once, up to
the block they name. A transaction that fails still uses up its number and its fee.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from exchange_kernel_paper.exchange.accounts import Account
from exchange_kernel_paper.exchange.alarms import Alarms
from exchange_kernel_paper.exchange.codes import Code, Refusal
from exchange_kernel_paper.exchange.fences import request_id
from exchange_kernel_paper.exchange.filters import Request
from exchange_kernel_paper.exchange.numbers import number, text
from exchange_kernel_paper.exchange.settings import Settings

MOST_PENDING = 1_000


@dataclass(frozen=True, slots=True)
class Transaction:
    """A request in the pool. ``number``: its place in the account's sequence, or (``height``) order of arrival."""

    request: Request
    rid: str
    number: int
    fee: Decimal
    last_height: int | None

    def view(self) -> dict[str, object]:
        """This transaction as the wire shows it."""
        return {**self.request, "rid": self.rid, "number": self.number, "fee": text(self.fee)}


class Receipt(NamedTuple):
    """Fate of an executed request: ``code`` empty for success, ``at`` in venue ms UTC, ``number`` -1 for none."""

    op: str
    code: str
    at: int
    height: int
    number: int
    asset: str
    fee: Decimal

    def view(self, rid: str) -> dict[str, object]:
        """This receipt as the wire shows it."""
        fee = [self.asset, text(self.fee)] if self.fee else None
        return {"rid": rid, "op": self.op, "code": self.code, "at": self.at, "height": self.height, "fee": fee}


class Chain:
    """Blocks and the pool. ``execute(account, tx)`` does what a transaction says, and keeps its receipt."""

    def __init__(self, settings: Settings, alarms: Alarms, execute: Callable[[Account, Transaction], None]) -> None:
        self._settings, self._alarms, self._execute = settings, alarms, execute
        self._waiting: dict[str, Account] = {}
        self._scheduled: int | None = None
        self._arrivals = 0
        self.base_fee = settings.base_fee
        self.height = 0  # the block being executed; 0 between blocks

    def head(self, now: int) -> int:
        """Height of the newest block at venue time ``now``."""
        return now // self._settings.block_ms

    def next_height(self, now: int) -> int:
        """Height of the block that what happens at ``now`` belongs to."""
        return self.height or self.head(now) + 1

    def time_of(self, height: int) -> int:
        """Venue ms UTC at which a block is made."""
        return height * self._settings.block_ms

    def view(self, account: Account, at: int) -> dict[str, object]:
        """The ledger as of ``at``: newest and final block, and the account's next number in each."""
        head = self.head(at)
        final = head - self._settings.finality
        return {
            "height": head,
            "final": final,
            "final_ms": self.time_of(final),
            "next": bisect_right(account.mined, head),
            "next_final": bisect_right(account.mined, final),
            "base_fee": text(self.base_fee),
        }

    def submit(self, account: Account, request: Request, now: int) -> None:
        """A node takes a transaction into the pool, or refuses with a code that promises nothing."""
        rid = request_id(request)
        assert rid is not None
        fee = number("fee", request.get("fee"))
        if rid in account.receipts:
            raise Refusal(Code.KNOWN, f"transaction {rid} is in a block")
        if self._settings.fence == "sequence":
            tx = Transaction(request, rid, self._slot(account, request, fee), fee, None)
        else:
            last = request.get("last_height")
            if type(last) is not int:
                raise Refusal(Code.BAD_REQUEST, "last_height is needed")
            if last < self.head(now) + 1:
                raise Refusal(Code.TOO_LATE, f"block {last} is over")
            if any(tx.rid == rid for tx in account.pool.values()):
                raise Refusal(Code.KNOWN, f"transaction {rid} is pending")
            self._arrivals += 1
            tx = Transaction(request, rid, self._arrivals, fee, last)
        account.pool[tx.number] = tx
        self._waiting[account.name] = account
        self.schedule(now)

    def _slot(self, account: Account, request: Request, fee: Decimal) -> int:
        slot = request.get("number")
        if type(slot) is not int or slot < 0:
            raise Refusal(Code.BAD_REQUEST, "number is needed")
        if slot < account.number:
            raise Refusal(Code.NUMBER_TOO_LOW, f"number {slot} is used, the next is {account.number}")
        if slot > account.number + MOST_PENDING:
            raise Refusal(Code.NUMBER_TOO_HIGH, f"number {slot} is too far ahead of {account.number}")
        rival = account.pool.get(slot)
        if rival is not None and rival.request == request:
            raise Refusal(Code.KNOWN, f"transaction {rival.rid} is pending")
        if rival is not None and fee <= rival.fee:
            raise Refusal(Code.UNDERPRICED, f"number {slot} is pending with fee {text(rival.fee)}")
        return slot

    def schedule(self, now: int) -> None:
        """Make the next block when somebody waits for it."""
        height = self.head(now) + 1
        if self._waiting and self._scheduled != height:
            self._scheduled = height
            self._alarms.at(self.time_of(height), lambda: self._mine(height))

    def _mine(self, height: int) -> None:
        self.height = height
        for account in list(self._waiting.values()):
            for tx in list(self._minable(account, height)):
                self._execute(account, tx)
            if not account.pool:
                del self._waiting[account.name]
        self.height = 0

    def _minable(self, account: Account, height: int) -> list[Transaction]:
        ready: list[Transaction] = []
        if self._settings.fence == "sequence":
            while (tx := account.pool.get(account.number)) is not None and tx.fee >= self.base_fee:
                del account.pool[tx.number]
                account.mined.append(height)
                ready.append(tx)
            return ready
        for tx in list(account.pool.values()):
            assert tx.last_height is not None
            if tx.last_height < height:
                del account.pool[tx.number]
            elif tx.fee >= self.base_fee:
                del account.pool[tx.number]
                if tx.rid not in account.receipts:
                    ready.append(tx)
        return ready
