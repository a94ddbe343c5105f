"""What a case works with: an attempt and everything known of it, what a submit did, what a stream said, and how a case
ends that finds something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from exchange_kernel.errors import NoEffect
from exchange_kernel.venue import Ack, Gap, Key, OrderReport, Spec, Ticket, VenueEvent, VenueId

__all__ = ["Failed", "Inapplicable", "Missing", "Outcome", "Placed", "Watch"]


class Failed(AssertionError):
    """What the case says must hold does not."""


class Inapplicable(Exception):
    """This venue offers nothing the case could test; the reason says what."""


class Missing(Inapplicable):
    """The harness lacks what the case needs at this venue; the reason says what."""


@dataclass(slots=True)
class Placed:
    """One attempt: its key, what was asked, every ticket made for it, and every id learned about it.

    ``placed_at``: lower bound of the venue's clock when the first ticket was prepared, ms UTC."""

    key: Key
    spec: Spec
    tickets: list[Ticket]
    placed_at: int
    ids: list[VenueId] = field(default_factory=list)

    @property
    def ticket(self) -> Ticket:
        """The newest ticket."""
        return self.tickets[-1]

    def learn(self, reports: Sequence[object]) -> None:
        """Remember every id the reports link to it."""
        for report in reports:
            if isinstance(report, OrderReport):
                self.ids += [vid for vid in (report.id, *report.links) if vid not in self.ids]


@dataclass(slots=True)
class Outcome:
    """What one ``submit`` did: an answer, or the error it raised."""

    ack: Ack | None = None
    error: BaseException | None = None

    @property
    def effect(self) -> str:
        """``done``, ``none`` (definitely nothing), or ``unknown``: what a kernel may conclude from it."""
        if self.error is None:
            return "done"
        return "none" if isinstance(self.error, NoEffect) else "unknown"


class Watch:
    """What a stream said so far. ``error``: what ended it, if it ended by raising."""

    def __init__(self) -> None:
        self.events: list[VenueEvent] = []
        self.error: BaseException | None = None
        self.ended = False

    @property
    def reports(self) -> list[OrderReport]:
        """The order reports, in order of arrival."""
        return [event.body for event in self.events if isinstance(event.body, OrderReport)]

    @property
    def gaps(self) -> int:
        """How often it said that something may have been missed."""
        return sum(isinstance(event.body, Gap) for event in self.events)
