"""One budget for several processes on one address: they lease their parts of each window from a common pool.

The pool is a hint. What it does not answer in time, or at all, is as if there were none: each process then has its
fixed share. The venue's own count, in every answer, stands above both.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, Protocol

from exchange_kernel.clock import Clock
from exchange_kernel.errors import ConfigError
from exchange_kernel.venue import Ms
from exchange_kernel_ccxt.budget import Booking, Budget, Cost, Rule

_BLOCK = 50
"""One lease is at least the limit divided by this."""


class Pool(Protocol):
    """Where processes of one address meet."""

    async def lease(self, key: str, amount: int, most: int, ttl_ms: Ms) -> int:
        """Take up to ``amount`` of ``most`` from the pool of this name, which is forgotten ``ttl_ms`` after its first
        lease; how much was granted. Any exception: there is no pool now."""
        ...


class Counters(Protocol):
    """What is needed of a client of Redis or Valkey (``redis.asyncio.Redis``)."""

    def incrby(self, name: str, amount: int) -> Awaitable[int]:
        """Add; the new value."""
        ...

    def pexpire(self, name: str, time: int) -> Awaitable[object]:
        """Forget the name after so many ms."""
        ...


class RedisPool:
    """Counters in a Redis or Valkey that all processes of the address use. ``prefix`` names the address."""

    def __init__(self, client: Counters, prefix: str) -> None:
        self._client, self._prefix = client, prefix

    async def lease(self, key: str, amount: int, most: int, ttl_ms: Ms) -> int:
        name = f"{self._prefix}:{key}"
        total = await self._client.incrby(name, amount)
        await self._client.pexpire(name, ttl_ms)
        over = min(amount, max(0, total - most))
        if over:
            await self._client.incrby(name, -over)
        return amount - over


class Meeting:
    """A connection to where the processes of one address meet, made when it is first needed. Closed once."""

    def __init__(self, url: str, prefix: str) -> None:
        """``url``: ``redis://`` or ``valkey://``, also with ``s``. Raises ConfigError, also without a client."""
        scheme, _, rest = url.partition("://")
        if scheme not in ("redis", "rediss", "valkey", "valkeys") or not rest:
            raise ConfigError("budget_url", "(not shown)", "must be redis://host:port/number, or rediss:// for TLS")
        try:
            client = importlib.import_module("valkey.asyncio").Valkey
        except ImportError:
            hint = "install exchange-kernel-ccxt[pool]"
            raise ConfigError("budget_url", "(not shown)", "needs a client of Valkey and Redis", hint) from None
        try:
            self._client: Any = client.from_url(url, socket_timeout=1, socket_connect_timeout=1)
        except ValueError as error:
            raise ConfigError("budget_url", "(not shown)", f"cannot be used: {type(error).__name__}") from None
        self.pool = RedisPool(self._client, prefix)

    async def close(self) -> None:
        """End its connections."""
        with suppress(Exception):
            await self._client.aclose()


class SharedBudget:
    """A budget that leases before it books. ``patience_s``: how long a pool may take to answer."""

    def __init__(self, budget: Budget, pool: Pool, clock: Clock, *, patience_s: float = 0.05) -> None:
        self.budget = budget
        self._pool, self._clock, self._patience = pool, clock, patience_s
        self._without: dict[tuple[str, str], int] = {}
        self._leasing = asyncio.Lock()

    async def take(self, cost: Cost) -> Booking:
        """Book a request that leaves now. Raises RateLimited as :meth:`Budget.take` does."""
        await self.provide(cost)
        return self.budget.take(cost)

    async def provide(self, cost: Cost) -> None:
        """Lease what this request would lack; afterwards the budget says whether it may leave."""
        if self.budget.lacks(cost):
            async with self._leasing:
                for rule, number, short in self.budget.lacks(cost):
                    await self._lease(rule, number, short, cost)

    async def _lease(self, rule: Rule, number: int, short: int, cost: Cost) -> None:
        key = (rule.counts, rule.name)
        if self._without.get(key) == number:
            return
        most = rule.limit if cost.urgent else int(rule.limit * (1 - self.budget.reserve))
        amount = short if cost.urgent else max(short, rule.limit // _BLOCK)
        asking = asyncio.ensure_future(
            self._pool.lease(f"{rule.counts}:{rule.name}:{number}", amount, most, 2 * rule.length_ms)
        )
        timer = asyncio.ensure_future(self._clock.sleep(self._patience))
        try:
            await asyncio.wait({asking, timer}, return_when=asyncio.FIRST_COMPLETED)
            if asking.done() and asking.exception() is None:
                self.budget.lease(rule, number, asking.result())
            else:
                self._without[key] = number
        finally:
            asking.cancel()
            timer.cancel()
            await asyncio.gather(asking, timer, return_exceptions=True)
