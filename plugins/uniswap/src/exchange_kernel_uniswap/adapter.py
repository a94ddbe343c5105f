"""The adapter: the on-chain frame with Uniswap on it, and with prices and quotes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from exchange_kernel.errors import RateLimited, Unavailable
from exchange_kernel.schema import AssetMetadata
from exchange_kernel.venue import PriceTick, Quote, Spec
from exchange_kernel_evm.adapter import EvmAdapter
from exchange_kernel_evm.keys import Signer
from exchange_kernel_uniswap.venue import UniswapVenue

__all__ = ["UniswapAdapter"]


class UniswapAdapter(EvmAdapter):
    """Implements VenueAdapter, Prices and Quotes. ``signer``: instead of the key in the account's secrets."""

    _venue: UniswapVenue

    def __init__(self, signer: Signer | None = None) -> None:
        super().__init__(UniswapVenue, signer)

    async def quote(self, spec: Spec) -> Quote:
        """What all of ``spec`` would execute at in the newest block, on average. Raises Unavailable, RateLimited."""
        self._reads()
        return await self._venue.quote(self.check(spec).spec, self._ledger)

    async def assets(self) -> Sequence[AssetMetadata]:
        """What is traded, as the chain has it: the token list of the configuration, checked by open."""
        self._reads()
        return self._venue.assets()

    async def prices(self, symbols: frozenset[str]) -> AsyncIterator[PriceTick]:
        """Where the first unit of each market would trade, the pool's fee included: once per block."""
        self._reads()
        last: dict[str, PriceTick] = {}
        while self._open:
            try:
                for tick in await self._venue.ticks(symbols, self._ledger):
                    if last.get(tick.symbol) != tick:
                        last[tick.symbol] = tick
                        yield tick
            except (Unavailable, RateLimited):
                if not self._open:
                    return
            await self._heads.wait()
