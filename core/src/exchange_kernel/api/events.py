"""Events over HTTP: by page, or as they come, resumed where they were left."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response

from exchange_kernel.api import shapes
from exchange_kernel.api.feed import Cut, Feed
from exchange_kernel.api.grants import Scope
from exchange_kernel.api.problems import Problem
from exchange_kernel.api.serving import Access, Answer, Calling
from exchange_kernel.api.wire import event_line

router = APIRouter(prefix="/v1/accounts/{account}", tags=["events"])

MOST = 2**53
CHECK_S = 5.0
"""How often it is asked whether the token still holds."""
_ID = re.compile(r"(?P<era>[0-9a-f]{8}\.[0-9]{1,9})\.(?P<seq>[0-9]{1,15})", re.ASCII).fullmatch


@router.get("/events", responses=shapes.ANSWERS)
async def events(
    account: str,
    access: Calling,
    request: Request,
    accept: Annotated[str, Header()] = "application/json",
    last_event_id: Annotated[str | None, Header()] = None,
    after: Annotated[int | None, Query(ge=0, le=MOST, description="begin behind this sequence number")] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> Response:
    """The account's events behind ``after`` or Last-Event-ID, oldest first.

    With Accept: text/event-stream they go on as they come, from now on where neither is given. 410: this place in the
    log does not exist, because the store was restored or is another one: list the orders, and begin without it."""
    access.kernel(account)
    feed = await access.server.feed(account)
    place = await _place(feed, last_event_id, after)
    if "text/event-stream" in accept:
        start = place if place is not None else await feed.newest()
        return Stream(feed.after(start), access, account, request.headers.get("authorization"))
    rows = await access.server.platform.store.event_rows(account, place or 0, limit)
    items = [json.loads(event_line(row)) for row in rows]
    more = rows[-1].seq if len(rows) == limit else None
    return Answer({"items": items, "next": more, "newest": await feed.newest(), "era": feed.era})


async def _place(feed: Feed, last_event_id: str | None, after: int | None) -> int | None:
    if last_event_id is not None:
        found = _ID(last_event_id)
        if found is None:
            raise Problem(400, "bad-request", "Last-Event-ID is none of an event of this log")
        if found["era"] != feed.era:
            raise Problem(410, "gone", "this log is another one than that of Last-Event-ID: list, and begin anew")
        after = int(found["seq"])
    if after is not None and after > await feed.newest():
        raise Problem(410, "gone", f"the log does not reach {after}: list, and begin anew")
    return after


class Stream(Response):
    """Server-sent events. A reader that takes none for ten seconds is cut off, and one whose token ends."""

    media_type = "text/event-stream"
    stalled_s = 10.0

    def __init__(self, frames: Any, access: Access, account: str, authorization: str | None) -> None:
        super().__init__(None, 200, {"cache-control": "no-store", "x-accel-buffering": "no"})
        self._frames, self._access, self._account, self._authorization = frames, access, account, authorization
        del self.headers["content-length"]

    async def __call__(self, scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        gone = asyncio.ensure_future(self._gone(receive))
        sending = asyncio.ensure_future(self._send(send))
        guard = asyncio.ensure_future(self._still_allowed())
        closing = asyncio.ensure_future(self._access.server.closing.wait())
        tasks: tuple[asyncio.Future[Any], ...] = (gone, sending, guard, closing)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._frames.aclose()
        abort = scope.get("exk.abort")
        if sending.done() and not sending.cancelled() and isinstance(sending.exception(), TimeoutError):
            if abort is not None:
                abort()
            return
        async with asyncio.timeout(self.stalled_s):
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Callable[[Any], Awaitable[None]]) -> None:
        async def out(frame: bytes) -> None:
            async with asyncio.timeout(self.stalled_s):
                await send({"type": "http.response.body", "body": frame, "more_body": True})

        await out(b"retry: 1000\n\n")
        try:
            async for frame in self._frames:
                await out(frame)
        except Cut:
            await out(b'event: resync\ndata: {"reason":"this reader is too slow; begin again behind the last id"}\n\n')

    async def _gone(self, receive: Callable[[], Awaitable[Any]]) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async def _still_allowed(self) -> None:
        """Returns when the token no longer reaches the account."""
        server = self._access.server
        while True:
            await server.clock.sleep(CHECK_S)
            try:
                caller = await server.keyring.caller(self._authorization)
                Access(server, caller).need(self._account, Scope.READ)
            except Exception:  # noqa: BLE001 - whatever it is, the token was not shown to hold
                return
