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
    "turns",
    "metadata",
    "precision",
    "idempotency",
    "unknown",
    "refusals",
    "cancel",
    "fills",
    "modify",
    "limits",
    "groups",
    "legs",
    "chain",
    "events",
    "prices",
    "balances",
    "watermarks",
    "restart",
    "security",
)
"""The modules of :mod:`.cases`, in the order they run."""


class Polled(Value, frozen=True):
    """What proves a case's promise where events are polled: what that needs of the harness, and the check."""

    needs: tuple[Fault | str, ...]
    check: Check


class Case(Value, frozen=True):
    """One case. ``rule``: the rule of the contract it proves; ``needs``: faults and names of controls it uses.

    ``polled``: what runs instead where the harness says that events are polled; None: the same.
    ``features``: capabilities of the symbol without which there is nothing to test (their refusal is META-03's);
    ``ioc|fok``: without one of these.
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
    polled: Polled | None = None

    def missing(self, harness: Harness) -> str:
        """What the harness lacks to run it, or ""."""
        for need in self.needs if self.polled is None or not harness.polled else self.polled.needs:
            if isinstance(need, Fault):
                if need not in harness.faults:
                    return f"the harness cannot make the fault {need.value}"
            elif not harness.offers(need):
                return f"the harness has no {need}()"
        return ""

    def check_of(self, harness: Harness) -> Check:
        """What to run for it."""
        return self.check if self.polled is None or not harness.polled else self.polled.check


_CASES: dict[str, Case] = {}


def case(
    name: str,
    title: str,
    *,
    grade: Grade,
    rule: str,
    needs: tuple[Fault | str, ...] = (),
    features: tuple[str, ...] = (),
    polled: Polled | None = None,
) -> Callable[[Check], Check]:
    """Register a case under a stable id. The function's docstring says what breaks where the case fails."""

    def register(check: Check) -> Check:
        if name in _CASES:
            raise ValueError(f"case {name} exists twice")
        group = check.__module__.rpartition(".")[2]
        doc = (check.__doc__ or "").strip()
        if not doc:
            raise ValueError(f"case {name} has no docstring")
        _CASES[name] = Case(name, title, group, grade, rule, needs, features, check, doc, polled)
        return check

    return register


def all_cases() -> tuple[Case, ...]:
    """Every case of this kit, by group."""
    for group in GROUPS:
        import_module(f"exchange_kernel.testing.conformance.cases.{group}")
    return tuple(sorted(_CASES.values(), key=lambda each: (GROUPS.index(each.group), each.id)))
