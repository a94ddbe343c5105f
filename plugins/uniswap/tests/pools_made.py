"""Pools that the stack does not bring: v2 pairs and v4 pools of other pairs, made by a rich stranger."""

from __future__ import annotations

from eth_abi.abi import encode
from eth_account import Account

from exchange_kernel_evm.abi import Function
from exchange_kernel_evm.tokens import APPROVE, PERMIT2_APPROVE
from exchange_kernel_uniswap.addresses import NATIVE
from exchange_kernel_uniswap.config import Setup
from exchange_kernel_uniswap.deployment import MAINNET
from exchange_kernel_uniswap.liquidity import amount0, amount1
from exchange_kernel_uniswap.paths import POOL_KEY
from exchange_kernel_uniswap.pools import Pool, Version
from exchange_kernel_uniswap.ticks import highest_usable, lowest_usable, sqrt_at_tick, sqrt_of
from plugins.uniswap.tests.ground import EVERYTHING, FAR, Node, Trader, setup

POSITION_MANAGER = "0xbD216513d74C8cf14cf4747E6AaA6420FF64ee9e"
DOLLARS = {"WETH": 3000, "ETH": 3000, "USDC": 1, "USDT": 1, "DAI": 1, "WBTC": 60_000}

_ADD = Function.of("addLiquidity", ("address", "address", *("uint256",) * 4, "address", "uint256"))
_INITIALIZE = Function.of("initialize", (POOL_KEY, "uint160"))
_SLOT0 = Function.of("getSlot0", ("bytes32",), ("uint160", "int24", "uint24", "uint24"))
_MODIFY = Function.of("modifyLiquidities", ("bytes", "uint256"))
_MINT = (POOL_KEY, "int24", "int24", "uint256", "uint128", "uint128", "address", "bytes")


def make_pools(node: Node) -> None:
    """Liquidity in every pool of ground.POOLS that has none."""
    maker = Trader(node, Account.from_key("0x" + "b8" * 32))
    known = setup()
    enrich(node, maker.address, known)
    for pool in known.pools:
        if pool.version is Version.V2:
            _fill_pair(maker, pool, known)
        elif pool.version is Version.V4 and not maker.view(MAINNET.v4_state, _SLOT0, bytes.fromhex(pool.id[2:]))[0]:
            _fill_v4(maker, pool, known)


def enrich(node: Node, who: str, known: Setup, dollars: int = 50_000_000) -> None:
    """Plenty of everything."""
    node("anvil_setBalance", who, hex(10**24))
    for name, token in known.tokens.items():
        if not token.native:
            node("anvil_dealERC20", who, token.address, hex(dollars * 10**token.decimals // DOLLARS[name]))


def _worth(pool: Pool, known: Setup, dollars: int) -> tuple[int, int]:
    named = {token.address: token for token in known.tokens.values()}
    zero, one = (
        dollars * 10 ** named[each].decimals // DOLLARS[named[each].symbol] for each in (pool.token0, pool.token1)
    )
    return zero, one


def _fill_pair(maker: Trader, pool: Pool, known: Setup) -> None:
    amounts = _worth(pool, known, 3_000_000)
    for token in (pool.token0, pool.token1):
        maker.send(token, APPROVE.call(MAINNET.v2_router, EVERYTHING))
    data = _ADD.call(pool.token0, pool.token1, *amounts, 0, 0, maker.address, FAR)
    assert maker.send(MAINNET.v2_router, data, gas=6_000_000)[0].ok


def _fill_v4(maker: Trader, pool: Pool, known: Setup) -> None:
    zero, one = _worth(pool, known, 3_000_000)
    sqrt = sqrt_of(one, zero, up=False)
    assert maker.send(MAINNET.v4_manager, _INITIALIZE.call(pool.key, sqrt))[0].ok
    low, high = lowest_usable(pool.spacing), highest_usable(pool.spacing)
    liquidity = zero * sqrt // 2**96
    for token in (pool.token0, pool.token1):
        if token != NATIVE:
            maker.send(token, APPROVE.call(MAINNET.permit2, EVERYTHING))
            maker.send(MAINNET.permit2, PERMIT2_APPROVE.call(token, POSITION_MANAGER, 2**160 - 1, FAR))
    needs = (
        amount0(sqrt, sqrt_at_tick(high), liquidity, up=True),
        amount1(sqrt_at_tick(low), sqrt, liquidity, up=True),
    )
    mint = encode(_MINT, (pool.key, low, high, liquidity, *needs, maker.address, b""))
    steps = [
        mint,
        encode(("address", "address"), (pool.token0, pool.token1)),
        encode(("address", "address"), (NATIVE, maker.address)),
    ]
    plan = encode(("bytes", "bytes[]"), (bytes((0x02, 0x0D, 0x14)), steps))
    value = needs[0] if pool.token0 == NATIVE else 0
    assert maker.send(POSITION_MANAGER, _MODIFY.call(plan, FAR), value)[0].ok
