"""The reconciler: brings one intent one step closer to what its user wants, and to the truth.

One run: read the record, fold what came in, decide, commit, and only then touch the venue. At most one run per intent
at
a time (the queue sees to it); runs of different intents go on side by side.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from decimal import Decimal
from typing import Literal

from exchange_kernel.errors import (
    AccountHalted,
    CommitUnknown,
    ExchangeKernelError,
    InvalidOrder,
    KeyTaken,
    LimitExceeded,
    NoEffect,
    NotAuthorized,
    RateLimited,
    Rejected,
    StaleWrite,
    StoreUnavailable,
    Unavailable,
    Unsupported,
    VenueError,
)
from exchange_kernel.events import OrderRecorded, OrderSubmitted
from exchange_kernel.models import ZERO, Condition, IntentStatus
from exchange_kernel.reconcile.apply import apply, finish, notional, park, refresh
from exchange_kernel.reconcile.decide import Facts, decide, remaining
from exchange_kernel.reconcile.decisions import (
    AmendOrder,
    BurnNumber,
    CancelOrder,
    Park,
    Query,
    Resend,
    Submit,
    Wait,
)
from exchange_kernel.reconcile.draft import Draft
from exchange_kernel.reconcile.numbers import Numbers
from exchange_kernel.reconcile.outcome import Answered, ReadUpTo, Reported, Unseen, code_of, take, verdict
from exchange_kernel.reconcile.proof import Look, earliest_proof_ms
from exchange_kernel.reconcile.session import Session
from exchange_kernel.reconcile.wanted import emulated_end, guarded_spec, wanted_spec
from exchange_kernel.state.rows import CREATING, Attempt, Record, TicketKind, TicketRow, TicketState
from exchange_kernel.value import revised
from exchange_kernel.venue import (
    FOREVER,
    Absent,
    Amend,
    Burn,
    Cancel,
    Command,
    Found,
    NeedsFirst,
    NotNow,
    OrderReport,
    Place,
    Prep,
    Prepared,
    Spec,
    Ticket,
)

log = logging.getLogger("exchange_kernel.reconcile")

MAX_STEPS = 24

EnterRow = Callable[[Ticket, int], TicketRow]
Outcome = Literal["done", "duplicate", "none", "unknown"]


class Reconciler:
    """Reconciles the intents of one account."""

    def __init__(self, session: Session, numbers: Numbers) -> None:
        self.session = session
        self.numbers = numbers

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
            decision = decide(draft.record, self._facts(draft.record))
            if apply(draft, decision):
                refresh(draft, self._price(draft.record))
                continue
            refresh(draft, self._price(draft.record))
            match decision:
                case Wait() | Park():
                    return await self._rest(draft, decision, consumed)
                case Query():
                    if draft.dirty:
                        draft = await self._commit(draft, consumed)
                    await self._look(draft.record, decision.attempt.n)
                case Submit():
                    draft = await self._submit(draft, decision, consumed)
                case AmendOrder():
                    draft = await self._amend(draft, decision, consumed)
                case CancelOrder():
                    draft = await self._cancel(draft, decision, consumed)
                case BurnNumber():
                    draft = await self._burn(draft, decision, consumed)
                case Resend():
                    draft = await self._resend(draft, decision, consumed)
        if draft.dirty:
            await self._commit(draft, len(session.inbox.get(intent_id, ())))
        return session.settings.backoff

    def _take_inbox(self, intent_id: str, draft: Draft) -> int:
        items = self.session.inbox.get(intent_id, ())
        for item in items[draft.taken :]:
            take(draft, item, self.session.opened)
        draft.taken = len(items)
        return draft.taken

    async def _commit(self, draft: Draft, consumed: int) -> Draft:
        record = await self.session.commit(draft, consumed=consumed)
        return Draft(record, draft.now)

    async def _rest(self, draft: Draft, decision: Wait | Park, consumed: int) -> float | None:
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
        elif not blocked and not _limited(draft.record):
            draft.clear_condition("Halted")

    def _facts(self, record: Record) -> Facts:
        session = self.session
        watch = session.watches.get(record.intent.intent_id)
        now = session.clock.now_ms()
        live = record.live
        until = emulated_end(record.intent, session.markets.get(record.intent.order.symbol_id))
        amendable, same = self._change(record, live) if live is not None and live.seen else (False, False)
        if watch is None:
            return Facts(
                now=now,
                opened=session.opened,
                blocked=session.blocked(),
                recovering=session.recovering,
                not_before=session.pause_until,
                until=until,
                amendable=amendable,
                same=same,
            )
        return Facts(
            now=now,
            opened=session.opened,
            looks=watch.looks,
            query_at=watch.query_at,
            not_before=max(watch.not_before, session.pause_until),
            cancel_at=watch.cancel_at,
            resend_at=watch.resend_at,
            blocked=session.blocked(),
            recovering=session.recovering,
            until=until,
            amendable=amendable,
            same=same,
            missing=watch.missing is not None,
            gone=self._gone(record.revived or live, watch.looks, watch.snapshot_since, watch.history_since),
            looked=watch.asked,
        )

    def _gone(self, attempt: Attempt | None, looks: list[Look], snapshot: bool, history: bool) -> bool:
        if attempt is None or not attempt.seen or not (snapshot and history) or len(looks) < 2:
            return False
        return looks[-1].key == attempt.key and looks[-1].began - looks[0].began >= 1.0

    def _change(self, record: Record, live: Attempt) -> tuple[bool, bool]:
        """Can the working order be changed in place into what is wanted now; and is it that already?"""
        total = remaining(record, without=live.n)
        if record.intent.generation == live.generation and live.spec.amount <= total:
            return False, False
        if total <= 0:
            return False, False
        check = self.session.adapter.check
        try:
            spec = self._spec(record, total, like=live.spec)
            if check(spec).spec == live.spec and live.applied_amount in (None, live.spec.amount):
                return False, True
            check(spec, live.spec)
        except (InvalidOrder, NoEffect):
            return False, False
        return True, False

    def _spec(self, record: Record, amount: Decimal, like: Spec | None = None) -> Spec:
        """What is wanted now, of ``amount``, with its guard price; ``like``: keep that order's guard."""
        session = self.session
        order = record.intent.order
        symbol = session.markets.get(order.symbol_id)
        if symbol is None:
            raise InvalidOrder("symbol_id", order.symbol_id, "the venue no longer lists it")
        spec = wanted_spec(record.intent, amount, symbol)
        if like is not None:
            return revised(spec, guard=like.guard)
        return guarded_spec(spec, order, session.prices.get(order.symbol_id), symbol)

    def _price(self, record: Record) -> Decimal | None:
        tick = self.session.prices.get(record.intent.order.symbol_id)
        return None if tick is None else tick.last or tick.ask or tick.bid

    # ---- the venue: looking -------------------------------------------------------------------------------------

    async def _look(self, record: Record, n: int) -> None:
        session = self.session
        intent_id = record.intent.intent_id
        attempt = record.attempt(n)
        ref = record.ref(attempt)
        watch = session.watch(intent_id)
        count = len(record.tickets_of(n))
        began = session.clock.monotonic()
        watch.asked += 1
        now = session.clock.now_ms()
        try:
            with session.deadlines.within(session.settings.read_timeout):
                answer = await session.adapter.lookup(ref)
        except (Unavailable, RateLimited) as error:
            retry = error.retry_at or 0
            watch.query_at = max(retry, now + session.backoff_ms(watch.asked))
            return
        except asyncio.CancelledError:
            raise
        except Exception as error:
            if not isinstance(error, (VenueError, TimeoutError)):
                log.exception("lookup of %s at %s", intent_id, session.account)
            watch.query_at = now + session.backoff_ms(watch.asked)
            return
        now = session.clock.now_ms()
        watch.query_at = now + session.backoff_ms(watch.asked)
        if isinstance(answer, Found):
            watch.looks.clear()
            watch.missing = None
            watch.snapshot_since = watch.history_since = False
            items = session.inbox.setdefault(intent_id, [])
            orders = [r for r in answer.reports if isinstance(r, OrderReport)]
            items.extend(Reported(n, report, "lookup") for report in orders)
            items.append(ReadUpTo(n, answer.at, count))
        elif isinstance(answer, Absent):
            if watch.looks and watch.looks[-1].key != ref.key:
                watch.looks.clear()
                watch.snapshot_since = watch.history_since = False
            watch.looks.append(Look(answer, began, len(ref.tickets), ref.key))
            if len(watch.looks) > 8:
                del watch.looks[1:-4]
            proof_at = earliest_proof_ms(ref, session.opened)
            if proof_at is not None and now < proof_at:
                watch.query_at = min(watch.query_at, proof_at)
            elif proof_at is not None:
                watch.query_at = now + 1_000
            self._unseen(intent_id, n, "not seen at the venue; not yet proved absent")
        else:
            if answer.retry_at is not None:
                watch.query_at = max(answer.retry_at, now + session.backoff_ms(0))
            self._unseen(intent_id, n, answer.why[:200])

    def _unseen(self, intent_id: str, n: int, why: str) -> None:
        self.session.inbox.setdefault(intent_id, []).append(Unseen(n, why))

    # ---- the venue: changing ------------------------------------------------------------------------------------

    async def _submit(self, draft: Draft, decision: Submit, consumed: int) -> Draft:
        session, record = self.session, draft.record
        intent = record.intent
        try:
            spec = session.adapter.check(self._spec(record, decision.amount)).spec
        except (InvalidOrder, NoEffect) as error:
            finish(draft, IntentStatus.REJECTED, str(error))
            return draft
        value = notional(spec, spec.amount, self._price(record)) or ZERO
        key = session.key(intent.intent_id, decision.n)

        def enter(ticket: Ticket, now: int) -> TicketRow:
            opened = session.opened
            attempt = Attempt(
                n=decision.n,
                key=key,
                generation=intent.generation,
                spec=spec,
                placed_at=now + opened.clock_offset - opened.clock_error,
                epoch=session.epoch,
                ids=ticket.ids,
            )
            draft.put_attempt(attempt)
            draft.clear_condition("Halted")
            draft.emit(
                OrderSubmitted,
                attempt=decision.n,
                generation=intent.generation,
                key=key.hex(),
                amount=spec.amount,
                limit_price=spec.limit,
            )
            draft.progress(status=IntentStatus.SUBMITTING, reason="", reserved=value)
            return TicketRow(decision.n, 1, TicketKind.PLACE, intent.generation, ticket, committed_at=now)

        return await self._command(draft, consumed, Place(key, spec), enter_row=enter, value=value)

    async def _amend(self, draft: Draft, decision: AmendOrder, consumed: int) -> Draft:
        session, record = self.session, draft.record
        attempt, generation = decision.attempt, record.intent.generation
        seq = _next_seq(record, attempt.n)
        key = session.key(record.intent.intent_id, attempt.n, "amend", seq, session.epoch)
        try:
            spec = session.adapter.check(self._spec(record, decision.amount, like=attempt.spec), attempt.spec).spec
        except (InvalidOrder, NoEffect) as error:
            draft.progress(amend_refused=generation)
            draft.condition(Condition("AmendRejected", "Invalid", str(error)[:200], draft.now))
            return draft
        value = notional(spec, spec.amount - attempt.booked, self._price(record)) or ZERO

        def enter(ticket: Ticket, now: int) -> TicketRow:
            draft.clear_condition("Halted")
            draft.emit(OrderRecorded, what=f"amend {seq} to generation {generation}")
            draft.progress(reserved=max(value, record.progress.reserved))
            return TicketRow(attempt.n, seq, TicketKind.AMEND, generation, ticket, committed_at=now, spec=spec)

        return await self._command(draft, consumed, Amend(key, record.ref(attempt), spec), enter_row=enter, value=value)

    async def _cancel(self, draft: Draft, decision: CancelOrder, consumed: int) -> Draft:
        session, record = self.session, draft.record
        attempt = decision.attempt
        seq = _next_seq(record, attempt.n)
        key = session.key(record.intent.intent_id, attempt.n, "cancel", seq, session.epoch)
        watch = session.watch(record.intent.intent_id)
        watch.cancels += 1
        watch.cancel_at = session.clock.now_ms() + session.backoff_ms(watch.cancels)

        def enter(ticket: Ticket, now: int) -> TicketRow:
            draft.emit(OrderRecorded, what=f"cancel {seq}", reason=decision.why)
            return TicketRow(attempt.n, seq, TicketKind.CANCEL, attempt.generation, ticket, committed_at=now)

        before = decision.instead_of.ticket if decision.instead_of else None
        return await self._command(
            draft, consumed, Cancel(key, record.ref(attempt)), enter_row=enter, instead_of=before
        )

    async def _burn(self, draft: Draft, decision: BurnNumber, consumed: int) -> Draft:
        """Use up a sequence number whose ticket may not be sent any more (R26, R27)."""
        session, record = self.session, draft.record
        attempt, row = decision.attempt, decision.row
        slot = row.ticket.slot
        assert slot is not None
        seq = _next_seq(record, attempt.n)
        key = session.key(record.intent.intent_id, attempt.n, "burn", seq, session.epoch)
        watch = session.watch(record.intent.intent_id)
        watch.resends += 1
        watch.resend_at = watch.cancel_at = session.clock.now_ms() + session.backoff_ms(watch.resends)

        def enter(ticket: Ticket, now: int) -> TicketRow:
            draft.emit(OrderRecorded, what=f"burn number {slot.number}")
            return TicketRow(attempt.n, seq, TicketKind.BURN, attempt.generation, ticket, committed_at=now)

        return await self._command(draft, consumed, Burn(key, slot), enter_row=enter, instead_of=row.ticket)

    async def free_number(self, record: Record, n: int, row: TicketRow) -> None:
        """The sequencer's way: burn a number that no intent will use any more. Raises StoreError."""
        await self._burn(Draft(record, self.session.clock.now_ms()), BurnNumber(record.attempt(n), row), 0)

    async def _command(
        self,
        draft: Draft,
        consumed: int,
        command: Command,
        *,
        enter_row: EnterRow,
        value: Decimal | None = None,
        instead_of: Ticket | None = None,
    ) -> Draft:
        """Prepare, commit, send: the only way anything leaves for the venue (R1, R2)."""
        session, intent_id = self.session, draft.record.intent.intent_id
        watch = session.watch(intent_id)
        creating = value is not None
        async with self.numbers.turn() as turn:
            now = session.clock.now_ms()
            give_up = draft.record.intent.submit_deadline if creating else None
            prep = Prep(now, FOREVER if give_up is None else give_up, turn.taker(instead_of), instead_of)
            try:
                with session.deadlines.within(session.settings.read_timeout):
                    prepared = await session.adapter.prepare(command, prep)
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever an adapter raises, nothing was sent: say so and try later
                return await self._not_prepared(draft, consumed, error, creating)
            if not isinstance(prepared, Ticket):
                return await self._postponed(draft, consumed, prepared)
            row = enter_row(prepared, now)
            draft.put_ticket(row)
            draft.progress(next_due=now + int(session.settings.first_look * 1000))
            slots = tuple((row.attempt, slot) for slot in turn.taken)
            plain = draft.before
            try:
                record = await session.commit(
                    draft, consumed=consumed, opens=creating, notional=value or ZERO, slots=slots
                )
            except (AccountHalted, LimitExceeded) as error:
                return await self._not_admitted(plain, error)
            except KeyTaken as error:
                draft = Draft(plain, now)
                park(draft, str(error))
                watch.not_before = watch.query_at = now + session.backoff_ms(16)
                return draft
            turn.used()
        watch.query_at = now + int(session.settings.first_look * 1000)
        watch.looks.clear()
        watch.asked = 0
        return await self._send(Draft(record, now), row, fresh=True)

    async def _not_prepared(self, draft: Draft, consumed: int, error: Exception, creating: bool) -> Draft:
        """``prepare`` failed: nothing was sent, nothing is reserved."""
        session = self.session
        intent_id = draft.record.intent.intent_id
        if not isinstance(error, (ExchangeKernelError, TimeoutError)):
            log.error("prepare for %s at %s: the adapter failed", intent_id, session.account, exc_info=error)
        if isinstance(error, NotAuthorized):
            await self._stop_account(error)
        if isinstance(error, (Rejected, Unsupported)) and creating and draft.record.live is None:
            finish(draft, IntentStatus.REJECTED, str(error))
            return draft
        watch = session.watch(intent_id)
        watch.failures += 1
        retry = getattr(error, "retry_at", None) or 0
        at = max(retry, session.clock.now_ms() + session.backoff_ms(watch.failures))
        watch.not_before = watch.cancel_at = at
        if not creating or draft.record.live is not None:
            watch.query_at = max(watch.query_at, at)
        draft.condition(Condition("Degraded", code_of(error), f"prepare failed: {error}"[:200], draft.now))
        if draft.record.live is not None and creating and isinstance(error, (Rejected, InvalidOrder)):
            draft.progress(amend_refused=draft.record.intent.generation)
        return await self._commit(draft, consumed)

    async def _postponed(self, draft: Draft, consumed: int, answer: Prepared) -> Draft:
        session = self.session
        watch = session.watch(draft.record.intent.intent_id)
        if isinstance(answer, NotNow):
            watch.not_before = watch.cancel_at = max(answer.retry_at, session.clock.now_ms() + 1)
            draft.condition(Condition("Degraded", "NotNow", answer.why[:200], draft.now))
            return await self._commit(draft, consumed)
        assert isinstance(answer, NeedsFirst)
        watch.not_before = watch.cancel_at = session.clock.now_ms() + session.backoff_ms(watch.failures)
        watch.failures += 1
        park(draft, f"needs {answer.name} first: {answer.why}")
        return await self._commit(draft, consumed)

    async def _not_admitted(self, record: Record, error: Exception) -> Draft:
        session = self.session
        watch = session.watch(record.intent.intent_id)
        watch.failures += 1
        wait = session.backoff_ms(watch.failures)
        if isinstance(error, AccountHalted):
            session.halted = session.halted or str(error)
        watch.not_before = watch.cancel_at = session.clock.now_ms() + wait
        draft = Draft(record, session.clock.now_ms())
        draft.condition(Condition("Halted", type(error).__name__, str(error)[:200], draft.now))
        if record.live is not None:
            watch.query_at = max(watch.query_at, watch.not_before)
        return draft

    async def _send(self, draft: Draft, row: TicketRow, *, fresh: bool) -> Draft:
        """Send a committed ticket. ``fresh``: this task saw its commit succeed just now."""
        session, record = self.session, draft.record
        intent_id = record.intent.intent_id
        why = await self._may_send(record, row)
        if why:
            if fresh and row.ticket.slot is None:
                self._answer(intent_id, row, "none", "NotSent", why)
            return draft
        try:
            with session.deadlines.within(session.settings.submit_timeout):
                ack = await session.adapter.submit(row.ticket)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever an adapter raises, its outcome is unknown until proved (R9)
            await self._failed(intent_id, row, error)
            return draft
        items = session.inbox.setdefault(intent_id, [])
        items.extend(Reported(row.attempt, r, "ack") for r in ack.reports if isinstance(r, OrderReport))
        self._answer(intent_id, row, "duplicate" if ack.stage == "duplicate" else "done", ack.stage, "")
        if ack.stage == "duplicate":
            session.watch(intent_id).query_at = 0
        return draft

    async def _failed(self, intent_id: str, row: TicketRow, error: Exception) -> None:
        session = self.session
        watch = session.watch(intent_id)
        outcome = verdict(error, row.ticket)
        if isinstance(error, RateLimited):
            if error.banned:
                session.pause_until = max(session.pause_until, error.retry_at)
            watch.not_before = watch.cancel_at = max(error.retry_at, session.clock.now_ms() + session.backoff_ms(0))
        elif outcome == "none":
            watch.failures += 1
            watch.not_before = session.clock.now_ms() + session.backoff_ms(watch.failures)
        if isinstance(error, NotAuthorized):
            await self._stop_account(error)
        if row.kind is not TicketKind.PLACE or outcome == "unknown":
            watch.query_at = session.clock.now_ms() + int(session.settings.first_look * 1000)
        self._answer(intent_id, row, outcome, code_of(error), str(error))

    def _answer(self, intent_id: str, row: TicketRow, outcome: Outcome, code: str, text: str) -> None:
        items = self.session.inbox.setdefault(intent_id, [])
        items.append(Answered(row.attempt, row.seq, outcome, code, text))

    async def _may_send(self, record: Record, row: TicketRow) -> str:
        """Immediately before a send (R4): why not, or ""."""
        session = self.session
        if not session.owned:
            return "the lease may be lost"
        if session.clock.now_ms() >= row.ticket.send_before:
            return "too old"
        if row.kind not in CREATING:
            return ""
        blocked = session.blocked()
        if blocked:
            return blocked
        intent_id = record.intent.intent_id
        late = session.clock.now_ms() - row.committed_at > session.settings.recheck_after * 1000
        if intent_id in session.wrote or late:
            now = await session.store.standing(session.account, intent_id)
            if now is None or now.desired is not record.intent.desired or now.status.terminal:
                return "no longer wanted"
            if now.halted:
                return "halted"
            if not session.owned or session.clock.now_ms() >= row.ticket.send_before:
                return "too old"
        return ""

    async def _resend(self, draft: Draft, decision: Resend, consumed: int) -> Draft:
        """Send identical bytes again. That too is committed first, under version and epoch: a zombie's copy must not be
        able to leave after somebody else proved the ticket dead, nor any single copy's answer be believed for all."""
        session = self.session
        row = revised(decision.row, state=TicketState.REPEATED, note=f"repeated {draft.now}")
        draft.put_ticket(row)
        draft = await self._commit(draft, consumed)
        watch = session.watch(draft.record.intent.intent_id)
        watch.resends += 1
        watch.resend_at = session.clock.now_ms() + session.backoff_ms(watch.resends)
        watch.query_at = session.clock.now_ms() + int(session.settings.first_look * 1000)
        return await self._send(draft, revised(row, committed_at=draft.now), fresh=False)

    async def _stop_account(self, error: Exception) -> None:
        """Credentials no longer work: halt the account, durably."""
        from exchange_kernel.state.ops import SetHalt

        session = self.session
        session.halted = f"NotAuthorized: {error}"
        await session.store.execute(SetHalt(session.account, True, "kernel", session.halted[:200]))


def _limited(record: Record) -> bool:
    """Was its last try refused by a limit of the account? That stays to be seen until one is admitted."""
    return any(c.type == "Halted" and c.reason == LimitExceeded.__name__ for c in record.progress.conditions)


def _next_seq(record: Record, n: int) -> int:
    return max((row.seq for row in record.tickets_of(n)), default=0) + 1
