"""The conformance kit on the simulated Binance, behind the fault proxy. Also: ``exk conformance run binance``."""

from __future__ import annotations

import pytest

from exchange_kernel.testing.conformance import Case, all_cases, run_cases
from exchange_kernel_binance.conformance import SpotHarness

MISSING = frozenset({"FILL-10"})
"""Binance restates no execution: there is nothing to make this happen with."""


@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.id)
def test_spot_keeps_the_contract(case: Case) -> None:
    """As the kit sees it, past the adapter; what spot does not offer is declared so, and refused."""
    (result,) = run_cases([case], SpotHarness)

    wanted = ("missing",) if case.id in MISSING else ("passed", "unsupported")
    assert result.status in wanted, result.reason
