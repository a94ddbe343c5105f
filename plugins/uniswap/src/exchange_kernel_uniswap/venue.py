"""Uniswap as a venue on the on-chain frame: orders into swaps, receipts into fills."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from exchange_kernel.errors import (
    ConfigError,
    InvalidOrder,
    OrderRefused,
    Unavailable,
    UnknownTarget,
    Unsupported,
)
from exchange_kernel.orders import round_down
from exchange_kernel.schema import AmountType, AssetMetadata, AssetType, Support, SupportLevel, SymbolMetadata
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.schema.numbers import amount as checked
from exchange_kernel.value import revised
from exchange_kernel.venue import Context, Key, NeedsFirst, NotNow, Prep, Preview, PriceTick, Quote, Spec
from exchange_kernel_evm.allowances import (
    allowance_name,
    allowance_need,
    allowance_needs,
    permit2_name,
    permit2_need,
)
from exchange_kernel_evm.chains import Chain
from exchange_kernel_evm.finality import Mined
from exchange_kernel_evm.funds import short_of
from exchange_kernel_evm.multicall import Read, Result
from exchange_kernel_evm.tokens import MAX_UINT160
from exchange_kernel_evm.tokens import Token as Held
from exchange_kernel_evm.transactions import Unsigned
from exchange_kernel_evm.venue import Call, ChainReads, Outcome, Rests, Terms, Typed
from exchange_kernel_evm.venue import Held as HeldByOrders
from exchange_kernel_uniswap.board import Board, Interest, View, usable
from exchange_kernel_uniswap.calldata import sent_by, wanting
from exchange_kernel_uniswap.chain_facts import fact_reads, refuse_other_facts
from exchange_kernel_uniswap.choosing import Choice, average, choose, interest_of, planned, sized
from exchange_kernel_uniswap.config import Market
from exchange_kernel_uniswap.deadlines import deadline
from exchange_kernel_uniswap.drafts import Allowance, Draft
from exchange_kernel_uniswap.metadata import symbol_of
from exchange_kernel_uniswap.once import NONCES_USED, SIGNED_GAS, nonce_of, once
from exchange_kernel_uniswap.ordered import outcome_of, terms_of, terms_sent
from exchange_kernel_uniswap.orders import limited_draft, preview, refuse_unsupported, swap_draft
from exchange_kernel_uniswap.permit2 import BLANK, PermitSingle
from exchange_kernel_uniswap.pools import Version
from exchange_kernel_uniswap.prices import shown
from exchange_kernel_uniswap.quotes import best
from exchange_kernel_uniswap.range_terms import rests
from exchange_kernel_uniswap.resting import Ranges
from exchange_kernel_uniswap.settings import SETTINGS, UniswapConfig
from exchange_kernel_uniswap.spots import touch
from exchange_kernel_uniswap.swaps import Swap, swap_of
from exchange_kernel_uniswap.taxes import taxes_of
from exchange_kernel_uniswap.universal_router import PERMIT_GAS, Permit

__all__ = ["UniswapVenue"]

_HERE = ("find_by_key", "prices", "stream")
_NOT_HERE = ("gtc", "day", "gtd")
_EXACT_OUT = "no v3 or v4 pool joins the two this way: asked for an exact amount out, v2 pairs may give a little more"
_AMEND = {AmountType.BASE: "amount_base", AmountType.QUOTE: "amount_quote"}
_PRICE_DIGITS = 30


class UniswapVenue:
    """Implements OnChainVenue: swaps by SwapRouter02 for v2 and v3, by the Universal Router for v4."""

    name = "uniswap"
    settings: Sequence[str] = SETTINGS

    def configure(self, ctx: Context, chain: Chain, address: str) -> None:
        self._config = UniswapConfig.of(ctx.config, chain)
        self._setup, self._address = self._config.setup, address
        self._board = Board(self._config)
        self._ranges = Ranges(self._config, address)
        self._symbols: dict[str, SymbolMetadata] = {}
        self._block_ms = chain.block_ms

    @property
    def tokens(self) -> Sequence[Held]:
        return self._config.held

    @property
    def contracts(self) -> frozenset[str]:
        at = self._setup.at
        return frozenset({at.swap_router, at.universal_router, at.v3_positions})

    @property
    def spenders(self) -> frozenset[str]:
        at = self._setup.at
        return frozenset({at.swap_router, at.universal_router, at.permit2, at.v3_positions})

    async def load(self, chain: ChainReads) -> Sequence[SymbolMetadata]:
        asked = fact_reads(self._setup)
        signed = Read(self._setup.at.universal_router, NONCES_USED, (self._address, nonce_of(b"")), True)
        head, results = await chain.read([*asked, *([signed] if self._config.dedupe else [])])
        refuse_other_facts(self._setup, results)
        if self._config.dedupe and results[-1].values is None:
            where = self._setup.at.universal_router
            raise ConfigError("universal_router", where, "has no executeSigned on this chain", "dedupe: number")
        if not self._symbols:
            self._board.begin(head.time, self._block_ms)
            self._board.taxes = await taxes_of(self._setup, chain)
        symbols = [symbol_of(market) for market in self._setup.markets.values()]
        found = tuple(_as_offered(symbol) for symbol in symbols)
        self._symbols = {symbol.symbol_id: symbol for symbol in found}
        return found

    # orders -----------------------------------------------------------------------------------------------------

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        market = self._setup.market(spec.symbol)
        _refuse_odd(spec)
        token = market.base if spec.amount_in is AmountType.BASE else market.quote
        exact = revised(spec, amount=round_down(spec.amount, token.step) or spec.amount)
        refuse_unsupported(exact, market)
        if exact.post_only or (was is not None and was.post_only):
            offered = self._symbols[spec.symbol]
            _refuse_out_of_bounds(exact, offered)
            return self._ranges.check(exact, market, offered.capabilities, was)
        if exact.limit is None and exact.guard is None:
            rule = "is required for a market order: a swap without a worst price can be sandwiched to nothing"
            raise InvalidOrder("max_slippage", None, rule, "give max_slippage, or a limit price")
        _refuse_out_of_bounds(exact, self._symbols[spec.symbol])
        seen = preview(exact, market)
        uses = self._uses(seen, was, exact)
        swap = swap_of(exact, market.base, market.quote)
        routes = usable(market, swap, self._board.taxes)
        warnings = self._taxed(market)
        if not routes:
            raise Unsupported(_AMEND[exact.amount_in], "; ".join((*warnings, _EXACT_OUT)))
        return Preview(
            exact, uses, seen.outlay, (*seen.warnings, *warnings), self._needs(swap, {r.version for r in routes})
        )

    def _taxed(self, market: Market) -> tuple[str, ...]:
        taxes = self._board.taxes
        return tuple(
            f"{token.symbol} keeps {float(taxes[token.address]):.4%} of each transfer: only what arrives is executed"
            for token in (market.base, market.quote)
            if token.address in taxes
        )

    def _uses(self, seen: Preview, was: Spec | None, spec: Spec) -> Mapping[str, Support]:
        names = list(seen.uses)
        if was is not None:
            more = spec.amount > was.amount
            names += ["amend_up" if more else "amend_down"] if spec.amount != was.amount else ["amend_price"]
        offered = self._symbols[spec.symbol].capabilities
        for name in names:
            if not offered.offers(name):
                raise Unsupported(name, "not kept by the pools: the kernel keeps it" if name in _NOT_HERE else "")
        return {name: offered.support(name) for name in names}

    def _needs(self, swap: Swap, versions: set[Version]) -> dict[str, Decimal]:
        """All that the swap may draw on: which router it takes, its quotes say."""
        if swap.token_in.native:
            return {}
        at, token, units = self._setup.at, swap.token_in.address, swap.most_in
        held = self._config.held_as(token)
        needs: dict[str, Decimal] = {}
        if versions & {Version.V2, Version.V3} and not self._config.dedupe:
            needs |= allowance_needs(held, at.swap_router, units)
        if Version.V4 in versions or self._config.dedupe:
            needs |= allowance_needs(held, at.permit2, units)
            needs[permit2_name(token, at.universal_router)] = Decimal(units)
        return needs

    async def place(self, key: Key, spec: Spec, prep: Prep, chain: ChainReads) -> Call | NeedsFirst | NotNow:
        market = self._setup.market(spec.symbol)
        ends = deadline(spec, prep.now, min(prep.give_up, prep.now + self._config.wait_s * 1000))
        if spec.post_only:
            ends = self._board.on_chain(ends, prep.now, await self._board.view(chain))
            return await self._ranges.place(spec, market, prep, ends, chain)
        interest = interest_of(spec, market)
        view = await self._board.view(chain, interest)
        ends = self._board.on_chain(ends, prep.now, view)
        short = self._short(interest.swap, view, prep)  # before the price: whoever has too little is told so
        choice = choose(interest, view)
        if choice is None and interest.partial:
            choice = await sized(self._setup.at, market, interest, view, chain, limits=not self._config.dedupe)
        if choice is None:
            raise OrderRefused(_too_dear(interest, view, spec), code="PRICE", why="reverted")
        if short is not None:
            return short
        draft, gas, typed = self._draft(choice, market, ends), choice.gas_limit, None
        for need in draft.needs:
            first = self._needs_first(need, view, prep, ends)
            if isinstance(first, NeedsFirst):
                return first
            if first is not None:
                draft = self._draft(choice, market, ends, first.signed(BLANK))
                gas, typed = gas + PERMIT_GAS, Typed(first.typed_data(self._setup.at), draft.data.index(BLANK))
        if self._config.dedupe:
            draft, typed = once(self._setup.at, draft, key, self._address)
            gas += SIGNED_GAS
        outlay = preview(spec, market).outlay
        terms = terms_of(spec, market, choice.route.pools)
        cut = choice.swap.amount != interest.swap.amount
        data = draft.data + wanting(interest.swap.amount) if cut else draft.data
        note = planned(choice, view.offers.get(interest))
        return Call(draft.to, data, terms, draft.value, gas, ends * 1000, outlay, typed, note)

    def _draft(self, choice: Choice, market: Market, ends: int, permit: Permit | None = None) -> Draft:
        at, address = self._setup.at, self._address
        if choice.partial:
            return limited_draft(at, market, choice.route, choice.swap, address, ends)
        universal = self._config.dedupe
        return swap_draft(at, choice.route, choice.swap, address, ends, permit=permit, universal=universal)

    def _short(self, swap: Swap, view: View, prep: Prep) -> NotNow | None:
        token = swap.token_in
        has = view.funds.get(token.address)
        if has is None:
            raise Unavailable(f"the balance of {token.symbol} cannot be read")
        most = token.amount(swap.most_in)
        return short_of(token.symbol, token.amount(has), most, prep, prep.now + self._block_ms)

    def _needs_first(self, need: Allowance, view: View, prep: Prep, ends: int) -> NeedsFirst | PermitSingle | None:
        """What is allowed must do for everybody else who lives, too. Inside Permit2 an order brings its own allowance,
        signed, unless somebody else draws on it meanwhile: a permit sets it, and each has the next number."""
        at, token, config = self._setup.at, need.token, self._config
        held, allow = config.held_as(token), config.allow(token)
        spender = at.permit2 if need.permit2 else need.spender
        allowed, inside = view.allowed.get((token, spender)), view.inside.get((token, need.spender))
        if allowed is None or (need.permit2 and inside is None):
            raise Unavailable(f"what {spender} may take of {held.asset} cannot be read")
        used = int(prep.in_use.get(allowance_name(token, spender), 0))
        first = allowance_need(held, spender, need.units + used, allowed, allow, prep.under_way)
        if first is not None or inside is None or not need.permit2:
            return first
        units, expires, nonce = inside
        name = permit2_name(token, need.spender)
        used = int(prep.in_use.get(name, 0))
        step = permit2_need(held, at.permit2, need.spender, need.units + used, (units, expires), ends, allow)
        # What the router executes once is signed as a whole, and one signature cannot be inside another.
        signs = config.signed_permits and not config.dedupe
        if step is None or used or name in prep.under_way or not signs:
            return step
        kept = units if expires * 1000 > prep.now else 0
        most = min(max(need.units, allow.bound, kept), MAX_UINT160)
        return PermitSingle(token, need.spender, most, max(ends, expires), nonce, ends)

    # what became of them ----------------------------------------------------------------------------------------

    async def spent(self, key: Key, chain: ChainReads) -> bool:
        """As :meth:`exchange_kernel_evm.venue.OnceOnly.spent`."""
        if not self._config.dedupe:
            return False
        read = Read(self._setup.at.universal_router, NONCES_USED, (self._address, nonce_of(key)))
        _, (result,) = await chain.read([read])
        return bool(result.values and result.values[0])

    def terms(self, tx: Unsigned) -> Terms | None:
        minted = self._ranges.terms(tx)
        if minted is not None:
            return minted
        sent = sent_by(self._setup.at, tx.to, tx.data)
        return None if sent is None or sent.recipient != self._address else terms_sent(sent, self._setup)

    def executed(self, terms: Terms, mined: Mined, address: str) -> Outcome:
        return outcome_of(terms, mined, address, self._setup.at)

    def assets(self) -> list[AssetMetadata]:
        """Every token of the list: its name is its address, its decimals are the chain's."""
        return [
            AssetMetadata(name, AssetType.SPOT, "" if token.native else token.address, token.decimals)
            for name, token in self._setup.tokens.items()
        ]

    # orders that rest (exchange_kernel_evm.venue.Resting) -------------------------------------------------------

    async def progress(self, terms: Terms, mined: Mined, others: Sequence[Mined], chain: ChainReads) -> Outcome:
        if rests(terms):
            return await self._ranges.progress(terms, mined, others, chain)
        return self.executed(terms, mined, self._address)

    async def withdraw(self, terms: Terms, mined: Mined, chain: ChainReads, *, whole: bool) -> Call:
        if not rests(terms):
            raise UnknownTarget("a swap is over once it is in a block")
        return await self._ranges.withdraw(terms, mined, chain, whole=whole)

    async def open_orders(self, chain: ChainReads) -> Sequence[Rests]:
        return await self._ranges.open_orders(chain)

    def along(self) -> Sequence[Read]:
        return self._ranges.along()

    async def held(self, results: Sequence[Result], chain: ChainReads) -> HeldByOrders:
        return await self._ranges.held(results, chain)

    # prices -----------------------------------------------------------------------------------------------------

    async def quote(self, spec: Spec, chain: ChainReads) -> Quote:
        """As :meth:`exchange_kernel.venue.Quotes.quote`."""
        market = self._setup.market(spec.symbol)
        interest = interest_of(spec, market)
        view = await self._board.view(chain, interest)
        swap = interest.swap
        found = best(view.offers[interest].whole, view.gas(swap.token_out if swap.exact_in else swap.token_in))
        price = None if found is None else shown(average(swap, found), up=swap.side == "BUY", digits=_PRICE_DIGITS)
        return Quote(price, view.at.time * 1000)

    async def ticks(self, symbols: frozenset[str], chain: ChainReads) -> list[PriceTick]:
        """The prices of the newest block. Raises Unavailable, RateLimited."""
        view = await self._board.view(chain)
        out = []
        for symbol in sorted(symbols & self._setup.markets.keys()):
            prices = touch(view.rates, self._setup.market(symbol))
            out.append(PriceTick(symbol, view.at.time * 1000, prices.bid, prices.ask))
        return out


def _as_offered(symbol: SymbolMetadata) -> SymbolMetadata:
    """With what the frame and the kernel add, and without what only the kernel keeps."""
    features = dict(symbol.capabilities.features)
    for name in _NOT_HERE:
        features[name] = Support(SupportLevel.UNSUPPORTED)
    for name in _HERE:
        features[name] = Support(SupportLevel.NATIVE)
    return replace(symbol, capabilities=replace(symbol.capabilities, features=features))


def _refuse_odd(spec: Spec) -> None:
    """Numbers that no market has. Raises InvalidOrder."""
    for field, value in (("amount", spec.amount), ("limit", spec.limit), ("guard", spec.guard)):
        if value is not None:
            checked(field, value)


def _refuse_out_of_bounds(spec: Spec, symbol: SymbolMetadata) -> None:
    """Raises InvalidOrder for less than pools can count honestly, and for more than they can count."""
    amounts, of = symbol.amounts, f"of {symbol.symbol_id}"
    worst = spec.limit if spec.limit is not None else spec.guard
    in_base = spec.amount_in is AmountType.BASE
    worth = EXACT.multiply(spec.amount, worst) if in_base and worst is not None else spec.amount
    rows = [("min_notional", amounts.min_notional, worth), ("max_notional", amounts.max_notional, worth)]
    if in_base:
        rows = [("min_amount", amounts.min_amount, spec.amount), ("max_amount", amounts.max_amount, spec.amount), *rows]
    for name, bound, value in rows:
        if bound is not None and (value < bound if name.startswith("min") else value > bound):
            how = "below" if name.startswith("min") else "above"
            raise InvalidOrder("amount", spec.amount, f"is {how} {name} {bound:f} {of}")


def _too_dear(interest: Interest, view: View, spec: Spec) -> str:
    swap = interest.swap
    found = best(view.offers[interest].whole, view.gas(swap.token_out if swap.exact_in else swap.token_in))
    worst = spec.limit if spec.limit is not None else spec.guard
    if found is None:
        return "no configured pool has the liquidity for this amount"
    price = shown(average(swap, found), up=swap.side == "BUY", digits=8)
    return f"it would revert: block {view.at.number} gives {price:f} on average, the order's worst is {worst:f}"
