"""Metrics: counted from the events of every commit and asked of the kernels when somebody scrapes.

Nothing on an order's way waits for any of this: a commit adds to a few numbers, the rest is made when it is read. No
label ever holds an intent, a symbol or anything else that a user or a venue may choose without end. Needs
``prometheus-client`` (extra ``server``).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import CollectorRegistry

from exchange_kernel import __version__
from exchange_kernel.base import Health
from exchange_kernel.clock import Clock
from exchange_kernel.errors import ExchangeKernelError
from exchange_kernel.events import Event
from exchange_kernel.kernel import Kernel
from exchange_kernel.models import IntentStatus
from exchange_kernel.platform import Platform
from exchange_kernel.reconcile.meter import Histogram

__all__ = ["CATALOGUE", "CONTENT_TYPE", "Metrics"]

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
MOST_OPEN: Final = 10_000
"""Orders whose way is timed at once; beyond that the oldest are left out."""

CATALOGUE: Final = {
    "exk_build_info": "Always 1: the release that runs",
    "exk_up": "Is the account's kernel running here?",
    "exk_ready": "Would an order placed now be worked on?",
    "exk_component_healthy": "Does this part of the account's kernel work?",
    "exk_owned": "Does this process own the account?",
    "exk_halted": "Is the account, or everything, halted?",
    "exk_recovering": "Is the account searching for orders that the store may have lost?",
    "exk_intents": "Unfinished intents by status",
    "exk_queue_depth": "Intents that wait for a run, or are in one",
    "exk_events_total": "Events committed by this process, by kind",
    "exk_submits_total": "Tickets that could create an order, by what became known of them",
    "exk_fills_total": "Fills booked",
    "exk_contradictions_total": "Venue reports that a proof had excluded: must stay 0",
    "exk_drift_total": "Differences at the venue that are not ours",
    "exk_converged_seconds": "From the user's commit to the venue's confirmation",
    "exk_reconcile_seconds": "Duration of the reconciler's runs",
    "exk_reconcile_failures_total": "Runs that ended in an unexpected error",
    "exk_fenced_total": "Times that another process took the account over",
    "exk_event_subscribers": "Readers of the account's events over HTTP",
    "exk_event_overflows_total": "Readers over HTTP that were cut for being too slow",
    "exk_auth_failures_total": "Requests without a valid token, by reason",
    "exk_loop_blocked_total": "Times that something blocked the event loop",
}
"""Every metric and what it says; a test compares it with what is served."""

_SUBMITS: Final = {
    "OrderSubmitted": "sent",
    "OrderAccepted": "accepted",
    "OrderRejected": "rejected",
    "OrderOutcomeUnknown": "unknown",
    "AttemptProvedDead": "proved_dead",
}
_COUNTED: Final = {"exk_contradictions_total": "ContradictedByVenue", "exk_drift_total": "DriftDetected"}
_FILLS: Final = ("OrderPartiallyFilled", "OrderFilled", "LateFillBooked")
_BEGINS: Final = {"IntentCreated": "place", "IntentModified": "modify", "CancelRequested": "cancel"}
_ENDS: Final = {
    "OrderAccepted": "place",
    "OrderPartiallyFilled": "place",
    "OrderFilled": "place",
    "OrderModified": "modify",
    "OrderCanceled": "cancel",
}


class Metrics:
    """Of one platform. ``close`` stops the counting."""

    def __init__(self, platform: Platform, clock: Clock) -> None:
        self._platform, self._clock = platform, clock
        self._events: dict[tuple[str, str], int] = {}
        self._fills: dict[str, int] = {}
        self._begun: OrderedDict[tuple[str, str | None, str], int] = OrderedDict()
        self._converged: dict[tuple[str, str], Histogram] = {}
        platform.store.listen(self._heard)

    def close(self) -> None:
        """Count no more."""
        self._platform.store.unlisten(self._heard)

    def _heard(self, events: Sequence[Event]) -> None:
        for event in events:
            kind = event.kind
            key = (event.account, kind)
            self._events[key] = self._events.get(key, 0) + 1
            if kind in _BEGINS:
                self._begun[(event.account, event.intent_id, _BEGINS[kind])] = event.at
                if len(self._begun) > MOST_OPEN:
                    self._begun.popitem(last=False)
            elif kind in _ENDS:
                self._ended(event, _ENDS[kind])
            if kind in _FILLS and getattr(event, "fill_id", None) is not None:
                self._fills[event.account] = self._fills.get(event.account, 0) + 1

    def _ended(self, event: Event, what: str) -> None:
        began = self._begun.pop((event.account, event.intent_id, what), None)
        if began is not None:
            found = self._converged.get((event.account, what))
            if found is None:
                found = self._converged[(event.account, what)] = Histogram()
            found.took(max(0, event.at - began) / 1000)

    async def text(
        self,
        accounts: Iterable[str],
        whole: bool,
        subscribers: Callable[[str], tuple[int, int]],
        refused: dict[str, int],
    ) -> bytes:
        """What a scraper reads of these accounts. ``whole``: what is about no account too. ``subscribers``: how many
        read an account's events, and how many were cut. ``refused``: failed requests by reason."""
        names = sorted(accounts)
        page = _Page()
        page.gauge("exk_build_info", {"version": __version__}, 1)
        health = await self._platform.health_check()
        for name in names:
            await self._account(page, name, health[name])
            now, cut = subscribers(name)
            page.gauge("exk_event_subscribers", {"account": name}, now)
            page.count("exk_event_overflows_total", {"account": name}, cut)
        self._counted(page, frozenset(names))
        if whole:
            page.count("exk_loop_blocked_total", {}, len(self._platform.blockages))
            for reason in ("missing", "malformed", "unknown", "revoked", "expired", "too many"):
                page.count("exk_auth_failures_total", {"reason": reason}, refused.get(reason, 0))
        return page.text()

    async def _account(self, page: _Page, name: str, health: Health) -> None:
        labels = {"account": name}
        page.gauge("exk_ready", labels, health.ready)
        for part, state in health.components.items():
            page.gauge("exk_component_healthy", {**labels, "component": part}, state.healthy)
        try:
            kernel = self._platform[name]
        except Exception:  # noqa: BLE001 - whatever kept it from starting: it does not run
            kernel = None
        inside = kernel.inside() if isinstance(kernel, Kernel) else None
        page.gauge("exk_up", labels, inside is not None)
        if not isinstance(kernel, Kernel) or inside is None:
            return
        page.gauge("exk_owned", labels, inside.owned)
        page.gauge("exk_halted", labels, inside.halted)
        page.gauge("exk_recovering", labels, inside.recovering)
        page.gauge("exk_queue_depth", labels, inside.queued)
        page.histogram("exk_reconcile_seconds", labels, kernel.meter.runs)
        page.count("exk_reconcile_failures_total", labels, kernel.meter.failures)
        page.count("exk_fenced_total", labels, kernel.meter.fenced)
        try:
            tally = await self._platform.store.tally(name)
        except ExchangeKernelError:
            return
        for status in IntentStatus:
            if not status.terminal:
                page.gauge("exk_intents", {**labels, "status": status.value}, tally.get(status, 0))

    def _counted(self, page: _Page, names: frozenset[str]) -> None:
        for (name, kind), number in sorted(self._events.items()):
            if name in names:
                page.count("exk_events_total", {"account": name, "kind": kind}, number)
        for name in sorted(names):
            for kind, outcome in _SUBMITS.items():
                number = self._events.get((name, kind), 0)
                page.count("exk_submits_total", {"account": name, "outcome": outcome}, number)
            page.count("exk_fills_total", {"account": name}, self._fills.get(name, 0))
            for metric, kind in _COUNTED.items():
                page.count(metric, {"account": name}, self._events.get((name, kind), 0))
            for what in dict.fromkeys(_BEGINS.values()):
                found = self._converged.get((name, what), Histogram())
                page.histogram("exk_converged_seconds", {"account": name, "what": what}, found)


class _Page:
    """Samples, gathered into families."""

    def __init__(self) -> None:
        self._families: dict[str, Any] = {}

    def _family(self, kind: type[Metric], name: str, labels: dict[str, str]) -> Any:
        found = self._families.get(name)
        if found is None:
            make: Any = kind
            found = self._families[name] = make(name, CATALOGUE[name], labels=list(labels))
        return found

    def gauge(self, name: str, labels: dict[str, str], value: float) -> None:
        """A value of now."""
        self._family(GaugeMetricFamily, name, labels).add_metric(list(labels.values()), float(value))

    def count(self, name: str, labels: dict[str, str], value: float) -> None:
        """A value that only grows."""
        self._family(CounterMetricFamily, name, labels).add_metric(list(labels.values()), float(value))

    def histogram(self, name: str, labels: dict[str, str], value: Histogram) -> None:
        """How often something took how long."""
        family = self._family(HistogramMetricFamily, name, labels)
        family.add_metric(list(labels.values()), value.cumulative(), value.total)

    def collect(self) -> Iterable[Metric]:
        """As a registry asks for it."""
        return list(self._families.values())

    def text(self) -> bytes:
        """As a scraper reads it."""
        registry = CollectorRegistry()
        page: Any = self
        registry.register(page)
        return generate_latest(registry)
