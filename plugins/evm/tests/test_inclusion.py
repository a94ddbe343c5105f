"""What was read of a transaction in a block is read once, and again as soon as its block may be gone."""

from __future__ import annotations

import asyncio

import pytest

from exchange_kernel.venue import Absent, VenueStatus
from exchange_kernel_evm.finality import Mined
from exchange_kernel_evm.inclusion import KEPT, Included, on_branch
from exchange_kernel_evm.rpc import Block
from plugins.evm.tests import weth
from plugins.evm.tests.chain import CONFIRMATIONS, Node
from plugins.evm.tests.test_frame import Desk, on, only

RECEIPT, POOL = "eth_getTransactionReceipt", "eth_getTransactionByHash"


def line(*names: str, below: str = "", start: int = 0) -> dict[str, Block]:
    """Headers, each the parent of the next."""
    parents = [below, *names]
    return {name: Block(start + n, name, parents[n], 0, 0) for n, name in enumerate(names)}


def mined(name: str, block: Block) -> Mined:
    return Mined(name, block.number, block.hash, 0, True, 21_000)


ONE = line("a", "b", "c", "d")
OTHER = line("c2", "d2", "e2", below="b", start=2)


@pytest.mark.parametrize(
    ("block", "head", "known", "expected"),
    [
        ("c", "d", "abcd", True),
        ("d", "d", "", True),
        ("c", "e2", "c2 d2", False),
        ("b", "e2", "c2 d2", None),
        ("b", "e2", "b c2 d2", True),
        ("b", "d", "abd", None),
        ("d", "c", "abcd", False),
    ],
    ids=["ancestor", "itself", "a branch beside it", "a header is missing", "below the fork", "a gap", "ahead of it"],
)
def test_a_block_is_on_the_branch_only_where_every_header_between_says_so(
    block: str, head: str, known: str, expected: bool | None
) -> None:
    """A missing header is no evidence of anything."""
    every = ONE | OTHER
    headers = {name: every[name] for name in (known.split() if " " in known else known)}
    assert on_branch(every[block].hash, every[block].number, every[head], headers) is expected


def test_what_was_final_stays_and_what_was_not_goes_with_its_block() -> None:
    """A final one is known without its headers; one on a branch that is left is not, and neither is a stranger."""
    headers = dict(ONE)
    kept = Included(headers)
    for name in ("b", "c"):
        kept.keep(mined(f"in {name}", ONE[name]), ONE[name])
    assert kept.get("in b", ONE["d"], 1) == mined("in b", ONE["b"])
    assert kept.get("in c", ONE["d"], 1) == mined("in c", ONE["c"])
    assert kept.get("never read", ONE["d"], 1) is None
    headers |= OTHER
    assert kept.get("in c", OTHER["e2"], 1) is None
    headers.clear()
    assert kept.get("in b", OTHER["e2"], 1) == mined("in b", ONE["b"])
    assert kept.get("in c", OTHER["e2"], 9) is None
    assert kept.get("in c", None, 9) is None


def test_a_gap_of_headers_costs_one_more_read() -> None:
    """It was read when the newest block was a later one: from there on the headers are whole."""
    kept = Included({name: ONE[name] for name in ("a", "d")})
    kept.keep(mined("in b", ONE["b"]), ONE["b"])
    assert kept.get("in b", ONE["d"], 0) is None
    kept.keep(mined("in b", ONE["b"]), ONE["d"])
    assert kept.get("in b", ONE["d"], 0) == mined("in b", ONE["b"])
    e = Block(4, "e", "d", 0, 0)
    assert kept.get("in b", e, 0) == mined("in b", ONE["b"])
    kept.keep(mined("in d", ONE["d"]), ONE["b"])  # mined while it was read
    assert kept.get("in d", e, 0) == mined("in d", ONE["d"])


def test_a_bounded_number_is_kept() -> None:
    """The one that was read first is read again."""
    kept = Included(ONE)
    for n in range(KEPT + 1):
        kept.keep(mined(str(n), ONE["b"]), ONE["b"])
    assert kept.get("0", ONE["d"], 0) is None
    assert kept.get("1", ONE["d"], 0) is not None


def test_a_swap_costs_one_receipt_however_often_it_is_looked_up(node: Node) -> None:
    """Until it is mined its number tells that there is none; afterwards it is read once, and kept until it is final."""

    async def play(desk: Desk) -> None:
        counts = desk.adapter._rpc.counts  # type: ignore[attr-defined]
        ticket = await desk.place(weth.order())
        node("evm_setAutomine", False)
        try:
            await desk.adapter.submit(ticket)
            before = counts.copy()
            for _ in range(3):
                assert only(await desk.look(ticket)).status is VenueStatus.PENDING
            assert (counts - before)[RECEIPT] == 0
            assert (counts - before)[POOL] == 2  # at first a node had just said that it took it
            await desk.adapter.submit(ticket)
            node("anvil_dropTransaction", ticket.ids[0].value)
            node.mine(1)
            assert isinstance(await desk.look(ticket), Absent)
            await desk.adapter.submit(ticket)
        finally:
            node("evm_setAutomine", True)
        node.mine(1)
        before = counts.copy()
        for _ in range(CONFIRMATIONS + 2):
            for _ in range(2):
                assert only(await desk.look(ticket)).status is VenueStatus.FILLED
            node.mine(1)
        assert only(await desk.look(ticket)).final
        assert (counts - before)[RECEIPT] == 1
        assert (counts - before)[POOL] <= 2  # asked along with the number that showed it mined, and its repetition

    on(node, play)


@pytest.mark.parametrize("again", [False, True], ids=["gone", "in another block"])
def test_a_receipt_is_read_again_after_a_reorganisation(node: Node, again: bool) -> None:
    """What the block that went had shown is told no more; what the new one shows is."""

    async def play(desk: Desk) -> None:
        counts = desk.adapter._rpc.counts  # type: ignore[attr-defined]
        ticket = await desk.place(weth.order())
        snapshot = node("evm_snapshot")
        await desk.submit(ticket)
        assert only(await desk.look(ticket)).status is VenueStatus.FILLED
        node.reorganise(snapshot, 0)
        if again:
            await desk.submit(ticket)
        node.mine(1)
        before = counts.copy()
        answer = await desk.look(ticket)
        if again:
            assert only(answer).status is VenueStatus.FILLED
            assert (counts - before)[RECEIPT] == 1
        else:
            assert isinstance(answer, Absent)

    on(node, play)


def test_who_asks_at_the_same_moment_waits_for_the_one_answer(node: Node) -> None:
    """Five looks at once read one receipt."""

    async def play(desk: Desk) -> None:
        counts = desk.adapter._rpc.counts  # type: ignore[attr-defined]
        ticket = await desk.place(weth.order())
        await desk.submit(ticket)
        before = counts.copy()
        for answer in await asyncio.gather(*(desk.look(ticket) for _ in range(5))):
            assert only(answer).status is VenueStatus.FILLED
        assert (counts - before)[RECEIPT] == 1

    on(node, play)
