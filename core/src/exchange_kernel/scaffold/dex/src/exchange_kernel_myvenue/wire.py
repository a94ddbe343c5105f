"""The way to the node: bytes out, bytes back. What is a function call here becomes an HTTP client for JSON-RPC.

What must stay true of it: one request per call, never repeated by itself, and ``ConnectionError`` when no answer came.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field

from .venue import Chain


@dataclass(slots=True)
class Armed:
    """A fault for the next ``times`` occasions, once ``after`` of them have passed."""

    kind: str
    on: str
    times: int
    ms: int
    after: int


@dataclass(slots=True)
class Faults:
    """What goes wrong on the way to one chain, for tests, and how much arrived there in spite of it."""

    armed: list[Armed] = field(default_factory=list)
    down_until: int = 0
    requests: int = 0
    changes: int = 0

    def draw(self, *on: str) -> tuple[str, int]:
        """The fault that strikes now, and its ms; "" for none."""
        for each in self.armed:
            if each.on not in on:
                continue
            if each.after:
                each.after -= 1
                continue
            each.times -= 1
            if not each.times:
                self.armed.remove(each)
            return each.kind, each.ms
        return "", 0


VENUES: dict[str, tuple[Chain, Faults]] = {}
"""The chains of this process, by name."""


def connect(name: str, clock: Callable[[], int]) -> tuple[Chain, Wire]:
    """A connection to a node of the chain of that name, which is made if it is not there. ``clock``: ms UTC."""
    if name not in VENUES:
        VENUES[name] = Chain(clock), Faults()
    chain, faults = VENUES[name]
    return chain, Wire(chain, faults)


class Wire:
    """A connection to a node. ``faults`` are shared by everybody's connections to this chain."""

    def __init__(self, chain: Chain, faults: Faults) -> None:
        self._chain, self._faults = chain, faults

    async def call(self, data: bytes, *, change: bool = False) -> bytes:
        """Send one request, once. Raises ConnectionError when no answer came, whatever became of the request."""
        chain, faults = self._chain, self._faults
        kind, ms = faults.draw("change" if change else "read", "any")
        await asyncio.sleep(ms / 1000 if kind == "slow" else 0.001)
        if chain.clock() < faults.down_until or kind == "request_lost":
            raise ConnectionError("the connection broke")
        if kind == "late":
            asyncio.get_running_loop().call_later(ms / 1000, self._arrive, data, change)
            raise ConnectionError("the connection broke")
        if kind in ("unavailable", "read_fails"):
            self._count(change)
            return self._refusal("SERVER", "internal error")
        if kind in ("rate_limit", "read_limited", "banned"):
            self._count(change)
            return self._refusal(
                "BANNED" if kind == "banned" else "RATE", "too many requests", retry=chain.clock() + ms
            )
        answer = self._arrive(data, change)
        if kind == "answer_lost":
            raise ConnectionError("the connection broke")
        if kind == "error_after":
            return self._refusal("SERVER", "internal error")
        if kind == "node_refuses":
            return self._refusal("UNDERPRICED", "its fee is too low")
        return answer[: len(answer) // 2] if kind in ("garbled", "read_garbled") else answer

    def _arrive(self, data: bytes, change: bool) -> bytes:
        self._count(change)
        return self._chain.serve(data)

    def _count(self, change: bool) -> None:
        self._faults.requests += 1
        self._faults.changes += change

    def _refusal(self, code: str, message: str, **more: int) -> bytes:
        return json.dumps({"t": self._chain.clock(), "code": code, "message": message, **more}).encode()
