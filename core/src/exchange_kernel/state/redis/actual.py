"""The venue's truth as last seen, where other processes can read it: written by the account's owner, read by all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Final

import msgspec

from exchange_kernel.models import OrderState
from exchange_kernel.state.memory import MemoryActualStore
from exchange_kernel.state.redis.link import LinkDown, RedisLink
from exchange_kernel.state.stores import ActualStateStore
from exchange_kernel.venue import AccountSnapshot

__all__ = ["RedisActualStore"]

BATCH: Final = 500


class RedisActualStore(ActualStateStore):
    """Reads answer from memory; what is written goes to Redis behind it, the newest of each key, together.

    A process that does not own an account calls :meth:`fetch` before it reads. What the server lost is written again by
    the owner, from its memory."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._memory = MemoryActualStore()
        self._states: dict[str, set[str]] = {}
        self._snapshots: set[str] = set()
        self._cleared: set[str] = set()
        self._written: set[str] = set()
        self._task: asyncio.Task[None] | None = None
        link.on_lost(self._again)

    def put(self, state: OrderState, key: str) -> None:
        self._memory.put(state, key)
        self._dirty(state.account, key)

    def get(self, account: str, key: str) -> OrderState | None:
        return self._memory.get(account, key)

    def drop(self, account: str, key: str) -> None:
        self._memory.drop(account, key)
        self._dirty(account, key)

    def all(self, account: str) -> Iterable[OrderState]:
        return self._memory.all(account)

    def put_account(self, account: str, snapshot: AccountSnapshot) -> None:
        self._memory.put_account(account, snapshot)
        self._snapshots.add(account)
        self._soon()

    def get_account(self, account: str) -> AccountSnapshot | None:
        return self._memory.get_account(account)

    def clear(self, account: str) -> None:
        self._memory.clear(account)
        self._states.pop(account, None)
        self._snapshots.discard(account)
        self._cleared.add(account)
        self._soon()

    def leave(self, account: str) -> None:
        self._written.discard(account)

    async def fetch(self, account: str) -> None:
        """Read what the account's owner wrote; with Redis gone, what was read before stays."""
        try:
            found = await self._link.run("HGETALL", _orders(account))
            snapshot = await self._link.run("GET", _account(account))
        except LinkDown:
            return
        self._memory.clear(account)
        for key, text in found.items() if isinstance(found, dict) else zip(found[::2], found[1::2], strict=True):
            with contextlib.suppress(msgspec.MsgspecError):  # of a release that writes it in another way
                self._memory.put(msgspec.json.decode(text, type=OrderState), key)
        if snapshot is not None:
            with contextlib.suppress(msgspec.MsgspecError):
                self._memory.put_account(account, msgspec.json.decode(snapshot, type=AccountSnapshot))

    async def flush(self) -> None:
        """Returns when what was written is sent, or lost."""
        while self._task is not None and not self._task.done():
            await asyncio.wait((self._task,))

    def _dirty(self, account: str, key: str) -> None:
        self._states.setdefault(account, set()).add(key)
        self._soon()

    def _again(self) -> None:
        """The server lost everything: write again what is known of the accounts that are written from here."""
        for account in tuple(self._written):
            self._snapshots.add(account)
            keys = self._memory.keys(account)
            if keys:
                self._states.setdefault(account, set()).update(keys)
        if self._written:
            self._soon()

    def _soon(self) -> None:
        if self._task is None or self._task.done():
            with contextlib.suppress(RuntimeError):  # outside an event loop there is nobody to tell
                self._task = asyncio.get_running_loop().create_task(self._write(), name="actual state")

    async def _write(self) -> None:
        await asyncio.sleep(0)
        while self._cleared or self._states or self._snapshots:
            cleared, self._cleared = self._cleared, set()
            states, self._states = self._states, {}
            snapshots, self._snapshots = self._snapshots, set()
            self._written |= cleared | set(states) | snapshots
            with contextlib.suppress(LinkDown):
                for account in cleared:
                    await self._link.run("DEL", _orders(account), _account(account))
                await asyncio.gather(*(self._write_states(account, keys) for account, keys in states.items()))
                await asyncio.gather(*(self._write_account(account) for account in snapshots))

    async def _write_states(self, account: str, keys: Iterable[str]) -> None:
        known = {key: self._memory.get(account, key) for key in keys}
        gone = [key for key, state in known.items() if state is None]
        kept = [part for key, state in known.items() if state is not None for part in (key, _text(state))]
        for start in range(0, len(kept), 2 * BATCH):
            await self._link.run("HSET", _orders(account), *kept[start : start + 2 * BATCH])
        for start in range(0, len(gone), BATCH):
            await self._link.run("HDEL", _orders(account), *gone[start : start + BATCH])

    async def _write_account(self, account: str) -> None:
        snapshot = self._memory.get_account(account)
        if snapshot is not None:
            await self._link.run("SET", _account(account), _text(snapshot))


def _text(value: OrderState | AccountSnapshot) -> str:
    return msgspec.json.encode(value).decode()


def _orders(account: str) -> str:
    return f"exk:{{{account}}}:orders"


def _account(account: str) -> str:
    return f"exk:{{{account}}}:account"
