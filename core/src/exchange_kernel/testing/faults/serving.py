"""One client's connection: its requests one after the other, what is to go wrong with each, and the way on."""

from __future__ import annotations

import asyncio
import contextlib

import h11

from exchange_kernel.testing.faults.answers import Answer, from_proxy, garbled, has_body, passed_on, refusal
from exchange_kernel.testing.faults.context import Asked, Shared
from exchange_kernel.testing.faults.handles import Ending, Fault, Hold
from exchange_kernel.testing.faults.http_faults import (
    CloseSocket,
    DropAnswer,
    DropRequest,
    Garble,
    Reply,
    ReplyAfterAsking,
    Truncate,
    plan_for,
)
from exchange_kernel.testing.faults.link import Link, stop
from exchange_kernel.testing.faults.matching import SeenRequest
from exchange_kernel.testing.faults.records import UNDECIDED, Direction, Fate, RequestRecord
from exchange_kernel.testing.faults.relaying import carry_lines, relay_frames
from exchange_kernel.testing.faults.upstream import (
    HEAD_LIMIT,
    Asking,
    UpstreamLost,
    Whole,
    onward_answer,
    onward_request,
    onward_upgrade,
)
from exchange_kernel.testing.faults.websocket import Side


class Session:
    """Serves one client's connection until either side ends it."""

    def __init__(self, link: Link, shared: Shared) -> None:
        self._link = link
        self._shared = shared
        self._log = shared.log
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)
        self._asking: Asking | None = None
        self._ended = False  # the client's way here: whether end of file was read

    async def run(self) -> None:
        """Serve until the connection ends."""
        if self._shared.upstream.lines:
            return await carry_lines(self._link, self._shared)
        try:
            while await self._serve_one():
                self._http.start_next_cycle()
            await self._link.end(Ending.CLOSE)
        except OSError:  # the client's: the upstream's arrive as UpstreamLost
            pass
        finally:
            await self._leave_upstream()
            await self._link.drop()

    async def _serve_one(self) -> bool:
        """Serve one request; whether another may follow."""
        head = await self._head()
        if head is None:
            return False
        record = self._log.request(head, websocket=_is_websocket(head))
        try:
            asked = await self._complete(head, record)
            return asked is not None and await self._carry(asked)
        except UpstreamLost as lost:
            return await self._without_upstream(record, lost)
        except OSError:
            if record.fate in UNDECIDED:
                self._log.decide(record, Fate.INCOMPLETE if record.fate is Fate.ARRIVING else Fate.CLIENT_GONE)
            raise
        finally:
            if record.fate in UNDECIDED:
                self._log.decide(record, Fate.ABANDONED)

    async def _head(self) -> h11.Request | None:
        """The head of the next request, or None when there will be none."""
        if self._asking is None:
            return await self._next_head()
        # An upstream that ends an idle connection ends the client's, too: so it looks without a proxy.
        reading = asyncio.create_task(self._next_head())
        watching = asyncio.create_task(self._asking.link.gone())
        try:
            await asyncio.wait({reading, watching}, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                await self._leave_upstream()
            return reading.result() if reading.done() else None
        finally:
            reading.cancel()
            await asyncio.wait({reading})
            await stop(watching)

    async def _next_head(self) -> h11.Request | None:
        try:
            event = await self._event()
        except h11.RemoteProtocolError as error:
            if self._ended:
                self._log.broken_request(Fate.INCOMPLETE)
            else:
                await self._refuse(self._log.broken_request(Fate.MALFORMED), 400, f"not HTTP/1.1: {error}")
            return None
        return event if isinstance(event, h11.Request) else None

    async def _complete(self, head: h11.Request, record: RequestRecord) -> Asked | None:
        """The request with its body, or None when it never comes, or cannot be carried."""
        body, size = bytearray(), 0
        try:
            event = await self._event()
            while isinstance(event, h11.Data):
                size += len(event.data)
                if size <= self._shared.max_body:
                    body += event.data
                event = await self._event()
        except h11.RemoteProtocolError as error:
            if self._ended:
                self._log.decide(record, Fate.INCOMPLETE)
            else:
                await self._refuse(record, 400, f"not HTTP/1.1: {error}")
            return None
        trailers = event.headers.raw_items() if isinstance(event, h11.EndOfMessage) else []
        if size > self._shared.max_body:
            why = f"a body of {size} bytes: the fault proxy keeps {self._shared.max_body}; give it a larger max_body"
            await self._refuse(record, 413, why)
            return None
        if head.method == b"CONNECT" or not head.target.startswith(b"/"):
            why = "the fault proxy is no forward proxy: give its url as the venue's address, not as a proxy's"
            await self._refuse(record, 501, why)
            return None
        self._log.complete(record, bytes(body))
        path = head.target.decode("latin-1").partition("?")[0]
        return Asked(head, SeenRequest(record, path, tuple(head.headers), bytes(body)), trailers)

    async def _carry(self, asked: Asked) -> bool:
        """Bring one request to its end; whether another may follow."""
        record = asked.record
        plan = plan_for(self._shared.http, asked.seen)
        if plan.wait is not None:
            self._log.decide(record, Fate.WAITING)
            await self._wait(plan.wait, record)
        if plan.route is not None:
            action = plan.route.action
            if isinstance(action, Reply):
                plan.route.hit(record)
                return await self._say(record, from_proxy(asked.head, action), Fate.ANSWERED_BY_PROXY)
            if isinstance(action, DropRequest):
                return await self._lose(record, plan.route, action.ending, Fate.REQUEST_DROPPED)
            if isinstance(action, CloseSocket):
                return await self._close_in_the_middle(asked, plan.route, action)
        asking = await self._connection()
        asking.link.send(self._outgoing(asking, asked))
        record.forwarded += 1
        self._log.decide(record, Fate.FORWARDED)
        if plan.answer_as_it_comes and not self._link.closing:
            return await self._pass_on(asking, asked)
        dropped = plan.answer is not None and isinstance(plan.answer.action, DropAnswer)
        whole = await asking.whole(None if dropped else self._shared.max_body)
        record.upstream_status = whole.head.status_code
        if plan.route is not None:
            await self._send_again(asked, plan.route)
        if plan.answer_wait is not None:
            await self._wait(plan.answer_wait, record)
        return await self._answer(asked, whole, plan.answer)

    async def _answer(self, asked: Asked, whole: Whole, fault: Fault | None) -> bool:
        """Give the client what it is to get of a complete answer."""
        record, head = asked.record, whole.head
        if fault is not None and isinstance(fault.action, DropAnswer):
            return await self._lose(record, fault, fault.action.ending, Fate.ANSWER_DROPPED)
        if fault is not None and isinstance(fault.action, ReplyAfterAsking):
            await self._leave_upstream()
            fault.hit(record)
            return await self._say(record, from_proxy(asked.head, fault.action), Fate.ANSWER_REPLACED)
        if isinstance(head, h11.InformationalResponse):
            return await self._upgrade(asked, head)
        if fault is not None and isinstance(fault.action, Truncate):
            return await self._truncate(record, passed_on(head, whole), fault, fault.action)
        if fault is not None and isinstance(fault.action, Garble) and has_body(asked.head, head):
            fault.hit(record)
            return await self._say(record, garbled(head, whole, fault.action), Fate.ANSWER_GARBLED)
        return await self._say(record, passed_on(head, whole), Fate.ANSWERED)

    async def _pass_on(self, asking: Asking, asked: Asked) -> bool:
        """Give the client the answer as it comes. A client that closes its end closes the upstream's, too."""
        record = asked.record
        watch = asyncio.create_task(self._follow_client(asking))
        try:
            head = await asking.head()
            record.upstream_status = head.status_code
            if isinstance(head, h11.Response):
                record.status = head.status_code
                out = self._wire(onward_answer(head))
                async with contextlib.aclosing(asking.body()) as batches:
                    async for batch in batches:
                        out += b"".join(self._wire(self._onward(event)) for event in batch)
                        if batch and isinstance(batch[-1], h11.EndOfMessage):
                            self._settle(record, Fate.ANSWERED)
                        self._link.send(out)
                        await self._link.drain()
                        out = b""
        finally:
            await stop(watch)
        if isinstance(head, h11.InformationalResponse):
            return await self._upgrade(asked, head)
        return await self._next_possible()

    async def _follow_client(self, asking: Asking) -> None:
        await self._link.gone()
        asking.link.finish()

    async def _say(self, record: RequestRecord, answer: Answer, fate: Fate) -> bool:
        """Give the client a complete answer; whether another request may follow."""
        out = [self._wire(answer.head)]
        if answer.body:
            out.append(self._wire(h11.Data(data=answer.body)))
        out.append(self._wire(self._onward(h11.EndOfMessage(headers=answer.trailers))))
        record.status = answer.head.status_code
        self._settle(record, fate)
        self._link.send(b"".join(out))
        await self._link.drain()
        return await self._next_possible()

    async def _truncate(self, record: RequestRecord, answer: Answer, fault: Fault, action: Truncate) -> bool:
        kept = answer.body[: min(action.size, len(answer.body) - 1)] if answer.body else b""
        if answer.body:  # without a body its head alone would be a complete answer
            record.status = answer.head.status_code
            self._link.send(self._wire(answer.head))
        if kept:
            self._link.send(self._wire(h11.Data(data=kept)))
        return await self._lose(record, fault, Ending.CLOSE, Fate.ANSWER_TRUNCATED)

    async def _lose(self, record: RequestRecord, fault: Fault, ending: Ending, fate: Fate) -> bool:
        """The client gets no answer, or no more of it."""
        await self._leave_upstream()
        self._log.decide(record, fate)
        fault.hit(record)
        await self._link.end(ending)
        return False

    async def _close_in_the_middle(self, asked: Asked, fault: Fault, action: CloseSocket) -> bool:
        asking = await self._connection()
        data = self._outgoing(asking, asked)
        after = len(data) // 2 if action.after is None else min(action.after, len(data) - 1)
        asking.link.send(data[:after])
        with contextlib.suppress(OSError):
            await asking.link.drain()
        self._log.decide(asked.record, Fate.SOCKET_CLOSED)
        fault.hit(asked.record)
        ends = [self._link.end(action.ending)]
        if action.ending is not Ending.HANG:
            ends.append(asking.link.end(action.ending))
        await asyncio.gather(*ends)
        return False

    async def _send_again(self, asked: Asked, fault: Fault) -> None:
        """The upstream gets the same bytes over a new connection; what it says to them is read and forgotten."""
        with contextlib.suppress(UpstreamLost):
            copy = await self._shared.upstream.connect()
            try:
                copy.link.send(self._outgoing(copy, asked))
                asked.record.forwarded += 1
                fault.hit(asked.record)
                await copy.whole(None)
            finally:
                await copy.link.drop()

    async def _refuse(self, record: RequestRecord, status: int, why: str) -> None:
        await self._say(record, refusal(status, why), Fate.MALFORMED)
        await self._link.end(Ending.CLOSE)

    async def _without_upstream(self, record: RequestRecord, lost: UpstreamLost) -> bool:
        """A dead upstream looks dead, unless a status was asked for."""
        await self._leave_upstream()
        self._settle(record, Fate.UPSTREAM_DEAD)
        wanted = self._shared.dead_upstream
        if record.status is not None or wanted is None:
            await self._link.end(lost.ending)
        elif isinstance(wanted, Ending):
            await self._link.end(wanted)
        else:
            return await self._say(record, refusal(wanted, f"the upstream is dead: {lost}"), Fate.UPSTREAM_DEAD)
        return False

    async def _upgrade(self, asked: Asked, head: h11.InformationalResponse) -> bool:
        """Both sides speak WebSocket from here."""
        asking, self._asking = self._asking, None
        assert asking is not None
        asked.record.status = head.status_code
        self._settle(asked.record, Fate.UPGRADED)
        try:
            self._link.send(self._wire(onward_upgrade(head)))
            await relay_frames(
                Side(self._link, Direction.TO_UPSTREAM, self._http.trailing_data[0]),
                Side(asking.link, Direction.TO_CLIENT, asking.http.trailing_data[0]),
                asked.record,
                asked.seen.path,
                self._shared,
            )
        finally:
            await asking.link.drop()
        return False

    async def _wait(self, fault: Fault, record: RequestRecord) -> None:
        if isinstance(fault, Hold):
            await fault.keep(record).released()
        else:
            fault.hit(record)
            await self._shared.clock.sleep(fault.action.seconds)

    async def _connection(self) -> Asking:
        """The connection to the upstream that belongs to this client's, opened when first needed."""
        if self._asking is not None and not self._asking.link.usable:
            await self._leave_upstream()
        if self._asking is None:
            self._asking = await self._shared.upstream.connect()
        return self._asking

    async def _leave_upstream(self) -> None:
        asking, self._asking = self._asking, None
        if asking is not None:
            await asking.link.drop()

    async def _next_possible(self) -> bool:
        """Whether another request may follow; an upstream connection that cannot be used again is left."""
        if self._asking is not None and not self._asking.reusable:
            await self._leave_upstream()
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    def _settle(self, record: RequestRecord, fate: Fate) -> None:
        self._log.decide(record, Fate.CLIENT_GONE if self._link.closing else fate)

    def _outgoing(self, asking: Asking, asked: Asked) -> bytes:
        request = onward_request(asked.head, self._shared.upstream.authority, websocket=asked.record.websocket)
        return asking.bytes_of(request, asked.seen.body, asked.trailers)

    def _onward(self, event: h11.Data | h11.EndOfMessage) -> h11.Data | h11.EndOfMessage:
        if isinstance(event, h11.Data):
            return h11.Data(data=event.data)
        # Trailers need chunks, which HTTP/1.0 does not have.
        return h11.EndOfMessage(headers=event.headers.raw_items() if self._http.their_http_version != b"1.0" else [])

    def _wire(self, event: h11.Event) -> bytes:
        return self._http.send(event) or b""

    async def _event(self) -> object:
        """The client's next event; ``h11.RemoteProtocolError`` comes as it is."""
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event
            if self._http.they_are_waiting_for_100_continue:
                self._link.send(self._wire(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")))
            data = await self._link.read()
            self._ended = not data
            self._http.receive_data(data)


def _is_websocket(head: h11.Request) -> bool:
    return any(name == b"upgrade" and value.lower() == b"websocket" for name, value in head.headers)
