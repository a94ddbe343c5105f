"""Sending a ticket more than once, as far as its fence allows."""

from __future__ import annotations

from decimal import Decimal

from exchange_kernel.testing.conformance.bench import Bench, Inapplicable, Placed
from exchange_kernel.testing.conformance.evidence import Ids, adopt, landed, settled
from exchange_kernel.value import revised
from exchange_kernel.venue import Amend, Spec, Ticket


def repeatable(placed: Placed) -> Ticket:
    """The attempt's ticket. Raises Inapplicable where its fence does not allow copies: then nobody sends any."""
    if not placed.ticket.fence.repeatable:
        raise Inapplicable("tickets are not repeatable here: the kernel sends each once")
    return placed.ticket


async def copy_makes_nothing(bench: Bench, placed: Placed, ticket: Ticket, before: Ids, when: str) -> None:
    """Send a copy, as far as its time allows, and see that the venue has no order more."""
    if bench.clock.now_ms() <= ticket.send_before:
        await bench.send(placed, ticket)
    await settled(bench)
    fresh = await adopt(bench, placed, before)
    bench.expect(
        not fresh,
        f"a copy of a ticket, {when}, made {fresh!r}; its fence {ticket.fence!r} promises that copies are harmless "
        "at any time: a key remembered for a while, or only while the order is open, is not repeatable",
    )


async def copy_of_an_amendment(bench: Bench) -> None:
    """Two amendments, then a copy of the first: the second stands."""
    placed, _ = await landed(bench, bench.harness.resting(6))
    spec = placed.spec
    made: list[Ticket] = []
    for part in (Decimal("0.5"), Decimal("0.333333333333")):
        wanted = bench.adapter.check(_part(spec, part), spec).spec
        ticket = await bench.prepare(Amend(bench.key(), bench.ref(placed), wanted))
        placed.tickets.append(ticket)
        made.append(ticket)
        await bench.send(placed, ticket)
        await settled(bench)
    amount = (await bench.found(placed)).amount
    if not made[0].fence.repeatable or bench.clock.now_ms() > made[0].send_before:
        return
    await bench.send(placed, made[0])
    await settled(bench)
    now = (await bench.found(placed)).amount
    bench.expect(
        now == amount,
        f"a copy of an older amendment, whose fence {made[0].fence!r} allows copies, made {amount} into {now}",
    )


def _part(spec: Spec, part: Decimal) -> Spec:
    return revised(spec, amount=spec.amount * part)
