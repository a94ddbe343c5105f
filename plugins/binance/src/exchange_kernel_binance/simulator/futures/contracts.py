"""A USD-M contract with its filters as /fapi/v1/exchangeInfo shows them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from exchange_kernel_binance.simulator.numbers import text

FOREVER = 4_133_404_800_000


@dataclass(slots=True)
class Contract:
    """Amounts are base, prices and notionals in the margin asset; `maintenance` is a fraction of the notional."""

    symbol: str
    base: str
    quote: str
    last_price: Decimal
    tick: Decimal = Decimal("0.10")
    min_price: Decimal = Decimal("0.10")
    max_price: Decimal = Decimal("1000000")
    step: Decimal = Decimal("0.001")
    min_qty: Decimal = Decimal("0.001")
    max_qty: Decimal = Decimal("1000")
    market_max_qty: Decimal = Decimal("120")
    min_notional: Decimal = Decimal("5")
    multiplier_up: Decimal = Decimal("1.15")
    multiplier_down: Decimal = Decimal("0.85")
    max_orders: int = 200
    max_algo_orders: int = 100
    max_leverage: int = 125
    maintenance: Decimal = Decimal("0.004")
    status: str = "TRADING"
    delivery: int = FOREVER
    contract_type: str = "PERPETUAL"
    price_precision: int = 2
    quantity_precision: int = 3

    def price(self, value: Decimal) -> str:
        return text(value, self.price_precision)

    def amount(self, value: Decimal) -> str:
        return text(value, self.quantity_precision)

    def info(self) -> dict[str, Any]:
        """The contract's entry in exchangeInfo."""
        lot = {"minQty": self.amount(self.min_qty), "stepSize": self.amount(self.step)}
        return {
            "symbol": self.symbol,
            "pair": self.base + self.quote,
            "contractType": self.contract_type,
            "deliveryDate": self.delivery,
            "onboardDate": 1_569_398_400_000,
            "status": self.status,
            "maintMarginPercent": "2.5000",
            "requiredMarginPercent": "5.0000",
            "baseAsset": self.base,
            "quoteAsset": self.quote,
            "marginAsset": self.quote,
            "pricePrecision": self.price_precision,
            "quantityPrecision": self.quantity_precision,
            "baseAssetPrecision": 8,
            "quotePrecision": 8,
            "underlyingType": "COIN",
            "underlyingSubType": ["PoW"],
            "settlePlan": 0,
            "triggerProtect": "0.0500",
            "filters": [
                {
                    "filterType": "PRICE_FILTER",
                    "minPrice": self.price(self.min_price),
                    "maxPrice": self.price(self.max_price),
                    "tickSize": self.price(self.tick),
                },
                {"filterType": "LOT_SIZE", "maxQty": self.amount(self.max_qty), **lot},
                {"filterType": "MARKET_LOT_SIZE", "maxQty": self.amount(self.market_max_qty), **lot},
                {"filterType": "MAX_NUM_ORDERS", "limit": self.max_orders},
                {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": self.max_algo_orders},
                {"filterType": "MIN_NOTIONAL", "notional": str(self.min_notional)},
                {
                    "filterType": "PERCENT_PRICE",
                    "multiplierUp": str(self.multiplier_up),
                    "multiplierDown": str(self.multiplier_down),
                    "multiplierDecimal": "4",
                },
            ],
            "orderTypes": [
                "LIMIT",
                "MARKET",
                "STOP",
                "STOP_MARKET",
                "TAKE_PROFIT",
                "TAKE_PROFIT_MARKET",
                "TRAILING_STOP_MARKET",
            ],
            "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
            "liquidationFee": "0.012500",
            "marketTakeBound": "0.05",
        }
