"""Faults on demand: with a probability, or scripted for the next request. What fired is counted, so that tests can
demand that a fault really happened.

==================  ==========================================================================================
kind                what happens
==================  ==========================================================================================
``not_sent``        the connection is refused: not one byte arrives
``request_lost``    the request vanishes; the caller gets no answer (after ``ms``)
``answer_lost``     the request is executed; the caller gets no answer (after ``ms``)
``late``            the caller gets no answer at once; the request arrives ``ms`` later
``delay``           the request arrives ``ms`` later; the caller waits, up to its timeout
``duplicate``       a second copy arrives ``ms`` later (only where copies are harmless by the venue's rules)
``engine_delay``    between check and execution pass ``ms``, at most the setting ``engine_delay_ms``
``rate_limit``      refused before execution, with the time to retry (``ms`` from now); ``code``: RATE_LIMIT or BANNED
``unavailable``     a server error instead of execution
``error_after``     a server error after execution
``garbled``         executed, but the answer is cut in two
``misleading``      ledger venues: the pool takes the transaction, the node answers with refusal ``code``
``forgotten``       ledger venues: the node says it took the transaction, and drops it
``query_lag``       a read trails by ``ms``, at most the setting ``read_lag_ms``
``event_drop``      a stream event is lost
``event_duplicate`` a stream event comes twice
``event_reorder``   a stream event comes after the next one
``disconnect``      the stream breaks
``silence``         nothing comes on the stream any more, and nobody is told
==================  ==========================================================================================

Besides these, the exchange has ``outage`` (refuses connections for a while), ``skew`` (its clock is off) and
``restart``.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass

REQUEST_KINDS = (
    "not_sent",
    "request_lost",
    "answer_lost",
    "late",
    "delay",
    "duplicate",
    "engine_delay",
    "rate_limit",
    "unavailable",
    "error_after",
    "garbled",
    "misleading",
    "forgotten",
    "query_lag",
)
EVENT_KINDS = ("event_drop", "event_duplicate", "event_reorder", "disconnect", "silence")
KINDS = REQUEST_KINDS + EVENT_KINDS
EVENT = "event"
"""The operation name under which stream faults are set."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault that fires: ``ms`` drawn from its range, ``code`` for misleading answers."""

    kind: str
    ms: int
    code: str


@dataclass(slots=True)
class _Rule:
    kind: str
    op: str
    probability: float
    times: int | None
    low: int
    high: int
    code: str
    passing: int


class Faults:
    """All faults of one exchange. ``counts``: how often each kind fired."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._rules: list[_Rule] = []
        self.counts: Counter[str] = Counter()

    @property
    def active(self) -> bool:
        """False when nothing is set: the fast path."""
        return bool(self._rules)

    def set(
        self, kind: str, probability: float, op: str = "*", *, ms: int | tuple[int, int] = 0, code: str = ""
    ) -> None:
        """From now on, ``kind`` fires with this probability for every operation ``op`` (``*``: any). 0 ends it.

        ``ms``: a number, or a range to draw from. Operations are those of the wire: ``order``, ``cancel``, ``find``, …
        """
        self._rules = [r for r in self._rules if r.times is not None or (r.kind, r.op) != (kind, op)]
        if probability:
            self._add(kind, op, probability, None, ms, code, 0)

    def once(
        self,
        kind: str,
        op: str = "*",
        *,
        times: int = 1,
        ms: int | tuple[int, int] = 0,
        code: str = "",
        after: int = 0,
    ) -> None:
        """``kind`` fires for the next ``times`` operations ``op`` (``order|cancel``: either), ``after`` so many."""
        self._add(kind, op, 1.0, times, ms, code, after)

    def clear(self) -> None:
        """No more faults; the counts stay."""
        self._rules = []

    def draw(self, kind: str, op: str) -> Fault | None:
        """Does ``kind`` fire for this operation? Counts it if so."""
        for rule in self._rules:
            if rule.kind != kind or (rule.op != "*" and op not in rule.op.split("|")):
                continue
            if rule.passing:
                rule.passing -= 1
                continue
            if rule.probability < 1 and self._rng.random() >= rule.probability:
                continue
            if rule.times is not None:
                rule.times -= 1
                if not rule.times:
                    self._rules.remove(rule)
            self.counts[kind] += 1
            ms = rule.low if rule.low == rule.high else self._rng.randint(rule.low, rule.high)
            return Fault(kind, ms, rule.code)
        return None

    def _add(
        self,
        kind: str,
        op: str,
        probability: float,
        times: int | None,
        ms: int | tuple[int, int],
        code: str,
        passing: int,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is no fault; there are {', '.join(KINDS)}")
        if not 0 <= probability <= 1:
            raise ValueError(f"probability {probability} is not between 0 and 1")
        low, high = (ms, ms) if isinstance(ms, int) else (ms[0], ms[1])
        self._rules.append(_Rule(kind, op, probability, times, low, high, code, passing))
