"""The network between a client and the exchange, where most faults live. Both links (in process and TCP) end here."""

from __future__ import annotations

import asyncio

from exchange_kernel_paper.exchange.codes import Code, Refusal
from exchange_kernel_paper.exchange.exchange import Exchange
from exchange_kernel_paper.exchange.faults import Fault
from exchange_kernel_paper.exchange.front import MUTATIONS, Front
from exchange_kernel_paper.exchange.streams import Subscription


class NeverSent(Exception):
    """Not one byte of the request left the client."""


class NoAnswer(Exception):
    """The request may have arrived and may have been executed; no answer came."""


class Wire:
    """Carries requests to :class:`Front` and answers back, or fails to."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange, self.front = exchange, Front(exchange)
        self._faults, self._clock = exchange.faults, exchange.clock

    async def call(self, op: str, body: bytes, timeout_ms: int = 10_000) -> bytes:
        """The answer to one request. ``op`` is the operation in ``body``, for which faults are set.

        Raises NeverSent, NoAnswer (after ``timeout_ms`` at the latest).
        """
        if self.exchange.down:
            raise NeverSent("connection refused")
        if not self._faults.active:
            return self.front.answer(body)
        return await self._call(op, body, timeout_ms)

    def subscribe(self, body: bytes) -> Subscription:
        """A stream. Raises NeverSent; Refusal where the exchange says no."""
        if self.exchange.down:
            raise NeverSent("connection refused")
        return self.front.subscribe(body)

    async def _call(self, op: str, body: bytes, timeout_ms: int) -> bytes:
        draw = self._faults.draw
        if draw("not_sent", op):
            raise NeverSent("connection refused")
        if lost := draw("request_lost", op):
            await self._wait(lost.ms)
            raise NoAnswer("connection lost")
        if late := draw("late", op):
            self._arrive(op, body, late.ms)
            raise NoAnswer("connection lost")
        if self._copies_are_harmless(op) and (copy := draw("duplicate", op)):
            self._arrive(op, body, copy.ms)
        if delay := draw("delay", op):
            answer = self._arrive(op, body, delay.ms)
            if delay.ms <= timeout_ms:
                return await answer
            await self._wait(timeout_ms)
            raise NoAnswer("timed out")
        return await self._arrived(op, body)

    async def _arrived(self, op: str, body: bytes) -> bytes:
        """The request is there; now the server's own faults, and those of the way back."""
        draw = self._faults.draw
        if limited := draw("rate_limit", op):
            retry = self.exchange.now + limited.ms
            return self.front.refuse(Refusal(Code.RATE_LIMIT, f"too many requests, retry at {retry}", retry))
        if draw("unavailable", op):
            return self.front.refuse(Refusal(Code.UNAVAILABLE, "internal error"))
        if op in MUTATIONS:
            answer = await self._changed(op, body)
        else:
            answer = self.front.answer(body, lag_ms=self._lag(op))
        if draw("error_after", op):
            return self.front.refuse(Refusal(Code.UNAVAILABLE, "internal error"))
        if draw("garbled", op):
            return answer[: len(answer) // 2]
        if lost := draw("answer_lost", op):
            await self._wait(lost.ms)
            raise NoAnswer("connection lost")
        return answer

    async def _changed(self, op: str, body: bytes) -> bytes:
        chained = self.exchange.settings.ledger
        if chained and self._faults.draw("forgotten", op):
            return b'{"held":true,"t":%d}' % self.exchange.now
        if chained and (wrong := self._faults.draw("misleading", op)):
            self.front.answer(body)
            code = Code(wrong.code or Code.INSUFFICIENT_FUNDS)
            return self.front.refuse(Refusal(code, "the node does not want it"))
        if self.exchange.settings.engine_delay_ms and (queued := self._faults.draw("engine_delay", op)):
            return await self._queued(body, queued)
        return self.front.answer(body)

    async def _queued(self, body: bytes, queued: Fault) -> bytes:
        """Checked now, executed a moment later, whatever becomes of the caller."""
        refused = self.front.admit(body)
        if refused is not None:
            return refused
        done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def execute() -> None:
            answer = self.front.answer(body, admitted=True)
            if not done.done():
                done.set_result(answer)

        ms = min(queued.ms, self.exchange.settings.engine_delay_ms)
        self._clock.call_later(ms / 1000, execute)
        return await done

    def _arrive(self, op: str, body: bytes, ms: int) -> asyncio.Future[bytes]:
        """Let a request arrive later. It does so even if nobody waits for the answer any more."""
        done: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def execute() -> None:
            answer = self.front.answer(body)
            if not done.done():
                done.set_result(answer)

        self._clock.call_later(ms / 1000, execute)
        return done

    async def _wait(self, ms: int) -> None:
        if ms:
            await self._clock.sleep(ms / 1000)

    def _lag(self, op: str) -> int:
        limit = self.exchange.settings.read_lag_ms
        fault = self._faults.draw("query_lag", op) if limit else None
        return 0 if fault is None else min(fault.ms or limit, limit)

    def _copies_are_harmless(self, op: str) -> bool:
        """By the venue's own rules, so that a network that doubles requests is a fair fault."""
        settings = self.exchange.settings
        return op in MUTATIONS and (settings.ledger or (settings.fence == "permanent_key" and op != "cancel"))
