"""Calldata from a function's signature."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from eth_abi.abi import decode, encode
from eth_utils.crypto import keccak

__all__ = ["calldata", "read"]


@cache
def _parsed(signature: str) -> tuple[bytes, tuple[str, ...]]:
    inside = signature[signature.index("(") + 1 : -1]
    types, depth, word = [], 0, ""
    for letter in inside:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and not depth:
            types.append(word)
            word = ""
        else:
            word += letter
    return keccak(text=signature)[:4], (*types, word) if word else ()


def calldata(signature: str, *arguments: object) -> bytes:
    """The calldata of `transfer(address,uint256)` and the like; tuples are written `(address,uint24)`."""
    selector, types = _parsed(signature)
    return selector + encode(types, arguments)


def read(types: Sequence[str], data: bytes) -> tuple[Any, ...]:
    """The values that a call returned."""
    return tuple(decode(types, data))
