"""Admission: a desk's own checks of every order, before anything is written."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, Protocol

from exchange_kernel.errors import AdmissionDenied
from exchange_kernel.schema import StandardOrder, SymbolMetadata

__all__ = ["Admission", "AdmissionCheck", "AdmissionRequest", "Denial"]


@dataclass(frozen=True, slots=True)
class AdmissionRequest:
    """An order about to be recorded, already valid for its venue.

    ``action``: ``modify`` replaces ``was``, the order in force, by ``order``; ``place`` has no ``was``. ``notional``:
    the most it is worth, in quote; None: unbounded, or not known. ``market``: what the venue says about the symbol.
    ``actor``: who asks, as the event log would say it. ``now``: ms UTC by the kernel's clock.
    """

    account: str
    venue: str
    action: Literal["place", "modify"]
    intent_id: str
    order: StandardOrder
    was: StandardOrder | None
    notional: Decimal | None
    market: SymbolMetadata
    labels: Mapping[str, str]
    actor: str
    now: int


@dataclass(frozen=True, slots=True)
class Denial:
    """Why an order is refused. ``field``: of the order, or of whatever else decided it; ``rule``: what it breaks, in
    the words of the other errors (``must be …``); ``hint``: what to do."""

    field: str
    rule: str
    hint: str = ""


class AdmissionCheck(Protocol):
    """Called for every order that is placed or changed, on the event loop: synchronous, quick, without I/O."""

    def __call__(self, request: AdmissionRequest, /) -> Iterable[Denial]:
        """Everything that speaks against the order; empty: nothing does. What it raises refuses the order."""
        ...


class Admission:
    """The checks of one account, each with its name. All are asked, and all that is said is reported."""

    def __init__(self, checks: Sequence[tuple[str, AdmissionCheck]] = ()) -> None:
        self._checks = tuple(checks)

    def __bool__(self) -> bool:
        return bool(self._checks)

    def review(self, request: AdmissionRequest) -> None:
        """Raises AdmissionDenied with every denial. A check that fails denies: it was asked for, and did not agree."""
        found = [(name, denial) for name, check in self._checks for denial in _ask(name, check, request)]
        if not found:
            return
        told = [
            AdmissionDenied(
                each.field, getattr(request.order, each.field, ""), f"{each.rule} (check {name})", each.hint
            )
            for name, each in found
        ]
        first = found[0][1]
        raise AdmissionDenied(
            first.field, getattr(request.order, first.field, ""), told[0].rule, first.hint, tuple(map(str, told[1:]))
        )


def _ask(name: str, check: AdmissionCheck, request: AdmissionRequest) -> tuple[Denial, ...]:
    hint = "nothing is admitted while it fails; repair it, or take it out of the account's admission"
    try:
        answer = check(request)
        if inspect.iscoroutine(answer):
            answer.close()
        denials = tuple(answer)
        wrong = next((each for each in denials if not isinstance(each, Denial)), None)
        if wrong is not None:
            raise TypeError(f"it answered {type(wrong).__name__} among its denials")
    except (Exception, SystemExit) as error:
        words = " ".join(str(error).split())[:200]
        rule = f"failed: {type(error).__name__}: {words}"
        raise AdmissionDenied("admission", name, rule, hint) from error
    return denials
