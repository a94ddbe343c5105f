"""What is known beside the record when something is decided about it: the clock, the brakes, and what was looked at."""

from __future__ import annotations

from exchange_kernel.errors import InvalidOrder, NoEffect
from exchange_kernel.reconcile.decide import remaining
from exchange_kernel.reconcile.prerequisites import Standing
from exchange_kernel.reconcile.session import Session, Watch
from exchange_kernel.reconcile.target import spec_of
from exchange_kernel.reconcile.wanted import emulated_end
from exchange_kernel.reconcile.weighing import Facts
from exchange_kernel.state.rows import Attempt, Record
from exchange_kernel.venue import History


def gather(session: Session, record: Record, standing: Standing, met: bool | None = None) -> Facts:
    """Everything beside the record that a decision about it may rest on, as of now."""
    watch = session.watches.get(record.intent.intent_id)
    now = session.clock.now_ms()
    live = record.live
    until = emulated_end(record.intent, session.markets.get(record.intent.order.symbol_id))
    amendable, same = _change(session, record, live) if live is not None and live.seen else (False, False)
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
            waits=standing.waits,
            refused=standing.refused,
            met=met,
        )
    gone, lost = _absent(session, record.revived or live, watch)
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
        gone=gone,
        lost=lost,
        looked=watch.asked,
        waits=standing.waits,
        refused=standing.refused,
        need=watch.need,
        met=met,
    )


def _absent(session: Session, attempt: Attempt | None, watch: Watch) -> tuple[bool, bool]:
    """Is it gone: seen once, and then absent from two looks, from a snapshot and from history begun since (R16)? And is
    it lost: the same, where the venue has no history, and no lookup that would show its fills since it was placed?"""
    if attempt is None or not attempt.seen or not watch.snapshot_since or len(watch.looks) < 2:
        return False, False
    first, last = watch.looks[0], watch.looks[-1]
    if last.key != attempt.key or last.began - first.began < 1.0:
        return False, False
    if isinstance(session.adapter, History):
        return watch.history_since, False
    told = all("fills" in each.absent.looked and each.absent.since <= attempt.placed_at for each in watch.looks)
    return told, not told


def _change(session: Session, record: Record, live: Attempt) -> tuple[bool, bool]:
    """Can the working order be changed in place into what is wanted now; and is it that already?"""
    total = remaining(record, without=live.n)
    if record.intent.generation == live.generation and live.spec.amount <= total:
        return False, False
    if total <= 0:
        return False, False
    check = session.adapter.check
    try:
        spec = spec_of(session, record, total, like=live.spec)
        if check(spec).spec == live.spec and live.applied_amount in (None, live.spec.amount):
            return False, True
        check(spec, live.spec)
    except (InvalidOrder, NoEffect):
        return False, False
    return True, False
