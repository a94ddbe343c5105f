"""What the parts of one account's reconciler share: the venue, the stores, the clock, ownership, and short-lived
memory.

Everything in memory here may be lost at any time without harm: it is rebuilt from SQL and the venue.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache

from exchange_kernel.clock import Clock, Ids
from exchange_kernel.models import ZERO, Condition, DeadManPolicy, OrderIntent
from exchange_kernel.reconcile.deadlines import Deadlines
from exchange_kernel.reconcile.draft import Draft
from exchange_kernel.reconcile.firings import Firings
from exchange_kernel.reconcile.meter import Meter
from exchange_kernel.reconcile.outcome import Item, Reported, Resolved
from exchange_kernel.reconcile.proof import Look
from exchange_kernel.reconcile.queue import Priority, WorkQueue
from exchange_kernel.schema import SymbolMetadata
from exchange_kernel.state.commit import Change
from exchange_kernel.state.rows import AttemptState, Progress, Record
from exchange_kernel.state.stores import ActualStateStore, IntentStateStore
from exchange_kernel.value import revised
from exchange_kernel.venue import Key, Need, Opened, OrderReport, PriceTick, Slot, VenueAdapter


@dataclass(frozen=True, slots=True)
class Settings:
    """Timing and sizes of one account's reconciler. Seconds unless the name says ms.

    ``report_foreign``: does an event tell about each order of somebody else? ``dead_man``: the venue's dead-man switch
    is kept armed while this reconciler works. ``observe``: nothing is ever sent from here.
    """

    concurrency: int = 256
    lease_ms: int = 5_000
    snapshot_every: float = 30.0
    sweep_every: float = 0.5
    first_look: float = 0.2
    backoff: float = 0.5
    max_backoff: float = 10.0
    submit_timeout: float = 20.0
    read_timeout: float = 20.0
    recheck_after: float = 0.1
    sweep_linked: float = 2.0
    standby_poll: float = 0.25
    single_shot_deadline_ms: int = 30_000
    resting_deadline_ms: int = 86_400_000
    max_attempts: int = 8
    cached_records: int = 5_000
    price_wait: float = 2.0
    quote_every: float = 1.0
    report_foreign: bool = True
    dead_man: DeadManPolicy | None = None
    observe: bool = False


@dataclass(slots=True)
class Watch:
    """What this process remembers of an unsettled intent. ``*_at`` in local ms; ``missing`` in monotonic seconds.
    ``need``: of the newest report of its live attempt."""

    looks: list[Look] = field(default_factory=list)
    asked: int = 0
    query_at: int = 0
    cancels: int = 0
    cancel_at: int = 0
    resends: int = 0
    resend_at: int = 0
    failures: int = 0
    not_before: int = 0
    missing: float | None = None
    snapshot_since: bool = False
    history_since: bool = False
    need: Need | None = None

    def shown(self) -> None:
        """The order was shown: looks that did not show it before prove nothing any more (R16)."""
        self.looks.clear()
        self.missing = None
        self.snapshot_since = self.history_since = False


@dataclass(slots=True)
class Known:
    """The newest report folded for a live attempt, to tell news from repetition. ``at``: monotonic seconds."""

    n: int
    key: Key
    at: float
    status: str
    version: int
    cum_base: Decimal


@dataclass(slots=True)
class Session:
    """One owner of one account. ``bounded``: its limits speak of notionals."""

    account: str
    adapter: VenueAdapter
    opened: Opened
    store: IntentStateStore
    store_id: bytes
    actual: ActualStateStore
    clock: Clock
    ids: Ids
    queue: WorkQueue
    settings: Settings
    bounded: bool = False
    markets: dict[str, SymbolMetadata] = field(default_factory=dict)
    prices: dict[str, PriceTick] = field(default_factory=dict)
    priced_at: dict[str, float] = field(default_factory=dict)
    epoch: int = 0
    lease_until: float = 0.0
    halted: str = ""
    recovering: str = ""
    suspected: str = ""
    stopping: bool = False
    pause_until: int = 0
    records: OrderedDict[str, Record] = field(default_factory=OrderedDict)
    watches: dict[str, Watch] = field(default_factory=dict)
    inbox: dict[str, list[Item]] = field(default_factory=dict)
    known: dict[str, Known] = field(default_factory=dict)
    drawn: set[tuple[str, int]] = field(default_factory=set)
    keys: dict[Key, tuple[str, int]] = field(default_factory=dict)
    folded: dict[str, Reported] = field(default_factory=dict)
    wrote: set[str] = field(default_factory=set)
    deadlines: Deadlines = field(default_factory=Deadlines)
    watched: dict[str, set[str]] = field(default_factory=dict)
    uses: dict[str, Mapping[str, Decimal]] | None = None
    floors: dict[str, int] = field(default_factory=dict)
    conditions: dict[tuple[str, str], Condition] = field(default_factory=dict)
    firings: Firings = field(default_factory=Firings)
    meter: Meter = field(default_factory=Meter)
    on_record: Callable[[Record], None] = lambda _: None

    @property
    def tag(self) -> bytes:
        """First four bytes of every key of this store: orders of ours are recognised by it (R7, R32)."""
        return store_tag(self.store_id)

    def key(self, intent_id: str, *purpose: str | int) -> Key:
        """A key that is a function of store, account, intent and purpose, and is never reused (R7).

        An attempt's key must be found again after a loss of commits, so its number is all of its purpose; a command's
        key
        must not come up again then, so its purpose holds the epoch too."""
        return make_key(self.store_id, self.account, intent_id, *purpose)

    @property
    def owned(self) -> bool:
        """False once the lease may have run out, judged by the monotonic clock from before it was asked for."""
        return self.epoch > 0 and self.clock.monotonic() < self.lease_until

    def blocked(self) -> str:
        """Why nothing may be opened now, or ""."""
        if self.settings.observe:
            return "only observed (mode: observe)"
        if self.stopping:
            return "the kernel is stopping"
        if self.recovering:
            return f"RECOVERING: {self.recovering}"
        if self.halted:
            return f"halted: {self.halted}"
        return "" if self.owned else "the account's lease is not known to be held"

    def watch(self, intent_id: str) -> Watch:
        """This process' memory of an unsettled intent."""
        found = self.watches.get(intent_id)
        if found is None:
            found = self.watches[intent_id] = Watch()
        return found

    def backoff_ms(self, times: int, base: float | None = None) -> int:
        """Exponential: base, 2 base, 4 base … up to the cap, in ms."""
        start = self.settings.backoff if base is None else base
        return int(1000 * min(self.settings.max_backoff, start * 2 ** min(times, 16)))

    async def load(self, intent_id: str) -> Record | None:
        """The record, from memory unless somebody else wrote it."""
        record = self.records.get(intent_id)
        if record is not None and intent_id not in self.wrote:
            self.records.move_to_end(intent_id)
            return record
        self.wrote.discard(intent_id)
        record = await self.store.record(self.account, intent_id)
        if record is not None:
            self.remember(record)
        return record

    def remember(self, record: Record) -> None:
        """Keep a record that equals its row."""
        intent_id = record.intent.intent_id
        self.records[intent_id] = record
        self.records.move_to_end(intent_id)
        self.on_record(record)
        over = record.progress.status.terminal and record.revived is None
        if over:
            self.known.pop(intent_id, None)
            self.watches.pop(intent_id, None)
        attempt = record.revived or record.live
        if attempt is not None:
            self.keys[attempt.key] = (intent_id, attempt.n)
            if attempt.seen:
                known = self.known.get(intent_id)
                if (
                    known is None
                    or known.key != attempt.key
                    or (known.status, known.version, known.cum_base)
                    != (attempt.venue_status, attempt.version, attempt.cum_base)
                ):
                    self.known[intent_id] = Known(
                        attempt.n,
                        attempt.key,
                        self.clock.monotonic(),
                        attempt.venue_status,
                        attempt.version,
                        attempt.cum_base,
                    )
        elif not over:
            self.known.pop(intent_id, None)
        if len(self.records) > self.settings.cached_records:
            self._dropped(self.records.popitem(last=False)[1])

    def begin(self, epoch: int, until: float) -> None:
        """The account is owned from here on: what was remembered while it was somebody else's may be old."""
        self.records.clear()
        self.uses = None
        self.epoch = epoch
        self.lease_until = until

    def declared(self, intent: OrderIntent, epoch: int) -> None:
        """This process has just written a new intent: its record is known without reading it back, unless another
        process may have worked on it. ``epoch``: this session's, before it wrote."""
        if self.owned and self.epoch == epoch and intent.intent_id not in self.records:
            self.remember(Record(intent, Progress(next_due=0)))

    def forget(self, intent_id: str) -> None:
        """Read it from SQL next time."""
        record = self.records.pop(intent_id, None)
        if record is not None:
            self._dropped(record)

    def _dropped(self, record: Record) -> None:
        """Of what is over, the keys stay known as long as the record: late reports of it are the rule, not for long."""
        self.folded.pop(record.intent.intent_id, None)
        if record.progress.status.terminal and record.revived is None:
            for attempt in record.attempts:
                self.keys.pop(attempt.key, None)

    def stale(self, intent_ids: Iterable[str]) -> None:
        """What memory holds of these rows is not to be trusted any more. Who never owned the account holds nothing."""
        if self.epoch:
            self.wrote.update(intent_ids)

    def heard_of(self, intent_id: str, priority: Priority) -> None:
        """Another process wrote this row, and says so."""
        self.user_wrote((intent_id,), priority)

    def user_wrote(self, intent_ids: Iterable[str], priority: Priority) -> None:
        """The user's side wrote these rows: what memory holds of them is stale from here on."""
        for intent_id in intent_ids:
            self.stale((intent_id,))
            watch = self.watches.get(intent_id)
            if watch is not None:
                watch.cancel_at = 0
            self.queue.mark(intent_id, priority)

    def heard(self, intent_id: str, n: int, report: OrderReport) -> bool:
        """Is this, word for word, what already waits in the inbox, or what was folded last into the record as stored?

        A venue's stream repeats what its answers said. Such an echo changes nothing (rule 10), so nobody is woken."""
        items = self.inbox.get(intent_id)
        if items:
            return any(type(item) is Reported and item.n == n and item.report == report for item in items)
        last, record = self.folded.get(intent_id), self.records.get(intent_id)
        if last is None or record is None or intent_id in self.wrote or last.n != n or last.report != report:
            return False
        # Not where something else has spoken since: then even an old report is evidence (R19).
        attempt = record.attempt(n)
        agrees = attempt.venue_status == report.status.value and attempt.cum_base == report.filled.base
        over = attempt.state in (AttemptState.CLOSING, AttemptState.CLOSED)
        return agrees and (over if report.status.terminal else attempt.state is AttemptState.LIVE)

    def deliver(self, intent_id: str, item: Item, priority: Priority = Priority.REFRESH) -> None:
        """Put something in an intent's inbox and mark it."""
        self.inbox.setdefault(intent_id, []).append(item)
        record = self.records.get(intent_id)
        if record is not None and not isinstance(item, Resolved) and item.n > len(record.attempts):
            # SQL knows an attempt that this process does not: somebody else has written it.
            self.wrote.add(intent_id)
        self.queue.mark(intent_id, priority)

    async def commit(
        self,
        draft: Draft,
        *,
        consumed: int = 0,
        opens: bool = False,
        notional: Decimal = ZERO,
        slots: tuple[tuple[int, Slot], ...] = (),
    ) -> Record:
        """Make a draft true; returns the record as stored. Inbox items it used up are dropped only now."""
        change = Change(
            account=self.account,
            epoch=self.epoch,
            before=draft.before,
            after=draft.record,
            events=tuple(draft.events),
            opens=opens,
            notional=notional,
            slots=slots,
        )
        version = await self.store.execute(change)
        record = draft.record
        record = revised(record, intent=revised(record.intent, version=version))
        intent_id = record.intent.intent_id
        self.remember(record)
        self.used(intent_id, consumed)
        return record

    def used(self, intent_id: str, consumed: int) -> None:
        """So many of an intent's inbox items are folded into its record as stored: they are dropped."""
        items = self.inbox.get(intent_id)
        if not consumed or items is None:
            return
        for item in reversed(items[:consumed]):
            if type(item) is Reported:
                self.folded[intent_id] = item
                break
        del items[:consumed]
        if not items:
            del self.inbox[intent_id]


@lru_cache(maxsize=8)
def store_tag(store_id: bytes) -> bytes:
    """Four bytes that mark every key a store makes."""
    return hashlib.sha256(b"exk-store:" + store_id).digest()[:4]


def make_key(store_id: bytes, account: str, intent_id: str, *purpose: str | int) -> Key:
    """16 bytes: the store's tag and a digest of account, intent and purpose (R7)."""
    text = "\x1f".join((account, intent_id, *(str(p) for p in purpose)))
    return store_tag(store_id) + hashlib.sha256(store_id + b"\x00" + text.encode()).digest()[:12]
