"""What a run found, for people and for programs, and the grade that follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from exchange_kernel.testing.conformance.registry import Case, Grade
from exchange_kernel.value import Value

Status = Literal["passed", "failed", "deviation", "missing", "unsupported"]

GRADES: tuple[Grade, ...] = ("bronze", "silver", "gold")


class Result(Value, frozen=True):
    """One case's outcome. ``reason``: why, where it did not pass.

    ``deviation``: it failed as the author says it does. ``missing``: the harness lacks a control. ``unsupported``: the
    venue does not offer what the case is about."""

    id: str
    status: Status
    reason: str = ""
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"id": self.id, "status": self.status, "reason": self.reason, "seconds": round(self.seconds, 3)}


class Report(Value, frozen=True):
    """One run against one venue."""

    venue: str
    kit: str
    plugin: str
    results: tuple[Result, ...]
    capabilities: Mapping[str, Mapping[str, str]]

    @property
    def failed(self) -> tuple[Result, ...]:
        """Cases that failed without being a declared deviation."""
        return tuple(result for result in self.results if result.status == "failed")

    def grade(self, cases: Sequence[Case]) -> Grade | None:
        """The highest grade all of whose cases, and those of the grades below, passed.

        A deviation, or a control that is missing, keeps a grade out of reach; what the venue does not offer does not.
        """
        by_id = {result.id: result for result in self.results}
        reached: Grade | None = None
        for grade in GRADES:
            if not any(each.grade == grade for each in cases):
                return reached  # a grade that nothing asks for says nothing
            for each in cases:
                result = by_id.get(each.id)
                if each.grade == grade and (result is None or result.status not in ("passed", "unsupported")):
                    return reached
            reached = grade
        return reached

    def to_dict(self, cases: Sequence[Case]) -> dict[str, Any]:
        """JSON-able."""
        about = {each.id: each for each in cases}
        return {
            "venue": self.venue,
            "kit": self.kit,
            "plugin": self.plugin,
            "grade": self.grade(cases),
            "capabilities": {symbol: dict(features) for symbol, features in self.capabilities.items()},
            "cases": [
                {
                    "id": result.id,
                    "title": about[result.id].title,
                    "group": about[result.id].group,
                    "grade": about[result.id].grade,
                    "status": result.status,
                    "reason": result.reason,
                    "seconds": round(result.seconds, 3),
                }
                for result in self.results
            ],
        }

    def to_markdown(self, cases: Sequence[Case]) -> str:
        """Results and capabilities as two tables."""
        about = {each.id: each for each in cases}
        lines = [
            f"# Conformance of {self.venue}",
            "",
            f"Kit {self.kit}, {self.plugin}. Grade: **{self.grade(cases) or 'none'}**.",
            "",
            "| case | what must hold | grade | result |",
            "|---|---|---|---|",
        ]
        for result in self.results:
            each = about[result.id]
            reason = f": {result.reason}" if result.reason else ""
            shown = f"{result.status}{reason}".replace("|", "\\|").replace("\n", " ")
            lines.append(f"| {result.id} | {each.title} | {each.grade} | {shown} |")
        if self.capabilities:
            symbols = list(self.capabilities)
            lines += ["", f"| capability | {' | '.join(symbols)} |", "|---" * (len(symbols) + 1) + "|"]
            for feature in next(iter(self.capabilities.values())):
                row = " | ".join(self.capabilities[symbol].get(feature, "") for symbol in symbols)
                lines.append(f"| {feature} | {row} |")
        return "\n".join(lines) + "\n"
