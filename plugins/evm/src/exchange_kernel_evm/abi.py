"""Calls and answers of contracts, encoded by eth-abi from the fragments that are used: no contract's whole ABI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eth_abi.abi import decode as _decode
from eth_abi.abi import encode as _encode
from eth_abi.exceptions import DecodingError
from eth_utils.address import is_address, is_checksum_address, to_checksum_address
from eth_utils.crypto import keccak

from exchange_kernel.errors import ConfigError, Unavailable
from exchange_kernel.value import Value

__all__ = ["Event", "Function", "checked_address", "revert_reason"]

_ERROR_TEXT = bytes.fromhex("08c379a0")  # Error(string)
_PANIC = bytes.fromhex("4e487b71")  # Panic(uint256)


class Function(Value, frozen=True):
    """One function: ``name``, and the ABI types of what it takes and returns."""

    name: str
    takes: tuple[str, ...]
    returns: tuple[str, ...]
    selector: bytes

    @classmethod
    def of(cls, name: str, takes: Sequence[str] = (), returns: Sequence[str] = ()) -> Function:
        """With its selector."""
        return cls(name, tuple(takes), tuple(returns), keccak(text=f"{name}({','.join(takes)})")[:4])

    def call(self, *values: Any) -> bytes:
        """Calldata."""
        return self.selector + _encode(self.takes, values)

    def arguments(self, data: bytes) -> tuple[Any, ...] | None:
        """What calldata passes; None if it calls something else. What follows the arguments is not looked at."""
        if not data.startswith(self.selector):
            return None
        try:
            return _decode(self.takes, data[4:], strict=False)
        except DecodingError:
            return None

    def result(self, data: bytes) -> tuple[Any, ...]:
        """What an answer returns. Raises Unavailable for data that is no such answer."""
        try:
            return _decode(self.returns, data)
        except (DecodingError, OverflowError):
            raise Unavailable(f"{self.name} answered {len(data)} bytes that are not {self.returns}") from None


class Event(Value, frozen=True):
    """One event: ``indexed`` types are in the topics, ``rest`` in the data."""

    topic: str
    indexed: tuple[str, ...]
    rest: tuple[str, ...]

    @classmethod
    def of(cls, signature: str, indexed: Sequence[str], rest: Sequence[str]) -> Event:
        """``signature``: as in ``Transfer(address,address,uint256)``."""
        return cls("0x" + keccak(text=signature).hex(), tuple(indexed), tuple(rest))

    def read(self, log: Any) -> tuple[Any, ...] | None:
        """The indexed values, then the others; None for a log of another event or shape."""
        topics = log.get("topics") or ()
        if not topics or topics[0].lower() != self.topic or len(topics) != 1 + len(self.indexed):
            return None
        try:
            found = [_decode([kind], bytes.fromhex(t[2:]))[0] for kind, t in zip(self.indexed, topics[1:], strict=True)]
            return (*found, *_decode(self.rest, bytes.fromhex(log["data"][2:])))
        except (DecodingError, ValueError):
            return None


def checked_address(field: str, value: object) -> str:
    """An address as configured, with its checksum. All lower case is accepted. Raises ConfigError."""
    if not isinstance(value, str) or not value.startswith("0x") or not is_address(value):
        raise ConfigError(field, value, "is no address: 0x and 40 hexadecimal digits")
    if value != value.lower() and not is_checksum_address(value):
        raise ConfigError(field, value, "has a wrong checksum", "copy it again, or write it in lower case")
    return to_checksum_address(value)


def revert_reason(data: bytes | None) -> str:
    """Why a call reverted, as far as its data tells."""
    if not data:
        return "no reason given"
    try:
        if data.startswith(_ERROR_TEXT):
            return str(_decode(["string"], data[4:])[0])[:200]
        if data.startswith(_PANIC):
            return f"panic 0x{_decode(['uint256'], data[4:])[0]:02x}"
    except (DecodingError, OverflowError, UnicodeDecodeError):
        pass
    return f"error 0x{data[:4].hex()}"
