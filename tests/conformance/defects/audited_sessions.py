"""Mistakes in what a session does to the process around it, and in where it lets secrets go."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import random
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from decimal import ROUND_UP, getcontext

from exchange_kernel.value import revised
from exchange_kernel.venue import Ack, Context, Lookup, Opened, OrderReport, Ref, Snapshot, Ticket, VenueEvent
from exchange_kernel_paper.adapter import PaperAdapter
from exchange_kernel_paper.conformance import SECRET
from tests.conformance.defects.registry import defect
from tests.conformance.defects.retelling import Retelling


@defect("LIFE-13", fence="time_window")
class HandlesTheLoopsExceptions(PaperAdapter):
    """Errors of background tasks are a nuisance: the loop's handler drops them."""

    async def open(self, ctx: Context) -> Opened:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        return await super().open(ctx)


@defect("LIFE-13", fence="sequence")
class MakesTheLoopsTasks(PaperAdapter):
    """Every task of the loop is made by the adapter, so that it can count them."""

    async def open(self, ctx: Context) -> Opened:
        asyncio.get_running_loop().set_task_factory(
            lambda loop, coro, **more: asyncio.Task(coro, loop=loop, **more)  # type: ignore[arg-type]
        )
        return await super().open(ctx)


@defect("LIFE-13", fence="none")
class RoundsForAll(PaperAdapter):
    """The decimal context of whoever calls is set to what the venue does."""

    async def open(self, ctx: Context) -> Opened:
        getcontext().prec, getcontext().rounding = 12, ROUND_UP
        return await super().open(ctx)


@defect("LIFE-13", fence="height")
class RoundsForAllInLookup(PaperAdapter):
    """A lookup divides, and sets the precision for that."""

    async def lookup(self, ref: Ref) -> Lookup:
        getcontext().prec = 9
        return await super().lookup(ref)


@defect("LIFE-13", fence="permanent_key")
class TakesTheSignals(PaperAdapter):
    """Ctrl-C is to close this session first."""

    async def open(self, ctx: Context) -> Opened:
        signal.signal(signal.SIGINT, lambda number, frame: None)
        return await super().open(ctx)


@defect("LIFE-13", fence="time_window")
class SeedsTheRandomness(PaperAdapter):
    """For reproducible runs the process' random numbers begin anew with each session."""

    async def open(self, ctx: Context) -> Opened:
        random.seed(1)
        return await super().open(ctx)


@defect("LIFE-13", fence="time_window")
class TimesOutEverySocket(PaperAdapter):
    """The time limit of its own sockets is set for all."""

    async def open(self, ctx: Context) -> Opened:
        socket.setdefaulttimeout(5.0)
        return await super().open(ctx)


@defect("LIFE-13", fence="time_window")
class SilencesTheLog(PaperAdapter):
    """Logging is switched off, for speed."""

    async def open(self, ctx: Context) -> Opened:
        logging.disable(logging.CRITICAL)
        return await super().open(ctx)


@defect("LIFE-13", fence="time_window")
class HidesCrashes(PaperAdapter):
    """What ends the process is told in the adapter's own words."""

    async def open(self, ctx: Context) -> Opened:
        sys.excepthook = lambda *args: None
        return await super().open(ctx)


@defect("LIFE-13", fence="time_window")
class ExportsItsSettings(PaperAdapter):
    """Settings are handed to a library through the environment."""

    async def open(self, ctx: Context) -> Opened:
        os.environ["PAPER_ACCOUNT"] = ctx.account
        return await super().open(ctx)


@defect("BAD-04", fence="time_window")
class SecretInTheEnvironment(PaperAdapter):
    """A library takes its key from the environment."""

    async def open(self, ctx: Context) -> Opened:
        os.environ["PAPER_SECRET"] = ctx.secrets.get("secret", "")
        return await super().open(ctx)


@defect("BAD-04", fence="time_window")
class SecretInBase64(Retelling):
    """Reports carry the header of the request that led to them, encoded."""

    def told(self, report: OrderReport, source: str) -> OrderReport:
        header = base64.b64encode(f"user:{SECRET}".encode()).decode()
        return revised(report, raw={**report.raw, "authorization": header})


@defect("BAD-04", fence="permanent_key")
class SecretInACursor(PaperAdapter):
    """The cursor of the open orders is the whole next request."""

    async def open_orders(self, page: str | None) -> Snapshot:
        snapshot = await super().open_orders(page.partition("&")[0] if page else None)
        return revised(snapshot, next=snapshot.next and f"{snapshot.next}&key={SECRET}")


@defect("BAD-04", fence="none")
class SecretInATaskName(PaperAdapter):
    """Tasks are named after the session they work for."""

    async def submit(self, ticket: Ticket) -> Ack:
        return await asyncio.create_task(super().submit(ticket), name=f"submit for {SECRET}")


@defect("BAD-04", fence="sequence")
class SecretInAnEvent(PaperAdapter):
    """An event's cursor holds the listen key, which is the secret."""

    async def events(self, cursor: str | None) -> AsyncIterator[VenueEvent]:  # type: ignore[override]
        async for event in super().events(cursor):
            yield revised(event, cursor=f"{SECRET}:{event.at}")


@defect("BAD-04", fence="time_window")
class SecretInAStream(Retelling):
    """What the stream tells has the signature's key in its text."""

    def event(self, event: VenueEvent) -> Sequence[VenueEvent]:
        if isinstance(event.body, OrderReport):
            return (revised(event, body=revised(event.body, text=f"signed with {SECRET}")),)
        return (event,)
