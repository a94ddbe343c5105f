"""Prepare, commit, send: the only way anything leaves for the venue (R1, R2), and what its answer is worth."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from decimal import Decimal
from typing import Literal

from exchange_kernel.errors import (
    AccountHalted,
    ExchangeKernelError,
    InvalidOrder,
    KeyTaken,
    LimitExceeded,
    NotAuthorized,
    RateLimited,
    Rejected,
    UnknownTarget,
    Unsupported,
)
from exchange_kernel.models import ZERO, Condition, IntentStatus
from exchange_kernel.reconcile.apply import finish, park
from exchange_kernel.reconcile.decisions import Resend
from exchange_kernel.reconcile.draft import Draft
from exchange_kernel.reconcile.meter import about
from exchange_kernel.reconcile.numbers import Numbers
from exchange_kernel.reconcile.outcome import Answered, Reported, Stepped, code_of, said, verdict
from exchange_kernel.reconcile.prerequisites import Needs, Prerequisites
from exchange_kernel.reconcile.session import Session
from exchange_kernel.reconcile.steps import waiting
from exchange_kernel.reconcile.wanted import emulated_end
from exchange_kernel.reconcile.watching import keeps
from exchange_kernel.state.ops import SetHalt
from exchange_kernel.state.rows import CREATING, Record, TicketKind, TicketRow, TicketState
from exchange_kernel.value import revised
from exchange_kernel.venue import (
    FOREVER,
    Cancel,
    Command,
    NeedsFirst,
    NotNow,
    OrderReport,
    Place,
    Prep,
    Prepared,
    StepReport,
    Ticket,
    Why,
)

log = logging.getLogger("exchange_kernel.reconcile")

EnterRow = Callable[[Ticket, int], TicketRow]
"""Writes a prepared ticket, at a local time in ms, into the draft it was given; returns its row."""

NOTHING: Needs = {}

Outcome = Literal["done", "duplicate", "none", "unknown"]


class Sender:
    """Sends the tickets of one account."""

    def __init__(self, session: Session, numbers: Numbers, prerequisites: Prerequisites) -> None:
        self.session = session
        self.numbers = numbers
        self._prerequisites = prerequisites

    async def command(
        self,
        draft: Draft,
        consumed: int,
        command: Command,
        *,
        enter_row: EnterRow,
        value: Decimal | None = None,
        instead_of: Ticket | None = None,
        needs: Needs = NOTHING,
    ) -> Draft:
        """Prepare a command, commit its ticket with what ``enter_row`` writes into the draft, and send it.

        ``value``: the notional (quote) by which it may open or enlarge an order, None for one that cannot; with it the
        commit asks for halt, limits and RECOVERING. ``instead_of``: use up the slot of this ticket. ``needs``: the
        prerequisites it draws on. Returns the draft to go on with. Raises StoreError; errors of the venue become what
        is known about the ticket."""
        session, intent_id = self.session, draft.record.intent.intent_id
        watch = session.watch(intent_id)
        creating = value is not None
        async with self.numbers.turn() as turn:
            now = session.clock.now_ms()
            give_up = draft.record.intent.submit_deadline if creating else None
            if isinstance(command, Place) and give_up is None:  # it waited for this price, not for any later one
                give_up = now + session.settings.single_shot_deadline_ms
            market = session.markets.get(draft.record.intent.order.symbol_id)
            end = emulated_end(draft.record.intent, market) if isinstance(command, Place) else None
            if end is not None:  # what the kernel's timer will end must not be taken after that
                give_up = end if give_up is None else min(give_up, end)
            asked_at = session.clock.monotonic()
            in_use = await self._prerequisites.in_use(intent_id, needs)
            under_way = self._prerequisites.under_way(NOTHING if instead_of is not None else needs)
            until = FOREVER if give_up is None else give_up
            prep = Prep(now, until, turn.taker(instead_of), instead_of, in_use=in_use, under_way=under_way)
            try:
                with session.deadlines.within(session.settings.read_timeout):
                    prepared = await session.adapter.prepare(command, prep)
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever an adapter raises, nothing was sent: say so and try later
                return await self.not_prepared(draft, consumed, error, creating)
            if not isinstance(prepared, Ticket):
                return await self._postponed(draft, consumed, command, prepared, needs, in_use, asked_at)
            begun = instead_of is None and self._prerequisites.under_way(needs) != under_way
            if begun or self._prerequisites.used(intent_id, needs) != in_use:
                watch.not_before = now + 1  # somebody took of it meanwhile: ask again, by what is left
                return draft
            self._prerequisites.reserve(draft.before, needs)
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
                self._prerequisites.release(intent_id)
                return self._not_admitted(plain, error)
            except KeyTaken as error:
                self._prerequisites.release(intent_id)
                draft = Draft(plain, now)
                park(draft, str(error))
                watch.not_before = watch.query_at = now + session.backoff_ms(16)
                return draft
            turn.used()
        watch.query_at = now + int(session.settings.first_look * 1000)
        watch.looks.clear()
        watch.asked = 0
        return await self._send(Draft(record, now), row, fresh=True)

    async def not_prepared(self, draft: Draft, consumed: int, error: Exception, creating: bool) -> Draft:
        """``prepare``, or what it needs to know, failed: nothing was sent, nothing is reserved."""
        session = self.session
        intent_id = draft.record.intent.intent_id
        if not isinstance(error, (ExchangeKernelError, TimeoutError)):
            extra = about(session.account, intent_id, draft.record)
            text = "prepare for %s at %s: the adapter failed"
            log.error(text, intent_id, session.account, exc_info=error, extra=extra)
        if isinstance(error, NotAuthorized):
            await self._stop_account(error)
        # A price that went away before anything was sent ends no order that the kernel keeps itself.
        waits_on = keeps(session, draft.record) and getattr(error, "why", "") == Why.REVERTED.value
        if isinstance(error, (Rejected, Unsupported)) and creating and draft.record.live is None and not waits_on:
            finish(draft, IntentStatus.REJECTED, said(error))
            return draft
        watch = session.watch(intent_id)
        watch.failures += 1
        retry = getattr(error, "retry_at", None) or 0
        at = max(retry, session.clock.now_ms() + session.backoff_ms(watch.failures))
        watch.not_before = watch.cancel_at = at
        if isinstance(error, UnknownTarget):
            watch.query_at = 0  # what became of it is found by looking, before anything else is tried (R21)
        elif not creating or draft.record.live is not None:
            watch.query_at = max(watch.query_at, at)
        draft.condition(Condition("Degraded", code_of(error), f"prepare failed: {error}"[:200], draft.now))
        if draft.record.live is not None and creating and isinstance(error, (Rejected, InvalidOrder)):
            draft.progress(amend_refused=draft.record.intent.generation)
        return await self._commit(draft, consumed)

    async def _postponed(
        self,
        draft: Draft,
        consumed: int,
        command: Command,
        answer: Prepared,
        needs: Needs,
        in_use: Needs,
        asked_at: float,
    ) -> Draft:
        session = self.session
        watch = session.watch(draft.record.intent.intent_id)
        if isinstance(answer, NotNow):
            watch.cancel_at = max(answer.retry_at, session.clock.now_ms() + 1)
            if not isinstance(command, Cancel):  # what comes after a cancel does not wait for it once it has worked
                watch.not_before = watch.cancel_at
            if self._prerequisites.used(draft.record.intent.intent_id, in_use) == in_use:
                self._prerequisites.hold(draft.record.intent.intent_id, needs)
            else:  # less may be in use by now
                watch.not_before = session.clock.now_ms() + 1
            draft.condition(Condition("Degraded", "NotNow", answer.why[:200], draft.now))
            return await self._commit(draft, consumed)
        assert isinstance(answer, NeedsFirst)
        return await self._needs_first(draft, consumed, answer, needs, in_use, asked_at)

    async def _needs_first(
        self, draft: Draft, consumed: int, answer: NeedsFirst, needs: Needs, in_use: Needs, asked_at: float
    ) -> Draft:
        """Something else must be allowed first (R28): it is run as a step, once, and this waits for it and says so."""
        session, record = self.session, draft.record
        watch = session.watch(record.intent.intent_id)
        watch.not_before = watch.cancel_at = session.clock.now_ms() + session.backoff_ms(watch.failures)
        if record.live is not None:
            watch.query_at = max(watch.query_at, watch.not_before)
            refused = (await self._prerequisites.standing(record)).refused
            if refused:
                draft.progress(amend_refused=record.intent.generation)
                draft.condition(Condition("AmendRejected", "NeedsFirst", refused[:200], draft.now))
                return await self._commit(draft, consumed)
        try:
            step = await self._prerequisites.ensure(record, answer, needs, in_use, asked_at)
        except AccountHalted as error:
            return self._not_admitted(draft.before, error)
        if not step:
            watch.not_before = watch.cancel_at = session.clock.now_ms() + 1
            return draft
        watch.failures += 1
        draft.condition(waiting(record, answer, step, draft.now))
        return await self._commit(draft, consumed)

    def _not_admitted(self, record: Record, error: AccountHalted | LimitExceeded) -> Draft:
        """A halt or a limit of the account holds it back: nothing was committed, it waits and says why."""
        session = self.session
        watch = session.watch(record.intent.intent_id)
        watch.failures += 1
        wait = session.backoff_ms(watch.failures)
        watch.not_before = watch.cancel_at = session.clock.now_ms() + wait
        draft = Draft(record, session.clock.now_ms())
        if isinstance(error, AccountHalted):
            session.halted = session.halted or str(error)
            draft.condition(Condition("Halted", "AccountHalted", str(error)[:200], draft.now))
        else:  # limits are read after halts
            draft.clear_condition("Halted")
            draft.condition(Condition("Limited", error.limit, str(error)[:200], draft.now))
        if record.live is not None:
            watch.query_at = max(watch.query_at, watch.not_before)
        return draft

    async def _send(self, draft: Draft, row: TicketRow, *, fresh: bool) -> Draft:
        """Send a committed ticket. ``fresh``: this task saw its commit succeed just now."""
        session, record = self.session, draft.record
        intent_id = record.intent.intent_id
        why = await self.may_send(record, row)
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
        items.extend(Stepped(row.attempt, r) for r in ack.reports if isinstance(r, StepReport))
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
            if isinstance(error, RateLimited):
                watch.query_at = max(watch.query_at, watch.not_before)
        self._answer(intent_id, row, outcome, code_of(error), said(error))

    def _answer(self, intent_id: str, row: TicketRow, outcome: Outcome, code: str, text: str) -> None:
        items = self.session.inbox.setdefault(intent_id, [])
        items.append(Answered(row.attempt, row.seq, outcome, code, text))

    async def may_send(self, record: Record, row: TicketRow) -> str:
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

    async def resend(self, draft: Draft, decision: Resend, consumed: int) -> Draft:
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
        session = self.session
        session.halted = f"NotAuthorized: {said(error)}"
        await session.store.execute(SetHalt(session.account, True, "kernel", session.halted[:200]))

    async def _commit(self, draft: Draft, consumed: int) -> Draft:
        return Draft(await self.session.commit(draft, consumed=consumed), draft.now)
