"""What each fence preset checks, by the venue's own clock and memory. The matching behind them is the same.

=================  ================================================================================================
preset             rule
=================  ================================================================================================
``time_window``    a request says when it was made and how long it lives; outside of that it is refused. A client id
                   is refused as a duplicate only while an order with it is open: once filled, it is accepted again
``sequence``       transactions carry numbers; each number is used once, in order, gapless (see ``chain.py``)
``height``         transactions name the last block that may hold them; each id is used once (see ``chain.py``)
``permanent_key``  a request id is accepted once, for ever, whatever became of it
``none``           no client ids at all, and nothing is ever too late
=================  ================================================================================================
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from exchange_kernel_paper.exchange.codes import Code, Refusal
from exchange_kernel_paper.exchange.filters import Request
from exchange_kernel_paper.exchange.settings import Settings

if TYPE_CHECKING:
    from exchange_kernel_paper.exchange.accounts import Account

LONGEST_WINDOW_MS = 60_000

_IDS = ("client", "rid")
_NEEDS_ID = frozenset({"sequence", "height", "permanent_key"})
_ID = re.compile(r"[A-Za-z0-9_.-]{1,80}", re.ASCII).fullmatch


def check_arrival(settings: Settings, request: Request, now: int) -> None:
    """What is checked when a request comes in at venue time ``now``, before it is queued. Refusal: TIMESTAMP."""
    if settings.fence != "time_window":
        return
    made, window = request.get("ts"), request.get("window")
    if type(made) is not int or type(window) is not int or not 0 < window <= LONGEST_WINDOW_MS:
        raise Refusal(Code.BAD_REQUEST, f"ts and window (1 to {LONGEST_WINDOW_MS}) are needed, in ms")
    if made > now + settings.future_ms:
        raise Refusal(Code.TIMESTAMP, f"made at {made}, which is ahead of {now} by more than {settings.future_ms} ms")
    if now > made + window:
        raise Refusal(Code.TIMESTAMP, f"made at {made} for {window} ms, which is over at {now}")


def check_ids(settings: Settings, request: Request, rid: str | None) -> None:
    """Are the ids of this request what the preset wants? ``rid``: its request id. Refusal: CLIENT_ID."""
    ids = [*((field, request.get(field)) for field in _IDS), *(("client", each) for each in _legs(request))]
    for field, value in ids:
        if value is None:
            continue
        if settings.fence == "none":
            raise Refusal(Code.CLIENT_ID, "this venue has no client ids")
        if not isinstance(value, str) or not _ID(value):
            raise Refusal(Code.CLIENT_ID, f"{field} must be 1 to 80 of A-Z a-z 0-9 _ . -")
    if rid is None and settings.fence in _NEEDS_ID:
        raise Refusal(Code.CLIENT_ID, "this venue needs a request id")


def check_execution(settings: Settings, account: Account, request: Request, rid: str | None) -> None:
    """What is checked when a request is executed. Refusal: DUPLICATE."""
    fence, op = settings.fence, request["op"]
    if fence == "time_window" and op in ("order", "group"):
        for client in clients_of(request):
            same = account.by_client.get(client, ())
            if any(not order.finished for order in same):
                raise Refusal(Code.DUPLICATE, f"an order with client id {client} is open")
        named = account.groups.get(rid) if op == "group" and rid is not None else None
        if named is not None and any(not order.finished for order in named.legs):
            raise Refusal(Code.DUPLICATE, f"a group with request id {rid} is open")
    if fence == "permanent_key" and op not in ("cancel", "settle"):
        assert rid is not None
        names = dict.fromkeys((rid, *clients_of(request)))
        for name in names:
            if name in account.keys:
                raise Refusal(Code.DUPLICATE, f"request id {name} was used before")
        for name in names:
            account.keys.add(name)


def clients_of(request: Request) -> list[str]:
    """The client ids of the orders a request creates."""
    names = [request.get("client")] if request.get("op") == "order" else _legs(request)
    return [name for name in names if isinstance(name, str)]


def _legs(request: Request) -> list[object]:
    """What a group's request names as client ids of its legs."""
    legs = request.get("legs")
    return [leg.get("client") for leg in legs if isinstance(leg, dict)] if isinstance(legs, list) else []


def request_id(request: Request) -> str | None:
    """The id of a request: its own, or the client id of the order it creates."""
    rid = request.get("rid", request.get("client") if request.get("op") == "order" else None)
    return rid if isinstance(rid, str) else None
