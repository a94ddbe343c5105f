"""The cases and their ids. An id never changes its meaning; a case that goes takes its id with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import TYPE_CHECKING, Literal

from exchange_kernel.testing.conformance.harness import Fault, Harness
from exchange_kernel.value import Value

if TYPE_CHECKING:
    from exchange_kernel.testing.conformance.bench import Bench

Grade = Literal["bronze", "silver", "gold"]
Check = Callable[["Bench"], Awaitable[None]]

GROUPS = (
    "lifecycle",
    "metadata",
    "precision",
    "idempotency",
    "unknown",
    "cancel",
    "fills",
    "modify",
    "limits",
    "groups",
    "chain",
    "events",
    "balances",
    "restart",
    "security",
)
"""The modules of :mod:`.cases`, in the order they run."""


class Case(Value, frozen=True):
    """One case. ``rule``: the rule of the contract it proves; ``needs``: faults and names of controls it uses.

    ``features``: capabilities of the symbol without which there is nothing to test (their refusal is META-03's);
    ``any_of``: of these one is enough.
    """

    id: str
    title: str
    group: str
    grade: Grade
    rule: str
    needs: tuple[Fault | str, ...]
    features: tuple[str, ...]
    check: Check
    doc: str
    any_of: tuple[str, ...] = ()

    def missing(self, harness: Harness) -> str:
        """What the harness lacks to run it, or ""."""
        for need in self.needs:
            if isinstance(need, Fault):
                if need not in harness.faults:
                    return f"the harness cannot make the fault {need.value}"
            elif not harness.offers(need):
                return f"the harness has no {need}()"
        return ""


_CASES: dict[str, Case] = {}


def case(
    name: str,
    title: str,
    *,
    grade: Grade,
    rule: str,
    needs: tuple[Fault | str, ...] = (),
    features: tuple[str, ...] = (),
    any_of: tuple[str, ...] = (),
) -> Callable[[Check], Check]:
    """Register a case under a stable id. The function's docstring says what breaks where the case fails."""

    def register(check: Check) -> Check:
        if name in _CASES:
            raise ValueError(f"case {name} exists twice")
        group = check.__module__.rpartition(".")[2]
        doc = (check.__doc__ or "").strip()
        if not doc:
            raise ValueError(f"case {name} has no docstring")
        _CASES[name] = Case(name, title, group, grade, rule, needs, features, check, doc, any_of)
        return check

    return register


def all_cases() -> tuple[Case, ...]:
    """Every case of this kit, by group."""
    for group in GROUPS:
        import_module(f"exchange_kernel.testing.conformance.cases.{group}")
    return tuple(sorted(_CASES.values(), key=lambda each: (GROUPS.index(each.group), each.id)))
