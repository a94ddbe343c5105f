"""Pools with liquidity, and accounts with money, on a chain that carries the stack."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from math import isqrt
from typing import Final

from eth_abi.abi import encode
from eth_utils.address import to_checksum_address

from exchange_kernel_evm.testing import Chain, calldata, read
from exchange_kernel_uniswap.testing.addresses import CONTRACTS, DECIMALS, FEE_TOKEN, NATIVE, TOKENS
from exchange_kernel_uniswap.testing.deploy import V3_OWNER

__all__ = ["SPACINGS", "V4_KEY", "Pool", "seed", "seed_extras", "v2_pair", "v3_pool"]

SPACINGS: Final = {100: 1, 500: 10, 3000: 60, 10000: 200}
"""The tick spacing of a v3 fee, in hundredths of a basis point."""
V4_KEY: Final = (NATIVE, TOKENS["USDC"], 500, 10, NATIVE)
"""The v4 pool of native ETH and USDC, without hooks."""
_USD: Final = {"WETH": 3000, "USDC": 1, "USDT": 1, "DAI": 1, "WBTC": 60_000}
_WHOLE_RANGE: Final = 887_272
_FOREVER: Final = 2**40
_UNLIMITED: Final = 2**256 - 1


@dataclass(frozen=True, slots=True)
class Pool:
    """A v3 pool: two tokens in any order, the fee, the value on each side in US dollars, ticks to each side."""

    tokens: tuple[str, str]
    fee: int
    usd: int
    ticks: int | None = None


_POOLS: Final = (
    Pool(("USDC", "WETH"), 500, 20_000_000, 3000),
    Pool(("USDC", "WETH"), 3000, 10_000_000),
    Pool(("WBTC", "WETH"), 3000, 20_000_000),
    Pool(("WBTC", "WETH"), 500, 5_000_000, 6000),
    Pool(("DAI", "USDC"), 100, 20_000_000, 50),
    Pool(("USDC", "USDT"), 100, 20_000_000, 50),
    Pool(("WETH", "USDT"), 3000, 5_000_000),
    Pool(("DAI", "WETH"), 10000, 1_000_000),
)


def v3_pool(chain: Chain, one: str, other: str, fee: int) -> str:
    """The address of a v3 pool of two token addresses."""
    data = calldata("getPool(address,address,uint24)", one, other, fee)
    return str(to_checksum_address(read(["address"], chain.call(CONTRACTS["V3Factory"], data))[0]))


def v2_pair(chain: Chain, one: str, other: str) -> str:
    """The address of a v2 pair of two token addresses."""
    data = calldata("getPair(address,address)", one, other)
    return str(to_checksum_address(read(["address"], chain.call(CONTRACTS["V2Factory"], data))[0]))


def seed(chain: Chain, owner: str) -> None:
    """Mint the owner everything and make all pools of it: eight on v3, two on v2, one on v4."""
    chain.set_balance(owner, 10**24)
    chain.transact(owner, TOKENS["WETH"], calldata("deposit()"), value=200_000 * 10**18)
    spenders = [CONTRACTS[name] for name in ("PositionManagerV3", "V2Router02", "Permit2")]
    for symbol, token in TOKENS.items():
        if symbol != "WETH":
            chain.transact(owner, token, calldata("mint(address,uint256)", owner, 10 ** (12 + DECIMALS[symbol])))
    for token in TOKENS.values():
        for spender in spenders:
            chain.transact(owner, token, calldata("approve(address,uint256)", spender, _UNLIMITED))
    # The 0.01 % tier is not in the factory's constructor: mainnet's owner enabled it later.
    chain.transact(V3_OWNER, CONTRACTS["V3Factory"], calldata("enableFeeAmount(uint24,int24)", 100, 1))
    for pool in _POOLS:
        _v3(chain, owner, pool)
    _v2(chain, owner, TOKENS["USDC"], 6_000_000 * 10**6, TOKENS["WETH"], 2000 * 10**18)
    _v2(chain, owner, TOKENS["USDT"], 3_000_000 * 10**6, TOKENS["WETH"], 1000 * 10**18)
    _v4(chain, owner)


def seed_extras(chain: Chain, owner: str) -> None:
    """Make a v2 pair of the token that takes a fee and WETH."""
    chain.transact(owner, TOKENS["WETH"], calldata("deposit()"), value=1000 * 10**18)
    _v2(chain, owner, FEE_TOKEN, 3_000_000 * 10**18, TOKENS["WETH"], 1000 * 10**18)


def _amount(symbol: str, usd: int) -> int:
    unit: int = 10 ** DECIMALS[symbol]
    return usd * unit // _USD[symbol]


def _v3(chain: Chain, owner: str, pool: Pool) -> None:
    low, high = sorted(pool.tokens, key=lambda symbol: int(TOKENS[symbol], 16))
    amounts = _amount(low, pool.usd), _amount(high, pool.usd)
    spacing = SPACINGS[pool.fee]
    price = Decimal(amounts[1]) / Decimal(amounts[0])
    tick = int((price.ln() / Decimal("1.0001").ln()).to_integral_value(ROUND_FLOOR))
    bounds = (-_WHOLE_RANGE, _WHOLE_RANGE) if pool.ticks is None else (tick - pool.ticks, tick + pool.ticks)
    lower = -(-bounds[0] // spacing) * spacing
    upper = bounds[1] // spacing * spacing
    pair = TOKENS[low], TOKENS[high], pool.fee
    start = isqrt((amounts[1] << 192) // amounts[0])
    init = calldata("createAndInitializePoolIfNecessary(address,address,uint24,uint160)", *pair, start)
    position = (*pair, lower, upper, *amounts, 0, 0, owner, _FOREVER)
    mint = calldata(
        "mint((address,address,uint24,int24,int24,uint256,uint256,uint256,uint256,address,uint256))", position
    )
    chain.transact(owner, CONTRACTS["PositionManagerV3"], calldata("multicall(bytes[])", [init, mint]))


def _v2(chain: Chain, owner: str, one: str, amount: int, other: str, other_amount: int) -> None:
    """Through the pair itself: the router's arithmetic does not know of tokens that take a fee."""
    if int(v2_pair(chain, one, other), 16) == 0:
        chain.transact(owner, CONTRACTS["V2Factory"], calldata("createPair(address,address)", one, other))
    pair = v2_pair(chain, one, other)
    for token, units in ((one, amount), (other, other_amount)):
        chain.transact(owner, token, calldata("transfer(address,uint256)", pair, units))
    chain.transact(owner, pair, calldata("mint(address)", owner))


def _v4(chain: Chain, owner: str) -> None:
    usdc, manager, positions = TOKENS["USDC"], CONTRACTS["PoolManager"], CONTRACTS["PositionManagerV4"]
    key_type = "(address,address,uint24,int24,address)"
    allow = calldata("approve(address,address,uint160,uint48)", usdc, positions, 2**160 - 1, 2**48 - 1)
    chain.transact(owner, CONTRACTS["Permit2"], allow)
    start = isqrt((3000 * 10**6 << 192) // 10**18)
    chain.transact(owner, manager, calldata(f"initialize({key_type},uint160)", V4_KEY, start))
    # Mint, settle both, sweep the ETH that is left over; the ticks are about those of the price, -196256.
    mint = encode(
        [key_type, "int24", "int24", "uint256", "uint128", "uint128", "address", "bytes"],
        [V4_KEY, -200_310, -192_310, 10**18, 2**127, 2**127, owner, b""],
    )
    settle = encode(["address", "address"], [NATIVE, usdc])
    sweep = encode(["address", "address"], [NATIVE, owner])
    plan = encode(["bytes", "bytes[]"], [bytes([0x02, 0x0D, 0x14]), [mint, settle, sweep]])
    chain.transact(
        owner, positions, calldata("modifyLiquidities(bytes,uint256)", plan, _FOREVER), value=50_000 * 10**18
    )
