"""What the demo wants: orders of every kind, a change and a cancellation, and the faults they meet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from exchange_kernel.models import IntentStatus
from exchange_kernel.schema import StandardOrder

FILLED, WORKING = IntentStatus.FILLED, IntentStatus.WORKING
PARTLY, EXPIRED = IntentStatus.PARTIALLY_FILLED, IntentStatus.EXPIRED
CANCELED, REJECTED = IntentStatus.CANCELED, IntentStatus.REJECTED
GTD_S: Final = 9


@dataclass(frozen=True, slots=True)
class Wanted:
    """One intent of the demo: its id, what it is in words, the order, and where it may end."""

    intent_id: str
    words: str
    order: StandardOrder
    ends: frozenset[IntentStatus] = field(default_factory=lambda: frozenset((FILLED,)))


def _wanted(intent_id: str, words: str, ends: tuple[IntentStatus, ...], **order: Any) -> Wanted:
    return Wanted(intent_id, words, StandardOrder(**order), frozenset(ends))


def first_wave() -> list[Wanted]:
    """Declared one by one while the kernel runs."""
    return [
        _wanted(
            "market", "buy 0.5 BTC at market, at most 1 % away", (FILLED, EXPIRED),
            symbol_id="BTC/USD", side="BUY", amount="0.5", max_slippage="0.01",
        ),
        _wanted(
            "spend-exactly", "buy BTC for exactly 2500 USD", (FILLED, EXPIRED),
            symbol_id="BTC/USD", side="BUY", amount="2500", amount_type="QUOTE", max_slippage="0.01",
        ),
        _wanted(
            "crossing", "buy 0.8 BTC up to 50100", (FILLED,),
            symbol_id="BTC/USD", side="BUY", amount="0.8", limit_price="50100",
        ),
        _wanted(
            "large", "buy 60 BTC up to 50050: more than is offered", (PARTLY,),
            symbol_id="BTC/USD", side="BUY", amount="60", limit_price="50050",
        ),
        _wanted(
            "to-be-changed", "buy 2 ETH at 2900; later 3 at 2950", (WORKING,),
            symbol_id="ETH/USD", side="BUY", amount="2", limit_price="2900",
        ),
        _wanted(
            "to-be-cancelled", "sell 1 BTC at 52000; later not", (CANCELED,),
            symbol_id="BTC/USD", side="SELL", amount="1", limit_price="52000",
        ),
        _wanted(
            "post-only", "buy 0.3 BTC at 49000, never taking", (WORKING,),
            symbol_id="BTC/USD", side="BUY", amount="0.3", limit_price="49000", post_only=True,
        ),
        _wanted(
            "post-only-refused", "the same at 51000: it would take", (REJECTED,),
            symbol_id="BTC/USD", side="BUY", amount="0.3", limit_price="51000", post_only=True,
        ),
    ]  # fmt: skip


def second_wave(now_ms: int) -> list[Wanted]:
    """Declared just before the kernel is killed. ``now_ms``: local ms UTC."""
    return [
        _wanted(
            "ioc", "sell 1.5 ETH at 2990, at once or not", (FILLED, EXPIRED, CANCELED),
            symbol_id="ETH/USD", side="SELL", amount="1.5", limit_price="2990", time_in_force="IOC",
        ),
        _wanted(
            "ioc-too-low", "buy 1 ETH at 2000, at once or not", (EXPIRED, CANCELED),
            symbol_id="ETH/USD", side="BUY", amount="1", limit_price="2000", time_in_force="IOC",
        ),
        _wanted(
            "fok", "sell 2 ETH at 2980, all at once or nothing", (FILLED, EXPIRED, CANCELED),
            symbol_id="ETH/USD", side="SELL", amount="2", limit_price="2980", time_in_force="FOK",
        ),
        _wanted(
            "fok-too-much", "buy 900 ETH up to 3002, all or nothing", (EXPIRED, CANCELED),
            symbol_id="ETH/USD", side="BUY", amount="900", limit_price="3002", time_in_force="FOK",
        ),
        _wanted(
            "until", f"sell 1 ETH at 3300, for {GTD_S} seconds", (EXPIRED, REJECTED),
            symbol_id="ETH/USD", side="SELL", amount="1", limit_price="3300", time_in_force="GTD",
            expire_at=now_ms + GTD_S * 1000,
        ),
        _wanted(
            "resting", "sell 0.4 BTC at 51000", (WORKING,),
            symbol_id="BTC/USD", side="SELL", amount="0.4", limit_price="51000",
        ),
    ]  # fmt: skip


def batch() -> list[Wanted]:
    """Declared together, all or none, while no kernel runs."""
    return [
        _wanted(
            "batch-1", "buy 5 SOL up to 101 (batch)", (FILLED,),
            symbol_id="SOL/USD", side="BUY", amount="5", limit_price="101",
        ),
        _wanted(
            "batch-2", "buy 3 SOL at 95 (batch)", (WORKING,),
            symbol_id="SOL/USD", side="BUY", amount="3", limit_price="95",
        ),
        _wanted(
            "batch-3", "buy 20 NEW up to 2.6 (batch)", (FILLED,),
            symbol_id="NEW/USD", side="BUY", amount="20", limit_price="2.6",
        ),
    ]  # fmt: skip


CHANGE: Final = ("to-be-changed", {"amount": "3", "limit_price": "2950"})
CANCEL: Final = "to-be-cancelled"

# Kind, probability, operation, ms. Each fires by itself now and then; those below are made to fire at least once.
FAULTS: Final[tuple[tuple[str, float, str, int | list[int]], ...]] = (
    ("request_lost", 0.15, "order", 50),
    ("answer_lost", 0.2, "order", 50),
    ("late", 0.1, "order", [300, 1500]),
    ("delay", 0.5, "order", [200, 600]),
    ("rate_limit", 0.1, "order", 300),
    ("engine_delay", 0.2, "order", [50, 300]),
    ("answer_lost", 0.3, "cancel", 50),
    ("answer_lost", 0.3, "amend", 50),
    ("unavailable", 0.1, "find", 0),
    ("query_lag", 0.2, "find", [50, 200]),
    ("event_drop", 0.15, "event", 0),
    ("event_duplicate", 0.15, "event", 0),
    ("event_reorder", 0.15, "event", 0),
)
ONCE: Final[tuple[tuple[str, str, int], ...]] = (
    ("request_lost", "order", 50),
    ("answer_lost", "order", 50),
    ("late", "order", 700),
    ("rate_limit", "order", 300),
    ("event_drop", "event", 0),
    ("event_duplicate", "event", 0),
    ("event_reorder", "event", 0),
)
WORDS: Final = {
    "request_lost": "request lost",
    "answer_lost": "answer lost",
    "late": "request arrived late, unanswered",
    "delay": "request delayed",
    "rate_limit": "refused for its rate",
    "engine_delay": "executed late",
    "unavailable": "server error",
    "query_lag": "read of an older state",
    "event_drop": "event dropped",
    "event_duplicate": "event doubled",
    "event_reorder": "events swapped",
    "disconnect": "stream broken",
}
