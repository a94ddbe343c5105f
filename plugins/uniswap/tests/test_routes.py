"""Routes, the choice between them, and how long a quote is believed."""

from __future__ import annotations

from fractions import Fraction
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from exchange_kernel_uniswap.addresses import NATIVE
from exchange_kernel_uniswap.deployment import MAINNET
from exchange_kernel_uniswap.pools import V3_SPACINGS, Version, v3_pool
from exchange_kernel_uniswap.quotes import GasPrice, Moment, Quote, best, fresh
from exchange_kernel_uniswap.routes import MAX_HOPS, MAX_ROUTES, routes_between
from plugins.uniswap.tests.ground import setup

KNOWN = setup()
NAMES = {token.address: name for name, token in KNOWN.tokens.items()}
addresses = st.sampled_from([token.address for token in KNOWN.tokens.values()])


@given(addresses, addresses, st.integers(0, 2**32))
def test_routes_are_simple_complete_and_in_one_order(start: str, end: str, seed: int) -> None:
    """However the pools are listed: joined pools of one release, no token twice, at most three hops, shorter first."""
    shuffled = list(KNOWN.pools)
    Random(seed).shuffle(shuffled)
    routes = routes_between(shuffled, start, end, MAINNET.weth)
    assert routes == routes_between(KNOWN.pools, start, end, MAINNET.weth)
    assert [len(route.pools) for route in routes] == sorted(len(route.pools) for route in routes)
    assert len({route.name for route in routes}) == len(routes)
    for route in routes:
        plain = [MAINNET.weth if token == NATIVE else token for token in route.path]
        assert len(set(plain)) == len(plain) == len(route.pools) + 1 <= MAX_HOPS + 1
        assert {pool.version for pool in route.pools} == {route.version}
        for pool, one, other in zip(route.pools, route.path, route.path[1:], strict=False):
            assert {one, other} == {pool.token0, pool.token1}
        ends = (NATIVE if route.wraps else route.path[0], NATIVE if route.unwraps else route.path[-1])
        assert ends == (start, end)
    one_way = {route.pools for route in routes}
    assert one_way == {route.pools[::-1] for route in routes_between(shuffled, end, start, MAINNET.weth)}


def test_all_ways_are_found() -> None:
    """WETH to USDC over v3 pools: two directly, one over DAI, one over USDT; none over WBTC, which leads nowhere."""
    routes = setup("v3").market("WETH/USDC").sells
    ways = [tuple(NAMES[token] for token in route.path) for route in routes]
    assert ways == [("WETH", "USDC")] * 2 + [("WETH", "DAI", "USDC"), ("WETH", "USDT", "USDC")]


def test_eth_is_wrapped_for_old_pools_and_itself_in_v4() -> None:
    """In v4 both its own pool and the pool of WETH are ways."""
    market = setup(symbols=["ETH/USDC"]).market("ETH/USDC")
    direct = [route for route in market.sells if route.single]
    assert {(route.version, route.wraps) for route in direct} == {
        (Version.V2, True),
        (Version.V3, True),
        (Version.V4, True),
        (Version.V4, False),
    }


def test_the_number_of_routes_is_bounded() -> None:
    """A full net of pools has far more ways than are ever quoted."""
    tokens = [token.address for token in KNOWN.tokens.values() if not token.native]
    pools = [
        v3_pool(MAINNET, one, other, fee)
        for place, one in enumerate(tokens)
        for other in tokens[:place]
        for fee in V3_SPACINGS
    ]
    assert len(routes_between(pools, tokens[0], tokens[1], MAINNET.weth)) == MAX_ROUTES
    assert len(routes_between(pools, tokens[0], tokens[1], MAINNET.weth, most=10**6)) == 4 + 3 * 4**2 + 6 * 4**3


def test_the_best_after_gas_is_chosen() -> None:
    """A longer route must be better by more than its gas, for what comes in as for what goes out."""
    short, *_, long = setup("v3").market("WETH/USDC").sells
    at = Moment(1, 1)
    price = GasPrice(10**10, Fraction(3000 * 10**6, 10**18))
    extra = (long.gas - short.gas) * price.wei * price.worth
    for more, winner in ((int(extra), short), (int(extra) + 1, long)):
        out = [Quote(short, True, 1, 10**10, at), None, Quote(long, True, 1, 10**10 + more, at)]
        assert (chosen := best(out, price)) is not None and chosen.route == winner
        cost = [Quote(short, False, 1, 10**10, at), Quote(long, False, 1, 10**10 - more, at)]
        assert (chosen := best(cost, price)) is not None and chosen.route == winner
    assert best([None], price) is None
    free = GasPrice(0, Fraction(0))
    same = [Quote(long, True, 1, 5, at), Quote(short, True, 1, 5, at)]
    assert (chosen := best(same, free)) is not None and chosen.route == short


def test_old_quotes_are_not_believed() -> None:
    """Too many blocks, too much time, or a head that is behind the quote."""
    quoted = Moment(100, 1_000)
    for head, now, good in (
        (Moment(100, 1_000), 1_000, True),
        (Moment(101, 1_012), 1_012, True),
        (Moment(102, 1_024), 1_024, False),
        (Moment(100, 1_000), 1_031, False),
        (Moment(99, 988), 1_000, False),
    ):
        assert fresh(quoted, head, now, blocks=1, seconds=30) is good
