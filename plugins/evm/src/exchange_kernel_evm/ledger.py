"""The account's view of its chain: how far it is final, which numbers are used, what is in a block and what waits."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from exchange_kernel.errors import Unavailable
from exchange_kernel.value import Value, revised
from exchange_kernel.venue import Ms
from exchange_kernel_evm.answers import Meaning, NodeError
from exchange_kernel_evm.chains import Chain
from exchange_kernel_evm.endpoint import Answer, Request
from exchange_kernel_evm.fees import gas_cost
from exchange_kernel_evm.finality import Mined, who_used
from exchange_kernel_evm.inclusion import Included
from exchange_kernel_evm.multicall import BLOCK_NUMBER, BLOCK_TIME, Read, Result, read_results, request
from exchange_kernel_evm.reports import Seen
from exchange_kernel_evm.rpc import Block, Rpc

__all__ = ["Ledger", "State"]

MAX_SCAN = 200_000
"""Blocks that are searched for a lost transaction; what is older is not looked for (a month on mainnet)."""
CLOCK_SLACK_MS = 120_000
"""By how much a block's time may be behind the clock of whoever placed an order in it."""
MAX_READ = 2_000
"""Blocks that are read for a transaction that no state shows: mainnet's of six hours."""
READ_AT_ONCE = 8


class State(Value, frozen=True):
    """``final``: the newest final block. ``used``: numbers below it are spent in that block's state, for good.

    ``next``: smallest number not used in the newest block. ``answers``: to what was asked besides.
    """

    head: Block
    final: Block
    used: int
    next: int
    answers: tuple[Answer, ...]

    def seen(self, native: str) -> Seen:
        """For reports made from it."""
        return Seen(self.head.number, self.head.time, self.final.number, native)


class Ledger:
    """Reads of one chain for one account. Implements :class:`exchange_kernel_evm.venue.ChainReads`."""

    def __init__(self, rpc: Rpc, chain: Chain, address: str) -> None:
        self.rpc, self.chain, self.address = rpc, chain, address
        self._shared: dict[str, tuple[int, Answer]] = {}
        self._known: State | None = None
        self._included = Included(rpc.headers)
        self._asking: dict[str, asyncio.Future[None]] = {}

    @property
    def newest(self) -> int:
        """See :class:`exchange_kernel_evm.venue.ChainReads`."""
        return self.rpc.highest

    @property
    def tip(self) -> str:
        """See :class:`exchange_kernel_evm.venue.ChainReads`."""
        header = self.rpc.header
        return "" if header is None else header.hash

    @property
    def next_number(self) -> int:
        """The smallest number that was not used in any block when that was read last; 0 before."""
        return 0 if self._known is None else self._known.next

    async def read(self, reads: Sequence[Read]) -> tuple[Block, list[Result]]:
        """Contracts, all in one state: see :class:`exchange_kernel_evm.venue.ChainReads`."""
        at = self.chain.multicall3
        whole = [*reads, Read(at, BLOCK_NUMBER), Read(at, BLOCK_TIME)]
        found: list[Result] = []

        def shows(answers: Sequence[Answer]) -> Block:
            """The state itself says which it is: nodes show a base fee of 0 there (geth core/vm/evm.go, NoBaseFee), so
            that is the newest header's."""
            found[:] = read_results(answers[0], whole)
            number, time = found[-2].values, found[-1].values
            assert number is not None
            assert time is not None
            known = self.rpc.header
            return Block(number[0], "", "", time[0] * 1000, 0 if known is None else known.base_fee)

        if self.rpc.header is None:
            await self.rpc.read([])
        head, _ = await self.rpc.read([request(at, whole, "latest")], shows)
        return head, found[: len(reads)]

    async def shared(self, requests: Sequence[Request]) -> list[Answer]:
        """Reads that say the same to everybody who asks within one block: asked once in it. Raises Unavailable,
        RateLimited."""
        missing = [each for each in requests if self._shared.get(str(each), (-1, None))[0] < self.rpc.highest]
        if missing:
            head, answers = await self.rpc.read(missing)
            self.share(head, missing, answers)
        return [self._shared[str(each)][1] for each in requests]

    def share(self, head: Block, requests: Sequence[Request], answers: Sequence[Answer]) -> None:
        """These were read along with something else."""
        for each, answer in zip(requests, answers, strict=True):
            self._shared[str(each)] = head.number, answer

    async def raw(self, method: str, *params: Any) -> Any:
        """Any other read. Raises Unavailable, RateLimited, NodeError."""
        return await self.rpc.call(method, *params)

    async def state(self, requests: Sequence[Request] = ()) -> State:
        """How far the chain is, and the answers to ``requests``, all from one node. Raises Unavailable, RateLimited."""
        known = self._known
        if known is not None and known.head.number >= self.rpc.highest:
            head, answers = await self.rpc.read(requests)
            if head.hash == known.head.hash:
                return revised(known, head=head, answers=tuple(answers))
        rule = self.chain.finality
        if not rule.tag and self.rpc.header is None:
            await self.rpc.read([])
        while True:
            # The depth is counted from the newest block known, and anew where the node has a newer one.
            at = "finalized" if rule.tag else hex(max(0, self.rpc.highest - rule.confirmations))
            asked: list[Request] = [
                ("eth_getBlockByNumber", (at, False)),
                ("eth_getTransactionCount", (self.address, at)),
                ("eth_getTransactionCount", (self.address, "latest")),
                *requests,
            ]
            head, answers = await self.rpc.read(asked)
            for each in answers[:3]:
                if isinstance(each, NodeError):
                    raise Unavailable(str(each))
            final, used, following = Block.of(answers[0]), _number(answers[1]), _number(answers[2])
            if rule.tag or final.number >= head.number - rule.confirmations:
                break
        self._known = State(head, final, used, following, ())
        return revised(self._known, answers=tuple(answers[3:]))

    async def included(self, hashes: Sequence[str], state: State | None = None) -> dict[str, Mined]:
        """Which of these transactions are in blocks: see :class:`exchange_kernel_evm.venue.ChainReads`. ``state``: of
        the branch that is meant, where that was read."""
        known = state or self._known
        head, final = (self.rpc.header, -1) if known is None else (known.head, known.final.number)
        wanted = [each.lower() for each in dict.fromkeys(hashes)]
        found = {each: at for each in wanted if (at := self._included.get(each, head, final)) is not None}
        lacking = [each for each in wanted if each not in found]
        others = {self._asking[each] for each in lacking if each in self._asking}
        if others:  # what somebody else reads just now is kept then
            await asyncio.wait(others)
            found |= {each: at for each in lacking if (at := self._included.get(each, head, final)) is not None}
            lacking = [each for each in wanted if each not in found]
        return found | await self._receipts(lacking) if lacking else found

    async def _receipts(self, hashes: Sequence[str]) -> dict[str, Mined]:
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asking |= dict.fromkeys(hashes, over)
        try:
            return await self._read_receipts(hashes)
        finally:
            over.set_result(None)
            self._asking = {each: asked for each, asked in self._asking.items() if asked is not over}

    async def _read_receipts(self, hashes: Sequence[str]) -> dict[str, Mined]:
        head, receipts = await self.rpc.read([("eth_getTransactionReceipt", (each,)) for each in hashes])
        for each in receipts:
            _sound(each)
        read = await self.mined(receipts)
        for at in read.values():
            self._included.keep(at, head)
        return read

    async def mined(self, receipts: Iterable[Answer]) -> dict[str, Mined]:
        """Transactions in blocks, by hash, from receipts (None: in no block). Raises Unavailable, RateLimited."""
        rows = [row for row in receipts if isinstance(row, Mapping)]
        if not rows:
            return {}
        blocks = {each: self.rpc.headers[each] for row in rows if (each := row["blockHash"]) in self.rpc.headers}
        heights = sorted({str(row["blockNumber"]) for row in rows if row["blockHash"] not in blocks})
        if heights:
            _, answers = await self.rpc.read([("eth_getBlockByNumber", (height, False)) for height in heights])
            blocks |= {block.hash: block for block in map(Block.of, map(_sound, answers))}
        return {str(row["transactionHash"]).lower(): _mined(row, blocks.get(row["blockHash"])) for row in rows}

    # search -----------------------------------------------------------------------------------------------------

    async def block_with(self, number: int) -> Mapping[str, Any]:
        """A block with its transactions."""
        _, (answer,) = await self.rpc.read([("eth_getBlockByNumber", (hex(number), True))])
        row = _sound(answer)
        if not isinstance(row, Mapping):
            raise Unavailable(f"block {number} is not known to the node that was asked")
        return row

    async def user_of(self, nonce: int, final: int, since: Ms) -> Mapping[str, Any] | None:
        """The transaction that used a number by the block ``final``, and not before ``since`` (ledger ms).

        Found by the states of blocks. Where nodes no longer have those, or where the block that they lead to does not
        show it (several machines behind one address need not agree), the blocks themselves are read. None only where
        it was looked for in :data:`MAX_READ` blocks: what somebody has used is never nobody's. Raises Unavailable,
        RateLimited."""
        found = await self._by_states(nonce, final)
        return found if found is not None else await self._read_back(nonce, final, since)

    async def _by_states(self, nonce: int, final: int) -> Mapping[str, Any] | None:
        low, step = final, 1
        while low > 0:
            low = max(0, low - step)
            step *= 2
            count = await self._count(low)
            if count is None:
                return None
            if count <= nonce:
                break
        high = final
        while high - low > 1:
            middle = (low + high) // 2
            count = await self._count(middle)
            if count is None:
                return None
            low, high = (middle, high) if count <= nonce else (low, middle)
        row = await self.block_with(high)
        return who_used(row["transactions"], self.address, nonce)

    async def _read_back(self, nonce: int, final: int, since: Ms) -> Mapping[str, Any] | None:
        last = max(-1, final - MAX_READ)
        for top in range(final, last, -READ_AT_ONCE):
            heights = range(top, max(last, top - READ_AT_ONCE), -1)
            _, answers = await self.rpc.read([("eth_getBlockByNumber", (hex(height), True)) for height in heights])
            for height, answer in zip(heights, answers, strict=True):
                row = _sound(answer)
                if not isinstance(row, Mapping):
                    raise Unavailable(f"block {height} is not known to the node that was asked")
                found = who_used(row["transactions"], self.address, nonce)
                if found is not None:
                    return found
                if height == 0 or Block.of(row).time < since - CLOCK_SLACK_MS:
                    raise Unavailable(f"number {nonce} is used, and no block since the order shows by what")
        return None

    async def own_since(self, since: Ms, head: Block) -> tuple[list[Mapping[str, Any]], Ms]:
        """The account's transactions in blocks, oldest first, and since when they are all there, ledger ms.

        Raises Unavailable where the nodes do not have the state to find them in.
        """
        depths = [1 << power for power in range(MAX_SCAN.bit_length()) if 1 << power < head.number]
        heights = [*(head.number - depth for depth in depths), *([0] if head.number <= MAX_SCAN else [])]
        _, answers = await self.rpc.read([("eth_getBlockByNumber", (hex(height), False)) for height in heights])
        older = [Block.of(_sound(each)) for each in answers]
        # The nearest of them that is older than the order, else the oldest.
        low = next((block for block in older if block.time < since - CLOCK_SLACK_MS), older[-1] if older else head)
        found: list[Mapping[str, Any]] = []
        for number in await self._active_blocks(low.number, head.number):
            row = await self.block_with(number)
            found += [tx for tx in row["transactions"] if str(tx["from"]).lower() == self.address.lower()]
        return found, 0 if low.number == 0 else low.time

    async def _active_blocks(self, low: int, high: int) -> list[int]:
        """Heights above ``low``, up to ``high``, of the blocks that used a number of the account."""
        ends: list[Request] = [("eth_getTransactionCount", (self.address, hex(each))) for each in (low, high)]
        _, edges = await self.rpc.read(ends)
        counts = {each: _count(answer) for each, answer in zip((low, high), edges, strict=True)}
        spans, found = [(low, high)], []
        while spans:
            split: list[tuple[int, int]] = []
            for start, end in spans:
                first, last = counts[start], counts[end]
                if first is None or last is None:
                    raise Unavailable(f"the nodes have no state of block {start}: this search needs one that keeps it")
                if first == last:
                    continue
                if end - start == 1:
                    found.append(end)
                else:
                    split += [(start, (start + end) // 2), ((start + end) // 2, end)]
            middles = sorted({each for span in split for each in span})
            fresh = [each for each in middles if each not in counts]
            requests: list[Request] = [("eth_getTransactionCount", (self.address, hex(each))) for each in fresh]
            _, answers = await self.rpc.read(requests) if fresh else (None, [])
            counts |= {each: _count(answer) for each, answer in zip(fresh, answers, strict=True)}
            spans = split
        return sorted(found)

    async def _count(self, number: int) -> int | None:
        _, (answer,) = await self.rpc.read([("eth_getTransactionCount", (self.address, hex(number)))])
        return _count(answer)


def _count(answer: Answer) -> int | None:
    if isinstance(answer, NodeError) and answer.meaning in (Meaning.NO_STATE, Meaning.NO_BLOCK):
        return None
    return _number(_sound(answer))


def _sound(answer: Answer) -> Any:
    if isinstance(answer, NodeError):
        raise Unavailable(str(answer))
    return answer


def _number(answer: Answer) -> int:
    try:
        return int(answer, 16)
    except (TypeError, ValueError):
        raise Unavailable("a node's answer is no number") from None


def _mined(row: Mapping[str, Any], block: Block | None) -> Mined:
    if block is None:
        raise Unavailable(f"block {row['blockNumber']} changed while it was read")
    try:
        logs, ok = tuple(row.get("logs") or ()), int(row["status"], 16) == 1
    except (KeyError, TypeError, ValueError):
        raise Unavailable("a node's answer is no receipt") from None
    return Mined(str(row["transactionHash"]).lower(), block.number, block.hash, block.time, ok, gas_cost(row), logs)
