"""The conformance kit on the venue, on a chain of its own: every case there is."""

from __future__ import annotations

import pytest

from exchange_kernel.testing.conformance import all_cases, run_cases
from exchange_kernel_uniswap.conformance import UniswapHarness
from exchange_kernel_uniswap.testing import UniswapStack

CASES = {case.id: case for case in all_cases()}


@pytest.mark.parametrize("name", CASES)
def test_the_venue_keeps_the_contract(uniswap_running: UniswapStack, name: str) -> None:
    """As the kit sees it, past the adapter: nothing fails but for a declared reason."""
    (result,) = run_cases([CASES[name]], lambda: UniswapHarness(uniswap_running), UniswapHarness.deviations)

    assert result.status != "failed", result.reason
