"""What each request weighs, and how many orders it counts for.

Sources: rest-api.md (each request's weight), USD-M futures (each request), Margin Trading (each request). Where a
weight depends on the fields the heavier one is taken unless they are known to make it light. The count that Binance
puts into its answers corrects what is wrong here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

Fields = Mapping[str, str]
_Weight = int | Callable[[Fields], int]
_SECTIONS = {
    "public": "/api/v3/",
    "private": "/api/v3/",
    "sapi": "/sapi/v1/",
    "fapiPublic": "/fapi/v1/",
    "fapiPrivate": "/fapi/v1/",
    "fapiPrivateV2": "/fapi/v2/",
    "fapiPrivateV3": "/fapi/v3/",
}
UNKNOWN = 20
"""The weight of a request that is not in the table: that of the heavier ordinary ones."""


def path_of(section: str, path: str) -> str:
    """The path of a request by ccxt's name of its section. Raises KeyError."""
    return _SECTIONS[section] + path


def _with_symbol(one: int, every: int) -> Callable[[Fields], int]:
    return lambda fields: one if fields.get("symbol") else every


def _depth(fields: Fields) -> int:
    limit = int(fields.get("limit", "100"))
    return next((weight for most, weight in ((100, 5), (500, 25), (1000, 50)) if limit <= most), 250)


_WEIGHTS: Mapping[tuple[str, str], tuple[_Weight, int]] = {
    ("GET", "/api/v3/ping"): (1, 0),
    ("GET", "/api/v3/time"): (1, 0),
    ("GET", "/api/v3/exchangeInfo"): (20, 0),
    ("GET", "/api/v3/depth"): (_depth, 0),
    ("GET", "/api/v3/trades"): (25, 0),
    ("GET", "/api/v3/aggTrades"): (4, 0),
    ("GET", "/api/v3/klines"): (2, 0),
    ("GET", "/api/v3/avgPrice"): (2, 0),
    ("GET", "/api/v3/ticker/price"): (_with_symbol(2, 4), 0),
    ("GET", "/api/v3/ticker/bookTicker"): (_with_symbol(2, 4), 0),
    ("GET", "/api/v3/ticker/24hr"): (_with_symbol(2, 80), 0),
    ("POST", "/api/v3/order"): (1, 1),
    ("POST", "/api/v3/order/test"): (lambda fields: 20 if fields.get("computeCommissionRates") == "true" else 1, 0),
    ("GET", "/api/v3/order"): (4, 0),
    ("DELETE", "/api/v3/order"): (1, 0),
    ("DELETE", "/api/v3/openOrders"): (1, 0),
    ("POST", "/api/v3/order/cancelReplace"): (1, 1),
    ("PUT", "/api/v3/order/amend/keepPriority"): (4, 0),
    ("GET", "/api/v3/order/amendments"): (4, 0),
    ("POST", "/api/v3/orderList/oco"): (1, 2),
    ("POST", "/api/v3/orderList/oto"): (1, 2),
    ("POST", "/api/v3/orderList/otoco"): (1, 3),
    ("DELETE", "/api/v3/orderList"): (1, 0),
    ("GET", "/api/v3/orderList"): (4, 0),
    ("GET", "/api/v3/allOrderList"): (20, 0),
    ("GET", "/api/v3/openOrderList"): (6, 0),
    ("GET", "/api/v3/openOrders"): (_with_symbol(6, 80), 0),
    ("GET", "/api/v3/allOrders"): (20, 0),
    ("GET", "/api/v3/myTrades"): (lambda fields: 5 if fields.get("orderId") else 20, 0),
    ("GET", "/api/v3/myPreventedMatches"): (lambda fields: 2 if fields.get("preventedMatchId") else 20, 0),
    ("GET", "/api/v3/account"): (20, 0),
    ("GET", "/api/v3/account/commission"): (20, 0),
    ("GET", "/api/v3/rateLimit/order"): (40, 0),
    ("POST", "/sapi/v1/margin/order"): (6, 1),
    ("DELETE", "/sapi/v1/margin/order"): (10, 0),
    ("GET", "/sapi/v1/margin/order"): (10, 0),
    ("DELETE", "/sapi/v1/margin/openOrders"): (1, 0),
    ("GET", "/sapi/v1/margin/openOrders"): (10, 0),
    ("GET", "/sapi/v1/margin/allOrders"): (200, 0),
    ("GET", "/sapi/v1/margin/myTrades"): (10, 0),
    ("GET", "/sapi/v1/margin/account"): (10, 0),
    ("GET", "/sapi/v1/margin/isolated/account"): (10, 0),
    ("GET", "/sapi/v1/account/apiRestrictions"): (1, 0),
    ("POST", "/sapi/v1/margin/borrow-repay"): (1500, 0),
    ("POST", "/sapi/v1/userListenToken"): (1, 0),
    ("POST", "/fapi/v1/order"): (0, 1),
    ("POST", "/fapi/v1/order/test"): (1, 0),
    ("PUT", "/fapi/v1/order"): (1, 1),
    ("DELETE", "/fapi/v1/order"): (1, 0),
    ("GET", "/fapi/v1/order"): (1, 0),
    ("POST", "/fapi/v1/batchOrders"): (5, 5),
    ("PUT", "/fapi/v1/batchOrders"): (5, 5),
    ("DELETE", "/fapi/v1/batchOrders"): (1, 0),
    ("DELETE", "/fapi/v1/allOpenOrders"): (1, 0),
    ("POST", "/fapi/v1/algoOrder"): (1, 1),
    ("DELETE", "/fapi/v1/algoOrder"): (1, 0),
    ("GET", "/fapi/v1/algoOrder"): (1, 0),
    ("DELETE", "/fapi/v1/algoOpenOrders"): (1, 0),
    ("GET", "/fapi/v1/openAlgoOrders"): (_with_symbol(1, 40), 0),
    ("GET", "/fapi/v1/allAlgoOrders"): (5, 0),
    ("POST", "/fapi/v1/countdownCancelAll"): (10, 0),
    ("GET", "/fapi/v1/symbolConfig"): (5, 0),
    ("GET", "/fapi/v1/accountConfig"): (5, 0),
    ("GET", "/fapi/v1/openOrder"): (1, 0),
    ("GET", "/fapi/v1/openOrders"): (_with_symbol(1, 40), 0),
    ("GET", "/fapi/v1/allOrders"): (5, 0),
    ("GET", "/fapi/v1/userTrades"): (5, 0),
    ("GET", "/fapi/v1/orderAmendment"): (1, 0),
    ("GET", "/fapi/v2/positionRisk"): (5, 0),
    ("GET", "/fapi/v3/positionRisk"): (5, 0),
    ("GET", "/fapi/v2/account"): (5, 0),
    ("GET", "/fapi/v3/account"): (5, 0),
    ("GET", "/fapi/v2/balance"): (5, 0),
    ("GET", "/fapi/v3/balance"): (5, 0),
    ("GET", "/fapi/v1/positionSide/dual"): (30, 0),
    ("POST", "/fapi/v1/positionSide/dual"): (1, 0),
    ("GET", "/fapi/v1/multiAssetsMargin"): (30, 0),
    ("POST", "/fapi/v1/multiAssetsMargin"): (1, 0),
    ("GET", "/fapi/v1/leverageBracket"): (1, 0),
    ("GET", "/fapi/v1/commissionRate"): (20, 0),
    ("POST", "/fapi/v1/leverage"): (1, 0),
    ("POST", "/fapi/v1/marginType"): (1, 0),
    ("GET", "/fapi/v1/ping"): (1, 0),
    ("GET", "/fapi/v1/time"): (1, 0),
    ("GET", "/fapi/v1/exchangeInfo"): (1, 0),
    ("GET", "/fapi/v1/depth"): (20, 0),
    ("GET", "/fapi/v1/ticker/price"): (_with_symbol(1, 2), 0),
    ("GET", "/fapi/v1/ticker/bookTicker"): (_with_symbol(2, 5), 0),
    ("GET", "/fapi/v1/premiumIndex"): (_with_symbol(1, 10), 0),
    ("POST", "/fapi/v1/listenKey"): (1, 0),
    ("PUT", "/fapi/v1/listenKey"): (1, 0),
    ("DELETE", "/fapi/v1/listenKey"): (1, 0),
}


_LOOKUPS = frozenset({"order", "openOrder", "algoOrder", "orderList", "time"})


def is_urgent(method: str, path: str) -> bool:
    """Is it a cancel, or what is asked to learn what became of an order?"""
    return method == "DELETE" or (method == "GET" and path.rpartition("/")[2] in _LOOKUPS)


def weight_of(method: str, path: str, fields: Fields) -> tuple[int, int]:
    """(weight, orders) of a request; ``path`` as in ``/api/v3/order``."""
    weight, orders = _WEIGHTS.get((method, path), (UNKNOWN, 0))
    return weight if isinstance(weight, int) else weight(fields), orders
