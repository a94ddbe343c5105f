"""Mistakes in sending groups, and in what became of them."""

from __future__ import annotations

from typing import Any

from exchange_kernel.errors import NotAuthorized, OrderRefused, OutcomeUnknown, Rejected, VenueError
from exchange_kernel.value import revised
from exchange_kernel.venue import (
    Absent,
    Ack,
    Command,
    Fence,
    Lookup,
    Place,
    PlaceGroup,
    Prep,
    Prepared,
    Ref,
    Spec,
    Ticket,
    TimeEnd,
    VenueStatus,
    Watermark,
)
from exchange_kernel_paper.adapter import PaperAdapter
from exchange_kernel_paper.conformance import SECRET
from exchange_kernel_paper.exchange import encode, sign
from exchange_kernel_paper.tickets import operation, read_body
from tests.conformance.defects.registry import defect
from tests.conformance.defects.shaping import Resigning, each


def is_group(ticket: Ticket) -> bool:
    """Does it place a group?"""
    return operation(ticket.body) == "group"


def group_ref(ref: Ref) -> bool:
    """Is the group meant, not a leg?"""
    return any(ticket.key == ref.key and is_group(ticket) for ticket in ref.tickets)


class _Legs(PaperAdapter):
    """Sends orders in place of groups."""

    def leg(self, ticket: Ticket, place: int) -> Ticket:
        """One leg as an order of its own."""
        request = read_body(ticket)
        kept = {name: request[name] for name in ("account", "ts", "window", "number", "fee") if name in request}
        row = {name: value for name, value in request["legs"][place].items() if name != "of"}
        return revised(ticket, body=sign(encode({"op": "order", **row, **kept}), SECRET.encode()))

    def count(self, ticket: Ticket) -> int:
        """How many legs it has."""
        return len(read_body(ticket)["legs"])


@defect("GRP-02", fence="time_window")
class LegByLeg(_Legs):
    """The legs of a group are orders, sent one after the other."""

    async def submit(self, ticket: Ticket) -> Ack:
        if not is_group(ticket):
            return await super().submit(ticket)
        acks = [await super(LegByLeg, self).submit(self.leg(ticket, n)) for n in range(self.count(ticket))]
        return Ack("decided", tuple(report for ack in acks for report in ack.reports))


@defect("GRP-03", fence="permanent_key")
class LegsUntilRefused(LegByLeg):
    """Legs are sent one by one until the venue refuses one, which is then raised."""


@defect("GRP-02", fence="permanent_key")
class TriesTheGroup(PaperAdapter):
    """prepare() sends a group, to see whether the venue would take it."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        ticket = await super().prepare(command, prep)
        if isinstance(command, PlaceGroup) and isinstance(ticket, Ticket):
            await super().submit(ticket)
        return ticket


@defect("GRP-03", fence="time_window")
class RefusedLegIsLeftOut(_Legs):
    """Of a group that is refused the first leg is placed all the same."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except Rejected:
            if not is_group(ticket):
                raise
            return await super().submit(self.leg(ticket, 0))


@defect("GRP-03", fence="none")
class RefusedGroupIsTaken(PaperAdapter):
    """The refusal of a group is the end of the matter."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except Rejected:
            if is_group(ticket):
                return Ack("decided")
            raise


@defect("GRP-03", fence="sequence")
class RevertedLegsWork(PaperAdapter):
    """A group that is in a block stands, though it failed there."""

    async def lookup(self, ref: Ref) -> Lookup:
        return each(
            await super().lookup(ref),
            lambda r: (
                revised(r, status=VenueStatus.WORKING, final=False)
                if r.status is VenueStatus.REJECTED and any(link.kind == "group" for link in r.links)
                else r
            ),
        )


@defect("GRP-04", fence="time_window")
class GroupTimeoutIsRefusal(PaperAdapter):
    """A group without an answer was refused."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except OutcomeUnknown as error:
            if is_group(ticket):
                raise OrderRefused(str(error)) from None
            raise


@defect("GRP-04", fence="permanent_key")
class GroupIsSentAgain(PaperAdapter):
    """A group without an answer is sent once more: its ids would keep it from being there twice."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except OutcomeUnknown:
            if is_group(ticket):
                await super().submit(ticket)
            raise


@defect("GRP-04", fence="time_window")
class GroupIsMadeAnew(Resigning):
    """A group without an answer is sent again under other ids."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except OutcomeUnknown:
            if not is_group(ticket):
                raise
        request = read_body(ticket)
        legs = [{**leg, "client": f"{leg['client']}ff"} for leg in request["legs"]]
        return await super().submit(self.resigned(ticket, rid=f"{request['rid']}ff", legs=legs))


class _Searching(PaperAdapter):
    """Each search passes :meth:`searched`."""

    def searched(self, fields: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    async def read(self, op: str, **fields: object) -> dict[str, Any]:
        return await super().read(op, **(self.searched(fields) if op == "find" else fields))


@defect("GRP-04", fence="sequence")
class GroupsAreNotSearched(_Searching):
    """Only orders are looked for, and a group's id is no order's."""

    def searched(self, fields: dict[str, Any]) -> dict[str, Any]:
        return {**fields, "groups": []}


@defect("GRP-04", fence="height")
class FindsTheFirstLeg(PaperAdapter):
    """A lookup answers with the first match."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        return revised(answer, reports=answer.reports[:1]) if hasattr(answer, "reports") else answer


@defect("GRP-04", fence="permanent_key")
class LegsAreNamedByTheGroup(PaperAdapter):
    """Whatever a lookup of a group finds has the key that was asked for."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        return each(answer, lambda r: revised(r, key=ref.key)) if group_ref(ref) else answer


@defect("GRP-05", fence="time_window")
class GroupEndsEarly(PaperAdapter):
    """The fence of a group ends when its request was to be sent."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        ticket = await super().prepare(command, prep)
        if not isinstance(command, PlaceGroup) or not isinstance(ticket, Ticket):
            return ticket
        (end,) = ticket.fence.ends
        assert isinstance(end, TimeEnd)
        return revised(ticket, fence=Fence(False, (TimeEnd(end.at - self._terms.window_ms, "venue"),)))


@defect("GRP-05", fence="height")
class GroupBlocksAreFinal(PaperAdapter):
    """For groups the newest block is taken for a final one, and a few more with it."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if not isinstance(answer, Absent) or not group_ref(ref):
            return answer
        return revised(answer, at=Watermark(height=(answer.at.height or 0) + 10))


@defect("GRP-05", fence="time_window")
class GroupsAreNeverAbsent(PaperAdapter):
    """A group that is not there may have been forgotten, so nothing is said of how far back the venue remembers."""

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if isinstance(answer, Absent) and group_ref(ref):
            return revised(answer, since=answer.since + 10**9)
        return answer


@defect("GRP-10", fence="permanent_key")
class GroupsHaveNewNames(Resigning):
    """Each time a group is sent its legs get ids of their own."""

    sent = 0

    async def submit(self, ticket: Ticket) -> Ack:
        if not is_group(ticket):
            return await super().submit(ticket)
        self.sent += 1
        request = read_body(ticket)
        legs = [{**leg, "client": f"{leg['client']}{self.sent:02x}"} for leg in request["legs"]]
        return await super().submit(self.resigned(ticket, rid=f"{request['rid']}{self.sent:02x}", legs=legs))


@defect("GRP-10", fence="sequence")
class GroupNumbersAreFresh(Resigning):
    """A group's number is asked for when it is sent."""

    sent = 0

    async def submit(self, ticket: Ticket) -> Ack:
        if not is_group(ticket):
            return await super().submit(ticket)
        number = (await self.account()).floors[self._identity]
        self.sent += 1
        legs = [{**leg, "client": f"{leg['client']}{self.sent:02x}"} for leg in read_body(ticket)["legs"]]
        return await super().submit(self.resigned(ticket, number=number, rid=f"g{self.sent}", legs=legs))


@defect("GRP-12", groups=[])
class GroupIsItsFirstLeg(PaperAdapter):
    """Where groups are not offered the first leg is placed, as the one that matters."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        if isinstance(command, PlaceGroup) and command.legs:
            return await super().prepare(Place(command.key, command.legs[0].spec), prep)
        return await super().prepare(command, prep)


@defect("GRP-12", groups=["oco"])
class AsksBeforeRefusing(PaperAdapter):
    """The venue is asked again what it offers before a group is refused."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        if isinstance(command, PlaceGroup):
            await self.markets()
        return await super().prepare(command, prep)


@defect("GRP-12", groups=["oto"])
class RefusesGroupsByNoName(PaperAdapter):
    """A group that is not offered is an account's lack of permission."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        try:
            return await super().prepare(command, prep)
        except VenueError:
            if isinstance(command, PlaceGroup):
                raise NotAuthorized("groups are not enabled") from None
            raise


class _Bending(PaperAdapter):
    """Makes a group of whatever it is given."""

    def bent(self, specs: list[Spec], many: int) -> list[Spec]:
        raise NotImplementedError

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        if not isinstance(command, PlaceGroup) or not command.legs:
            return await super().prepare(command, prep)
        specs = self.bent([leg.spec for leg in command.legs], 3 if command.kind == "bracket" else 2)
        keys = [leg.key for leg in command.legs]
        legs = tuple(Place(key, spec) for key, spec in zip(keys, specs, strict=False))
        return await super().prepare(revised(command, legs=legs), prep)


@defect("GRP-12")
class CutsLegsOff(_Bending):
    """More legs than a group has are not sent."""

    def bent(self, specs: list[Spec], many: int) -> list[Spec]:
        return specs[:many]


@defect("GRP-12")
class LegsInOneMarket(_Bending):
    """Legs in different markets are sent to that of the first."""

    def bent(self, specs: list[Spec], many: int) -> list[Spec]:
        return [revised(spec, symbol=specs[0].symbol) for spec in specs]
