"""Nodes that are down, slow, lying, strict or garbled, with a real kernel: every order is exactly one transaction."""

from __future__ import annotations

import asyncio

import pytest

from plugins.evm.tests import scenes
from plugins.evm.tests.chain import Node
from plugins.evm.tests.scenes import FAULTS, Make


@pytest.mark.parametrize("spare", [False, True], ids=["one node", "with another"])
@pytest.mark.parametrize("fault", FAULTS)
def test_through_every_fault_an_order_is_one_transaction(node: Node, make: Make, fault: str, spare: bool) -> None:
    """Three orders, the fault arriving with the second: three transactions, one for each tag, all booked."""
    asyncio.run(scenes.through_a_fault(make, node, fault, spare=spare))


def test_a_node_that_is_down_for_a_while_costs_time_and_nothing_else(node: Node, make: Make) -> None:
    """Nothing can be reached while orders are placed: they are executed when it is back, once each."""
    asyncio.run(scenes.down_for_a_while(make, node))
