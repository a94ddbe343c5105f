"""ERC-20 tokens: what is read of them, how an allowance is set, and what a transaction really moved.

Tokens differ from the standard in ways that cost money: some take a part of each transfer, some must have an allowance
set to zero before it is changed, some return nothing. Nothing here trusts what a transfer was asked to move.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal

from eth_utils.address import to_checksum_address

from exchange_kernel.errors import InvalidMetadata, InvalidOrder, Unavailable
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.value import Value
from exchange_kernel_evm.abi import Event, Function
from exchange_kernel_evm.endpoint import Request
from exchange_kernel_evm.multicall import Result

__all__ = [
    "ALLOWANCE",
    "APPROVE",
    "BALANCE_OF",
    "DECIMALS",
    "MAX_UINT160",
    "MAX_UINT256",
    "PERMIT2_ALLOWANCE",
    "PERMIT2_APPROVE",
    "SYMBOL",
    "TRANSFER",
    "Allow",
    "Approval",
    "Token",
    "approval_steps",
    "described",
    "net_transfers",
    "permit2_steps",
    "to_amount",
    "to_units",
    "transfer_tax",
    "transfer_tax_request",
]

BALANCE_OF = Function.of("balanceOf", ["address"], ["uint256"])
ALLOWANCE = Function.of("allowance", ["address", "address"], ["uint256"])
DECIMALS = Function.of("decimals", [], ["uint8"])
SYMBOL = Function.of("symbol", [], ["string"])
APPROVE = Function.of("approve", ["address", "uint256"], ["bool"])
TRANSFER_CALL = Function.of("transfer", ["address", "uint256"], ["bool"])
PERMIT2_APPROVE = Function.of("approve", ["address", "address", "uint160", "uint48"])
PERMIT2_ALLOWANCE = Function.of("allowance", ["address", "address", "address"], ["uint160", "uint48", "uint48"])
TRANSFER = Event.of("Transfer(address,address,uint256)", ["address", "address"], ["uint256"])
MAX_DECIMALS = 36
MAX_UINT256, MAX_UINT160 = 2**256 - 1, 2**160 - 1


class Token(Value, frozen=True):
    """A token by address, never by symbol: anybody may name a token as they like. ``asset``: its name in this account.

    ``reset_first``: an allowance must be 0 before it is changed (USDT on mainnet).
    """

    address: str
    asset: str
    decimals: int
    reset_first: bool = False


class Allow(Value, frozen=True):
    """How far a spender is trusted: ``exact``: what is needed now; ``bounded``: up to ``bound`` units ahead of that."""

    how: Literal["exact", "bounded"] = "exact"
    bound: int = 0


class Approval(Value, frozen=True):
    """One transaction that changes an allowance: ``to`` is called with ``data``; afterwards ``amount`` units may go."""

    to: str
    data: bytes
    amount: int
    note: str


def to_units(field: str, amount: Decimal, decimals: int) -> int:
    """An amount in the token's smallest units. Raises InvalidOrder for one that is finer than they are."""
    units = EXACT.scaleb(amount, decimals)
    whole = int(units)
    if whole != units:
        raise InvalidOrder(field, amount, f"is finer than {decimals} decimals")
    return whole


def to_amount(units: int, decimals: int) -> Decimal:
    """Units as an amount."""
    return EXACT.scaleb(Decimal(units), -decimals)


def described(token: Token, decimals: Result, code: str) -> None:
    """Is the token what the configuration says? Raises InvalidMetadata for no contract, or other decimals."""
    if code in ("", "0x"):
        raise InvalidMetadata("token", token.address, "there is no contract")
    if decimals.values is None or decimals.values[0] != token.decimals or token.decimals > MAX_DECIMALS:
        found = "none" if decimals.values is None else decimals.values[0]
        raise InvalidMetadata("token", token.address, f"has {found} decimals, not {token.decimals}")


def approval_steps(token: Token, spender: str, current: int, need: int, allow: Allow = Allow()) -> tuple[Approval, ...]:  # noqa: B008 - frozen
    """What makes ``spender`` able to take ``need`` units: nothing, one approval, or a reset and one."""
    if current >= need:
        return ()
    amount = max(need, allow.bound) if allow.how == "bounded" else need
    final = Approval(token.address, APPROVE.call(spender, amount), amount, f"approve {token.asset}")
    if current and token.reset_first:
        return Approval(token.address, APPROVE.call(spender, 0), 0, f"reset the allowance of {token.asset}"), final
    return (final,)


def permit2_steps(
    token: Token,
    permit2: str,
    spender: str,
    current: tuple[int, int],
    need: int,
    until_s: int,
    allow: Allow = Allow(),  # noqa: B008 - frozen
) -> tuple[Approval, ...]:
    """The same through Permit2, whose own allowance of the token is another matter (:func:`approval_steps`).

    ``current``: its allowance and when that ends, seconds; ``until_s``: until when it must hold, seconds.
    """
    amount, expires = current
    if amount >= need and expires >= until_s:
        return ()
    wanted = min(max(need, allow.bound) if allow.how == "bounded" else need, MAX_UINT160)
    data = PERMIT2_APPROVE.call(token.address, spender, wanted, until_s)
    return (Approval(permit2, data, wanted, f"approve {token.asset} through Permit2"),)


def net_transfers(logs: Sequence[Mapping[str, Any]], address: str) -> dict[str, int]:
    """What a transaction's logs say it moved to (+) and from (-) an address: units by token address.

    Of what left, less may have arrived elsewhere; of what was to come, only what did is in here.
    """
    net: dict[str, int] = defaultdict(int)
    for log in logs:
        found = TRANSFER.read(log)
        if found is None or log.get("removed"):
            continue
        sender, receiver, units = found
        token = to_checksum_address(log["address"])
        if to_checksum_address(receiver) == address:
            net[token] += units
        if to_checksum_address(sender) == address:
            net[token] -= units
    return {token: units for token, units in net.items() if units}


def transfer_tax_request(token: Token, holder: str, probe: str, units: int, block: object = "latest") -> Request:
    """A simulation in which ``holder`` sends ``units`` to ``probe``; nothing is signed and nothing happens.

    ``holder`` is any address that has as much: the account, a pool. For :func:`transfer_tax`.
    """

    def call(function: Function, *arguments: Any) -> dict[str, Any]:
        return {"from": holder, "to": token.address, "input": "0x" + function.call(*arguments).hex()}

    balance = call(BALANCE_OF, probe)
    calls = [balance, call(TRANSFER_CALL, probe, units), balance]
    return "eth_simulateV1", [{"blockStateCalls": [{"calls": calls}], "validation": False}, block]


def transfer_tax(answer: Any, units: int) -> int:
    """Units that a transfer of ``units`` lost on the way; 0 for an honest token.

    Raises InvalidMetadata where the transfer reverts, Unavailable where the node cannot simulate.
    """
    try:
        before, moved, after = answer[0]["calls"]
        if int(moved["status"], 16) != 1:
            raise InvalidMetadata("token", "transfer", "reverts: the token moves nothing, or its holder has too little")
        (had,), (has,) = (BALANCE_OF.result(bytes.fromhex(each["returnData"][2:])) for each in (before, after))
    except (KeyError, TypeError, ValueError, IndexError):
        raise Unavailable(f"a node did not simulate a transfer: {answer}"[:300]) from None
    return units - int(has - had)
