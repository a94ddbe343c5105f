"""When the venue's dead-man switch of this account has fired, or may have: a cancellation by it is ours, not drift."""

from __future__ import annotations

from dataclasses import dataclass, field

from exchange_kernel.reconcile.outcome import Reported
from exchange_kernel.value import revised
from exchange_kernel.venue import Ms, VenueStatus, Why

EARLY_MS = 1_000
"""A cancellation by the switch may be dated so long before its time: clocks are compared with an error."""
LATE_MS = 10_000
"""And so long after it: the venue works through many orders."""
BY_THE_SWITCH = "by the account's own dead-man switch"
BY_ANOTHER = "by a dead-man switch that somebody else has armed"
_UNSAID = frozenset({Why.NONE, Why.USER, Why.OTHER_USER, Why.OTHER, Why.DEAD_MAN})
_KEPT = 16


@dataclass(slots=True)
class Firings:
    """Spans of venue time (ms UTC) in which the switch may have cancelled orders, by symbol; "": any symbol.

    ``confirmed``: until when a symbol is armed at least, ``latest``: at most, where an answer did not come.
    ``ours_since``: since when this owner has armed it; what the one before it armed is over then.
    """

    confirmed: dict[str, Ms] = field(default_factory=dict)
    latest: dict[str, Ms] = field(default_factory=dict)
    spans: dict[str, list[tuple[Ms, Ms]]] = field(default_factory=dict)
    ours_since: dict[str, Ms] = field(default_factory=dict)

    def asked(self, symbol: str, until: Ms) -> None:
        """It is being armed until then: from now on it may be."""
        self.confirmed.setdefault(symbol, until)
        self.latest[symbol] = max(until, self.latest.get(symbol, 0))

    def armed(self, symbol: str, until: Ms, now: Ms) -> None:
        """The venue confirmed it. ``now``: venue time. What was due before then may have happened."""
        if self.confirmed.get(symbol, until) < now:
            self.fired(symbol, self.confirmed[symbol], min(now, self.latest[symbol]))
        self.confirmed[symbol] = self.latest[symbol] = until
        self.ours_since.setdefault(symbol, now)

    def disarmed(self, symbol: str, now: Ms) -> None:
        """The venue confirmed that it is armed no more."""
        if self.confirmed.get(symbol, now) < now:
            self.fired(symbol, self.confirmed[symbol], min(now, self.latest[symbol]))
        self.confirmed.pop(symbol, None)
        self.latest.pop(symbol, None)

    def fired(self, symbol: str, since: Ms, until: Ms) -> None:
        """It may have fired in this span."""
        self.spans.setdefault(symbol, []).append((since, until))
        del self.spans[symbol][:-_KEPT]

    def covers(self, symbol: str, at: Ms) -> bool:
        """May it have cancelled an order of this symbol at this time?"""
        ours = self.ours_since.get(symbol, at)
        spans = [*self.spans.get(symbol, ()), *((since, min(until, ours)) for since, until in self.spans.get("", ()))]
        if symbol in self.confirmed:
            spans.append((self.confirmed[symbol], self.latest[symbol]))
        return any(since <= until and since - EARLY_MS <= at <= until + LATE_MS for since, until in spans)

    def named(self, item: Reported) -> Reported:
        """The report, with its reason where that is the switch: venues call such a cancellation anybody's."""
        report = item.report
        if report.status is not VenueStatus.CANCELED or report.why not in _UNSAID:
            return item
        if report.why is Why.DEAD_MAN and not self.spans and not self.confirmed:
            return revised(item, report=revised(report, why=Why.OTHER_USER, text=report.text or BY_ANOTHER))
        if report.why is not Why.DEAD_MAN and not self.covers(report.symbol, report.as_of):
            return item
        return revised(item, report=revised(report, why=Why.DEAD_MAN, text=BY_THE_SWITCH))
