"""Mistakes in what is sent, and how often."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from decimal import Decimal
from typing import Any

from exchange_kernel.value import revised
from exchange_kernel.venue import (
    FOREVER,
    Ack,
    Amend,
    Cancel,
    Command,
    Context,
    Fence,
    Found,
    Key,
    Lookup,
    Opened,
    OrderReport,
    Place,
    Prep,
    Prepared,
    Ref,
    Ticket,
)
from exchange_kernel_paper.adapter import PaperAdapter
from exchange_kernel_paper.conformance import SECRET
from exchange_kernel_paper.exchange import encode, sign
from exchange_kernel_paper.tickets import operation, read_body
from tests.conformance.defects.registry import defect
from tests.conformance.defects.shaping import Resigning, opened_with


class _Repeatable(Resigning):
    """Everything is said to be repeatable."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        ticket = await super().prepare(command, prep)
        assert isinstance(ticket, Ticket)
        return revised(ticket, fence=revised(ticket.fence, repeatable=True), send_before=FOREVER)


@defect("IDEM-07", fence="time_window")
class WindowIsRepeatable(_Repeatable):
    """The venue refuses a second order with the same id only while the first is open."""


@defect("IDEM-07", fence="time_window")
class OpenIdIsAPermanentKey(PaperAdapter):
    """An id that is unique among open orders is declared a permanent key, without an end."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        ticket = await super().prepare(command, prep)
        assert isinstance(ticket, Ticket)
        return revised(ticket, fence=Fence(True, ()))


@defect("IDEM-01", fence="none")
class NothingIsRepeatable(_Repeatable):
    """A venue without ids, declared repeatable."""


@defect("IDEM-02", fence="permanent_key")
class RenamesCopies(Resigning):
    """A ticket that is on its way already gets another id."""

    def __init__(self) -> None:
        super().__init__()
        self._sending: list[bytes] = []

    async def submit(self, ticket: Ticket) -> Ack:
        self._sending.append(ticket.body)
        copies = self._sending.count(ticket.body)
        await asyncio.sleep(0)
        if operation(ticket.body) == "order" and copies > 1:
            ticket = self.resigned(ticket, client=f"{read_body(ticket)['client']}.{copies}")
        return await super().submit(ticket)


class _Forgetful(set):  # type: ignore[type-arg]
    """Keys a venue remembers for a while."""

    def __init__(self, exchange: Any, kept_ms: int) -> None:
        super().__init__()
        self._exchange, self._kept_ms, self._at = exchange, kept_ms, {}

    def add(self, key: str) -> None:
        self._at[key] = self._exchange.now

    def __contains__(self, key: object) -> bool:
        return key in self._at and self._exchange.now - self._at[key] <= self._kept_ms


@defect("IDEM-10", fence="permanent_key")
class KeyForAMinute(Resigning):
    """The venue remembers ids for a minute; declared is: for ever."""

    kept_ms = 60_000

    async def open(self, ctx: Context) -> Opened:
        opened = await super().open(ctx)
        account = self.exchange.account(ctx.account)
        if not isinstance(account.keys, _Forgetful):
            account.keys = _Forgetful(self.exchange, self.kept_ms)
        return opened


@defect("IDEM-10", fence="permanent_key")
class KeyForADay(KeyForAMinute):
    """The venue remembers ids for a day; declared is: for ever."""

    kept_ms = 86_400_000


@defect("IDEM-03", fence="time_window")
class ReplacesOnDuplicate(Resigning):
    """On "duplicate id" the adapter cancels the order that is there and sends again."""

    async def submit(self, ticket: Ticket) -> Ack:
        ack = await super().submit(ticket)
        if ack.stage != "duplicate" or operation(ticket.body) != "order":
            return ack
        fields = read_body(ticket)
        cancel = {name: fields[name] for name in ("account", "symbol", "client", "ts", "window")}
        await self._link.call("cancel", sign(encode({"op": "cancel", **cancel}), SECRET.encode()))
        return await super().submit(ticket)


@defect("IDEM-03", fence="permanent_key")
class DuplicateIsTheNewOrder(PaperAdapter):
    """A duplicate reply is reported as the order that was asked for."""

    async def submit(self, ticket: Ticket) -> Ack:
        ack = await super().submit(ticket)
        if ack.stage != "duplicate" or operation(ticket.body) != "order":
            return ack
        found = await self.lookup(Ref(ticket.key, "", None, 0, ticket.ids, (ticket,)))
        assert isinstance(found, Found)
        amount = Decimal(read_body(ticket)["amount"])
        return Ack("decided", tuple(revised(r, amount=amount) for r in found.reports if isinstance(r, OrderReport)))


@defect("IDEM-04", fence="time_window")
class TicketIsAHandle(PaperAdapter):
    """The bytes stay in the adapter; the ticket only names them."""

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[bytes, Ticket] = {}

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        ticket = await super().prepare(command, prep)
        assert isinstance(ticket, Ticket)
        handle = hashlib.sha256(ticket.body).digest()
        self._made[handle] = ticket
        return revised(ticket, body=handle)

    async def submit(self, ticket: Ticket) -> Ack:
        return await super().submit(self._made[ticket.body])


@defect("IDEM-04", fence="sequence")
class SessionInTheIdentity(PaperAdapter):
    """Every session is another account."""

    sessions = 0

    async def open(self, ctx: Context) -> Opened:
        opened = await super().open(ctx)
        type(self).sessions += 1
        self._identity = self._tickets._identity = f"{opened.identity}#{self.sessions}"
        self._lookups._scope = self._identity
        return opened_with(
            opened, identity=self._identity, scopes=tuple(revised(s, name=self._identity) for s in opened.scopes)
        )


class _Richer(Ticket, frozen=True):
    """A ticket that knows more than a store keeps."""

    price: Decimal = Decimal(0)


@defect("IDEM-04", fence="permanent_key")
class TicketIsNotPlain(PaperAdapter):
    """The price is in an attribute of the ticket, which no store keeps."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        t = await super().prepare(command, prep)
        assert isinstance(t, Ticket)
        return _Richer(
            t.key, t.body, t.codec, t.identity, t.fence, t.ids, t.send_before, t.outlay, t.note, Decimal(40_000)
        )


@defect("IDEM-05", fence="time_window")
class PrepareSends(Resigning):
    """The order is sent when its ticket is made; submit only asks what became of it."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        ticket = await super().prepare(command, prep)
        if isinstance(command, Place) and isinstance(ticket, Ticket) and not prep.dry:
            await self._link.call("order", ticket.body)
        return ticket


@defect("IDEM-05", fence="permanent_key")
class PrepareCancels(PaperAdapter):
    """A cancel is sent when its ticket is made: it cannot do any harm."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        ticket = await super().prepare(command, prep)
        if isinstance(command, Cancel) and isinstance(ticket, Ticket) and not prep.dry:
            await self._link.call("cancel", ticket.body)
        return ticket


@defect("IDEM-05", fence="sequence")
class DrySigns(PaperAdapter):
    """A dry run is signed like any other."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        return await super().prepare(command, revised(prep, dry=False))


class _OtherIds(PaperAdapter):
    """Client ids made of something that is not the key."""

    def other(self, key: Key) -> Key:
        raise NotImplementedError

    def back(self, key: Key | None) -> Key | None:
        return key

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        key = command.key
        if isinstance(command, Place):
            command = revised(command, key=self.other(key))
        elif isinstance(command, Cancel | Amend):
            command = revised(command, ref=revised(command.ref, key=self.other(command.ref.key)))
        ticket = await super().prepare(command, prep)
        return revised(ticket, key=key) if isinstance(ticket, Ticket) else ticket

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(revised(ref, key=self.other(ref.key)))
        if not isinstance(answer, Found):
            return answer
        return revised(
            answer, reports=tuple(revised(r, key=self.back(r.key) if r.key else None) for r in answer.reports)
        )


@defect("IDEM-06", fence="permanent_key")
class TruncatesIds(_OtherIds):
    """The venue takes 15 bytes, so the last one is cut off; reports get the key that was asked for."""

    def other(self, key: Key) -> Key:
        return key[:15] + b"\x00"

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        return (
            revised(answer, reports=tuple(revised(r, key=ref.key) for r in answer.reports))
            if isinstance(answer, Found)
            else answer
        )


@defect("IDEM-06", fence="time_window")
class DropsABit(_OtherIds):
    """Ids are folded to positive numbers: the top bit is lost."""

    def other(self, key: Key) -> Key:
        return bytes([key[0] & 0x7F]) + key[1:]


@defect("IDEM-06", fence="time_window")
class HashesIds(_OtherIds):
    """Ids are a hash of the key, and the reports show that."""

    def other(self, key: Key) -> Key:
        return hashlib.sha256(key).digest()[:16]


@defect("IDEM-06", fence="permanent_key")
class CountsIds(_OtherIds):
    """Ids are counted, and which key has which is in memory."""

    def __init__(self) -> None:
        super().__init__()
        self._ids: dict[Key, Key] = {}

    def other(self, key: Key) -> Key:
        return self._ids.setdefault(key, len(self._ids).to_bytes(16, "big"))

    def back(self, key: Key | None) -> Key | None:
        return next((known for known, made in self._ids.items() if made == key), None)


@defect("IDEM-06", fence="permanent_key")
class FoldsCase(_OtherIds):
    """Ids are base64 in small letters."""

    def other(self, key: Key) -> Key:
        return hashlib.sha256(base64.b64encode(key).lower()).digest()[:16]

    async def lookup(self, ref: Ref) -> Lookup:
        answer = await super().lookup(ref)
        if not isinstance(answer, Found):
            return answer
        return revised(answer, reports=tuple(revised(r, key=ref.key) for r in answer.reports))


@defect("IDEM-06", fence="permanent_key")
class OneIdForAll(_OtherIds):
    """An id per session."""

    def other(self, key: Key) -> Key:
        return b"\x01" * 16
