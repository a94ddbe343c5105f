"""Several operations as one: all of them, or none."""

from __future__ import annotations

from typing import Any

from exchange_kernel.models import Desired, IntentStatus
from exchange_kernel.state.unit import IntentKey, Needs, Operation, Unit, Writes, union
from exchange_kernel.value import Value, revised

__all__ = ["LookAt", "Seen", "Together"]


class Together(Value, frozen=True):
    """Apply operations in their order, all or none. Raises what the first one that cannot be applied raises; then
    nothing of any is written. Returns their results.

    They are tried on a copy first, for an operation that fails changes nothing while those before it have.
    """

    operations: tuple[Any, ...]

    def needs(self) -> Needs:
        return union(each.needs() for each in self._all())

    def apply(self, unit: Unit) -> tuple[Any, ...]:
        trial = _copy(unit)
        for each in self._all():
            each.apply(trial)
        return tuple(each.apply(unit) for each in self._all())

    def _all(self) -> tuple[Operation, ...]:
        return self.operations


def _copy(unit: Unit) -> Unit:
    return Unit(
        now=unit.now,
        store=revised(unit.store),
        accounts={name: revised(row) for name, row in unit.accounts.items()},
        leases=dict(unit.leases),
        intents={key: revised(head) for key, head in unit.intents.items()},
        positions=dict(unit.positions),
        writes=Writes(),
    )


class Seen(Value, frozen=True):
    """An intent as it stands: enough to say whether what is declared is what is stored."""

    generation: int
    desired: Desired
    status: IntentStatus
    spec_hash: str


class LookAt(Value, frozen=True):
    """Which of these intents exist, and how they stand, all at one moment. Writes nothing."""

    intents: tuple[IntentKey, ...]

    def needs(self) -> Needs:
        return Needs(intents=self.intents)

    def apply(self, unit: Unit) -> dict[IntentKey, Seen]:
        heads = ((key, unit.intents.get(key)) for key in self.intents)
        return {
            key: Seen(head.generation, head.desired, head.status, head.spec_hash)
            for key, head in heads
            if head is not None
        }
