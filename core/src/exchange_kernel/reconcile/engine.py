"""The reconciler: brings one intent one step closer to what its user wants, and to the truth.

One run: read the record, fold what came in, decide, commit, and only then touch the venue. At most one run per intent
at a time (the queue sees to it); runs of different intents go on side by side.
"""

from __future__ import annotations

from exchange_kernel.errors import CommitUnknown, StaleWrite, StoreUnavailable
from exchange_kernel.models import Condition
from exchange_kernel.reconcile.apply import apply, refresh
from exchange_kernel.reconcile.changing import Changes
from exchange_kernel.reconcile.decide import decide
from exchange_kernel.reconcile.decisions import (
    AmendOrder,
    BurnNumber,
    CancelOrder,
    Park,
    ParkLost,
    Query,
    ReplaceOrder,
    Resend,
    SettleOrder,
    Submit,
    Wait,
)
from exchange_kernel.reconcile.draft import Draft
from exchange_kernel.reconcile.facts import gather
from exchange_kernel.reconcile.looking import look
from exchange_kernel.reconcile.numbers import Numbers
from exchange_kernel.reconcile.outcome import Reported, Stepped, Voided, take
from exchange_kernel.reconcile.prerequisites import FREE, Prerequisites
from exchange_kernel.reconcile.sending import Sender
from exchange_kernel.reconcile.session import Session
from exchange_kernel.reconcile.steps import decide_step
from exchange_kernel.reconcile.target import price_of
from exchange_kernel.reconcile.watching import keeps, price_met, unwatch
from exchange_kernel.state.rows import Record, is_step

MAX_STEPS = 24

EMULATED = Condition("Emulated", "gtc", "the venue lets nothing rest: the kernel watches the price and takes it")
"""The condition of an order that the kernel keeps itself."""


class Reconciler:
    """Reconciles the intents of one account. ``changes``: what it asks of the venue."""

    def __init__(self, session: Session, numbers: Numbers) -> None:
        self.session = session
        self._prerequisites = Prerequisites(session)
        self._sender = Sender(session, numbers, self._prerequisites)
        self.changes = Changes(session, self._sender)

    async def reconcile(self, intent_id: str) -> float | None:
        """One run for one intent. Returns seconds until it wants the next one, or None."""
        session = self.session
        try:
            return await self._run(intent_id)
        except (StaleWrite, CommitUnknown):
            session.forget(intent_id)
            return 0.0
        except StoreUnavailable:
            session.forget(intent_id)
            watch = session.watch(intent_id)
            watch.failures += 1
            return session.backoff_ms(watch.failures) / 1000

    async def _run(self, intent_id: str) -> float | None:
        session = self.session
        record = await session.load(intent_id)
        if record is None:
            session.inbox.pop(intent_id, None)
            return None
        draft = Draft(record, session.clock.now_ms())
        for _ in range(MAX_STEPS):
            draft.now = session.clock.now_ms()
            consumed = self._take_inbox(intent_id, draft)
            record = draft.record
            if record.progress.status.terminal and record.revived is None:
                unwatch(session, record)
                return await self._rest(draft, Wait(None), consumed)
            # Both are asked for only where there may be something to say: most orders wait for nothing.
            standing = await self._prerequisites.standing(record) if record.progress.conditions else FREE
            met = await price_met(session, record) if keeps(session, record) else None
            facts = gather(session, record, standing, met)
            if met is not None and not record.progress.status.terminal:
                draft.condition(EMULATED)
            decision = (decide_step if is_step(intent_id) else decide)(draft.record, facts)
            if apply(draft, decision):
                refresh(draft, price_of(session, draft.record))
                continue
            refresh(draft, price_of(session, draft.record))
            match decision:
                case Wait() | Park() | ParkLost():
                    return await self._rest(draft, decision, consumed)
                case Query():
                    if draft.dirty:
                        draft = await self._commit(draft, consumed)
                    await look(session, draft.record, decision.attempt.n)
                case Submit():
                    draft = await self.changes.submit(draft, decision, consumed)
                case AmendOrder():
                    draft = await self.changes.amend(draft, decision, consumed)
                case CancelOrder():
                    draft = await self.changes.cancel(draft, decision, consumed)
                case SettleOrder():
                    draft = await self.changes.settle(draft, decision, consumed)
                case ReplaceOrder():
                    draft = await self.changes.replace(draft, decision, consumed)
                case BurnNumber():
                    draft = await self.changes.burn(draft, decision, consumed)
                case Resend():
                    draft = await self._sender.resend(draft, decision, consumed)
        if draft.dirty:
            await self._commit(draft, len(session.inbox.get(intent_id, ())))
        return session.settings.backoff

    def _take_inbox(self, intent_id: str, draft: Draft) -> int:
        items = self.session.inbox.get(intent_id, ())
        for item in items[draft.taken :]:
            if isinstance(item, Reported):
                item = self.session.firings.named(item)
            take(draft, item, self.session.opened)
            if isinstance(item, Reported) and item.n <= len(draft.record.attempts):
                watch = self.session.watches.get(intent_id)
                if watch is not None and watch.looks and watch.looks[-1].key == draft.record.attempt(item.n).key:
                    watch.shown()
                self._note_newest(draft.record, item)
            elif isinstance(item, Voided):
                self._prerequisites.drawn(draft.record, item.n, False)
            elif isinstance(item, Stepped):
                self._prerequisites.shown(draft.record, item.report)
        draft.taken = len(items)
        return draft.taken

    def _note_newest(self, record: Record, item: Reported) -> None:
        """What only the newest report of the live attempt says: what its order needs, and whether it has drawn on what
        it needed first. Kept in memory, for every snapshot tells it again."""
        attempt = record.live
        report = item.report
        version = -1 if report.version is None else report.version
        if attempt is None or attempt.n != item.n or (attempt.version, attempt.as_of) != (version, report.as_of):
            return
        self._prerequisites.drawn(record, item.n, report.drawn)
        intent_id = record.intent.intent_id
        if report.need is not None or intent_id in self.session.watches:
            self.session.watch(intent_id).need = report.need

    async def _commit(self, draft: Draft, consumed: int) -> Draft:
        record = await self.session.commit(draft, consumed=consumed)
        return Draft(record, draft.now)

    async def _rest(self, draft: Draft, decision: Wait | Park | ParkLost, consumed: int) -> float | None:
        session, record = self.session, draft.record
        until = decision.until if isinstance(decision, Wait) else draft.now + session.backoff_ms(16)
        if isinstance(decision, Wait) and decision.reason and not record.progress.status.terminal:
            self._explain(draft, decision.reason)
        record = draft.record
        if until is not None and until >= 2**61:
            until = None
        due = record.progress.next_due
        if record.revived is None and record.progress.status.terminal:
            until = None
        moved = due is not None and until is not None and abs(until - due) > 60_000
        if (due is None) != (until is None) or moved or draft.dirty:
            draft.progress(next_due=until)
        if draft.dirty:
            await session.commit(draft, consumed=consumed)
        else:
            session.used(record.intent.intent_id, consumed)
        return None if until is None else max(0.0, (until - session.clock.now_ms()) / 1000)

    def _explain(self, draft: Draft, reason: str) -> None:
        blocked = self.session.blocked()
        if blocked and reason == blocked:
            draft.condition(Condition("Halted", "Blocked", reason, draft.now))
        elif not blocked:
            draft.clear_condition("Halted")
