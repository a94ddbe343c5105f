"""After a suspected loss of commits (R32): all accounts of the store begin RECOVERING before the store may go on."""

from __future__ import annotations

from collections.abc import Collection

from exchange_kernel.clock import Clock, Ids
from exchange_kernel.events import RecoveryStarted
from exchange_kernel.reconcile.ownership import owner_name
from exchange_kernel.state.ops import AcquireLease, RenewLease, SetRecovering
from exchange_kernel.state.stores import IntentStateStore

TAKEOVER_MS = 5_000


async def acknowledge(store: IntentStateStore, started: Collection[str], clock: Clock, ids: Ids) -> str:
    """End the store's suspicion, if every account can be made RECOVERING first. Returns what prevents it, or "".

    ``started``: accounts whose kernels in this process began with the suspicion. The others must not forget it either:
    whoever runs one of them next begins RECOVERING. One that another process owns cannot be marked from here; the
    suspicion then stands, and the next start meets it again.
    """
    cause = (await store.store_row()).suspicion
    if cause is None:
        return ""
    for account in await store.accounts():
        if account not in started and not await _mark(store, account, cause, clock, ids):
            return f"another process owns account {account}"
    await store.acknowledge_suspicion()
    return ""


async def _mark(store: IntentStateStore, account: str, cause: str, clock: Clock, ids: Ids) -> bool:
    row = await store.account_row(account)
    if row is not None and row.recovering is not None:
        return True
    lease = await store.execute(AcquireLease(account, owner_name(ids.new(4)), TAKEOVER_MS))
    if lease is None:
        return False
    now = clock.now_ms()
    event = RecoveryStarted(account=account, at=now, cause=cause)
    state: dict[str, object] = {"cause": cause, "since": now, "events": 0 if row is None else row.event_seq}
    await store.execute(SetRecovering(account, lease.epoch, state, event))
    await store.execute(RenewLease(account, lease.epoch, 0))
    return True
