"""Is the order that the venue has the one that was previewed, with all its terms?"""

from __future__ import annotations

from collections.abc import Iterator

from exchange_kernel.schema import AmountType
from exchange_kernel.testing.conformance.bench import Bench, Placed
from exchange_kernel.testing.conformance.harness import TruthOrder
from exchange_kernel.venue import OrderReport, Spec

__all__ = ["expect_arrived"]


async def expect_arrived(bench: Bench, placed: Placed, sent: Spec) -> None:
    """The venue has exactly this order, and the adapter reports it as what it is."""
    report = await bench.found(placed)
    for _ in range(2):
        if await bench.truth(placed) or not bench.harness.offers("settle"):
            break
        await bench.harness.settle()  # an order in a pool is no order yet
    order = await bench.one(placed)
    for name, asked, got in _compared(sent, order, report):
        bench.expect(asked == got, f"{name} of the order at the venue is {got}, previewed was {asked}")


def _compared(sent: Spec, order: TruthOrder, report: OrderReport) -> Iterator[tuple[str, object, object]]:
    yield "symbol", sent.symbol, order.symbol
    yield "side", sent.side.value, str(order.side)
    yield "amount", sent.amount, order.amount
    if order.price is not None:
        yield "limit", sent.limit, order.price
    if order.display is not None and sent.amount_in is AmountType.BASE:
        yield "display", sent.amount if sent.display is None else sent.display, order.display
    if order.tif is not None and sent.limit is not None:
        yield "time in force", sent.tif.value, order.tif
    if order.post_only is not None:
        yield "post-only", sent.post_only, order.post_only
    if report.amount is not None:
        yield "amount, as reported,", sent.amount, report.amount
    if report.price is not None:
        yield "limit, as reported,", sent.limit, report.price
    yield "side, as reported,", sent.side, report.side
