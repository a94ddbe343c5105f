"""What a token allows: scopes per account."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

from exchange_kernel.errors import ConfigError
from exchange_kernel.orders.names import check_id
from exchange_kernel.schema.fields import close_to

__all__ = ["EVERY", "Scope", "allows", "parse_grants"]

EVERY = "*"
"""Stands for every account."""


class Scope(StrEnum):
    """READ: everything about the account. PLACE: declare and change orders. CANCEL: want them gone. ADMIN: all of
    these, halt, resume and resolve. Each of them may read; PLACE may not cancel, CANCEL may not place."""

    READ = "read"
    PLACE = "place"
    CANCEL = "cancel"
    ADMIN = "admin"


def allows(grants: Mapping[str, tuple[str, ...]], account: str, scope: Scope) -> bool:
    """Do these grants allow this on this account? ``account`` ``*``: on all of them at once."""
    held = {*grants.get(account, ()), *grants.get(EVERY, ())}
    return bool(held) if scope is Scope.READ else scope in held or Scope.ADMIN in held


def parse_grants(texts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """From ``ACCOUNT:SCOPE[,SCOPE…]`` each. Raises ConfigError."""
    out: dict[str, tuple[str, ...]] = {}
    for text in texts:
        account, colon, listed = text.rpartition(":")
        scopes = tuple(dict.fromkeys(filter(None, (part.strip() for part in listed.split(",")))))
        if not colon or not scopes:
            raise ConfigError("allow", text, "is not ACCOUNT:SCOPE,SCOPE", "for example binance_main:read,cancel")
        if account != EVERY:
            check_id("allow", account, ConfigError)
        for scope in scopes:
            if scope not in set(Scope):
                near = close_to(scope, set(Scope))
                hint = f"did you mean {near}?" if near else f"there are {', '.join(Scope)}"
                raise ConfigError("allow", scope, "is no scope", hint)
        out[account] = tuple(dict.fromkeys((*out.get(account, ()), *scopes)))
    return out
