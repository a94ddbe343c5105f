"""Adapters that are not what they say they are."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from exchange_kernel.errors import ConfigError
from exchange_kernel.plugins.honesty import METHODS, NEEDS_ONE_OF, PROTOCOLS, contradictions, shape, vet
from exchange_kernel.plugins.specs import Level
from exchange_kernel.schema import (
    FEATURES,
    AmountConstraints,
    AssetType,
    MarketCapabilities,
    PriceConstraints,
    SymbolMetadata,
    TickSpacing,
)
from exchange_kernel.venue import VenueAdapter
from exchange_kernel_paper.adapter import PaperAdapter

ALL = [name for name in FEATURES if name not in ("quotes", "dead_man")]


def market(
    native: Iterable[str] = (), symbol: str = "BTC/USD", partial: Mapping[str, str] | None = None
) -> SymbolMetadata:
    return SymbolMetadata(
        symbol,
        "BTC",
        "USD",
        AssetType.SPOT,
        AmountConstraints("0.1", "0.1"),
        PriceConstraints(TickSpacing.FIXED, tick="0.1"),
        MarketCapabilities.of(native, partial or {}),
    )


def failures(adapter: object, *markets: Any) -> dict[str, str]:
    found = contradictions(adapter, markets)
    return {each.subject: each.text for each in found if each.level is Level.FAILURE}


class Bare:
    """The ten methods, and no more."""

    async def open(self, ctx: object) -> None: ...
    async def close(self) -> None: ...
    async def markets(self) -> None: ...
    def check(self, spec: object, was: object = None) -> None: ...
    async def prepare(self, command: object, prep: object) -> None: ...
    async def submit(self, ticket: object) -> None: ...
    async def lookup(self, ref: object) -> None: ...
    async def open_orders(self, page: object) -> None: ...
    async def account(self) -> None: ...
    def events(self, cursor: object) -> None: ...


def test_the_paper_adapter_is_honest() -> None:
    """What it declares it has; an adapter with the ten methods alone and nothing declared is honest too."""
    assert shape(PaperAdapter()) == []
    assert contradictions(PaperAdapter(), [market(ALL), market(ALL, "ETH/USD")]) == []
    assert contradictions(Bare(), [market()]) == []


@pytest.mark.parametrize("name", METHODS)
def test_a_missing_method_is_found(name: str) -> None:
    """Each of the ten, also when something else stands in its place."""
    bare = Bare()
    setattr(bare, name, None)

    assert failures(bare, market()) == {name: "the adapter has no such method, and every adapter needs it"}


@pytest.mark.parametrize(("feature", "method"), PROTOCOLS.items())
@pytest.mark.parametrize("level", ["native", "partial"])
def test_a_declared_protocol_that_is_not_there_is_a_lie(feature: str, method: str, level: str) -> None:
    """One market that declares it is enough."""
    liar = market([feature]) if level == "native" else market(partial={feature: "only a little"})

    assert failures(Bare(), market(symbol="ETH/USD"), liar) == {
        feature: f"BTC/USD declares it, and the adapter has no method {method}"
    }


def test_a_protocol_that_nobody_declares_is_odd() -> None:
    """An offer that is there and not declared keeps no account from starting."""
    found = contradictions(PaperAdapter(), [market()])

    assert {(each.level, each.subject) for each in found} == {(Level.WARNING, "prices"), (Level.WARNING, "history")}


@pytest.mark.parametrize(("feature", "others"), NEEDS_ONE_OF.items())
def test_a_feature_of_another_means_nothing_alone(feature: str, others: tuple[str, ...]) -> None:
    """How a trigger is limited, where there is no trigger."""
    assert failures(Bare(), market([feature])) == {feature: f"BTC/USD declares it without {' or '.join(others)}"}
    for other in others:
        assert failures(Bare(), market([feature, other])) == {}


def test_markets_are_what_they_must_be() -> None:
    """Symbols once each, and nothing else among them."""
    assert failures(Bare(), market(), market()) == {"markets": "BTC/USD is there twice"}
    assert failures(Bare(), "BTC/USD") == {"markets": "number 0 is str, and must be SymbolMetadata"}


class Eager(Bare):
    async def check(self, spec: object, was: object = None) -> None: ...  # type: ignore[override]
    async def events(self, cursor: object) -> None: ...  # type: ignore[override]
    async def submit(self, ticket: object) -> AsyncIterator[None]:  # type: ignore[override]
        yield


def test_methods_of_the_wrong_kind_are_found() -> None:
    """A check that must be awaited, a stream that must be awaited, a submit that is a stream."""
    assert failures(Eager(), market()) == {
        "check": "it is a coroutine function, and must be a plain function",
        "events": "it is a coroutine function, and must be an asynchronous iterator, not a coroutine that returns one",
        "submit": "it is a generator, and must be a coroutine function",
    }


def test_an_account_is_told_all_of_it(caplog: pytest.LogCaptureFixture) -> None:
    """The error names the account, its venue, the adapter's class, and what contradicts what; oddities are logged."""
    adapter: Any = Bare()
    with pytest.raises(ConfigError) as caught:
        vet("main", "acme", adapter, [market(["history", "trigger_limit"])])

    assert str(caught.value).startswith(f"accounts.main.venue 'acme': its adapter {__name__}.Bare contradicts itself: ")
    assert "trigger_limit: BTC/USD declares it without" in str(caught.value)
    assert "history: BTC/USD declares it, and the adapter has no method history" in str(caught.value)
    with caplog.at_level(logging.WARNING):
        vet("main", "acme", PaperAdapter(), [market(["prices"])])
    assert "history: the adapter has the method history, and no market declares it" in caplog.text


def test_an_adapter_that_cannot_be_looked_at_is_refused() -> None:
    """Attributes that raise, and markets that are no sequence, are the adapter's own fault."""

    class Thorny(Bare):
        @property
        def submit(self) -> None:  # type: ignore[override]
            raise SystemExit(1)

    thorny: Any = Thorny()
    with pytest.raises(ConfigError, match="it cannot be looked at: SystemExit: 1"):
        vet("main", "acme", thorny, [market()])
    bare: Any = Bare()
    with pytest.raises(ConfigError, match="it cannot be looked at: TypeError"):
        vet("main", "acme", bare, None)  # type: ignore[arg-type]


def test_many_contradictions_are_counted() -> None:
    """A long list is cut, and says how much more there is."""
    twice = [replace(market(), symbol_id="A/B")] * 9
    adapter: VenueAdapter = PaperAdapter()
    with pytest.raises(ConfigError, match="and 3 more"):
        vet("main", "acme", adapter, twice)
