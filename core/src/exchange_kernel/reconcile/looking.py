"""Looking an attempt up at the venue, and when to look again."""

from __future__ import annotations

import asyncio
import logging

from exchange_kernel.errors import RateLimited, Unavailable, VenueError
from exchange_kernel.reconcile.meter import about
from exchange_kernel.reconcile.outcome import ReadUpTo, Reported, Stepped, Unseen
from exchange_kernel.reconcile.proof import Look, earliest_proof_ms
from exchange_kernel.reconcile.session import Session
from exchange_kernel.state.rows import Record, is_step
from exchange_kernel.venue import Absent, Found, OrderReport, StepReport

STEP_LOOK_MS = 2_000
"""How often at least a step is looked up."""

log = logging.getLogger("exchange_kernel.reconcile")


async def look(session: Session, record: Record, n: int) -> None:
    """Look attempt ``n`` up: what is found, or that nothing is, goes into the intent's inbox and its watch."""
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
            extra = about(session.account, intent_id, record)
            log.exception("lookup of %s at %s", intent_id, session.account, extra=extra)
        watch.query_at = now + session.backoff_ms(watch.asked)
        return
    now = session.clock.now_ms()
    watch.query_at = now + session.backoff_ms(watch.asked)
    if is_step(intent_id):  # an order waits for it, and no stream tells
        watch.query_at = min(watch.query_at, now + STEP_LOOK_MS)
    if isinstance(answer, Found):
        watch.shown()
        items = session.inbox.setdefault(intent_id, [])
        orders = [r for r in answer.reports if isinstance(r, OrderReport)]
        items.extend(Reported(n, report, "lookup") for report in orders)
        items.extend(Stepped(n, r) for r in answer.reports if isinstance(r, StepReport) and r.key == attempt.key)
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
        _unseen(session, intent_id, n, "not seen at the venue; not yet proved absent")
    else:
        if answer.retry_at is not None:
            watch.query_at = max(answer.retry_at, now + session.backoff_ms(0))
        _unseen(session, intent_id, n, answer.why[:200])


def _unseen(session: Session, intent_id: str, n: int, why: str) -> None:
    session.inbox.setdefault(intent_id, []).append(Unseen(n, why))
