"""Addresses: checked by their EIP-55 checksum at the edge, and computed (CREATE2) rather than believed."""

from __future__ import annotations

from eth_utils.address import is_checksum_address, to_checksum_address
from eth_utils.crypto import keccak

from exchange_kernel.errors import ConfigError, FieldError

__all__ = ["NATIVE", "address", "as_bytes", "contract_at", "ordered"]

NATIVE = "0x0000000000000000000000000000000000000000"
"""How Uniswap v4 writes the chain's own coin (ETH)."""


def address(field: str, value: object, error: type[FieldError] = ConfigError) -> str:
    """``value`` if it is an address in EIP-55 form; a single mistyped character breaks the checksum.

    :raises ConfigError: (or ``error``) naming ``field`` and the rule. Lower case is refused: it carries no checksum.
    """
    if not isinstance(value, str) or len(value) != 42 or not value.startswith("0x"):
        raise error(field, value, "is not an address", "write 0x and 40 hexadecimal digits")
    try:
        int(value[2:], 16)
    except ValueError:
        raise error(field, value, "has characters that are not hexadecimal digits") from None
    if not is_checksum_address(value):
        raise error(field, value, "does not have a valid EIP-55 checksum", "copy it in its mixed-case form")
    return value


def as_bytes(one: str) -> bytes:
    """The 20 bytes of a checked address."""
    return bytes.fromhex(one[2:])


def ordered(one: str, other: str) -> tuple[str, str]:
    """Both in the order every pool keeps its tokens: by number, so the native coin is always first."""
    return (one, other) if as_bytes(one) < as_bytes(other) else (other, one)


def contract_at(deployer: str, salt: bytes, code_hash: bytes) -> str:
    """Address of a contract made by CREATE2 (EIP-1014)."""
    return to_checksum_address(keccak(b"\xff" + as_bytes(deployer) + salt + code_hash)[12:])
