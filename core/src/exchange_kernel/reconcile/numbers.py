"""Sequence numbers (R26): taken one command at a time, committed with the ticket, or given back.

Prepare and commit run serially while the account's venue has scopes, so a number is either in SQL or free; a commit of
unknown outcome makes the next turn read SQL again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from exchange_kernel.state.stores import IntentStateStore
from exchange_kernel.venue import Scope, Slot, Ticket


class Turn:
    """The right to take numbers for one command. ``taken``: fresh numbers of this turn."""

    def __init__(self, free: dict[str, int]) -> None:
        self._free = free
        self.taken: list[Slot] = []
        self.committed = False

    def taker(self, instead_of: Ticket | None) -> Callable[[str], Slot]:
        """The ``take`` of a :class:`Prep`. Replacing a ticket takes its slot again."""

        def take(scope: str) -> Slot:
            if instead_of is not None and instead_of.slot is not None and instead_of.slot.scope == scope:
                return instead_of.slot
            mine = sum(1 for slot in self.taken if slot.scope == scope)
            slot = Slot(scope, self._free[scope] + mine)
            self.taken.append(slot)
            return slot

        return take

    def used(self) -> None:
        """The ticket is committed: the numbers are spent, whatever becomes of it."""
        self.committed = True
        for slot in self.taken:
            self._free[slot.scope] = max(self._free[slot.scope], slot.number + 1)


class _Free(AbstractAsyncContextManager[Turn]):
    """A turn where there are no numbers to take."""

    __slots__ = ("_turn",)

    def __init__(self, free: dict[str, int]) -> None:
        self._turn = Turn(free)

    async def __aenter__(self) -> Turn:
        return self._turn

    async def __aexit__(self, *_: object) -> None:
        return None


class Numbers:
    """The sequencer of one account."""

    def __init__(self, store: IntentStateStore, scopes: tuple[Scope, ...]) -> None:
        self._store = store
        self._scopes = {scope.name: scope for scope in scopes}
        self._lock = asyncio.Lock()
        self._free: dict[str, int] = {}

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """The account's sequences."""
        return tuple(self._scopes.values())

    def turn(self) -> AbstractAsyncContextManager[Turn]:
        """One command's turn. Without scopes, turns don't wait for one another."""
        return self._next() if self._scopes else _Free(self._free)

    @asynccontextmanager
    async def _next(self) -> AsyncIterator[Turn]:
        async with self._lock:
            if not self._free:
                await self._read()
            turn = Turn(self._free)
            try:
                yield turn
            finally:
                if turn.taken and not turn.committed:
                    self._free = {}

    async def _read(self) -> None:
        free = {}
        for scope in self._scopes.values():
            used = await self._store.slots(scope.name, scope.floor)
            free[scope.name] = max([scope.floor, *(use.slot.number + 1 for use in used)])
        self._free = free
