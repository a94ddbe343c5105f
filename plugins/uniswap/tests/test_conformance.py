"""The conformance kit on the venue, on a chain of its own: every case there is."""

from __future__ import annotations

import pytest

from exchange_kernel.testing.conformance import all_cases, run_cases
from exchange_kernel_uniswap.conformance import SPEED, UniswapHarness
from exchange_kernel_uniswap.testing import UniswapStack

CASES = {case.id: case for case in all_cases()}
ONCE = (
    "IDEM-01",
    "IDEM-02",
    "IDEM-03",
    "IDEM-05",
    "CHN-01",
    "CHN-02",
    "CHN-03",
    "UNK-01",
    "UNK-02",
    "CXL-01",
    "LIFE-01",
)
"""Played again where the router executes each order once; of the other cases nothing depends on that."""
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


@pytest.mark.parametrize("name", ONCE)
def test_it_does_so_where_the_router_executes_each_order_once(uniswap_running: UniswapStack, name: str) -> None:
    """Other calldata, another contract, and the same promises."""
    (result,) = run_cases([CASES[name]], lambda: UniswapHarness(uniswap_running, once=True), UniswapHarness.deviations)

    assert result.status != "failed", result.reason
