"""Native groups at the bench: made, sent, found at the venue, and compared with what the adapter says of each leg."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Literal

from exchange_kernel.reconcile.proof import shows_dead
from exchange_kernel.testing.conformance.bench import Bench, Failed, Outcome, Placed
from exchange_kernel.testing.conformance.evidence import (
    MARGIN_MS,
    Ids,
    blind,
    born,
    expect_unknown,
    left,
    present,
    settled,
    shown,
)
from exchange_kernel.testing.conformance.harness import Fault, TruthOrder
from exchange_kernel.testing.conformance.sweeping import sweep
from exchange_kernel.testing.conformance.telling import complete, done, orders_in
from exchange_kernel.venue import Absent, Key, OrderReport, Place, PlaceGroup, Spec, Ticket, VenueId, VenueStatus

__all__ = [
    "ANY",
    "KINDS",
    "Group",
    "arrives_late",
    "as_it_is",
    "found_whole",
    "joined",
    "kinds",
    "orders_of",
    "own_report",
    "put",
    "stand",
    "take_back",
    "ticket_for",
]

Kind = Literal["oco", "oto", "bracket"]
KINDS: tuple[Kind, ...] = ("oco", "oto", "bracket")
ANY = "|".join(f"group_{kind}" for kind in KINDS)
"""The capabilities of which a venue with groups has one."""
WAITING = (VenueStatus.DORMANT, VenueStatus.PENDING)


@dataclass(slots=True)
class Group:
    """One group. ``whole``: the attempt as the group's key names it; ``legs``: each as its own key does.

    ``own``: the ids of each leg at the venue, once it is there.
    """

    kind: Kind
    command: PlaceGroup
    whole: Placed
    legs: list[Placed]
    own: list[frozenset[VenueId]] = field(default_factory=list)

    @property
    def key(self) -> Key:
        """The group's key."""
        return self.whole.key

    @property
    def ticket(self) -> Ticket:
        """Its one ticket."""
        return self.whole.tickets[0]

    def waits(self, place: int, orders: list[TruthOrder]) -> bool:
        """Does this leg still wait for the first one to be filled?"""
        return self.kind != "oco" and place > 0 and orders[0].live


def kinds(bench: Bench, *among: Kind) -> Iterator[Kind]:
    """The kinds of groups the venue keeps, of these or of all."""
    return (kind for kind in among or KINDS if bench.offers(f"group_{kind}"))


async def ticket_for(bench: Bench, kind: Kind, specs: Sequence[Spec] = ()) -> Group:
    """A group with its ticket made, nothing sent: of the harness' legs, or of ``specs``. Raises as ``prepare``."""
    now = bench.clock.now_ms() + bench.opened.clock_offset - bench.opened.clock_error
    specs = specs or [bench.adapter.check(spec).spec for spec in bench.harness.group(kind)]
    command = PlaceGroup(bench.key(), kind, tuple(Place(bench.key(), spec) for spec in specs))
    ticket = await bench.prepare(command)
    legs = [Placed(leg.key, leg.spec, [ticket], now) for leg in command.legs]
    bench.placed += legs
    return Group(kind, command, Placed(command.key, specs[0], [ticket], now, list(ticket.ids)), legs)


async def send(bench: Bench, group: Group) -> Outcome:
    """Submit its ticket, once."""
    return await bench.send(group.whole, group.ticket)


async def stand(bench: Bench, group: Group, before: Ids, what: str) -> list[TruthOrder]:
    """The venue has exactly the legs, as they were asked for. They are swept afterwards."""
    await settled(bench)
    fresh = await born(bench, before)
    for leg, order in zip(group.legs, fresh, strict=False):
        leg.ids += [vid for vid in order.ids if vid not in leg.ids]
    bench.expect(
        len(fresh) == len(group.legs),
        f"{what}: {group.kind} has {len(group.legs)} legs, and the venue has {len(fresh)} new orders: {fresh!r}",
    )
    found: list[TruthOrder] = []
    for leg in group.legs:
        wanted = (leg.spec.side, leg.spec.amount)
        same = [
            order
            for order in fresh
            if order not in found and (order.side, order.amount) == wanted and order.price in (None, leg.spec.limit)
        ]
        bench.expect(same, f"{what}: the leg {leg.spec!r} is not at the venue; there is {fresh!r}")
        found.append(same[0])
    group.own = [frozenset(order.ids) for order in found]
    for leg, order in zip(group.legs, found, strict=True):
        leg.ids = list(order.ids)
    group.whole.ids += [vid for order in found for vid in order.ids if vid not in group.whole.ids]
    return found


async def put(bench: Bench, kind: Kind) -> tuple[Group, list[TruthOrder]]:
    """A group that is certainly at the venue, and its legs there."""
    before = await present(bench)
    group = await ticket_for(bench, kind)
    outcome = await send(bench, group)
    bench.expect(outcome.error is None, f"{kind} without any fault: submit {shown(outcome)}")
    return group, await stand(bench, group, before, f"{kind} was sent")


async def orders_of(bench: Bench, group: Group) -> list[TruthOrder]:
    """The legs as the venue has them now."""
    truth = await bench.harness.truth()
    out = []
    for own in group.own:
        mine = [order for order in truth if own & set(order.ids)]
        bench.expect(len(mine) == 1, f"a leg of {group.kind} is {len(mine)} orders at the venue: {mine!r}")
        out.append(mine[0])
    return out


def own_report(reports: list[OrderReport], order: TruthOrder) -> OrderReport | None:
    """The report of this leg among those of a lookup."""
    return next((report for report in reports if set(order.ids) & {report.id, *report.links}), None)


def joined(reports: list[OrderReport]) -> bool:
    """Does a reader see that these belong together? Each two have an id or a link in common."""
    ids = [{report.id, *report.links} for report in reports]
    return all(one & other for one, other in combinations(ids, 2))


async def as_it_is(bench: Bench, group: Group, what: str) -> list[tuple[OrderReport, TruthOrder]]:
    """Look until every leg is reported as it is at the venue; fails, saying what is wrong, where that never comes."""
    wrong = [""]

    async def same() -> list[tuple[OrderReport, TruthOrder]] | None:
        orders = await orders_of(bench, group)
        pairs = []
        for place, (leg, order) in enumerate(zip(group.legs, orders, strict=True)):
            report = own_report(orders_in(await bench.look(leg)), order)
            wrong[0] = _wrong(bench, leg, report, order, waits=group.waits(place, orders))
            if wrong[0] or report is None:
                return None
            pairs.append((report, order))
        wrong[0] = "" if joined([report for report, _ in pairs]) else f"no link joins the legs: {pairs!r}"
        return None if wrong[0] else pairs

    try:
        pairs: Any = await bench.until(same, what)
    except AssertionError as error:
        bench.fail(f"{what}: {wrong[0] or error}")
    assert isinstance(pairs, list)
    return pairs


async def found_whole(bench: Bench, group: Group, orders: list[TruthOrder], what: str) -> None:
    """With nothing but the ticket, a lookup shows each leg; it never proves that there is none."""
    whole = blind(group.whole)
    shows: list[OrderReport] = []

    async def there() -> bool:
        answer = await bench.ask(bench.adapter.lookup(whole))
        if isinstance(answer, Absent) and shows_dead(whole, answer, bench.opened):
            bench.fail(f"{what}: the legs are at the venue as {orders!r}, and {answer!r} proves that they cannot be")
        shows[:] = orders_in(answer)
        return all(own_report(shows, order) is not None for order in orders)

    if not bench.offers("find_by_key"):
        await there()
        return
    try:
        await bench.until(there, what)
    except Failed:
        bench.fail(f"{what}: the venue has {orders!r}; a lookup with the group's ticket alone shows {shows!r}")
    mine = [report for report in shows if any(own_report([report], order) for order in orders)]
    keys = {report.key for report in mine}
    bench.expect(keys == {leg.key for leg in group.legs}, f"{what}: the keys of the legs are told as {keys}")
    bench.expect(len(mine) == len(orders), f"{what}: {len(orders)} legs, and {len(mine)} reports of them: {mine!r}")
    bench.expect(joined(mine), f"{what}: no link joins the legs {mine!r}")


def _wrong(bench: Bench, leg: Placed, report: OrderReport | None, order: TruthOrder, *, waits: bool) -> str:
    """How a leg's report is not what the venue has; "" for not at all."""
    if report is None:
        return f"lookup does not show the leg {order!r}"
    told, executed = done(report), (order.filled_base, order.filled_quote)
    if (told.base, told.quote) != executed:
        return f"{told!r} is told to be executed of {order!r}"
    if report.key != leg.key and (report.key is not None or bench.offers("find_by_key")):
        return f"the leg with the key {leg.key!r} is reported under {report.key!r}"
    if order.live or waits:
        # One that watches a price is alive, and not in the market before it is met.
        triggered = WAITING if leg.spec.trigger is not None else ()
        right = (VenueStatus.WORKING, *triggered) if order.live else WAITING
        return "" if report.status in right else f"{report.status.value} is told of {order!r}"
    whole = order.filled_base == order.amount
    if not (report.status.terminal and report.final and (report.status is VenueStatus.FILLED) == whole):
        return f"{report.status.value}, final={report.final}, is told of {order!r}"
    return complete(report) if report.fills_complete else f"the last report of {order!r} has not all fills: {report!r}"


async def arrives_late(bench: Bench, group: Group, ms: int) -> None:
    """Its request arrives ``ms`` late: until then nobody may claim that it never will, unless it is then over."""
    before, what = await present(bench), f"{group.kind}, {ms} ms on its way"
    rest = left(bench, group.ticket)
    over = rest is not None and ms >= rest + bench.opened.clock_error + MARGIN_MS
    await bench.harness.inject(Fault.LATE, ms=ms)
    expect_unknown(bench, await send(bench, group), what)
    claim: Absent | None = None
    end = bench.clock.monotonic() + ms / 1000 + 4
    while bench.clock.monotonic() < end and not await born(bench, before):
        answer = await bench.look(group.whole)
        if isinstance(answer, Absent) and shows_dead(bench.ref(group.whole), answer, bench.opened):
            claim = claim or answer
        await bench.clock.sleep(0.1)
    await bench.harness.clear()
    await settled(bench)
    fresh = await born(bench, before)
    if not fresh:
        return
    orders = await stand(bench, group, before, what)
    bench.expect(claim is None, f"{what}: it made {orders!r}, and {claim!r} had proved that it never would")
    bench.expect(not over, f"{what}, when the venue's clock had passed the end of {group.ticket.fence!r}: {orders!r}")
    await found_whole(bench, group, orders, what)
    await sweep(bench)


def take_back(bench: Bench, orders: list[TruthOrder]) -> None:
    """Have the sweeper end orders nobody wanted."""
    for order in orders:
        spec = bench.adapter.check(bench.harness.resting()).spec
        bench.placed.append(Placed(bench.key(), spec, [], bench.clock.now_ms(), list(order.ids)))
