"""What the adapter finds, and how far it says it has seen."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from exchange_kernel.errors import InsufficientFunds, NotAuthorized, RateLimited, Unavailable
from exchange_kernel.schema import Side
from exchange_kernel.venue import (
    FOREVER,
    Absent,
    Amend,
    Burn,
    Cancel,
    CancelAll,
    Cost,
    Executed,
    Fill,
    Found,
    OrderReport,
    Place,
    Ref,
    Slot,
    StepReport,
    Unsure,
    VenueId,
    VenueStatus,
    Watermark,
    Why,
)
from exchange_kernel_paper.tickets import read_body
from exchange_kernel_paper.translate import client_id
from plugins.paper.tests.session import BTC, Session, key, order_id, passing, proves_dead, scenario, spec

NOW = 1_700_000_000_000
ME = "paper:test:main"
VENUES = ("time_window", "permanent_key", "none")
LEDGERS = ("sequence", "height")


async def only(session: Session, ref: Ref) -> OrderReport:
    """The one report of a look-up."""
    found = await session.adapter.lookup(ref)
    assert isinstance(found, Found)
    [report] = found.reports
    assert isinstance(report, OrderReport)
    return report


class Spy:
    """Between adapter and link: notes the operations, and does something before one of them."""

    def __init__(self, session: Session) -> None:
        self.operations: list[str] = []
        self.before: dict[str, Any] = {}
        self._link = session.adapter._link
        session.adapter._link = self  # type: ignore[assignment]

    async def call(self, op: str, body: bytes) -> bytes:
        self.operations.append(op)
        if op in self.before:
            self.before.pop(op)()
        return await self._link.call(op, body)

    async def close(self) -> None:
        await self._link.close()


@pytest.mark.parametrize("fence", ["time_window", "permanent_key"])
def test_the_watermark_is_taken_before_the_search(fence: str) -> None:
    """Time passes between the two: the watermark is the earlier moment. An order that comes in between is found."""

    async def play(session: Session) -> None:
        spy = Spy(session)
        ref, ticket = await session.attempt(1)
        spy.before["find"] = lambda: session.advance(700)
        absent = await session.adapter.lookup(ref)
        assert isinstance(absent, Absent)
        assert (spy.operations, absent.at) == (["time", "find"], Watermark(venue_ms=NOW))
        spy.before["find"] = lambda: session.exchange.trade("main", session_request(ticket))
        assert isinstance(await session.adapter.lookup(ref), Found)

    scenario(Session(fence=fence), play)


def session_request(ticket: Any) -> dict[str, Any]:
    """The request in a ticket."""
    return read_body(ticket)


@pytest.mark.parametrize("fence", LEDGERS)
def test_on_a_ledger_watermark_and_search_are_one_read(fence: str) -> None:
    """Pinned to one state: the final block of the very answer that was searched."""

    async def play(session: Session) -> None:
        spy = Spy(session)
        ref, _ = await session.attempt(1)
        spy.operations.clear()
        absent = await session.adapter.lookup(ref)
        assert isinstance(absent, Absent)
        head = NOW // 500
        assert spy.operations == ["find"]
        assert (absent.at.height, absent.at.ledger_ms, absent.since) == (head - 2, (head - 2) * 500, 0)
        assert absent.looked == ("ledger", "pool")

    scenario(Session(fence=fence), play)


@pytest.mark.parametrize("fence", VENUES)
def test_a_found_order_is_reported_with_everything(fence: str) -> None:
    """Status, totals, every fill with its fee in its own asset, ids that are unique in the account, the key."""

    async def play(session: Session) -> None:
        session.exchange.set_ladder(BTC, [], [("90", "1"), ("95", "1")])
        ref, ack = await session.place(1, spec(amount="3"))
        report = await only(session, ref)
        assert ack.reports == (report,)
        assert (report.status, report.side, report.symbol) == (VenueStatus.WORKING, Side.BUY, BTC)
        assert (report.amount, report.price, report.filled) == (
            Decimal(3),
            Decimal(100),
            Executed(Decimal(2), Decimal(185)),
        )
        assert (report.key, report.fills_complete, report.final) == (key(1), True, False)
        assert report.links == (() if fence == "none" else (VenueId("client", client_id(key(1))),))
        assert [fill.id for fill in report.fills] == ["BTC/USD/1", "BTC/USD/2"]
        first = Fill(
            id="BTC/USD/1",
            of=report.id,
            base=Decimal(1),
            quote=Decimal(90),
            price=Decimal(90),
            at=NOW,
            fees=(Cost("BTC/USD/1/fee", "USD", Decimal("0.09")),),
            maker=False,
        )
        assert report.fills[0] == first

    scenario(Session(fence=fence, taker_fee="0.001"), play)


@pytest.mark.parametrize("fence", [*VENUES, *LEDGERS])
def test_a_terminal_report_carries_all_fills(fence: str) -> None:
    """Filled by three trades at three times: whatever events said, the look-up has all three, and their sum."""

    async def play(session: Session) -> None:
        ref, _ = await session.place(1, spec(amount="3"))
        session.advance(500)
        for _ in range(3):
            session.advance(500)
            session.exchange.trade_through(BTC, "SELL", "100", "1")
        session.advance(1_500)
        report = await only(session, ref)
        assert (report.status, report.final, report.fills_complete) == (VenueStatus.FILLED, True, True)
        assert (len(report.fills), report.filled, report.tentative) == (
            3,
            Executed(Decimal(3), Decimal(300)),
            Executed(),
        )
        assert all(fill.maker and fill.final for fill in report.fills)

    scenario(Session(fence=fence), play)


def test_on_a_ledger_execution_is_tentative_until_its_block_is_final() -> None:
    """Two fills, three blocks apart: the older counts, the newer may still vanish; versions only rise."""

    async def play(session: Session) -> None:
        ref, _ = await session.place(1, spec(amount="2"))
        session.advance(500)
        session.exchange.trade_through(BTC, "SELL", "100", "1")
        session.advance(1_500)
        session.exchange.trade_through(BTC, "SELL", "100", "1")
        seen: list[Any] = []
        for _ in range(4):
            report = await only(session, ref)
            seen.append((report.filled.base, report.tentative.base, report.final, [f.final for f in report.fills]))
            versions.append(report.version or 0)
            session.advance(500)
        assert seen == [
            (1, 1, False, [True, False]),
            (1, 1, False, [True, False]),
            (1, 1, False, [True, False]),
            (2, 0, True, [True, True]),
        ]

    versions: list[int] = []
    scenario(Session(fence="sequence", block_ms=500, finality=2), play)
    assert versions == sorted(set(versions))


def test_all_matches_are_returned() -> None:
    """Two orders with one client id, which a time window allows: hiding one would hide the damage."""

    async def play(session: Session) -> None:
        ref, ticket = await session.attempt(1)
        for _ in range(2):
            await session.adapter.submit(ticket)
            session.exchange.trade_through(BTC, "SELL", "100", "1")
        found = await session.adapter.lookup(ref)
        assert isinstance(found, Found)
        assert len({report.id for report in found.reports}) == 2

    scenario(Session(), play)


def test_absent_says_since_when_it_could_have_seen_the_order() -> None:
    """With a memory of 5 s, an order placed and cancelled 6 s ago is gone: the look-up must not count as proof."""

    async def play(session: Session) -> None:
        ref, _ = await session.place(1)
        ref = replace(ref, ids=())
        await session.adapter.submit(await session.ticket(Cancel(key(2), ref)))
        session.advance(4_999)
        assert isinstance(await session.adapter.lookup(ref), Found)
        session.advance(1)
        absent = await session.adapter.lookup(ref)
        assert isinstance(absent, Absent)
        assert absent.since > ref.placed_at
        assert not proves_dead(ref, absent)
        assert session.opened.retention == 5_000

    scenario(Session(retention_ms=5_000, window_ms=1_000), play)


def test_without_a_limit_of_memory_absence_counts_from_the_beginning() -> None:
    """Retention is for ever, and says so."""

    async def play(session: Session) -> None:
        ref, _ = await session.attempt(1)
        absent = await session.adapter.lookup(ref)
        assert isinstance(absent, Absent)
        assert (absent.since, session.opened.retention) == (0, FOREVER)

    scenario(Session(), play)


def test_without_client_ids_an_unanswered_order_is_never_sure_and_candidates_are_shown() -> None:
    """The order that may be it; not the one of another side, price or amount, nor an older one."""

    async def play(session: Session) -> None:
        await session.place(8)
        session.advance(60_000)
        await session.place(9, spec(amount="2"))
        session.exchange.faults.once("answer_lost", "order")
        ref, ticket = await session.attempt(1)
        with pytest.raises(Exception, match="connection lost"):
            await session.adapter.submit(ticket)
        unsure = await session.adapter.lookup(ref)
        assert isinstance(unsure, Unsure)
        assert unsure.retry_at is None
        assert [(report.id.value, report.key) for report in unsure.candidates] == [("3", None)]

    scenario(Session(fence="none"), play)


def test_without_client_ids_a_known_order_is_found_by_the_venues_id() -> None:
    """The kernel remembers which; the adapter does not have to."""

    async def play(session: Session) -> None:
        ref, _ = await session.place(1)
        report = await only(session, ref)
        assert (report.key, report.id) == (key(1), order_id(ref))
        gone = await session.adapter.lookup(replace(ref, ids=(VenueId("order", "99"),)))
        assert isinstance(gone, Absent)

    scenario(Session(fence="none"), play)


@pytest.mark.parametrize("fault", ["not_sent", "request_lost", "answer_lost", "unavailable", "error_after", "garbled"])
@pytest.mark.parametrize("op", ["find", "time"])
def test_a_read_that_failed_is_unavailable_and_never_absence(fault: str, op: str) -> None:
    """Whichever of the two reads of a look-up it hits."""

    async def play(session: Session) -> None:
        ref, _ = await session.place(1)
        session.exchange.faults.once(fault, op)
        with pytest.raises(Unavailable):
            await session.adapter.lookup(ref)
        assert session.exchange.faults.counts[fault] == 1

    scenario(Session(), play)


def test_a_rate_limited_read_says_when_to_ask_again_in_local_time() -> None:
    """The venue's time is turned into the local clock's, 30 s ahead here, and rounded to the safe side."""

    async def play(session: Session) -> None:
        session.exchange.faults.once("rate_limit", "account", ms=3_000)
        with pytest.raises(RateLimited) as caught:
            await session.adapter.account()
        assert caught.value.retry_at == NOW + 3_000 + 30_000 + session.opened.clock_error

    scenario(Session(local_ms=30_000), play)


# ledgers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fence", LEDGERS)
def test_one_order_keeps_one_identity_from_the_pool_into_the_block(fence: str) -> None:
    """Pending under its client id, working under the same id, linked to the venue's number."""

    async def play(session: Session) -> None:
        ref, ack = await session.place(1)
        pending = await only(session, ref)
        session.advance(500)
        working = await only(session, ref)
        assert (ack.stage, pending.status, working.status) == ("held", VenueStatus.PENDING, VenueStatus.WORKING)
        assert pending.id == working.id == VenueId("client", client_id(key(1))) == ref.tickets[0].ids[0]
        assert working.links == (VenueId("order", "1"),)
        assert (pending.final, working.final) == (False, False)

    scenario(Session(fence=fence), play)


def test_a_number_is_spent_only_once_its_block_is_final() -> None:
    """Burnt under the nose of a pending order: absent at once, proved dead two blocks later."""

    async def play(session: Session) -> None:
        ref, place = await session.attempt(1)
        await session.adapter.submit(place)
        burn = await session.ticket(Burn(key(2), Slot(ME, 0)), instead_of=place)
        await session.adapter.submit(burn)
        ref = replace(ref, tickets=(place, burn))
        proofs = []
        for _ in range(4):
            session.advance(500)
            absent = await session.adapter.lookup(ref)
            assert isinstance(absent, Absent)
            proofs.append(proves_dead(ref, absent))
        assert proofs == [False, False, True, True]

    scenario(Session(fence="sequence", finality=2), play)


def test_a_transaction_below_the_base_fee_asks_to_be_replaced() -> None:
    """A pending report with a need; nothing is decided by the adapter."""

    async def play(session: Session) -> None:
        ref, ticket = await session.attempt(1)
        session.exchange.set_base_fee("0.05")
        await session.adapter.submit(ticket)
        session.advance(5_000)
        report = await only(session, ref)
        assert report.need is not None
        assert (report.status, report.need.what) == (VenueStatus.PENDING, "replace")
        bump = await session.ticket(Place(key(1), spec()), instead_of=ticket)
        await session.adapter.submit(bump)
        session.advance(500)
        assert (await only(session, ref)).status is VenueStatus.WORKING

    scenario(Session(fence="sequence"), play)


@pytest.mark.parametrize("fence", [*LEDGERS, "permanent_key"])
def test_an_order_that_failed_where_failures_are_kept_is_found_rejected(fence: str) -> None:
    """With its network fee, and final like everything else."""

    async def play(session: Session) -> None:
        ref, ticket = await session.attempt(1, spec(amount="999999"))
        with pytest.raises(InsufficientFunds) if fence == "permanent_key" else nullcontext():
            await session.adapter.submit(ticket)
        session.advance(2_000)
        report = await only(session, ref)
        ledger = fence != "permanent_key"
        assert (report.status, report.final) == (VenueStatus.REJECTED, True)
        assert report.why is (Why.REVERTED if ledger else Why.FUNDS)
        assert [(cost.asset, cost.amount, cost.kind) for cost in report.costs] == (
            [("USD", Decimal("0.01"), "network")] if ledger else []
        )

    scenario(Session(fence=fence), play)


@pytest.mark.parametrize("command", ["burn", "cancel_all"])
def test_commands_that_are_no_orders_are_found_as_steps(command: str) -> None:
    """By their own key: done, and final when their block is."""

    async def play(session: Session) -> None:
        await session.place(1)
        steps: dict[str, Any] = {"burn": Burn(key(2), Slot(ME, 1)), "cancel_all": CancelAll(key(2), None)}
        ticket = await session.ticket(steps[command])
        await session.adapter.submit(ticket)
        ref = Ref(key(2), BTC, None, NOW, (), (ticket,))
        session.advance(500)
        states = []
        for _ in range(2):
            found = await session.adapter.lookup(ref)
            assert isinstance(found, Found)
            [step] = found.reports
            assert isinstance(step, StepReport)
            states.append((step.key, step.state, step.final, [cost.amount for cost in step.costs]))
            session.advance(1_000)
        cost = [Decimal("0.01")]
        assert states == [(key(2), "done", False, cost), (key(2), "done", True, cost)]

    scenario(Session(fence="sequence"), play)


def test_a_failed_amend_on_a_ledger_is_news_beside_its_order() -> None:
    """The order is there unamended; the step says why. A failed cancel of an order that is not there proves nothing."""

    async def play(session: Session) -> None:
        ref, _ = await session.place(1, spec(amount="2"))
        session.advance(500)
        session.exchange.trade_through(BTC, "SELL", "100", "1")
        amend = await session.ticket(Amend(key(2), ref, spec(amount="1")))
        await session.adapter.submit(amend)
        session.advance(500)
        found = await session.adapter.lookup(replace(ref, tickets=(*ref.tickets, amend)))
        assert isinstance(found, Found)
        order, step = found.reports
        assert isinstance(order, OrderReport)
        assert isinstance(step, StepReport)
        assert (order.amount, order.applied) == (Decimal(2), key(1))
        assert (step.key, step.state, step.text) == (key(2), "failed", "AMEND_BELOW_FILLED")
        nowhere = Ref(key(7), BTC, None, NOW)
        cancel = await session.ticket(Cancel(key(8), nowhere))
        await session.adapter.submit(cancel)
        session.advance(500)
        assert isinstance(await session.adapter.lookup(replace(nowhere, tickets=(cancel,))), Absent)

    scenario(Session(fence="sequence"), play)


@pytest.mark.parametrize("fence", ["time_window", "sequence", "permanent_key"])
def test_an_amended_order_shows_which_command_it_shows(fence: str) -> None:
    """Same order, new total and price, and the key of the amend."""

    async def play(session: Session) -> None:
        ref, _ = await session.place(1)
        session.advance(500)
        before = await only(session, ref)
        await session.adapter.submit(await session.ticket(Amend(key(2), ref, spec(amount="3", limit="99"))))
        session.advance(500)
        after = await only(session, ref)
        assert (before.id, before.applied) == (after.id, key(1))
        assert (after.amount, after.price, after.applied, after.key) == (Decimal(3), Decimal(99), key(2), key(1))
        assert (after.version or 0) > (before.version or 0)

    scenario(Session(fence=fence), play)


# snapshots ------------------------------------------------------------------------------------------------------


async def snapshot(session: Session) -> list[OrderReport]:
    """All pages."""
    page: str | None = None
    found: list[OrderReport] = []
    while True:
        answer = await session.adapter.open_orders(page)
        assert (answer.complete, answer.symbols, answer.owner) == (True, None, "account")
        found += answer.reports
        if answer.next is None:
            return found
        page = answer.next


@pytest.mark.parametrize("fence", [*VENUES, *LEDGERS])
def test_snapshots_show_every_open_order_of_the_account_over_all_pages(fence: str) -> None:
    """Foreign ones too, without a key; on a ledger also what still waits in the pool."""

    async def play(session: Session) -> None:
        for number in range(1, 6):
            await session.place(number)
        session.advance(500)
        if fence == "time_window":
            request = {"op": "order", "client": "by-hand", "ts": session.now(), "window": 900, "symbol": BTC}
            session.exchange.trade("main", {**request, "side": "SELL", "amount": "1", "limit": "900"})
        await session.place(9)
        reports = await snapshot(session)
        ours = [report.key for report in reports if report.key is not None]
        expected = [key(number) for number in (1, 2, 3, 4, 5, 9)]
        assert sorted(ours) == ([] if fence == "none" else expected)
        assert len(reports) == (7 if fence == "time_window" else 6)
        pending = [report for report in reports if report.status is VenueStatus.PENDING]
        assert len(pending) == (1 if fence in LEDGERS else 0)

    scenario(Session(fence=fence, page_size=2), play)


def test_the_account_shows_totals_and_what_is_free() -> None:
    """The total includes what orders hold; on a sequence also the next number."""

    async def play(session: Session) -> None:
        await session.place(1)
        session.advance(500)
        snapshot = await session.adapter.account()
        usd = {balance.asset: balance for balance in snapshot.balances}["USD"]
        assert (usd.total, usd.free) == (Decimal("999999.99"), Decimal("999899.99"))
        assert (snapshot.complete, dict(snapshot.floors)) == (True, {ME: 1})

    scenario(Session(fence="sequence"), play)


@pytest.mark.parametrize("fence", [*VENUES, *LEDGERS])
def test_history_pages_to_the_end_and_continues_from_its_cursor(fence: str) -> None:
    """Finished orders with all their fills, once each; then an empty page; later what is new since."""

    async def play(session: Session) -> None:
        session.exchange.set_ladder(BTC, [], [("90", "100")])
        for number in range(1, 4):
            await session.place(number)
        session.advance(3_000)
        cursor: str | None = None
        seen: list[Any] = []
        while (page := await session.adapter.history(cursor))[0]:
            cursor = page[1]
            seen += page[0]
        assert [type(item) for item in seen] == [OrderReport] * 3
        assert all(item.final and item.fills_complete and item.filled.base == 1 for item in seen)
        assert await session.adapter.history(cursor) == ([], cursor)
        await session.place(9)
        session.advance(3_000)
        [later], _ = await session.adapter.history(cursor)
        assert isinstance(later, OrderReport)
        assert later.filled == Executed(Decimal(1), Decimal(90))

    scenario(Session(fence=fence, page_size=2), play)


def test_history_shows_fills_of_orders_that_are_still_open() -> None:
    """As loose fills, with the same id and order as everywhere else."""

    async def play(session: Session) -> None:
        ref, _ = await session.place(1, spec(amount="2"))
        session.exchange.trade_through(BTC, "SELL", "100", "1")
        items, _ = await session.adapter.history(None)
        assert items == list((await only(session, ref)).fills)

    scenario(Session(), play)


def test_wrong_credentials_stop_the_account() -> None:
    """Already when it opens."""
    session = Session()
    session.exchange.open_account("main", "right", {})

    async def play() -> None:
        with pytest.raises(NotAuthorized):
            await session.adapter.open(session.context(secrets={"secret": "wrong"}))
        await session.adapter.close()

    asyncio.run(play())


def test_a_delayed_read_does_not_age_the_watermark_upwards() -> None:
    """The answer to `time` takes 3 s to come: the watermark is what the venue said, not when it was heard."""

    async def play(session: Session) -> None:
        ref, _ = await session.attempt(1)
        session.exchange.faults.once("delay", "find", ms=3_000)
        absent = await passing(session, session.adapter.lookup(ref))
        assert isinstance(absent, Absent)
        assert absent.at.venue_ms == NOW

    scenario(Session(), play)


@pytest.mark.parametrize("fence", LEDGERS)
def test_two_orders_without_client_ids_are_two_orders(fence: str) -> None:
    """Somebody else's orders on a ledger need no client id: pending or in a block, each has a name of its own."""

    async def play(session: Session) -> list[set[tuple[str, str]]]:
        exchange = session.exchange
        for n, rid in enumerate(("by-hand-1", "by-hand-2")):
            assert exchange.chain is not None
            life = {"number": n} if fence == "sequence" else {"last_height": exchange.chain.head(exchange.now) + 50}
            request = {"op": "order", "account": "main", "symbol": BTC, "side": "BUY", "amount": "1", "limit": "90"}
            exchange.trade("main", {**request, "tif": "GTC", "rid": rid, "fee": "1", **life})
        seen = []
        for _ in range(2):
            page = await session.adapter.open_orders(None)
            seen.append({(report.id.kind, report.id.value) for report in page.reports})
            session.advance(10 * session.adapter._terms.block_ms)
        return seen

    pending, working = scenario(Session(fence=fence), play)
    assert (len(working), {kind for kind, _ in working}) == (2, {"order"})
    assert all(kind in ("request", "order") for kind, _ in pending)
