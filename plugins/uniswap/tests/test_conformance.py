"""The conformance kit on the venue, on a chain of its own: every case there is."""

from __future__ import annotations

import pytest

from exchange_kernel.testing.conformance import all_cases, run_cases
from exchange_kernel_uniswap.conformance import SPEED, UniswapHarness
from exchange_kernel_uniswap.testing import UniswapStack

CASES = {case.id: case for case in all_cases()}
LONG = {"REC-06": 2}
"""Cases in which a whole kernel trades for long, and how fast their time goes."""


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", CASES)
def test_the_venue_keeps_the_contract(uniswap_running: UniswapStack, name: str) -> None:
    """As the kit sees it, past the adapter: nothing fails but for a declared reason."""

    def harness() -> UniswapHarness:
        return UniswapHarness(uniswap_running, LONG.get(name, SPEED))

    (result,) = run_cases([CASES[name]], harness, UniswapHarness.deviations)

    assert result.status != "failed", result.reason
