"""The kit catches every planted defect by the case meant for it, and finds nothing wrong with the correct adapter."""

from __future__ import annotations

import importlib
import pkgutil
from functools import partial

import pytest

from exchange_kernel.testing.conformance import Case, all_cases, run_cases
from exchange_kernel.testing.conformance.run import run_case
from exchange_kernel_paper.conformance import PaperHarness
from tests.conformance import defects
from tests.conformance.defects.registry import DEFECTS, BrokenHarness

for module in pkgutil.iter_modules(defects.__path__):
    importlib.import_module(f"tests.conformance.defects.{module.name}")

CASES = {case.id: case for case in all_cases()}
FENCES = ("time_window", "sequence", "height", "permanent_key", "none")


@pytest.mark.parametrize("name", sorted(DEFECTS))
def test_the_case_meant_for_it_catches_the_defect(name: str) -> None:
    """The broken adapter fails exactly where it should, and the correct one passes there."""
    planted = DEFECTS[name]
    case = CASES[planted.case]
    broken = run_case(case, BrokenHarness(planted))
    assert broken.status == "failed", f"{planted.case} does not catch {name}: {broken}"
    sound = run_case(case, PaperHarness(**planted.settings))
    assert sound.status == "passed", f"{planted.case} fails the correct adapter: {sound}"


@pytest.mark.parametrize("fence", FENCES)
def test_the_paper_venue_passes_without_deviation(fence: str) -> None:
    """Every case on every fence preset: passed, or about something this preset does not offer. Nothing is missing."""
    results = run_cases(CASES.values(), partial(PaperHarness, fence=fence))
    wrong = [result for result in results if result.status not in ("passed", "unsupported")]
    assert not wrong


def test_every_case_has_passed_somewhere() -> None:
    """No case is "unsupported" on every preset: a case that never ran proves nothing."""
    ran: set[str] = set()
    for fence in FENCES:
        ran |= {r.id for r in run_cases(CASES.values(), partial(PaperHarness, fence=fence)) if r.status == "passed"}
    assert set(CASES) - ran == set()


def test_ids_have_the_shape_of_ids() -> None:
    """Ids are stable names: letters, a dash, two digits."""
    for case in CASES.values():
        assert isinstance(case, Case)
        letters, _, digits = case.id.partition("-")
        assert letters.isupper() and digits.isdigit() and len(digits) == 2
