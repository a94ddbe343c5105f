"""Tokens that keep a part of each transfer, tokens that return nothing, and allowances signed off the chain."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from eth_utils.address import to_checksum_address

from exchange_kernel.schema import AmountType, Side
from exchange_kernel.venue import Spec, VenueStatus
from exchange_kernel_evm.tokens import APPROVE, BALANCE_OF, PERMIT2_ALLOWANCE
from exchange_kernel_uniswap.config import Market, Setup
from exchange_kernel_uniswap.deployment import MAINNET
from exchange_kernel_uniswap.orders import swap_draft
from exchange_kernel_uniswap.permit2 import PermitSingle
from exchange_kernel_uniswap.receipts import flows, swap_outcome
from exchange_kernel_uniswap.swaps import swap_of
from exchange_kernel_uniswap.testing import FEE_TOKEN, UniswapStack
from plugins.uniswap.tests.ground import EVERYTHING, FAR, TOKENS, Node, Trader, setup

FEE = to_checksum_address(FEE_TOKEN)


@pytest.fixture
def rich(uniswap: UniswapStack) -> Trader:
    """The stack's own trader, who has the token that keeps a part."""
    return Trader(Node(uniswap.node.url), uniswap.trader)


def fee_market() -> tuple[Setup, Market]:
    config: dict[str, Any] = {
        "tokens": TOKENS | {"FEE": {"address": FEE, "decimals": 18}},
        "pools": [{"version": "v2", "tokens": ["FEE", "WETH"]}],
        "symbols": ["FEE/WETH"],
    }
    known = Setup.of(config, MAINNET)
    return known, known.market("FEE/WETH")


@pytest.mark.parametrize("universal", [True, False])
@pytest.mark.parametrize("side", list(Side))
def test_what_the_token_keeps_is_not_in_the_fill(rich: Trader, side: Side, universal: bool) -> None:
    """Paid is what left the account, received is what arrived; what neither has is named."""
    known, market = fee_market()
    amount_in = AmountType.BASE if side is Side.SELL else AmountType.QUOTE
    amount = Decimal(100) if side is Side.SELL else Decimal("0.05")
    limit = Decimal("0.000001") if side is Side.SELL else Decimal(1)
    swap = swap_of(Spec("FEE/WETH", side, amount, amount_in, limit), market.base, market.quote)
    route = (market.sells if side is Side.SELL else market.buys)[0]
    draft = swap_draft(known.at, route, swap, rich.address, FAR, universal=universal)
    rich.allow(draft)
    before = [rich.balance(token.address) for token in (market.base, market.quote)]
    mined, _ = rich.send(draft.to, draft.data, draft.value)
    assert mined.ok
    moved = [rich.balance(token.address) - had for token, had in zip((market.base, market.quote), before, strict=True)]
    outcome = swap_outcome(mined, rich.address, known.at, route.pools, side, market.base, market.quote)
    (trade,) = outcome.trades
    assert (trade.base, trade.quote) == (market.base.amount(abs(moved[0])), market.quote.amount(abs(moved[1])))
    given = flows(mined, rich.address, known.at, route.pools)
    assert given.pools[FEE] > given.account[FEE]
    kept = market.base.amount(given.pools[FEE] - given.account[FEE])
    assert outcome.text == f"{kept:f} FEE were kept on the way"


def test_a_token_that_returns_nothing_is_swapped_like_any(rich: Trader) -> None:
    """USDT as it is: paid and received by both routers, exact to the unit."""
    known = setup("v3", symbols=["WETH/USDT"])
    market = known.market("WETH/USDT")
    for universal in (True, False):
        for side in Side:
            route = (market.sells if side is Side.SELL else market.buys)[0]
            limit = Decimal(1) if side is Side.SELL else Decimal(100_000)
            amount_in = AmountType.BASE if side is Side.SELL else AmountType.QUOTE
            swap = swap_of(Spec("WETH/USDT", side, Decimal(2), amount_in, limit), market.base, market.quote)
            draft = swap_draft(known.at, route, swap, rich.address, FAR, universal=universal)
            had = rich.balance(market.quote.address)
            mined, _ = rich.swap(draft)
            outcome = swap_outcome(mined, rich.address, known.at, route.pools, side, market.base, market.quote)
            assert outcome.status is VenueStatus.FILLED and not outcome.text
            delta = rich.balance(market.quote.address) - had
            assert market.quote.amount(abs(delta)) == outcome.trades[0].quote


def test_a_signed_permit_is_enough(rich: Trader) -> None:
    """With the token allowed to Permit2 once, the swap brings the router's allowance itself; used, it is spent."""
    known = setup("v3")
    market = known.market("WETH/USDC")
    swap = swap_of(Spec("WETH/USDC", Side.SELL, Decimal(1), limit=Decimal(1)), market.base, market.quote)
    weth, router = market.base.address, known.at.universal_router
    rich.send(weth, APPROVE.call(known.at.permit2, EVERYTHING))
    plain = swap_draft(known.at, market.sells[0], swap, rich.address, FAR)
    assert not rich.send(plain.to, plain.data)[0].ok
    *_, nonce = rich.view(known.at.permit2, PERMIT2_ALLOWANCE, rich.address, weth, router)
    permit = PermitSingle(weth, router, swap.amount, FAR, nonce, FAR)
    signature = rich.account.unsafe_sign_hash(permit.digest(known.at)).signature
    draft = swap_draft(known.at, market.sells[0], swap, rich.address, FAR, permit=permit.signed(bytes(signature)))
    had = rich.view(weth, BALANCE_OF, rich.address)[0]
    assert rich.send(draft.to, draft.data)[0].ok
    assert had - rich.view(weth, BALANCE_OF, rich.address)[0] == swap.amount
    assert rich.view(known.at.permit2, PERMIT2_ALLOWANCE, rich.address, weth, router)[0] == 0
    assert not rich.send(draft.to, draft.data)[0].ok
