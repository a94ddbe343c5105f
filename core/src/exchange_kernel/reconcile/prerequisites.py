"""Who needs how much of what (R29), and the one change in flight per name (R28)."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from exchange_kernel.errors import InvalidOrder, NoEffect
from exchange_kernel.models import ZERO, IntentStatus
from exchange_kernel.reconcile.queue import Priority
from exchange_kernel.reconcile.session import Session
from exchange_kernel.reconcile.steps import declared, prefix, waits_for
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.state.commit import DeclareStep
from exchange_kernel.state.rows import Attempt, AttemptState, Record, TicketKind, is_step
from exchange_kernel.venue import NeedsFirst, Spec, StepReport

SETTLING = 2.0
"""Seconds, beside the venue's read lag, for which a step that is done need not show in what the adapter reads."""

Needs = Mapping[str, Decimal]


class Standing(NamedTuple):
    """How an order stands with what it needs first: ``waits`` and ``refused`` say why, or are empty."""

    waits: str = ""
    refused: str = ""


FREE = Standing()
"""It may be prepared."""


class Prerequisites:
    """The prerequisites of one account."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._lock = asyncio.Lock()
        self._waiting: dict[str, Needs] = {}
        self._reserved: dict[str, Needs] = {}
        self._reserved_at: dict[str, int] = {}
        self._newest: dict[str, str] = {}
        self._done: dict[str, tuple[Record, float]] = {}
        self._in_effect: set[str] = set()
        self._steps: dict[str, set[str]] = {}
        self._held: dict[str, frozenset[str]] = {}
        session.on_record = self._noted

    # ---- what is in use -----------------------------------------------------------------------------------------

    async def in_use(self, intent_id: str, needs: Needs) -> Needs:
        """Of each name, what the live attempts of all other intents use; those known from SQL, once, and from then on
        from every commit. Raises StoreUnavailable."""
        session = self._session
        if not needs:
            return {}
        if session.uses is None:
            async with self._lock:
                found: dict[str, Needs] = {}
                for row in await session.store.live_intents(session.account):
                    record = await session.store.record(session.account, row.intent_id)
                    if record is not None and is_step(row.intent_id):
                        self._noted(record)
                    elif record is not None:
                        found[row.intent_id] = self._of(record)
                session.uses = found
                for record in session.records.values():
                    self._noted(record)
        return self.used(intent_id, needs)

    def used(self, intent_id: str, needs: Needs) -> Needs:
        """The same, from memory."""
        out = dict.fromkeys(needs, ZERO)
        for book in (self._session.uses or {}, self._reserved):
            for other, taken in book.items():
                if other == intent_id or (book is self._session.uses and other in self._reserved):
                    continue
                for name in out.keys() & taken.keys():
                    out[name] = EXACT.add(out[name], taken[name])
        return out

    def under_way(self, needs: Needs) -> frozenset[str]:
        """The names whose step reads do not show yet. From what :meth:`in_use` has read, and from every commit."""
        return frozenset(name for name in needs if self._steps.get(name, set()) - self._in_effect)

    def hold(self, intent_id: str, needs: Needs) -> None:
        """It was told to wait: as soon as somebody else uses less of this, it asks again."""
        if needs:
            self._held[intent_id] = frozenset(needs)

    def drawn(self, record: Record, n: int, drawn: bool) -> None:
        """The venue's newest word on attempt ``n``: has it taken what it needs from the account? In memory only: after
        a restart an attempt counts with all that it needs, until the first snapshot tells it again."""
        row = (record.intent.intent_id, n)
        known = self._session.drawn
        if drawn is not (row in known):
            (known.add if drawn else known.discard)(row)
            self._uses(record)

    def reserve(self, record: Record, needs: Needs) -> None:
        """The next ticket of this intent will use that much: nobody else may count on it from here on, until a newer
        record than this says what it uses."""
        intent_id = record.intent.intent_id
        if needs:
            self._reserved_at[intent_id] = record.intent.version
            before = (self._session.uses or {}).get(intent_id, {})
            self._reserved[intent_id] = {
                name: max(needs.get(name, ZERO), before.get(name, ZERO)) for name in needs.keys() | before.keys()
            }
            self._waiting.pop(intent_id, None)

    def release(self, intent_id: str) -> None:
        """Its commit failed for certain: what its record says holds. (Else the record itself will say so.)"""
        self._reserved.pop(intent_id, None)
        self._reserved_at.pop(intent_id, None)

    def _noted(self, record: Record) -> None:
        intent_id = record.intent.intent_id
        if self._reserved_at and record.intent.version > self._reserved_at.get(intent_id, 0):
            self._reserved.pop(intent_id, None)
            self._reserved_at.pop(intent_id, None)
        over = record.progress.status.terminal
        if over and self._waiting:
            self._waiting.pop(intent_id, None)
        if is_step(intent_id):
            if over:
                self._over(record)
            else:
                name = record.intent.labels["name"]
                self._newest[name] = intent_id
                self._steps.setdefault(name, set()).add(intent_id)
        self._uses(record)
        if over:
            self._held.pop(intent_id, None)
            if record.revived is None:
                self._session.drawn -= {(intent_id, attempt.n) for attempt in record.attempts}

    def _uses(self, record: Record) -> None:
        uses, intent_id = self._session.uses, record.intent.intent_id
        if uses is None:
            return
        before, needs = uses.get(intent_id, {}), self._of(record)
        if needs:
            uses[intent_id] = needs
        else:
            uses.pop(intent_id, None)
        less = {name for name, amount in before.items() if needs.get(name, ZERO) < amount}
        for held in [each for each, names in self._held.items() if names & less]:
            del self._held[held]
            self._session.watch(held).not_before = 0
            self._session.queue.mark(held, Priority.SUBMIT)

    def shown(self, step: Record, report: StepReport) -> None:
        """The venue says how a step stands. Where it has taken effect, if not for good yet, what waits for it may ask
        again: what is in effect is the adapter's to read, and behind one another on one sequence suffices (R28)."""
        intent_id = step.intent.intent_id
        if not is_step(intent_id):
            return
        if report.state == "done" and not report.final and intent_id not in self._in_effect:
            self._in_effect.add(intent_id)
            self._wake(step.intent.labels["name"])
        elif report.state != "done":
            self._in_effect.discard(intent_id)

    def _wake(self, name: str) -> None:
        for intent_id, needs in self._waiting.items():
            if name in needs:
                self._session.queue.mark(intent_id, Priority.SUBMIT)

    def _over(self, step: Record) -> None:
        self._in_effect.discard(step.intent.intent_id)
        name = step.intent.labels["name"]
        self._steps.get(name, set()).discard(step.intent.intent_id)
        known = self._done.get(name)
        fresh = known is None or known[0].intent.intent_id != step.intent.intent_id
        if step.progress.status is IntentStatus.FILLED and fresh:
            self._done[name] = (step, self._session.clock.monotonic())
        self._wake(name)

    def _of(self, record: Record) -> Needs:
        out: dict[str, Decimal] = {}
        if is_step(record.intent.intent_id):
            return out
        for attempt in record.attempts:
            if not attempt.state.live and attempt.state is not AttemptState.REVIVED:
                continue
            if (record.intent.intent_id, attempt.n) in self._session.drawn:
                continue
            most: dict[str, Decimal] = {}
            for spec in self._specs(record, attempt):
                with contextlib.suppress(InvalidOrder, NoEffect):
                    for name, amount in self._session.adapter.check(spec).needs.items():
                        most[name] = max(most.get(name, ZERO), amount)
            for name, amount in most.items():
                out[name] = EXACT.add(out.get(name, ZERO), amount)
        return out

    @staticmethod
    def _specs(record: Record, attempt: Attempt) -> list[Spec]:
        """What the attempt's order may be: as it was asked for, or as an amendment under way makes it."""
        rows = record.tickets_of(attempt.n)
        amended = [row.spec for row in rows if row.kind is TicketKind.AMEND and row.state.open and row.spec is not None]
        return [attempt.spec, *amended]

    # ---- what is missing ----------------------------------------------------------------------------------------

    async def standing(self, record: Record) -> Standing:
        """May this order be prepared (again)? Raises StoreUnavailable."""
        waits = waits_for(record)
        if waits is None:
            return FREE
        name, step_id = waits
        self._waiting.setdefault(record.intent.intent_id, {name: ZERO})
        step = await self._session.load(step_id)
        if step is None or step.progress.status is IntentStatus.FILLED or step_id in self._in_effect:
            return FREE
        if step.progress.status.terminal:
            return Standing(refused=f"needs {name} first, and that was refused: {step.progress.reason}")
        return Standing(waits=f"needs {name} first")

    async def ensure(self, record: Record, needs: NeedsFirst, mine: Needs, in_use: Needs, asked_at: float) -> str:
        """The step under way for this need, begun if there is none; its intent id, or "" where what is in use has
        changed, and the answer may be another by now. ``mine``: what the asking command uses; ``in_use``: what others
        did when it asked; ``asked_at``: monotonic seconds when it began to ask, for its answer may be that old.
        Raises StoreError, Fenced."""
        session, intent_id = self._session, record.intent.intent_id
        self._waiting[intent_id] = {needs.name: mine.get(needs.name, ZERO)}
        async with self._lock:
            for row in await session.store.live_intents(session.account):
                if row.intent_id.startswith(prefix(needs.name)):
                    self._newest[needs.name] = row.intent_id
                    return row.intent_id
            await self._find_done(record, needs.name)
            if self.used(intent_id, in_use) != in_use:
                return ""
            total = await self._target(needs.name)
            done, at = self._done.get(needs.name, (None, 0.0))
            fresh = asked_at - at < session.opened.read_lag / 1000 + SETTLING
            if done is not None and fresh and Decimal(done.intent.labels["amount"]) >= total:
                return done.intent.intent_id  # a trailing read does not show it yet
            asker = session.key(intent_id, "step", record.intent.version, needs.name)
            symbol = record.intent.order.symbol_id
            step = declared(session.account, asker, symbol, needs, total, session.settings.max_attempts)
            await session.store.execute(DeclareStep(session.account, session.epoch, step))
            self._newest[needs.name] = step.intent_id
            session.queue.mark(step.intent_id, Priority.SUBMIT)
            return step.intent_id

    async def _find_done(self, asker: Record, name: str) -> None:
        """The newest step may be done in SQL before its own task has heard of it."""
        session, waits = self._session, waits_for(asker)
        newest = waits[1] if waits is not None and waits[0] == name else None
        newest = self._newest.get(name, newest)
        known = self._done.get(name)
        if newest is None or (known is not None and known[0].intent.intent_id == newest):
            return
        step = await session.store.record(session.account, newest)
        if step is not None:
            self._over(step)

    async def _target(self, name: str) -> Decimal:
        """Enough for everything live that uses it, and for everything that waits for it."""
        total = (await self.in_use_locked({name: ZERO}))[name]
        for needs in self._waiting.values():
            total = EXACT.add(total, needs.get(name, ZERO))
        return total

    async def in_use_locked(self, needs: Needs) -> Needs:
        """What everybody uses; the caller holds the lock, so nothing is read here."""
        out = dict(self.used("", needs))
        for intent_id in self._waiting.keys() & ((self._session.uses or {}).keys() | self._reserved.keys()):
            taken = self._reserved.get(intent_id) or (self._session.uses or {}).get(intent_id, {})
            for name in out.keys() & taken.keys():  # it waits to become larger: counted once, by what it wants
                out[name] = EXACT.subtract(out[name], taken[name])
        return out
