"""Which plugins may be loaded at all: a list in the configuration, and two switches in the environment."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from exchange_kernel.plugins.compat import canonical

ONLY = "EXK_PLUGINS"
STRICT = "EXK_STRICT_PLUGINS"


@dataclass(frozen=True, slots=True)
class Policy:
    """``allow``: distributions that may be loaded, None: all. ``only``: names of distributions or entry points that are
    looked at, None: all. ``strict``: raise at the first plugin that is not in order."""

    allow: frozenset[str] | None = None
    only: frozenset[str] | None = None
    strict: bool = False

    @classmethod
    def of(cls, allow: Iterable[str] | None = None, environment: Mapping[str, str] | None = None) -> Self:
        """From the configuration's allow-list and the environment: ``EXK_PLUGINS`` (names between commas, "" for none)
        and ``EXK_STRICT_PLUGINS`` (1)."""
        where = os.environ if environment is None else environment
        only = where.get(ONLY)
        return cls(
            None if allow is None else frozenset(canonical(name) for name in allow),
            None if only is None else frozenset(canonical(name.strip()) for name in only.split(",") if name.strip()),
            where.get(STRICT, "") not in ("", "0"),
        )

    def refusal(self, entry_point: str, distribution: str) -> str:
        """Why this plugin may not be loaded, or ""."""
        name = canonical(distribution)
        if self.only is not None and not self.only & {canonical(entry_point), name}:
            return f"not named by {ONLY}"
        if self.allow is not None and name not in self.allow:
            return f"not in plugins.allow: add {distribution} to it"
        return ""
