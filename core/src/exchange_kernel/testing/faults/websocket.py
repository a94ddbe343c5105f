"""One WebSocket, or stream of lines, through the proxy: frames from either side, and what is to go wrong with them."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from exchange_kernel.clock import Clock
from exchange_kernel.testing.faults.frame_faults import (
    ACTIONS,
    DELAYS,
    AnswerFrame,
    Cut,
    DropFrame,
    DuplicateFrame,
    LateFrame,
    ReorderFrames,
    ReplaceFrame,
    Silence,
    Strand,
)
from exchange_kernel.testing.faults.frames import FrameReader, Malformed, Unit
from exchange_kernel.testing.faults.handles import Ending, Fault, Hold, Script
from exchange_kernel.testing.faults.lines import LineReader
from exchange_kernel.testing.faults.link import Link, stop
from exchange_kernel.testing.faults.log import Log
from exchange_kernel.testing.faults.matching import SeenFrame, rpc_methods, rpc_objects
from exchange_kernel.testing.faults.records import Direction, FrameFate, FrameKind, FrameRecord, RequestRecord

_TO_ANSWER_S: Final = 5.0
_CALLS_KEPT: Final = 10_000  # JSON-RPC calls of one connection that still wait for their answers


class Side:
    """One of the two ends of a WebSocket: what it sends travels in ``direction``."""

    def __init__(self, link: Link, direction: Direction, trailing: bytes, frames: LineReader | None = None) -> None:
        self.link = link
        self.direction = direction
        self.frames = frames or FrameReader(from_client=direction is Direction.TO_UPSTREAM)
        self._trailing = trailing
        self.ending = Ending.CLOSE

    async def unit(self, limit: int) -> Unit | None:
        """The next frame or message, None when the connection has ended; ``ending`` then says how.

        :raises Malformed: what came is no WebSocket, or longer than ``limit`` bytes.
        """
        while (unit := self.frames.next(limit)) is None:
            data, self._trailing = self._trailing, b""
            if not data:
                try:
                    data = await self.link.read()
                except OSError:
                    self.ending = Ending.RESET
                    return None
            if not data:
                return None
            self.frames.feed(data)
        return unit

    def send(self, unit: Unit) -> None:
        """Send a frame or message to this side, in the fragments it came in."""
        self.link.send(self.frames.wire(unit))


@dataclass(slots=True, eq=False)
class _Group:
    """Frames waiting to be forwarded in another order."""

    fault: Fault
    units: list[tuple[Unit, FrameRecord]]


class Relay:
    """Forwards frames between a client and the upstream until either ends or the proxy cuts them.

    :param path: the handshake's, as on the wire.
    """

    def __init__(
        self,
        client: Side,
        upstream: Side,
        handshake: RequestRecord,
        path: str,
        *,
        faults: Script[SeenFrame],
        log: Log,
        clock: Clock,
        max_body: int,
        rpc_member: str,
    ) -> None:
        self.path = path
        self._client = client
        self._upstream = upstream
        self._handshake = handshake
        self._faults = faults
        self._log = log
        self._clock = clock
        self._max_body = max_body
        self._rpc_member = rpc_member
        self._stranded: tuple[Unit, FrameRecord, float] | None = None
        self._silent = False
        self._cut: asyncio.Future[Cut] = asyncio.get_running_loop().create_future()
        self._held: set[asyncio.Task[None]] = set()
        self._calls: OrderedDict[Any, str] = OrderedDict()

    def cut(self, cut: Cut) -> None:
        """End the connection now."""
        if not self._cut.done():
            self._cut.set_result(cut)

    def silence(self) -> None:
        """Forward nothing any more, either way; the connection stays open until the client ends it."""
        self._silent = True

    async def run(self) -> None:
        """Forward until the end."""
        client, upstream = self._client, self._upstream
        up = asyncio.create_task(self._pump(client, upstream))
        down = asyncio.create_task(self._pump(upstream, client))
        try:
            waited: list[asyncio.Future[Any]] = [up, down, self._cut]
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if self._cut.done():
                await stop(up, down)
                await self._carry_out(self._cut.result())
            else:
                first, source, other = (up, client, upstream) if up.done() else (down, upstream, client)
                first.result()
                await other.link.end(source.ending)
        finally:
            await stop(up, down, *self._held)

    async def _pump(self, source: Side, target: Side) -> None:
        """Forward what comes from one side until it ends."""
        groups: list[_Group] = []
        while True:
            try:
                unit = await source.unit(self._max_body)
            except Malformed as malformed:
                if self._silent:
                    return await _forever() if source is self._upstream else None
                self.cut(Cut(malformed.code, str(malformed), Ending.CLOSE))
                return await _forever()
            if unit is None:
                if self._silent and source is self._upstream:
                    return await _forever()  # nobody tells the client
                if not self._silent:
                    self._flush(groups, target)
                return None
            await self._forward(unit, source, target, groups)
            if self._cut.done():
                return await _forever()
            with contextlib.suppress(OSError):  # the other pump sees the end
                await target.link.drain()

    async def _forward(self, unit: Unit, source: Side, target: Side, groups: list[_Group]) -> None:
        """Forward one frame or message, unless something is to go wrong with it."""
        rpc = self._rpc(unit, source.direction)
        record = self._log.frame(self._handshake, source.direction, unit.kind, unit.payload, rpc)
        if self._silent:
            return self._decide(record, FrameFate.SILENCED)
        seen = SeenFrame(record, self.path, unit.data)
        delay = self._faults.take(seen, DELAYS)
        gathering = next((group for group in groups if group.fault.matches(seen)), None)
        fault = self._faults.take(seen, ACTIONS) if gathering is None else None
        if delay is not None:
            delay.hit(record)
            await self._clock.sleep(delay.action.seconds)
            if self._silent:
                return self._decide(record, FrameFate.SILENCED)
        if unit.kind is FrameKind.CLOSE:
            self._flush(groups, target)
        if fault is not None and isinstance(fault.action, ReorderFrames):
            gathering = _Group(fault, [])
            groups.append(gathering)
        if gathering is not None:
            return self._gather(unit, record, target, gathering, groups)
        if fault is None:
            return self._send(unit, record, target, FrameFate.FORWARDED)
        return self._spoil(unit, record, source, target, fault)

    def _spoil(self, unit: Unit, record: FrameRecord, source: Side, target: Side, fault: Fault) -> None:
        action = fault.action
        if isinstance(fault, Hold):
            self._keep(fault, unit, record, target)
        elif isinstance(action, LateFrame):
            fault.hit(record)
            self._later(self._late(action.seconds, unit, record, target))
        elif isinstance(action, Strand):
            self._stranded = (unit, record, action.seconds)
            fault.hit(record)
            self.cut(Cut(None, "", action.ending))
        elif isinstance(action, DropFrame):
            self._decide(record, FrameFate.DROPPED)
            fault.hit(record)
        elif isinstance(action, DuplicateFrame):
            fault.hit(record)
            self._send(unit, record, target, FrameFate.DUPLICATED)
            target.send(unit)
        elif isinstance(action, ReplaceFrame):
            fault.hit(record)
            self._send(_with(action.data, unit), record, target, FrameFate.REPLACED)
        elif isinstance(action, AnswerFrame):
            self._decide(record, FrameFate.ANSWERED)
            fault.hit(record)
            source.send(_with(action.data, unit))
        elif isinstance(action, Silence):
            self._decide(record, FrameFate.SILENCED)
            self._silent = True
            fault.hit(record)
        else:
            assert isinstance(action, Cut)
            self._decide(record, FrameFate.CUT)
            fault.hit(record)
            self.cut(action)

    def _gather(self, unit: Unit, record: FrameRecord, target: Side, group: _Group, groups: list[_Group]) -> None:
        """Keep a frame until enough of them are here, then forward them in another order."""
        action, units = group.fault.action, group.units
        units.append((unit, record))
        if len(units) < action.count:
            return
        groups.remove(group)
        if action.rng is None:
            units.reverse()
        else:
            action.rng.shuffle(units)
        group.fault.hit(*(its for _, its in units))
        for each, its in units:
            self._send(each, its, target, FrameFate.REORDERED)

    def _flush(self, groups: list[_Group], target: Side) -> None:
        """Forward, as they came, frames that wait for others which will not come."""
        for group in groups:
            for each, its in group.units:
                self._send(each, its, target, FrameFate.FORWARDED)
        groups.clear()

    def _keep(self, fault: Hold, unit: Unit, record: FrameRecord, target: Side) -> None:
        """Hold a frame until it is released."""
        held = fault.keep(record)

        async def release() -> None:
            await held.released()
            self._send(unit, record, target, FrameFate.RELEASED)

        self._later(release()).add_done_callback(lambda _: fault.forget(held))

    async def _late(self, seconds: float, unit: Unit, record: FrameRecord, target: Side) -> None:
        await self._clock.sleep(seconds)
        self._send(unit, record, target, FrameFate.RELEASED)

    def _later(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._held.add(task)
        task.add_done_callback(self._held.discard)
        return task

    def _send(self, unit: Unit, record: FrameRecord, target: Side, fate: FrameFate) -> None:
        self._decide(record, FrameFate.SILENCED if self._silent else fate)
        if not self._silent:
            target.send(unit)

    def _decide(self, record: FrameRecord, fate: FrameFate) -> None:
        record.fate = fate
        self._log.changed.notify()

    async def _carry_out(self, cut: Cut) -> None:
        """Cut: say so to both sides when there is a code, and end both connections, each in its own time."""
        if self._stranded is not None:
            await self._end(self._client, cut)
            await self._deliver(*self._stranded)
            await self._upstream.link.end(Ending.CLOSE)
            return
        await asyncio.gather(*(self._end(side, cut) for side in (self._client, self._upstream)))

    async def _deliver(self, unit: Unit, record: FrameRecord, seconds: float) -> None:
        """Bring what is stranded to the upstream, and give that the time to answer."""
        await self._clock.sleep(seconds)
        self._send(unit, record, self._upstream, FrameFate.RELEASED)
        with contextlib.suppress(OSError, Malformed, TimeoutError):
            async with asyncio.timeout(_TO_ANSWER_S):
                await self._upstream.unit(self._max_body)

    async def _end(self, side: Side, cut: Cut) -> None:
        if cut.code is None or not side.frames.closes:
            return await side.link.end(cut.ending)
        side.send(Unit(FrameKind.CLOSE, code=cut.code, reason=cut.reason))
        # Wait for the other's close frame: ended with bytes unread, the connection would be reset, and a reset can
        # overtake ours.
        with contextlib.suppress(Malformed):
            while (unit := await side.unit(self._max_body)) is not None and unit.kind is not FrameKind.CLOSE:
                pass
        return await side.link.end(Ending.CLOSE)

    def _rpc(self, unit: Unit, direction: Direction) -> tuple[str, ...]:
        """The JSON-RPC methods that a frame calls, or whose calls it answers."""
        if unit.kind not in (FrameKind.TEXT, FrameKind.BINARY):
            return ()
        if direction is Direction.TO_CLIENT:
            found = []
            for message in rpc_objects(unit.data):
                method = message.get(self._rpc_member)
                found.append(method if isinstance(method, str) else self._calls.pop(_key(message), None))
            return tuple(method for method in found if method is not None)
        for message in rpc_objects(unit.data):
            if isinstance(message.get(self._rpc_member), str) and _key(message) is not None:
                self._calls[_key(message)] = message[self._rpc_member]
                if len(self._calls) > _CALLS_KEPT:
                    self._calls.popitem(last=False)
        return rpc_methods(unit.data, self._rpc_member)


def _with(data: str | bytes | Callable[[str | bytes], str | bytes], unit: Unit) -> Unit:
    """A message with other data."""
    made = data(unit.data) if callable(data) else data
    return Unit(FrameKind.TEXT if isinstance(made, str) else FrameKind.BINARY, (made,))


def _key(message: dict[str, Any]) -> str | int | float | None:
    """The id of a JSON-RPC call or answer; some venues call it req_id."""
    found = message.get("id", message.get("req_id"))
    return found if isinstance(found, str | int | float) else None


async def _forever() -> None:
    await asyncio.get_running_loop().create_future()
