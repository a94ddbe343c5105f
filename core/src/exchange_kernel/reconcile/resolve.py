"""An operator's word, where no proof by the venue is possible (R14)."""

from __future__ import annotations

from exchange_kernel.errors import IntentConflict
from exchange_kernel.events import AttemptProvedDead
from exchange_kernel.models import IntentStatus
from exchange_kernel.reconcile.apply import UNACCOUNTED, forget, refresh
from exchange_kernel.reconcile.draft import Draft
from exchange_kernel.reconcile.proof import provable
from exchange_kernel.reconcile.session import Session
from exchange_kernel.state.rows import AttemptState, Record
from exchange_kernel.value import revised


async def by_word(session: Session, intent_id: str, ended: bool, actor: str, reason: str) -> None:
    """Accept an operator's word about the live attempt: that it never reached the venue, or that it has ``ended``.
    Refused wherever the venue itself can prove or disprove it. Raises IntentConflict, StaleWrite."""
    record = await session.store.record(session.account, intent_id)
    end = over_by_word if ended else dead_by_word
    await session.commit(end(record, intent_id, session.clock.now_ms(), actor, reason))


def over_by_word(record: Record | None, intent_id: str, now: int, actor: str, reason: str) -> Draft:
    """The record with the attempt that its venue forgot closed, its fills as booked. Pure; ``now``: local ms. Raises
    IntentConflict."""
    lost = record is not None and any(each.type == UNACCOUNTED for each in record.progress.conditions)
    attempt = None if record is None else record.revived or record.live
    if record is None or attempt is None or not lost:
        raise IntentConflict(f"intent {intent_id}: its venue can tell how its order ended; LOOK_AGAIN, or ABANDON")
    draft = Draft(record, now)
    forget(draft, attempt, f"operator's word: {actor}: {reason}"[:200])
    draft.clear_condition(UNACCOUNTED)
    draft.progress(status=IntentStatus.PENDING, reason="", next_due=0)
    refresh(draft)
    return draft


def dead_by_word(record: Record | None, intent_id: str, now: int, actor: str, reason: str) -> Draft:
    """The record with its live attempt dead by an operator's word. Pure; ``now``: local ms. Raises IntentConflict."""
    live = record.live if record is not None else None
    if record is None or live is None or live.seen:
        raise IntentConflict(f"intent {intent_id}: no attempt of unknown outcome to resolve")
    if provable(record.ref(live)):
        raise IntentConflict(f"intent {intent_id}: this venue can prove it itself; LOOK_AGAIN, or wait for the proof")
    draft = Draft(record, now)
    draft.put_attempt(revised(live, state=AttemptState.DEAD, text=f"{actor}: {reason}"[:200]))
    draft.settle_tickets(live.n)
    draft.emit(AttemptProvedDead, attempt=live.n, proof=f"operator's word: {reason}"[:200], actor=actor)
    draft.progress(status=IntentStatus.PENDING, reason="", next_due=0)
    refresh(draft)
    return draft
