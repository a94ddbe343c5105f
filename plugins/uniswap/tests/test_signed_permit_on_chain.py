"""What the frame's signer says of typed data is what a contract takes: an allowance inside Permit2, by signature."""

from __future__ import annotations

import asyncio
from typing import Any

from exchange_kernel_evm.abi import Function
from exchange_kernel_evm.keys import LocalSigner
from exchange_kernel_evm.tokens import PERMIT2_ALLOWANCE
from plugins.uniswap.tests.ground import FAR, Trader, setup

PERMIT = Function.of("permit", ("address", "((address,uint160,uint48,uint48),address,uint256)", "bytes"))
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
