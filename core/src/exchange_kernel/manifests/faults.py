"""What is wrong in manifests: every error at once, each with its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from exchange_kernel.config.strict_yaml import Place
from exchange_kernel.errors import ExchangeKernelError, FieldError, shown

__all__ = ["Fault", "ManifestError"]

SHOWN = 50
"""Faults that a message names one by one."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: where, in which field, its value, the rule that it breaks, and what to do."""

    place: Place
    field: str
    value: str
    rule: str
    hint: str = ""

    @classmethod
    def of(cls, place: Place, field: str, error: FieldError) -> Fault:
        """An error of the schema, at its place."""
        return cls(place, field, error.value, error.rule, error.hint)

    @classmethod
    def at(cls, place: Place, field: str, value: object, rule: str, hint: str = "") -> Fault:
        """A rule of the manifests themselves. ``value`` "": there is none to show."""
        return cls(place, field, "" if value == "" else shown(value), rule, hint)

    def __str__(self) -> str:
        where = f"{self.place.file}:{self.place.line}:{self.place.column}"
        what = f"{self.field} {self.value}".rstrip()
        return f"{where}: {what}: {self.rule}" + (f"; {self.hint}" if self.hint else "")

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, for programs."""
        return {
            "file": self.place.file,
            "line": self.place.line,
            "column": self.place.column,
            "field": self.field,
            "value": self.value,
            "rule": self.rule,
            "hint": self.hint,
        }


class ManifestError(ExchangeKernelError):
    """Manifests cannot be applied: ``faults``, in the order of the files. Nothing of them was written."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        lines = [str(each) for each in self.faults[:SHOWN]]
        if len(self.faults) > SHOWN:
            lines.append(f"and {len(self.faults) - SHOWN} more")
        super().__init__("\n".join(lines))
