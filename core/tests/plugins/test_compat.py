"""Which cores a plugin goes with, from its requirement alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.specifiers import SpecifierSet

from exchange_kernel.plugins.compat import canonical, needs

NUMBERS = st.lists(st.integers(0, 3), min_size=1, max_size=4).map(lambda numbers: ".".join(map(str, numbers)))
CLAUSES = st.lists(st.tuples(st.sampled_from((">=", "<=", ">", "<")), NUMBERS).map("".join), max_size=3)


@given(CLAUSES, NUMBERS)
def test_plain_requirements_are_read_as_packaging_reads_them(clauses: list[str], version: str) -> None:
    """The short way through plain numbers never differs from the standard's own library."""
    spec = ",".join(clauses)
    found = needs([f"exchange-kernel{spec}"], version)

    assert (found.problem == "") == SpecifierSet(spec).contains(version, prereleases=True)
    assert found.bounded == any(clause.startswith("<") for clause in clauses)
    assert found.stated


@pytest.mark.parametrize(
    ("line", "version", "problem"),
    [
        ("exchange-kernel", "0.1.0", ""),
        ("Exchange.Kernel (>=0.1)", "0.1.0", ""),
        ("exchange-kernel ~= 0.1.0", "0.1.7", ""),
        ("exchange-kernel ~= 0.1.0", "0.2.0", "needs exchange-kernel~= 0.1.0, and this is 0.2.0"),
        ("exchange-kernel==0.1.*", "0.1.4", ""),
        ("exchange-kernel!=0.1.4", "0.1.4", "needs"),
        ("exchange-kernel>=0.1,<0.2", "0.2.0rc1", "needs"),
        ("exchange-kernel>=0.1,<0.3", "0.2.0rc1", ""),
        ("exchange-kernel[postgres]>=9", "0.1.0", "needs exchange-kernel>=9"),
        ("exchange-kernel>=9; python_version < '3'", "0.1.0", ""),
        ("exchange-kernel>=9; extra == 'all'", "0.1.0", ""),
        ("exchange-kernel>=9; python_version > '3'", "0.1.0", "needs exchange-kernel>=9"),
        ("exchange-kernel >=one", "0.1.0", "cannot be read"),
        ("exchange-kernel >=1; nonsense", "0.1.0", "cannot be read"),
        ("exchange-kernel-paper>=9", "0.1.0", ""),
        ("!!!", "0.1.0", ""),
    ],
)
def test_every_form_of_requirement_is_understood(line: str, version: str, problem: str) -> None:
    """Extras, markers, compatible releases, pre-releases; what cannot be read is a problem."""
    found = needs(["msgspec>=0.20", line], version)

    assert problem in found.problem
    assert bool(found.problem) == bool(problem)


def test_several_requirements_all_count() -> None:
    """A distribution may require the core in more than one line."""
    assert needs(["exchange-kernel>=0.1", "exchange-kernel<0.2"], "0.3").problem
    assert needs(["exchange-kernel>=0.1", "exchange-kernel<0.2"], "0.1").bounded
    assert not needs(None, "0.1").stated


def test_names_compare_as_installers_compare_them() -> None:
    """Runs of dashes, dots and underscores are one dash, and case does not count."""
    assert canonical("Exchange_.-Kernel") == "exchange-kernel"
