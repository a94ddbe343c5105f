"""Post-only orders that rest in v3 pools: placed by a mint, followed by the pool's price, ended by a withdrawal.

Until its withdrawal is final nothing of such an order is filled: what the price converted, it converts back.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from exchange_kernel.errors import OrderRefused, Unavailable, UnknownTarget, Unsupported
from exchange_kernel.schema import MarketCapabilities
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.venue import Ms, Need, NeedsFirst, NotNow, Prep, Preview, Spec, VenueStatus, Why
from exchange_kernel_evm.allowances import allowance_name, allowance_need, allowance_needs
from exchange_kernel_evm.finality import Mined
from exchange_kernel_evm.funds import short_of
from exchange_kernel_evm.multicall import ETH_BALANCE, Read, Result
from exchange_kernel_evm.rpc import Block
from exchange_kernel_evm.tokens import ALLOWANCE, BALANCE_OF
from exchange_kernel_evm.transactions import Unsigned
from exchange_kernel_evm.venue import Call, ChainReads, Held, Outcome, Rests, Terms
from exchange_kernel_uniswap.config import Market
from exchange_kernel_uniswap.liquidity import principal
from exchange_kernel_uniswap.orders import preview, range_of
from exchange_kernel_uniswap.positions import OWNER_OF, Positions, liquidity_in
from exchange_kernel_uniswap.range_orders import (
    POSITIONS,
    SLOT0,
    RangeOrder,
    close_draft,
    left_of,
    mint_draft,
    progress_at,
    refuse_crossing,
)
from exchange_kernel_uniswap.range_terms import range_in, range_terms, terms_minted, word_of
from exchange_kernel_uniswap.receipts import minted
from exchange_kernel_uniswap.settings import UniswapConfig
from exchange_kernel_uniswap.withdrawals import executed, withdrawals, withdrawn

__all__ = ["Ranges"]

_ZERO = Decimal(0)


class Ranges:
    """The range orders of one account. What it asks for is what :class:`exchange_kernel_evm.venue.Resting` does."""

    def __init__(self, config: UniswapConfig, address: str) -> None:
        self._config, self._setup, self._address = config, config.setup, address
        self._positions = Positions(config.setup, address)

    # placing ----------------------------------------------------------------------------------------------------

    def check(self, spec: Spec, market: Market, offered: MarketCapabilities, was: Spec | None) -> Preview:
        """As :meth:`exchange_kernel.venue.VenueAdapter.check`, for a post-only order."""
        if was is not None:
            changed = "amend_up" if spec.amount > was.amount else "amend_down"
            feature = "amend_price" if spec.amount == was.amount else changed
            raise Unsupported(feature, "a position stays at its step: the order is ended, and what is left placed anew")
        seen = preview(spec, market)
        order = range_of(spec, market)
        word_of(spec, order, market.scale)
        uses = {name: offered.support(name) for name in seen.uses if name != "gtc"}
        pays = order.pays
        held, manager = self._config.held_as(pays.address), self._setup.at.v3_positions
        needs = {} if pays.native else allowance_needs(held, manager, order.desired)
        return Preview(spec, uses, seen.outlay, seen.warnings, needs)

    async def place(
        self, spec: Spec, market: Market, prep: Prep, deadline: int, chain: ChainReads
    ) -> Call | NeedsFirst | NotNow:
        """The mint. ``deadline``: unix seconds. Raises PostOnlyWouldCross, InsufficientFunds, Unavailable."""
        at, order = self._setup.at, range_of(spec, market)
        pays = order.pays
        funds = Read(chain.chain.multicall3, ETH_BALANCE, (self._address,), True)
        reads = [Read(order.pool.id, SLOT0), funds]
        if not pays.native:
            reads[1] = Read(pays.address, BALANCE_OF, (self._address,), True)
            reads.append(Read(pays.address, ALLOWANCE, (self._address, at.v3_positions), True))
        _, (slot, has, *allowed) = await chain.read(reads)
        if slot.values is None or has.values is None or any(each.values is None for each in allowed):
            raise Unavailable(f"the pool's price, or what the account has of {pays.symbol}, cannot be read")
        refuse_crossing(order, slot.values[1])
        again = prep.now + chain.chain.block_ms
        short = short_of(pays.symbol, pays.amount(has.values[0]), pays.amount(order.desired), prep, again)
        if short is not None:
            return short
        draft = mint_draft(at, order, self._address, deadline)
        for row in allowed:
            assert row.values is not None
            used = int(prep.in_use.get(allowance_name(pays.address, at.v3_positions), 0))
            allow = self._config.allow(pays.address)
            held = self._config.held_as(pays.address)
            first = allowance_need(held, at.v3_positions, order.desired + used, row.values[0], allow, prep.under_way)
            if first is not None:
                return first
        terms = range_terms(spec, market, order.pool)
        data = draft.data + word_of(spec, order, market.scale)
        return Call(draft.to, data, terms, draft.value, None, deadline * 1000, preview(spec, market).outlay)

    def terms(self, tx: Unsigned) -> Terms | None:
        """Of a mint."""
        return terms_minted(tx, self._setup, self._address)

    # where they stand -------------------------------------------------------------------------------------------

    async def progress(self, terms: Terms, mined: Mined, others: Sequence[Mined], chain: ChainReads) -> Outcome:
        """See :meth:`exchange_kernel_evm.venue.Resting.progress`."""
        order, token_id = self._made(terms, mined)
        head, position, slot, mine = await self._now(order, token_id, chain)
        if position.values is not None and not mine:
            text = f"position {token_id} was given to somebody else"
            return Outcome(VenueStatus.CANCELED, why=Why.OTHER_USER, text=text)
        liquidity = liquidity_in(position)
        if liquidity >= order.liquidity:
            return _working(order, slot, head.time)
        at, gone = self._setup.at, order.liquidity - liquidity
        rows = withdrawals(others, at, token_id)
        if sum(row.liquidity for row in rows) != gone:  # somebody else's, or of a kernel that lost its tickets
            rows = withdrawals(await self._positions.decreases(chain, token_id, mined.block), at, token_id)
        if sum(row.liquidity for row in rows) != gone:
            raise Unavailable(f"what became of position {token_id} is not shown yet")
        if not liquidity:
            return withdrawn(order, token_id, rows, ours=(each.hash for each in others))
        trades, costs, rest = executed(order, token_id, rows)
        now = _working(rest, slot, head.time)
        return Outcome(VenueStatus.WORKING, trades, need=now.need, tentative=now.tentative, costs=costs)

    async def withdraw(self, terms: Terms, mined: Mined, chain: ChainReads, *, whole: bool) -> Call:
        """See :meth:`exchange_kernel_evm.venue.Resting.withdraw`."""
        order, token_id = self._made(terms, mined)
        head, position, slot, mine = await self._now(order, token_id, chain)
        liquidity = liquidity_in(position)
        if not liquidity or not mine:
            raise UnknownTarget(f"position {token_id} is not there any more")
        order = left_of(order, liquidity)
        if whole and not progress_at(order, slot).done:
            raise OrderRefused("the price came back: not all of it is executed any more", code="PRICE", why="reverted")
        ends = head.time // 1000 + self._config.wait_s
        draft = close_draft(self._setup.at, order, token_id, self._address, ends, filled=whole)
        return Call(draft.to, draft.data, terms, until=ends * 1000)

    async def open_orders(self, chain: ChainReads) -> Sequence[Rests]:
        """See :meth:`exchange_kernel_evm.venue.Resting.open_orders`."""
        out = []
        for each in await self._positions.owned(chain):
            if each.liquidity >= each.order.liquidity:
                outcome = _working(each.order, each.sqrt, each.at)
            else:
                outcome = await self.progress(each.terms, each.mined, (), chain)
            out.append(Rests(each.tx, each.terms, each.mined, outcome))
        return out

    def along(self) -> Sequence[Read]:
        """See :meth:`exchange_kernel_evm.venue.Resting.along`."""
        return self._positions.count()

    async def held(self, results: Sequence[Result], chain: ChainReads) -> Held:
        """See :meth:`exchange_kernel_evm.venue.Resting.held`. What a withdrawal would pay now, fees not counted."""
        assets: dict[str, Decimal] = {}
        positions: dict[str, Decimal] = {}
        for each in await self._positions.owned(chain, results):
            order = each.order
            zero, one = principal(*order.ends, each.liquidity, each.sqrt)
            first, second = (order.base, order.quote)
            if (order.pays is order.base) is not order.sells_token0:
                first, second = second, first
            for token, units in ((first, zero), (second, one)):
                assets[token.symbol] = EXACT.add(assets.get(token.symbol, _ZERO), token.amount(units))
            base = order.base.amount(zero if first is order.base else one)
            symbol = each.terms.symbol
            positions[symbol] = EXACT.add(positions.get(symbol, _ZERO), base)
        return Held(assets, positions)

    # reading ----------------------------------------------------------------------------------------------------

    def _made(self, terms: Terms, mined: Mined) -> tuple[RangeOrder, int]:
        made = minted(mined, self._setup.at)
        if made is None:
            raise Unavailable(f"{mined.hash} succeeded, and its receipt shows no position")
        return range_in(terms, made, self._setup.at), made.token_id

    async def _now(self, order: RangeOrder, token_id: int, chain: ChainReads) -> tuple[Block, Result, int, bool]:
        """The block, the position, the pool's square-root price, and whether the position is the account's."""
        manager = self._setup.at.v3_positions
        reads = [
            Read(manager, POSITIONS, (token_id,), True),
            Read(manager, OWNER_OF, (token_id,), True),
            Read(order.pool.id, SLOT0),
        ]
        head, (position, owner, slot) = await chain.read(reads)
        if slot.values is None:
            raise Unavailable("the pool's price cannot be read")
        mine = owner.values is not None and owner.values[0].lower() == self._address.lower()
        return head, position, slot.values[0], mine


def _working(order: RangeOrder, sqrt: int, now: Ms) -> Outcome:
    """Of an order that rests. All of it is executed: it needs to be settled before the price comes back."""
    done = progress_at(order, sqrt)
    need = Need("settle", now, "all of it is executed, until the price comes back") if done.done else None
    return Outcome(VenueStatus.WORKING, need=need, tentative=done.filled)
