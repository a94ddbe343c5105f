"""The conformance kit's harness with orders that rest: post-only ones, as positions in a v3 pool."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from exchange_kernel.schema import Side
from exchange_kernel.testing.conformance import TruthOrder
from exchange_kernel.venue import Spec, VenueId
from exchange_kernel_evm.abi import Event
from exchange_kernel_evm.lookups import unsigned_of
from exchange_kernel_evm.tokens import net_transfers
from exchange_kernel_uniswap.config import Setup
from exchange_kernel_uniswap.conformance import MARKET, UniswapHarness
from exchange_kernel_uniswap.deployment import MAINNET
from exchange_kernel_uniswap.range_terms import terms_minted
from exchange_kernel_uniswap.receipts import INCREASE
from exchange_kernel_uniswap.testing import TOKENS, UniswapStack
from exchange_kernel_uniswap.withdrawals import DECREASED

STEP = Decimal("0.01")
Transaction = tuple[dict[str, Any], dict[str, Any] | None]


class RestingHarness(UniswapHarness):
    """Purchases far below the market."""

    deviations: Mapping[str, str] = {}

    def __init__(self, stack: UniswapStack) -> None:
        super().__init__(stack)
        self._setup = Setup.of(MARKET, MAINNET)
        market = self._setup.market(self.symbol)
        below, _ = market.scale.edges(Decimal(2500), Side.BUY, market.makers[0].spacing)
        assert below is not None
        self._low = below[0]

    def resting(self, steps: int = 1) -> Spec:
        return Spec(self.symbol, Side.BUY, STEP * steps, limit=self._low, post_only=True)

    def orders(self, rows: Sequence[Transaction], address: str) -> Iterable[TruthOrder | None]:
        ended = [receipt for _, receipt in rows if receipt is not None and receipt["status"] == "0x1"]
        ends = {_position(receipt["logs"], DECREASED): receipt for receipt in ended}
        for row, swap in zip(rows, super().orders(rows, address), strict=True):
            yield swap if swap is not None else self._rests(*row, ends, address)

    def _rests(
        self,
        tx: dict[str, Any],
        receipt: dict[str, Any] | None,
        ends: Mapping[int | None, dict[str, Any]],
        address: str,
    ) -> TruthOrder | None:
        """It lives until a transaction takes its liquidity out; what it bought is what that one transferred."""
        terms = terms_minted(unsigned_of(tx), self._setup, address)
        if terms is None:
            return None
        made = None if receipt is None else _position(receipt["logs"], INCREASE)
        end = None if made is None else ends.get(made)
        bought = 0 if end is None else net_transfers(end["logs"], address).get(TOKENS["WETH"], 0)
        ids = (VenueId("slot", str(int(tx["nonce"], 16))), VenueId("tx", tx["hash"].lower()))
        live = receipt is None or (made is not None and end is None)
        base = Decimal(bought).scaleb(-18)
        return TruthOrder(ids, terms.symbol, terms.side, terms.amount, base, Decimal(0), live, terms.price)


def _position(logs: Sequence[dict[str, Any]], event: Event) -> int | None:
    own = (log for log in logs if log["address"].lower() == MAINNET.v3_positions.lower())
    return next((found[0] for log in own if (found := event.read(log)) is not None), None)
