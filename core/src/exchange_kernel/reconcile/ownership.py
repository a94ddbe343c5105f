"""Owning an account: a lease in SQL whose epoch fences every write (R31). The lease is courtesy; the epoch is
safety."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable

from exchange_kernel.errors import Fenced, StoreError
from exchange_kernel.reconcile.session import Session
from exchange_kernel.state.ops import AcquireLease, RenewLease

MARGIN_S = 0.5
"""How long before its end a lease no longer counts as held for a send."""


def owner_name(nonce: bytes, worker: str = "") -> str:
    """host:pid:nonce, and the worker's name where it has one. The pid lets a restart on the same host see that the
    former owner is gone."""
    name = f"{socket.gethostname()}:{os.getpid()}:{nonce.hex()}"
    return f"{name}@{worker}" if worker else name


def worker_of(owner: str) -> str:
    """The worker that an owner's name tells, or ""."""
    return owner.partition("@")[2]


def is_gone(owner: str) -> bool:
    """True when the owner was a process of this host that no longer exists."""
    host, _, rest = owner.partition(":")
    pid = rest.partition(":")[0]
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


async def acquire(session: Session, owner: str, *, poll: float = 0.25) -> None:
    """Wait for the account and take it over: epoch + 1. A former owner that is provably gone is not waited for."""
    while True:
        began = session.clock.monotonic()
        held = await session.store.lease(session.account)
        steal = held is not None and is_gone(held.owner)
        lease = await session.store.execute(AcquireLease(session.account, owner, session.settings.lease_ms, steal))
        if lease is not None:
            session.begin(lease.epoch, began + session.settings.lease_ms / 1000 - MARGIN_S)
            return
        await session.clock.sleep(poll)


async def keep(session: Session, renewed: Callable[[bool], Awaitable[None]]) -> None:
    """Renew the lease until it is lost. ``renewed``: called each time, with True after a time in
    which it may have been lost.

    Raises Fenced when another process took the account over."""
    while True:
        await session.clock.sleep(session.settings.lease_ms / 3000)
        began = session.clock.monotonic()
        try:
            await session.store.execute(RenewLease(session.account, session.epoch, session.settings.lease_ms))
        except Fenced:
            session.lease_until = 0.0
            raise
        except StoreError:
            continue
        lapsed = not session.owned
        session.lease_until = began + session.settings.lease_ms / 1000 - MARGIN_S
        try:
            await renewed(lapsed)
        except StoreError:
            if lapsed:
                session.lease_until = 0.0  # not regained before everything was looked at: once more


async def release(session: Session) -> None:
    """Give the account up, so that the next owner need not wait."""
    session.lease_until = 0.0
    try:
        await session.store.execute(RenewLease(session.account, session.epoch, 0))
    except StoreError:
        return
