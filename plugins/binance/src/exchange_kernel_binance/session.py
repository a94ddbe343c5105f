"""One account's session: signed reads and their verdicts, Binance's clock, and tickets that are sent once."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import TypeVar
from urllib.parse import parse_qsl, urlsplit

import aiohttp
import msgspec

from exchange_kernel.errors import NotSent, OutcomeUnknown, RateLimited, Unavailable, VenueError
from exchange_kernel.venue import Context, Fence, Key, Money, Ms, Prep, Ticket, TimeEnd, VenueId, Watermark
from exchange_kernel_binance.config import BinanceConfig, secrets_of
from exchange_kernel_binance.filtering import FUTURES
from exchange_kernel_binance.limits import TOO_MANY_ORDERS, Limits, address_budget, retry_at
from exchange_kernel_binance.verdicts import READS
from exchange_kernel_ccxt.budget import Budget
from exchange_kernel_ccxt.budget_pool import Meeting, SharedBudget
from exchange_kernel_ccxt.requests import Plan, Request, Signer, load, redirected
from exchange_kernel_ccxt.venue_clock import VenueClock
from exchange_kernel_ccxt.verdicts import Row, Table
from exchange_kernel_ccxt.wire import Answer, NeverSent, NoAnswer, Wire

CODEC = "binance/1"
"""Which plugin and which format of ``body`` made a ticket. Old ones are read for ever: tickets outlive upgrades."""
CLOSED = "the adapter is not open"
_BEHIND = -1021

T = TypeVar("T")
Fields = tuple[tuple[str, str], ...]
_Refusal = tuple[int, int | None, str]


class _Refused(msgspec.Struct):
    code: int
    msg: str = ""


class _Time(msgspec.Struct):
    serverTime: int


_read_refusal = msgspec.json.Decoder(_Refused).decode
_read_time = msgspec.json.Decoder(_Time).decode


class NoSuch(VenueError):
    """A read found nothing under this id; ``code`` says how Binance put it. Not raised to the kernel."""


class ContextClock:
    """The clock that an adapter is given, whole. Its seconds are those of the running loop."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx

    def now_ms(self) -> Ms:
        return self._ctx.clock()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await self._ctx.sleep(seconds)


class Session:
    """Requests of one account. ``table``: verdicts of changes; ``clock_at``: section and path of the server's time."""

    def __init__(
        self, ctx: Context, config: BinanceConfig, table: Table, clock_at: tuple[str, str], absent: frozenset[int]
    ) -> None:
        self.ctx, self.config, self.clock = ctx, config, ContextClock(ctx)
        self.time = VenueClock(self.clock, self._ask_time)
        # All sessions of this process come from one address.
        service = f"{config.addresses[config.service]} {config.resolve}"
        self.limits = Limits(address_budget(service, self._budget), self.clock, self._budget())
        self.identity = ""
        self._table, self._clock_at, self._absent = table, clock_at, absent
        self._wire = Wire(config.timeout_ms / 1000, config.route)
        # Where the processes of one address meet, if they do.
        url = ctx.secrets.get("budget_url") or config.budget_url
        self._meeting = Meeting(url, f"exchange-kernel:{service}") if url else None
        self._shared = (
            None if self._meeting is None else SharedBudget(self.limits.budget, self._meeting.pool, self.clock)
        )
        self._signer: Signer
        self.is_open = False

    def _budget(self) -> Budget:
        time, share = self.time, Fraction(self.config.share_percent, 100)
        return Budget((), self.clock, share=share, offset=lambda: time.offset, error=lambda: time.error)

    async def open(self, origins: Mapping[str, str]) -> None:
        """Make the signer. ``origins``: what takes the place of a host in ccxt's table of addresses."""
        key, secret = secrets_of(self.ctx)
        if "ccxt" not in sys.modules:
            await asyncio.to_thread(load, "binance")
        await self._wire.ready()
        exchange = load("binance")({"apiKey": key, "secret": secret, "enableRateLimit": False})
        exchange.urls["api"] = redirected(exchange.urls["api"], origins)
        exchange.options["recvWindow"] = None
        exchange.options["timeDifference"] = 0
        self._signer = Signer(exchange)
        self.is_open = True

    async def close(self) -> None:
        """End every connection. Idempotent."""
        self.is_open = False
        await self._wire.close()
        if self._meeting is not None:
            await self._meeting.close()

    # time -------------------------------------------------------------------------------------------------------

    async def mark(self) -> Watermark:
        """How far Binance has got now, by its own clock; measures it, too. Raises Unavailable, RateLimited."""
        return Watermark(venue_ms=await self.time.measure())

    async def _ask_time(self) -> Ms:
        return (await self.read(("GET", *self._clock_at), (), _read_time, signed=False)).serverTime

    def connections(self) -> aiohttp.ClientSession:
        """For what goes beside the requests, in the same connections and by the same route."""
        return self._wire.open()

    def venue_ms(self, local: Ms) -> Ms:
        """Binance's time of a local one, at the earliest."""
        return local + self.time.offset - self.time.error

    # reads ------------------------------------------------------------------------------------------------------

    async def read(
        self, what: tuple[str, str, str], fields: Fields, decode: Callable[[bytes], T], *, signed: bool = True
    ) -> T:
        """One read. Raises NoSuch, Unavailable, RateLimited, NotAuthorized."""
        if not self.is_open:
            raise Unavailable(f"{what[2]}: {CLOSED}")
        if signed and self.time.stale:
            await self.mark()
        answer = await self._ask(what, fields, signed)
        refusal = _refusal(answer)
        if refusal is not None and refusal[1] == _BEHIND:  # a read may be asked again, with the time set right
            await self.mark()
            answer = await self._ask(what, fields, signed)
            refusal = _refusal(answer)
        if refusal is not None:
            self._judge_read(what[2], answer, refusal)
        try:
            return decode(answer.body)
        except (ValueError, KeyError):
            raise Unavailable(f"{what[2]}: the answer is not whole") from None

    async def _ask(self, what: tuple[str, str, str], fields: Fields, signed: bool) -> Answer:
        plan = Plan(*what, self._stamped(fields, self.ctx.clock()) if signed else fields)
        try:
            return await self._exchange(self._signer.sign(plan))
        except (NeverSent, NoAnswer) as error:
            raise Unavailable(str(error)) from None

    async def _exchange(self, request: Request) -> Answer:
        """One request and its answer, counted. Raises RateLimited before it leaves, NeverSent, NoAnswer."""
        fields, path = dict(parse_qsl(request.query)), urlsplit(request.url).path
        if self._shared is not None:
            await self._shared.provide(self.limits.cost(request.method, path, fields))
        booking = self.limits.take(request.method, path, fields)
        try:
            answer = await self._wire.send(request)
        except NeverSent:
            self.limits.budget.never_sent(booking)
            raise
        except BaseException:
            self.limits.budget.unanswered(booking)
            raise
        refusal = _refusal(answer) if answer.status in (418, 429) else None
        self.limits.answered(booking, answer.status, answer.headers, refusal and refusal[1])
        return answer

    def _judge_read(self, path: str, answer: Answer, refusal: _Refusal) -> None:
        status, code, text = refusal
        row = None if status >= 500 else READS.find(status, code, text)
        if row is not None:
            self._raise(row, answer, refusal)
        if status < 500 and code in self._absent:
            raise NoSuch(text, code=str(code))
        raise Unavailable(f"{path}: {status} {text}"[:200], code="" if code is None else str(code))

    # changes ----------------------------------------------------------------------------------------------------

    def seal(
        self,
        what: tuple[str, str, str],
        key: Key,
        prep: Prep,
        fields: Fields,
        *,
        ids: tuple[VenueId, ...] = (),
        repeatable: bool = False,
        outlay: tuple[Money, ...] = (),
        note: str = "",
    ) -> Ticket:
        """The ticket of a change: what, at what price, until when, and its signature.

        Not repeatable: Binance takes a client id again once its order has filled (rest-api.md, newClientOrderId).
        """
        window = self.config.recv_window_ms
        stamped = self._stamped(fields, prep.now)
        body = b""
        if not prep.dry:
            request = self._signer.sign(Plan(*what, stamped))
            body = f"{' '.join(what)}\n{request.query}".encode()
        else:
            note = f"{' '.join(what)}: {'&'.join(f'{name}={value}' for name, value in fields)}"
        end = TimeEnd(prep.now + self.time.offset + window, "venue", self.config.slack_ms)
        send_before = min(prep.now + window * 3 // 4, prep.give_up)
        return Ticket(key, body, CODEC, self.identity, Fence(repeatable, (end,)), ids, send_before, outlay, note)

    def request_of(self, ticket: Ticket) -> tuple[tuple[str, str, str], Request]:
        """What a ticket says. Raises NotSent for one that this account did not make, as it stands."""
        if not self.is_open:
            raise NotSent(CLOSED)
        if ticket.codec != CODEC or ticket.identity != self.identity:
            raise NotSent(f"a ticket {ticket.codec} for {ticket.identity}; this is {CODEC} for {self.identity}")
        try:
            head, _, query = ticket.body.decode("ascii").partition("\n")
            method, api, path = head.split(" ")
        except ValueError:
            raise NotSent("the ticket's body is no whole request") from None
        return (method, api, path), self._signer.again(method, api, path, query)

    async def send(self, ticket: Ticket, request: Request, decode: Callable[[bytes], T]) -> T | None:
        """Send a ticket's request, once; None where Binance knows its client id already.

        Raises what has no effect only on a row of the table; OutcomeUnknown for all else.
        """
        if self.ctx.clock() > ticket.send_before:
            raise NotSent(f"too old: it was to be sent before {ticket.send_before} ms")
        try:
            answer = await self._exchange(request)
        except NeverSent as error:
            raise NotSent(str(error)) from None
        except NoAnswer as error:
            raise OutcomeUnknown(str(error)) from None
        refusal = _refusal(answer)
        if refusal is not None:
            status, code, text = refusal
            row = None if status >= 500 else self._table.find(status, code, text)
            if row is None:
                raise OutcomeUnknown(f"{status} {text}"[:200], code="" if code is None else str(code))
            if row.meaning == "duplicate":
                return None
            self._raise(row, answer, refusal)
        try:
            return decode(answer.body)
        except (ValueError, KeyError):
            raise OutcomeUnknown("the answer is not whole") from None

    # parts ------------------------------------------------------------------------------------------------------

    def _stamped(self, fields: Fields, now: Ms) -> Fields:
        window = str(self.config.recv_window_ms)
        return (*fields, ("recvWindow", window), ("timestamp", str(now + self.time.offset)))

    def _raise(self, row: Row, answer: Answer, refusal: _Refusal) -> None:
        status, code, text = refusal
        if row.meaning == "rate":
            until = retry_at(status, answer.headers, self.ctx.clock())
            raise RateLimited(until, "account" if code == TOO_MANY_ORDERS else "ip", banned=status == 418)
        if code == _BEHIND:
            self.time.refute()
        assert isinstance(row.meaning, type)
        rule = FUTURES.get(code or 0, "") if self.config.market == "usdm" else ""
        said = f"{text[:200]} ({rule})" if rule and rule not in text else text[:200]
        raise row.meaning(said, code=str(code), why=row.why.value)


def _refusal(answer: Answer) -> _Refusal | None:
    """(HTTP status, code, message) of an answer that is none of success; texts come from Binance, not from us."""
    if answer.status == 200:
        return None
    try:
        said = _read_refusal(answer.body)
    except ValueError:
        return answer.status, None, f"HTTP {answer.status} without a code"
    return answer.status, said.code, said.msg


def decoder(kind: type[T]) -> Callable[[bytes], T]:
    """Reads an answer of this shape; what is not whole raises ValueError."""
    return msgspec.json.Decoder(kind).decode


__all__ = ["CLOSED", "CODEC", "ContextClock", "NoSuch", "Session", "decoder"]
