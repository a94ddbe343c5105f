"""Workers with one shortcut each, that the chaos must convict.

``CHAOS_MUTANT=NAME python -m tests.chaos.mutants run …`` is ``exk run …`` with that defect. They are planted from
outside, at the seams of the real code; the product has no switch for any of them.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

from exchange_kernel.cli.main import main
from exchange_kernel.reconcile import decide as decide_module
from exchange_kernel.state.ops import AcquireLease
from exchange_kernel.state.rows import Lease
from exchange_kernel.state.unit import Unit
from tests.chaos.plan import Size

SERVERS = ("postgres", "valkey", "postgres line", "valkey line", "venue line", "api")


@dataclass(frozen=True)
class Mutant:
    """One shortcut. ``rule``: what it breaks; ``kills``: the invariants that may convict it; ``without``: faults that
    are left out, so that those under which it shows come often; ``size``, ``seed``: of a run that convicts it."""

    rule: str
    kills: tuple[str, ...]
    plant: Callable[[], None]
    without: tuple[str, ...]
    size: Size
    seed: int

    @property
    def narrowed(self) -> Size:
        """Its run, without what is left out."""
        return replace(self.size, without=self.without)


def _no_epoch() -> None:
    Unit.check_epoch = lambda self, account, epoch: None  # type: ignore[method-assign]


def _epoch_of_redis() -> None:
    real = AcquireLease.apply

    def apply(self: AcquireLease, unit: Unit) -> Lease | None:
        lease = real(self, unit)
        if lease is None:
            return None
        counted = Lease(lease.account, lease.owner, _count(f"epoch:{lease.account}"), lease.expires_at)
        unit.leases[lease.account] = counted
        return counted

    AcquireLease.apply = apply  # type: ignore[method-assign]


def _count(name: str) -> int:
    """INCR; 1 where nobody answers, as somebody would have it who takes Redis for granted."""
    try:
        with socket.create_connection(("127.0.0.1", int(os.environ["CHAOS_VALKEY"])), 1.0) as line:
            line.sendall(f"INCR {name}\r\n".encode())
            return int(line.recv(64).decode().strip().removeprefix(":"))
    except (OSError, ValueError):
        return 1


def _absence_believed() -> None:
    decide_module.proves_dead = lambda ref, looks, opened: bool(looks)  # type: ignore[attr-defined]


MUTANTS: dict[str, Mutant] = {
    "lease without epoch": Mutant(
        "R31",
        ("S8",),
        _no_epoch,
        (*SERVERS, "venue", "worker killed", "worker drained"),
        Size(intents=400, rate=10.0, every=15.0, accounts=6, workers=2),
        seed=4,
    ),
    "epoch from Redis": Mutant(
        "R31",
        ("S8",),
        _epoch_of_redis,
        (
            *("postgres", "postgres line", "venue line", "api", "venue", "valkey line", "valkey killed"),
            *("valkey stopped", "worker stopped past its lease", "worker drained"),
        ),
        Size(intents=250, rate=10.0, every=2.5, accounts=6, workers=2),
        seed=3,
    ),
    "sent again on not found": Mutant(
        "R11",
        ("S1", "S2", "S3", "S10"),
        _absence_believed,
        (*SERVERS, "worker", "venue loses requests", "venue loses answers"),
        Size(intents=150, rate=10.0, every=3.0, accounts=6, workers=2),
        seed=1,
    ),
}


if __name__ == "__main__":
    MUTANTS[os.environ["CHAOS_MUTANT"]].plant()
    sys.argv[0] = "exk"
    main()
