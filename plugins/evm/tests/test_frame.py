"""The frame on a real node: numbers, replacements, finality, reorganisations, and what is found without a database."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from aiohttp import ClientSession, web
from eth_account import Account

from exchange_kernel.clock import SystemClock
from exchange_kernel.errors import InsufficientFunds, NotSent, OrderRefused, OutcomeUnknown, Unavailable, UnknownTarget
from exchange_kernel.testing.faults import FaultProxy
from exchange_kernel.venue import (
    FOREVER,
    Absent,
    Ack,
    Burn,
    Cancel,
    Context,
    FillVoided,
    Found,
    OrderReport,
    Place,
    Prep,
    Ref,
    Slot,
    Spec,
    Ticket,
    VenueAdapter,
    VenueStatus,
    Why,
)
from exchange_kernel_evm.body import read_body
from exchange_kernel_evm.rpc import Rpc
from exchange_kernel_evm.transactions import hash_of, key_of
from plugins.evm.tests import weth
from plugins.evm.tests.chain import ADDRESSES, CONFIRMATIONS, KEYS, WETH, Node

T = TypeVar("T")
KEY, OTHER = b"k" * 16, b"o" * 16
CLOCK = SystemClock()


class Desk:
    """One session, and numbers as the kernel's sequencer gives them."""

    def __init__(self, adapter: VenueAdapter, opened: Any, node: Node) -> None:
        self.adapter, self.opened, self._node = adapter, opened, node
        self.number = opened.scopes[0].floor

    def take(self, scope: str) -> Slot:
        self.number += 1
        return Slot(scope, self.number - 1)

    async def prepare(self, command: Any, instead_of: Ticket | None = None) -> Ticket:
        take = self.take if instead_of is None else lambda _: instead_of.slot
        ticket = await self.adapter.prepare(command, Prep(CLOCK.now_ms(), FOREVER, take, instead_of))  # type: ignore[arg-type]
        assert isinstance(ticket, Ticket)
        return ticket

    async def place(self, spec: Spec, key: bytes = KEY) -> Ticket:
        return await self.prepare(Place(key, self.adapter.check(spec).spec))

    async def submit(self, ticket: Ticket) -> Ack:
        """Returns when the node that mines by itself has done so."""
        ack = await self.adapter.submit(ticket)
        self._node.calm()
        return ack

    async def look(self, *tickets: Ticket, key: bytes = KEY, at: int | None = None) -> Any:
        placed = CLOCK.now_ms() - 5_000 if at is None else at
        return await self.adapter.lookup(Ref(key, weth.SYMBOL, None, placed, (), tickets))


def on(node: Node, play: Callable[[Desk], Awaitable[T]], **config: Any) -> T:
    """Play a scene at an open desk."""

    async def scene() -> T:
        adapter = weth.adapter()
        settings = {"rpc": node.url, "confirmations": CONFIRMATIONS, "poll_ms": 20, **config}
        ctx = Context("main", settings, clock=CLOCK.now_ms, sleep=CLOCK.sleep, secrets={"key": KEYS["main"]})
        opened = await adapter.open(ctx)
        try:
            return await play(Desk(adapter, opened, node))
        finally:
            await adapter.close()

    return asyncio.run(scene())


def only(answer: Any) -> OrderReport:
    assert isinstance(answer, Found)
    (report,) = answer.reports
    assert isinstance(report, OrderReport)
    return report


def test_an_order_is_one_transaction_whose_hash_is_known_before(node: Node) -> None:
    """The chain has the very bytes of the ticket, with the tag, once; balances move by the amount and the gas."""
    eth, before = node.balance(), node.weth()

    async def play(desk: Desk) -> tuple[Ticket, OrderReport, OrderReport]:
        ticket = await desk.place(weth.order(3))
        assert await desk.submit(ticket) == Ack("sent")
        node.calm()
        assert (await desk.submit(ticket)).stage == "duplicate" if node.waiting() else True
        first = only(await desk.look(ticket))
        node.mine(CONFIRMATIONS + 1)
        return ticket, first, only(await desk.look(ticket))

    ticket, first, last = on(node, play)
    (tx,) = node.sent_by()
    body = read_body(ticket, ADDRESSES["main"], 1)
    assert tx["hash"] == hash_of(body.tx.raw) == ticket.ids[0].value
    assert key_of(bytes.fromhex(tx["input"][2:])) == KEY
    assert (first.status, first.final, first.filled.base) == (VenueStatus.FILLED, False, 0)
    assert first.tentative.base == last.filled.base == weth.order(3).amount
    assert last.final
    assert node.weth() - before == 3 * 10**16
    (gas,) = last.costs
    assert eth - node.balance() == 3 * 10**16 + int(gas.amount.scaleb(18))


def test_a_cancel_has_the_number_of_its_order_and_either_takes_effect(node: Node) -> None:
    """While it waits, a transfer of nothing takes its place: the order is over, its gas is told, nothing was bought."""
    node("evm_setAutomine", False)
    before = node.weth()

    async def play(desk: Desk) -> None:
        ticket = await desk.place(weth.order())
        await desk.submit(ticket)
        assert only(await desk.look(ticket)).status is VenueStatus.PENDING
        (shown,) = (await desk.adapter.open_orders(None)).reports
        assert shown.key == KEY
        cancel = await desk.prepare(Cancel(OTHER, Ref(KEY, weth.SYMBOL, None, 0, (), (ticket,))))
        assert cancel.slot == ticket.slot
        assert await desk.submit(cancel) == Ack("sent")
        node.mine(CONFIRMATIONS + 1)
        report = only(await desk.look(ticket, cancel))
        assert (report.status, report.why, report.final, report.key) == (VenueStatus.CANCELED, Why.USER, True, KEY)
        assert report.applied == OTHER
        assert report.costs[0].amount > 0
        with pytest.raises(UnknownTarget):
            await desk.prepare(Cancel(b"x" * 16, Ref(KEY, weth.SYMBOL, None, 0, (), (ticket, cancel))))

    on(node, play)
    assert node.weth() == before
    assert node.nonce() == 1


def test_a_burnt_number_proves_its_order_dead(node: Node) -> None:
    """Spent for good by our own transfer, and only once that is final."""
    node("evm_setAutomine", False)

    async def play(desk: Desk) -> None:
        ticket = await desk.place(weth.order())
        assert ticket.slot is not None
        burn = await desk.prepare(Burn(OTHER, ticket.slot), ticket)
        await desk.submit(burn)
        node.mine(1)
        early = await desk.look(ticket, burn)
        assert isinstance(early, Absent)
        assert not early.at.spent
        node.mine(CONFIRMATIONS)
        late = await desk.look(ticket, burn)
        assert isinstance(late, Absent)
        assert late.at.spent == {ticket.slot}

    on(node, play)


def test_a_number_used_by_another_wallet_is_proved_so(node: Node) -> None:
    """Somebody else signed with the key: the order's absence is final, and the user of the number is who it was."""

    async def play(desk: Desk) -> None:
        ticket = await desk.place(weth.order())
        signed = Account.sign_transaction(
            {
                "chainId": 1,
                "nonce": 0,
                "to": ADDRESSES["second"],
                "value": 1,
                "gas": 21_000,
                "maxFeePerGas": 10**10,
                "maxPriorityFeePerGas": 10**9,
                "type": 2,
            },
            KEYS["main"],
        )
        foreign = node("eth_sendRawTransaction", "0x" + bytes(signed.raw_transaction).hex())
        node.mine(CONFIRMATIONS + 70)
        answer = await desk.look(ticket)
        assert isinstance(answer, Absent)
        assert answer.at.spent == {ticket.slot}
        ledger = desk.adapter._ledger  # type: ignore[attr-defined]
        user = await ledger.user_of(0, node.head() - CONFIRMATIONS, 0)
        assert user is not None
        assert user["hash"] == foreign

    on(node, play)


def test_a_reorganisation_voids_the_fill_and_the_same_bytes_do_it_again(node: Node) -> None:
    """The stream takes the fill back; sent again, the ticket makes the same one order, and never two."""

    async def play(desk: Desk) -> list[Any]:
        seen: list[Any] = []
        mark = node("evm_snapshot")
        stream = desk.adapter.events(None)

        async def until(kind: Callable[[Any], bool]) -> None:
            async with asyncio.timeout(10):
                async for event in stream:
                    seen.append(event.body)
                    if kind(event.body):
                        return

        await anext(stream)
        ticket = await desk.place(weth.order())
        await desk.submit(ticket)
        await until(lambda body: isinstance(body, OrderReport) and bool(body.fills))
        node.reorganise(mark, 2)
        await until(lambda body: isinstance(body, FillVoided))
        assert isinstance(await desk.look(ticket), Absent)
        assert await desk.submit(ticket) == Ack("sent")
        node.mine(CONFIRMATIONS + 1)
        await until(lambda body: isinstance(body, OrderReport) and body.final)
        return seen

    seen = on(node, play)
    fills = [body.fills[0].id for body in seen if isinstance(body, OrderReport) and body.fills]
    voided = [body.id for body in seen if isinstance(body, FillVoided)]
    assert set(voided) == set(fills)
    assert len(set(fills)) == 1
    assert len(node.sent_by()) == 1
    assert node.weth() == 10**16


def test_without_its_database_a_kernel_finds_its_order_by_the_tag(node: Node) -> None:
    """Only the key is known: the account's blocks are searched, and another key is not found in them."""

    async def play(desk: Desk) -> None:
        began = CLOCK.now_ms()
        for key in (KEY, OTHER):
            await desk.submit(await desk.place(weth.order(2), key))
            node.mine(40)
        report = only(await desk.look(key=OTHER, at=began))
        assert (report.key, report.amount, report.filled.base) == (OTHER, weth.order(2).amount, weth.order(2).amount)
        nobody = await desk.look(key=b"n" * 16, at=began)
        assert isinstance(nobody, Absent)
        assert nobody.since <= began

    on(node, play)


def test_a_transaction_that_reverts_is_reported_with_its_gas(node: Node) -> None:
    """The WETH went elsewhere before the block: no fill, and a cost."""

    async def play(desk: Desk) -> None:
        await desk.submit(await desk.place(weth.order(1)))
        node.calm()
        sell = await desk.place(weth.order(1, weth.Side.SELL), OTHER)
        node("anvil_setStorageAt", WETH, _slot_of(ADDRESSES["main"]), "0x" + "00" * 32)
        await desk.submit(sell)
        node.mine(CONFIRMATIONS + 1)
        report = only(await desk.look(sell, key=OTHER))
        assert (report.status, report.why, report.fills, report.final) == (VenueStatus.REJECTED, Why.REVERTED, (), True)
        assert report.costs[0].amount > 0

    on(node, play)


def _slot_of(address: str) -> str:
    from eth_utils.crypto import keccak

    return "0x" + keccak(bytes(12) + bytes.fromhex(address[2:]) + (3).to_bytes(32, "big")).hex()


def test_nothing_is_signed_that_cannot_be_paid_or_may_not_be(node: Node) -> None:
    """Too much for the balance, for the policy, and fees above the limit."""
    limits = {"max_value_eth": "0.015"}

    async def too_much(desk: Desk) -> None:
        with pytest.raises(InsufficientFunds, match="gas included"):
            await desk.place(weth.order(10**9))
        with pytest.raises(InsufficientFunds, match="WETH"):
            await desk.place(weth.order(1, weth.Side.SELL))

    async def forbidden(desk: Desk) -> None:
        await desk.place(weth.order(1))
        with pytest.raises(OrderRefused, match="policy: value"):
            await desk.place(weth.order(2))

    async def dear(desk: Desk) -> None:
        with pytest.raises(OrderRefused, match="base fee"):
            await desk.place(weth.order(1))

    on(node, too_much)
    on(node, forbidden, **limits)
    on(node, dear, max_fee_gwei="0.000000001")
    assert node.nonce() == 0


def test_a_node_that_is_behind_is_not_believed(node: Node) -> None:
    """After block n was seen, a node that shows n - 1 as its newest is asked in vain, and named."""

    async def play(desk: Desk) -> None:
        node.mine(3)
        await desk.adapter.account()
        snapshot = node("evm_snapshot")
        node.mine(3)
        await desk.adapter.account()
        node("evm_revert", snapshot)
        with pytest.raises(Unavailable, match=r"http://127.0.0.1.*after .* was seen"):
            await desk.adapter.account()
        node.mine(3)
        await desk.adapter.account()

    on(node, play)


def test_an_answer_that_is_overtaken_by_a_later_one_is_no_failure(node: Node) -> None:
    """Of two questions at once the second may be answered first, from a newer block: the first is asked again, and the
    node is not one that lags."""

    async def scene() -> None:
        async with FaultProxy(node.url) as slow:
            rpc = Rpc(1, [slow.url], clock=CLOCK.now_ms)
            await rpc.open()
            try:
                late = slow.hold(before="answer")
                first = asyncio.create_task(rpc.call("eth_chainId"))
                await late.wait()
                node.mine(1)
                await rpc.call("eth_gasPrice")
                late.release()
                assert await first == "0x1"
                assert [(each.up, each.failures) for each in rpc.health()] == [(True, 0)]
            finally:
                await rpc.close()

    asyncio.run(scene())


def test_another_node_answers_when_the_first_does_not(node: Node) -> None:
    """Reads go on; transactions go to their own endpoint, and to no other; every request is counted."""

    async def scene() -> None:
        async with FaultProxy(node.url) as first, FaultProxy(node.url) as private:
            adapter = weth.adapter()
            config = {"rpc": [first.url, node.url], "broadcast": private.url, "confirmations": CONFIRMATIONS}
            ctx = Context("main", config, clock=CLOCK.now_ms, sleep=CLOCK.sleep, secrets={"key": KEYS["main"]})
            desk = Desk(adapter, await adapter.open(ctx), node)
            try:
                ticket = await desk.place(weth.order())
                first.drop_request(times=None)
                await adapter.account()
                await desk.submit(ticket)
                assert only(await desk.look(ticket)).status is VenueStatus.FILLED
                assert private.counts(rpc="eth_sendRawTransaction").forwarded == 1
                assert private.counts().forwarded == 2  # its chain id, at open, besides
                assert first.counts(rpc="eth_sendRawTransaction").seen == 0
                counts = adapter._rpc.counts
                assert counts["eth_sendRawTransaction"] == 1
                assert counts["eth_chainId"] == 3
                assert [each.up for each in adapter._rpc.health()] == [False, True, True]
                private.drop_request(rpc="eth_sendRawTransaction")
                lost = await desk.place(weth.order(), OTHER)
                with pytest.raises(OutcomeUnknown):
                    await adapter.submit(lost)
                await private.refuse_connections()
                with pytest.raises(NotSent):
                    await adapter.submit(lost)
            finally:
                await adapter.close()

    asyncio.run(scene())


def test_a_node_of_another_chain_is_refused_at_open(node: Node) -> None:
    """Signed for one chain and sent to another, at best nothing happens."""

    async def play(desk: Desk) -> None:
        raise AssertionError("it was opened")

    with pytest.raises(Exception, match="is a node of chain 1, not of 11155111"):
        on(node, play, chain="sepolia")


def test_new_heads_wake_the_stream_before_it_would_look(node: Node) -> None:
    """With a subscription the stream hears of a block at once, though it looks only every minute."""

    async def play(desk: Desk) -> None:
        stream = desk.adapter.events(None)
        await anext(stream)
        await anext(stream)
        following = asyncio.ensure_future(anext(stream))
        while not desk.adapter._heads.subscribed:  # type: ignore[attr-defined]
            await asyncio.sleep(0.01)
        node.mine()
        async with asyncio.timeout(5):
            await following

    on(node, play, ws=node.ws_url, poll_ms=60_000)


def test_a_node_without_its_receipts_does_not_make_an_order_dead(node: Node) -> None:
    """The number is spent for good and the node shows no receipt: the block that used it shows whose it was."""

    async def lie(request: web.Request) -> web.Response:
        """A node that answers everything but receipts."""
        asked = await request.json()
        async with ClientSession() as http, http.post(node.url, json=asked) as reply:
            answers = await reply.json()
        if isinstance(asked, list):
            hidden = {row["id"] for row in asked if row["method"] == "eth_getTransactionReceipt"}
            answers = [{**row, "result": None} if row["id"] in hidden else row for row in answers]
        return web.json_response(answers)

    async def scene() -> None:
        app = web.Application()
        app.router.add_post("/", lie)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        adapter = weth.adapter()
        config = {"rpc": f"http://{host}:{port}", "confirmations": CONFIRMATIONS}
        ctx = Context("main", config, clock=CLOCK.now_ms, sleep=CLOCK.sleep, secrets={"key": KEYS["main"]})
        desk = Desk(adapter, await adapter.open(ctx), node)
        try:
            ticket = await desk.place(weth.order())
            await adapter.submit(ticket)
            node.mine(CONFIRMATIONS + 1)
            with pytest.raises(Unavailable, match="whose receipt the node does not show"):
                await desk.look(ticket)
        finally:
            await adapter.close()
            await runner.cleanup()

    asyncio.run(scene())
