"""Swaps that the router itself executes at most once: ``executeSigned`` of the Universal Router 2.1.

The account signs the commands with a nonce that is a function of the order's key. The router keeps the nonces it has
seen, by signer, and refuses the second transaction with one of them, whatever its number and whoever made it: also that
of a second kernel with a copy of the database. Source: universal-router 2.1 ``base/RouteSigner.sol``.
"""

from __future__ import annotations

from eth_utils.crypto import keccak

from exchange_kernel.value import revised
from exchange_kernel.venue import Key
from exchange_kernel_evm.abi import Function
from exchange_kernel_evm.venue import Typed
from exchange_kernel_uniswap.deployment import Deployment
from exchange_kernel_uniswap.drafts import Draft
from exchange_kernel_uniswap.permit2 import BLANK
from exchange_kernel_uniswap.universal_router import EXECUTE

__all__ = ["EXECUTE_SIGNED", "NONCES_USED", "SIGNED_GAS", "nonce_of", "once"]

EXECUTE_SIGNED = Function.of(
    "executeSigned", ("bytes", "bytes[]", "bytes32", "bytes32", "bool", "bytes32", "bytes", "uint256")
)
NONCES_USED = Function.of("noncesUsed", ("address", "bytes32"), ("bool",))
SIGNED_GAS = 50_000
"""What the signature's check and the nonce's slot use at most, besides the swap."""
_NO_INTENT = bytes(32)
_FIELDS = (
    ("commands", "bytes"),
    ("inputs", "bytes[]"),
    ("intent", "bytes32"),
    ("data", "bytes32"),
    ("sender", "address"),
    ("nonce", "bytes32"),
    ("deadline", "uint256"),
)
_DOMAIN = (("name", "string"), ("version", "string"), ("chainId", "uint256"), ("verifyingContract", "address"))


def nonce_of(key: Key) -> bytes:
    """The router's nonce of an order."""
    return keccak(b"exchange-kernel order 1" + key)


def once(at: Deployment, draft: Draft, key: Key, account: str) -> tuple[Draft, Typed]:
    """The same swap with the account's signature, which is still to be made, and only for a transaction of its own."""
    found = EXECUTE.arguments(draft.data)
    assert found is not None
    codes, inputs, deadline = found
    nonce = nonce_of(key)
    data = EXECUTE_SIGNED.call(codes, inputs, _NO_INTENT, _NO_INTENT, True, nonce, BLANK, deadline)
    message = {
        "types": {
            "EIP712Domain": [{"name": name, "type": kind} for name, kind in _DOMAIN],
            "ExecuteSigned": [{"name": name, "type": kind} for name, kind in _FIELDS],
        },
        "primaryType": "ExecuteSigned",
        "domain": {
            "name": "UniversalRouter",
            "version": "2",
            "chainId": at.chain_id,
            "verifyingContract": at.universal_router,
        },
        "message": {
            "commands": codes,
            "inputs": list(inputs),
            "intent": _NO_INTENT,
            "data": _NO_INTENT,
            "sender": account,
            "nonce": nonce,
            "deadline": deadline,
        },
    }
    return revised(draft, data=data, gas=draft.gas + SIGNED_GAS), Typed(message, data.index(BLANK))
