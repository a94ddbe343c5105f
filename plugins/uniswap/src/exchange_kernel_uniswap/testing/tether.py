"""A token with Tether's two manners: its calls return nothing, and an allowance changes only from or to zero.

It is a few instructions in front of an ordinary token's code, assembled here because no package carries them compiled.
"""

from __future__ import annotations

from typing import Final

from eth_utils.crypto import keccak

__all__ = ["tether_like"]

_OPS: Final = {
    "STOP": 0x00, "EQ": 0x14, "ISZERO": 0x15, "OR": 0x17, "SHR": 0x1C, "ADDRESS": 0x30, "CALLER": 0x33,
    "CALLDATALOAD": 0x35, "CALLDATASIZE": 0x36, "CALLDATACOPY": 0x37, "RETURNDATASIZE": 0x3D, "RETURNDATACOPY": 0x3E,
    "POP": 0x50, "MLOAD": 0x51, "MSTORE": 0x52, "JUMPI": 0x57, "GAS": 0x5A, "JUMPDEST": 0x5B, "DUP1": 0x80,
    "RETURN": 0xF3, "DELEGATECALL": 0xF4, "STATICCALL": 0xFA, "REVERT": 0xFD,
}  # fmt: skip


def _selector(signature: str) -> str:
    return "0x" + keccak(text=signature)[:4].hex()


def tether_like(token: str) -> bytes:
    """The runtime code that stands in front of the token code at this address, with the storage of its own address."""
    approve = _selector("approve(address,uint256)")
    program = f"""
        0x00 CALLDATALOAD 0xe0 SHR
        DUP1 {approve} EQ ISZERO @forward JUMPI
        0x24 CALLDATALOAD ISZERO @forward JUMPI
        {_selector("allowance(address,address)")} 0x00 MSTORE
        CALLER 0x20 MSTORE  0x04 CALLDATALOAD 0x40 MSTORE
        0x20 0x60 0x44 0x1c ADDRESS GAS STATICCALL POP
        0x60 MLOAD @refuse JUMPI
        :forward
        CALLDATASIZE 0x00 0x00 CALLDATACOPY
        0x00 0x00 CALLDATASIZE 0x00 {token.lower()} GAS DELEGATECALL
        RETURNDATASIZE 0x00 0x00 RETURNDATACOPY
        ISZERO @failed JUMPI
        DUP1 {approve} EQ @silent JUMPI
        DUP1 {_selector("transfer(address,uint256)")} EQ @silent JUMPI
        DUP1 {_selector("transferFrom(address,address,uint256)")} EQ @silent JUMPI
        RETURNDATASIZE 0x00 RETURN
        :failed RETURNDATASIZE 0x00 REVERT
        :silent STOP
        :refuse 0x00 0x00 REVERT
    """
    code = bytearray()
    places: dict[str, int] = {}
    wanted: dict[int, str] = {}
    for word in program.split():
        if word.startswith("0x"):
            literal = bytes.fromhex(word[2:])
            code += bytes([0x5F + len(literal)]) + literal
        elif word.startswith("@"):
            wanted[len(code) + 1] = word[1:]
            code += b"\x61\x00\x00"
        elif word.startswith(":"):
            places[word[1:]] = len(code)
            code.append(_OPS["JUMPDEST"])
        else:
            code.append(_OPS[word])
    for at, label in wanted.items():
        code[at : at + 2] = places[label].to_bytes(2, "big")
    return bytes(code)
