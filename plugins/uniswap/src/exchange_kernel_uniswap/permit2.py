"""Permit2: an allowance for the Universal Router, signed off the chain and sent with the swap it is for.

Source: permit2 ``libraries/PermitHash.sol``, ``interfaces/IAllowanceTransfer.sol``. It saves the second approval
transaction; the first (the token to Permit2) is still needed once.
"""

from __future__ import annotations

from typing import Any

from eth_abi.abi import encode
from eth_utils.crypto import keccak

from exchange_kernel.value import Value
from exchange_kernel_uniswap.deployment import Deployment

__all__ = ["BLANK", "PermitSingle"]

BLANK = (keccak(text="a signature") * 3)[:65]
"""Stands in calldata where a signature is to be."""

_DOMAIN_TYPE = keccak(text="EIP712Domain(string name,uint256 chainId,address verifyingContract)")
_DETAILS = "PermitDetails(address token,uint160 amount,uint48 expiration,uint48 nonce)"
_DETAILS_TYPE = keccak(text=_DETAILS)
_SINGLE_TYPE = keccak(text=f"PermitSingle(PermitDetails details,address spender,uint256 sigDeadline){_DETAILS}")


class PermitSingle(Value, frozen=True):
    """``spender`` may take ``amount`` units of ``token`` until ``expiration``; the signature itself is good until
    ``deadline`` (both unix seconds). ``nonce``: Permit2's own, of (owner, token, spender), as its allowance shows."""

    token: str
    spender: str
    amount: int
    expiration: int
    nonce: int
    deadline: int

    def digest(self, at: Deployment) -> bytes:
        """The 32 bytes to sign (EIP-712)."""
        name = keccak(text="Permit2")
        domain = keccak(
            encode(("bytes32", "bytes32", "uint256", "address"), (_DOMAIN_TYPE, name, at.chain_id, at.permit2))
        )
        details = keccak(
            encode(
                ("bytes32", "address", "uint160", "uint48", "uint48"),
                (_DETAILS_TYPE, self.token, self.amount, self.expiration, self.nonce),
            )
        )
        types = ("bytes32", "bytes32", "address", "uint256")
        struct = keccak(encode(types, (_SINGLE_TYPE, details, self.spender, self.deadline)))
        return keccak(b"\x19\x01" + domain + struct)

    def typed_data(self, at: Deployment) -> dict[str, Any]:
        """The same as EIP-712 JSON, for signers that want to show what they sign."""
        kinds = {
            "EIP712Domain": (("name", "string"), ("chainId", "uint256"), ("verifyingContract", "address")),
            "PermitSingle": (("details", "PermitDetails"), ("spender", "address"), ("sigDeadline", "uint256")),
            "PermitDetails": (
                ("token", "address"),
                ("amount", "uint160"),
                ("expiration", "uint48"),
                ("nonce", "uint48"),
            ),
        }
        details = {"token": self.token, "amount": self.amount, "expiration": self.expiration, "nonce": self.nonce}
        return {
            "types": {name: [{"name": n, "type": t} for n, t in fields] for name, fields in kinds.items()},
            "primaryType": "PermitSingle",
            "domain": {"name": "Permit2", "chainId": at.chain_id, "verifyingContract": at.permit2},
            "message": {"details": details, "spender": self.spender, "sigDeadline": self.deadline},
        }

    def signed(self, signature: bytes) -> tuple[tuple[tuple[str, int, int, int], str, int], bytes]:
        """With its 65-byte signature, as the router's command takes it."""
        return ((self.token, self.amount, self.expiration, self.nonce), self.spender, self.deadline), signature
