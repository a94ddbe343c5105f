"""The protocol with one defect planted at a time. Each must be killed: a mutant that survives is a hole in the proof.

Defects are planted from outside, at the seams of the real code; the product has no switch for any of them.
Adapter-level
mutants (signing again, repeating, lying about clocks) wrap the adapter instead. ``plan`` narrows the drawn schedules to
those in which the defect can show; the rate of faults stays as drawn.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

from exchange_kernel.errors import NoEffect, Refused
from exchange_kernel.reconcile import decide as decide_module
from exchange_kernel.reconcile import engine, fold, numbers, outcome, prerequisites, proof, sending, session
from exchange_kernel.reconcile.decide import AmendOrder, Query, Resend, Wait
from exchange_kernel.reconcile.decisions import SettleOrder
from exchange_kernel.state import commit, unit
from exchange_kernel.state.rows import AttemptState, TicketKind
from exchange_kernel.venue import Ticket
from tests.simulation.adapters import (
    BareTradeIds,
    CancelReplaces,
    LocalClock,
    NoHorizon,
    RetriesSubmit,
    SignsAfterCommit,
    TrustsTheKernel,
)
from tests.simulation.world import Hooks

Patch = tuple[Any, str, Any]


@dataclass
class Mutant:
    """One defect. ``rule``: what it breaks; ``kills``: the invariants that may convict it, any of them."""

    rule: str
    kills: tuple[str, ...]
    patches: Callable[[], list[Patch]] = list
    adapter: Callable[[Any], Any] = lambda adapter: adapter
    notice_loss: bool = True
    plan: dict[str, Any] = field(default_factory=dict)

    @contextlib.contextmanager
    def planted(self) -> Iterator[Hooks]:
        """Plant it for the duration."""
        undo: list[Patch] = []
        try:
            for target, name, value in self.patches():
                undo.append((target, name, getattr(target, name)))
                setattr(target, name, value)
            yield Hooks(adapter=self.adapter, notice_loss=self.notice_loss)
        finally:
            for target, name, value in reversed(undo):
                setattr(target, name, value)


ENABLING: dict[str, Any] = {"fence": "time_window", "intents": (4, 6), "stranger": 0.0}

unmutated = Mutant("none", ())


def _several_in_flight() -> list[Patch]:
    return [(prerequisites, "prefix", lambda name: "~nothing is ever in flight-")]


def _unproved() -> list[Patch]:
    async def free(self: Any, record: Any) -> Any:
        return prerequisites.Standing()

    return [(prerequisites.Prerequisites, "standing", free)]


def _alone() -> list[Patch]:
    return [(prerequisites.Prerequisites, "used", lambda self, intent_id, needs: dict.fromkeys(needs, Decimal(0)))]


def _never_settled() -> list[Patch]:
    real = decide_module.needed

    def needed(record: Any, live: Any, facts: Any, *, wanted: bool) -> Any:
        step = real(record, live, facts, wanted=wanted)
        return None if isinstance(step, SettleOrder) else step

    return [(decide_module, "needed", needed)]


def _settled_again() -> list[Patch]:
    real = decide_module.needed

    def needed(record: Any, live: Any, facts: Any, *, wanted: bool) -> Any:
        if facts.need is not None and facts.need.what == "settle" and facts.looked:
            return SettleOrder(live, "it still says so")
        return real(record, live, facts, wanted=wanted)

    return [(decide_module, "needed", needed)]


def _no_cas() -> list[Patch]:
    return [
        (commit, "check_version", lambda head, expected, intent_id: None),
        (unit.Unit, "check_epoch", lambda self, account, epoch: None),
    ]


def _believe_absence() -> list[Patch]:
    return [(decide_module, "proves_dead", lambda ref, looks, opened: bool(looks))]


def _stale_look() -> list[Patch]:
    real = proof.passed

    def judged_now(ref: Any, looks: Any, opened: Any) -> bool:
        newest = max((look.absent.at.venue_ms or 0 for look in looks), default=0)
        # Whatever was read, and whenever: it is trusted once its deadline has passed since.
        return len(looks) >= 1 and all(
            any(
                real(end, replace(looks[0].absent.at, venue_ms=newest + 60_000, ledger_ms=2**61, height=2**61), opened)
                for end in ticket.fence.ends
            )
            for ticket in ref.tickets
        )

    return [(decide_module, "proves_dead", judged_now)]


def _no_recheck() -> list[Patch]:
    async def always(self: Any, record: Any, row: Any) -> str:
        return "" if self.session.clock.now_ms() < row.ticket.send_before else "too old"

    return [(sending.Sender, "may_send", always)]


def _double_count() -> list[Patch]:
    real = fold.fold

    def by_source(draft: Any, n: int, report: Any, source: Any) -> None:
        where = "stream" if source == "stream" else "read"
        real(draft, n, replace(report, fills=tuple(replace(f, id=f"{where}:{f.id}") for f in report.fills)), source)

    return [(outcome, "fold", by_source)]


def _unsent() -> list[Patch]:
    real = session.Session.load

    async def load(self: Any, intent_id: str) -> Any:
        cached = self.records.get(intent_id)
        record = await real(self, intent_id)
        if record is None or cached is not None:
            return record
        live = record.live
        if live is not None and live.state is AttemptState.UNKNOWN and not live.seen:
            return record.with_attempt(replace(live, state=AttemptState.DEAD, text="never sent, surely"))
        return record

    return [(session.Session, "load", load)]


def _loss_unnoticed() -> list[Patch]:
    async def ignore(self: Any, report: Any) -> None:
        return None

    from exchange_kernel.reconcile.runner import Runner

    return [(Runner, "_lost", ignore)]


def _broadcast_believed() -> list[Patch]:
    def verdict(error: BaseException, ticket: Ticket) -> str:
        return "none" if isinstance(error, (NoEffect, Refused)) else "unknown"

    return [(sending, "verdict", verdict)]


def _stale_fills() -> list[Patch]:
    return [(fold, "closes", lambda attempt: True)]


def _two_amends() -> list[Patch]:
    real = decide_module.decide

    def decide(record: Any, facts: Any) -> Any:
        decision = real(record, facts)
        live = record.live
        said = getattr(decision, "why", "") or getattr(decision, "reason", "")
        unsettled = isinstance(decision, (Query, Wait)) and "unsettled (R23)" in said
        if isinstance(decision, Resend) and decision.row.kind is TicketKind.AMEND:
            unsettled = True
        if unsettled and live is not None and facts.amendable and not facts.blocked:
            newest = max(row.generation for row in record.tickets_of(live.n) if row.kind is TicketKind.AMEND)
            if newest != record.intent.generation:
                return AmendOrder(live, decide_module.remaining(record, without=live.n))
        return decision

    return [(engine, "decide", decide)]


def _gap() -> list[Patch]:
    real = numbers.Turn.taker

    def taker(self: Any, instead_of: Any) -> Any:
        take = real(self, instead_of)

        def skipping(scope: str) -> Any:
            slot = take(scope)
            if instead_of is None:
                self.used()
                self.committed = False
            return slot

        return skipping

    async def read_once(self: Any) -> None:
        if not getattr(self, "_kept", None):
            await real_read(self)
            self._kept = self._free
        self._free = self._kept

    real_read = numbers.Numbers._read
    return [(numbers.Turn, "taker", taker), (numbers.Numbers, "_read", read_once)]


def _status_without_epoch() -> list[Patch]:
    real = unit.Unit.check_epoch

    def check(self: Any, account: str, epoch: int) -> None:
        import inspect

        caller = inspect.currentframe()
        operation = caller.f_back.f_locals.get("self") if caller and caller.f_back else None
        if isinstance(operation, commit.Change) and not operation.opens:
            return
        real(self, account, epoch)

    return [(unit.Unit, "check_epoch", check)]


def _late_dropped() -> list[Patch]:
    real = fold.fold

    def dropping(draft: Any, n: int, report: Any, source: Any) -> None:
        if draft.record.attempt(n).state in (AttemptState.DEAD, AttemptState.REFUSED, AttemptState.CLOSED):
            return
        real(draft, n, report, source)

    return [(outcome, "fold", dropping)]


TIMED = {"fence": "time_window"}
SETTLING = {"settings": {"settle": "on"}, "styles": ("resting",), "trades": 0.9}
STEADY = {"crash": 0.0, "pause": 0.0, "store_unavailable": 0.0, "commit_unknown": 0.0, "restore_at": None}

MUTANTS: dict[str, Mutant] = {
    "no compare-and-swap and no epoch": Mutant("R6 R31", ("S1", "S2", "S3", "S8", "S10", "S11"), _no_cas),
    "sign after commit": Mutant(
        "R2",
        ("S1", "S2", "S3", "S10"),
        adapter=SignsAfterCommit,
        plan={**TIMED, "processes": 2, "pause": 0.03, "crash": 0.0, "venue": []},
    ),
    "not found believed at once": Mutant("R11", ("S1", "S2", "S3", "S10"), _believe_absence),
    "query before the fence trusted after it": Mutant("R11 R16", ("S1", "S2", "S3", "S10"), _stale_look, plan=TIMED),
    "HTTP retry": Mutant("R5", ("S1", "S3"), adapter=RetriesSubmit, plan=TIMED),
    "cancel not re-checked before send": Mutant(
        "R4 R20",
        ("R20",),
        _no_recheck,
        plan={"fence": "permanent_key", "processes": 2, "pause": 0.05, "crash": 0.0, "venue": []},
    ),
    "fill counted from ack and stream": Mutant("S10", ("S10", "S3", "L1"), _double_count),
    "committed ticket read as unsent": Mutant("R3", ("S1", "S2", "S3", "S10", "S11"), _unsent),
    "fence judged by the local clock": Mutant(
        "R11",
        ("S1", "S2", "S3", "S10"),
        adapter=LocalClock,
        plan={
            **TIMED,
            **STEADY,
            "skews": (30_000,) * 8,
            "venue": [("late", 0.5, (1000, 2400))],
            "styles": ("resting", "crossing", "market"),
        },
    ),
    "absence beyond retention": Mutant(
        "R16", ("R8",), adapter=NoHorizon, plan={**TIMED, "styles": ("fok", "ioc"), "settings": {"retention_ms": 300}}
    ),
    "lost commit not noticed": Mutant(
        "R32", ("S1", "S2", "S3", "S7", "S10"), _loss_unnoticed, notice_loss=False, plan={"restore_at": 5.0}
    ),
    "broadcast answer taken as rejection": Mutant(
        "R10", ("S1", "S2", "S3", "S6", "S9", "S10", "L1"), _broadcast_believed, plan={"fence": "sequence"}
    ),
    "remainder from stale fills": Mutant(
        "R17",
        ("S3", "S10", "S11"),
        _stale_fills,
        plan={
            **TIMED,
            **STEADY,
            "settings": {"amend": "off", "read_lag_ms": 0},
            "styles": ("resting", "crossing"),
            "venue": [("event_drop", 0.4, 0), ("answer_lost", 0.6, (200, 1500))],
            "trades": 0.9,
        },
    ),
    "two amends in flight": Mutant(
        "R23",
        ("L1", "S3", "S18"),
        _two_amends,
        plan={
            **TIMED,
            **STEADY,
            "settings": {"amend": "full"},
            "styles": ("resting",),
            "venue": [("late", 0.5, (300, 1900)), ("answer_lost", 0.2, (200, 600))],
        },
    ),
    "cancel-replace as amend": Mutant("R24", ("S1", "S2", "S3", "S10", "L1"), adapter=CancelReplaces, plan=TIMED),
    "gap left open": Mutant("R26", ("S9", "L1"), _gap, plan={"fence": "sequence"}),
    "epoch unchecked on status writes": Mutant("R31", ("S8",), _status_without_epoch),
    "trade id without instrument": Mutant(
        "S10", ("S10", "L1"), adapter=BareTradeIds, plan={"intents": (10, 14), "styles": ("market", "crossing")}
    ),
    "enabled twice": Mutant("R28", ("R28",), _several_in_flight, plan={**ENABLING, "settings": {"enable": "mode"}}),
    "sent before what it needs is proved": Mutant(
        "R28", ("R28",), _unproved, adapter=TrustsTheKernel, plan={**ENABLING, "settings": {"enable": "mode"}}
    ),
    "allowance of one for all": Mutant(
        "R29", ("R28",), _alone, plan={**ENABLING, "settings": {"enable": "allowance"}, "styles": ("resting",)}
    ),
    "settled never": Mutant("need settle", ("L1",), _never_settled, plan={**TIMED, **SETTLING}),
    "settled again, unproved": Mutant(
        "R23", ("R23",), _settled_again, plan={**TIMED, **SETTLING, "venue": [("request_lost", 0.5, (200, 1500))]}
    ),
    "late fill dropped": Mutant(
        "R19", ("S10", "S6", "S2", "L1"), _late_dropped, plan={"lying": True, "fence": "time_window"}
    ),
}

ELSEWHERE = {
    "RESTORE on a group leg": "tests/model: the RESTORE policy and groups other than BATCH come with a later release"
}
"""Mutants whose code does not exist yet; the model checker kills them."""
