"""USD-M perpetuals from exchangeInfo: the filters as ``Decimal``, and what the account can do in each.

Sources: USD-M futures documentation (Exchange Information, Common Definition).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import msgspec

from exchange_kernel.schema import (
    AmountConstraints,
    AssetType,
    PriceConstraints,
    SymbolMetadata,
    TickSpacing,
)
from exchange_kernel.value import Value
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
)
"""What every perpetual offers."""
PARTLY = {
    "cancel_all": "of one symbol at a time; not of conditional orders, which are kept apart",
    "stream": "events are not numbered: one that is lost unnoticed shows in the next event of its order, or a look",
    "gtd": "ends on whole seconds, at least ten minutes ahead",
}


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
    status: str
    baseAsset: str
    quoteAsset: str
    marginAsset: str
    filters: list[Filter]


class Contract(Value, frozen=True):
    """One perpetual. ``market_min`` and the like: of orders without a price, in base."""

    meta: SymbolMetadata
    name: str
    market_min: Decimal | None
    market_max: Decimal | None
    market_step: Decimal | None


_read = msgspec.json.Decoder(Listed).decode


def _some(text: str) -> Decimal | None:
    """A bound; zero switches it off."""
    return Decimal(text) or None


def contract_of(listed: Listed, hedge: bool) -> Contract:
    """One perpetual from its entry. Raises InvalidMetadata, KeyError for one without the filters that all have."""
    filters: Mapping[str, Filter] = {each.filterType: each for each in listed.filters}
    price, lot, market_lot = filters["PRICE_FILTER"], filters["LOT_SIZE"], filters.get("MARKET_LOT_SIZE")
    notional = filters.get("MIN_NOTIONAL")
    step = Decimal(lot.stepSize)
    native = (*NATIVE, "hedge_legs") if hedge else NATIVE
    meta = SymbolMetadata(
        symbol_id=f"{listed.baseAsset}/{listed.quoteAsset}:{listed.marginAsset}",
        base=listed.baseAsset,
        quote=listed.quoteAsset,
        asset_type=AssetType.PERP,
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
    """The contract of one entry, if it is a perpetual and ``wanted``; every one is where nothing is named."""
    listed = _read(raw)
    if listed.contractType != "PERPETUAL":
        return None
    contract = contract_of(listed, hedge)
    return contract if not wanted or contract.meta.symbol_id in wanted else None
