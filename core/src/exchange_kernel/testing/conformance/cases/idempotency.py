"""What may be sent, how often, and when: a ticket is exactly one order, whoever sends it and however often."""

from __future__ import annotations

import asyncio

from exchange_kernel.testing.conformance.amending import amends
from exchange_kernel.testing.conformance.bench import Bench, Failed, Inapplicable, Placed
from exchange_kernel.testing.conformance.copies import copy_makes_nothing, copy_of_an_amendment, repeatable
from exchange_kernel.testing.conformance.evidence import (
    LONGEST_WAIT_MS,
    MARGIN_MS,
    adopt,
    astray,
    blind,
    born,
    landed,
    left,
    pass_by,
    present,
    settled,
    shown,
    watch_over,
)
from exchange_kernel.testing.conformance.harness import Fault
from exchange_kernel.testing.conformance.keys import alike
from exchange_kernel.testing.conformance.plain import plain, rebuilt
from exchange_kernel.testing.conformance.registry import case
from exchange_kernel.testing.conformance.wire import each_fault, refused_for_its_time, rehearsed
from exchange_kernel.venue import (
    Amend,
    Burn,
    Cancel,
    CancelAll,
    Command,
    Found,
    Key,
    OrderReport,
    Place,
    Slot,
    Ticket,
)

MANY_KEYS = 1_000
DAY_MS = 86_400_000
AGES_MS = (120_000, DAY_MS + 3_600_000, 45 * DAY_MS)
"""Past every memory a venue is known to have: minutes, a day, a month."""


@case("IDEM-01", "a ticket sent again makes a second order only where its fence says so", grade="bronze", rule="rule 7")
async def again(bench: Bench) -> None:
    """The kernel repeats what is declared repeatable; if that is not true, every lost answer doubles an order."""
    placed, _ = await landed(bench)
    ticket, before = placed.ticket, await present(bench)
    for _ in range(3 if ticket.fence.repeatable else 0):
        await copy_makes_nothing(bench, placed, ticket, before, "while its order is open")


@case("IDEM-02", "ten copies sent at once make one order", grade="bronze", rule="rule 7")
async def at_once(bench: Bench) -> None:
    """Two processes that believe in the same ticket send it in the same millisecond."""
    for spec in (bench.harness.resting(), bench.harness.crossing(2)):
        before = await present(bench)
        placed = await bench.ticket_for(spec)
        repeatable(placed)
        await asyncio.gather(*(bench.send(placed) for _ in range(10)))
        await settled(bench)
        orders = await adopt(bench, placed, before)
        bench.expect(len(orders) == 1, f"ten copies of a repeatable ticket, sent at once, made {len(orders)} orders")


@case(
    "IDEM-03",
    "another order under a key that is in use leaves the first as it is, and says so",
    grade="bronze",
    rule="a duplicate reply is Ack('duplicate')",
    features=("find_by_key",),
)
async def other_body(bench: Bench) -> None:
    """An adapter that resolves the conflict by itself replaces an order nobody asked to replace."""
    before = await present(bench)
    placed, first = await landed(bench)
    second = await bench.prepare(Place(placed.key, bench.adapter.check(bench.harness.resting(3)).spec))
    placed.tickets.append(second)
    outcome = await bench.send(placed, second)
    await settled(bench)
    orders = await adopt(bench, placed, before)
    old = next((order for order in orders if set(first.ids) <= set(order.ids)), None)
    bench.expect(
        old is not None and (old.live, old.amount, old.price) == (first.live, first.amount, first.price),
        f"sending another order under the same key changed the first from {first!r} to {old!r}",
    )
    if len(orders) == 1 and outcome.ack is not None:
        other = [r for r in outcome.ack.reports if isinstance(r, OrderReport) and r.amount not in (None, first.amount)]
        bench.expect(not other, f"the venue has only {first!r}, and submit {shown(outcome)}")
    if outcome.effect == "none":
        bench.expect(len(orders) == 1, f"submit {shown(outcome)}, and the venue made {orders!r}")
    answer = await bench.ask(bench.adapter.lookup(blind(placed)))
    shows = isinstance(answer, Found) and all(
        any(isinstance(r, OrderReport) and {r.id, *r.links} & set(order.ids) for r in answer.reports)
        for order in orders
    )
    bench.expect(shows, f"the venue has {orders!r} under this key, lookup answers {answer!r}")


@case(
    "IDEM-04",
    "a ticket is plain data: another session sends it",
    grade="bronze",
    rule="rule 3, rule 20: no durable state",
)
async def plain_data(bench: Bench) -> None:
    """After a crash a ticket is all there is; an adapter that needs its own memory of it can never send it."""
    before = await present(bench)
    placed = await bench.ticket_for(bench.harness.resting())
    text = plain(placed.ticket)
    copy = rebuilt(text)
    bench.expect(
        type(placed.ticket) is Ticket and copy == placed.ticket,
        f"a ticket must be plain data: {placed.ticket!r} comes back from a store as {copy!r}",
    )
    await bench.adapter.close()
    bench.adapter, opened = await bench.another()
    bench.expect(
        opened.identity == placed.ticket.identity,
        f"the same account was {placed.ticket.identity!r} in one session and is {opened.identity!r} in the next",
    )
    placed.tickets[:] = [copy]
    outcome = await bench.send(placed)
    bench.expect(outcome.error is None, f"a new session given the ticket of an old one: submit {shown(outcome)}")
    await settled(bench)
    orders = await adopt(bench, placed, before)
    bench.expect(len(orders) == 1, f"a ticket sent by a new session made {len(orders)} orders")
    bench.expect(
        orders[0].amount == placed.spec.amount, f"a ticket for {placed.spec!r}, sent by a new session, made {orders!r}"
    )
    await bench.found(placed)


@case("IDEM-05", "prepare has no effect at the venue", grade="bronze", rule="rule 1, rule 2")
async def prepare_sends_nothing(bench: Bench) -> None:
    """What prepare sends is sent before the commit: after a crash nobody knows of it."""
    placed, _ = await landed(bench)
    ref = bench.ref(placed)
    smaller = bench.harness.resting(2)
    commands: list[Command] = [
        Place(bench.key(), bench.adapter.check(bench.harness.resting(3)).spec),
        Place(bench.key(), bench.adapter.check(bench.harness.crossing(2)).spec),
        Cancel(bench.key(), ref),
        Cancel(bench.key(), ref, force=True),
        Amend(bench.key(), ref, smaller),
        CancelAll(bench.key(), bench.harness.symbol),
        *(Burn(bench.key(), Slot(scope.name, scope.floor + 3)) for scope in bench.opened.scopes),
    ]
    orders, changes = await bench.harness.truth(), await bench.harness.changes()
    for command in commands:
        for dry in (True, False):
            ticket = await rehearsed(bench, command, dry=dry)
            name = f"prepare({type(command).__name__}, dry={dry})"
            if isinstance(ticket, Ticket) and dry:
                bench.expect(not ticket.body, f"{name}: a dry ticket is not signed and has no body, not {ticket!r}")
            await settled(bench)
            bench.expect(await bench.harness.changes() == changes, f"{name} sent a change to the venue")
            now = await bench.harness.truth()
            bench.expect(list(now) == list(orders), f"{name} changed the venue from {orders!r} to {now!r}")


@case(
    "IDEM-06",
    "client ids are injective, legal and reversible",
    grade="bronze",
    rule="rule 4",
    features=("find_by_key",),
)
async def client_ids(bench: Bench) -> None:
    """Two keys with one id are one order to the venue: the second is taken for the first, or overwrites it."""
    spec = bench.adapter.check(bench.harness.resting()).spec
    made: dict[object, Key] = {}
    base = bench.key()
    near = alike(base)
    keys = [base, *near, *(bench.key() for _ in range(MANY_KEYS))]
    for key in keys:
        ticket = await rehearsed(bench, Place(key, spec))
        bench.expect(isinstance(ticket, Ticket), f"prepare gave no ticket for the key {key.hex()}: {ticket!r}")
        assert isinstance(ticket, Ticket)
        bench.expect(ticket.key == key, f"the ticket's key is {ticket.key.hex()}, the command's was {key.hex()}")
        for vid in ticket.ids:
            bench.expect(
                made.setdefault(vid, key) == key, f"{vid!r} stands for two keys: {made[vid].hex()} and {key.hex()}"
            )
    attempts = []
    for number, key in enumerate((b"\x00" * 16, b"\xff" * 16, base, *near[:9])):
        placed = await bench.ticket_for(bench.harness.resting(number + 1), key=key)
        outcome = await bench.send(placed)
        bench.expect(
            outcome.effect == "done",
            f"an order under the key {key.hex()}: submit {shown(outcome)}; every client id must be legal at the venue, "
            "and another for every key",
        )
        attempts.append(placed)
    await settled(bench)
    await bench.adapter.close()
    bench.adapter, bench.opened = await bench.another()  # which has no memory of what it made
    for placed in attempts:
        answer = await bench.ask(bench.adapter.lookup(blind(placed)))
        reports = [r for r in (answer.reports if isinstance(answer, Found) else ()) if isinstance(r, OrderReport)]
        bench.expect(
            len(reports) == 1 and reports[0].key == placed.key and reports[0].amount in (None, placed.spec.amount),
            f"lookup of the key {placed.key.hex()} must show its one order, with its key; it answers {answer!r}",
        )


@case(
    "IDEM-07",
    "a repeatable ticket sent again after its order has ended orders nothing",
    grade="bronze",
    rule="rule 7",
)
async def after_the_end(bench: Bench) -> None:
    """Many venues take a client id again once its order has filled: the copy buys the same once more."""
    filled, _ = await landed(bench, bench.harness.crossing())
    ticket = filled.ticket
    if not ticket.fence.repeatable:
        return
    before = await present(bench)
    for _ in range(2):
        await copy_makes_nothing(bench, filled, ticket, before, "after its order had filled")
    canceled, _ = await landed(bench, bench.harness.resting(2))
    ticket = canceled.ticket
    await bench.cancel(canceled)
    await settled(bench)
    before = await present(bench)
    for _ in range(2):
        await copy_makes_nothing(bench, canceled, ticket, before, "after its order was cancelled")
    # At once, without the pause in which a venue may go on remembering: the copy is on its way when the order fills.
    quick = await bench.ticket_for(bench.harness.crossing(3))
    before = await present(bench)
    await bench.send(quick)
    await bench.send(quick)
    await settled(bench)
    orders = await adopt(bench, quick, before)
    bench.expect(len(orders) == 1, f"a repeatable ticket that fills at once, sent twice, made {orders!r}")


FAULTS = (
    Fault.REQUEST_LOST,
    Fault.ANSWER_LOST,
    Fault.ERROR_AFTER,
    Fault.UNAVAILABLE,
    Fault.GARBLED,
    Fault.RATE_LIMIT,
    Fault.LATE,
)


@case("IDEM-08", "one submit is one request, whatever comes back", grade="silver", rule="rule 5", needs=FAULTS)
async def one_request(bench: Bench) -> None:
    """HTTP libraries retry by themselves; a retried order is two orders, and nobody sees the first."""
    await each_fault(bench, FAULTS, cancel=False)
    if bench.harness.offers("skew"):
        await refused_for_its_time(bench)


@case("IDEM-09", "what is ordered is in the ticket; submit adds nothing", grade="bronze", rule="rule 2, rule 18")
async def as_prepared(bench: Bench) -> None:
    """A price that is taken anew when the order is sent is a price that nobody agreed to, and that no store knows."""
    before = await present(bench)
    placed = await bench.ticket_for(bench.harness.resting(2))
    # The world moves on between the commit and the send: other orders, another look at the markets, time.
    await bench.adapter.markets()
    other = await bench.ticket_for(bench.harness.crossing(3))
    if not bench.opened.scopes:
        await bench.send(other)
    await bench.adapter.account()
    spare = min(placed.ticket.send_before - bench.clock.now_ms(), bench.short(5_000))
    await bench.clock.sleep(max(0, spare - bench.short(150)) * 0.9 / 1000)
    outcome = await bench.send(placed)
    bench.expect(outcome.effect == "done", f"a ticket sent in time: submit {shown(outcome)}")
    await settled(bench)
    known = {vid for order in await bench.truth(other) for vid in order.ids}
    orders = [order for order in await born(bench, before) if not known & set(order.ids)]
    placed.ids += [vid for order in orders for vid in order.ids]
    bench.expect(len(orders) == 1, f"a ticket made {len(orders)} orders")
    order, spec = orders[0], placed.spec
    agreed = (spec.symbol, spec.side.value, spec.amount)
    bench.expect(
        (order.symbol, order.side, order.amount) == agreed and order.price in (None, spec.limit),
        f"check previewed {spec!r}; a while later submit of that ticket made {order!r}",
    )
    report = await bench.found(placed)
    bench.expect(
        report.amount in (None, spec.amount) and report.price in (None, spec.limit),
        f"check previewed {spec!r}; a while later submit of that ticket made {report!r}",
    )


@case(
    "IDEM-10",
    "a copy that arrives long after makes no second order",
    grade="silver",
    rule="rule 7",
    needs=(Fault.LATE,),
)
async def long_after(bench: Bench) -> None:
    """A copy is held up in a proxy for a day; venues that remember ids for hours take it for new."""
    attempts: list[tuple[Placed, Ticket, str]] = []
    started = await present(bench)
    for spec, when in (
        (bench.harness.crossing(), "after its order had filled"),
        (bench.harness.resting(2), "while its order is open"),
        (bench.harness.resting(3), "after its order was cancelled"),
    ):
        placed = await bench.ticket_for(spec)
        attempts.append((placed, repeatable(placed), when))
        await bench.send(placed)
        await bench.harness.inject(Fault.LATE, ms=bench.short(4_000))
        await bench.send(placed)  # on its way until all of this is long over
    await bench.found(placed)
    await bench.cancel(placed)
    await settled(bench)
    bench.expect(
        len(await born(bench, started)) == 3, "three tickets, each sent once until now, made other than 3 orders"
    )
    before = await present(bench)
    for age in AGES_MS:
        await pass_by(bench, age)
        await bench.quiet(4)
        for attempt, copy, when in attempts:
            await copy_makes_nothing(bench, attempt, copy, before, f"{age} ms later, {when},")


@case(
    "IDEM-11",
    "a copy of a cancel or of an amendment changes nothing more",
    grade="bronze",
    rule="rule 7, rule 14",
)
async def copies_of_changes(bench: Bench) -> None:
    """Cancels are repeated freely; one that means "the newest order" takes the next one with it."""
    placed, _ = await landed(bench)
    cancel = await bench.prepare(Cancel(bench.key(), bench.ref(placed)))
    placed.tickets.append(cancel)
    await bench.send(placed, cancel)
    await settled(bench)
    bench.expect(cancel.fence.repeatable, f"own cancels are repeatable (rule 14), this one is {cancel.fence!r}")
    other, order = await landed(bench, bench.harness.resting(2))
    for _ in range(2):
        if bench.clock.now_ms() <= cancel.send_before:
            await bench.send(placed, cancel)
        await settled(bench)
    bench.expect((await bench.one(other)) == order, f"a copy of another order's cancel changed {order!r}")
    if amends(bench, "amend_down"):
        await copy_of_an_amendment(bench)


@case(
    "IDEM-12",
    "a ticket's life is in its body: it ends when it was said to, however late the ticket is sent",
    grade="silver",
    rule="rule 2",
    needs=(Fault.LATE,),
)
async def life_in_the_body(bench: Bench) -> None:
    """Stamped anew when it is sent, a request outlives the fence that was stored, and arrives after it was given up."""
    attempts = [await bench.ticket_for(bench.harness.resting(number)) for number in range(1, 9)]
    spare = attempts[0].ticket.send_before - bench.clock.now_ms()
    if not attempts[0].ticket.fence.ends or spare > LONGEST_WAIT_MS:
        raise Inapplicable("no clock ends the life of a ticket here")
    await bench.clock.sleep(max(0, spare - 100) / 1000)
    span = min(bench.opened.horizon or 0, LONGEST_WAIT_MS)
    times = [span * share // 20 for share in (4, 8, 11, 13, 14, 15, 17)]
    rest = left(bench, attempts[0].ticket)
    if rest is not None:
        times.insert(0, rest + bench.opened.clock_error + MARGIN_MS)
    under_way = []
    for placed, ms in zip(attempts, times, strict=False):
        if bench.clock.now_ms() < placed.ticket.send_before:
            try:
                under_way.append(await astray(bench, placed.spec, max(1, ms), placed))
            except Failed:
                # Who is slow may find, and rightly say, that the ticket has become too old on its way out.
                await bench.harness.clear()
                if bench.clock.now_ms() <= placed.ticket.send_before:
                    raise
    bench.expect(under_way, "the tickets were too old before the first could be sent")
    await watch_over(bench, under_way, every_ms=100)


@case(
    "IDEM-13", "one submit of a cancel is one request, whatever comes back", grade="silver", rule="rule 5", needs=FAULTS
)
async def one_cancel(bench: Bench) -> None:
    """A cancel that is repeated behind the kernel's back hits whatever has that id by then."""
    await each_fault(bench, FAULTS, cancel=True)
