"""Allowances as steps of their own, and what a simulated transfer tells, on a real node."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import pytest

from exchange_kernel.errors import InvalidMetadata, Unsupported
from exchange_kernel.venue import Enable, Found, NeedsFirst, Ref, StepReport
from exchange_kernel_evm.adapter import EvmAdapter
from exchange_kernel_evm.allowances import allowance_need
from exchange_kernel_evm.endpoint import Endpoint
from exchange_kernel_evm.policy import PolicyRefused
from exchange_kernel_evm.tokens import ALLOWANCE, Allow, Token, transfer_tax, transfer_tax_request
from plugins.evm.tests import test_frame, weth
from plugins.evm.tests.chain import ADDRESSES, CONFIRMATIONS, MULTICALL3, WETH, Node
from plugins.evm.tests.test_frame import CLOCK, KEY, Desk

TOKEN = Token(WETH, "WETH", 18, reset_first=True)


class Spending(weth.Weth):
    """The WETH venue with somebody to approve, and a token that is to be reset first."""

    @property
    def spenders(self) -> frozenset[str]:
        return frozenset({MULTICALL3})

    @property
    def tokens(self) -> tuple[Token, ...]:
        return (TOKEN,)


def allowed(node: Node) -> int:
    node.calm()
    data = "0x" + ALLOWANCE.call(ADDRESSES["main"], MULTICALL3).hex()
    return int(node("eth_call", {"to": WETH, "data": data}, "latest"), 16)


def enable(need: NeedsFirst | None, amount: int, key: bytes = KEY) -> Enable:
    """As the kernel makes it: a name that nobody's order draws on has no amount."""
    assert need is not None
    return Enable(key, need.name, need.body, Decimal(0 if need.name.startswith("reset:") else amount))


def test_an_allowance_is_set_step_by_step_and_reported(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exact, reset first where its token wants that, each step one transaction, and nothing where nothing is needed."""
    monkeypatch.setattr(weth, "adapter", lambda: EvmAdapter(Spending))

    async def play(desk: Desk) -> None:
        ticket = await desk.prepare(enable(allowance_need(TOKEN, MULTICALL3, 5, 0), 5))
        await desk.adapter.submit(ticket)
        assert allowed(node) == 5
        node.mine(CONFIRMATIONS + 1)
        answer = await desk.adapter.lookup(Ref(KEY, "", None, CLOCK.now_ms(), (), (ticket,)))
        assert isinstance(answer, Found)
        (step,) = answer.reports
        assert isinstance(step, StepReport)
        assert (step.state, step.final, step.key) == ("done", True, KEY)
        assert step.costs[0].amount > 0
        for expected in (0, 9):
            need = allowance_need(TOKEN, MULTICALL3, 9, allowed(node))
            await desk.adapter.submit(await desk.prepare(enable(need, 9, bytes([expected]) * 16)))
            assert allowed(node) == expected
        assert allowance_need(TOKEN, MULTICALL3, 9, allowed(node)) is None
        ahead = allowance_need(TOKEN, MULTICALL3, 10, 0, Allow("bounded", 50))
        await desk.adapter.submit(await desk.prepare(enable(ahead, 12, b"b" * 16)))
        assert allowed(node) == 50
        with pytest.raises(Unsupported):
            await desk.prepare(Enable(KEY, "nothing", {"token": WETH, "spender": MULTICALL3}))
        with pytest.raises(Unsupported):
            await desk.prepare(Enable(KEY, "hedge mode", {}))
        with pytest.raises(PolicyRefused, match="spender"):
            await desk.prepare(Enable(KEY, "x", {"token": WETH, "spender": ADDRESSES["second"]}, Decimal(9)))

    test_frame.on(node, play)


def test_a_transfer_is_simulated_before_its_token_is_trusted(node: Node) -> None:
    """An honest token loses nothing on the way; one that does not move is refused; nothing really happens."""

    async def scene() -> None:
        node("anvil_setStorageAt", WETH, test_frame._slot_of(ADDRESSES["main"]), f"0x{100:064x}")
        endpoint = Endpoint(node.url)
        try:
            for units in (100, 101):
                method, params = transfer_tax_request(TOKEN, ADDRESSES["main"], ADDRESSES["second"], units)
                answer = await endpoint.call(method, *params)
                if units == 100:
                    assert transfer_tax(answer, units) == 0
                    answer[0]["calls"][2]["returnData"] = f"0x{97:064x}"
                    assert transfer_tax(answer, units) == 3
                else:
                    with pytest.raises(InvalidMetadata, match="reverts"):
                        transfer_tax(answer, units)
        finally:
            await endpoint.close()

    asyncio.run(scene())
    assert (node.weth(), node.weth("second"), node.nonce()) == (100, 0, 0)
