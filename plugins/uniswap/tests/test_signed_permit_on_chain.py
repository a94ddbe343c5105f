"""What the frame's signer says of typed data is what a contract takes: an allowance inside Permit2, by signature."""

from __future__ import annotations

import asyncio
from typing import Any

from eth_abi.abi import decode
from eth_account import Account

from exchange_kernel.models import IntentStatus
from exchange_kernel_evm.abi import Function
from exchange_kernel_evm.keys import LocalSigner
from exchange_kernel_evm.tokens import APPROVE, PERMIT2_ALLOWANCE
from exchange_kernel_uniswap.deployment import MAINNET
from exchange_kernel_uniswap.universal_router import EXECUTE
from plugins.evm.tests.scenes import GWEI, Make
from plugins.evm.tests.table import ENDED
from plugins.uniswap.tests.ground import EVERYTHING, FAR, POOLS, Node, Trader, setup
from plugins.uniswap.tests.table import ERC20, make

__all__ = ["make"]

FILLED = IntentStatus.FILLED
SINGLE = "((address,uint160,uint48,uint48),address,uint256)"
PERMIT = Function.of("permit", ("address", SINGLE, "bytes"))
V4 = {"pools": POOLS["v4"], "symbols": ["WETH/USDC"]}
TYPES = {
    "EIP712Domain": [
        {"name": "name", "type": "string"},
        {"name": "chainId", "type": "uint256"},
        {"name": "verifyingContract", "type": "address"},
    ],
    "PermitSingle": [
        {"name": "details", "type": "PermitDetails"},
        {"name": "spender", "type": "address"},
        {"name": "sigDeadline", "type": "uint256"},
    ],
    "PermitDetails": [
        {"name": "token", "type": "address"},
        {"name": "amount", "type": "uint160"},
        {"name": "expiration", "type": "uint48"},
        {"name": "nonce", "type": "uint48"},
    ],
}


def test_permit2_takes_the_signature_and_no_other(trader: Trader) -> None:
    """The router may then take exactly that; for another amount the same signature is refused."""
    known = setup("v4")
    at, usdc = known.at, known.tokens["USDC"].address
    signer = LocalSigner(bytes(trader.account.key))

    def message(amount: int) -> dict[str, Any]:
        details = {"token": usdc, "amount": amount, "expiration": FAR, "nonce": 0}
        domain = {"name": "Permit2", "chainId": 1, "verifyingContract": at.permit2}
        said = {"details": details, "spender": at.universal_router, "sigDeadline": FAR}
        return {"types": TYPES, "primaryType": "PermitSingle", "domain": domain, "message": said}

    def permit(amount: int, signature: bytes) -> bytes:
        single = ((usdc, amount, FAR, 0), at.universal_router, FAR)
        return PERMIT.call(trader.address, single, signature)

    signature = asyncio.run(signer.sign_typed(message(5_000_000)))
    assert len(signature) == 65
    refused, _ = trader.send(at.permit2, permit(6_000_000, signature))
    assert not refused.ok
    taken, _ = trader.send(at.permit2, permit(5_000_000, signature))
    assert taken.ok
    allowance = trader.view(at.permit2, PERMIT2_ALLOWANCE, trader.address, usdc, at.universal_router)
    assert (allowance[0], allowance[1]) == (5_000_000, FAR)


def inside(trader: Trader) -> tuple[int, int]:
    """What the router may take of the account's WETH inside Permit2, and the next permit's number."""
    found = trader.view(MAINNET.permit2, PERMIT2_ALLOWANCE, trader.address, ERC20["WETH"][0], MAINNET.universal_router)
    return found[0], found[2]


def test_a_permit_that_somebody_handed_in_before_its_swap_hurts_nothing(node: Node, trader: Trader, make: Make) -> None:
    """Whoever sees the swap in a pool has the signature, too. The router goes on with what is allowed by then."""
    trader.send(ERC20["WETH"][0], APPROVE.call(MAINNET.permit2, EVERYTHING))
    stranger = Trader(node, Account.from_key("0x" + "c9" * 32))
    node("anvil_setBalance", stranger.address, hex(10**20))

    async def scene() -> None:
        table = make(**V4)
        async with table.kernel() as kernel:
            await kernel.place_order(table.order("0.02"), "a")
            (tx,) = await table.waits()
            arguments = EXECUTE.arguments(bytes.fromhex(tx["input"][2:]))
            assert arguments is not None
            single, signature = decode((SINGLE, "bytes"), arguments[1][0])
            theirs = stranger.broadcast(MAINNET.permit2, PERMIT.call(trader.address, single, signature), tip=50 * GWEI)
            table.mine()
            assert node("eth_getTransactionReceipt", theirs)["status"] == "0x1"
            assert (await table.reaches(kernel, "a", *ENDED)).status is FILLED
            await table.judge()
        assert (table.evidence.used, inside(trader)) == (1, (0, 1))

    asyncio.run(scene())


def test_while_a_permit_waits_the_next_order_does_not_sign_another(trader: Trader, make: Make) -> None:
    """Of two with the same number one would revert: the second order has a transaction of its own for what it may take.
    Once nobody draws on it any more permits are signed again; all three are done, and nothing reverts."""
    trader.send(ERC20["WETH"][0], APPROVE.call(MAINNET.permit2, EVERYTHING))

    async def scene() -> None:
        table = make(**V4)
        async with table.kernel() as kernel:
            await kernel.place_order(table.order("0.02"), "a")
            await table.waits()
            await kernel.place_order(table.order("0.03"), "b")
            await table.waits(2)
            for name in ("a", "b"):
                assert (await table.reaches(kernel, name, *ENDED)).status is FILLED
            await kernel.place_order(table.order("0.5"), "c")
            assert (await table.reaches(kernel, "c", *ENDED)).status is FILLED
            await table.judge()
            assert all(each.ok for each in table.evidence.transactions())
        assert table.evidence.used == 4 and inside(trader)[1] == 2

    asyncio.run(scene())
