"""Mistakes in opening and closing, and in keeping accounts apart."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import suppress
from dataclasses import replace
from typing import Any, ClassVar

from exchange_kernel.errors import (
    NotAuthorized,
    NotSent,
    OrderRefused,
    OutcomeUnknown,
    Unavailable,
    VenueError,
)
from exchange_kernel.value import revised
from exchange_kernel.venue import (
    Absent,
    AccountSnapshot,
    Ack,
    CancelAll,
    Command,
    Context,
    Lookup,
    Opened,
    OrderReport,
    Prep,
    Prepared,
    Ref,
    Snapshot,
    Ticket,
    Watermark,
)
from exchange_kernel_paper.adapter import PaperAdapter
from tests.conformance.defects.registry import defect


@defect("LIFE-01")
class ClosesOnlyOnce(PaperAdapter):
    """A second close raises."""

    async def close(self) -> None:
        if not self._open:
            raise RuntimeError("already closed")
        await super().close()


@defect("LIFE-01")
class ClosesOnlyWhatWasOpened(PaperAdapter):
    """close() before open() stumbles over what open() would have made."""

    async def close(self) -> None:
        await self._link.close()
        await super().close()


@defect("LIFE-01")
class ClosesTheOther(PaperAdapter):
    """close() closes the newest session of the process, whoever opened it."""

    newest: ClassVar[list[PaperAdapter]] = []

    async def open(self, ctx: Context) -> Opened:
        opened = await super().open(ctx)
        self.newest[:] = [self]
        return opened

    async def close(self) -> None:
        for each in self.newest or [self]:
            await PaperAdapter.close(each)


@defect("LIFE-02")
class LeaksATask(PaperAdapter):
    """A keep-alive that nobody ends."""

    async def open(self, ctx: Context) -> Opened:
        opened = await super().open(ctx)
        self.task = asyncio.create_task(self._keep_alive())
        return opened

    async def _keep_alive(self) -> None:
        while True:
            await self._ctx.sleep(10)


@defect("LIFE-02")
class LeaksATaskPerOrder(PaperAdapter):
    """Watches each order in a task of its own, which goes on after close()."""

    async def submit(self, ticket: Ticket) -> Ack:
        asyncio.create_task(self._watch())  # noqa: RUF006
        return await super().submit(ticket)

    async def _watch(self) -> None:
        await self._ctx.sleep(60)


@defect("LIFE-02")
class LeaksOnReconnect(PaperAdapter):
    """Each subscription has a watchdog, and only the newest is ended."""

    watchdog: asyncio.Task[None] | None = None

    async def _subscribe(self, op: str, **fields: object) -> Any:
        stream = await super()._subscribe(op, **fields)
        if op == "events":
            self.watchdog = asyncio.create_task(self._watch())
        return stream

    async def _watch(self) -> None:
        while True:
            await self._ctx.sleep(1)

    async def close(self) -> None:
        if self.watchdog is not None:
            self.watchdog.cancel()
        await super().close()


@defect("LIFE-02")
class GoesOnTalking(PaperAdapter):
    """A timer, no task, that pings the venue for ever."""

    async def open(self, ctx: Context) -> Opened:
        opened = await super().open(ctx)
        self._ping()
        return opened

    def _ping(self) -> None:
        link: Any = self._link
        link._wire.front.answer(self._tickets.request("time"))
        asyncio.get_running_loop().call_later(1, self._ping)


@defect("LIFE-03")
class StumblesWhenNotOpen(PaperAdapter):
    """Before open() it raises AttributeError."""

    async def account(self) -> AccountSnapshot:
        at, reply = await self._lookups.marked("account")
        return AccountSnapshot(at, True, self._translate.balances(reply["balances"]))


@defect("LIFE-03")
class SendsAfterClose(PaperAdapter):
    """close() closes the streams, and submit goes on sending."""

    async def submit(self, ticket: Ticket) -> Ack:
        if hasattr(self, "_ctx"):
            self._open = True
        return await super().submit(ticket)


@defect("LIFE-03")
class UnknownWhenClosed(PaperAdapter):
    """submit() without a session says that anything may have happened."""

    async def submit(self, ticket: Ticket) -> Ack:
        if not self._open:
            raise OutcomeUnknown("no connection")
        return await super().submit(ticket)


@defect("LIFE-03")
class EmptyWhenClosed(PaperAdapter):
    """open_orders() without a session is an empty list."""

    async def open_orders(self, page: str | None) -> Snapshot:
        if not self._open:
            return Snapshot((), Watermark(), True, None, "account")
        return await super().open_orders(page)


@defect("LIFE-04")
class LeaksWhenCancelled(PaperAdapter):
    """Starts its keep-alive first, and remembers it last."""

    task: asyncio.Task[None] | None = None

    async def open(self, ctx: Context) -> Opened:
        async def keep_alive() -> None:
            while True:
                await ctx.sleep(10)

        task = asyncio.create_task(keep_alive())
        opened = await super().open(ctx)
        self.task = task
        return opened

    async def close(self) -> None:
        if self.task is not None:
            self.task.cancel()
        await super().close()


@defect("LIFE-04")
class SwallowsCancellation(PaperAdapter):
    """A retry around open() that catches everything."""

    async def open(self, ctx: Context) -> Opened:
        while True:
            try:
                return await super().open(ctx)
            except BaseException:  # noqa: BLE001 - that is the mistake
                continue


@defect("LIFE-05")
class SharesItsBalances(PaperAdapter):
    """A cache of balances for all accounts of the venue."""

    cache: ClassVar[dict[str, AccountSnapshot]] = {}

    async def account(self) -> AccountSnapshot:
        fresh = await super().account()
        known = self.cache.get("paper")
        if known is not None and known.at == fresh.at:
            return known
        self.cache["paper"] = fresh
        return fresh


@defect("LIFE-05")
class SharesItsSession(PaperAdapter):
    """One signer per process: the account opened last signs for all."""

    signer: ClassVar[list[Any]] = []

    async def open(self, ctx: Context) -> Opened:
        opened = await super().open(ctx)
        self.signer[:] = [self._tickets]
        return opened

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        self._tickets = self.signer[0]
        return await super().prepare(command, prep)


@defect("LIFE-05")
class OneIdentityForAll(PaperAdapter):
    """The identity names the venue, not the account."""

    async def open(self, ctx: Context) -> Opened:
        opened = await super().open(ctx)
        return replace(opened, identity="paper")


@defect("LIFE-05")
class SharesItsOrders(PaperAdapter):
    """open_orders() answers from what any session of the process last saw."""

    known: ClassVar[dict[Any, OrderReport]] = {}

    async def open_orders(self, page: str | None) -> Snapshot:
        snapshot = await super().open_orders(page)
        return revised(snapshot, reports=(*snapshot.reports, *self.known.values()))

    async def submit(self, ticket: Ticket) -> Ack:
        ack = await super().submit(ticket)
        self.known.clear()
        self.known.update((each.id, each) for each in ack.reports if isinstance(each, OrderReport))
        return ack


@defect("LIFE-05")
class OneConnectionForAll(PaperAdapter):
    """Closing one session closes the connection of all."""

    sessions: ClassVar[list[PaperAdapter]] = []

    async def open(self, ctx: Context) -> Opened:
        self.sessions.append(self)
        return await super().open(ctx)

    async def close(self) -> None:
        while self.sessions:
            await PaperAdapter.close(self.sessions.pop())


@defect("LIFE-06")
class FindsOutLater(PaperAdapter):
    """open() asks only what anybody may ask, so wrong credentials show with the first order."""

    async def open(self, ctx: Context) -> Opened:
        trusted = replace(ctx, secrets={"secret": "canary-8f3b1c"})
        return await super().open(trusted)


@defect("LIFE-06")
class CallsItAnOutage(PaperAdapter):
    """Wrong credentials are raised as Unavailable, and retried for ever."""

    async def open(self, ctx: Context) -> Opened:
        try:
            return await super().open(ctx)
        except NotAuthorized:
            raise Unavailable("cannot log in") from None


@defect("LIFE-07")
class EmptyInAnOutage(PaperAdapter):
    """What cannot be reached is answered with an empty list."""

    async def open_orders(self, page: str | None) -> Snapshot:
        try:
            return await super().open_orders(page)
        except Unavailable:
            return Snapshot((), Watermark(venue_ms=self._ctx.clock()), True, None, "account")


@defect("LIFE-07")
class AbsentInAnOutage(PaperAdapter):
    """What cannot be looked up is absent."""

    async def lookup(self, ref: Ref) -> Lookup:
        try:
            return await super().lookup(ref)
        except Unavailable:
            return Absent(Watermark(venue_ms=self._ctx.clock()), 0, ("orders",))


@defect("LIFE-07")
class NeedsARestart(PaperAdapter):
    """The first failure is remembered for ever."""

    broken = False

    async def read(self, op: str, **fields: object) -> dict[str, Any]:
        if self.broken:
            raise Unavailable("not connected")
        try:
            return await super().read(op, **fields)
        except Unavailable:
            self.broken = True
            raise


@defect("LIFE-07")
class RejectsInAnOutage(PaperAdapter):
    """A refused connection is a refused order."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except NotSent as error:
            raise OrderRefused(str(error)) from error


@defect("LIFE-07")
class LogsOut(PaperAdapter):
    """close() logs out first, and fails where nobody listens."""

    async def close(self) -> None:
        if self._open:
            await self.read("time")
        await super().close()


@defect("LIFE-07")
class BlamesTheKey(PaperAdapter):
    """A venue that cannot be reached at open() has refused the key."""

    async def open(self, ctx: Context) -> Opened:
        try:
            return await super().open(ctx)
        except Unavailable as error:
            raise NotAuthorized(str(error)) from error


@defect("LIFE-08")
class NamesItselfAnew(PaperAdapter):
    """Every session has an identity of its own."""

    async def open(self, ctx: Context) -> Opened:
        opened = await super().open(ctx)
        self._identity = f"{opened.identity}:{uuid.uuid4().hex}"
        self._tickets._identity = self._identity
        return replace(opened, identity=self._identity)


@defect("LIFE-08")
class KnowsOnlyItsOwn(PaperAdapter):
    """lookup() knows the orders this session has placed, and no others."""

    def __init__(self) -> None:
        super().__init__()
        self.mine: set[bytes] = set()

    async def submit(self, ticket: Ticket) -> Ack:
        self.mine.add(ticket.key)
        return await super().submit(ticket)

    async def lookup(self, ref: Ref) -> Lookup:
        if ref.key not in self.mine:
            return Absent(Watermark(venue_ms=self._ctx.clock()), 0, ("orders",))
        return await super().lookup(ref)


@defect("LIFE-08")
class SendsOnlyItsOwn(PaperAdapter):
    """submit() sends what this session has prepared, from memory."""

    def __init__(self) -> None:
        super().__init__()
        self.prepared: dict[bytes, bytes] = {}

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        made = await super().prepare(command, prep)
        if isinstance(made, Ticket):
            self.prepared[made.key] = made.body
        return made

    async def submit(self, ticket: Ticket) -> Ack:
        if ticket.key not in self.prepared:
            raise NotSent("this ticket was never prepared")
        return await super().submit(ticket)


@defect("LIFE-09")
class CancelsOnClose(PaperAdapter):
    """Tidies up before it leaves."""

    async def close(self) -> None:
        if self._open and self._terms.fence == "time_window":
            prep = Prep(self._ctx.clock(), 2**62, lambda _: None)  # type: ignore[arg-type, return-value]
            ticket = await self.prepare(CancelAll(b"\1" * 16, None), prep)
            assert isinstance(ticket, Ticket)
            with suppress(VenueError):
                await self.submit(ticket)
        await super().close()


@defect("LIFE-10")
class NoModeAtAll(PaperAdapter):
    """open() does not say whether this is real money."""

    async def open(self, ctx: Context) -> Opened:
        return replace(await super().open(ctx), mode="")


@defect("LIFE-10")
class OffsetInSeconds(PaperAdapter):
    """open() measures the clock in seconds."""

    async def open(self, ctx: Context) -> Opened:
        opened = await super().open(ctx)
        return replace(opened, clock_offset=ctx.clock() // 1000 - ctx.clock())
