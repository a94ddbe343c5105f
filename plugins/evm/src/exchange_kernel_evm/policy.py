"""What may be signed at all, asked before every signature. Whatever goes wrong above, the damage ends here.

The rules look at the transaction itself, not at what somebody says it is for: its calldata is decoded.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from eth_utils.address import to_checksum_address

from exchange_kernel.errors import OrderRefused, shown
from exchange_kernel.value import Value
from exchange_kernel.venue import Ms
from exchange_kernel_evm.spending import MemorySpending, Spending
from exchange_kernel_evm.transactions import Unsigned, untagged

__all__ = ["Guard", "Policy", "PolicyRefused", "spender_of"]

DAY_MS = 86_400_000
_APPROVE = bytes.fromhex("095ea7b3")  # approve(address spender, uint256 amount)
_INCREASE = bytes.fromhex("39509351")  # increaseAllowance(address spender, uint256 added)
_PERMIT2_APPROVE = bytes.fromhex("87517c45")  # approve(address token, address spender, uint160, uint48)
_APPROVE_ALL = bytes.fromhex("a22cb465")  # setApprovalForAll(address operator, bool approved)
_MOVES = {
    bytes.fromhex("a9059cbb"): "transfer",
    bytes.fromhex("23b872dd"): "transferFrom",
    bytes.fromhex("36c78516"): "Permit2 transferFrom",
    bytes.fromhex("42842e0e"): "safeTransferFrom",
    bytes.fromhex("b88d4fde"): "safeTransferFrom",
}
_WORD = 32


class PolicyRefused(OrderRefused):
    """The policy in front of the signer forbids it, and nothing was signed. ``field``, ``value``, ``rule``."""

    def __init__(self, field: str, value: object, rule: str) -> None:
        self.field, self.value, self.rule = field, shown(value), rule
        super().__init__(f"policy: {field} {self.value}: {rule}", code="POLICY", why="risk")


class Policy(Value, frozen=True):
    """What one address may sign.

    ``contracts``: may be called. ``tokens``: may be called too, but only to approve one of ``spenders``. Addresses have
    their checksums. ``max_value``, ``max_value_per_day``: wei of the native currency, for one transaction and for a UTC
    day; ``max_fee_per_gas``: wei; ``max_fee``: wei for one transaction's gas. None: no limit.
    """

    chain_id: int
    contracts: frozenset[str] = frozenset()
    tokens: frozenset[str] = frozenset()
    spenders: frozenset[str] = frozenset()
    max_value: int | None = None
    max_value_per_day: int | None = None
    max_fee_per_gas: int | None = None
    max_fee: int | None = None


class Guard:
    """A policy at work for one session: it adds up what the day's signed transactions may send."""

    def __init__(self, policy: Policy, address: str, spending: Spending | None = None) -> None:
        self.policy, self.address = policy, address
        self._spending = MemorySpending() if spending is None else spending
        self._one_at_a_time = asyncio.Lock()

    async def admit(self, tx: Unsigned, now: Ms) -> None:
        """It is about to be signed: it is checked, and its value counts from here on, durably. Raises PolicyRefused."""
        async with self._one_at_a_time:
            if self.policy.max_value_per_day is None:
                self.check(tx, now)
            else:
                await asyncio.to_thread(self._count, tx, now)

    def _count(self, tx: Unsigned, now: Ms) -> None:
        self.check(tx, now)
        day = now // DAY_MS
        try:
            spent = dict(self._spending.read(day))
            spent[tx.nonce] = max(tx.value, spent.get(tx.nonce, 0))
            self._spending.write(day, spent)
        except (OSError, ValueError) as error:
            raise PolicyRefused("value of the day", tx.value, f"its sum cannot be kept: {error}") from None

    def check(self, tx: Unsigned, now: Ms) -> None:
        """Raises PolicyRefused for a transaction that may not be signed. Changes nothing."""
        policy = self.policy
        if tx.chain_id != policy.chain_id:
            raise PolicyRefused("chain", tx.chain_id, f"only chain {policy.chain_id}")
        self._check_call(tx)
        if policy.max_value is not None and tx.value > policy.max_value:
            raise PolicyRefused("value", tx.value, f"at most {policy.max_value} wei in one transaction")
        if policy.max_fee_per_gas is not None and tx.max_fee > policy.max_fee_per_gas:
            raise PolicyRefused("max_fee_per_gas", tx.max_fee, f"at most {policy.max_fee_per_gas} wei")
        if policy.max_fee is not None and tx.max_fee * tx.gas > policy.max_fee:
            raise PolicyRefused("fee", tx.max_fee * tx.gas, f"at most {policy.max_fee} wei for one transaction's gas")
        if policy.max_value_per_day is not None:
            try:
                spent = self._spending.read(now // DAY_MS)
            except (OSError, ValueError) as error:
                raise PolicyRefused("value of the day", tx.value, f"its sum cannot be read: {error}") from None
            total = sum(value for nonce, value in spent.items() if nonce != tx.nonce) + tx.value
            if total > policy.max_value_per_day:
                raise PolicyRefused("value of the day", total, f"at most {policy.max_value_per_day} wei in a UTC day")

    def check_typed(self, message: Mapping[str, Any]) -> None:
        """EIP-712 data: of this chain, no permit for a spender that is not allowed, and nothing that somebody else may
        hand in. Raises PolicyRefused."""
        domain = message.get("domain", {})
        if domain.get("chainId") != self.policy.chain_id:
            raise PolicyRefused("domain.chainId", domain.get("chainId"), f"only chain {self.policy.chain_id}")
        contract = str(domain.get("verifyingContract", ""))
        if contract not in self.policy.contracts | self.policy.tokens:
            raise PolicyRefused("domain.verifyingContract", contract, "is not an allowed contract")
        inner = message.get("message", {})
        if "sender" in inner and inner["sender"] != self.address:
            raise PolicyRefused("sender", inner["sender"], f"only {self.address} may hand it in")
        if "spender" in inner and inner["spender"] not in self.policy.spenders:
            raise PolicyRefused("spender", inner["spender"], "is not an allowed spender")

    def _check_call(self, tx: Unsigned) -> None:
        policy, data = self.policy, untagged(tx.data)
        if tx.to == self.address:
            if tx.value or data:
                raise PolicyRefused("to", tx.to, "to oneself only nothing may be sent")
            return
        if tx.to not in policy.contracts and tx.to not in policy.tokens:
            raise PolicyRefused("to", tx.to, "is not an allowed contract")
        moves = _MOVES.get(data[:4])
        if moves is not None:
            raise PolicyRefused("call", moves, "moves assets off the account, which no order does")
        spender = spender_of(data)
        if spender is not None:
            if spender not in policy.spenders:
                raise PolicyRefused("spender", spender, "is not an allowed spender")
        elif tx.to not in policy.contracts:
            raise PolicyRefused("call", "0x" + data[:4].hex(), f"of the token {tx.to}: only approvals are allowed")
        if tx.value and tx.to not in policy.contracts:
            raise PolicyRefused("value", tx.value, f"the token {tx.to} is sent nothing")


def spender_of(data: bytes) -> str | None:
    """Whom this calldata lets spend a token; None if it is no approval. Raises PolicyRefused where it is cut short."""
    place = {_APPROVE: 0, _INCREASE: 0, _PERMIT2_APPROVE: 1, _APPROVE_ALL: 0}.get(data[:4])
    if place is None:
        return None
    word = data[4 + place * _WORD : 4 + (place + 1) * _WORD]
    if len(word) != _WORD or any(word[:12]):
        raise PolicyRefused("spender", "0x" + word.hex(), "is no address")
    return to_checksum_address(word[12:])
