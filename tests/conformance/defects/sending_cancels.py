"""Mistakes in how orders are ended."""

from __future__ import annotations

from exchange_kernel.errors import (
    NotSent,
    OrderRefused,
    OutcomeUnknown,
    Rejected,
    UnknownTarget,
    Unsupported,
)
from exchange_kernel.value import revised
from exchange_kernel.venue import (
    Ack,
    Cancel,
    CancelAll,
    Command,
    Executed,
    Found,
    Key,
    Lookup,
    OrderReport,
    Prep,
    Prepared,
    Ref,
    Ticket,
    VenueStatus,
)
from exchange_kernel_paper.adapter import PaperAdapter
from exchange_kernel_paper.conformance import SECRET
from exchange_kernel_paper.exchange import encode, sign
from exchange_kernel_paper.tickets import operation, read_body
from tests.conformance.defects.registry import defect
from tests.conformance.defects.shaping import Resigning, canceled, each


@defect("CXL-01", fence="time_window")
class CancelsTheMarket(Resigning):
    """A cancel takes every order of the symbol."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        ticket = await super().prepare(command, prep)
        if isinstance(command, Cancel) and isinstance(ticket, Ticket) and not prep.dry:
            request = read_body(ticket)
            request = {"op": "cancel_all", **{name: request[name] for name in request if name not in ("op", "order")}}
            return revised(ticket, body=sign(encode(request), SECRET.encode()))
        return ticket


@defect("CXL-01", fence="permanent_key")
class CancelEndsExpired(PaperAdapter):
    """Every end is called expired."""

    async def lookup(self, ref: Ref) -> Lookup:
        return each(await super().lookup(ref), lambda r: revised(r, status=VenueStatus.EXPIRED) if r.final else r)


@defect("CXL-02", fence="none")
class SecondCancelIsRejected(PaperAdapter):
    """A cancel that finds nothing is an order that was refused."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except UnknownTarget as error:
            raise OrderRefused(str(error)) from None


@defect("CXL-02", fence="permanent_key")
class SecondCancelRejects(PaperAdapter):
    """An order whose cancel was refused is reported as rejected."""

    def __init__(self) -> None:
        super().__init__()
        self._refused = False

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except UnknownTarget:
            self._refused = True
            raise

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        return each(answer, lambda r: revised(r, status=VenueStatus.REJECTED)) if self._refused else answer


@defect("CXL-03", fence="time_window")
class FilledIsCanceled(PaperAdapter):
    """An order for which there is a cancel has been cancelled."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        canceled = any(operation(ticket.body) == "cancel" for ticket in ref.tickets)
        if not canceled:
            return answer
        return each(answer, lambda r: revised(r, status=VenueStatus.CANCELED) if r.status.terminal else r)


@defect("CXL-03", fence="permanent_key")
class TooLateIsAnError(PaperAdapter):
    """The cancel of an order that is over is a refused order."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except UnknownTarget as error:
            raise Rejected(str(error)) from None


class _GoneIsCanceled(PaperAdapter):
    """A cancel that finds nothing has worked."""

    def canceled(self, ticket: Ticket) -> Ack:
        raise NotImplementedError

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except UnknownTarget:
            return self.canceled(ticket)


@defect("CXL-04", fence="time_window")
class UnknownTargetIsSuccess(_GoneIsCanceled):
    """A cancel that finds nothing is answered as a success."""

    def canceled(self, ticket: Ticket) -> Ack:
        return Ack("decided")


@defect("CXL-04", fence="permanent_key")
class UnknownTargetIsTheEnd(_GoneIsCanceled):
    """A cancel that finds nothing reports the order as cancelled."""

    def canceled(self, ticket: Ticket) -> Ack:
        request = read_body(ticket)
        key = bytes.fromhex(request["client"][3:]) if "client" in request else None
        return Ack("sent", (canceled(request, key, self._ctx.clock()),))


@defect("CXL-04", fence="time_window")
class UnknownTargetIsRefused(_GoneIsCanceled):
    """A cancel that finds nothing is refused like an order."""

    def canceled(self, ticket: Ticket) -> Ack:
        raise OrderRefused("no such order")


@defect("CXL-05", fence="time_window")
class EndFromMemory(PaperAdapter):
    """The last report of a cancelled order has the fills known when the cancel was made."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[Key, OrderReport] = {}

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        if isinstance(command, Cancel):
            answer = await super().lookup(command.ref)
            if isinstance(answer, Found) and isinstance(answer.reports[0], OrderReport):
                self._known[command.ref.key] = answer.reports[0]
        return await super().prepare(command, prep)

    async def lookup(self, ref: Ref) -> Lookup:
        answer, known = await super().lookup(ref), self._known.get(ref.key)
        if known is None:
            return answer
        return each(
            answer,
            lambda r: revised(r, filled=known.filled, fills=known.fills) if r.status is VenueStatus.CANCELED else r,
        )


@defect("CXL-05", fence="permanent_key")
class CancelWins(PaperAdapter):
    """After a cancel was sent, the order's end is always: cancelled."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if len(ref.tickets) < 2:
            return answer
        return each(answer, lambda r: revised(r, status=VenueStatus.CANCELED) if r.status.terminal else r)


@defect("CXL-06", fence="time_window")
class CanceledWhenAsked(PaperAdapter):
    """A cancel without an answer is reported as done."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except OutcomeUnknown:
            if operation(ticket.body) != "cancel":
                raise
            return Ack("decided", (canceled(read_body(ticket), None, self._ctx.clock()),))


@defect("CXL-06", fence="permanent_key")
class CanceledOnceTicketed(PaperAdapter):
    """Lookup calls an order cancelled as soon as there is a cancel for it."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if len(ref.tickets) < 2:
            return answer
        return each(
            answer,
            lambda r: r if r.status.terminal else revised(r, status=VenueStatus.CANCELED, final=True),
        )


@defect("CXL-06", fence="sequence")
class CanceledInThePool(PaperAdapter):
    """A cancel that was broadcast has worked."""

    async def submit(self, ticket: Ticket) -> Ack:
        ack = await super().submit(ticket)
        if operation(ticket.body) == "cancel":
            return Ack("decided", (canceled(read_body(ticket), None, self._ctx.clock()),))
        return ack


@defect("CXL-07", fence="time_window")
class CancelTimeoutIsNotSent(PaperAdapter):
    """A cancel without an answer was not sent."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except OutcomeUnknown as error:
            if operation(ticket.body) == "cancel":
                raise NotSent(str(error)) from None
            raise


@defect("CXL-07", fence="height")
class CancelTimeoutIsUnknownTarget(PaperAdapter):
    """A cancel that ended in a server error found no order."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except OutcomeUnknown as error:
            if operation(ticket.body) == "cancel":
                raise UnknownTarget(str(error)) from None
            raise


@defect("CXL-08", fence="time_window")
class CancelsAllMarkets(PaperAdapter):
    """The symbol of a cancel_all is not passed on."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        if type(command).__name__ == "CancelAll":
            command = revised(command, symbol=None)
        return await super().prepare(command, prep)


@defect("CXL-08", fence="permanent_key")
class CancelsOneMarket(PaperAdapter):
    """cancel_all without a symbol takes the first that comes to mind."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        if type(command).__name__ == "CancelAll":
            command = revised(command, symbol="BTC/USD")
        return await super().prepare(command, prep)


@defect("CXL-08", fence="height")
class CancelsOnlyByMarket(PaperAdapter):
    """cancel_all is declared without a reservation, and refused without a symbol."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        if isinstance(command, CancelAll) and command.symbol is None:
            raise Unsupported("cancel_all", "of one symbol at a time")
        return await super().prepare(command, prep)


@defect("CXL-09", fence="time_window")
class EndWithoutFills(PaperAdapter):
    """The terminal report has the sum, and no fills."""

    async def lookup(self, ref: Ref) -> Lookup:
        return each(await super().lookup(ref), lambda r: revised(r, fills=()) if r.status.terminal else r)


@defect("CXL-09", fence="sequence")
class CanceledIsUnfilled(PaperAdapter):
    """What was cancelled was not filled."""

    async def lookup(self, ref: Ref) -> Lookup:
        return each(
            await super().lookup(ref),
            lambda r: revised(r, filled=Executed(), fills=()) if r.status is VenueStatus.CANCELED else r,
        )


@defect("CXL-09", fence="none")
class LastFillOnly(PaperAdapter):
    """The terminal report has the newest fill."""

    async def lookup(self, ref: Ref) -> Lookup:
        return each(await super().lookup(ref), lambda r: revised(r, fills=r.fills[-1:]) if r.status.terminal else r)
