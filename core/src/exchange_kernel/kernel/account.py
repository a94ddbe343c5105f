"""What a kernel is made of, before it runs and while it does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

from exchange_kernel.base import EventHandler, ExchangeKernel
from exchange_kernel.clock import Clock, Ids, SystemClock, SystemIds
from exchange_kernel.errors import NotRunning
from exchange_kernel.kernel.observed import observing
from exchange_kernel.models import Limits
from exchange_kernel.orders.admission import Admission
from exchange_kernel.orders.names import check_id
from exchange_kernel.orders.observe import observed
from exchange_kernel.reconcile.bus import Bus
from exchange_kernel.reconcile.meter import Meter
from exchange_kernel.reconcile.queue import MemoryQueue, WorkQueue
from exchange_kernel.reconcile.runner import Runner
from exchange_kernel.reconcile.session import Session, Settings
from exchange_kernel.reconcile.shared import ElsewhereQueue, Shared
from exchange_kernel.schema import SymbolMetadata
from exchange_kernel.state.memory import MemoryActualStore
from exchange_kernel.state.stores import ActualStateStore, IntentStateStore
from exchange_kernel.venue import VenueAdapter

ACTING: ContextVar[str] = ContextVar("exk_acting", default="")
"""Who a command is carried out for, where one process serves several; "" for the kernel's own actor."""

Vet = Callable[[VenueAdapter, Sequence[SymbolMetadata]], None]


class Inside(NamedTuple):
    """What goes on in a kernel now. ``queued``: intents that wait for a run or for their time, or are in one."""

    owned: bool
    halted: bool
    recovering: bool
    queued: int


class Account(ExchangeKernel):
    """The parts of one account's kernel: adapter, stores, clock; and, while it runs, session, runner and bus."""

    def __init__(
        self,
        exchange_id: str,
        adapter: VenueAdapter,
        store: IntentStateStore,
        *,
        venue: str = "",
        venue_config: Mapping[str, Any] | None = None,
        secrets: Mapping[str, str] | None = None,
        limits: Limits | None = None,
        settings: Settings | None = None,
        actual: ActualStateStore | None = None,
        clock: Clock | None = None,
        ids: Ids | None = None,
        actor: str = "api",
        standby: bool = False,
        follow: bool = False,
        owns_store: bool = True,
        state_dir: Path | None = None,
        mode: str = "",
        vet: Vet | None = None,
        admission: Admission | None = None,
        shared: Shared | None = None,
        worker: str = "",
    ) -> None:
        check_id("exchange_id", exchange_id)
        self.exchange_id = exchange_id
        self._settings = settings or Settings()
        self._bare = adapter
        self._adapter: VenueAdapter = observing(adapter) if self._settings.observe else adapter
        self._store = store
        self._venue = venue
        self._config = dict(venue_config or {})
        self._secrets = dict(secrets or {})
        self._limits = limits or Limits()
        self._shared = shared
        self._worker = worker
        self._actual = actual or (MemoryActualStore() if shared is None else shared.actual)
        self._clock = clock or SystemClock()
        self._ids = ids or SystemIds()
        self._own_actor = actor
        self._standby = standby
        self._follow = follow
        self._owns_store = owns_store
        self._state_dir = state_dir
        self._mode = mode
        self._vet = vet
        self._admission = admission or Admission()
        self.meter = Meter()
        self._session: Session | None = None
        self._runner: Runner | None = None
        self._bus: Bus | None = None
        self._restarting: asyncio.Task[None] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._early: list[tuple[EventHandler, int | None]] = []

    def _make_queue(self) -> WorkQueue:
        """Where what is to be looked at is marked, for a new session."""
        if self._follow:
            return ElsewhereQueue(self._clock, self.exchange_id, None if self._shared is None else self._shared.marks)
        return MemoryQueue(self._clock) if self._shared is None else self._shared.queue(self.exchange_id)

    @property
    def _actor(self) -> str:
        """Who is told to have done what is done now."""
        return ACTING.get() or self._own_actor

    @property
    def stands_by(self) -> bool:
        """Is everything ready but the account, which another process owns?"""
        return self._restarting is not None and self._session is not None and not self._session.owned

    @property
    def suspected(self) -> str:
        """The store's suspicion with which this kernel took the account over, or ""."""
        return "" if self._session is None else self._session.suspected

    @property
    def owns(self) -> bool:
        """Does this process own the account now? Only its owner sends anything."""
        return self._session is not None and self._session.owned

    def inside(self) -> Inside | None:
        """What goes on in it; None where it does not run."""
        session = self._session
        if session is None:
            return None
        depth = len(session.queue) if isinstance(session.queue, MemoryQueue) else 0
        return Inside(session.owned, bool(session.halted), bool(session.recovering), depth)

    def _trading(self) -> Session:
        """The running session of an account that may trade. Raises NotRunning, AdmissionDenied."""
        session = self._running()
        if self._settings.observe:
            raise observed(self.exchange_id)
        return session

    def _running(self) -> Session:
        session = self._session
        if session is None:
            raise NotRunning(f"the kernel of {self.exchange_id} is not running; await start() first")
        return session
