"""One process' line to Redis or Valkey: what is asked at the same time goes out together, and a line that is down says
so at once.

Nothing here is truth. Whoever asks gets an answer or :class:`LinkDown`, and goes on without; no call waits for a server
to come back, and nothing is sent twice, for what was sent and not answered may have been done.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha1
from typing import Any, Final

from exchange_kernel.clock import Clock
from exchange_kernel.errors import ConfigError
from exchange_kernel.state.redis.address import Address, needs

__all__ = ["LinkDown", "RedisLink", "Script"]

log = logging.getLogger("exchange_kernel.redis")

OLDEST: Final = (6, 2)
ANSWER_S: Final = 3.0
CONNECT_S: Final = 3.0
BACKOFF_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0)
AT_ONCE: Final = 256
"""How many calls go out in one round trip at most."""


class LinkDown(Exception):
    """Redis did not answer, or refused: what was asked may or may not have been done."""


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script, sent by its digest."""

    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", sha1(self.text.encode(), usedforsecurity=False).hexdigest())


@dataclass(slots=True)
class _Call:
    command: tuple[Any, ...]
    answer: asyncio.Future[Any]
    script: Script | None = None


class RedisLink:
    """``url``: ``redis://`` or ``valkey://``, with ``s`` for TLS; see docs/operate.md. A server of a cluster is
    recognised.

    ``healthy`` and ``reason`` say how it stands. ``generation`` rises whenever the server may have lost what it had:
    it was started anew, or another one answers.
    """

    def __init__(self, url: str, clock: Clock, *, client_name: str = "exk") -> None:
        self.address = Address.parse(url)
        self.healthy = False
        self.reason = "not connected yet"
        self.generation = 0
        self.dropped = 0
        self.cluster = False
        self._clock = clock
        self._name = client_name
        self._client: Any = None
        self._blocking: Any = None
        self._lib: Any = None
        self._waiting: list[_Call] = []
        self._pump: asyncio.Task[None] | None = None
        self._idle: asyncio.Future[None] | None = None
        self._open = False
        self._failures = 0
        self._again_at = 0.0
        self._run_id = ""
        self._lost: list[Callable[[], None]] = []

    def on_lost(self, callback: Callable[[], None]) -> None:
        """Call back when the server may have lost what it had."""
        self._lost.append(callback)

    def off_lost(self, callback: Callable[[], None]) -> None:
        """Stop calling back."""
        with contextlib.suppress(ValueError):
            self._lost.remove(callback)

    async def open(self) -> None:
        """Connect and check the server. One that cannot be reached now is tried again as it is needed.

        Raises ConfigError: no client library, wrong password, too old a server, one that takes no writes."""
        if self._open:
            return
        self._lib = needs("redis.asyncio")
        self._open = True
        try:
            await self._connect()
        except ConfigError:
            await self.close()
            raise
        except LinkDown as error:
            log.warning("Redis at %s cannot be used yet, and orders are worked on without it: %s", self.address, error)

    async def close(self) -> None:
        """End the connections; whoever still waits gets LinkDown. Idempotent."""
        self._open = False
        self.healthy, self.reason = False, "closed"
        if self._pump is not None:
            self._pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._pump
            self._pump = None
        self._fail_all(LinkDown("closed"))
        await self._disconnect()

    # ---- asking ------------------------------------------------------------------------------------------------

    async def call(self, script: Script, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run a script. All keys must share one hash tag. Raises LinkDown."""
        command = ("EVALSHA", script.sha, len(keys), *keys, *arguments)
        return await self._ask(_Call(command, asyncio.get_running_loop().create_future(), script))

    async def run(self, *command: Any) -> Any:
        """Run one command. Raises LinkDown."""
        return await self._ask(_Call(command, asyncio.get_running_loop().create_future()))

    async def block(self, *command: Any, patience: float) -> Any:
        """Run a command that waits at the server for ``patience`` seconds at most, on a connection of its own."""
        await self._ready()
        try:
            async with asyncio.timeout(patience + ANSWER_S):
                return await self._blocking.execute_command(*command)
        except self._errors() as error:
            raise self._failed(error) from error

    async def _ask(self, call: _Call) -> Any:
        if not self._open:
            raise LinkDown("closed")
        self._waiting.append(call)
        if self._pump is None or self._pump.done():
            self._pump = asyncio.get_running_loop().create_task(self._send_all(), name="redis")
        elif self._idle is not None and not self._idle.done():
            self._idle.set_result(None)
        return await call.answer

    async def _send_all(self) -> None:
        """What comes while a round trip is under way goes out with the next one."""
        # Asked each time: a cancellation may be lost in a client library that is just giving a connection up.
        while self._open:
            if not self._waiting:
                self._idle = asyncio.get_running_loop().create_future()
                await self._idle
            calls, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
            try:
                await self._ready()
                await self._send(calls)
            except LinkDown as error:
                _fail(calls, error)
            except asyncio.CancelledError:
                _fail(calls, LinkDown("closed"))
                raise

    async def _send(self, calls: Sequence[_Call]) -> None:
        answers = await self._exchange(calls)
        unknown = [
            number
            for number, (call, answer) in enumerate(zip(calls, answers, strict=True))
            if call.script is not None and isinstance(answer, self._lib.NoScript)
        ]
        if unknown:
            # Not run: the server does not know the script, for it was started anew.
            texts = {calls[number].script for number in unknown}
            for script in texts:
                assert script is not None
                await self._guard(self._load(script))
            again = await self._exchange([calls[number] for number in unknown])
            for number, answer in zip(unknown, again, strict=True):
                answers[number] = answer
        for call, answer in zip(calls, answers, strict=True):
            if call.answer.done():
                continue
            if isinstance(answer, Exception):
                call.answer.set_exception(self._refused(answer))
            else:
                call.answer.set_result(answer)
        if not any(isinstance(answer, Exception) for answer in answers):
            self.healthy, self.reason = True, ""

    async def _exchange(self, calls: Sequence[_Call]) -> list[Any]:
        if len(calls) == 1:
            return [await self._guard(self._client.execute_command(*calls[0].command), keep=True)]
        if self.cluster:
            work = [self._guard(self._client.execute_command(*call.command), keep=True) for call in calls]
            return list(await asyncio.gather(*work))
        pipeline = self._client.pipeline(transaction=False)
        for call in calls:
            pipeline.execute_command(*call.command)
        answers: list[Any] = await self._guard(pipeline.execute(raise_on_error=False))
        return answers

    async def _load(self, script: Script) -> None:
        if self.cluster:
            await self._client.execute_command("SCRIPT LOAD", script.text, target_nodes=self._lib.PRIMARIES)
        else:
            await self._client.execute_command("SCRIPT LOAD", script.text)

    async def _guard(self, work: Any, keep: bool = False) -> Any:
        """``keep``: an answer that is an error of its own command is returned, like a pipeline's."""
        try:
            return await work  # the connection itself does not wait for longer than ANSWER_S
        except self._lib.ResponseError as error:
            if keep:
                return error
            raise self._refused(error) from error
        except self._errors() as error:
            raise self._failed(error) from error

    # ---- connecting --------------------------------------------------------------------------------------------

    async def _ready(self) -> None:
        if self._client is not None:
            return
        if not self._open:
            raise LinkDown("closed")
        if self._clock.monotonic() < self._again_at:
            raise LinkDown(self.reason)
        try:
            await self._connect()
        except ConfigError as error:
            raise self._failed(error) from error

    async def _connect(self) -> None:
        client, blocking = self.address.clients(self._lib, self._name, ANSWER_S, CONNECT_S)
        try:
            async with asyncio.timeout(CONNECT_S + ANSWER_S):
                facts = await client.execute_command("INFO")
            self._check(facts)
            self.cluster = str(facts.get("cluster_enabled", 0)) == "1"
            if self.cluster:
                await client.aclose()
                await blocking.aclose()
                client = blocking = self.address.cluster(self._lib, self._name, ANSWER_S, CONNECT_S)
                async with asyncio.timeout(CONNECT_S + ANSWER_S):
                    await client.initialize()
        except self._lib.Denied as error:
            await _end(client, blocking)
            text = str(error).split(".")[0]
            raise ConfigError(
                "redis.url", str(self.address), f"is refused: {text}", "check user and password"
            ) from None
        except self._errors() as error:
            await _end(client, blocking)
            raise self._failed(error) from error
        except BaseException:
            await _end(client, blocking)
            raise
        self._client, self._blocking = client, blocking
        self.healthy, self.reason = True, ""
        self._failures = 0
        run_id = str(facts.get("run_id", ""))
        if run_id != self._run_id:
            first, self._run_id = not self._run_id, run_id
            if not first:
                log.warning("Redis at %s was started anew, or is another one: its marks are made again", self.address)
            self.lose()

    def lose(self) -> None:
        """The server has not what it had: tell everybody who put something there."""
        self.generation += 1
        for callback in tuple(self._lost):
            callback()

    def _check(self, facts: Any) -> None:
        version = tuple(int(part) for part in str(facts.get("redis_version", "0")).split(".")[:2] if part.isdigit())
        where = str(self.address)
        if version < OLDEST:
            found = facts.get("redis_version")
            raise ConfigError("redis.url", where, f"is version {found}; 6.2 or newer is needed", "or any Valkey")
        if facts.get("role") == "slave":
            raise ConfigError("redis.url", where, "is a replica and takes no writes", "connect to the primary")
        policy = facts.get("maxmemory_policy", "noeviction")
        if policy != "noeviction" and facts.get("maxmemory"):
            log.warning("Redis at %s evicts keys (%s): marks get lost, orders are seen to later", where, policy)

    def _errors(self) -> tuple[type[Exception], ...]:
        errors: tuple[type[Exception], ...] = self._lib.errors
        return errors

    def _refused(self, error: Exception) -> LinkDown:
        """The server answered, and would not."""
        text = " ".join(str(error).split())[:200]
        if text.startswith("FENCED"):
            return LinkDown(text)
        self.healthy, self.reason = False, _explain(text)
        if text.startswith(("READONLY", "NOAUTH", "NOPERM", "WRONGPASS")):
            asyncio.get_running_loop().create_task(self._disconnect(), name="redis")
        return LinkDown(self.reason)

    def _failed(self, error: BaseException) -> LinkDown:
        """The server did not answer: it is asked again later, on connections of their own."""
        text = " ".join(str(error).split())[:200] or type(error).__name__
        if self.healthy or not self._failures:
            log.warning("Redis at %s does not answer: %s", self.address, text)
        self.healthy, self.reason = False, text
        self._again_at = self._clock.monotonic() + BACKOFF_S[min(self._failures, len(BACKOFF_S) - 1)]
        self._failures += 1
        with contextlib.suppress(RuntimeError):
            asyncio.get_running_loop().create_task(self._disconnect(), name="redis")
        return LinkDown(text)

    async def _disconnect(self) -> None:
        client, self._client = self._client, None
        blocking, self._blocking = self._blocking, None
        await _end(client, blocking)

    def _fail_all(self, error: LinkDown) -> None:
        waiting, self._waiting = self._waiting, []
        _fail(waiting, error)


def _fail(calls: Sequence[_Call], error: LinkDown) -> None:
    for call in calls:
        if not call.answer.done():
            call.answer.set_exception(LinkDown(*error.args))


async def _end(*clients: Any) -> None:
    for client in {id(each): each for each in clients if each is not None}.values():
        with contextlib.suppress(Exception):  # whatever a broken connection raises when it ends
            await client.aclose()


def _explain(text: str) -> str:
    if text.startswith("OOM"):
        return "its memory is full (maxmemory): nothing is kept there until some is free; raise maxmemory"
    if text.startswith("READONLY"):
        return "it has become a replica and takes no writes"
    if text.startswith("MISCONF"):
        return "it cannot save to its disk and takes no writes; free the disk, or turn saving off"
    return text
