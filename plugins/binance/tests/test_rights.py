"""What an API key may do: keys that could move money away are not taken, and those that cannot trade say so at once."""

from __future__ import annotations

from typing import Any

import pytest

from exchange_kernel.errors import ConfigError, NotAuthorized
from exchange_kernel.venue import Opened
from exchange_kernel_binance.adapter import BinanceAdapter
from exchange_kernel_binance.rights import Restrictions, taken
from exchange_kernel_binance.simulator import Simulator, standard_config
from exchange_kernel_binance.simulator.config import SimulatorConfig
from plugins.binance.tests.stage import Raw, on_stage
from plugins.binance.tests.test_adapter import by_address, by_name, context

MARKETS = pytest.mark.parametrize("market", ["spot", "usdm"])


def with_key(**restrictions: bool) -> SimulatorConfig:
    """Alice's key has these permissions."""
    settings = standard_config()
    settings.accounts[0].restrictions = restrictions
    return settings


def opened(market: str, restrictions: dict[str, bool], *, sapi: bool = True, **config: Any) -> Any:
    """What opening comes to: Opened, or the error."""
    found: list[Any] = []

    async def scene(binance: Simulator) -> None:
        where = by_address(binance, market)
        if sapi:
            where["urls"] = {"spot": binance.url, **where["urls"]}
        adapter = BinanceAdapter()
        try:
            found.append(await adapter.open(context(binance, {"market": market, **where, **config})))
            found.append(await adapter.account())
        except (ConfigError, NotAuthorized) as error:
            found.append(error)
        finally:
            await adapter.close()

    on_stage(scene, with_key(**restrictions))
    return found[0] if len(found) == 1 else found


@MARKETS
def test_a_key_that_may_withdraw_is_refused(market: str) -> None:
    """The refusal names the setting that would allow it, and not the key."""
    error = opened(market, {"enableWithdrawals": True})
    assert isinstance(error, ConfigError)
    assert (error.field, error.value) == ("secrets.api_key", "'(not shown)'")
    assert "enableWithdrawals" in error.rule
    assert "allow_withdraw_key: true" in error.hint


@MARKETS
def test_a_key_that_may_withdraw_is_taken_where_that_is_allowed(market: str) -> None:
    """And stays a condition of the account."""
    first, snapshot = opened(market, {"enableWithdrawals": True}, allow_withdraw_key=True)
    assert first.rights["withdraw"] is True
    assert [(each.kind, each.subject) for each in snapshot.notices] == [("credentials", "withdraw")]


@pytest.mark.parametrize(("market", "permission"), [("spot", "enableSpotAndMarginTrading"), ("usdm", "enableFutures")])
def test_a_key_that_may_not_trade_is_refused_at_open(market: str, permission: str) -> None:
    """It names the permission, and Binance's code for it. Futures refuse such a key everything."""
    error = opened(market, {permission: False})
    assert isinstance(error, NotAuthorized)
    assert error.code == "-2015"
    if market == "spot":
        assert permission in str(error)


def test_a_futures_key_that_only_reads_is_told_by_the_wallet() -> None:
    """Where futures answer its reads, the permission that its orders need is still named."""
    with pytest.raises(NotAuthorized, match=r"enableFutures is off.*-2015"):
        taken(Restrictions(enableReading=True), "usdm", allow_withdraw=False)


@MARKETS
def test_what_the_key_may_do_is_told(market: str) -> None:
    """As it is, by names that are the same for every venue."""
    first, snapshot = opened(market, {"permitsUniversalTransfer": True, "ipRestrict": False})
    assert first.rights == {
        "read": True,
        "trade": True,
        "transfer": True,
        "withdraw": False,
        "from_any_address": True,
    }
    assert snapshot.notices == ()


def test_where_nobody_can_be_asked_nothing_is_said() -> None:
    """A futures server without the wallet's address: nothing is refused, and no right is claimed."""
    first, _ = opened("usdm", {"enableWithdrawals": True}, sapi=False)
    assert isinstance(first, Opened)
    assert first.rights == {}


@MARKETS
def test_live_the_wallet_is_asked_by_its_real_name(market: str) -> None:
    """Over TLS at api.binance.com, for futures, too."""

    async def scene(binance: Simulator) -> None:
        with pytest.raises(ConfigError, match="enableWithdrawals"):
            await BinanceAdapter().open(context(binance, {"market": market, **by_name(binance, market)}))

    on_stage(scene, with_key(enableWithdrawals=True))


def test_the_simulator_tells_of_a_key_as_documented() -> None:
    """Every field of the documented answer, and a key without a permission is refused with -2015."""

    async def scene(binance: Simulator) -> None:
        async with Raw(binance) as alice, Raw(binance, "bob") as bob:
            told = await bob.ok("GET", "/sapi/v1/account/apiRestrictions")
            assert {name for name, value in told.items() if value is True} == {
                "ipRestrict", "enableReading", "enableMargin", "enableFutures", "enableSpotAndMarginTrading"
            }  # fmt: skip
            assert len(told) == 13
            fields = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.01"}
            assert (await alice.refused("POST", "/api/v3/order", **fields))[:2] == (401, -2015)
            assert (await alice.refused("GET", "/fapi/v3/balance"))[:2] == (401, -2015)
            await alice.ok("GET", "/api/v3/account")

    on_stage(scene, with_key(enableSpotAndMarginTrading=False, enableFutures=False))


def test_a_key_that_may_only_read_is_enough_to_look() -> None:
    """An account that is only observed takes a key without the trading permission, and says so in its rights; a key
    that may withdraw is refused there all the same."""
    found = taken(Restrictions(enableReading=True), "usdm", allow_withdraw=False, observe=True)
    assert (found["read"], found["trade"]) == (True, False)
    with pytest.raises(ConfigError, match="may withdraw"):
        taken(Restrictions(enableReading=True, enableWithdrawals=True), "spot", allow_withdraw=False, observe=True)
