"""From the venue's words to the kernel's: markets, orders, fills, balances; and what each of its refusals means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from exchange_kernel.errors import (
    ClockSkew,
    InsufficientFunds,
    MarketClosed,
    NotAuthorized,
    OrderRefused,
    UnknownTarget,
    VenueError,
)
from exchange_kernel.schema import (
    AmountConstraints,
    AssetType,
    MarketCapabilities,
    PriceConstraints,
    Side,
    SymbolMetadata,
    TickSpacing,
)
from exchange_kernel.venue import Balance, Cost, Executed, Fill, FillVoided, Key, OrderReport, VenueId, VenueStatus, Why

NATIVE = (
    "limit",
    "amount_base",
    "gtc",
    "ioc",
    "cancel_free",
    "cancel_provable",
    "find_by_key",
    "lists_foreign",
    "fills_of_order",
    "stream",
    "partial_fills",
    "fills_final_at_once",
    "orders_outlive_session",
)
"""What this venue can do; everything else is declared unsupported, and must be refused."""

VERDICTS: Mapping[str, tuple[type[VenueError], Why]] = {
    "AUTH": (NotAuthorized, Why.OTHER),
    "TIMESTAMP": (ClockSkew, Why.OTHER),
    "FILTER": (OrderRefused, Why.FILTER),
    "FUNDS": (InsufficientFunds, Why.FUNDS),
    "CLOSED": (MarketClosed, Why.MARKET_CLOSED),
    "UNKNOWN_ORDER": (UnknownTarget, Why.OTHER),
}
"""Codes by which the venue, as it documents, says that it did nothing. A code that is not here decides nothing.

Give each line its source: the page and section of the venue's documentation."""

PREFIX = "exk"
_STATUS = {
    "open": VenueStatus.WORKING,
    "filled": VenueStatus.FILLED,
    "cancelled": VenueStatus.CANCELED,
    "expired": VenueStatus.EXPIRED,
}


def client_id(key: Key) -> str:
    """The client id of a key: reversible, and legal at the venue for any key."""
    return PREFIX + key.hex()


def key_of(client: str) -> Key | None:
    """The key behind a client id; None for an id that is not one of ours."""
    try:
        key = bytes.fromhex(client.removeprefix(PREFIX))
    except ValueError:
        return None
    return key if key and client == client_id(key) else None


def market(view: Mapping[str, Any]) -> SymbolMetadata:
    """One market."""
    step = Decimal(view["step"])
    tick = Decimal(view["tick"])
    return SymbolMetadata(
        symbol_id=view["symbol"],
        base=view["base"],
        quote=view["quote"],
        asset_type=AssetType.SPOT,
        amounts=AmountConstraints(
            step, step, max_amount=Decimal(view["max_amount"]), min_notional=Decimal(view["min_notional"])
        ),
        prices=PriceConstraints(TickSpacing.FIXED, tick, min_price=tick, max_price=Decimal(view["max_price"])),
        capabilities=MarketCapabilities.of(native=NATIVE),
        active=view["open"],
    )


def order(view: Mapping[str, Any]) -> OrderReport:
    """One order, with all its fills."""
    named, status = VenueId("order", str(view["id"])), _STATUS[view["status"]]
    return OrderReport(
        id=named,
        symbol=view["symbol"],
        side=Side(view["side"]),
        status=status,
        as_of=view["updated"],
        key=key_of(view["client"]),
        links=(VenueId("client", view["client"]),),
        why=Why.USER if status is VenueStatus.CANCELED else Why.NONE,
        amount=Decimal(view["amount"]),
        price=Decimal(view["limit"]),
        filled=Executed(Decimal(view["filled"]), Decimal(view["spent"])),
        fills=tuple(_fill(trade, named, view) for trade in view["trades"]),
        fills_complete=True,
        final=status.terminal,
        version=view["version"],
    )


def balances(rows: Sequence[Sequence[str]]) -> tuple[Balance, ...]:
    """Rows of asset, free and held."""
    return tuple(Balance(asset, Decimal(free) + Decimal(held), Decimal(free)) for asset, free, held in rows)


def voided(bust: Mapping[str, Any]) -> FillVoided:
    """A trade the venue has taken back."""
    return FillVoided(_trade_id(bust), bust["revision"], Why.OTHER)


def _trade_id(trade: Mapping[str, Any], symbol: str = "") -> str:
    # Trade ids of most venues count per symbol, so the symbol is part of ours.
    return f"{symbol or trade['symbol']}/{trade['id']}"


def _fill(trade: Mapping[str, Any], of: VenueId, view: Mapping[str, Any]) -> Fill:
    name, base, price = _trade_id(trade, view["symbol"]), Decimal(trade["base"]), Decimal(trade["price"])
    quote = view["symbol"].partition("/")[2]
    return Fill(
        id=name,
        of=of,
        base=base,
        quote=base * price,
        price=price,
        at=trade["at"],
        fees=(Cost(f"{name}/fee", quote, Decimal(trade["fee"])),),
        maker=trade["maker"],
        revision=trade["revision"],
    )
