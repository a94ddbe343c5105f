"""What one block says to every order of the account: prices, quotes, balances and allowances, read in one request.

Whoever wants something of a block says so; what others want of it is read along, so that the next one to ask finds it.
Nothing here outlives its block.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from exchange_kernel.errors import InvalidOrder, Unavailable
from exchange_kernel.value import Value
from exchange_kernel.venue import Ms
from exchange_kernel_evm.multicall import ETH_BALANCE, Read, Result
from exchange_kernel_evm.tokens import ALLOWANCE, BALANCE_OF, PERMIT2_ALLOWANCE
from exchange_kernel_evm.venue import ChainReads
from exchange_kernel_uniswap.addresses import NATIVE
from exchange_kernel_uniswap.config import Market
from exchange_kernel_uniswap.orders import routes_for, takes_price_limit
from exchange_kernel_uniswap.pools import Version
from exchange_kernel_uniswap.price_limits import sqrt_limit
from exchange_kernel_uniswap.quotes import GasPrice, Moment, Quote, limited_read, quote_read, quoted
from exchange_kernel_uniswap.routes import Route, routes_between
from exchange_kernel_uniswap.settings import UniswapConfig
from exchange_kernel_uniswap.spots import Rates, best_rate, rates_of, spot_reads
from exchange_kernel_uniswap.swaps import Swap
from exchange_kernel_uniswap.tokens import Token

__all__ = ["Board", "Interest", "Offers", "View", "usable"]

READS_PER_CALL = 150
"""A call of a node may use so much gas (geth: 50 million); a quote uses up to 0.3."""
KEEP_BLOCKS = 2
"""For so many blocks after it was last asked for, a quote is read along."""
MOST_KEPT = 64


class Interest(Value, frozen=True):
    """A swap that somebody wants quoted. ``partial``: also how much of it single v3 pools would do within its limit."""

    symbol: str
    swap: Swap
    partial: bool = False


class Offers(Value, frozen=True):
    """Quotes for all of a swap, and, where a part will do, what pools that stop at the limit would give of it."""

    whole: tuple[Quote, ...]
    parts: tuple[Quote, ...] = ()


@dataclass(frozen=True, slots=True)
class View:
    """One block. ``funds``: units by token address, as far as they were asked for and could be read; ``allowed``: by
    token and spender; ``inside``: the same of Permit2, units, when they end (seconds), and its nonce."""

    at: Moment
    base_fee: int
    rates: Rates
    funds: Mapping[str, int]
    allowed: Mapping[tuple[str, str], int]
    inside: Mapping[tuple[str, str], tuple[int, int, int]]
    offers: Mapping[Interest, Offers]
    worth: Mapping[str, Fraction]
    taxes: Mapping[str, Fraction]

    def gas(self, token: Token) -> GasPrice:
        """What gas costs, in smallest units of ``token`` too."""
        return GasPrice(self.base_fee, self.worth.get(token.address, Fraction(0)))


def usable(market: Market, swap: Swap, taxed: Container[str] = ()) -> tuple[Route, ...]:
    """The routes that can do exactly this swap. Asked for an amount out, v2 pairs may give a little more: no order is
    ever executed beyond what it says, so they are left out. Only v2 pairs take a token that keeps a part of each
    transfer (``taxed``), and nothing promises an amount of it."""
    routes = routes_for(market, swap.side)
    if taxed:
        routes = tuple(
            each for each in routes if each.version is Version.V2 or not any(token in taxed for token in each.path)
        )
    return routes if swap.exact_in else tuple(route for route in routes if route.version is not Version.V2)


class Board:
    """Reads blocks for one account."""

    def __init__(self, config: UniswapConfig) -> None:
        self._config, self._setup = config, config.setup
        self._asked: dict[Interest, int] = {}
        self._view: View | None = None
        self._lock = asyncio.Lock()
        self.taxes: Mapping[str, Fraction] = {}
        self._begun, self._head, self._block_s = 0.0, 0, 0
        at = config.setup.at
        self._to_ether = {
            token.address: routes_between(config.setup.pools, NATIVE, token.address, at.weth)
            for token in config.setup.tokens.values()
            if token.address not in (NATIVE, at.weth)
        }

    def begin(self, head: Ms, block_ms: Ms) -> None:
        """The newest block's time as a session begins. From here on the chain's time is told by what has passed since,
        and not by a wall clock, which may be wrong, or jump. A node that stands still is found out by its standing."""
        self._begun, self._head, self._block_s = asyncio.get_running_loop().time(), head // 1000, block_ms // 1000

    def _chain_now(self) -> int:
        """Unix seconds by the chain's clock, at most a block late."""
        return self._head + int(asyncio.get_running_loop().time() - self._begun)

    def on_chain(self, ends: int, now: Ms, view: View) -> int:
        """A local moment (seconds) as the chain's clock shows it, and never sooner than it is from the newest block."""
        told, local = self._chain_now(), now // 1000
        here = local if abs(local - told) <= 2 * self._block_s else told
        return ends - local + max(here, view.at.time)

    async def view(self, chain: ChainReads, interest: Interest | None = None) -> View:
        """The newest block. Raises Unavailable (also where it is too old to act on), RateLimited."""
        if interest is not None:
            self._asked[interest] = chain.newest
        found = self._current(chain, interest)
        if found is None:
            async with self._lock:  # whoever waited here finds that it was read along
                await asyncio.sleep(0)  # and whoever asks at the same moment is among them
                found = self._current(chain, interest)
                if found is None:
                    found = self._view = await self._read(chain, interest)
        age = self._chain_now() - found.at.time
        if age > self._config.max_quote_age_s:
            raise Unavailable(f"the newest block is {age} s old, more than max_quote_age_s")
        return found

    def _current(self, chain: ChainReads, interest: Interest | None) -> View | None:
        view = self._view
        if view is None or view.at.number < chain.newest:
            return None
        return view if interest is None or interest in view.offers else None

    async def _read(self, chain: ChainReads, interest: Interest | None) -> View:
        interests = self._kept(chain, interest)
        try:
            return await self._quoted(chain, interests, frozenset(interests))
        except Unavailable:
            if not interests:
                raise
            # One order far beyond the pools can use up the gas of the whole call: what the account could not pay for
            # is then not quoted, so that it holds up nobody else.
            bare = await self._quoted(chain, interests, frozenset())
            paid = frozenset(each for each in interests if _affordable(each, bare))
            if len(paid) == len(interests):
                raise
            return await self._quoted(chain, interests, paid) if paid else bare

    async def _quoted(self, chain: ChainReads, interests: list[Interest], asking: frozenset[Interest]) -> View:
        """The newest block, with quotes for those of ``asking``; no offer for the others."""
        setup = self._setup
        reads = spot_reads(setup.at, setup.pools)
        tokens = {interest.swap.token_in for interest in interests}
        funds = [token.address for token in tokens]
        spenders = [
            (token, spender)
            for token in funds
            if token != NATIVE
            for spender in (setup.at.swap_router, setup.at.permit2)
        ]
        inside = [(token, setup.at.universal_router) for token in funds if token != NATIVE]
        multicall = chain.chain.multicall3
        for token in funds:
            native = token == NATIVE
            where, function = (multicall, ETH_BALANCE) if native else (token, BALANCE_OF)
            reads.append(Read(where, function, (chain.address,), True))
        reads += [Read(token, ALLOWANCE, (chain.address, spender), True) for token, spender in spenders]
        reads += [Read(setup.at.permit2, PERMIT2_ALLOWANCE, (chain.address, *pair), True) for pair in inside]
        asked = [(each, self._questions(each) if each in asking else []) for each in interests]
        reads += [read for _, questions in asked for _, _, read in questions]
        moment, base_fee, results = await self._ask(chain, reads)
        answers = iter(results)
        rates = rates_of(setup.pools, [next(answers) for _ in range(2 * len(setup.pools))])
        return View(
            moment,
            base_fee,
            rates,
            {token: row[0] for token in funds if (row := next(answers).values)},
            {pair: row[0] for pair in spenders if (row := next(answers).values)},
            {pair: (row[0], row[1], row[2]) for pair in inside if (row := next(answers).values)},
            {interest: _offers(interest, questions, answers, moment) for interest, questions in asked},
            self._worth(rates),
            self.taxes,
        )

    def _kept(self, chain: ChainReads, interest: Interest | None) -> list[Interest]:
        """Those of the last blocks, and the one that is asked for now: it may have waited for long."""
        newest = chain.newest
        if interest is not None:
            self._asked.pop(interest, None)
            self._asked = {interest: newest, **self._asked}
        recent = [(at, interest) for interest, at in self._asked.items() if newest - at <= KEEP_BLOCKS]
        recent.sort(key=lambda row: row[0], reverse=True)
        self._asked = {interest: at for at, interest in recent[:MOST_KEPT]}
        return list(self._asked)

    def _questions(self, interest: Interest) -> list[tuple[Route, bool, Read]]:
        """Route, whether a part will do, and what is asked."""
        at, swap = self._setup.at, interest.swap
        market = self._setup.market(interest.symbol)
        routes = usable(market, swap, self.taxes)
        rows = [(route, False, quote_read(at, route, swap.exact_in, swap.amount)) for route in routes]
        if interest.partial and not self._config.dedupe:  # only SwapRouter02 stops at a limit
            for route in filter(takes_price_limit, routes):
                with contextlib.suppress(InvalidOrder):  # a limit that no pool can reach
                    stop = sqrt_limit(market.scale, route.pools[0], swap.side, swap.limit)
                    rows.append((route, True, limited_read(at, route, swap.exact_in, swap.amount, stop)))
        return rows

    async def _ask(self, chain: ChainReads, reads: list[Read]) -> tuple[Moment, int, list[Result]]:
        results: list[Result] = []
        moment, base_fee = None, 0
        for start in range(0, len(reads), READS_PER_CALL):
            head, part = await chain.read(reads[start : start + READS_PER_CALL])
            moment = moment or Moment(head.number, head.time // 1000)
            base_fee = base_fee or head.base_fee
            results += part
        assert moment is not None
        return moment, base_fee, results

    def _worth(self, rates: Rates) -> dict[str, Fraction]:
        """Units of each token that one wei is worth."""
        worth = {NATIVE: Fraction(1), self._setup.at.weth: Fraction(1)}
        for token, routes in self._to_ether.items():
            worth[token] = best_rate(rates, routes) or Fraction(0)
        return worth


def _affordable(interest: Interest, view: View) -> bool:
    swap = interest.swap
    return swap.most_in <= view.funds.get(swap.token_in.address, 0)


def _offers(
    interest: Interest, questions: list[tuple[Route, bool, Read]], answers: Iterator[Result], moment: Moment
) -> Offers:
    swap = interest.swap
    whole: list[Quote] = []
    parts: list[Quote] = []
    for route, partial, _ in questions:
        quote = quoted(route, swap.exact_in, swap.amount, moment, next(answers))
        if quote is not None:
            (parts if partial else whole).append(quote)
    return Offers(tuple(whole), tuple(parts))
