"""Grades follow from results, and from nothing else."""

from __future__ import annotations

import pytest

from exchange_kernel.testing.conformance import Case, Report, Result, all_cases

BRONZE = tuple(case for case in all_cases() if case.grade == "bronze")
SILVER = tuple(case for case in all_cases() if case.grade in ("bronze", "silver"))


def report(cases: tuple[Case, ...], **others: str) -> Report:
    """A run in which every case passed but those named."""
    results = tuple(Result(case.id, others.get(case.id.replace("-", "_"), "passed")) for case in cases)  # type: ignore[arg-type]
    return Report("acme", "kit 0", "plugin 0", results, {})


def test_a_grade_needs_all_cases_of_it_and_below() -> None:
    """One case that failed, deviates or could not run keeps the grade out of reach; one about something the venue does
    not offer does not."""
    assert report(SILVER).grade(SILVER) == "silver"
    for status, grade in (("failed", None), ("deviation", None), ("missing", None), ("unsupported", "silver")):
        assert report(SILVER, LIFE_01=status).grade(SILVER) == grade
    silver = next(case for case in SILVER if case.grade == "silver")
    assert report(SILVER, **{silver.id.replace("-", "_"): "failed"}).grade(SILVER) == "bronze"


def test_a_case_that_did_not_run_counts_as_not_passed() -> None:
    """Leaving a case out is no way to a grade."""
    assert report(BRONZE[1:]).grade(BRONZE) is None


@pytest.mark.parametrize(("cases", "best"), [(BRONZE, "bronze"), (SILVER, "silver")])
def test_a_grade_that_no_case_asks_for_is_not_given(cases: tuple[Case, ...], best: str) -> None:
    """Without any gold case nobody is gold."""
    assert report(cases).grade(cases) == best
