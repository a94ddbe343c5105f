"""Order lists through the adapter: what is sent, what is refused before, and what is told of every leg."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

import pytest

from exchange_kernel.errors import InvalidOrder, Unavailable, UnknownTarget
from exchange_kernel.schema import Side, TimeInForce, TriggerKind
from exchange_kernel.value import revised
from exchange_kernel.venue import (
    Ack,
    Cancel,
    Found,
    Money,
    OrderReport,
    Place,
    PlaceGroup,
    Ref,
    Spec,
    Ticket,
    Trigger,
    VenueStatus,
    Why,
)
from exchange_kernel_binance.adapter import BinanceAdapter
from exchange_kernel_binance.names import client_id, list_id, order_id
from exchange_kernel_binance.simulator import Simulator
from plugins.binance.tests.stage import on_stage
from plugins.binance.tests.test_adapter import by_address, context, prep

D = Decimal
GROUP, LEGS = b"g" * 16, (b"a" * 16, b"b" * 16, b"c" * 16)
ENTRY = Spec("BTC/USDT", Side.BUY, D("0.04"), limit=D(45_000))
PROFIT = Spec("BTC/USDT", Side.SELL, D("0.03"), limit=D(60_000), post_only=True)
LOSS = Spec("BTC/USDT", Side.SELL, D("0.03"), trigger=Trigger(TriggerKind.STOP_LOSS, D(40_000)))
BUYS = (
    revised(PROFIT, side=Side.BUY, limit=D(40_000)),
    Spec("BTC/USDT", Side.BUY, D("0.03"), limit=D(60_100), trigger=Trigger(TriggerKind.STOP_LOSS, D(60_000))),
)


def group(kind: Any, *specs: Spec, keys: tuple[bytes, ...] = LEGS) -> PlaceGroup:
    return PlaceGroup(GROUP, kind, tuple(Place(key, spec) for key, spec in zip(keys, specs, strict=False)))


class Desk:
    """One adapter on one simulated Binance."""

    def __init__(self, binance: Simulator, adapter: BinanceAdapter) -> None:
        self.binance, self.adapter = binance, adapter

    async def ticket(self, command: Any) -> Ticket:
        made = await self.adapter.prepare(command, prep(self.binance))
        assert isinstance(made, Ticket)
        return made

    async def put(self, command: PlaceGroup) -> tuple[Ticket, Ack]:
        made = await self.ticket(command)
        return made, await self.adapter.submit(made)

    def ref(self, ticket: Ticket, key: bytes, spec: Spec = ENTRY) -> Ref:
        """What a kernel knows that committed the ticket and heard nothing."""
        return Ref(key, "BTC/USDT", spec, self.binance.clock.now() - 30_000, (), (ticket,))

    async def told(self, ticket: Ticket, key: bytes) -> dict[int, OrderReport]:
        """The orders that a look-up shows, by number."""
        answer = await self.adapter.lookup(self.ref(ticket, key))
        assert isinstance(answer, Found), answer
        reports = [report for report in answer.reports if isinstance(report, OrderReport)]
        return {int(report.id.value.rpartition("/")[2]): report for report in reports}

    def act(self, account: str, side: str, price: str, quantity: str = "1", tif: str = "GTC") -> Any:
        fields = {"symbol": "BTCUSDT", "side": side, "type": "LIMIT", "timeInForce": tif}
        return self.binance.act("order.place", account, {**fields, "price": price, "quantity": quantity})


def at_the_desk(scene: Callable[[Desk], Awaitable[None]], market: str = "spot") -> None:
    async def play(binance: Simulator) -> None:
        adapter = BinanceAdapter()
        await adapter.open(context(binance, {"market": market, "read_lag_ms": 50, **by_address(binance, market)}))
        try:
            await scene(Desk(binance, adapter))
        finally:
            await adapter.close()

    on_stage(play)


def sent(ticket: Ticket) -> tuple[str, dict[str, str]]:
    """The path and the fields of a ticket, without what every request has."""
    head, _, query = ticket.body.decode().partition("\n")
    fields = dict(parse_qsl(query))
    for name in ("timestamp", "recvWindow", "signature", "newOrderRespType"):
        del fields[name]
    return head.rpartition(" ")[2], fields


OF_THE_LIST = {"symbol": "BTCUSDT", "listClientOrderId": client_id(GROUP)}
PAIR = {"Type": "LIMIT_MAKER", "Price": "60000"}, {"Type": "STOP_LOSS", "StopPrice": "40000"}


def prefixed(prefix: str, leg: int, fields: dict[str, str]) -> dict[str, str]:
    named = {prefix + name: value for name, value in fields.items()}
    return named | {f"{prefix}ClientOrderId": client_id(LEGS[leg])}


def test_every_field_of_a_list_is_as_planned() -> None:
    """Each leg under its own key, the list under the group's; above is above on either side, in either order."""

    async def scene(desk: Desk) -> None:
        exit_legs = {**OF_THE_LIST, "side": "SELL", "quantity": "0.03"}
        path, fields = sent(await desk.ticket(group("oco", PROFIT, LOSS)))
        assert (path, fields) == (
            "orderList/oco",
            {**exit_legs, **prefixed("above", 0, PAIR[0]), **prefixed("below", 1, PAIR[1])},
        )
        _, fields = sent(await desk.ticket(group("oco", LOSS, PROFIT)))
        assert fields == {**exit_legs, **prefixed("above", 1, PAIR[0]), **prefixed("below", 0, PAIR[1])}
        made = await desk.ticket(group("oco", *BUYS))
        _, fields = sent(made)
        stop = {"Type": "STOP_LOSS_LIMIT", "TimeInForce": "GTC", "Price": "60100", "StopPrice": "60000"}
        assert fields == {
            **exit_legs,
            "side": "BUY",
            **prefixed("above", 1, stop),
            **prefixed("below", 0, {"Type": "LIMIT_MAKER", "Price": "40000"}),
        }
        assert made.outlay == (Money("USDT", D("1803.00")),)  # one of the two trades
        assert [vid.value for vid in made.ids] == [client_id(key) for key in LEGS[:2]]
        assert not made.fence.repeatable
        entry = {"Type": "LIMIT", "TimeInForce": "GTC", "Price": "45000", "Side": "BUY", "Quantity": "0.04"}
        made = await desk.ticket(group("oto", ENTRY, revised(PROFIT, display=D("0.01"), post_only=False)))
        path, fields = sent(made)
        after = {"Type": "LIMIT", "TimeInForce": "GTC", "Price": "60000", "IcebergQty": "0.01"}
        after |= {"Side": "SELL", "Quantity": "0.03"}
        assert path == "orderList/oto"
        assert fields == {**OF_THE_LIST, **prefixed("working", 0, entry), **prefixed("pending", 1, after)}
        assert made.outlay == (Money("USDT", D("1800.00")), Money("BTC", D("0.03")))
        path, fields = sent(await desk.ticket(group("bracket", ENTRY, PROFIT, LOSS)))
        both = {"pendingSide": "SELL", "pendingQuantity": "0.03"}
        both |= prefixed("pendingAbove", 1, PAIR[0]) | prefixed("pendingBelow", 2, PAIR[1])
        assert path == "orderList/otoco"
        assert fields == {**OF_THE_LIST, **prefixed("working", 0, entry), **both}

    at_the_desk(scene)


PLAIN = revised(PROFIT, post_only=False)
REFUSED = [
    (group("oco", PROFIT), "legs", "must be 2 in oco"),
    (group("bracket", ENTRY, PROFIT), "legs", "must be 3 in bracket"),
    (group("oco", PROFIT, LOSS, keys=(LEGS[0], LEGS[0])), "legs", "have one key twice"),
    (group("oco", PROFIT, LOSS, keys=(LEGS[0], GROUP)), "legs", "or that of the group"),
    (group("oto", ENTRY, revised(PROFIT, symbol="ETH/USDT")), "legs", "must be of one symbol"),
    (group("oco", PROFIT, revised(LOSS, amount=D("0.02"))), "legs[1].amount", "must be that of the leg"),
    (group("oco", PROFIT, revised(BUYS[1])), "legs[1].side", "must be that of the leg"),
    (group("bracket", ENTRY, PROFIT, revised(LOSS, amount=D("0.02"))), "legs[2].amount", "must be that of the leg"),
    (group("oco", PLAIN, LOSS), "legs[0].post_only", "rests as LIMIT_MAKER only"),
    (group("oco", PROFIT, revised(PROFIT, limit=D(61_000))), "legs", "one STOP_LOSS(_LIMIT)"),
    (group("oco", LOSS, revised(LOSS, limit=D(39_000))), "legs", "one LIMIT_MAKER or TAKE_PROFIT"),
    (group("oco", revised(PLAIN, tif=TimeInForce.IOC), LOSS), "legs[0].limit", "cannot exclude another order"),
    (group("oco", revised(PLAIN, limit=None), LOSS), "legs[0].limit", "MARKET cannot exclude"),
    (group("oco", revised(PROFIT, limit=D(39_000)), LOSS), "legs[0].price", "must be above the price"),
    (group("oco", revised(BUYS[0], limit=D(61_000)), BUYS[1]), "legs[0].price", "must be below the price"),
    (group("oto", LOSS, PROFIT), "legs[0].limit", "must be LIMIT or LIMIT_MAKER"),
    (group("bracket", revised(PLAIN, limit=None), PROFIT, LOSS), "legs[0].limit", "must be LIMIT or LIMIT_MAKER"),
]


def test_what_is_no_list_of_binance_is_refused_by_field() -> None:
    """The leg, what of it, and the rule; nothing is asked or sent."""

    async def scene(desk: Desk) -> None:
        before = dict(desk.binance.gate.counts)
        for command, field, rule in REFUSED:
            with pytest.raises(InvalidOrder) as caught:
                await desk.ticket(command)
            assert (caught.value.field, rule in str(caught.value)) == (field, True), (caught.value, command)
        assert dict(desk.binance.gate.counts) == before

    at_the_desk(scene)


def test_a_list_is_taken_whole_and_every_leg_is_told() -> None:
    """One answer, a report of each leg under its key, joined by the list; what waits is dormant."""

    async def scene(desk: Desk) -> None:
        made, ack = await desk.put(group("bracket", ENTRY, PROFIT, LOSS))
        reports = [report for report in ack.reports if isinstance(report, OrderReport)]
        assert [report.key for report in reports] == list(LEGS)
        assert [report.status for report in reports] == [VenueStatus.WORKING, *[VenueStatus.DORMANT] * 2]
        assert all(list_id("BTCUSDT", 0) in report.links for report in reports)
        whole = await desk.told(made, GROUP)
        assert [(report.key, report.status) for report in whole.values()] == [(r.key, r.status) for r in reports]
        for number, key in enumerate(LEGS, 1):
            assert list(await desk.told(made, key)) == [number]

    at_the_desk(scene)


def test_an_oco_leg_ends_its_sibling() -> None:
    """A part of one leg trades: the other has expired by Binance's rule, is told so in the stream and when asked, and
    is not there to be cancelled."""

    async def scene(desk: Desk) -> None:
        events = desk.adapter.events(None)
        await anext(events)
        made, _ = await desk.put(group("oco", PROFIT, LOSS))
        desk.act("bob", "BUY", "60000", "0.01", "IOC")
        heard: dict[bytes | None, OrderReport] = {}
        while not (LEGS[1] in heard and heard[LEGS[1]].status.terminal):
            body = (await anext(events)).body
            if isinstance(body, OrderReport):
                heard[body.key] = body
        asked = await desk.told(made, GROUP)
        for trading, ended in ((heard[LEGS[0]], heard[LEGS[1]]), (asked[1], asked[2])):
            assert (trading.status, trading.filled.base) == (VenueStatus.WORKING, D("0.01"))
            assert (ended.status, ended.final, ended.filled.base) == (VenueStatus.EXPIRED, True, 0)
            assert (ended.why, ended.text) == (Why.OTHER, "OCO_TRIGGER")
            assert set(trading.links) & set(ended.links) == {list_id("BTCUSDT", 0)}
        with pytest.raises(UnknownTarget):
            await desk.adapter.submit(await desk.ticket(Cancel(b"x" * 16, desk.ref(made, LEGS[1], LOSS))))
        await events.aclose()  # type: ignore[attr-defined]

    at_the_desk(scene)


@pytest.mark.parametrize("known", [True, False], ids=["by number", "by client id"])
def test_the_cancel_of_one_leg_ends_the_list_and_speaks_of_that_leg(known: bool) -> None:
    """Binance answers with the whole list; the answer to the command is the order that it named, and no other's."""

    async def scene(desk: Desk) -> None:
        made, _ = await desk.put(group("bracket", ENTRY, PROFIT, LOSS))
        ref = desk.ref(made, LEGS[1], PROFIT)
        ref = revised(ref, ids=(order_id("BTCUSDT", 2),)) if known else ref
        ack = await desk.adapter.submit(await desk.ticket(Cancel(b"x" * 16, ref)))
        (report,) = ack.reports
        assert isinstance(report, OrderReport)
        assert (report.key, report.status, report.why) == (LEGS[1], VenueStatus.CANCELED, Why.USER)
        assert {each.status for each in (await desk.told(made, GROUP)).values()} == {VenueStatus.CANCELED}

    at_the_desk(scene)


def test_a_list_that_shows_in_part_is_no_answer() -> None:
    """One leg is not to be seen yet: it is there for certain, so neither it nor the list is called absent or whole."""

    async def scene(desk: Desk) -> None:
        made, _ = await desk.put(group("oco", PROFIT, LOSS))
        state = desk.binance.spot.state
        state.habits.query_lag = 1
        state.orders[2].created += 60_000  # reads have not got as far as that
        for key in (GROUP, LEGS[1]):
            with pytest.raises(Unavailable, match="order 2 of list 0 is not to be seen yet"):
                await desk.adapter.lookup(desk.ref(made, key))
        assert list(await desk.told(made, LEGS[0])) == [1]
        state.orders[2].created -= 60_000
        state.habits.query_lag = 0
        assert list(await desk.told(made, GROUP)) == [1, 2]

    at_the_desk(scene)


def test_a_leg_that_binance_has_archived_is_told_by_its_list() -> None:
    """The sibling ended without a fill more than 90 days ago: it has expired, under its own key."""

    async def scene(desk: Desk) -> None:
        made, _ = await desk.put(group("oco", PROFIT, LOSS))
        desk.act("bob", "BUY", "60000", "0.03", "IOC")
        desk.binance.clock.skew += 100 * 86_400_000
        ref = revised(desk.ref(made, GROUP), placed_at=made.send_before - 60_000)
        answer = await desk.adapter.lookup(ref)
        assert isinstance(answer, Found)
        reports = [report for report in answer.reports if isinstance(report, OrderReport)]
        assert [(report.key, report.status, report.final) for report in reports] == [
            (LEGS[0], VenueStatus.FILLED, True),
            (LEGS[1], VenueStatus.EXPIRED, True),
        ]

    at_the_desk(scene)
