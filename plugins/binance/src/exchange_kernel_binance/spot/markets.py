"""Spot markets from exchangeInfo: the filters as ``Decimal``, and what the account can do in each.

Sources: rest-api.md (Exchange information), filters.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from exchange_kernel.schema import (
    AmountConstraints,
    AssetType,
    MarketCapabilities,
    PriceConstraints,
    SymbolMetadata,
    TickSpacing,
)
from exchange_kernel.value import Value, revised
from exchange_kernel_binance.markets import offering

COMMON = (
    "limit",
    "amount_base",
    "gtc",
    "ioc",
    "fok",
    "amend_down",
    "amend_keeps_queue",
    "cancel_free",
    "cancel_provable",
    "find_by_key",
    "lists_foreign",
    "fills_of_order",
    "partial_fills",
    "fills_final_at_once",
    "orders_outlive_session",
)
"""What every spot market offers."""
PARTLY = {
    "cancel_all": "of one symbol at a time",
    "stream": "events are not numbered: one that is lost unnoticed shows in the next event of its order, or a look",
}

QUOTED = "market orders without a worst price; as near to the amount as whole lots come"
"""rest-api.md, New order: ``quoteOrderQty``."""


class Filter(msgspec.Struct):
    """One filter of a symbol; which fields it has depends on its type."""

    filterType: str
    minPrice: str = "0"
    maxPrice: str = "0"
    tickSize: str = "0"
    minQty: str = "0"
    maxQty: str = "0"
    stepSize: str = "0"
    minNotional: str = "0"
    maxNotional: str = "0"
    applyMinToMarket: bool = True
    limit: int = 0
    minTrailingBelowDelta: int = 0
    maxTrailingBelowDelta: int = 0


class Listed(msgspec.Struct):
    """One symbol of exchangeInfo, as far as it matters."""

    symbol: str
    status: str
    baseAsset: str
    quoteAsset: str
    orderTypes: list[str]
    filters: list[Filter]
    quoteAssetPrecision: int = 8
    icebergAllowed: bool = False
    quoteOrderQtyMarketAllowed: bool = False
    allowTrailingStop: bool = False
    amendAllowed: bool = False
    ocoAllowed: bool = False
    otoAllowed: bool = False
    isSpotTradingAllowed: bool = True
    isMarginTradingAllowed: bool = False


class SpotMarket(Value, frozen=True):
    """One market. ``market_max``, ``market_step``: of orders without a price, in base; None: as for others.
    ``filters``: as Binance lists them, read when they are needed."""

    meta: SymbolMetadata
    name: str
    market_min: Decimal | None
    market_max: Decimal | None
    market_step: Decimal | None
    iceberg_parts: int
    trailing: tuple[int, int]
    filters: bytes = b"[]"
    margin: bool = False


class _Filters(msgspec.Struct):
    filters: msgspec.Raw


_read = msgspec.json.Decoder(Listed).decode
_read_filters = msgspec.json.Decoder(_Filters).decode


def _some(text: str) -> Decimal | None:
    """A bound; zero switches it off."""
    return Decimal(text) or None


def market_of(listed: Listed) -> SpotMarket:
    """One market from its entry. Raises InvalidMetadata, KeyError for an entry without the filters that all have."""
    filters: Mapping[str, Filter] = {each.filterType: each for each in listed.filters}
    price, lot = filters["PRICE_FILTER"], filters["LOT_SIZE"]
    notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL")
    market_lot, trailing = filters.get("MARKET_LOT_SIZE"), filters.get("TRAILING_DELTA")
    step, tick = Decimal(lot.stepSize), _some(price.tickSize)
    meta = SymbolMetadata(
        symbol_id=f"{listed.baseAsset}/{listed.quoteAsset}",
        base=listed.baseAsset,
        quote=listed.quoteAsset,
        asset_type=AssetType.SPOT,
        amounts=AmountConstraints(
            _some(lot.minQty) or step,
            step,
            max_amount=_some(lot.maxQty),
            min_notional=_some(notional.minNotional) if notional else None,
            max_notional=_some(notional.maxNotional) if notional else None,
            quote_step=Decimal(1).scaleb(-listed.quoteAssetPrecision),
        ),
        prices=PriceConstraints(
            TickSpacing.CONTINUOUS if tick is None else TickSpacing.FIXED,
            tick,
            min_price=_some(price.minPrice),
            max_price=_some(price.maxPrice),
        ),
        capabilities=_capabilities(listed),
        active=listed.status == "TRADING",
        venue_symbol=listed.symbol,
    )
    return SpotMarket(
        meta=meta,
        name=listed.symbol,
        market_min=_some(market_lot.minQty) if market_lot else None,
        market_max=_some(market_lot.maxQty) if market_lot else None,
        market_step=_some(market_lot.stepSize) if market_lot else None,
        iceberg_parts=filters["ICEBERG_PARTS"].limit if "ICEBERG_PARTS" in filters else 0,
        trailing=(trailing.minTrailingBelowDelta, trailing.maxTrailingBelowDelta) if trailing else (0, 0),
    )


def market_in(raw: msgspec.Raw, wanted: frozenset[str]) -> SpotMarket | None:
    """The market of one entry, if it can be traded on spot and is ``wanted``; every one is where nothing is named."""
    listed = _read(raw)
    if not listed.isSpotTradingAllowed or (wanted and f"{listed.baseAsset}/{listed.quoteAsset}" not in wanted):
        return None
    filters = bytes(_read_filters(raw).filters)
    return revised(market_of(listed), filters=filters, margin=listed.isMarginTradingAllowed)


def _capabilities(listed: Listed) -> MarketCapabilities:
    native = [name for name in COMMON if listed.amendAllowed or not name.startswith("amend")]
    types = frozenset(listed.orderTypes)
    if "MARKET" in types:
        native.append("market")
    if "LIMIT_MAKER" in types:
        native.append("post_only")
    if listed.icebergAllowed:
        native.append("iceberg")
    trails = listed.allowTrailingStop and types.issuperset(("STOP_LOSS", "TAKE_PROFIT"))
    native += ["trailing_pct", "trailing_activation"] if trails else []
    quoted = "MARKET" in types and listed.quoteOrderQtyMarketAllowed
    partly = {**PARTLY, "amount_quote": QUOTED} if quoted else PARTLY
    kinds = [name for name in ("stop_loss", "take_profit") if name.upper() in types]
    if kinds:
        native += [*kinds, "source_last"]
        native += ["trigger_limit"] if all(f"{name.upper()}_LIMIT" in types for name in kinds) else []
    native += ["group_oco"] if listed.ocoAllowed else []
    native += ["group_oto"] if listed.otoAllowed else []
    native += ["group_bracket"] if listed.ocoAllowed and listed.otoAllowed else []
    return offering(tuple(native), tuple(partly.items()))
