"""The network between a client and the exchange, where most faults live. Both links (in process and TCP) end here."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from exchange_kernel_paper.exchange.codes import Code, Refusal
from exchange_kernel_paper.exchange.exchange import Exchange
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
            self.exchange.changes += op in MUTATIONS
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
        answer = _Answer()
        if late := draw("late", op):
            self._later(late.ms, lambda: self._arrived(op, body, _Answer()))
            raise NoAnswer("connection lost")
        if self._copies_are_harmless(op) and (copy := draw("duplicate", op)):
            self._later(copy.ms, lambda: self._arrived(op, body, _Answer()))
        delay = draw("delay", op)
        if delay is None:
            self._arrived(op, body, answer)
            return await answer.future
        self._later(delay.ms, lambda: self._arrived(op, body, answer))
        if delay.ms <= timeout_ms:
            return await answer.future
        await self._wait(timeout_ms)
        raise NoAnswer("timed out")

    def _arrived(self, op: str, body: bytes, answer: _Answer) -> None:
        """The request is there; from here on nothing depends on whether its caller still waits."""
        draw = self._faults.draw
        self.exchange.changes += op in MUTATIONS
        if limited := draw("rate_limit", op):
            self.exchange.requests += 1
            self.exchange.refresh()  # the time in its answer is that of the answer
            retry = self.exchange.now + limited.ms
            code = Code(limited.code or Code.RATE_LIMIT)
            answer.give(self.front.refuse(Refusal(code, f"too many requests, retry at {retry}", retry)))
        elif draw("unavailable", op):
            self.exchange.requests += 1
            answer.give(self.front.refuse(Refusal(Code.UNAVAILABLE, "internal error")))
        elif op in MUTATIONS:
            self._change(op, body, answer)
        else:
            self._executed(op, self.front.answer(body, lag_ms=self._lag(op)), answer)

    def _change(self, op: str, body: bytes, answer: _Answer) -> None:
        draw, settings = self._faults.draw, self.exchange.settings
        if settings.ledger and draw("forgotten", op):
            answer.give(b'{"held":true,"t":%d}' % self.exchange.now)
        elif settings.ledger and (wrong := draw("misleading", op)):
            self.front.answer(body)
            code = Code(wrong.code or Code.INSUFFICIENT_FUNDS)
            answer.give(self.front.refuse(Refusal(code, "the node does not want it")))
        elif settings.engine_delay_ms and (queued := draw("engine_delay", op)):
            refused = self.front.admit(body)
            if refused is not None:
                self._executed(op, refused, answer)
                return
            ms = min(queued.ms, settings.engine_delay_ms)
            self._later(ms, lambda: self._executed(op, self.front.answer(body, admitted=True), answer))
        else:
            self._executed(op, self.front.answer(body), answer)

    def _executed(self, op: str, reply: bytes, answer: _Answer) -> None:
        """The server has its reply; now what may happen to that."""
        draw = self._faults.draw
        if draw("error_after", op):
            answer.give(self.front.refuse(Refusal(Code.UNAVAILABLE, "internal error")))
        elif draw("garbled", op):
            answer.give(reply[: len(reply) // 2])
        elif lost := draw("answer_lost", op):
            self._later(lost.ms, answer.lose)
        else:
            answer.give(reply)

    def _later(self, ms: int, fn: Callable[[], None]) -> None:
        if ms:
            self._clock.call_later(ms / 1000, fn)
        else:
            fn()

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


class _Answer:
    """What will come back to a caller, who may be gone by then."""

    def __init__(self) -> None:
        self.future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def give(self, reply: bytes) -> None:
        if not self.future.done():
            self.future.set_result(reply)

    def lose(self) -> None:
        if not self.future.done():
            self.future.set_exception(NoAnswer("connection lost"))
            self.future.exception()  # marks it as seen: a caller who is gone need not be told
