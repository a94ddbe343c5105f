"""``dedupe: onchain``: the router executes an order once, whatever number or copy of the store it comes from."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_utils.address import to_checksum_address

from exchange_kernel.clock import SystemClock
from exchange_kernel.errors import ConfigError
from exchange_kernel.models import IntentStatus
from exchange_kernel.schema import AmountType, Side, StandardOrder, TimeInForce
from exchange_kernel.testing.faults import FaultProxy
from exchange_kernel.venue import Context, Found, OrderReport, Place, Prep, Ref, Slot, Spec, Ticket, VenueStatus
from exchange_kernel_evm.body import read_body
from exchange_kernel_evm.policy import Guard, Policy, PolicyRefused
from exchange_kernel_evm.tokens import APPROVE, Token, permit2_steps
from exchange_kernel_uniswap.adapter import UniswapAdapter
from exchange_kernel_uniswap.deployment import MAINNET
from exchange_kernel_uniswap.once import EXECUTE_SIGNED, NONCES_USED, nonce_of
from exchange_kernel_uniswap.testing import UNIVERSAL_ROUTER_2_1 as AT
from plugins.evm.tests.scenes import SEND, Make
from plugins.evm.tests.table import ENDED
from plugins.uniswap.tests.desk import ACCOUNT, Desk, record_of
from plugins.uniswap.tests.ground import EVERYTHING, Node, Trader, configuration
from plugins.uniswap.tests.table import ERC20, make
from plugins.uniswap.tests.table import allow as swaps

__all__ = ["make"]

CLOCK = SystemClock()
UNIVERSAL_ROUTER_2_1 = to_checksum_address(AT)
ONCE = {"universal_router": UNIVERSAL_ROUTER_2_1, "universal_router_version": "2.1", "dedupe": "onchain"}
KEY = b"an order, once.."
FILLED = IntentStatus.FILLED


@asynccontextmanager
async def session(node: Node, trader: Trader, *versions: str, **config: Any) -> AsyncIterator[UniswapAdapter]:
    """An adapter of the account, opened."""
    adapter = UniswapAdapter()
    settings = {**configuration(*versions), "rpc": node.url, "confirmations": 1, "poll_ms": 50, **config}
    secrets = {"key": "0x" + bytes(trader.account.key).hex()}
    await adapter.open(Context("main", settings, CLOCK.now_ms, CLOCK.sleep, secrets))
    try:
        yield adapter
    finally:
        await adapter.close()


async def ticket(
    adapter: UniswapAdapter, number: int, key: bytes = KEY, amount: str = "0.3", limit: int = 1500
) -> Ticket:
    """To sell some WETH, under a number of the account."""
    spec = Spec("WETH/USDC", Side.SELL, Decimal(amount), limit=Decimal(limit), tif=TimeInForce.FOK)
    now = CLOCK.now_ms()
    prep = Prep(now, now + 60_000, lambda scope: Slot(scope, number))
    made = await adapter.prepare(Place(key, adapter.check(spec).spec), prep)
    assert isinstance(made, Ticket), made
    return made


def allow(trader: Trader) -> None:
    """Permit2 may take WETH, and the router from Permit2."""
    assert trader.send(ERC20["WETH"][0], APPROVE.call(MAINNET.permit2, EVERYTHING))[0].ok
    (step,) = permit2_steps(
        Token(ERC20["WETH"][0], "WETH", 18), MAINNET.permit2, UNIVERSAL_ROUTER_2_1, (0, 0), 10**30, 2**40
    )
    assert trader.send(step.to, step.data)[0].ok


@pytest.mark.parametrize("version", ["v2", "v3", "v4"])
@pytest.mark.parametrize("side", list(Side))
def test_an_order_is_one_signed_execution(
    node: Node, trader: Trader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str, side: Side
) -> None:
    """In pools of every release, both sides: one transaction to the router's executeSigned under the order's tag, its
    nonce is used from then on, and exactly what was asked for has moved."""
    desk = Desk(node, trader, tmp_path, version, symbols=["WETH/USDC"], **ONCE)
    for name, value in desk.environment.items():
        monkeypatch.setenv(name, value)
    exact_in = AmountType.BASE if side is Side.SELL else AmountType.QUOTE
    amount = Decimal("0.2") if side is Side.SELL else Decimal(600)
    slip = Decimal("0.05")
    order = StandardOrder("WETH/USDC", side, amount, exact_in, max_slippage=slip, time_in_force=TimeInForce.FOK)

    async def scene() -> None:
        before = desk.evidence()
        async with desk.platform() as platform:
            kernel = platform[ACCOUNT]
            await kernel.place_order(order, "a")
            state = await desk.reaches(kernel, "a", *ENDED)
            assert state.status is FILLED, state
            record = await record_of(platform, "a")
        before.judge(record)
        swaps = [tx for tx, _ in before.transactions() if tx["to"].lower() == UNIVERSAL_ROUTER_2_1.lower()]
        (one,) = swaps
        assert EXECUTE_SIGNED.arguments(bytes.fromhex(one["input"][2:])) is not None
        key = record.attempts[0].key
        assert trader.view(UNIVERSAL_ROUTER_2_1, NONCES_USED, trader.address, nonce_of(key)) == (True,)
        asset = "WETH" if side is Side.SELL else "USDC"
        assert before.moved[asset] == -int(amount.scaleb(ERC20[asset][1]))

    asyncio.run(scene())


def test_under_another_number_the_same_order_is_refused_by_the_router_and_told_as_executed(
    node: Node, trader: Trader
) -> None:
    """Two copies of a store that know nothing of one another send one order under two numbers: one swap. The second
    one's transaction is reverted, and its order is told as what the first one executed, its own gas besides."""
    allow(trader)

    async def scene() -> None:
        before = Desk(node, trader, Path(), "v3").evidence()
        async with session(node, trader, "v3", **ONCE) as one, session(node, trader, "v3", **ONCE) as other:
            number = before.nonce()
            first, second = await ticket(one, number), await ticket(other, number + 1)
            await one.submit(first)
            await other.submit(second)
            node("anvil_mine", "0x3")
            assert [receipt["status"] for _, receipt in before.transactions()] == ["0x1", "0x0"]
            assert before.swaps("v3") == 1
            ref = Ref(KEY, "WETH/USDC", None, CLOCK.now_ms() - 60_000, (), (second,))
            answer = await other.lookup(ref)
            assert isinstance(answer, Found)
            (report,) = answer.reports
            assert isinstance(report, OrderReport)
            body = read_body(first, trader.address, 1)
            assert (report.status, report.final) == (VenueStatus.FILLED, True)
            assert report.filled.base == Decimal("0.3")
            assert all(body.tx.hash in fill.id for fill in report.fills)
            assert body.tx.hash in report.text
            gas = sum((cost.amount for cost in report.costs if cost.kind == "network"), Decimal(0))
            paid = [int(r["gasUsed"], 16) * int(r["effectiveGasPrice"], 16) for _, r in before.transactions()]
            assert gas.scaleb(18) == sum(paid)

    asyncio.run(scene())


def test_a_stranger_cannot_hand_the_signed_order_in(node: Node, trader: Trader) -> None:
    """Whoever copies the calldata out of a pool is refused, and the order is done by the account's own transaction."""
    allow(trader)
    stranger = Trader(node, Account.from_key("0x" + "c8" * 32))
    node("anvil_setBalance", stranger.address, hex(10**20))

    async def scene() -> None:
        before = Desk(node, trader, Path(), "v3").evidence()
        async with session(node, trader, "v3", **ONCE) as adapter:
            made = await ticket(adapter, before.nonce())
            tx = read_body(made, trader.address, 1).tx.unsigned
            theirs, _ = stranger.send(tx.to, tx.data)
            assert not theirs.ok
            await adapter.submit(made)
            node("anvil_mine", "0x3")
            assert before.swaps("v3") == 1

    asyncio.run(scene())


@pytest.mark.parametrize("dedupe", ["number", "onchain"])
def test_a_copy_of_the_store_that_used_the_orders_number_has_executed_it(
    node: Node, trader: Trader, make: Make, dedupe: str
) -> None:
    """Its transaction has another hash than ours, the order's number and its tag: it is the order. Nothing is sent
    again, and the books have what it did."""
    allow(trader)

    async def scene() -> None:
        async with FaultProxy(node.url) as relay:
            config = ONCE if dedupe == "onchain" else {}
            table = make(broadcast=relay.url, **config)
            lost = relay.drop_request(rpc=SEND, times=None)
            async with table.kernel() as kernel:
                await kernel.place_order(table.order("0.3"), "a")
                await lost.wait()
                record = await table.record("a")
                (row,) = record.tickets
                assert row.ticket.slot is not None
                async with session(node, trader, "v3", **config) as copy:
                    theirs = await ticket(copy, row.ticket.slot.number, record.attempts[0].key)
                    assert theirs.ids != row.ticket.ids
                    await copy.submit(theirs)
                lost.clear()
                state = await table.reaches(kernel, "a", *ENDED)
                happened = (await table.record("a"), [each.tx for each in table.evidence.transactions()])
                assert (state.status, state.filled_base) == (FILLED, Decimal("0.3")), happened
                assert len((await table.record("a")).attempts) == 1
                assert table.swaps() == 1
                assert table.evidence.used == 1

    asyncio.run(scene())


PAST: dict[str, dict[str, Any]] = {
    "pruned": {"error": {"code": -32000, "message": "missing trie node 0xab"}},
    "of another branch": {"result": hex(10**6)},
}


@pytest.mark.parametrize("past", PAST)
@pytest.mark.parametrize("dedupe", ["number", "onchain"])
def test_a_copys_swap_is_found_by_nodes_whose_old_states_are_no_use(
    node: Node, trader: Trader, dedupe: str, past: str
) -> None:
    """They no longer say how many transactions the account had at an older block, or say it of another branch: the
    blocks since the order was made are read instead. What is there is the order: it is never told as absent, which
    would have it sent a second time."""
    allow(trader)
    swaps(trader)
    asked: set[int] = set()

    def of_the_past(body: bytes) -> bool:
        calls = json.loads(body)
        calls = calls if isinstance(calls, list) else [calls]
        counts = [call for call in calls if call["method"] == "eth_getTransactionCount"]
        # The state at the final block is kept, and asked for together with the newest.
        past = [call for call in counts if len(counts) == 1 and call["params"][1].startswith("0x")]
        asked.update(call["id"] for call in past)
        return bool(past)

    def missing(body: bytes) -> bytes:
        said = json.loads(body)
        rows = [
            {"jsonrpc": "2.0", "id": row["id"], **PAST[past]} if row["id"] in asked else row
            for row in (said if isinstance(said, list) else [said])
        ]
        return json.dumps(rows if isinstance(said, list) else rows[0]).encode()

    async def scene() -> None:
        config = ONCE if dedupe == "onchain" else {}
        async with FaultProxy(node.url) as relay:
            pruned = relay.garble(missing, times=None, request_body=of_the_past)
            number = int(node("eth_getTransactionCount", trader.address, "latest"), 16)
            placed = CLOCK.now_ms()
            async with (
                session(node, trader, "v3", **config) as copy,
                session(node, trader, "v3", **config, rpc=relay.url) as adapter,
            ):
                ours, theirs = await ticket(adapter, number), await ticket(copy, number, limit=1400)
                assert ours.ids != theirs.ids
                await copy.submit(theirs)
                node("anvil_mine", "0x20")
                ref = Ref(KEY, "WETH/USDC", None, placed, (), (ours,))
                answer = await adapter.lookup(ref)
                assert pruned.hits > 0
                assert isinstance(answer, Found), answer
                (report,) = answer.reports
                assert isinstance(report, OrderReport)
                assert (report.final, report.filled.base) == (True, Decimal("0.3"))

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("config", "field", "rule"),
    [
        ({"dedupe": "onchain"}, "dedupe", "executeSigned"),
        ({"dedupe": "yes"}, "dedupe", "number or onchain"),
        ({"dedupe": "onchain", "universal_router_version": "2.1"}, "universal_router", "on this chain"),
    ],
    ids=["the release has none", "no such way", "the contract has none"],
)
def test_a_router_that_cannot_is_refused_before_anything_else(
    node: Node, trader: Trader, config: dict[str, Any], field: str, rule: str
) -> None:
    """What the configuration says of the release is believed only as far as the contract on the chain agrees."""

    async def scene() -> None:
        async with session(node, trader, "v3", **config):
            raise AssertionError("it was opened")

    with pytest.raises(ConfigError, match=rule) as error:
        asyncio.run(scene())
    assert error.value.field == field


def test_the_policy_signs_nothing_that_somebody_else_may_hand_in() -> None:
    """Typed data that names another sender is refused, whatever contract it is for."""
    guard = Guard(Policy(1, frozenset({UNIVERSAL_ROUTER_2_1})), "0x" + "11" * 20)
    domain = {"chainId": 1, "verifyingContract": UNIVERSAL_ROUTER_2_1}
    guard.check_typed({"domain": domain, "message": {"sender": guard.address}})
    with pytest.raises(PolicyRefused, match="sender"):
        guard.check_typed({"domain": domain, "message": {"sender": "0x" + "22" * 20}})


def test_what_was_signed_is_read_back_from_the_calldata(node: Node, trader: Trader) -> None:
    """A kernel that lost its store finds the order by its tag, and knows what it was."""
    allow(trader)

    async def scene() -> None:
        before = Desk(node, trader, Path(), "v3").evidence()
        since = CLOCK.now_ms()
        async with session(node, trader, "v3", **ONCE) as adapter:
            await adapter.submit(await ticket(adapter, before.nonce()))
            node("anvil_mine", "0x3")
        async with session(node, trader, "v3", **ONCE) as adapter:
            answer = await adapter.lookup(Ref(KEY, "WETH/USDC", None, since, (), ()))
            assert isinstance(answer, Found)
            (report,) = answer.reports
            assert isinstance(report, OrderReport)
            assert (report.side, report.amount, report.filled.base) == (Side.SELL, Decimal("0.3"), Decimal("0.3"))

    asyncio.run(scene())
