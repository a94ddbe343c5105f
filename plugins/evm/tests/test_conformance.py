"""The conformance kit on the WETH venue, on a real node: every case there is."""

from __future__ import annotations

import pytest

from exchange_kernel.testing.conformance import all_cases, run_cases
from plugins.evm.tests.chain import Node
from plugins.evm.tests.harness import WethHarness

CASES = {case.id: case for case in all_cases()}
WAITS = {
    *("LIFE-05", "LIFE-08", "LIFE-09", "IDEM-11", "IDEM-13", "UNK-12", "CXL-01", "CXL-02", "CXL-06", "CXL-07"),
    *("RATE-01", "RATE-02", "RATE-04", "CHN-05", "CHN-06", "BAL-01", "BAL-02", "BAL-05", "REC-02", "BAD-03", "BAD-06"),
}
"""Cases about orders that rest, or are cancelled: here blocks have no room for them, and they wait in the pool."""
SPARES = {"EVT-02", "EVT-11"}
"""Cases that place orders while reads fail: a ticket is made from what the chain says."""
IN_LINE = "orders are executed in the order of their numbers: one that waits holds up all that were made after it"
DEVIATIONS = {
    "CXL-01": IN_LINE,
    "REC-02": IN_LINE,
    "BAD-03": IN_LINE,
    "FILL-05": "there is one price only, and it is always met: no order of immediate execution finds nothing",
    "META-03": "there is one price only: no amendment has another",
}


@pytest.mark.parametrize("name", CASES)
def test_the_frame_keeps_the_contract(node: Node, name: str) -> None:
    """The frame and a venue of a hundred and sixty lines on it: nothing fails but for a declared reason."""
    (result,) = run_cases(
        [CASES[name]], lambda: WethHarness(node, waits=name in WAITS, spares=name in SPARES), DEVIATIONS
    )

    assert result.status != "failed", result.reason
