"""Random order flow: whatever happens, nothing is created or lost, and nothing trades more than it may."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from exchange_kernel_paper.exchange import Exchange, FileJournal, ManualClock, read_journal
from plugins.paper.tests.desk import Desk

ACCOUNTS = ("main", "other", "poor")
SYMBOLS = ("BTC/USD", "BTC/USD", "XAU/USD")

prices = st.integers(98, 102).map(str)
amounts = st.sampled_from(["0.1", "0.5", "1", "2.5", "40"])

order = st.tuples(
    st.just("order"),
    st.sampled_from(("main", "other", "main", "other", "poor")),
    st.sampled_from(SYMBOLS),
    st.sampled_from(["BUY", "SELL"]),
    amounts,
    prices,
    st.sampled_from(
        [
            {},
            {},
            {"in": "QUOTE"},
            {"tif": "IOC"},
            {"tif": "FOK"},
            {"tif": "DAY"},
            {"tif": "GTD"},
            {"post_only": True},
            {"display": "0.1"},
            {"limit": None},
            {"limit": None, "in": "QUOTE"},
            {"limit": None, "tif": "FOK"},
        ]
    ),
)
rows = st.lists(st.tuples(st.sampled_from(["BUY", "SELL"]), amounts, prices), min_size=3, max_size=3)
groups = st.tuples(
    st.just("group"), st.sampled_from(("main", "other", "poor")), st.sampled_from(["oco", "oto", "bracket"]), rows
)
change = st.tuples(st.sampled_from(["amend", "cancel"]), st.integers(0, 30), amounts, prices)
house = st.tuples(st.sampled_from(["ladder", "through"]), st.sampled_from(SYMBOLS), st.integers(97, 103), amounts)
other = st.one_of(st.tuples(st.just("advance"), st.integers(1, 20_000)), st.tuples(st.just("cancel_all")))
flows = st.lists(st.one_of(order, order, order, groups, groups, change, house, other), min_size=10, max_size=60)
fees = st.fixed_dictionaries(
    {
        "fee_in": st.sampled_from(["quote", "base", "received"]),
        "maker_fee": st.sampled_from(["0", "0.0002"]),
        "taker_fee": st.sampled_from(["0", "0.0005", "0.01"]),
        "retention_ms": st.sampled_from([0, 5_000]),
        "read_lag_ms": st.sampled_from([0, 1_000]),
    }
)


def play(desk: Desk, step: tuple[Any, ...]) -> None:
    """Do one thing on the exchange."""
    exchange = desk.exchange
    if step[0] == "order":
        _, account, symbol, side, amount, limit, more = step
        fields = {"limit": limit, **more}
        if fields.get("in") == "QUOTE":
            amount = str(int(Decimal(amount) * 100) + 3)
        if fields.get("tif") == "GTD":
            fields["until"] = desk.clock.now_ms() + 7_000
        desk.order(side, amount, account=account, symbol=symbol, **fields)
    elif step[0] == "group":
        _, account, kind, legs = step
        fields = [{"side": side, "amount": amount, "limit": limit} for side, amount, limit in legs]
        desk.group(kind, fields[: 3 if kind == "bracket" else 2], account)
    elif step[0] in ("amend", "cancel"):
        _, which, amount, limit = step
        known = sorted(number for number, each in exchange.engine.orders.items() if not each.account.house)
        if known:
            target = exchange.engine.orders[known[which % len(known)]]
            fields = {"amount": amount, "limit": limit} if step[0] == "amend" else {}
            desk.call(step[0], target.account.name, order=target.id, **fields)
    elif step[0] == "ladder":
        _, symbol, price, amount = step
        exchange.set_ladder(symbol, [(str(price - 1), amount)], [(str(price), amount), (str(price + 1), amount)])
    elif step[0] == "through":
        _, symbol, price, amount = step
        exchange.trade_through(symbol, "BUY" if price % 2 else "SELL", str(price), amount)
    elif step[0] == "advance":
        desk.clock.advance(step[1])
    else:
        desk.call("cancel_all")


def check(exchange: Exchange, supply: dict[str, Decimal]) -> None:
    """Everything that must hold between two requests."""
    assert {asset: amount for asset, amount in exchange.supply().items() if amount} == supply
    held: dict[tuple[str, str], Decimal] = {}
    for each in exchange.engine.orders.values():
        assert each.filled >= 0
        assert each.left >= 0, f"order {each.id} executed more than its amount"
        asset = each.market.quote if each.side == "BUY" else each.market.base
        if not each.account.house:
            assert (each.held > 0) == (each.status == "WORKING")
            key = each.account.name, asset
            held[key] = held.get(key, Decimal(0)) + each.held
            if each.limit is not None and each.applied == each.client:  # never amended
                for trade in each.trades:
                    assert trade.price <= each.limit if each.side == "BUY" else trade.price >= each.limit
    for account in exchange.engine.accounts.values():
        for asset, balance in account.balances.items():
            if not account.house:
                assert balance.free >= 0
                assert balance.held == held.get((account.name, asset), 0)
    for book in exchange.engine.books.values():
        bid, ask, _ = book.top()
        assert bid is None or ask is None or bid < ask


def check_ledger(exchange: Exchange) -> None:
    """The oracle says what the orders say, and of groups that they kept their rule."""
    assert exchange.ledger.unruly() == {}
    for record in exchange.ledger.orders():
        assert record.executed <= record.most
        order = exchange.engine.orders.get(record.id)
        if order is not None:
            assert (record.base, record.quote, record.status) == (order.filled, order.spent, order.status)
            assert record.fills == len(order.trades)
        else:
            assert not record.fills
            assert not record.live


@settings(max_examples=300)
@given(fees, flows)
def test_nothing_is_created_or_lost(given_fees: dict[str, Any], flow: list[tuple[Any, ...]]) -> None:
    """Over any flow: assets are conserved, no balance is below zero, orders hold what is held, books never cross."""
    desk = Desk(groups=["oco", "oto", "bracket"], **given_fees)
    supply = desk.exchange.supply()
    for step in flow:
        play(desk, step)
        check(desk.exchange, supply)
    check_ledger(desk.exchange)


@settings(max_examples=40)
@given(flows, st.sampled_from(["time_window", "permanent_key", "sequence", "height"]))
def test_the_journal_gives_back_the_same_exchange(flow: list[tuple[Any, ...]], fence: str) -> None:
    """Replaying the journal of any flow gives the same ledger, orders and balances, under every fence."""
    with TemporaryDirectory() as folder:
        compare_replay(flow, fence, Path(folder) / "journal")


def compare_replay(flow: list[tuple[Any, ...]], fence: str, path: Path) -> None:
    """Play a flow with a journal, replay the journal, compare."""
    desk = Desk(fence=fence, groups=["oco", "oto", "bracket"])
    first = Exchange("test", desk.clock, desk.exchange.settings)
    first.keep_journal(FileJournal(path))
    for name in ACCOUNTS:
        first.open_account(name, f"secret of {name}", {"USD": "10000", "BTC": "50", "SOL": "50"})
    desk.exchange, desk.front = first, type(desk.front)(first)
    for step in flow:
        play(desk, step)
    desk.clock.advance(2_000)
    first.deposit("main", "USD", "1")
    second = Exchange("test", ManualClock(desk.clock.now_ms()), first.settings)
    second.replay(list(read_journal(path)))
    assert json.dumps(second.ledger.dump()) == json.dumps(first.ledger.dump())
    assert second.supply() == first.supply()
    for name, account in first.engine.accounts.items():
        twin = second.account(name)
        assert {a: (b.free, b.held) for a, b in account.balances.items()} == {
            a: (b.free, b.held) for a, b in twin.balances.items()
        }
        assert [view.view() for view in account.open.values()] == [view.view() for view in twin.open.values()]
