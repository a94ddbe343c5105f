"""What would be sent, and by which way, without a signature and without a trace."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from exchange_kernel.schema import AmountType, Side, TimeInForce
from exchange_kernel.venue import Place, Prep, Slot, Spec, Ticket
from plugins.uniswap.tests.ground import Node, Trader
from plugins.uniswap.tests.table import allow
from plugins.uniswap.tests.test_once_on_chain import CLOCK, session


def test_a_dry_ticket_says_the_transaction_the_route_and_the_quote(node: Node, trader: Trader) -> None:
    """To which contract, along which pools, what was quoted and the least that is taken, and what the gas may cost;
    nothing is signed, and the account's number is where it was."""
    allow(trader)

    async def scene() -> None:
        before = node("eth_getTransactionCount", trader.address, "pending")
        async with session(node, trader, "v3") as adapter:
            now = CLOCK.now_ms()
            limit = Decimal("1500")
            spec = Spec("WETH/USDC", Side.SELL, Decimal("0.3"), AmountType.BASE, limit=limit, tif=TimeInForce.FOK)
            prep = Prep(now, now + 60_000, lambda scope: Slot(scope, 7), dry=True)
            made = await adapter.prepare(Place(b"\1" * 16, adapter.check(spec).spec), prep)
        assert isinstance(made, Ticket), made
        assert (made.body, made.ids) == (b"", ())
        for said in (
            "transaction 7 to 0x68b3465833fb72A70ecDF485E0e4C7bD8665Fc45",
            "sell exactly 0.3 WETH for at least 450 USDC along v3 ",
            "quoted 8",
            "gwei",
        ):
            assert said in made.note, made.note
        assert node("eth_getTransactionCount", trader.address, "pending") == before

    asyncio.run(scene())
