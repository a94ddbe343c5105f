"""Filters as typed rules, and exchangeInfo read in slices."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest

from exchange_kernel.errors import Unavailable
from exchange_kernel_binance.filters import Asked, IcebergParts, LotSize, PriceFilter, Unread, rule_of
from exchange_kernel_binance.markets import SymbolRules, cut, in_slices, rules_of_symbol
from exchange_kernel_binance.simulator import Simulator
from exchange_kernel_binance.simulator.errors import ApiError
from exchange_kernel_binance.simulator.futures.contracts import Contract
from exchange_kernel_binance.simulator.spot.orders import OrderRequest
from exchange_kernel_binance.simulator.spot.rules import filtered
from exchange_kernel_binance.simulator.spot.symbols import SpotSymbol

D = Decimal
SYMBOL = SpotSymbol("BTCUSDT", "BTC", "USDT", D(50_000), market_step=D("0.001"), market_min_qty=D("0.002"))


def rules(info: dict[str, Any]) -> SymbolRules:
    (raw,) = cut(json.dumps({"symbols": [info]}).encode()).symbols
    return rules_of_symbol(raw)


def rule(**fields: Any) -> Any:
    return rule_of(json.dumps(fields).encode())


SPOT = rules(SYMBOL.info())


def simulated(request: OrderRequest, there: int = 0, conditional: int = 0) -> str:
    """The filter by which the simulated exchange refuses the request; "": it takes it."""
    try:
        filtered(request, SYMBOL, average=D(50_000), open_orders=there, open_algo_orders=conditional)
    except ApiError as error:
        return error.message.removeprefix("Filter failure: ")
    return ""


ORDERS: dict[str, dict[str, Any]] = {
    "fits": {"quantity": "0.01", "price": "50000"},
    "off the tick": {"quantity": "0.01", "price": "50000.001"},
    "price too low": {"quantity": "1", "price": "0.001"},
    "price too high": {"quantity": "0.01", "price": "1000000.01"},
    "stop off the tick": {"quantity": "0.01", "price": "50000", "stop": "49000.001", "type": "STOP_LOSS_LIMIT"},
    "off the step": {"quantity": "0.0100001", "price": "50000"},
    "too little": {"quantity": "0.000009", "price": "900000"},
    "too much": {"quantity": "9000.1", "price": "50000"},
    "market off the step": {"quantity": "0.0105", "type": "MARKET"},
    "market too little": {"quantity": "0.001", "type": "MARKET"},
    "market too much": {"quantity": "100.001", "type": "MARKET"},
    "market fits": {"quantity": "0.01", "type": "MARKET"},
    "stop market too little": {"quantity": "0.001", "stop": "40000", "type": "STOP_LOSS"},
    "worth too little": {"quantity": "0.00009", "price": "50000"},
    "worth too much": {"quantity": "200", "price": "50000"},
    "market may be worth as much": {"quantity": "100", "type": "MARKET", "big": True},
    "quote too little": {"quote": "4.99", "type": "MARKET"},
    "quote fits": {"quote": "5", "type": "MARKET"},
    "far above": {"quantity": "0.01", "price": "250000.01"},
    "far below": {"quantity": "0.01", "price": "9999.99"},
    "just within": {"quantity": "0.01", "price": "250000"},
    "iceberg fits": {"quantity": "0.1", "price": "50000", "iceberg": "0.01"},
    "iceberg of too many parts": {"quantity": "0.11", "price": "50000", "iceberg": "0.01"},
    "iceberg off the step": {"quantity": "0.1", "price": "50000", "iceberg": "0.0500001"},
    "too many orders": {"quantity": "0.01", "price": "50000", "there": 200},
    "room for one more": {"quantity": "0.01", "price": "50000", "there": 199},
    "too many stops": {"quantity": "0.01", "stop": "40000", "type": "STOP_LOSS", "conditional": 5},
    "plain beside many stops": {"quantity": "0.01", "price": "50000", "conditional": 5},
    "trailing too close": {"quantity": "0.01", "delta": 9, "type": "STOP_LOSS"},
    "trailing too far": {"quantity": "0.01", "delta": 2001, "type": "STOP_LOSS"},
    "trailing": {"quantity": "0.01", "delta": 100, "type": "STOP_LOSS"},
}


@pytest.mark.parametrize("side", ["BUY", "SELL"])
@pytest.mark.parametrize("case", ORDERS)
def test_the_rules_refuse_what_the_exchange_refuses(case: str, side: str) -> None:
    """Each order is refused by the same filter here and on the simulated exchange, or by none."""
    given = ORDERS[case]
    kind = given.get("type", "LIMIT")
    amounts = {name: D(given[name]) if name in given else None for name in ("quantity", "quote", "price", "stop")}
    iceberg = D(given["iceberg"]) if "iceberg" in given else None
    request = OrderRequest(
        "BTCUSDT",
        side,
        kind,
        "GTC" if "LIMIT" in kind else None,
        amounts["quantity"],
        amounts["quote"],
        amounts["price"],
        stop_price=amounts["stop"],
        iceberg=iceberg,
        trailing_delta=given.get("delta"),
    )
    asked = Asked(
        buys=side == "BUY",
        **amounts,
        market="LIMIT" not in kind,
        conditional=kind.startswith(("STOP", "TAKE")),
        iceberg=iceberg,
        delta=given.get("delta"),
        reference=D(50_000),
        open_orders=given.get("there", 0),
        open_conditional=given.get("conditional", 0),
    )
    theirs = simulated(request, given.get("there", 0), given.get("conditional", 0))
    ours = [name for name, _ in SPOT.breaches(asked)]
    assert (theirs in ours) if theirs else ours == []


def test_what_is_not_known_refuses_nothing() -> None:
    """Without a reference price and without counts only what the order says itself is judged."""
    assert SPOT.breaches(Asked(True, quantity=D("0.01"), market=True)) == []
    assert SPOT.breaches(Asked(True, quantity=D("0.01"), price=D("999999"))) == []


def test_a_breach_names_value_and_rule() -> None:
    """The text says what is wrong, in plain numbers."""
    asked = Asked(True, quantity=D("0.0000001"), price=D("50000"))
    assert SPOT.breaches(asked) == [
        ("LOT_SIZE", "quantity 0.0000001 is below 0.00001000"),
        ("NOTIONAL", "notional 0.0050000 is below 5.00000000"),
    ]


@pytest.mark.parametrize(
    ("fields", "asked", "text"),
    [
        (
            {"filterType": "MAX_POSITION", "maxPosition": "10"},
            Asked(True, quantity=D(2), held=D(9)),
            "position 11 would be above 10",
        ),
        ({"filterType": "MAX_POSITION", "maxPosition": "10"}, Asked(False, quantity=D(2), held=D(9)), ""),
        (
            {"filterType": "MAX_NUM_ICEBERG_ORDERS", "maxNumIcebergOrders": 2},
            Asked(True, quantity=D(2), iceberg=D(1), open_icebergs=2),
            "2 icebergs are open, of at most 2",
        ),
        (
            {"filterType": "MIN_NOTIONAL", "minNotional": "10", "applyToMarket": False, "avgPriceMins": 5},
            Asked(True, quantity=D(1), market=True, reference=D(1)),
            "",
        ),
        (
            {"filterType": "MIN_NOTIONAL", "minNotional": "10", "applyToMarket": True, "avgPriceMins": 5},
            Asked(True, quantity=D(1), market=True, reference=D(1)),
            "notional 1 is below 10",
        ),
        (
            {"filterType": "PERCENT_PRICE", "multiplierUp": "2", "multiplierDown": "0.5", "avgPriceMins": 5},
            Asked(True, price=D(4), reference=D(10)),
            "price 4 is below 5.0",
        ),
        (
            {"filterType": "NOTIONAL", "minNotional": "1", "maxNotional": "10", "applyMaxToMarket": True}
            | {"applyMinToMarket": False, "avgPriceMins": 5},
            Asked(True, quantity=D(11), market=True, reference=D(1)),
            "notional 11 is above 10",
        ),
    ],
)
def test_rules_that_the_simulator_has_not(fields: dict[str, Any], asked: Asked, text: str) -> None:
    """Rules of other symbols, by their documented formulas."""
    assert rule(**fields).breach(asked) == text


def test_futures_rules() -> None:
    """Futures name some fields otherwise, and bound bids above and asks below."""
    found = rules(Contract("BTCUSDT", "BTC", "USDT", D(50_000)).info())

    def broken(**asked: Any) -> list[str]:
        return [name for name, _ in found.breaches(Asked(reference=D(50_000), **asked))]

    assert broken(buys=True, quantity=D("0.001"), price=D(50_000)) == []
    assert broken(buys=True, quantity=D("0.001"), price=D("4999")) == ["MIN_NOTIONAL"]
    assert broken(buys=False, quantity=D("1"), price=D(42_499)) == ["PERCENT_PRICE"]
    assert broken(buys=True, quantity=D("1"), price=D(42_499)) == []
    assert broken(buys=True, quantity=D("1"), price=D(57_501)) == ["PERCENT_PRICE"]
    assert broken(buys=False, quantity=D("1"), price=D(57_501)) == []
    assert broken(buys=True, quantity=D("121"), market=True) == ["MARKET_LOT_SIZE"]
    assert broken(buys=True, quantity=D("1"), price=D(50_000), open_orders=200) == ["MAX_NUM_ORDERS"]
    stop = {"buys": True, "quantity": D("1"), "conditional": True, "market": True}
    assert broken(**stop, open_conditional=100) == ["MAX_NUM_ALGO_ORDERS"]


def test_rules_are_decimals() -> None:
    """Every number of a filter is a Decimal or an int, as Binance wrote it."""
    price = SPOT.rule(PriceFilter)
    assert price == PriceFilter(D("0.01"), D(1_000_000), D("0.01"))
    assert SPOT.rule(LotSize) is not None
    parts = SPOT.rule(IcebergParts)
    assert parts is not None and type(parts.limit) is int
    assert not any(isinstance(value, float) for each in SPOT.rules for value in _values(each))


def _values(each: Any) -> list[Any]:
    return [getattr(each, name) for name in type(each).__struct_fields__]


def test_a_filter_of_tomorrow() -> None:
    """A filter of an unknown type is kept by its name, and refuses nothing."""
    found = rule(filterType="T_PLUS_SELL", endTime=5)
    assert found == Unread("T_PLUS_SELL")
    assert found.breach(Asked(True, quantity=D(1))) == ""


def test_a_filter_that_is_not_whole() -> None:
    """A known filter without its fields is an error, not a rule without bounds."""
    with pytest.raises(ValueError, match="tickSize"):
        rule(filterType="PRICE_FILTER", minPrice="1", maxPrice="2")
    with pytest.raises(ValueError, match="truncated"):
        cut(b'{"symbols": [{"symbol": "A"')


@pytest.mark.parametrize("market", ["spot", "futures"])
def test_the_exchange_info_of_the_simulator(market: str) -> None:
    """Every symbol and every filter that it lists is read, with its limits of rate."""
    simulator = Simulator()
    name = "exchangeInfo"
    info = simulator.act(name, "alice", {}, market=market)

    async def play() -> list[SymbolRules]:
        return await in_slices(cut(json.dumps(info).encode()), rules_of_symbol)

    found = asyncio.run(play())
    assert [each.symbol for each in found] == [each["symbol"] for each in info["symbols"]]
    unread = {each.filterType for row in found for each in row.rules if isinstance(each, Unread)}
    assert unread <= {"MAX_NUM_ORDER_LISTS", "MAX_NUM_ORDER_AMENDS"}
    assert cut(json.dumps(info).encode()).rate_limits == tuple(info["rateLimits"])


def test_others_go_on_between_slices() -> None:
    """While a thousand symbols are read somebody else runs after every slice."""
    listed = [{"symbol": f"S{number}", "status": "TRADING", "filters": []} for number in range(1_000)]
    info = cut(json.dumps({"symbols": listed}).encode())
    turns: list[int] = []

    async def play() -> None:
        reading = asyncio.ensure_future(in_slices(info, rules_of_symbol, 10))
        while not reading.done():
            turns.append(1)
            await asyncio.sleep(0)
        assert len(await reading) == 1_000

    asyncio.run(play())
    assert len(turns) >= 100


def test_a_symbol_that_is_not_whole() -> None:
    """An entry without its filters makes the read fail, as one that may be repeated."""
    info = cut(b'{"symbols": [{"symbol": "A"}]}')
    with pytest.raises(Unavailable, match="not whole"):
        asyncio.run(in_slices(info, rules_of_symbol))
