"""A kernel's boundary: every touch of its store and of its venue gets a label, and somebody who may interfere there.

The product knows nothing of it: these are the store and the adapter it is given, wrapped. Labels read "before commit of
place", "after submit of cancel", "before lookup"; :func:`describe` says what an operation of the store is called.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

from exchange_kernel.state.commit import Change
from exchange_kernel.state.rows import TicketState
from exchange_kernel.state.stores import IntentStateStore
from exchange_kernel.venue import Amend, Burn, Cancel, Enable, Place, Settle, Ticket
from exchange_kernel_paper.tickets import operation

Touch = Callable[[str, Any], Awaitable[None]]
"""Called with a label and what it is about; what it raises, the kernel meets there."""

_OPERATIONS = {
    "CreateIntents": "commit of declare",
    "ModifyIntent": "commit of modify",
    "CancelIntents": "commit of the wish to cancel",
    "SetHalt": "commit of halt",
    "RenewLease": "renewal",
    "AcquireLease": "takeover",
}
_COMMANDS: dict[type, str] = {
    Place: "place",
    Amend: "amend",
    Cancel: "cancel",
    Burn: "burn",
    Enable: "enable",
    Settle: "settle",
}
_WIRE = {"order": "place"}


def describe(operation: Any) -> str:
    """What a write is: of a user, of the lease, or of a step of the reconciler, which is named by the ticket it makes
    (commit), sends again (repeat) or learns about (record)."""
    if not isinstance(operation, Change):
        return _OPERATIONS.get(type(operation).__name__, type(operation).__name__)
    before, after = operation.before.tickets, operation.after.tickets
    if len(after) > len(before):
        return f"commit of {after[-1].kind.value.lower()}"
    for old, new in zip(before, after, strict=True):
        if new is not old:
            what = "repeat" if new.state is TicketState.REPEATED else "record"
            return f"{what} of {new.kind.value.lower()}"
    return "record"


class StoreBoundary:
    """A store whose writes are touched before they begin and after they are answered. ``writing``: how many are under
    way right now."""

    def __init__(self, inner: IntentStateStore, touch: Touch) -> None:
        self.inner = inner
        self.writing = 0
        self._touch = touch

    async def execute(self, operation: Any) -> Any:
        name = describe(operation)
        await self._touch(f"before {name}", operation)
        self.writing += 1
        try:
            result = await self.inner.execute(operation)
        finally:
            self.writing -= 1
        await self._touch(f"after {name}", operation)
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class LinkBoundary:
    """A paper adapter's link: what has passed every check and is leaving now, and its answer."""

    def __init__(self, inner: Any, touch: Touch) -> None:
        self.inner = inner
        self._touch = touch

    async def call(self, op: str, body: bytes) -> bytes:
        if op not in ("order", "amend", "cancel"):
            answer: bytes = await self.inner.call(op, body)
            return answer
        name = _WIRE.get(op, op)
        await self._touch(f"before send of {name}", body)
        sending = asyncio.ensure_future(self.inner.call(op, body))
        # On an open connection the bytes are written in the first turns of the loop, before an answer can be there.
        for _ in range(4):
            await asyncio.sleep(0)
        await self._touch(f"sent {name}", body)
        answer = await sending
        await self._touch(f"after send of {name}", body)
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class AdapterBoundary:
    """A paper adapter that is touched around every call."""

    def __init__(self, inner: Any, touch: Touch) -> None:
        self.inner = inner
        self._touch = touch

    def check(self, spec: Any, was: Any = None) -> Any:
        return self.inner.check(spec, was)

    async def open(self, ctx: Any) -> Any:
        await self._touch("before open", ctx)
        opened = await self.inner.open(ctx)
        paper = self.inner
        while hasattr(paper, "inner"):
            paper = paper.inner
        paper._link = LinkBoundary(paper._link, self._touch)
        return opened

    async def close(self) -> None:
        await self.inner.close()

    async def markets(self) -> Any:
        return await self.inner.markets()

    async def prepare(self, command: Any, prep: Any) -> Any:
        name = _COMMANDS[type(command)]
        await self._touch(f"before prepare of {name}", command)
        prepared = await self.inner.prepare(command, prep)
        await self._touch(f"after prepare of {name}", prepared)
        return prepared

    async def submit(self, ticket: Ticket) -> Any:
        op = operation(ticket.body)
        name = _WIRE.get(op, op)
        await self._touch(f"before submit of {name}", ticket)
        ack = await self.inner.submit(ticket)
        await self._touch(f"after submit of {name}", ack)
        return ack

    async def lookup(self, ref: Any) -> Any:
        return await self._read("lookup", self.inner.lookup, ref)

    async def open_orders(self, page: Any) -> Any:
        return await self._read("snapshot", self.inner.open_orders, page)

    async def account(self) -> Any:
        return await self._read("account", self.inner.account)

    def __getattr__(self, name: str) -> Any:
        if name == "history":  # not every venue has one
            return partial(self._read, name, self.inner.history)
        if name == "arm":
            return partial(self._read, name, self.inner.arm)
        raise AttributeError(name)

    async def _read(self, label: str, method: Any, *args: Any) -> Any:
        await self._touch(f"before {label}", args)
        answer = await method(*args)
        await self._touch(f"after {label}", answer)
        return answer

    async def events(self, cursor: Any) -> AsyncIterator[Any]:
        async for event in self.inner.events(cursor):
            await self._touch("event", event)
            yield event

    async def prices(self, symbols: Any) -> AsyncIterator[Any]:
        async for tick in self.inner.prices(symbols):
            yield tick
