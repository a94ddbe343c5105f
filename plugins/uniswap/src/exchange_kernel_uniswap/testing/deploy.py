"""Uniswap's contracts put where they stand on mainnet.

Whatever a deployer's account created is created by that account again, with the nonce it had. Whatever was made in
another way has its constructor run at the very address, so that what it computes of its own address is right.
"""

from __future__ import annotations

from typing import Final

from eth_abi.abi import encode
from eth_utils.address import to_checksum_address

from exchange_kernel_evm.testing import Chain, TestChainError
from exchange_kernel_uniswap.testing.addresses import (
    CONTRACTS,
    DECIMALS,
    FEE_TOKEN,
    NATIVE,
    TOKENS,
    UNIVERSAL_ROUTER_2_1,
)
from exchange_kernel_uniswap.testing.artifacts import artifacts
from exchange_kernel_uniswap.testing.tether import tether_like

__all__ = ["V3_OWNER", "deploy", "deploy_extras"]

_V2_OWNER: Final = "0x9C33eaCc2F50E39940D3AfaF2c7B8246B681A374"
V3_OWNER: Final = "0x6C9FC64A53c1b71FB3f9Af64d1ae3A4931A5f4E9"
_WETH_OWNER: Final = "0x4F26FfBe5F04ED43630fdC30A87638d53D0b0876"
_PAIR_CODE_HASH: Final = bytes.fromhex("96e8ac4277198ff8b6f785478aa9a39f403cb768dd02cbee326c3e7da348845f")
_POOL_CODE_HASH: Final = bytes.fromhex("e34f199b19b2b4f47f68442619d555527d244f78a3297ea89325f843f87b8b54")
_TETHER_TOKEN: Final = "0x0000000000000000000000000000000000DAC17F"
_FEE_TOKEN_SUPPLY: Final = 10**27


def deploy(chain: Chain, owner: str) -> None:
    """Put all that mainnet has on an empty chain; `owner` gets what a constructor gives to its caller.

    :raises TestChainError: a contract did not come out at its address.
    """
    c, weth = CONTRACTS, TOKENS["WETH"]
    created: tuple[tuple[str, str, str, int, tuple[object, ...]], ...] = (
        ("WETH", weth, _WETH_OWNER, 446, ()),
        ("V2Factory", c["V2Factory"], _V2_OWNER, 0, (_V2_OWNER,)),
        ("V2Router02", c["V2Router02"], _V2_OWNER, 3, (c["V2Factory"], weth)),
        ("V3Factory", c["V3Factory"], V3_OWNER, 0, ()),
        ("TickLens", c["TickLens"], V3_OWNER, 2, ()),
        ("SwapRouter", c["SwapRouter"], V3_OWNER, 4, (c["V3Factory"], weth)),
        ("PositionManagerV3", c["PositionManagerV3"], V3_OWNER, 8, (c["V3Factory"], weth, NATIVE)),
        ("QuoterV2", c["QuoterV2"], V3_OWNER, 13, (c["V3Factory"], weth)),
        (
            "SwapRouter02",
            c["SwapRouter02"],
            V3_OWNER,
            14,
            (c["V2Factory"], c["V3Factory"], c["PositionManagerV3"], weth),
        ),
    )
    for name, address, deployer, nonce, arguments in created:
        chain.set_balance(deployer, 10**20)
        chain.set_nonce(deployer, nonce)
        receipt = chain.transact(deployer, None, _initcode(name, *arguments))
        if to_checksum_address(receipt["contractAddress"]) != to_checksum_address(address):
            raise TestChainError(f"{name} came out at {receipt['contractAddress']}, not at {address}")
    chain.set_code(c["Permit2"], bytes.fromhex(artifacts()["Permit2"]["code"]))
    manager = c["PoolManager"]
    placed: tuple[tuple[str, str, tuple[object, ...]], ...] = (
        ("Multicall3", c["Multicall3"], ()),
        ("PoolManager", manager, (owner,)),
        ("PositionManagerV4", c["PositionManagerV4"], (manager, c["Permit2"], 300_000, NATIVE, weth)),
        ("StateView", c["StateView"], (manager,)),
        ("V4Quoter", c["V4Quoter"], (manager,)),
        ("UniversalRouter", c["UniversalRouter"], (_router_parameters(),)),
        *(("Token", TOKENS[s], (s, s, DECIMALS[s])) for s in ("USDC", "USDT", "DAI", "WBTC")),
    )
    for name, address, arguments in placed:
        _place(chain, owner, address, _initcode(name, *arguments))
    chain.set_code(_TETHER_TOKEN, chain.code(TOKENS["USDT"]))
    chain.set_code(TOKENS["USDT"], tether_like(_TETHER_TOKEN))


def deploy_extras(chain: Chain, owner: str) -> None:
    """Put there what no real chain has: the router 2.1 and the token that takes a fee, whose supply `owner` gets."""
    _place(chain, owner, UNIVERSAL_ROUTER_2_1, _initcode("UniversalRouter21", (*_router_parameters(), NATIVE)))
    _place(chain, owner, FEE_TOKEN, _initcode("FeeToken", _FEE_TOKEN_SUPPLY))


def _router_parameters() -> tuple[object, ...]:
    c = CONTRACTS
    return (
        c["Permit2"], TOKENS["WETH"], c["V2Factory"], c["V3Factory"], _PAIR_CODE_HASH, _POOL_CODE_HASH,
        c["PoolManager"], c["PositionManagerV3"], c["PositionManagerV4"],
    )  # fmt: skip


def _initcode(name: str, *arguments: object) -> bytes:
    artifact = artifacts()[name]
    inputs: list[dict[str, object]] = next(
        (part["inputs"] for part in artifact["abi"] if part["type"] == "constructor"), []
    )
    return bytes.fromhex(artifact["code"]) + encode([_type(part) for part in inputs], arguments)


def _type(part: dict[str, object]) -> str:
    kind = str(part["type"])
    if not kind.startswith("tuple"):
        return kind
    inside = part["components"]
    assert isinstance(inside, list)
    return "(" + ",".join(_type(each) for each in inside) + ")" + kind.removeprefix("tuple")


def _place(chain: Chain, sender: str, address: str, initcode: bytes) -> None:
    """Run a constructor at an address: once for the code it returns, once as a transaction for what it stores."""
    chain.set_code(address, initcode)
    runtime = chain.call(address, b"", sender=sender)
    chain.transact(sender, address)
    chain.set_code(address, runtime)
