"""Names that users give: ids of accounts and intents, labels, and who did something and why."""

from __future__ import annotations

import re
from collections.abc import Mapping

from exchange_kernel.errors import FieldError, InvalidOrder

__all__ = ["check_accountable", "check_id", "check_labels", "new_id"]

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}", re.ASCII)
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,62}", re.ASCII)


def new_id(now: int, fresh: bytes) -> str:
    """An intent id: the time (ms UTC), and ``fresh`` randomness, which alone makes it unique.

    With the time in front, what is written together stands together in a database, however much it holds.
    """
    return f"{now:011x}{fresh.hex()}"


def check_id(field: str, value: object, error: type[FieldError] = InvalidOrder) -> None:
    """Ids are 1 to 64 characters of A-Z a-z 0-9 . _ : - and begin with a letter or digit. Raises ``error``."""
    if not isinstance(value, str) or _ID.fullmatch(value) is None:
        raise error(field, value, "must be 1 to 64 characters of A-Z a-z 0-9 . _ : - beginning with a letter or digit")


def check_labels(labels: Mapping[str, str] | None) -> dict[str, str]:
    """Labels: at most 32, names like ids, values text of at most 256 characters. Raises InvalidOrder."""
    out = dict(labels or {})
    if len(out) > 32:
        raise InvalidOrder("labels", str(len(out)), "at most 32 labels")
    for name, value in out.items():
        if not isinstance(name, str) or _LABEL.fullmatch(name) is None:
            raise InvalidOrder("labels", name, "a label's name is 1 to 63 characters of A-Z a-z 0-9 . _ / -")
        if not isinstance(value, str) or len(value) > 256:
            raise InvalidOrder(f"labels.{name}", str(value), "a label's value is text of at most 256 characters")
    return out


def check_accountable(actor: str, reason: str) -> None:
    """Who did something, and why: text that says something. Raises InvalidOrder."""
    for field, value in (("actor", actor), ("reason", reason)):
        if not isinstance(value, str) or not value.strip():
            raise InvalidOrder(field, value, "must say who, or why", "it is kept in the event log")
