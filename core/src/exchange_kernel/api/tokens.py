"""Tokens: opaque, long, kept as a digest, and looked up at most once a second each.

A token is ``exk_`` + 12 hex digits that name it + ``_`` + 256 bits. SHA-256 is enough for what nobody can guess.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from exchange_kernel.clock import Clock, Ids
from exchange_kernel.errors import NotAllowed
from exchange_kernel.state.sql.tokens import TokenRow

__all__ = ["Caller", "Keyring", "Tokens", "mint"]

_FORM = re.compile(r"exk_(?P<id>[0-9a-f]{12})_[A-Za-z0-9_-]{43}", re.ASCII).fullmatch

REMEMBERED_S = 1.0
MOST_REMEMBERED = 4096
FAILURES_A_SECOND = 20.0


class Tokens(Protocol):
    """Where tokens are looked up. Blocking."""

    def find(self, token_id: str) -> TokenRow | None: ...


class Caller(NamedTuple):
    """Who calls: a token's id and name, and what it may do."""

    token_id: str
    name: str
    grants: Mapping[str, tuple[str, ...]]


class TooManyFailures(NotAllowed):
    """So many wrong tokens came in this second that none is looked up."""


def mint(
    ids: Ids, name: str, grants: Mapping[str, tuple[str, ...]], now: int, lasts_ms: int | None
) -> tuple[str, TokenRow]:
    """A new token: its text, shown once, and what is kept of it."""
    token_id = ids.new(6).hex()
    text = f"exk_{token_id}_{urlsafe_b64encode(ids.new(32)).decode().rstrip('=')}"
    expires = None if lasts_ms is None else now + lasts_ms
    return text, TokenRow(token_id, name, _digest(text), dict(grants), now, expires)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class Keyring:
    """Who stands behind a token, as of at most a second ago. ``refused``: how often nobody did, by reason."""

    def __init__(self, tokens: Tokens, clock: Clock) -> None:
        self._tokens, self._clock = tokens, clock
        self._known: OrderedDict[str, tuple[float, TokenRow]] = OrderedDict()
        self._failures, self._since = 0.0, clock.monotonic()
        self.refused: dict[str, int] = {}

    async def caller(self, header: str | None) -> Caller:
        """The caller of an ``Authorization`` header. Raises NotAllowed, StoreUnavailable."""
        scheme, _, text = (header or "").partition(" ")
        found = _FORM(text) if scheme.lower() == "bearer" else None
        if found is None:
            raise self._refuse("missing" if header is None else "malformed", "send Authorization: Bearer exk_…")
        row = await self._row(found["id"])
        # Compared even where there is no such token, so that a guess learns nothing from the time it takes.
        right = hmac.compare_digest(_digest(text), row.digest if row is not None else "0" * 64)
        if row is None or not right:
            raise self._refuse("unknown", "this token is not known here")
        if row.revoked_at is not None:
            raise self._refuse("revoked", "this token was revoked")
        if row.expires_at is not None and row.expires_at <= self._clock.now_ms():
            raise self._refuse("expired", "this token has expired")
        return Caller(row.token_id, row.name, row.grants)

    async def _row(self, token_id: str) -> TokenRow | None:
        now = self._clock.monotonic()
        at, row = self._known.get(token_id, (0.0, None))
        if row is not None and now - at < REMEMBERED_S:
            return row
        self._slow_down(now)
        row = await asyncio.to_thread(self._tokens.find, token_id)
        self._known.pop(token_id, None)
        if row is not None:
            self._known[token_id] = (now, row)
            while len(self._known) > MOST_REMEMBERED:
                self._known.popitem(last=False)
        return row

    def _slow_down(self, now: float) -> None:
        """Guesses cost the database at most so many questions a second."""
        self._failures = max(0.0, self._failures - (now - self._since) * FAILURES_A_SECOND)
        self._since = now
        if self._failures > FAILURES_A_SECOND:
            self.refused["too many"] = self.refused.get("too many", 0) + 1
            raise TooManyFailures("too many wrong tokens: wait a second")

    def _refuse(self, reason: str, text: str) -> NotAllowed:
        if reason == "unknown":
            self._failures += 1
        self.refused[reason] = self.refused.get(reason, 0) + 1
        return NotAllowed(text)
