"""Tickets as plain data, the way a store keeps them."""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from typing import Any

from exchange_kernel.venue import Fence, HeightEnd, Money, Slot, SlotEnd, Ticket, TimeEnd, VenueId


def plain(ticket: Ticket) -> str:
    """A ticket as JSON, as a store keeps it."""
    ends: list[list[Any]] = []
    for end in ticket.fence.ends:
        match end:
            case TimeEnd(at, clock, slack):
                ends.append(["time", at, clock, slack])
            case HeightEnd(last):
                ends.append(["height", last])
            case SlotEnd(slot):
                ends.append(["slot", slot.scope, slot.number])
    return json.dumps(
        {
            "key": ticket.key.hex(),
            "body": base64.b64encode(ticket.body).decode("ascii"),
            "codec": ticket.codec,
            "identity": ticket.identity,
            "fence": [ticket.fence.repeatable, ends, ticket.fence.authority],
            "ids": [[vid.kind, vid.value] for vid in ticket.ids],
            "send_before": ticket.send_before,
            "outlay": [[money.asset, str(money.amount)] for money in ticket.outlay],
            "note": ticket.note,
        }
    )


def rebuilt(text: str) -> Ticket:
    """The ticket behind :func:`plain`."""
    data = json.loads(text)
    repeatable, ends, authority = data["fence"]
    made: list[TimeEnd | HeightEnd | SlotEnd] = []
    for kind, *rest in ends:
        match kind:
            case "time":
                made.append(TimeEnd(*rest))
            case "height":
                made.append(HeightEnd(*rest))
            case _:
                made.append(SlotEnd(Slot(*rest)))
    return Ticket(
        bytes.fromhex(data["key"]),
        base64.b64decode(data["body"]),
        data["codec"],
        data["identity"],
        Fence(repeatable, tuple(made), authority),
        tuple(VenueId(kind, value) for kind, value in data["ids"]),
        data["send_before"],
        tuple(Money(asset, Decimal(amount)) for asset, amount in data["outlay"]),
        data["note"],
    )
