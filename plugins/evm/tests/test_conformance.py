"""Cases of the conformance kit on the WETH venue, on a real node: about numbers, fees, copies and the ledger's time.

The rest is not run here. Most of it needs an order that rests, and in this venue every order is done in the block that
takes it.
"""

from __future__ import annotations

import pytest

from exchange_kernel.testing.conformance import all_cases, run_cases
from plugins.evm.tests.chain import Node
from plugins.evm.tests.harness import WethHarness

CASES = {case.id: case for case in all_cases()}
HERE = ("CHN-01", "CHN-02", "CHN-03", "CHN-04", "CHN-07", "CHN-08", "IDEM-06", "EVT-01", "UNK-07")


@pytest.mark.parametrize("name", HERE)
def test_the_frame_keeps_the_contract(node: Node, name: str) -> None:
    """The frame and a venue of a hundred and sixty lines on it."""
    (result,) = run_cases([CASES[name]], lambda: WethHarness(node))

    assert (result.status, result.reason) == ("passed", "")
