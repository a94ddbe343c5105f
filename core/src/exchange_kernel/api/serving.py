"""What the routes share: the platform behind them, who calls, and what they may reach."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Annotated, Any, cast

from fastapi import Depends, Request
from fastapi.responses import Response

from exchange_kernel.api.feed import Feed
from exchange_kernel.api.grants import EVERY, Scope, allows
from exchange_kernel.api.guard import strict_json
from exchange_kernel.api.problems import Problem
from exchange_kernel.api.tokens import Caller, Keyring, TooManyFailures
from exchange_kernel.base import ExchangeKernel
from exchange_kernel.clock import Clock
from exchange_kernel.errors import ConfigError, NotAllowed, NotRunning
from exchange_kernel.kernel.account import ACTING
from exchange_kernel.metrics import Metrics
from exchange_kernel.platform import Platform
from exchange_kernel.schema.fields import check_keys
from exchange_kernel.state.unit import compact

__all__ = ["Access", "Answer", "Body", "Calling", "Server", "fields_of"]


class Answer(Response):
    """JSON, kept by no cache."""

    media_type = "application/json"

    def __init__(self, content: Any, status_code: int = 200, headers: dict[str, str] | None = None) -> None:
        super().__init__(content, status_code, {"cache-control": "no-store"} | (headers or {}))

    def render(self, content: Any) -> bytes:
        return compact(content).encode()


class Server:
    """The platform behind the routes, the tokens, and one feed of events per account."""

    def __init__(self, platform: Platform, keyring: Keyring, clock: Clock) -> None:
        self.platform, self.keyring, self.clock = platform, keyring, clock
        self.metrics = Metrics(platform, clock)
        self._feeds: dict[str, Feed] = {}
        self.closing = asyncio.Event()

    @property
    def feeds(self) -> dict[str, Feed]:
        """Those that somebody asked for."""
        return self._feeds

    def kernel(self, account: str) -> ExchangeKernel:
        """Raises NotRunning where it did not start."""
        try:
            return self.platform[account]
        except Exception as error:
            raise NotRunning(f"account {account} did not start: {error}") from error

    async def feed(self, account: str) -> Feed:
        """The account's events. Raises NotRunning, StoreUnavailable."""
        found = self._feeds.get(account)
        if found is None:
            found = self._feeds[account] = Feed(account, self.kernel(account), self.platform.store)
        await found.open()
        return found

    def readers(self, account: str) -> tuple[int, int]:
        """How many read an account's events now, and how many were cut for being too slow."""
        feed = self._feeds.get(account)
        return (0, 0) if feed is None else (feed.subscribers, feed.overflows)

    def close(self) -> None:
        """End every stream of events."""
        self.closing.set()
        self.metrics.close()
        for feed in self._feeds.values():
            feed.close()
        self._feeds.clear()


class Access:
    """Who calls, and the server they call."""

    def __init__(self, server: Server, caller: Caller) -> None:
        self.server, self.caller = server, caller

    def accounts(self) -> list[str]:
        """The accounts that the caller may know of."""
        return [name for name in self.server.platform if allows(self.caller.grants, name, Scope.READ)]

    def need(self, account: str, scope: Scope) -> None:
        """Raises ConfigError for an account that the caller may not know of, whether it exists or not; NotAllowed."""
        known = account in self.server.platform.config.accounts
        if account != EVERY and not (known and allows(self.caller.grants, account, Scope.READ)):
            raise ConfigError("account", account, "is not served to this token")
        if not allows(self.caller.grants, account, scope):
            where = "every account" if account == EVERY else account
            raise NotAllowed(f"this token does not have the scope {scope} on {where}")

    def kernel(self, account: str, scope: Scope = Scope.READ) -> ExchangeKernel:
        """The kernel of an account, for this. Raises as :meth:`need`, and NotRunning."""
        self.need(account, scope)
        return self.server.kernel(account)

    def actor(self, said: str = "") -> str:
        """What the event log calls the caller; ``said``: whom the caller says it acts for."""
        return f"{said[:80]} ({self.caller.name})" if said.strip() else self.caller.name

    @contextlib.contextmanager
    def acting(self, said: str = "") -> Iterator[None]:
        """What is done in here is done by the caller."""
        token = ACTING.set(self.actor(said))
        try:
            yield
        finally:
            ACTING.reset(token)


async def _access(request: Request) -> Access:
    server = cast(Server, request.app.state.server)
    try:
        caller = await server.keyring.caller(request.headers.get("authorization"))
    except TooManyFailures as error:
        raise Problem(429, "too-many-requests", str(error), {"retry-after": "1"}) from None
    except NotAllowed as error:
        challenge = {"www-authenticate": 'Bearer realm="exchange-kernel"'}
        raise Problem(401, "unauthenticated", str(error), challenge) from None
    return Access(server, caller)


async def _body(request: Request) -> dict[str, Any]:
    return strict_json(await request.body(), request.headers.get("content-type", ""))


Calling = Annotated[Access, Depends(_access)]
Body = Annotated[dict[str, Any], Depends(_body)]


def fields_of(body: dict[str, Any], **kinds: type) -> dict[str, Any]:
    """The fields of a body, none of which is unknown and each of which is of its kind, or None. Raises InvalidOrder,
    Problem."""
    check_keys("body", body, kinds)
    for name, value in body.items():
        if value is not None and type(value) is not kinds[name]:
            words = {dict: "an object", list: "a list", str: "text", int: "an integer", bool: "true or false"}
            raise Problem(400, "bad-request", f"{name} must be {words[kinds[name]]}")
    return {name: body.get(name) for name in kinds}
