"""USD-M futures from exchangeInfo: the filters as ``Decimal``, and what the account can do in each.

Sources: USD-M futures documentation (Exchange Information, Common Definition).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from exchange_kernel.schema import (
    AmountConstraints,
    AssetType,
    PriceConstraints,
    SymbolMetadata,
    TickSpacing,
)
from exchange_kernel.value import Value, revised
from exchange_kernel_binance.markets import offering

NATIVE = (
    "market",
    "limit",
    "amount_base",
    "gtc",
    "ioc",
    "fok",
    "post_only",
    "reduce_only",
    "amend_price",
    "amend_up",
    "amend_down",
    "cancel_free",
    "cancel_provable",
    "find_by_key",
    "lists_foreign",
    "fills_of_order",
    "partial_fills",
    "fills_final_at_once",
    "orders_outlive_session",
    "stop_loss",
    "take_profit",
    "trailing_pct",
    "trailing_activation",
    "trigger_limit",
    "source_last",
    "source_mark",
)
"""What every future offers."""
PARTLY = {
    "cancel_all": "of one symbol at a time; not of conditional orders, which are kept apart",
    "stream": "events are not numbered: one that is lost unnoticed shows in the next event of its order, or a look",
    "gtd": "ends on whole seconds, at least ten minutes ahead",
    "dead_man": "of each symbol; it cancels every order there, whoever placed it",
}


PERPETUAL = frozenset({"PERPETUAL"})
DATED = frozenset({"CURRENT_MONTH", "NEXT_MONTH", "CURRENT_QUARTER", "NEXT_QUARTER"})
"""Contract types (Common Definition). One that is being delivered has another, and takes no orders."""


class Filter(msgspec.Struct):
    """One filter of a contract; which fields it has depends on its type."""

    filterType: str
    minPrice: str = "0"
    maxPrice: str = "0"
    tickSize: str = "0"
    minQty: str = "0"
    maxQty: str = "0"
    stepSize: str = "0"
    notional: str = "0"


class Listed(msgspec.Struct):
    """One contract of exchangeInfo, as far as it matters."""

    symbol: str
    contractType: str
    deliveryDate: int
    status: str
    baseAsset: str
    quoteAsset: str
    marginAsset: str
    filters: list[Filter]


class Contract(Value, frozen=True):
    """One future. ``market_min`` and the like: of orders without a price, in base. ``filters``: as Binance lists
    them, read when they are needed."""

    meta: SymbolMetadata
    name: str
    market_min: Decimal | None
    market_max: Decimal | None
    market_step: Decimal | None
    filters: bytes = b"[]"


class _Filters(msgspec.Struct):
    filters: msgspec.Raw


_read = msgspec.json.Decoder(Listed).decode
_read_filters = msgspec.json.Decoder(_Filters).decode


def _some(text: str) -> Decimal | None:
    """A bound; zero switches it off."""
    return Decimal(text) or None


def symbol_of(listed: Listed) -> str:
    """What a future is called here: a dated one by its pair and its day of delivery, as ccxt does."""
    name = f"{listed.baseAsset}/{listed.quoteAsset}:{listed.marginAsset}"
    if listed.contractType in PERPETUAL:
        return name
    return f"{name}-{datetime.fromtimestamp(listed.deliveryDate // 1000, UTC):%y%m%d}"


def venue_name(symbol: str) -> str:
    """What Binance calls a future that is not listed any more."""
    pair, _, settled = symbol.partition(":")
    day = settled.partition("-")[2]
    return pair.replace("/", "") + (f"_{day}" if day else "")


def contract_of(listed: Listed, hedge: bool) -> Contract:
    """One future from its entry. Raises InvalidMetadata, KeyError for one without the filters that all have."""
    filters: Mapping[str, Filter] = {each.filterType: each for each in listed.filters}
    price, lot, market_lot = filters["PRICE_FILTER"], filters["LOT_SIZE"], filters.get("MARKET_LOT_SIZE")
    notional = filters.get("MIN_NOTIONAL")
    step = Decimal(lot.stepSize)
    native = (*NATIVE, "hedge_legs") if hedge else NATIVE
    meta = SymbolMetadata(
        symbol_id=symbol_of(listed),
        base=listed.baseAsset,
        quote=listed.quoteAsset,
        asset_type=AssetType.PERP if listed.contractType in PERPETUAL else AssetType.FUTURE,
        amounts=AmountConstraints(
            _some(lot.minQty) or step,
            step,
            max_amount=_some(lot.maxQty),
            min_notional=_some(notional.notional) if notional else None,
            quote_step=Decimal(1).scaleb(-8),
        ),
        prices=PriceConstraints(
            TickSpacing.FIXED,
            Decimal(price.tickSize),
            min_price=_some(price.minPrice),
            max_price=_some(price.maxPrice),
        ),
        capabilities=offering(native, tuple(PARTLY.items())),
        active=listed.status == "TRADING",
        venue_symbol=listed.symbol,
    )
    return Contract(
        meta=meta,
        name=listed.symbol,
        market_min=_some(market_lot.minQty) if market_lot else None,
        market_max=_some(market_lot.maxQty) if market_lot else None,
        market_step=_some(market_lot.stepSize) if market_lot else None,
    )


def contract_in(raw: msgspec.Raw, wanted: frozenset[str], hedge: bool) -> Contract | None:
    """The contract of one entry, if it is a kind that is known and ``wanted``; every one is where nothing is named."""
    listed = _read(raw)
    if listed.contractType not in PERPETUAL | DATED:
        return None
    contract = revised(contract_of(listed, hedge), filters=bytes(_read_filters(raw).filters))
    return contract if not wanted or contract.meta.symbol_id in wanted else None
