"""What of an account's state its owner was told, as its event log says: a new process goes on from there."""

from __future__ import annotations

import json

from exchange_kernel.models import Condition
from exchange_kernel.state.stores import IntentStateStore

KINDS = ("account_config", "credentials", "dead_man")
"""Kinds of notices that hold until they are over."""
PAGE, PAGES = 1_000, 5
"""How much of the log is searched, from its end."""


async def told(store: IntentStateStore, account: str) -> dict[tuple[str, str], Condition]:
    """The conditions that stand, by kind and subject, as far as the newest events tell."""
    row = await store.account_row(account)
    found: dict[tuple[str, str], Condition | None] = {}
    end = 0 if row is None else row.event_seq
    for _ in range(PAGES):
        if end <= 0:
            break
        start = max(0, end - PAGE)
        for event in reversed(await store.event_rows(account, start, end - start)):
            if event.kind != "HealthChanged":
                continue
            body = json.loads(event.body)
            kind, _, subject = str(body["component"]).partition(" ")
            if kind in KINDS:
                stands = None if body["healthy"] else Condition(kind, subject, event.reason, event.at)
                found.setdefault((kind, subject), stands)
        end = start
    return {key: each for key, each in sorted(found.items()) if each is not None}
