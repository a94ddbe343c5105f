"""The conformance kit on the simulated Binance, behind the fault proxy. Also: ``exk conformance run binance``."""

from __future__ import annotations

import pytest

from exchange_kernel.testing.conformance import Case, all_cases, run_cases
from exchange_kernel_binance.conformance import BinanceHarness, SpotHarness, UsdmHarness

MISSING = frozenset({"FILL-10"})
"""Binance restates no execution: there is nothing to make this happen with."""


@pytest.mark.parametrize("market", [SpotHarness, UsdmHarness], ids=["spot", "usdm"])
@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.id)
def test_it_keeps_the_contract(case: Case, market: type[BinanceHarness]) -> None:
    """As the kit sees it, past the adapter; what a market type does not offer is declared so, and refused."""
    (result,) = run_cases([case], market)

    wanted = ("missing",) if case.id in MISSING else ("passed", "unsupported")
    assert result.status in wanted, result.reason
