"""What several defects do to tickets, answers and reports."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from exchange_kernel.schema import Side
from exchange_kernel.value import revised
from exchange_kernel.venue import (
    Found,
    Key,
    Lookup,
    Opened,
    OrderReport,
    Ticket,
    VenueId,
    VenueStatus,
)
from exchange_kernel_paper.adapter import PaperAdapter
from exchange_kernel_paper.conformance import SECRET
from exchange_kernel_paper.exchange import encode, sign
from exchange_kernel_paper.tickets import read_body


class Resigning(PaperAdapter):
    """What several of the defects do: change a ticket and sign it again."""

    def resigned(self, ticket: Ticket, **changes: Any) -> Ticket:
        """The ticket with other fields in its body."""
        request = read_body(ticket) | changes
        return revised(ticket, body=sign(encode(request), SECRET.encode()))

    @property
    def exchange(self) -> Any:
        """The venue itself."""
        return self._link._wire.exchange  # type: ignore[attr-defined]


def each(answer: Lookup, change: Callable[[OrderReport], OrderReport]) -> Lookup:
    """The answer with each of its order reports changed."""
    if not isinstance(answer, Found):
        return answer
    return revised(answer, reports=tuple(change(r) if isinstance(r, OrderReport) else r for r in answer.reports))


def canceled(request: dict[str, Any], key: Key | None, now: int) -> OrderReport:
    """A report that the order a cancel names has ended, made up."""
    named = VenueId("order", str(request["order"])) if "order" in request else VenueId("client", request["client"])
    return OrderReport(named, request["symbol"], Side.BUY, VenueStatus.CANCELED, now, key=key, final=True)


def opened_with(opened: Opened, **changes: Any) -> Opened:
    return dataclasses.replace(opened, **changes)
