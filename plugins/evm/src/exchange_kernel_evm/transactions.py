"""Transactions: built, signed, read back. The hash is known before anything is sent, and the bytes never change again.

A transaction of ours carries its order's key at the end of its calldata, where contracts do not look: 32 bytes, the
first 16 the same for everybody (:data:`TAG_PREFIX`), the last 16 the key. So a kernel that lost its database finds its
own orders on the chain, and a test counts the transactions of one key.
"""

from __future__ import annotations

from typing import Any

import rlp  # type: ignore[import-untyped]
from coincurve import PublicKey
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from exchange_kernel.value import Value
from exchange_kernel.venue import Key

__all__ = [
    "CANCEL_GAS",
    "TAG_GAS",
    "TAG_PREFIX",
    "Transaction",
    "Unsigned",
    "decode",
    "hash_of",
    "key_of",
    "self_transfer",
    "tag",
    "untagged",
]

TAG_PREFIX = keccak(b"exchange-kernel order tag 1")[:16]
"""The first half of every tag. The number at its end changes if the meaning of the second half ever does."""
TAG_GAS = 32 * 40
"""The most that a tag adds to a transaction's gas: 32 bytes at the floor price of calldata (EIP-7623)."""
CANCEL_GAS = 21_000
"""Gas of a transfer without calldata (yellow paper, G_transaction)."""
KEY_BYTES = 16
HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
"""Of secp256k1 (EIP-2)."""
_DYNAMIC_FEE = 2
_FIELDS = 12


class Unsigned(Value, frozen=True):
    """An EIP-1559 transaction to be signed. ``value`` and fees in wei; ``to`` with its checksum."""

    chain_id: int
    nonce: int
    to: str
    value: int
    data: bytes
    gas: int
    max_fee: int
    tip: int

    def fields(self) -> dict[str, Any]:
        """As eth-account, and every JSON-RPC signer, takes it."""
        return {
            "type": _DYNAMIC_FEE,
            "chainId": self.chain_id,
            "nonce": self.nonce,
            "to": self.to,
            "value": self.value,
            "data": self.data,
            "gas": self.gas,
            "maxFeePerGas": self.max_fee,
            "maxPriorityFeePerGas": self.tip,
        }

    def digest(self) -> bytes:
        """What is signed: the hash of its fields (EIP-1559)."""
        return keccak(bytes([_DYNAMIC_FEE]) + rlp.encode(self._rows()))

    def signed(self, parity: int, r: int, s: int) -> bytes:
        """The transaction's bytes, with a signature of :meth:`digest`."""
        return bytes([_DYNAMIC_FEE]) + bytes(rlp.encode([*self._rows(), parity, r, s]))

    def _rows(self) -> list[Any]:
        to, data = bytes.fromhex(self.to[2:]), self.data
        return [self.chain_id, self.nonce, self.tip, self.max_fee, self.gas, to, self.value, data, []]


class Transaction(Value, frozen=True):
    """A signed transaction, read from its bytes. ``sender`` is recovered from the signature."""

    unsigned: Unsigned
    sender: str
    hash: str
    raw: bytes

    @property
    def key(self) -> Key | None:
        """The key of the order it is for, from its tag; None for a transaction without one."""
        return key_of(self.unsigned.data)


def hash_of(raw: bytes) -> str:
    """The hash of a signed transaction, 0x and lower case."""
    return "0x" + keccak(raw).hex()


def tag(key: Key) -> bytes:
    """The 32 bytes that end the calldata of this key's transactions. Raises ValueError for a key of another length."""
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key has {KEY_BYTES} bytes, this one {len(key)}")
    return TAG_PREFIX + key


def key_of(data: bytes) -> Key | None:
    """The key in calldata's tag, or None."""
    end = data[-2 * KEY_BYTES :]
    return end[KEY_BYTES:] if len(end) == 2 * KEY_BYTES and end.startswith(TAG_PREFIX) else None


def untagged(data: bytes) -> bytes:
    """Calldata without its tag."""
    return data[: -2 * KEY_BYTES] if key_of(data) is not None else data


def self_transfer(chain_id: int, nonce: int, address: str, max_fee: int, tip: int, key: Key | None = None) -> Unsigned:
    """What uses up a number and does nothing else: nothing sent to oneself. ``key``: of the order it cancels."""
    data = b"" if key is None else tag(key)
    return Unsigned(chain_id, nonce, address, 0, data, CANCEL_GAS + (TAG_GAS if data else 0), max_fee, tip)


def decode(raw: bytes) -> Transaction:
    """A signed EIP-1559 transaction. Raises ValueError for bytes that are none, or not signed as they stand."""
    if not raw or raw[0] != _DYNAMIC_FEE:
        raise ValueError("not an EIP-1559 transaction")
    try:
        rows = rlp.decode(raw[1:], strict=True)
    except rlp.exceptions.RLPException as error:
        raise ValueError(f"not whole: {type(error).__name__}") from None
    if (
        not isinstance(rows, list)
        or len(rows) != _FIELDS
        or any(not isinstance(r, bytes) for r in (*rows[:8], *rows[9:]))
    ):
        raise ValueError("not the fields of an EIP-1559 transaction")
    chain, nonce, tip, fee, gas = (int.from_bytes(part, "big") for part in rows[:5])
    to, value, data = rows[5], int.from_bytes(rows[6], "big"), rows[7]
    if len(to) != 20 or rows[8]:
        raise ValueError("creates a contract, or has an access list: none of ours does")
    unsigned = Unsigned(chain, nonce, to_checksum_address(to), value, data, gas, fee, tip)
    parity, r, s = (int.from_bytes(part, "big") for part in rows[9:])
    if parity > 1 or max(r, s) >= 1 << 256 or unsigned.signed(parity, r, s) != raw:
        raise ValueError("not written as a node would write it")
    return Transaction(unsigned, _signer(unsigned, parity, r, s), hash_of(raw), raw)


def _signer(unsigned: Unsigned, parity: int, r: int, s: int) -> str:
    """Whose signature it is. Raises ValueError for none, and for its twin with a high s, which nodes refuse."""
    if not 0 < s <= HALF_ORDER:
        raise ValueError("its signature is none: s is out of range (EIP-2)")
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big") + bytes([parity])
    try:
        public = PublicKey.from_signature_and_message(signature, unsigned.digest(), hasher=None)
    except Exception as error:  # noqa: BLE001 - the library raises bare Exceptions, too
        raise ValueError(f"its signature is none: {type(error).__name__}") from None
    return to_checksum_address(keccak(public.format(compressed=False)[1:])[-20:])
