"""What must never be signed: each is refused with a typed error that names the rule, and the account used no number."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest

from exchange_kernel.clock import SystemClock
from exchange_kernel.errors import (
    ConfigError,
    InsufficientFunds,
    InvalidOrder,
    NotAuthorized,
    OrderRefused,
    Unavailable,
    UnknownSymbol,
    Unsupported,
)
from exchange_kernel.schema import AmountType, Side, TimeInForce, TriggerKind
from exchange_kernel.value import revised
from exchange_kernel.venue import FOREVER, Context, Enable, NeedsFirst, Place, Prep, Slot, Spec, Trigger
from exchange_kernel_evm.keys import LocalSigner
from exchange_kernel_evm.policy import PolicyRefused
from exchange_kernel_evm.transactions import Unsigned
from exchange_kernel_uniswap.adapter import UniswapAdapter
from plugins.uniswap.tests.ground import TOKENS, Node, Trader, configuration

CLOCK = SystemClock()
SELL = Spec("WETH/USDC", Side.SELL, Decimal(1), limit=Decimal(2500), tif=TimeInForce.FOK)
USDC, WETH = (TOKENS[name]["address"] for name in ("USDC", "WETH"))  # type: ignore[index]
ONE_POOL = [{"version": "v3", "tokens": ["WETH", "USDC"], "fee": 500}]
LOOK_ALIKE = "0x6B175474E89094C44Da98b954EedeAC495271d0F"


class Witness:
    """A signer that remembers whether it was ever asked."""

    def __init__(self, trader: Trader) -> None:
        self._inner, self.asked = LocalSigner(bytes(trader.account.key)), 0
        self.address = trader.address

    async def sign(self, transaction: Unsigned) -> bytes:
        self.asked += 1
        return await self._inner.sign(transaction)

    async def sign_typed(self, message: Any) -> bytes:
        self.asked += 1
        return await self._inner.sign_typed(message)


class Numbers:
    """Were numbers taken?"""

    def __init__(self) -> None:
        self.taken = 0

    def take(self, scope: str) -> Slot:
        self.taken += 1
        return Slot(scope, 0)

    def prep(self, **more: Any) -> Prep:
        return Prep(CLOCK.now_ms(), more.pop("give_up", CLOCK.now_ms() + 60_000), self.take, **more)


def refused(
    trader: Trader, error: type[Exception], play: Callable[[UniswapAdapter, Numbers], Awaitable[Any]], **config: Any
) -> Any:
    """Plays until the error, which it returns; nothing was signed, no number taken, nothing sent."""
    trader.node("evm_setTime", CLOCK.now_ms() // 1000)
    trader.node("anvil_mine", "0x1")
    nonce = trader.node("eth_getTransactionCount", trader.address, "pending")
    witness, numbers = Witness(trader), Numbers()

    async def scene() -> None:
        adapter = UniswapAdapter(witness)
        settings = {"rpc": trader.node.url, "confirmations": 1, "poll_ms": 50, **configuration(), **config}
        try:
            await adapter.open(Context("main", settings, clock=CLOCK.now_ms, sleep=CLOCK.sleep))
            await play(adapter, numbers)
        finally:
            await adapter.close()

    with pytest.raises(error) as caught:
        asyncio.run(scene())
    assert (witness.asked, numbers.taken) == (0, 0)
    assert trader.node("eth_getTransactionCount", trader.address, "pending") == nonce
    return caught.value


async def opened(adapter: UniswapAdapter, numbers: Numbers) -> None:
    """Nothing more than open."""


def placed(spec: Spec, **prep: Any) -> Callable[[UniswapAdapter, Numbers], Awaitable[Any]]:
    async def play(adapter: UniswapAdapter, numbers: Numbers) -> Any:
        return await adapter.prepare(Place(b"k" * 16, spec), numbers.prep(**prep))

    return play


def test_a_node_of_another_chain_is_refused(node: Node, trader: Trader) -> None:
    """The account says mainnet; so must the node."""
    node("anvil_setChainId", 31337)
    try:
        error = refused(trader, ConfigError, opened)
    finally:
        node("anvil_setChainId", 1)
    assert error.field == "rpc" and "is a node of chain 31337, not of 1" in str(error)


def test_a_chain_where_uniswap_is_not_known_is_refused(trader: Trader) -> None:
    """Before a node is asked."""
    assert refused(trader, Unsupported, opened, chain="sepolia").feature == "chain sepolia"
    assert refused(trader, Unsupported, opened, chain="base").feature == "chain base"


@pytest.mark.parametrize(
    ("config", "field", "rule"),
    [
        ({"tokens": TOKENS | {"USDC": {"address": USDC.lower(), "decimals": 6}}}, "tokens.USDC.address", "checksum"),
        ({"tokens": TOKENS | {"USDC": {"address": USDC[:-1], "decimals": 6}}}, "tokens.USDC.address", "not an address"),
        ({"tokens": TOKENS | {"USDC": {"address": USDC, "decimals": 8}}}, "tokens.USDC.decimals", "6 decimals on the"),
        ({"tokens": TOKENS | {"ETH": {"address": "0x" + "1" * 40, "decimals": 18}}}, "tokens.ETH", "own coin"),
        (
            {"tokens": {"WETH": TOKENS["WETH"], "USDC": TOKENS["USDC"], "Ether": "native"}, "pools": ONE_POOL},
            "tokens.Ether",
            "own coin",
        ),
        ({"symbols": ["UNI/USDC"]}, "symbols", "is not in the token list"),
        ({"symbols": ["WETH/USDC", "USDC/WETH"]}, "symbols", "the other way round"),
        ({"allow_ahead": {"UNI": "5"}}, "allow_ahead.UNI", "is no token of the list"),
        ({"allow_ahead": {"USDC": "0.0000001"}}, "allow_ahead.USDC", "more than the 6 decimals"),
        ({"allow_ahead": {"USDC": 1.5}}, "allow_ahead.USDC", "must be an amount"),
        ({"max_quote_age_s": 0}, "max_quote_age_s", "whole number of seconds"),
        ({"universal_router_version": "2.2"}, "universal_router_version", "is not known"),
        ({"tokens": TOKENS | {"X": {"address": "0x" + "1" * 40, "decimals": 18}}}, "tokens.X.decimals", "no token"),
        ({"universal_router": "0x" + "1" * 40}, "universal_router", "is no Universal Router"),
        ({"universal_router": "0x" + "0" * 40}, "universal_router", "is no Universal Router"),
        ({"universal_router": USDC}, "universal_router", "is no Universal Router"),
        ({"universal_router": ""}, "universal_router", "is not an address"),
        ({"universal_router_version": ["2.0"]}, "universal_router_version", "is not known"),
        ({"address": USDC[:-1] + "9"}, "address", "checksum"),
        ({"address": ""}, "address", "is no address"),
        ({"address": None}, "address", "is no address"),
        ({"symbols": [["WETH", "USDC"]]}, "symbols", "must be BASE/QUOTE"),
        ({"allow_ahead": {"USDC": "1E+5"}}, "allow_ahead.USDC", "with an exponent"),
        ({"allow_ahead": {"USDC": "١٢"}}, "allow_ahead.USDC", "not ASCII"),
        ({"max_value_eth": "١٢"}, "max_value_eth", "not ASCII"),
        ({"tokenz": {}}, "tokenz", "is no setting"),
    ],
)
def test_a_bad_setting_is_refused_by_name(trader: Trader, config: dict[str, Any], field: str, rule: str) -> None:
    """At open, with the key, the value and the rule."""
    error = refused(trader, ConfigError, opened, **config)
    assert error.field == field and rule in str(error)


def test_a_key_of_another_address_is_refused(trader: Trader) -> None:
    """The account names its address; the key must be that one's."""
    refused(trader, NotAuthorized, opened, address=USDC)


def test_a_token_is_its_address_and_never_its_symbol(trader: Trader) -> None:
    """What calls itself USDC at another address is not traded as USDC: its pool is not where USDC's pools are."""
    tokens = {**TOKENS, "USDC": {"address": LOOK_ALIKE, "decimals": 18}, "DAI": {"address": USDC, "decimals": 6}}
    error = refused(trader, ConfigError, opened, tokens=tokens, pools=ONE_POOL)
    assert error.field == "pools[0]" and "does not exist" in str(error)


LATTICE = Decimal("3999.75325309")
MARKET = revised(SELL, limit=None, guard=Decimal(2500))
BAD: list[tuple[Spec, type[Exception], str]] = [
    (revised(SELL, symbol="WETH/UNI"), UnknownSymbol, "is not listed here"),
    (revised(SELL, symbol="WETH/USDT"), UnknownSymbol, "is not listed here"),
    (revised(SELL, amount=Decimal("NaN")), InvalidOrder, "amount"),
    (revised(SELL, amount=Decimal(-1)), InvalidOrder, "amount"),
    (revised(SELL, amount=Decimal("1E-19")), InvalidOrder, "below min_amount"),
    (revised(SELL, amount=Decimal("1E+40")), InvalidOrder, "above max_amount"),
    (revised(SELL, amount=Decimal("0.0000001"), amount_in=AmountType.QUOTE), InvalidOrder, "below min_notional"),
    (revised(SELL, limit=Decimal(0)), InvalidOrder, "limit"),
    (revised(SELL, limit=Decimal("Infinity")), InvalidOrder, "limit"),
    (revised(SELL, limit=Decimal("1E-37")), InvalidOrder, "limit"),
    (revised(SELL, limit=Decimal("1E+61")), InvalidOrder, "limit"),
    (revised(SELL, side=Side.BUY, limit=Decimal("1E-36")), InvalidOrder, "below min_notional"),
    (revised(MARKET, guard=None), InvalidOrder, "max_slippage"),
    (revised(SELL, until=1), InvalidOrder, "until"),
    (revised(SELL, tif=TimeInForce.GTD, until=CLOCK.now_ms() + 60_000), Unsupported, "gtd"),
    (revised(SELL, tif=TimeInForce.DAY), Unsupported, "day"),
    (revised(SELL, tif=TimeInForce.GTC), Unsupported, "gtc"),
    (revised(SELL, post_only=True), Unsupported, "a post-only order here is a position"),
    (revised(SELL, reduce_only=True), Unsupported, "reduce_only"),
    (revised(SELL, leg="LONG"), Unsupported, "hedge_legs"),
    (revised(SELL, display=Decimal("0.1")), Unsupported, "iceberg"),
    (revised(SELL, trigger=Trigger(TriggerKind.STOP_LOSS, Decimal(2900))), Unsupported, "stop_loss"),
]


@pytest.mark.parametrize(("spec", "error", "rule"), BAD)
def test_an_impossible_order_is_refused(trader: Trader, spec: Spec, error: type[Exception], rule: str) -> None:
    """By check and by prepare, with the rule."""
    assert rule in str(refused(trader, error, placed(spec)))


def test_no_margin_is_offered(trader: Trader) -> None:
    """Spot only: whoever asks for it is told before anything is built."""

    async def play(adapter: UniswapAdapter, numbers: Numbers) -> None:
        (market,) = await adapter.markets()
        for feature in ("margin_cross", "margin_isolated", "reduce_only", "hedge_legs"):
            assert not market.capabilities.offers(feature)
        await placed(revised(SELL, leg="SHORT"))(adapter, numbers)

    assert refused(trader, Unsupported, play).feature == "hedge_legs"


def test_more_than_the_account_has_is_refused(trader: Trader) -> None:
    """In tokens, in ether, and by a unit; with what it needs and has."""
    has = trader.balance(WETH)
    above = Decimal(has + 1).scaleb(-18)
    error = refused(trader, InsufficientFunds, placed(revised(SELL, amount=above, limit=Decimal("0.01"))))
    assert f"needs {above:f} WETH and has" in str(error)
    ether = revised(SELL, symbol="ETH/USDC", amount=Decimal(10**6), limit=Decimal("0.000001"))
    refused(trader, InsufficientFunds, placed(ether), symbols=["ETH/USDC"])


@pytest.mark.parametrize(
    ("spec", "token"),
    [
        (revised(SELL, amount=Decimal(999_999_999_999)), "WETH"),
        (revised(SELL, amount=Decimal(999_999_999_999), tif=TimeInForce.IOC), "WETH"),
        (revised(SELL, side=Side.BUY, amount=Decimal(999_999_999_999)), "USDC"),
        (revised(SELL, side=Side.BUY, amount=Decimal(999_999_999_999), amount_in=AmountType.QUOTE), "USDC"),
        (revised(MARKET, amount=Decimal(999_999_999_999)), "WETH"),
    ],
)
def test_more_than_the_account_has_is_refused_as_that_at_any_price(trader: Trader, spec: Spec, token: str) -> None:
    """No pool has so much, either: what the trader is told is what is needed and what is there, not a price."""
    assert f" {token} and has " in str(refused(trader, InsufficientFunds, placed(spec)))


def test_an_order_too_large_to_quote_holds_up_nobody_else(trader: Trader) -> None:
    """Its quote alone uses up what a node grants one call; the order beside it, in the same call, is still priced."""

    async def play(adapter: UniswapAdapter, numbers: Numbers) -> None:
        huge = revised(SELL, side=Side.BUY, amount=Decimal(999_999_999_999), amount_in=AmountType.QUOTE)
        results = await asyncio.gather(
            placed(huge)(adapter, numbers), placed(SELL)(adapter, numbers), return_exceptions=True
        )
        assert isinstance(results[0], InsufficientFunds) and isinstance(results[1], NeedsFirst)
        raise results[0]

    refused(trader, InsufficientFunds, play)


def test_a_range_order_of_more_than_the_account_has_is_refused(trader: Trader) -> None:
    """Its price is on the grid and above the market; only the deposit is missing."""
    spec = revised(SELL, amount=Decimal(9_999_999), limit=LATTICE, tif=TimeInForce.GTC, post_only=True)
    assert " WETH and has " in str(refused(trader, InsufficientFunds, placed(spec)))


@pytest.mark.parametrize("limit", ["4001", "3999.75325308", "3999.753253090000000000000000000000000001"])
def test_a_price_off_the_grid_is_refused_with_its_neighbours(trader: Trader, limit: str) -> None:
    """A post-only order's price is a tick of its pool, to the last digit."""
    spec = revised(SELL, limit=Decimal(limit), tif=TimeInForce.GTC, post_only=True)
    error = refused(trader, InvalidOrder, placed(spec))
    assert error.field == "limit_price" and "is not a price of this pool's tick grid" in str(error)
    assert "3999.75325309" in str(error)


def test_an_order_whose_time_is_up_is_refused(trader: Trader) -> None:
    """What nobody wants any more is not signed."""
    error = refused(trader, InvalidOrder, placed(SELL, give_up=CLOCK.now_ms() - 1))
    assert error.field == "give_up" and "has passed" in str(error)


def test_a_limit_that_no_pool_meets_is_refused(trader: Trader) -> None:
    """With the price there is and the price that is wanted; it would cost gas and do nothing."""
    error = refused(trader, OrderRefused, placed(revised(SELL, limit=Decimal(9999))))
    assert error.why == "reverted" and "9999" in str(error)


def test_a_block_that_is_too_old_is_not_traded_on(trader: Trader) -> None:
    """The node stands still: its prices are of another time."""

    async def play(adapter: UniswapAdapter, numbers: Numbers) -> Any:
        adapter._venue._board._begun -= 3_000
        return await adapter.prepare(Place(b"k" * 16, SELL), numbers.prep(give_up=FOREVER))

    assert "max_quote_age_s" in str(refused(trader, Unavailable, play))


def test_only_the_routers_may_be_allowed_anything(trader: Trader) -> None:
    """A step for somebody else, or for a token that is not of the list, is refused by the policy or by name."""

    async def stranger(adapter: UniswapAdapter, numbers: Numbers) -> Any:
        need = await placed(SELL)(adapter, numbers)
        assert isinstance(need, NeedsFirst)
        body = {**need.body, "spender": trader.address}
        numbers.take = lambda scope: Slot(scope, 0)  # type: ignore[method-assign] - the policy is asked with a number
        return await adapter.prepare(Enable(b"k" * 16, need.name, body, Decimal(10**18)), numbers.prep())

    assert refused(trader, PolicyRefused, stranger).field == "spender"

    async def other(adapter: UniswapAdapter, numbers: Numbers) -> Any:
        body = {"token": "0x" + "1" * 40, "spender": USDC}
        return await adapter.prepare(Enable(b"k" * 16, "x", body, Decimal(1)), numbers.prep())

    refused(trader, Unsupported, other)
