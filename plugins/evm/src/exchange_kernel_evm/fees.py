"""What gas costs: estimates, replacements, and what is stuck. Pure: from numbers a node gave, in wei."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from exchange_kernel.errors import OrderRefused, Unavailable
from exchange_kernel.value import Value

__all__ = [
    "REWARD_PERCENTILE",
    "FeeTooHigh",
    "Fees",
    "Limits",
    "estimate",
    "gas_cost",
    "history_request",
    "is_stuck",
    "read_history",
    "replace",
]

BLOCKS = 10
REWARD_PERCENTILE = 50
"""Of the gas in a block, the share that paid less."""
BUMP_NUMERATOR, BUMP_DENOMINATOR = 1125, 1000
"""A replacement pays an eighth more, rounded up. geth and nethermind ask for a tenth of BOTH fees (geth
core/txpool/legacypool/list.go, PriceBump 10), and reth has refused exactly a tenth (reth issue 13160)."""
HEADROOM = 2
"""The cap is this many base fees: five full blocks raise it by less than 1.81 (EIP-1559, 12.5 % each)."""
STUCK_BLOCKS = 3


class Fees(Value, frozen=True):
    """EIP-1559 fees in wei per gas: ``max_fee`` is the cap of everything, ``tip`` of the part for the proposer."""

    max_fee: int
    tip: int


class Limits(Value, frozen=True):
    """The most anybody is willing to pay, and the least tip that is offered: wei per gas."""

    max_fee: int = 500 * 10**9
    max_tip: int = 20 * 10**9
    min_tip: int = 10**6


class History(Value, frozen=True):
    """What ``eth_feeHistory`` told: the base fee of the next block, and tips that were paid. Wei per gas."""

    next_base_fee: int
    tips: tuple[int, ...]


class FeeTooHigh(OrderRefused):
    """The chain asks for more than the account is willing to pay."""

    def __init__(self, what: str, needed: int, limit: int) -> None:
        super().__init__(
            f"{what}: {needed} wei per gas are needed, the account's limit is {limit}", code="FEE", why="risk"
        )
        self.needed, self.limit = needed, limit


def history_request() -> tuple[str, list[Any]]:
    """The read that :func:`read_history` understands."""
    return "eth_feeHistory", [hex(BLOCKS), "latest", [REWARD_PERCENTILE]]


def read_history(answer: Any) -> History:
    """Raises Unavailable for what is no answer to :func:`history_request`."""
    try:
        base = [int(each, 16) for each in answer["baseFeePerGas"]]
        used = [float(each) for each in answer["gasUsedRatio"]]
        rewards = [int(row[0], 16) for row in answer.get("reward") or ()]
        # In an empty block nobody paid anything, and its reward of 0 says nothing.
        tips = tuple(tip for tip, ratio in zip(rewards, used, strict=False) if ratio > 0)
        return History(base[-1], tips)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        raise Unavailable("a node's answer is no fee history") from None


def estimate(history: History, limits: Limits) -> Fees:
    """Fees that get into one of the next blocks. Raises FeeTooHigh where the base fee alone is beyond the limit."""
    tip = min(max(_median(history.tips), limits.min_tip), limits.max_tip)
    if history.next_base_fee + limits.min_tip > limits.max_fee:
        raise FeeTooHigh("base fee", history.next_base_fee + limits.min_tip, limits.max_fee)
    cap = min(history.next_base_fee * HEADROOM + tip, limits.max_fee)
    return Fees(cap, min(tip, cap))


def replace(old: Fees, now: Fees, limits: Limits) -> Fees:
    """Fees for a transaction that takes the place of one with ``old``: both an eighth higher, and at least ``now``.

    Raises FeeTooHigh where that is beyond the limits.
    """
    tip, cap = max(_bumped(old.tip), now.tip), max(_bumped(old.max_fee), now.max_fee)
    cap = max(cap, tip)
    if cap > limits.max_fee:
        raise FeeTooHigh("replacement", cap, limits.max_fee)
    if tip > max(limits.max_tip, limits.min_tip):
        raise FeeTooHigh("replacement's tip", tip, limits.max_tip)
    return Fees(cap, tip)


def is_stuck(fees: Fees, base_fee: int, blocks_waited: int) -> str:
    """Why a transaction in the pool will not get into a block as it is, or "". ``base_fee``: of the newest block."""
    if fees.max_fee < base_fee:
        return f"its fee cap {fees.max_fee} is below the base fee {base_fee}"
    if blocks_waited >= STUCK_BLOCKS:
        return f"it waited for {blocks_waited} blocks"
    return ""


def gas_cost(receipt: Any) -> int:
    """What a transaction paid for gas, in wei, whether it succeeded or not. Raises Unavailable."""
    try:
        return int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)
    except (KeyError, TypeError, ValueError):
        raise Unavailable("a receipt without its gas") from None


def _bumped(fee: int) -> int:
    """Strictly more, even of nothing."""
    return max(fee + 1, -(-fee * BUMP_NUMERATOR // BUMP_DENOMINATOR))


def _median(values: Sequence[int]) -> int:
    return sorted(values)[len(values) // 2] if values else 0
