"""What chains and nodes do to swaps, through a real kernel: the same scenes as for every on-chain venue, and the same
word of the chain on them."""

from __future__ import annotations

import asyncio

import pytest

from plugins.evm.tests import chain, scenes
from plugins.evm.tests.scenes import Make
from plugins.uniswap.tests.ground import Node
from plugins.uniswap.tests.table import SwapTable, make

__all__ = ["make"]

NODES = [
    ("answer lost after broadcast", False),
    ("broadcast arrives twice", False),
    ("refused, and taken", True),
    ("broadcast limited", False),
    ("reads limited", False),
    ("reads limited", True),
    ("reads fail", True),
    ("slower than anybody waits", False),
    ("slower than anybody waits", True),
    ("slow", False),
    ("lying: an old block", False),
    ("lying: an old block", True),
]


@pytest.mark.parametrize(("fault", "spare"), NODES, ids=[f"{f}-{'two' if s else 'one'}" for f, s in NODES])
def test_through_a_nodes_fault_an_order_is_one_swap(node: Node, make: Make, fault: str, spare: bool) -> None:
    """Three orders, the fault arriving with the second: three swaps, one for each tag, all booked."""
    tables: list[SwapTable] = []

    def kept(**config: object) -> SwapTable:
        tables.append(make(**config))  # type: ignore[arg-type]
        return tables[-1]

    asyncio.run(scenes.through_a_fault(kept, chain.Node(node.url), fault, spare=spare))
    assert tables[0].swaps() == 3


def test_a_node_that_is_down_for_a_while_costs_time_and_nothing_else(node: Node, make: Make) -> None:
    """Nothing can be reached while the order is placed: it is executed when the node is back, once."""
    asyncio.run(scenes.down_for_a_while(make, chain.Node(node.url)))


def test_a_number_that_another_wallet_burnt_is_given_up_for_a_new_one(node: Node, make: Make) -> None:
    """The swap never arrived; once that is final it is proved dead and signed anew, under the next number: once."""
    asyncio.run(scenes.burnt_by_another_wallet(make, chain.Node(node.url)))


@pytest.mark.parametrize("mined", [False, True])
def test_a_number_taken_from_a_swap_that_was_seen_is_given_up_too(make: Make, mined: bool) -> None:
    """The swap waited in the pool, or was in a block that is gone, when another wallet used its number: done once."""
    asyncio.run(scenes.burnt_after_it_was_seen(make(), mined=mined))


def test_a_number_that_was_never_used_is_burnt(node: Node, make: Make) -> None:
    """Nothing arrives before the order's time is up: a transfer of nothing uses its number, and the next is done."""
    asyncio.run(scenes.burnt_because_never_used(make, chain.Node(node.url)))


def test_a_cancel_of_what_waits_costs_gas_and_swaps_nothing(make: Make) -> None:
    """A transfer of nothing takes the swap's number while blocks have no room for the swap."""
    asyncio.run(scenes.cancelled_while_it_waits(make()))


def test_a_swap_that_the_pool_forgets_is_sent_again(make: Make) -> None:
    """Twice the node drops it: the very same bytes come back, and are executed once."""
    asyncio.run(scenes.dropped(make()))


def test_when_the_base_fee_leaps_the_swap_is_replaced(make: Make) -> None:
    """Its cap is below the base fee of every block: replaced under its number, executed once."""
    asyncio.run(scenes.base_fee_leaps(make()))


def test_a_reorganisation_takes_a_swap_back_and_it_is_done_once(make: Make) -> None:
    """In a block, gone with it, and sent again: nothing is booked before it is final, and then once."""
    asyncio.run(scenes.taken_back(make()))
