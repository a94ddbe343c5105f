"""Bad input taken, bad answers believed, strangers' tickets sent, secrets shown."""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace
from typing import Any, ClassVar

from exchange_kernel.errors import (
    InvalidOrder,
    NotAuthorized,
    OrderRefused,
    OutcomeUnknown,
    Unavailable,
    UnknownSymbol,
    Unsupported,
)
from exchange_kernel.value import revised
from exchange_kernel.venue import (
    AccountSnapshot,
    Ack,
    Command,
    Context,
    Lookup,
    Opened,
    Place,
    Prep,
    Prepared,
    Preview,
    Ref,
    Snapshot,
    Spec,
    Ticket,
)
from exchange_kernel_paper.adapter import PaperAdapter
from exchange_kernel_paper.exchange import sign
from exchange_kernel_paper.tickets import CODEC, place_fields
from exchange_kernel_paper.translate import client_id
from tests.conformance.defects.registry import defect

log = logging.getLogger("paper.defects")
quiet_log = logging.getLogger("paper.defects.quiet")
quiet_log.propagate = False


@defect("BAD-01")
class AnySymbol(PaperAdapter):
    """An unlisted symbol is taken, with the rules of another."""

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        if spec.symbol not in self._symbols:
            sent = super().check(revised(spec, symbol="BTC/USD"), was)
            return replace(sent, spec=revised(sent.spec, symbol=spec.symbol))
        return super().check(spec, was)


@defect("BAD-01")
class AnySymbolOnTheWire(PaperAdapter):
    """check() refuses an unlisted symbol, prepare() does not."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        if isinstance(command, Place) and command.spec.symbol not in self._symbols:
            fields = place_fields(command.spec, client_id(command.key))
            return self._tickets.seal("order", command.key, prep, fields, (), "place")
        return await super().prepare(command, prep)


@defect("BAD-01")
class StumblesOverNaN(PaperAdapter):
    """NaN reaches the arithmetic, which raises what it likes."""

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        if spec.amount < 0:
            raise InvalidOrder("amount", spec.amount, "must be positive")
        return super().check(spec, was)


@defect("BAD-01")
class TakesTheAbsolute(PaperAdapter):
    """A negative amount is taken for its absolute value."""

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        if spec.amount.is_finite() and spec.amount < 0:
            spec = revised(spec, amount=-spec.amount * 1000)
        return super().check(spec, was)


@defect("BAD-01")
class ZeroIsMarket(PaperAdapter):
    """A limit of zero is taken for none."""

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        if spec.limit is not None and spec.limit.is_finite() and not spec.limit:
            spec = revised(spec, limit=None)
        return super().check(spec, was)


@defect("BAD-01")
class TypeErrors(PaperAdapter):
    """Bad numbers are a ValueError."""

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        if not spec.amount.is_finite() or spec.amount <= 0:
            raise ValueError("amount")
        return super().check(spec, was)


@defect("BAD-01")
class OverflowsOnHuge(PaperAdapter):
    """A huge amount overflows the integer it is sent as."""

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        if spec.amount.is_finite() and spec.amount.adjusted() > 59:
            raise OverflowError("int too large to convert")
        return super().check(spec, was)


@defect("BAD-02")
class SaysInvalidOrder(PaperAdapter):
    """Refusals say that the order is invalid."""

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        try:
            return super().check(spec, was)
        except (Unsupported, UnknownSymbol):
            raise
        except InvalidOrder as error:
            raise InvalidOrder("order", "", "is invalid") from error


@defect("BAD-02")
class SaysNoRule(PaperAdapter):
    """Refusals name the field, and no rule."""

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        try:
            return super().check(spec, was)
        except (Unsupported, UnknownSymbol):
            raise
        except InvalidOrder as error:
            raise InvalidOrder(error.field, error.value, "") from error


@defect("BAD-02")
class BlamesTheAmount(PaperAdapter):
    """Whatever is wrong, it is the amount."""

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        try:
            return super().check(spec, was)
        except (Unsupported, UnknownSymbol):
            raise
        except InvalidOrder as error:
            raise InvalidOrder("amount", spec.amount, error.rule) from error


class Guessing(PaperAdapter):
    """An answer that cannot be read is taken for an empty one."""

    empty: ClassVar[dict[str, Any]] = {}

    async def read(self, op: str, **fields: object) -> dict[str, Any]:
        try:
            return await super().read(op, **fields)
        except Unavailable:
            if op in self.empty:
                return {**self.empty[op], "t": self._ctx.clock()}
            raise


@defect("BAD-03")
class NoOrdersWhenGarbled(Guessing):
    """A malformed list of orders is an empty one."""

    empty: ClassVar[dict[str, Any]] = {"open": {"orders": [], "pending": [], "next": None}}


@defect("BAD-03")
class NoMoneyWhenGarbled(Guessing):
    """A malformed account has no balances."""

    empty: ClassVar[dict[str, Any]] = {"account": {"balances": []}}


@defect("BAD-03")
class NotFoundWhenGarbled(Guessing):
    """A malformed lookup found nothing."""

    empty: ClassVar[dict[str, Any]] = {"find": {"orders": [], "receipts": [], "pending": []}}


@defect("BAD-03")
class NoPastWhenGarbled(Guessing):
    """A malformed page of history is the last one."""

    empty: ClassVar[dict[str, Any]] = {"history": {"items": [], "next": 0}}


@defect("BAD-03")
class NoMarketsWhenGarbled(Guessing):
    """A malformed list of markets is an empty one."""

    empty: ClassVar[dict[str, Any]] = {"markets": {"markets": []}}


@defect("BAD-03")
class CrashesOnGarbage(PaperAdapter):
    """A malformed answer raises what the parser raises."""

    async def read(self, op: str, **fields: object) -> dict[str, Any]:
        try:
            return await super().read(op, **fields)
        except Unavailable as error:
            raise ValueError(f"{op}: Expecting value: line 1 column 1 (char 0)") from error


@defect("BAD-03", fence="height")
class PreparesOnGarbage(PaperAdapter):
    """prepare() reads the newest block, and stumbles over half an answer."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        try:
            return await super().prepare(command, prep)
        except Unavailable as error:
            raise KeyError("ledger") from error


@defect("BAD-03")
class StopsTheAccount(PaperAdapter):
    """A server error while reading is taken for lost permissions."""

    async def read(self, op: str, **fields: object) -> dict[str, Any]:
        try:
            return await super().read(op, **fields)
        except Unavailable as error:
            raise NotAuthorized(str(error)) from error


class Careless(PaperAdapter):
    """Keeps its secret at hand."""

    @property
    def secret(self) -> str:
        """What the account signs with."""
        return self._ctx.secrets["secret"]


@defect("BAD-04")
class SecretInAnError(Careless):
    """An error quotes the whole request, headers and all."""

    async def lookup(self, ref: Ref) -> Lookup:
        try:
            return await super().lookup(ref)
        except Unavailable as error:
            raise Unavailable(f"{error}; request was signed with {self.secret}") from None


@defect("BAD-04")
class SecretBehindAnError(Careless):
    """The error is clean, what it was raised from is not."""

    async def submit(self, ticket: Ticket) -> Ack:
        try:
            return await super().submit(ticket)
        except OutcomeUnknown as error:
            try:
                raise ConnectionError(f"POST /order?key={self.secret}")
            except ConnectionError:
                raise error from None


@defect("BAD-04")
class SecretInALogLine(Careless):
    """Requests are logged for debugging, with their key."""

    async def account(self) -> AccountSnapshot:
        log.debug("GET /account key=%s", self.secret)
        return await super().account()


@defect("BAD-04")
class SecretInAQuietLog(Careless):
    """A logger with handlers of its own."""

    async def submit(self, ticket: Ticket) -> Ack:
        quiet_log.info("sending", extra={"headers": {"X-KEY": self.secret}})
        return await super().submit(ticket)


@defect("BAD-04")
class SecretPrinted(Careless):
    """A print from the first day."""

    async def account(self) -> AccountSnapshot:
        print("asking with", self._ctx.secrets)
        return await super().account()


@defect("BAD-04")
class SecretInAWarning(Careless):
    """A warning tells which key is deprecated."""

    async def account(self) -> AccountSnapshot:
        warnings.warn(f"key {self.secret} is of the old kind", stacklevel=2)
        return await super().account()


@defect("BAD-04")
class SecretInANote(Careless):
    """The ticket's note says who signed it."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        made = await super().prepare(command, prep)
        return revised(made, note=f"{made.note} by {self.secret}") if isinstance(made, Ticket) else made


@defect("BAD-04")
class SecretInTheBody(Careless):
    """The session's key is stored with the request."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        if isinstance(command, Place):
            sent = self.check(command.spec)
            fields = {**place_fields(sent.spec, client_id(command.key)), "auth": self.secret}
            return self._tickets.seal("order", command.key, prep, fields, sent.outlay, "place")
        return await super().prepare(command, prep)


@defect("BAD-04")
class SecretInHex(Careless):
    """The body holds the key, encoded."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        if isinstance(command, Place):
            sent = self.check(command.spec)
            fields = {**place_fields(sent.spec, client_id(command.key)), "auth": self.secret.encode().hex()}
            return self._tickets.seal("order", command.key, prep, fields, sent.outlay, "place")
        return await super().prepare(command, prep)


@defect("BAD-04")
class SecretInRaw(Careless):
    """Reports carry the whole answer and the request that led to it."""

    async def open_orders(self, page: str | None) -> Snapshot:
        snapshot = await super().open_orders(page)
        reports = tuple(revised(each, raw={**each.raw, "request": self.secret}) for each in snapshot.reports)
        return revised(snapshot, reports=reports)


@defect("BAD-04")
class SecretInARepr(Careless):
    """Its repr shows how it is configured."""

    def __repr__(self) -> str:
        return f"PaperAdapter({self.secret!r})" if hasattr(self, "_ctx") else "PaperAdapter()"


@defect("BAD-04")
class SecretInTheIdentity(Careless):
    """The identity is the key."""

    async def open(self, ctx: Context) -> Opened:
        opened = await super().open(ctx)
        self._identity = self._tickets._identity = f"paper:{self.secret}"
        return replace(opened, identity=self._identity)


@defect("BAD-04")
class WrongSecretInAnError(PaperAdapter):
    """Wrong credentials are quoted in the error."""

    async def open(self, ctx: Context) -> Opened:
        try:
            return await super().open(ctx)
        except NotAuthorized:
            raise NotAuthorized(f"key {ctx.secrets['secret']} was refused") from None


class Trusting(PaperAdapter):
    """Does not look at the tickets it is given."""

    def trusts(self, ticket: Ticket) -> Ticket:
        raise NotImplementedError

    async def submit(self, ticket: Ticket) -> Ack:
        return await super().submit(self.trusts(ticket))


@defect("BAD-05")
class AnyIdentity(Trusting):
    """Sends the tickets of any account."""

    def trusts(self, ticket: Ticket) -> Ticket:
        return revised(ticket, identity=self._identity)


@defect("BAD-05")
class AnyCodec(Trusting):
    """Sends tickets of any release."""

    def trusts(self, ticket: Ticket) -> Ticket:
        return revised(ticket, codec=CODEC)


@defect("BAD-05")
class NearlyItsCodec(Trusting):
    """Takes a later codec for its own."""

    def trusts(self, ticket: Ticket) -> Ticket:
        return revised(ticket, codec=CODEC) if ticket.codec.startswith(CODEC) else ticket


@defect("BAD-05")
class SendsHalves(PaperAdapter):
    """Sends a body as it is, and leaves it to the venue to find out."""

    async def submit(self, ticket: Ticket) -> Ack:
        if ticket.identity == self._identity and ticket.codec == CODEC and ticket.body.startswith(b'{"op":'):
            whole = self._tickets.whole
            self._tickets.whole = lambda body: True  # type: ignore[method-assign]
            try:
                return await super().submit(ticket)
            finally:
                self._tickets.whole = whole  # type: ignore[method-assign]
        return await super().submit(ticket)


@defect("BAD-05")
class RepairsTickets(PaperAdapter):
    """Signs again what does not look signed."""

    async def submit(self, ticket: Ticket) -> Ack:
        payload, _, _ = ticket.body.partition(b"\n")
        if payload.endswith(b"}"):
            ticket = revised(ticket, body=sign(payload, self._ctx.secrets["secret"].encode()))
        return await super().submit(ticket)


@defect("BAD-05")
class RejectsStrangers(PaperAdapter):
    """A ticket of another account is a rejected order."""

    async def submit(self, ticket: Ticket) -> Ack:
        if ticket.identity != self._identity:
            raise OrderRefused("not ours")
        return await super().submit(ticket)


@defect("BAD-06")
class LargeBodies(PaperAdapter):
    """The body holds the whole symbol table."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        made = await super().prepare(command, prep)
        return revised(made, body=made.body + b" " * 70_000) if isinstance(made, Ticket) else made

    async def submit(self, ticket: Ticket) -> Ack:
        return await super().submit(revised(ticket, body=ticket.body.rstrip()))


@defect("BAD-06")
class BinaryIds(PaperAdapter):
    """Ids are the key's bytes, whatever they are."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        made = await super().prepare(command, prep)
        if not isinstance(made, Ticket):
            return made
        return revised(made, ids=(*made.ids, *(revised(each, value=made.key.decode("latin-1")) for each in made.ids)))


@defect("BAD-06")
class ShortIds(PaperAdapter):
    """Ids are cut to a length at which they are all the same."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        made = await super().prepare(command, prep)
        if not isinstance(made, Ticket):
            return made
        return revised(made, ids=(*made.ids, *(revised(each, kind="short", value=each.value[:3]) for each in made.ids)))


@defect("BAD-06")
class AnotherKey(PaperAdapter):
    """The ticket has a key of its own."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        made = await super().prepare(command, prep)
        return revised(made, key=made.key[::-1]) if isinstance(made, Ticket) else made

    async def submit(self, ticket: Ticket) -> Ack:
        return await super().submit(revised(ticket, key=ticket.key[::-1]))


@defect("BAD-06")
class NeverGivesUp(PaperAdapter):
    """Nobody wants the order any more, and the ticket may still be sent."""

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        return await super().prepare(command, revised(prep, give_up=2**62))
