"""The stack on the test chain is mainnet's: addresses, pools, and swaps to the last unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from eth_abi.abi import encode

from exchange_kernel_evm.testing import TestChainError, calldata, forked_chain, read
from exchange_kernel_uniswap.testing import (
    CONTRACTS,
    FEE_TOKEN,
    NATIVE,
    TOKENS,
    UNIVERSAL_ROUTER_2_1,
    V4_KEY,
    UniswapStack,
    uniswap_stack,
    v2_pair,
    v3_pool,
)

USDC, WETH, USDT, DAI, WBTC = (TOKENS[symbol] for symbol in ("USDC", "WETH", "USDT", "DAI", "WBTC"))
AMOUNT = 3000 * 10**6
FOREVER = 2**40
UNLIMITED = 2**256 - 1
KEY_TYPE = "(address,address,uint24,int24,address)"
ROUTERS = [CONTRACTS["UniversalRouter"], UNIVERSAL_ROUTER_2_1]
# The pools of mainnet, by their tokens and fee.
MAINNET_POOLS = [
    (USDC, WETH, 500, "0x88e6A0c2dDD26FEEb64F039a2c41296FcB3f5640"),
    (USDC, WETH, 3000, "0x8ad599c3A0ff1De082011EFDDc58f1908eb6e6D8"),
    (WBTC, WETH, 3000, "0xCBCdF9626bC03E24f779434178A73a0B4bad62eD"),
    (WBTC, WETH, 500, "0x4585FE77225b41b697C938B018E2Ac67Ac5a20c0"),
    (DAI, USDC, 100, "0x5777d92f208679DB4b9778590Fa3CAB3aC9e2168"),
    (USDC, USDT, 100, "0x3416cF6C708Da44DB2624D63ea0AAef7113527C6"),
]


def send(stack: UniswapStack, to: str, data: bytes, value: int = 0) -> Mapping[str, Any]:
    return stack.chain.transact(stack.trader.address, to, data, value=value)


def approve(stack: UniswapStack, token: str, spender: str, units: int = UNLIMITED) -> None:
    send(stack, token, calldata("approve(address,uint256)", spender, units))


def permit(stack: UniswapStack, token: str, router: str) -> None:
    """Allow a Universal Router to take a token through Permit2."""
    approve(stack, token, CONTRACTS["Permit2"])
    data = calldata("approve(address,address,uint160,uint48)", token, router, 2**160 - 1, 2**48 - 1)
    send(stack, CONTRACTS["Permit2"], data)


def quote_v3(stack: UniswapStack, fee: int = 500) -> int:
    data = calldata("quoteExactInputSingle((address,address,uint256,uint24,uint160))", (USDC, WETH, AMOUNT, fee, 0))
    out: int = read(["uint256"], stack.chain.call(CONTRACTS["QuoterV2"], data))[0]
    return out


def quote_v2(stack: UniswapStack) -> int:
    """From the reserves, by the pair's own rule."""
    pair = v2_pair(stack.chain, USDC, WETH)
    own, other, _ = read(["uint112", "uint112", "uint32"], stack.chain.call(pair, calldata("getReserves()")))
    paid = AMOUNT * 997
    out: int = paid * other // (own * 1000 + paid)
    return out


def execute(command: int, argument: bytes) -> bytes:
    return calldata("execute(bytes,bytes[],uint256)", bytes([command]), [argument], FOREVER)


def v4_swap(zero_for_one: bool, amount: int, paid: str, got: str) -> bytes:
    swap = encode([f"({KEY_TYPE},bool,uint128,uint128,bytes)"], [(V4_KEY, zero_for_one, amount, 1, b"")])
    settle = encode(["address", "uint256"], [paid, amount])
    take = encode(["address", "uint256"], [got, 1])
    return execute(0x10, encode(["bytes", "bytes[]"], [b"\x06\x0c\x0f", [swap, settle, take]]))


def quote_v4(stack: UniswapStack, zero_for_one: bool, amount: int) -> int:
    data = calldata(f"quoteExactInputSingle(({KEY_TYPE},bool,uint128,bytes))", (V4_KEY, zero_for_one, amount, b""))
    out: int = read(["uint256"], stack.chain.call(CONTRACTS["V4Quoter"], data))[0]
    return out


def deltas(stack: UniswapStack, to: str, data: bytes, value: int = 0) -> tuple[int, int, int]:
    """What the trader has more of after a transaction: USDC, WETH, and ether without the network's fee."""
    me = stack.trader.address
    before = stack.balance(USDC), stack.balance(WETH), stack.chain.balance(me)
    receipt = send(stack, to, data, value)
    gas = int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)
    return (
        stack.balance(USDC) - before[0],
        stack.balance(WETH) - before[1],
        stack.chain.balance(me) - before[2] + gas,
    )


@pytest.mark.parametrize("name", sorted(CONTRACTS | TOKENS))
def test_every_canonical_address_carries_code(uniswap: UniswapStack, name: str) -> None:
    """On the fork, not only on the upstream; the chain's id is mainnet's."""
    assert uniswap.chain.chain_id == 1
    assert len(uniswap.chain.code((CONTRACTS | TOKENS)[name])) > 100


@pytest.mark.parametrize(("one", "other", "fee", "address"), MAINNET_POOLS)
def test_pools_stand_where_mainnets_do(uniswap: UniswapStack, one: str, other: str, fee: int, address: str) -> None:
    """So the code and the deployer that their addresses come from are mainnet's; each has liquidity."""
    assert v3_pool(uniswap.chain, one, other, fee) == address
    assert read(["uint128"], uniswap.chain.call(address, calldata("liquidity()")))[0] > 0


def test_the_pair_stands_where_mainnets_does(uniswap: UniswapStack) -> None:
    """v2 too."""
    assert v2_pair(uniswap.chain, USDC, WETH) == "0xB4e16d0168e52d35CaCD2c6185b44281Ec28C9Dc"


def test_a_swap_on_v2(uniswap: UniswapStack) -> None:
    """Through its router, to the unit that the reserves promise."""
    approve(uniswap, USDC, CONTRACTS["V2Router02"])
    out = quote_v2(uniswap)
    data = calldata(
        "swapExactTokensForTokens(uint256,uint256,address[],address,uint256)",
        AMOUNT, out, [USDC, WETH], uniswap.trader.address, FOREVER,
    )  # fmt: skip
    assert deltas(uniswap, CONTRACTS["V2Router02"], data) == (-AMOUNT, out, 0)


@pytest.mark.parametrize("fee", [500, 3000])
def test_a_swap_on_v3(uniswap: UniswapStack, fee: int) -> None:
    """Through its first router, to the unit that the quoter promises."""
    approve(uniswap, USDC, CONTRACTS["SwapRouter"])
    out = quote_v3(uniswap, fee)
    data = calldata(
        "exactInputSingle((address,address,uint24,address,uint256,uint256,uint256,uint160))",
        (USDC, WETH, fee, uniswap.trader.address, FOREVER, AMOUNT, out, 0),
    )
    assert deltas(uniswap, CONTRACTS["SwapRouter"], data) == (-AMOUNT, out, 0)


def test_a_swap_through_swap_router_02(uniswap: UniswapStack) -> None:
    """Exact input on v3, and one unit more than the quote as the minimum reverts."""
    approve(uniswap, USDC, CONTRACTS["SwapRouter02"])
    out = quote_v3(uniswap)
    signature = "exactInputSingle((address,address,uint24,address,uint256,uint256,uint160))"
    with pytest.raises(TestChainError, match="reverted"):
        send(
            uniswap,
            CONTRACTS["SwapRouter02"],
            calldata(signature, (USDC, WETH, 500, uniswap.trader.address, AMOUNT, out + 1, 0)),
        )
    data = calldata(signature, (USDC, WETH, 500, uniswap.trader.address, AMOUNT, out, 0))
    assert deltas(uniswap, CONTRACTS["SwapRouter02"], data) == (-AMOUNT, out, 0)


@pytest.mark.parametrize("router", ROUTERS, ids=["2.0", "2.1"])
def test_swaps_through_the_universal_router(uniswap: UniswapStack, router: str) -> None:
    """v3, v2, and v4 both ways with native ether, each to the unit."""
    permit(uniswap, USDC, router)
    me = uniswap.trader.address
    out = quote_v3(uniswap)
    path = bytes.fromhex(USDC[2:]) + (500).to_bytes(3, "big") + bytes.fromhex(WETH[2:])
    v3 = encode(["address", "uint256", "uint256", "bytes", "bool"], [me, AMOUNT, out, path, True])
    assert deltas(uniswap, router, execute(0x00, v3)) == (-AMOUNT, out, 0)

    out = quote_v2(uniswap)
    v2 = encode(["address", "uint256", "uint256", "address[]", "bool"], [me, AMOUNT, out, [USDC, WETH], True])
    assert deltas(uniswap, router, execute(0x08, v2)) == (-AMOUNT, out, 0)

    out = quote_v4(uniswap, True, 10**18)
    assert deltas(uniswap, router, v4_swap(True, 10**18, NATIVE, USDC), 10**18) == (out, 0, -(10**18))

    out = quote_v4(uniswap, False, AMOUNT)
    assert deltas(uniswap, router, v4_swap(False, AMOUNT, USDC, NATIVE)) == (-AMOUNT, 0, out)


def test_tether_returns_nothing_and_wants_a_reset(uniswap: UniswapStack) -> None:
    """As the real one does: an allowance goes to another only over zero, and no call says true."""
    spender = CONTRACTS["SwapRouter02"]
    me = uniswap.trader.address
    for data in (calldata("approve(address,uint256)", spender, 5), calldata("transfer(address,uint256)", spender, 1)):
        assert uniswap.chain.call(USDT, data, sender=me) == b""
    approve(uniswap, USDT, spender, 5)
    with pytest.raises(TestChainError, match="reverted"):
        approve(uniswap, USDT, spender, 6)
    approve(uniswap, USDT, spender, 0)
    approve(uniswap, USDT, spender, 6)
    allowance = calldata("allowance(address,address)", me, spender)
    assert read(["uint256"], uniswap.chain.call(USDT, allowance))[0] == 6
    with pytest.raises(TestChainError, match="reverted"):
        send(uniswap, USDT, calldata("transfer(address,uint256)", spender, 10**30))


def test_tether_is_swapped(uniswap: UniswapStack) -> None:
    """Routers live with its manners."""
    approve(uniswap, USDT, CONTRACTS["SwapRouter02"])
    before = uniswap.balance(USDT)
    data = calldata(
        "exactInputSingle((address,address,uint24,address,uint256,uint256,uint160))",
        (USDT, WETH, 3000, uniswap.trader.address, AMOUNT, 1, 0),
    )
    assert deltas(uniswap, CONTRACTS["SwapRouter02"], data)[1] > 99 * 10**16
    assert uniswap.balance(USDT) == before - AMOUNT


def test_the_fee_token_takes_its_fee(uniswap: UniswapStack) -> None:
    """One percent of what is sent does not arrive."""
    receiver = "0x0000000000000000000000000000000000000B0b"
    send(uniswap, FEE_TOKEN, calldata("transfer(address,uint256)", receiver, 1000))
    assert uniswap.balance(FEE_TOKEN, receiver) == 990


@pytest.mark.parametrize("turn", [1, 2])
def test_tests_do_not_see_each_others_swaps(uniswap: UniswapStack, turn: int) -> None:
    """The trader starts every test with the same money."""
    assert uniswap.balance(USDC) == 10_000_000 * 10**6
    send(uniswap, USDC, calldata("transfer(address,uint256)", WETH, turn))


def test_a_reorganisation_takes_a_swap_back(uniswap: UniswapStack) -> None:
    """Receipt, tokens of both sides and the pool's price, though the fork wrote them for the first time in the swap."""
    approve(uniswap, USDC, CONTRACTS["SwapRouter02"])
    pool = v3_pool(uniswap.chain, USDC, WETH, 500)
    slot0 = calldata("slot0()")
    before = uniswap.balance(USDC), uniswap.balance(WETH), uniswap.chain.call(pool, slot0)
    mark = uniswap.chain.mark()
    data = calldata(
        "exactInputSingle((address,address,uint24,address,uint256,uint256,uint160))",
        (USDC, WETH, 500, uniswap.trader.address, AMOUNT, 1, 0),
    )
    receipt = send(uniswap, CONTRACTS["SwapRouter02"], data)
    assert uniswap.chain.call(pool, slot0) != before[2]

    assert uniswap.chain.reorg(mark) == (receipt["transactionHash"],)
    assert uniswap.chain.receipt(receipt["transactionHash"]) is None
    assert (uniswap.balance(USDC), uniswap.balance(WETH), uniswap.chain.call(pool, slot0)) == before


def test_a_chain_given_by_its_address_is_forked_and_nothing_of_mainnet_deployed(
    uniswap: UniswapStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fork gets what no real chain has, and the trader the same money; the chain itself is left alone."""
    uniswap.chain.set_code(FEE_TOKEN, b"")
    uniswap.chain.set_code(UNIVERSAL_ROUTER_2_1, b"")
    send(uniswap, USDC, calldata("transfer(address,uint256)", WETH, 1))
    uniswap.chain.mine()
    head = uniswap.chain.head
    monkeypatch.setenv("EXK_FORK_URL", uniswap.node.url)
    with forked_chain(lambda chain: pytest.fail("deployed")) as plain:
        assert plain.upstream is None
    with uniswap_stack() as stack:
        assert stack.upstream is None
        assert stack.balance(USDC) == 10_000_000 * 10**6
        assert v3_pool(stack.chain, USDC, WETH, 500) == MAINNET_POOLS[0][3]
        assert stack.chain.code(UNIVERSAL_ROUTER_2_1)
        assert stack.balance(FEE_TOKEN) > 0
    assert uniswap.chain.head == head
    assert uniswap.chain.code(FEE_TOKEN) == b""
