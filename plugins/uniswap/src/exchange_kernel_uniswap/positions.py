"""The range orders of an account among the positions it owns, and the transactions that minted them.

Which position is whose order only its mint says, so the mint is looked for: by the position's own log, once. What was
found is kept while the session lives, and read again as long as a reorganisation could change it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from exchange_kernel.errors import Unavailable
from exchange_kernel.value import Value
from exchange_kernel.venue import Ms
from exchange_kernel_evm.abi import Event, Function
from exchange_kernel_evm.answers import Meaning, NodeError
from exchange_kernel_evm.finality import Mined
from exchange_kernel_evm.lookups import unsigned_of
from exchange_kernel_evm.multicall import Read, Result
from exchange_kernel_evm.tokens import BALANCE_OF
from exchange_kernel_evm.transactions import Unsigned
from exchange_kernel_evm.venue import ChainReads, Terms
from exchange_kernel_uniswap.config import Setup
from exchange_kernel_uniswap.pools import Pool
from exchange_kernel_uniswap.range_orders import POSITIONS, SLOT0, RangeOrder
from exchange_kernel_uniswap.range_terms import range_in, terms_minted
from exchange_kernel_uniswap.receipts import INCREASE, minted
from exchange_kernel_uniswap.withdrawals import DECREASED

__all__ = ["OWNER_OF", "Owned", "Positions", "liquidity_in"]

OWNER_OF = Function.of("ownerOf", ("uint256",), ("address",))
_OF_OWNER = Function.of("tokenOfOwnerByIndex", ("address", "uint256"), ("uint256",))
MAX_OWNED = 500
"""Positions of an account, of all kinds, that are looked through."""
SPAN, SPANS = 9_999, 60
"""Where a node refuses to search all blocks: how many at once, and how often; two months of mainnet."""


class Owned(Value, frozen=True):
    """One range order of the account, as one block shows it. ``sqrt``: the pool's price; ``at``: the block's time."""

    token_id: int
    tx: Unsigned
    terms: Terms
    mined: Mined
    order: RangeOrder
    liquidity: int
    sqrt: int
    at: Ms


class _Origin(Value, frozen=True):
    tx: Unsigned
    terms: Terms | None
    mined: Mined


class Positions:
    """Reads the positions of one account."""

    def __init__(self, setup: Setup, address: str) -> None:
        self._setup, self._address = setup, address
        makers = {pool.id: pool for market in setup.markets.values() for pool in market.makers}
        self._makers = {(pool.token0, pool.token1, pool.fee): pool for pool in makers.values()}
        self._origins: dict[int, _Origin] = {}
        self._read: tuple[str, Sequence[Owned]] | None = None

    def count(self) -> Sequence[Read]:
        """How many positions the account owns; nothing where no pool could have a range order in it."""
        return [Read(self._setup.at.v3_positions, BALANCE_OF, (self._address,), True)] if self._makers else []

    async def owned(self, chain: ChainReads, count: Sequence[Result] | None = None) -> Sequence[Owned]:
        """Its range orders that have liquidity. ``count``: the answers to :meth:`count`, where they were asked already.

        Raises Unavailable, RateLimited.
        """
        if not self._makers:
            return ()
        tip = chain.tip
        if self._read is not None and tip and self._read[0] == tip:
            return self._read[1]
        if count is None:
            _, count = await chain.read(self.count())
        many = count[0].values[0] if count[0].values else 0
        found = await self._found(min(many, MAX_OWNED), chain) if many else ()
        if tip == chain.tip:
            self._read = tip, found
        return found

    async def _found(self, many: int, chain: ChainReads) -> Sequence[Owned]:
        manager = self._setup.at.v3_positions
        _, listed = await chain.read([Read(manager, _OF_OWNER, (self._address, n), True) for n in range(many)])
        ids = [row.values[0] for row in listed if row.values]
        pools = list(self._makers.values())
        reads = [Read(manager, POSITIONS, (each,), True) for each in ids]
        head, results = await chain.read([*reads, *(Read(pool.id, SLOT0, (), True) for pool in pools)])
        prices = {pool.id: row.values[0] for pool, row in zip(pools, results[len(ids) :], strict=True) if row.values}
        steps: dict[int, tuple[Pool, int]] = {}
        for token_id, row in zip(ids, results, strict=False):
            pool = self._step_of(row)
            if pool is not None and pool.id in prices and row.values and row.values[7]:
                steps[token_id] = pool, row.values[7]
        origins = await self._origins_of(list(steps), chain)
        out = []
        for token_id, (pool, liquidity) in steps.items():
            origin = origins[token_id]
            made = minted(origin.mined, self._setup.at)
            if origin.terms is None or made is None or made.token_id != token_id:
                continue
            order = range_in(origin.terms, made, self._setup.at)
            out.append(
                Owned(token_id, origin.tx, origin.terms, origin.mined, order, liquidity, prices[pool.id], head.time)
            )
        return tuple(out)

    def _step_of(self, row: Result) -> Pool | None:
        """The pool of a position that is one step of it; None for any other."""
        if row.values is None:
            return None
        _, _, one, other, fee, lower, upper, *_ = row.values
        pool = next(
            (pool for (a, b, f), pool in self._makers.items() if (a.lower(), b.lower(), f) == (one, other, fee)), None
        )
        return pool if pool is not None and upper - lower == pool.spacing else None

    # mints ------------------------------------------------------------------------------------------------------

    async def _origins_of(self, ids: Sequence[int], chain: ChainReads) -> dict[int, _Origin]:
        # Others ask at the same time, of other blocks: what is remembered is replaced as a whole.
        before, found = self._origins, dict[int, _Origin]()
        still = await chain.included([known.mined.hash for each in ids if (known := before.get(each)) is not None])
        for token_id in ids:
            known = before.get(token_id)
            at = None if known is None else still.get(known.mined.hash)
            if known is not None and at is not None and at.block_hash == known.mined.block_hash:
                found[token_id] = known
            else:
                found[token_id] = await self._origin(token_id, chain)
        self._origins = found
        return found

    async def _origin(self, token_id: int, chain: ChainReads) -> _Origin:
        logs = await self.logs(chain, INCREASE, token_id, 0)
        if not logs:
            raise Unavailable(f"no node shows the mint of position {token_id}")
        first = str(logs[0]["transactionHash"])
        row = await chain.raw("eth_getTransactionByHash", first)
        (mined,) = await self.receipts(chain, [first])
        if not isinstance(row, Mapping):
            raise Unavailable(f"no node shows {first}, which minted position {token_id}")
        tx = unsigned_of(row)
        ours = str(row.get("from", "")).lower() == self._address.lower()
        return _Origin(tx, terms_minted(tx, self._setup, self._address) if ours else None, mined)

    async def logs(self, chain: ChainReads, event: Event, token_id: int, since: int) -> list[dict[str, Any]]:
        """The logs of a position, oldest first, from block ``since`` on; of the newest SPANS spans where the nodes
        search no more at once. Raises Unavailable."""
        topics = [event.topic, "0x" + token_id.to_bytes(32, "big").hex()]
        wanted = {"address": self._setup.at.v3_positions, "topics": topics}
        try:
            return list(await chain.raw("eth_getLogs", {**wanted, "fromBlock": hex(since), "toBlock": "latest"}))
        except NodeError as error:
            if error.meaning not in (Meaning.RANGE, Meaning.UNKNOWN, Meaning.RATE_LIMIT):
                raise Unavailable(str(error)) from None
        found: list[dict[str, Any]] = []
        end = chain.newest
        for _ in range(SPANS):
            start = max(since, end - SPAN)
            try:
                found[:0] = await chain.raw("eth_getLogs", {**wanted, "fromBlock": hex(start), "toBlock": hex(end)})
            except NodeError as error:
                raise Unavailable(str(error)) from None
            if start <= since or (found and event is INCREASE):
                return found
            end = start - 1
        return found

    async def receipts(self, chain: ChainReads, hashes: Sequence[str]) -> list[Mined]:
        """Transactions that a log named. Raises Unavailable where one is in no block any more."""
        found = await chain.included(hashes)
        if any(each.lower() not in found for each in hashes):
            raise Unavailable("a log's transaction is not in a block: the chain changed while it was read")
        return [found[each.lower()] for each in hashes]

    async def decreases(self, chain: ChainReads, token_id: int, since: int) -> list[Mined]:
        """The transactions that took liquidity out of a position."""
        logs = await self.logs(chain, DECREASED, token_id, since)
        return await self.receipts(chain, list(dict.fromkeys(str(log["transactionHash"]) for log in logs)))


def liquidity_in(position: Result) -> int:
    """Of what POSITIONS said; 0 where the position is burnt."""
    return int(position.values[7]) if position.values else 0
