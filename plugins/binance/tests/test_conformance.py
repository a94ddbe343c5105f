"""The conformance kit on the simulated Binance, behind the fault proxy. Also: ``exk conformance run binance``."""

from __future__ import annotations

import pytest

from exchange_kernel.testing.conformance import Case, all_cases, run_cases
from exchange_kernel_binance.conformance import BinanceHarness, HedgeHarness, SpotHarness, UsdmHarness

MISSING = frozenset({"FILL-10"})
"""Binance restates no execution: there is nothing to make this happen with."""


HEDGED = (
    *("META-03", "META-07", "PREC-01", "PREC-05", "IDEM-01", "UNK-01", "CXL-05", "MOD-01", "FILL-01"),
    *("BAL-10", "REC-01"),
)
"""What hedge mode could break: what is declared, what is sent, what is found again."""


@pytest.mark.parametrize("market", [SpotHarness, UsdmHarness], ids=["spot", "usdm"])
@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.id)
def test_it_keeps_the_contract(case: Case, market: type[BinanceHarness]) -> None:
    """As the kit sees it, past the adapter; what a market type does not offer is declared so, and refused."""
    (result,) = run_cases([case], market)

    wanted = ("missing",) if case.id in MISSING else ("passed", "unsupported")
    assert result.status in wanted, result.reason


@pytest.mark.parametrize("name", HEDGED)
def test_it_keeps_the_contract_in_hedge_mode(name: str) -> None:
    """Long and short side by side: the orders are the same, and each says its leg on the wire."""
    (case,) = (case for case in all_cases() if case.id == name)
    (result,) = run_cases([case], HedgeHarness)

    assert result.status == "passed", result.reason
