"""Events from the process that committed them to those that read them: a bounded stream, resumed by sequence number.

The log in SQL is the truth: a reader that finds a gap here, because the stream was cut, lost, or is late, reads it from
there. So nothing waits for this, and nothing is lost with it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from exchange_kernel.events import Event, decode
from exchange_kernel.state.redis.link import LinkDown, RedisLink

__all__ = ["Fanout"]

KEPT: Final = 20_000
"""So many commits are kept for readers that are late; older ones are read from SQL."""
READ: Final = 500
WAIT_S: Final = 1.0
PAUSE_S: Final = 0.5

Listener = Callable[[Sequence[Event]], None]


class Fanout:
    """The stream of one store. ``era``: which store, and which life of it: sequence numbers count anew in another."""

    def __init__(self, link: RedisLink, era: str) -> None:
        self._link = link
        self._name = f"exk:{{events:{era}}}:log"
        self._pending: list[str] = []
        self._sender: asyncio.Task[None] | None = None
        self._reader: asyncio.Task[None] | None = None
        self._listeners: dict[str, list[Listener]] = {}
        self._generation = link.generation

    def send(self, events: Sequence[Event]) -> None:
        """The store's listener: tell what was committed here. Never waits."""
        self._pending.append(msgspec.json.encode([_plain(event) for event in events]).decode())
        if self._sender is None or self._sender.done():
            with contextlib.suppress(RuntimeError):
                self._sender = asyncio.get_running_loop().create_task(self._send(), name="events out")

    def listen(self, account: str, listener: Listener) -> None:
        """Call back with an account's events, wherever they were committed; also with those committed here."""
        self._listeners.setdefault(account, []).append(listener)
        if self._reader is None or self._reader.done():
            self._reader = asyncio.get_running_loop().create_task(self._read(), name="events in")

    def unlisten(self, account: str, listener: Listener) -> None:
        """Stop calling back."""
        listeners = self._listeners.get(account, [])
        if listener in listeners:
            listeners.remove(listener)
            if not listeners:
                del self._listeners[account]

    async def close(self) -> None:
        """Send what is left, and stop."""
        if self._sender is not None:
            await asyncio.wait((self._sender,))
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reader

    async def _send(self) -> None:
        while self._pending:
            pending, self._pending = self._pending, []
            with contextlib.suppress(LinkDown):
                calls = (self._link.run("XADD", self._name, "MAXLEN", "~", KEPT, "*", "e", text) for text in pending)
                await asyncio.gather(*calls, return_exceptions=False)

    async def _read(self) -> None:
        place = "$"
        while True:
            try:
                if place == "$":
                    newest = await self._link.run("XREVRANGE", self._name, "+", "-", "COUNT", 1)
                    place = newest[0][0] if newest else "0"
                if self._generation != self._link.generation:
                    self._generation, place = self._link.generation, "0"
                command = ("XREAD", "COUNT", READ, "BLOCK", int(WAIT_S * 1000), "STREAMS", self._name, place)
                found = await self._link.block(*command, patience=WAIT_S)
            except LinkDown:
                await asyncio.sleep(PAUSE_S)
                continue
            for entry, fields in _entries(found):
                place = entry
                self._tell(fields)

    def _tell(self, fields: Any) -> None:
        text = fields["e"] if isinstance(fields, dict) else fields[1]
        mine: defaultdict[str, list[Event]] = defaultdict(list)
        for kind, header, body in msgspec.json.decode(text):
            if header["account"] in self._listeners:
                with contextlib.suppress(KeyError, TypeError, ValueError):  # an event of another release
                    mine[header["account"]].append(decode(kind, header, body))
        for account, events in mine.items():
            for listener in tuple(self._listeners.get(account, ())):
                listener(events)


def _entries(found: Any) -> list[tuple[str, Any]]:
    """The entries of an answer to XREAD on one stream."""
    if not found:
        return []
    entries = found[0][1] if isinstance(found, list) else next(iter(found.values()))
    return [(place, fields) for place, fields in entries]


def _plain(event: Event) -> tuple[str, dict[str, Any], Any]:
    header = {
        "account": event.account,
        "at": event.at,
        "intent_id": event.intent_id,
        "actor": event.actor,
        "reason": event.reason,
        "seq": event.seq,
    }
    return event.kind, header, event.body()
