"""The conformance kit on the WETH venue: the frame keeps the contract, and the line to a venue is well drawn."""

from __future__ import annotations

import pytest

from exchange_kernel.testing.conformance.suite import VenueConformance
from plugins.evm.tests.chain import Node
from plugins.evm.tests.harness import WethHarness

# One case makes every request of a lookup slow, one after the other, and blocks come once a second.
pytestmark = pytest.mark.timeout(600)


class TestWeth(VenueConformance):
    @pytest.fixture
    def harness(self, node: Node) -> WethHarness:
        return WethHarness(node)
