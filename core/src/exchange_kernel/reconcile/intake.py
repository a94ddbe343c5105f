"""What comes in from the venue: the stream and the snapshots, routed to the intents they are about.

A report is foreign only if SQL, read after the report arrived, names none of its ids (R36). A report that carries our
own
store's tag and is unknown to SQL means that the store lost a commit (R32).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass

from exchange_kernel.events import DriftDetected, Event, HealthChanged, MarginCallWarning
from exchange_kernel.models import Condition, IntentStatus, OrderState, Origin
from exchange_kernel.reconcile.outcome import Reported, Stepped, Voided
from exchange_kernel.reconcile.queue import Priority
from exchange_kernel.reconcile.session import Session
from exchange_kernel.state.ops import RecordEvents, balance_event
from exchange_kernel.venue import (
    AccountSnapshot,
    Balance,
    Fill,
    FillVoided,
    Gap,
    History,
    MarketsChanged,
    Notice,
    OrderReport,
    StepReport,
    VenueEvent,
    VenueStatus,
)

_STATUS = {
    VenueStatus.PENDING: IntentStatus.SUBMITTING,
    VenueStatus.DORMANT: IntentStatus.WORKING,
    VenueStatus.TRIGGERING: IntentStatus.WORKING,
    VenueStatus.WORKING: IntentStatus.WORKING,
    VenueStatus.FILLED: IntentStatus.FILLED,
    VenueStatus.CANCELED: IntentStatus.CANCELED,
    VenueStatus.EXPIRED: IntentStatus.EXPIRED,
    VenueStatus.REJECTED: IntentStatus.REJECTED,
}

REMEMBERED = 10_000
"""Foreign orders, at least, of which is remembered that an event has told about them."""


@dataclass(slots=True)
class SnapshotResult:
    """What one snapshot of open orders showed. ``began``: monotonic seconds."""

    began: float
    complete: bool
    ours: set[str]
    marked: set[str]
    foreign: int = 0


class Intake:
    """Routes what the venue tells about one account. ``on_lost``: called when evidence of a lost commit appears."""

    def __init__(self, session: Session, on_lost: Callable[[OrderReport], Awaitable[None]]) -> None:
        self.session = session
        self._on_lost = on_lost
        self._balances: dict[str, Balance] = {}
        self._told: dict[str, Balance] = {}
        self._foreign: set[str] = set()
        self._announced: dict[str, None] = {}
        self._noted: dict[tuple[str, str], Condition | None] = {}
        self._of_snapshots: set[tuple[str, str]] = set()
        self.snapshot_wanted = False
        self.markets_changed = False

    async def event(self, event: VenueEvent) -> None:
        """Take one event of the stream."""
        body = event.body
        match body:
            case OrderReport():
                await self.report(body, "stream")
            case StepReport():
                self._step(body)
            case FillVoided():
                await self._voided(body)
            case AccountSnapshot():
                self.account(body)
            case Gap():
                self.snapshot_wanted = True
            case MarketsChanged():
                self.markets_changed = True
            case Notice():
                await self._notice(body)
            case _:
                return

    async def report(self, report: OrderReport, source: str) -> str | None:
        """Route one order report; returns the intent it is about, or None for a foreign order."""
        session = self.session
        found = session.keys.get(report.key) if report.key is not None else None
        if found is None:
            found = await session.store.locate(session.account, report.key, (report.id, *report.links))
        if found is None:
            if report.key is not None and report.key.startswith(session.tag):
                await self._on_lost(report)
                return None
            await self._foreign_order(report)
            return None
        intent_id, n = found
        if source == "stream" and session.heard(intent_id, n, report):
            return intent_id
        item = Reported(n, report, source)  # type: ignore[arg-type]
        session.deliver(intent_id, item, Priority.REFRESH if source != "snapshot" else Priority.RESYNC)
        return intent_id

    def _step(self, report: StepReport) -> None:
        """A stream tells only what is known: any other step is found by looking."""
        found = self.session.keys.get(report.key)
        if found is not None:
            self.session.deliver(found[0], Stepped(found[1], report))

    async def _voided(self, event: FillVoided) -> None:
        session = self.session
        owner = await session.store.fill_owner(session.account, event.id)
        if owner is None:
            owner = self._waiting_fill(event.id)
        if owner is not None:
            session.deliver(owner[0], Voided(owner[1], event))

    def _waiting_fill(self, fill_id: str) -> tuple[str, int] | None:
        """The intent whose inbox holds this fill, not yet committed."""
        for intent_id, items in self.session.inbox.items():
            for item in items:
                if isinstance(item, Reported) and any(fill.id == fill_id for fill in item.report.fills):
                    return intent_id, item.n
        return None

    async def _foreign_order(self, report: OrderReport) -> None:
        session = self.session
        key = f"{report.id.kind}:{report.id.value}"
        if report.status.terminal:
            session.actual.drop(session.account, key)
            self._foreign.discard(key)
            return
        origin = Origin.VENUE if report.origin == "venue" else Origin.FOREIGN
        session.actual.put(foreign_state(session.account, report, origin), key)
        self._foreign.add(key)
        if key in self._announced or not session.settings.report_foreign or not session.owned:
            return
        event = DriftDetected(
            account=session.account,
            at=session.clock.now_ms(),
            what=f"{origin.value.lower()} order",
            venue_id=report.id.value,
            reason=f"{report.symbol} {report.side} {report.status.value}",
        )
        self._announced[key] = None
        try:
            await self._record((event,))
        except BaseException:
            self._announced.pop(key, None)  # perhaps not written: the next report of it, or snapshot, tells again
            raise
        # Not when it is over: reads trail one another, and an old one may show it once more.
        if len(self._announced) > max(REMEMBERED, 2 * len(self._foreign)):
            oldest = next(name for name in self._announced if name not in self._foreign)
            del self._announced[oldest]

    async def _notice(self, notice: Notice) -> None:
        at = self.session.clock.now_ms()
        event: Event
        if notice.kind == "margin_call":
            event = MarginCallWarning(account=self.session.account, at=at, text=notice.text)
        else:
            healthy = notice.kind == "venue_resumed"
            event = HealthChanged(
                account=self.session.account, at=at, component=notice.kind, healthy=healthy, reason=notice.text
            )
        await self._record((event,))

    async def _record(self, events: tuple[Event, ...]) -> None:
        session = self.session
        if events and session.owned:
            await session.store.execute(RecordEvents(session.account, session.epoch, events))

    # ---- snapshots ----------------------------------------------------------------------------------------------

    async def snapshot(self) -> SnapshotResult:
        """Read all open orders, page by page; mark what changed and what is missing. Raises Unavailable."""
        session = self.session
        began = session.clock.monotonic()
        result = SnapshotResult(began, True, set(), set())
        page: str | None = None
        seen_foreign: set[str] = set()
        while True:
            snapshot = await session.adapter.open_orders(page)
            for report in snapshot.reports:
                await self._from_snapshot(report, result, seen_foreign)
            result.complete = result.complete and snapshot.complete and snapshot.symbols is None
            page = snapshot.next
            if page is None:
                break
        if result.complete:
            self._missing(result)
            if snapshot.owner == "account":
                for key in self._foreign - seen_foreign:
                    session.actual.drop(session.account, key)
                self._foreign &= seen_foreign
        return result

    async def _from_snapshot(self, report: OrderReport, result: SnapshotResult, foreign: set[str]) -> None:
        session = self.session
        located = session.keys.get(report.key) if report.key is not None else None
        if located is not None:
            known = session.known.get(located[0])
            result.ours.add(located[0])
            watch = session.watches.get(located[0])
            same = report.need == (None if watch is None else watch.need) and report.drawn is (located in session.drawn)
            if known is not None and known.key == report.key and same and not _news(known, report):
                known.at = max(known.at, result.began)
                if watch is not None and watch.missing is not None:
                    watch.missing = None
                return
        intent_id = await self.report(report, "snapshot")
        if intent_id is None:
            foreign.add(f"{report.id.kind}:{report.id.value}")
            result.foreign += 1
        else:
            result.ours.add(intent_id)
            result.marked.add(intent_id)

    def _missing(self, result: SnapshotResult) -> None:
        """Live orders that a complete snapshot, begun well after they were last seen, does not show: look at them.
        Absence
        here proves nothing by itself (R16)."""
        session = self.session
        horizon = result.began - session.opened.read_lag / 1000
        for intent_id, known in session.known.items():
            if intent_id in result.ours or known.at >= horizon:
                continue
            watch = session.watch(intent_id)
            if watch.missing is None:
                watch.missing = result.began
            if watch.looks and watch.looks[0].began < result.began:
                watch.snapshot_since = True
            session.queue.mark(intent_id, Priority.RESYNC)
            result.marked.add(intent_id)

    async def history(self, cursor: str | None) -> str | None:
        """Read what finished or traded since ``cursor``, page by page; returns the new cursor. Raises Unavailable."""
        session = self.session
        adapter = session.adapter
        if not isinstance(adapter, History):
            return cursor
        began = session.clock.monotonic()
        while True:
            page, cursor_next = await adapter.history(cursor)
            for entry in page:
                if isinstance(entry, OrderReport):
                    await self._from_history(entry)
                elif isinstance(entry, Fill):
                    await self._fill(entry)
            if not page or cursor_next is None or cursor_next == cursor:
                break
            cursor = cursor_next
        for watch in session.watches.values():
            # Last sighting, then absence, then a snapshot without it, then history: in this order, or it proves
            # nothing (R16).
            if watch.snapshot_since and watch.looks and watch.looks[0].began < began:
                watch.history_since = True
        return cursor

    async def _from_history(self, report: OrderReport) -> None:
        session = self.session
        if report.key is not None and report.key in session.keys:
            intent_id, n = session.keys[report.key]
            session.deliver(intent_id, Reported(n, report, "history"), Priority.RESYNC)
        elif (
            report.key is not None
            and report.key.startswith(session.tag)
            and await session.store.locate(session.account, report.key, (report.id,)) is None
        ):
            await self._on_lost(report)

    async def _fill(self, fill: Fill) -> None:
        """A fill on its own: its order must be looked at."""
        session = self.session
        found = await session.store.locate(session.account, None, (fill.of,))
        if found is not None and await session.store.fill_owner(session.account, fill.id) is None:
            session.watch(found[0]).missing = session.clock.monotonic()
            session.queue.mark(found[0], Priority.REFRESH)

    # ---- the account --------------------------------------------------------------------------------------------

    def account(self, snapshot: AccountSnapshot) -> None:
        """Remember balances, positions and notices; events follow with the next :meth:`flush`."""
        self.session.actual.put_account(self.session.account, snapshot)
        self.session.floors.update(snapshot.floors)
        self._conditions(snapshot)
        for balance in snapshot.balances:
            if self._told.get(balance.asset) != balance:
                self._balances[balance.asset] = balance

    def note(self, notice: Notice, *, over: bool = False) -> None:
        """A condition of the account: told by an event where it is new, other than before, or ``over``."""
        conditions, key = self.session.conditions, (notice.kind, notice.subject)
        known = conditions.get(key)
        if over:
            if conditions.pop(key, None) is not None:
                self._noted[key] = None
        elif known is None or known.message != notice.text:
            now = self.session.clock.now_ms()
            self._noted[key] = conditions[key] = Condition(notice.kind, notice.subject, notice.text, now)

    def stand(self, conditions: Mapping[tuple[str, str], Condition]) -> None:
        """What was told before: it stands until it is seen to be over, and is not told again."""
        self.session.conditions.update(conditions)
        switched = self.session.settings.dead_man is not None
        self._of_snapshots = {key for key in conditions if key[0] != "dead_man" or not switched}

    def _conditions(self, snapshot: AccountSnapshot) -> None:
        if snapshot.notices is None:
            return
        told: set[tuple[str, str]] = {(each.kind, each.subject) for each in snapshot.notices}
        for each in snapshot.notices:
            self.note(each)
        if snapshot.complete:
            for key in self._of_snapshots - told:
                self.note(Notice(key[0], "", key[1]), over=True)  # type: ignore[arg-type]
            self._of_snapshots = told
        else:
            self._of_snapshots |= told

    async def flush(self) -> None:
        """Write the events of conditions and balances that changed since the last flush."""
        if self._noted and self.session.owned:
            at, noted, self._noted = self.session.clock.now_ms(), self._noted, {}
            try:
                await self._record(
                    tuple(each for key in noted for each in _told_of(self.session.account, at, key, noted[key]))
                )
            except BaseException:
                self._noted = noted | self._noted
                raise
        if not self._balances or not self.session.owned:
            return
        changed, self._balances = self._balances, {}
        at = self.session.clock.now_ms()
        events = tuple(balance_event(self.session.account, at, changed[asset]) for asset in sorted(changed))
        await self._record(events)
        self._told.update(changed)


def _told_of(account: str, at: int, key: tuple[str, str], now: Condition | None) -> Iterator[Event]:
    """What is told of a condition that has come, changed or gone. A call for margin is an event of its own besides."""
    name = " ".join(part for part in key if part)
    reason = "" if now is None else now.message
    yield HealthChanged(account=account, at=at, component=name, healthy=now is None, reason=reason)
    if key[0] == "margin_call" and now is not None:
        yield MarginCallWarning(account=account, at=at, text=reason)


def _news(known: object, report: OrderReport) -> bool:
    from exchange_kernel.reconcile.session import Known

    assert isinstance(known, Known)
    version = -1 if report.version is None else report.version
    return (known.status, known.version, known.cum_base) != (report.status.value, version, report.filled.base)


def foreign_state(account: str, report: OrderReport, origin: Origin) -> OrderState:
    """An order that is not ours, as users see it."""
    return OrderState(
        account=account,
        intent_id=None,
        symbol_id=report.symbol,
        side=report.side,
        status=IntentStatus.PARTIALLY_FILLED
        if report.filled.base and not report.status.terminal
        else _STATUS[report.status],
        origin=origin,
        reason=report.text or report.why.value,
        filled_base=report.filled.base,
        filled_quote=report.filled.quote,
        amount=report.amount,
        price=report.price,
        venue_ids=(report.id.value,),
        as_of=report.as_of,
    )
