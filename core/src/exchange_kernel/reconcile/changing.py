"""What each change at the venue is made of: its key, its command, and the row its ticket gets."""

from __future__ import annotations

import asyncio

from exchange_kernel.errors import InvalidOrder, NoEffect
from exchange_kernel.events import OrderRecorded, OrderSubmitted
from exchange_kernel.models import ZERO, Condition, IntentStatus
from exchange_kernel.reconcile.apply import finish, notional
from exchange_kernel.reconcile.decisions import AmendOrder, BurnNumber, CancelOrder, ReplaceOrder, SettleOrder, Submit
from exchange_kernel.reconcile.draft import Draft
from exchange_kernel.reconcile.pricing import await_price
from exchange_kernel.reconcile.sending import Sender
from exchange_kernel.reconcile.session import Session
from exchange_kernel.reconcile.steps import WAITS, command_of, spec_of_step
from exchange_kernel.reconcile.target import price_of, spec_of
from exchange_kernel.schema import canonical
from exchange_kernel.state.rows import Attempt, Record, TicketKind, TicketRow, is_step
from exchange_kernel.venue import Amend, Burn, Cancel, Place, Settle, Ticket


class Changes:
    """The changes that one account's reconciler asks of the venue."""

    def __init__(self, session: Session, sender: Sender) -> None:
        self.session = session
        self._sender = sender

    async def submit(self, draft: Draft, decision: Submit, consumed: int) -> Draft:
        """Open an attempt; finishes the intent REJECTED where the venue's own check refuses it beforehand."""
        session, record = self.session, draft.record
        intent = record.intent
        if is_step(intent.intent_id):
            return await self._step(draft, decision, consumed)
        try:
            await await_price(session, intent.order)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - a read that failed, in whatever way, is no verdict on the order
            return await self._sender.not_prepared(draft, consumed, error, creating=True)
        try:
            preview = session.adapter.check(spec_of(session, record, decision.amount))
        except (InvalidOrder, NoEffect) as error:
            if record.progress.filled_base:
                finish(draft, IntentStatus.EXPIRED, f"what is left of it cannot be ordered: {error}")
            else:
                finish(draft, IntentStatus.REJECTED, str(error))
            return draft
        spec = preview.spec
        value = notional(spec, spec.amount, price_of(session, record)) or ZERO
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
            _admitted(draft)
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

        return await self._sender.command(
            draft, consumed, Place(key, spec), enter_row=enter, value=value, needs=preview.needs
        )

    async def _step(self, draft: Draft, decision: Submit, consumed: int) -> Draft:
        """Open an attempt of a step (R28): the same life as an order's, with another command."""
        session, intent = self.session, draft.record.intent
        opened, key = session.opened, session.key(intent.intent_id, decision.n)
        command = command_of(intent, key)

        def enter(ticket: Ticket, now: int) -> TicketRow:
            attempt = Attempt(
                n=decision.n,
                key=key,
                generation=intent.generation,
                spec=spec_of_step(intent),
                placed_at=now + opened.clock_offset - opened.clock_error,
                epoch=session.epoch,
                ids=ticket.ids,
            )
            draft.put_attempt(attempt)
            draft.clear_condition("Halted")
            draft.emit(OrderRecorded, what=f"enable {command.name} for {canonical(command.amount)}")
            draft.progress(status=IntentStatus.SUBMITTING, reason="")
            return TicketRow(decision.n, 1, TicketKind.ENABLE, intent.generation, ticket, committed_at=now)

        return await self._sender.command(draft, consumed, command, enter_row=enter, value=ZERO)

    async def amend(self, draft: Draft, decision: AmendOrder, consumed: int) -> Draft:
        """Change the working order in place, its quantity a total (R23)."""
        session, record = self.session, draft.record
        attempt, generation = decision.attempt, record.intent.generation
        seq = _next_seq(record, attempt.n)
        key = session.key(record.intent.intent_id, attempt.n, "amend", seq, session.epoch)
        try:
            wanted = spec_of(session, record, decision.amount, like=attempt.spec)
            preview = session.adapter.check(wanted, attempt.spec)
        except (InvalidOrder, NoEffect) as error:
            draft.progress(amend_refused=generation)
            draft.condition(Condition("AmendRejected", "Invalid", str(error)[:200], draft.now))
            return draft
        spec = preview.spec
        value = notional(spec, spec.amount - attempt.booked, price_of(session, record)) or ZERO

        def enter(ticket: Ticket, now: int) -> TicketRow:
            _admitted(draft)
            draft.emit(OrderRecorded, what=f"amend {seq} to generation {generation}")
            draft.progress(reserved=max(value, record.progress.reserved))
            return TicketRow(attempt.n, seq, TicketKind.AMEND, generation, ticket, committed_at=now, spec=spec)

        command = Amend(key, record.ref(attempt), spec)
        return await self._sender.command(draft, consumed, command, enter_row=enter, value=value, needs=preview.needs)

    async def cancel(self, draft: Draft, decision: CancelOrder, consumed: int) -> Draft:
        """Cancel the attempt's order, as a new ticket each time (R21)."""
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
        command = Cancel(key, record.ref(attempt), decision.force)
        return await self._sender.command(draft, consumed, command, enter_row=enter, instead_of=before)

    async def settle(self, draft: Draft, decision: SettleOrder, consumed: int) -> Draft:
        """Take the proceeds of an order that has executed in full. It opens nothing, so that no halt holds it back."""
        session, record = self.session, draft.record
        attempt = decision.attempt
        seq = _next_seq(record, attempt.n)
        key = session.key(record.intent.intent_id, attempt.n, "settle", seq, session.epoch)

        def enter(ticket: Ticket, now: int) -> TicketRow:
            draft.emit(OrderRecorded, what=f"settle {seq}", reason=decision.why[:200])
            return TicketRow(attempt.n, seq, TicketKind.SETTLE, attempt.generation, ticket, committed_at=now)

        return await self._sender.command(draft, consumed, Settle(key, record.ref(attempt)), enter_row=enter)

    async def replace(self, draft: Draft, decision: ReplaceOrder, consumed: int) -> Draft:
        """The same order under the same number for a higher fee: at most one of its tickets ever takes effect."""
        session, record = self.session, draft.record
        attempt, before = decision.attempt, decision.row.ticket
        seq = _next_seq(record, attempt.n)
        value = notional(attempt.spec, attempt.spec.amount, price_of(session, record)) or ZERO
        watch = session.watch(record.intent.intent_id)
        watch.resends += 1
        watch.resend_at = session.clock.now_ms() + session.backoff_ms(watch.resends)
        watch.need = None  # it was of the one that is replaced; what this one needs its own reports say

        def enter(ticket: Ticket, now: int) -> TicketRow:
            _admitted(draft)
            draft.emit(OrderRecorded, what=f"replace {seq}", reason=decision.why[:200])
            return TicketRow(attempt.n, seq, TicketKind.PLACE, attempt.generation, ticket, committed_at=now)

        return await self._sender.command(
            draft,
            consumed,
            Place(attempt.key, attempt.spec),
            enter_row=enter,
            value=value,
            instead_of=before,
            needs=session.adapter.check(attempt.spec).needs,
        )

    async def burn(self, draft: Draft, decision: BurnNumber, consumed: int) -> Draft:
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

        return await self._sender.command(draft, consumed, Burn(key, slot), enter_row=enter, instead_of=row.ticket)

    async def free_number(self, record: Record, n: int, row: TicketRow) -> None:
        """The sequencer's way: burn a number that no intent will use any more. Raises StoreError."""
        await self.burn(Draft(record, self.session.clock.now_ms()), BurnNumber(record.attempt(n), row), 0)


def _admitted(draft: Draft) -> None:
    """Neither a halt, nor a limit, nor a prerequisite holds it back any more."""
    draft.clear_condition("Halted")
    draft.clear_condition("Limited")
    draft.clear_condition(WAITS)


def _next_seq(record: Record, n: int) -> int:
    return max((row.seq for row in record.tickets_of(n)), default=0) + 1
