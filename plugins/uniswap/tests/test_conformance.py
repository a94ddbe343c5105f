"""Cases of the conformance kit on the venue, on a chain of its own. All of them: ``exk conformance run uniswap``."""

from __future__ import annotations

import pytest

from exchange_kernel.testing.conformance import all_cases, run_cases
from exchange_kernel_uniswap.conformance import UniswapHarness
from exchange_kernel_uniswap.testing import UniswapStack
from plugins.uniswap.tests.resting_harness import RestingHarness

CASES = {case.id: case for case in all_cases()}
HERE = (
    *("LIFE-01", "LIFE-03", "LIFE-04", "LIFE-06", "LIFE-07", "META-01", "META-02", "META-03", "META-07"),
    *("PREC-01", "PREC-02", "PREC-03", "PREC-06", "PREC-07", "PREC-09", "IDEM-08", "IDEM-01", "IDEM-04"),
    *("IDEM-05", "IDEM-06", "UNK-01", "UNK-07", "UNK-10", "UNK-11", "CXL-03", "CHN-01", "CHN-02", "CHN-04"),
    *("CHN-08", "FILL-03", "MOD-08", "MOD-09", "EVT-07", "EVT-08", "EVT-09", "BAD-01", "BAD-02", "BAD-05"),
)

RESTING = (
    *("LIFE-05", "LIFE-08", "LIFE-09", "CXL-01", "CXL-02", "CXL-06", "CHN-05", "CHN-06", "BAL-05", "REC-02", "BAD-03"),
    *("IDEM-03", "IDEM-13", "RATE-01"),
)
"""Cases that wait for an order to rest, or end it."""


@pytest.mark.parametrize("name", HERE)
def test_the_venue_keeps_the_contract(uniswap_running: UniswapStack, name: str) -> None:
    """As the kit sees it, past the adapter."""
    (result,) = run_cases([CASES[name]], lambda: UniswapHarness(uniswap_running))

    assert (result.status, result.reason) == ("passed", "")


def test_a_declared_deviation_is_one(uniswap_running: UniswapStack) -> None:
    """An order that is not met is not signed, and a swap does not rest: the kit finds both, with the reasons given."""
    for name in ("PREC-05", "LIFE-05", "BAD-06"):
        (result,) = run_cases([CASES[name]], lambda: UniswapHarness(uniswap_running), UniswapHarness.deviations)
        assert result.status == "deviation", result
    assert set(UniswapHarness.deviations) <= CASES.keys()


@pytest.mark.parametrize("name", RESTING)
def test_post_only_orders_rest_as_the_contract_says(uniswap_running: UniswapStack, name: str) -> None:
    """The cases that a swap cannot play, with orders that rest in a pool."""
    (result,) = run_cases([CASES[name]], lambda: RestingHarness(uniswap_running))

    assert (result.status, result.reason) == ("passed", "")
