"""Rows to dataclasses and back: nothing is lost, nothing is rounded, no field is forgotten."""

from __future__ import annotations

from dataclasses import MISSING, fields
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange_kernel.models import Condition, Desired, IntentStatus, Limits, OrderIntent
from exchange_kernel.schema import (
    AmountType,
    ConditionalOrderMode,
    ConditionalTrigger,
    PriceSource,
    Rounding,
    Side,
    StandardOrder,
    TimeInForce,
    TrailUnit,
    TriggerKind,
)
from exchange_kernel.state.rows import (
    AccountRow,
    Attempt,
    AttemptState,
    EventRow,
    FillRow,
    Lease,
    PositionRow,
    Progress,
    StoreRow,
    TicketKind,
    TicketRow,
    TicketState,
)
from exchange_kernel.state.sql import codec
from exchange_kernel.state.sql import columns as c
from exchange_kernel.state.unit import storable
from exchange_kernel.venue import (
    Cost,
    Fence,
    HeightEnd,
    Money,
    Slot,
    SlotEnd,
    Spec,
    Ticket,
    TimeEnd,
    Trigger,
    VenueId,
)

D = Decimal
text = st.text(max_size=12)
whole = st.integers(0, 2**62)
money = st.decimals(
    min_value=D("-1e60"), max_value=D("1e60"), allow_nan=False, allow_infinity=False, places=18
) | st.integers(-(10**60), 10**60).map(D)
positive = st.decimals(min_value=D("1e-18"), max_value=D("1e30"), allow_nan=False, allow_infinity=False, places=18)
venue_ids = st.lists(st.builds(VenueId, text, text), max_size=3).map(tuple)
triggers = st.builds(
    Trigger,
    st.sampled_from(TriggerKind),
    st.none() | money,
    st.sampled_from(PriceSource),
    st.none() | money,
    st.sampled_from(TrailUnit),
    st.none() | money,
)
specs = st.builds(
    Spec,
    symbol=text,
    side=st.sampled_from(Side),
    amount=money,
    amount_in=st.sampled_from(AmountType),
    limit=st.none() | money,
    guard=st.none() | money,
    tif=st.sampled_from(TimeInForce),
    until=st.none() | whole,
    leg=st.sampled_from(["NET", "LONG", "SHORT"]),
    post_only=st.booleans(),
    reduce_only=st.booleans(),
    display=st.none() | money,
    trigger=st.none() | triggers,
)
ends = st.one_of(
    st.builds(TimeEnd, whole, st.sampled_from(["venue", "ledger"]), whole),
    st.builds(HeightEnd, whole),
    st.builds(SlotEnd, st.builds(Slot, text, st.integers(0, 2**256))),
)
fences = st.builds(Fence, st.booleans(), st.lists(ends, max_size=3).map(tuple), st.sampled_from(["venue", "ledger"]))
costs = st.lists(st.builds(Cost, text, text, money, st.sampled_from(["trade", "network", "funding"])), max_size=2).map(
    tuple
)
orders = st.builds(
    StandardOrder,
    st.just("BTC/USD"),
    st.sampled_from(Side),
    positive,
    st.sampled_from(AmountType),
    limit_price=st.none() | positive,
    reduce_only=st.booleans(),
    rounding=st.sampled_from(Rounding),
    allow_emulation=st.booleans(),
)


@given(money)
def test_money_comes_back_exactly(number: Decimal) -> None:
    """Any amount with up to 60 digits before and 36 after the point is stored without rounding."""
    assert codec.decimal(codec.money(number)) == number


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1E+500"])
def test_what_is_no_amount_is_refused(number: str) -> None:
    """NaN, infinities and absurd exponents are never written."""
    with pytest.raises(ValueError, match="no plain text"):
        codec.money(D(number))


@given(specs)
def test_a_spec_comes_back(spec: Spec) -> None:
    """Every field of a spec survives."""
    assert codec.read_spec(codec.spec(spec)) == spec


@given(fences)
def test_a_fence_comes_back(fence: Fence) -> None:
    """Every kind of end survives, sequence numbers of 256 bits too."""
    assert codec.read_fence(codec.fence(fence)) == fence


@given(orders)
def test_an_order_comes_back_with_the_same_hash(order: StandardOrder) -> None:
    """What the user wrote is what is read, and hashes the same."""
    again = codec.read_order(codec.order(order))

    assert again == order
    assert again.spec_hash() == order.spec_hash()


def test_an_order_with_everything_comes_back() -> None:
    """Trigger, life and limits of an order survive."""
    trigger = ConditionalTrigger(
        TriggerKind.TRAILING_STOP,
        price_source=PriceSource.MARK,
        trail_offset="1.5",
        trail_unit=TrailUnit.PERCENT,
        activation_price="60000",
        limit_price="1",
    )
    order = StandardOrder(
        "BTC/USD",
        Side.SELL,
        "1.25",
        time_in_force=TimeInForce.GTD,
        expire_at=1_900_000_000_000,
        conditional_trigger=trigger,
        conditional_mode=ConditionalOrderMode.STANDALONE,
        iceberg_qty="0.5",
        reduce_only=True,
    )

    assert codec.read_order(codec.order(order)) == order


@given(st.lists(st.integers(0, 2**256), max_size=8))
def test_sequence_numbers_sort_as_text(numbers: list[int]) -> None:
    """The text of a sequence number sorts as the number does, and gives it back."""
    assert [codec.number(t) for t in sorted(map(codec.ordered, numbers))] == sorted(numbers)


@given(st.text(alphabet=st.characters(), max_size=20))
def test_free_text_is_made_storable(words: str) -> None:
    """A venue's words lose NUL and lone surrogates, which databases refuse, and nothing else."""
    kept = storable(words)

    assert "\0" not in kept
    assert kept.encode() is not None
    assert storable(kept) == kept
    assert len(kept) == len(words)


@given(st.builds(Condition, text, text, text, whole), st.lists(text, max_size=3), st.none() | money)
def test_conditions_and_limits_come_back(condition: Condition, symbols: list[str], cap: Decimal | None) -> None:
    """Conditions keep their order and times, limits their absence."""
    limits = Limits(cap, cap, 5, 60_000, frozenset(symbols) if symbols else None)

    assert codec.read_conditions(codec.conditions((condition, condition))) == (condition, condition)
    assert codec.read_limits(codec.limits(limits)) == limits


SPEC = Spec("BTC/USD", Side.SELL, D("1.5"))
TICKET = Ticket(
    b"k\0",
    bytes(range(256)),
    "codec/2",
    "identity",
    Fence(True, (HeightEnd(5),)),
    (VenueId("a", "b"),),
    7,
    (Money("ETH", D("0.1")),),
    "note",
)
FULL_TICKET = TicketRow(2, 3, TicketKind.AMEND, 4, TICKET, TicketState.SETTLED, 9, "why", SPEC)
FULL_ATTEMPT = Attempt(
    n=2,
    key=b"key",
    generation=3,
    spec=SPEC,
    placed_at=4,
    state=AttemptState.CLOSING,
    epoch=5,
    ids=(VenueId("order", "1"), VenueId("list", "2")),
    venue_status="filled",
    why="user",
    text="said",
    as_of=6,
    version=7,
    cum_base=D("1.1"),
    cum_quote=D("2.2"),
    booked_base=D("3.3"),
    booked_quote=D("4.4"),
    final=True,
    read_final=True,
    applied=8,
    applied_amount=D("9.9"),
    code="-2010",
    costs=(Cost("gas:1", "ETH", D("0.01"), "network"),),
)
FULL_FILL = FillRow(
    "f", 2, "BTC/USD", Side.SELL, D(1), D(2), D(3), 4, (Cost("c", "BNB", D("-0.1"), "funding"),), True, 5, True
)
FULL_PROGRESS = Progress(
    IntentStatus.PARKED, "why", 2, D(3), D(4), (Condition("Halted", "r", "m", 1),), D("5.5"), 6, 7, 8
)
FULL_INTENT = OrderIntent(
    account="a",
    intent_id="i",
    order=StandardOrder("BTC/USD", Side.BUY, 1, limit_price=2),
    desired=Desired.CANCELED,
    generation=2,
    labels={"k": "v"},
    group_id="g",
    submit_deadline=3,
    max_attempts=4,
    created_at=5,
    first_hash="h",
    version=6,
)
FULL_ACCOUNT = AccountRow(
    account="a",
    venue="v",
    identity="i",
    mode="live",
    event_seq=1,
    event_hash="h",
    halted={"actor": "me"},
    limits=Limits(D(1), D(2), 3, 4, frozenset({"X"})),
    open_notional=D("1.5"),
    rate_tokens=D("0.5"),
    rate_at=5,
    recovering={"cause": "c"},
    history_cursor="page 3",
    created_at=6,
)
FULL = [
    FULL_TICKET,
    TICKET,
    FULL_ATTEMPT,
    FULL_FILL,
    FULL_PROGRESS,
    FULL_INTENT,
    FULL_ACCOUNT,
    PositionRow("a", "s", D(1), D(2), D(3)),
    StoreRow("id", 2, 3, {"actor": "me"}, "copied"),
]


@pytest.mark.parametrize("row", FULL, ids=lambda row: type(row).__name__)
def test_the_rows_below_use_every_field(row: Any) -> None:
    """A field added to a row must be added to the round trips here, and so to the schema."""
    for f in fields(row):
        assert f.default is MISSING or getattr(row, f.name) != f.default, f.name


def test_whole_rows_come_back() -> None:
    """Every column of every table is written and read in its place."""
    key = ("a", "i")
    attempt = (*key, FULL_ATTEMPT.n, FULL_ATTEMPT.key, FULL_ATTEMPT.placed_at, *c.attempt_moving(FULL_ATTEMPT))
    fill = ("a", FULL_FILL.id, "i", FULL_FILL.symbol, FULL_FILL.side.value, *c.fill_moving(FULL_FILL))

    assert c.read_intent(c.intent_row(FULL_INTENT, FULL_PROGRESS, "digest")) == (FULL_INTENT, FULL_PROGRESS)
    assert c.read_attempt(attempt) == FULL_ATTEMPT
    assert c.read_ticket(c.ticket_row("a", "i", FULL_TICKET)) == FULL_TICKET
    assert c.read_fill(fill) == FULL_FILL
    assert c.read_account(c.account_row(FULL_ACCOUNT)) == FULL_ACCOUNT
    assert c.read_lease(c.lease_row(Lease("a", "o", 1, 2))) == Lease("a", "o", 1, 2)
    assert c.read_position(c.position_row(PositionRow("a", "s", D(1), None, D(3)))) == PositionRow(
        "a", "s", D(1), None, D(3)
    )


@pytest.mark.parametrize(
    ("columns", "row"),
    [
        (c.INTENT, c.intent_row(FULL_INTENT, FULL_PROGRESS, "digest")),
        (c.ATTEMPT_MOVING, c.attempt_moving(FULL_ATTEMPT)),
        (c.TICKET, c.ticket_row("a", "i", FULL_TICKET)),
        (c.FILL_MOVING, c.fill_moving(FULL_FILL)),
        (c.ACCOUNT, c.account_row(FULL_ACCOUNT)),
        (c.ORDER, c.order_row(FULL_INTENT, "digest", 3)),
        (c.EVENT, c.event_row(EventRow("a", 1, 2, "k", None, "me", "", "{}", "", "h"))),
    ],
)
def test_a_row_has_as_many_values_as_columns(columns: tuple[str, ...], row: tuple[Any, ...]) -> None:
    """Column lists and the tuples made for them have the same length."""
    assert len(columns) == len(row)
