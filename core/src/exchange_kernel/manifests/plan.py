"""What must be written so that the store says what the manifests say. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from exchange_kernel.manifests.faults import Fault
from exchange_kernel.manifests.reading import Declared
from exchange_kernel.models import Desired
from exchange_kernel.schema import StandardOrder
from exchange_kernel.state.together import Seen

__all__ = ["FIXED", "Action", "Step", "changes", "fixed_faults", "plan"]

FIXED: Final = ("symbol_id", "side", "amount_type", "conditional_mode")
"""What an intent keeps for its life."""


class Action(StrEnum):
    """What is to be done about one declared order."""

    CREATE = "created"
    MODIFY = "modified"
    UNCHANGED = "unchanged"
    PRUNE = "pruned"


@dataclass(frozen=True, slots=True)
class Step:
    """One declared order, what is to be done about it, and how it stands now (None: it does not exist)."""

    action: Action
    declared: Declared
    seen: Seen | None


def plan(declared: Sequence[Declared], seen: Mapping[tuple[str, str], Seen]) -> tuple[list[Step], list[Fault]]:
    """The steps, in the order of the manifests, and what stands in the way: orders that are finished are never changed,
    and never made again under their name."""
    steps: list[Step] = []
    faults: list[Fault] = []
    for each in declared:
        known = seen.get((each.account, each.name))
        if known is None:
            steps.append(Step(Action.CREATE, each, None))
        elif known.spec_hash == each.order.spec_hash():
            steps.append(Step(Action.UNCHANGED, each, known))
        elif known.status.terminal or known.desired is Desired.CANCELED:
            was = f"is finished ({known.status})" if known.status.terminal else "is to be cancelled"
            faults.append(
                Fault.at(
                    each.place("metadata.name"),
                    "metadata.name",
                    each.name,
                    f"{was} in account {each.account}, with another order",
                    "what is over is never changed or made again: give the new order a new name",
                )
            )
        else:
            steps.append(Step(Action.MODIFY, each, known))
    return steps, faults


def changes(was: StandardOrder, now: StandardOrder) -> dict[str, tuple[object, object]]:
    """The fields in which two orders differ, as text: before and after; None where one has none."""
    before, after = was.to_dict(), now.to_dict()
    names = (*before, *(name for name in after if name not in before))
    return {name: (before.get(name), after.get(name)) for name in names if before.get(name) != after.get(name)}


def fixed_faults(declared: Declared, was: StandardOrder) -> list[Fault]:
    """Fields that an intent cannot change."""
    found = []
    for name in FIXED:
        before, after = getattr(was, name), getattr(declared.order, name)
        if before != after:
            rule = f"is {before} in intent {declared.name} and cannot change"
            found.append(
                Fault.at(declared.place(name), name, str(after), rule, "cancel it, and give the new order a new name")
            )
    return found
