"""Starting over: what is unfinished, what a panic did meanwhile, and what a store that lost commits must find out
(R32)."""

from __future__ import annotations

from exchange_kernel.errors import RateLimited, Unavailable
from exchange_kernel.events import IntentCreated, IntentModified, OrderParked, RecoveryFinished, RecoveryStarted
from exchange_kernel.models import Condition, IntentStatus, OrderIntent
from exchange_kernel.reconcile.draft import Draft
from exchange_kernel.reconcile.intake import Intake
from exchange_kernel.reconcile.outcome import Reported
from exchange_kernel.reconcile.queue import Priority
from exchange_kernel.reconcile.session import Known, Session
from exchange_kernel.reconcile.wanted import wanted_spec
from exchange_kernel.schema import AmountType, StandardOrder, TimeInForce
from exchange_kernel.state.commit import AdoptOrphan, new_record
from exchange_kernel.state.ops import SetRecovering
from exchange_kernel.state.rows import Attempt, AttemptState, Record, is_step
from exchange_kernel.value import revised
from exchange_kernel.venue import Found, History, OrderReport, Ref

PROBES = 3
"""How many attempt numbers beyond the last one stored are looked for after a loss."""


async def load_unfinished(session: Session) -> int:
    """Mark what needs work; remember keys and last reports of the rest, so that a snapshot can tell news from old."""
    live = await session.store.live_intents(session.account)
    now = session.clock.monotonic()
    for row in live:
        if row.key is not None:
            session.keys[row.key] = (row.intent_id, row.attempt)
        settled = (
            row.state is AttemptState.LIVE
            and row.key is not None
            and not row.behind
            and (row.next_due is None or row.next_due > session.clock.now_ms())
        )
        if row.key is not None and row.venue_status:
            session.known[row.intent_id] = Known(
                row.attempt, row.key, now - 3600.0, row.venue_status, row.version, row.cum_base
            )
        if not settled:
            session.queue.mark(row.intent_id, Priority.RESYNC if row.attempt else Priority.SUBMIT)
        elif row.next_due is not None:
            delay = (row.next_due - session.clock.now_ms()) / 1000
            session.queue.mark(row.intent_id, Priority.RESYNC, delay)
    return len(live)


class Recovery:
    """RECOVERING: nothing is opened until the longest fence has passed and the venue was searched."""

    def __init__(self, session: Session, intake: Intake) -> None:
        self.session = session
        self.intake = intake
        self.matched = 0
        self.parked = 0
        self._began = 0

    def _venue_now(self) -> int:
        """Upper bound of the venue's clock now, ms."""
        opened = self.session.opened
        return self.session.clock.now_ms() + opened.clock_offset + opened.clock_error

    async def begin(self, cause: str) -> None:
        """Enter RECOVERING, durably; a state entered before is kept."""
        session = self.session
        session.recovering = cause
        row = await session.store.account_row(session.account)
        if row is not None and row.recovering is not None:
            return
        event = RecoveryStarted(account=session.account, at=session.clock.now_ms(), cause=cause)
        newest = 0 if row is None else row.event_seq
        state: dict[str, object] = {"cause": cause, "venue_since": self._venue_now(), "events": newest}
        await session.store.execute(SetRecovering(session.account, session.epoch, state, event))

    async def run(self) -> bool:
        """One try to finish: False when it is too early or the venue does not answer."""
        session = self.session
        row = await session.store.account_row(session.account)
        if row is None or row.recovering is None:
            session.recovering = ""
            return True
        horizon = session.opened.horizon
        if horizon is None and not session.opened.scopes and not self._keys_are_permanent():
            return False
        # Without a venue time (another process marked the account, without its venue) the wait begins here.
        self._began = self._began or self._venue_now()
        began = int(str(row.recovering.get("venue_since", self._began)))
        try:
            page = await session.adapter.open_orders(None)
            seen = page.at.venue_ms if page.at.venue_ms is not None else page.at.ledger_ms
            if horizon is not None and (seen is None or seen <= began + horizon + session.opened.read_lag):
                return False
            await self._search()
        except (Unavailable, RateLimited):
            return False
        await self._hold(row.recovering.get("events"))
        event = RecoveryFinished(
            account=session.account, at=session.clock.now_ms(), matched=self.matched, parked=self.parked
        )
        await session.store.execute(SetRecovering(session.account, session.epoch, None, event))
        session.recovering = ""
        for live in await session.store.live_intents(session.account):
            session.queue.mark(live.intent_id, Priority.SUBMIT)
        return True

    async def _hold(self, newest: object) -> None:
        """What was declared before the loss and is not at the venue: a later cancel or change of it may be lost. It is
        held until its user asks for it again, by ``resolve`` or by a new modification. What was asked for after the
        loss had been noticed needs no second word; ``newest``: the newest event of that moment, None if unknown."""
        session = self.session
        asked = set() if newest is None else await self._asked_after(int(str(newest)))
        for live in await session.store.live_intents(session.account):
            if live.intent_id in asked or is_step(live.intent_id):
                continue
            record = await session.store.record(session.account, live.intent_id)
            if (
                record is None
                or (record.live is not None and record.live.seen)
                or record.progress.status.terminal
                or record.intent.max_attempts == 0
            ):
                continue
            session.forget(live.intent_id)
            draft = Draft(record, session.clock.now_ms())
            reason = "the store may have lost a later cancel or change of it; resolve it, or modify it"
            draft.condition(Condition("Held", f"generation {record.intent.generation}", reason, draft.now))
            if record.live is None:
                draft.progress(status=IntentStatus.PARKED, reason=reason)
                draft.emit(OrderParked, reason=reason)
            await session.commit(draft)
            self.parked += 1

    async def _asked_after(self, seq: int) -> set[str]:
        """The intents that their users declared or changed after this event."""
        session, asked = self.session, set[str]()
        while page := await session.store.events(session.account, seq):
            asked |= {e.intent_id for e in page if e.intent_id and isinstance(e, (IntentCreated, IntentModified))}
            seq = page[-1].seq
        return asked

    def _keys_are_permanent(self) -> bool:
        symbols = self.session.markets.values()
        return (
            any(symbol.capabilities.offers("find_by_key") for symbol in symbols) and self.session.opened.horizon is None
        )

    async def _search(self) -> None:
        """Find every order of ours at the venue, by open orders, by history, and by the keys the next attempts would
        have."""
        session = self.session
        await self.intake.snapshot()
        if isinstance(session.adapter, History):
            await self.intake.history(None)
        for live in await session.store.live_intents(session.account):
            record = await session.store.record(session.account, live.intent_id)
            if record is not None and not is_step(live.intent_id):
                await self._probe(record)

    async def _probe(self, record: Record) -> None:
        session = self.session
        intent = record.intent
        for n in range(len(record.attempts) + 1, len(record.attempts) + 1 + PROBES):
            key = session.key(intent.intent_id, n)
            answer = await session.adapter.lookup(
                Ref(key=key, symbol=intent.order.symbol_id, spec=None, placed_at=session.clock.now_ms())
            )
            if isinstance(answer, Found):
                for report in answer.reports:
                    if isinstance(report, OrderReport):
                        await self.lost(report)

    async def lost(self, report: OrderReport) -> None:
        """An order of ours that SQL does not know: give it back to its intent, or park it as an intent of its own."""
        session = self.session
        if not session.recovering:
            await self.begin(f"the venue shows order {report.id.value} of this store, which the store does not know")
        known = await session.store.locate(session.account, report.key, (report.id,))
        if known is not None:
            session.deliver(known[0], Reported(known[1], report, "lookup"))
            return
        owner = await self._owner(report)
        if owner is not None:
            await self._adopt(owner[0], owner[1], report)
            self.matched += 1
        else:
            await self._orphan(report)
            self.parked += 1

    async def _owner(self, report: OrderReport) -> tuple[Record, int] | None:
        session = self.session
        for intent, _ in await session.store.intents(session.account, symbol=report.symbol):
            for n in range(1, intent.max_attempts + PROBES + 1):
                if session.key(intent.intent_id, n) == report.key:
                    record = await session.store.record(session.account, intent.intent_id)
                    return None if record is None else (record, n)
        return None

    async def _adopt(self, record: Record, n: int, report: OrderReport) -> None:
        """Attempt ``n`` was committed once and the commit is lost: write it again, from what the venue shows."""
        session = self.session
        session.forget(record.intent.intent_id)
        draft = Draft(record, session.clock.now_ms())
        symbol = session.markets[report.symbol]
        for missing in range(len(record.attempts) + 1, n + 1):
            amount = report.amount if report.amount is not None else record.intent.order.amount
            last = missing == n
            attempt = Attempt(
                n=missing,
                key=session.key(record.intent.intent_id, missing),
                generation=record.intent.generation,
                spec=revised(
                    wanted_spec(record.intent, amount, symbol), limit=report.price or record.intent.order.limit_price
                ),
                placed_at=0,
                state=AttemptState.UNKNOWN if last and draft.record.live is None else AttemptState.DEAD,
                epoch=session.epoch,
                text="" if last else "its commit was lost; the venue shows a later attempt",
            )
            draft.put_attempt(attempt)
        record = await session.commit(draft)
        session.deliver(record.intent.intent_id, Reported(n, report, "lookup"))

    async def _orphan(self, report: OrderReport) -> None:
        """An order whose very intent was lost: park it under a name of its own, so that nobody overlooks it."""
        session = self.session
        intent_id = f"orphan-{report.id.value}"[:64].replace("/", "-").replace(":", "-")
        if await session.store.record(session.account, intent_id) is not None:
            return
        order = StandardOrder(
            symbol_id=report.symbol,
            side=report.side,
            amount=report.amount if report.amount else report.filled.base,
            amount_type=AmountType.BASE,
            limit_price=report.price,
            time_in_force=TimeInForce.GTC,
        )
        intent = OrderIntent(
            account=session.account,
            intent_id=intent_id,
            order=order,
            labels={"origin": "lost-commit"},
            first_hash=order.spec_hash(),
            max_attempts=0,
        )
        assert report.key is not None
        draft = Draft(new_record(intent), session.clock.now_ms())
        attempt = Attempt(
            n=1,
            key=report.key,
            generation=1,
            spec=wanted_spec(intent, order.amount, session.markets[report.symbol]),
            placed_at=0,
            epoch=session.epoch,
        )
        draft.put_attempt(attempt)
        reason = "an order of ours at the venue whose intent was lost; cancel it or keep it"
        draft.progress(status=IntentStatus.PARKED, reason=reason)
        draft.emit(OrderParked, reason=reason)
        orphan = AdoptOrphan(session.account, session.epoch, intent, draft.record, tuple(draft.events))
        await session.store.execute(orphan)
        session.deliver(intent_id, Reported(1, report, "lookup"))
