"""Mistakes with numbers, nodes and finality."""

from __future__ import annotations

from exchange_kernel.errors import (
    InsufficientFunds,
    OutcomeUnknown,
    RateLimited,
    Refused,
    Rejected,
)
from exchange_kernel.value import revised
from exchange_kernel.venue import (
    Absent,
    Ack,
    Burn,
    Cancel,
    Command,
    Executed,
    Fence,
    Lookup,
    Place,
    Prep,
    Prepared,
    Ref,
    Slot,
    SlotEnd,
    Ticket,
    Watermark,
)
from exchange_kernel_paper.adapter import PaperAdapter
from exchange_kernel_paper.tickets import operation, read_body
from tests.conformance.defects.registry import defect
from tests.conformance.defects.shaping import Resigning, canceled, each


class _Numbering(Resigning):
    """Puts a number of its own into tickets."""

    def number(self, taken: int) -> int:
        raise NotImplementedError

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        ticket = await super().prepare(command, prep)
        if not isinstance(ticket, Ticket) or ticket.slot is None or isinstance(command, Burn):
            return ticket
        number = self.number(ticket.slot.number)
        made = ticket if prep.dry else self.resigned(ticket, number=number)
        return revised(made, fence=Fence(True, (SlotEnd(Slot(ticket.slot.scope, number)),), "ledger"))


@defect("CHN-01", fence="sequence")
class OwnNumbers(_Numbering):
    """Numbers are counted by the adapter."""

    def __init__(self) -> None:
        super().__init__()
        self._count = -1

    def number(self, taken: int) -> int:
        self._count += 1
        return self._count


@defect("CHN-01", fence="sequence")
class NumberNotTaken(PaperAdapter):
    """The venue is asked for the next number; take is never called."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        following = (await self.account()).floors[self._identity]
        return await super().prepare(command, revised(prep, take=lambda scope: Slot(scope, following)))


@defect("CHN-01", fence="sequence")
class TwoNumbers(PaperAdapter):
    """A number is taken to see which is next, and then one for the ticket."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        if isinstance(command, Place | Cancel) and prep.instead_of is None:
            prep.take(self._identity)
        return await super().prepare(command, prep)


@defect("CHN-01", fence="sequence")
class NumberOnlyInTheFence(Resigning):
    """The fence names the number that was taken; the body has the next the venue would take."""

    async def submit(self, ticket: Ticket) -> Ack:
        return await super().submit(ticket)

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        ticket = await super().prepare(command, prep)
        if isinstance(ticket, Ticket) and isinstance(command, Place) and not prep.dry:
            return self.resigned(ticket, number=read_body(ticket)["number"] + 1)
        return ticket


@defect("CHN-02", fence="sequence")
class ReplacesElsewhere(_Numbering):
    """A replacement gets the next number."""

    def number(self, taken: int) -> int:
        return taken

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        if prep.instead_of is None or isinstance(command, Burn):
            return await super().prepare(command, prep)
        old = prep.instead_of.slot
        assert old is not None
        return await super().prepare(command, revised(prep, take=lambda scope: Slot(scope, old.number + 1)))


@defect("CHN-03", fence="sequence")
class BurnsNothing(PaperAdapter):
    """A number is burnt in the books only."""

    async def submit(self, ticket: Ticket) -> Ack:
        return Ack("held") if operation(ticket.body) == "burn" else await super().submit(ticket)


@defect("CHN-03", fence="sequence")
class SpentWhenSent(PaperAdapter):
    """A number counts as spent when it was sent."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if not isinstance(answer, Absent):
            return answer
        slots = frozenset(ticket.slot for ticket in ref.tickets if ticket.slot is not None)
        return revised(answer, at=revised(answer.at, spent=slots))


@defect("CHN-03", fence="sequence")
class NeverSpent(PaperAdapter):
    """Which numbers are spent is never said."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        return revised(answer, at=revised(answer.at, spent=frozenset())) if isinstance(answer, Absent) else answer


@defect("CHN-04", fence="sequence")
class FillsGaps(Resigning):
    """What is sent gets the number the venue wants next."""

    async def submit(self, ticket: Ticket) -> Ack:
        following = (await self.account()).floors[self._identity]
        return await super().submit(self.resigned(ticket, number=following))


@defect("CHN-05", fence="sequence")
class NodeRefusalIsRejected(PaperAdapter):
    """ "Insufficient funds" said by a node ends the order."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except Refused as error:
            raise InsufficientFunds(str(error)) from None


@defect("CHN-05", fence="height")
class NodeIsBusy(PaperAdapter):
    """A node that limits its callers is said to have done nothing."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except Refused as error:
            if error.code == "RATE_LIMIT":
                raise RateLimited(self._ctx.clock() + 500, "node") from None
            raise


@defect("CHN-05", fence="sequence")
class NumberTooLowIsRejected(PaperAdapter):
    """ "Number too low" ends the order, which may be what has used the number."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            ack = await super().submit(ticket)
        except OutcomeUnknown as error:
            if error.code == "NUMBER_TOO_LOW":
                raise Rejected(str(error)) from None
            raise
        if ack.stage == "duplicate":
            raise Rejected("nonce too low")
        return ack


@defect("CHN-06", fence="sequence")
class TentativeIsFilled(PaperAdapter):
    """What is in the newest block counts as filled."""

    async def lookup(self, ref: Ref) -> Lookup:
        return each(
            await super().lookup(ref),
            lambda r: revised(
                r,
                filled=Executed(r.filled.base + r.tentative.base, r.filled.quote + r.tentative.quote),
                tentative=Executed(),
            ),
        )


@defect("CHN-06", fence="height")
class FinalAtOnce(PaperAdapter):
    """An order that has ended in the newest block has ended for good."""

    async def lookup(self, ref: Ref) -> Lookup:
        return each(await super().lookup(ref), lambda r: revised(r, final=r.status.terminal))


@defect("CHN-06", fence="sequence")
class FillsFinalAtOnce(PaperAdapter):
    """Fills are final as soon as they are seen."""

    async def lookup(self, ref: Ref) -> Lookup:
        return each(
            await super().lookup(ref),
            lambda r: revised(r, fills=tuple(revised(fill, final=True) for fill in r.fills)),
        )


@defect("CHN-06", fence="sequence")
class ApiCancelIsFinal(PaperAdapter):
    """The API's "cancelled" is reported as final."""

    async def submit(self, ticket: Ticket) -> Ack:
        ack = await super().submit(ticket)
        if operation(ticket.body) == "cancel":
            return Ack("sent", (canceled(read_body(ticket), None, self._ctx.clock()),))
        return ack


@defect("CHN-06", fence="height")
class NeverFinal(PaperAdapter):
    """Nothing ever becomes final."""

    async def lookup(self, ref: Ref) -> Lookup:
        return each(await super().lookup(ref), lambda r: revised(r, final=False))


@defect("CHN-07", fence="height")
class LocalHeight(PaperAdapter):
    """How high the ledger is, is worked out from the local clock."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if not isinstance(answer, Absent):
            return answer
        height = self._ctx.clock() // self._terms.block_ms
        return revised(answer, at=Watermark(ledger_ms=self._ctx.clock(), height=height))


@defect("CHN-07", fence="sequence")
class TimesOutLocally(PaperAdapter):
    """After a minute of local time a number counts as spent by something else."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if not isinstance(answer, Absent) or self._ctx.clock() < ref.placed_at + 60_000:
            return answer
        slots = frozenset(ticket.slot for ticket in ref.tickets if ticket.slot is not None)
        return revised(answer, at=revised(answer.at, spent=slots))


@defect("CHN-08", fence="sequence")
class SameFee(Resigning):
    """A replacement offers what the other offered."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        ticket = await super().prepare(command, prep)
        if prep.instead_of is None or not isinstance(ticket, Ticket):
            return ticket
        return self.resigned(ticket, fee=read_body(prep.instead_of)["fee"])


@defect("CHN-08", fence="sequence")
class BurnsCheaply(Resigning):
    """A number is burnt for the least the network takes."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        ticket = await super().prepare(command, prep)
        if not isinstance(command, Burn) or not isinstance(ticket, Ticket) or prep.dry:
            return ticket
        return self.resigned(ticket, fee=str(self._state.base_fee))


@defect("CHN-08", fence="sequence")
class BaseFee(Resigning):
    """A replacement offers the least the network takes."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        ticket = await super().prepare(command, prep)
        if prep.instead_of is None or not isinstance(ticket, Ticket):
            return ticket
        return self.resigned(ticket, fee=str(self._state.base_fee))
