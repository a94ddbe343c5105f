"""The fields of the documented spot examples, by page and section (binance-spot-api-docs).

`name` must be there, `name{a b}` is an object and `name[a b]` a list of objects with these fields. Conditional fields
(icebergQty, stopPrice, sors, …) are where the example's order has them.
"""

from __future__ import annotations

_ACK = "symbol orderId orderListId clientOrderId transactTime"
_BODY = "price origQty executedQty origQuoteOrderQty cummulativeQuoteQty status timeInForce type side"
_RESULT = f"{_ACK} {_BODY} workingTime selfTradePreventionMode"
_CANCEL = f"origClientOrderId {_ACK} {_BODY} selfTradePreventionMode"
_LEG = "symbol orderId clientOrderId"
_LIST = (
    "orderListId contingencyType listStatusType listOrderStatus listClientOrderId transactionTime symbol "
    f"orders[{_LEG}]"
)
_QUERY = (
    "symbol orderId orderListId clientOrderId price origQty executedQty cummulativeQuoteQty status timeInForce type "
    "side stopPrice icebergQty time updateTime isWorking workingTime origQuoteOrderQty selfTradePreventionMode"
)
_RATES = "maker taker buyer seller"
_PAIR = "maker taker"
_DISCOUNT = "discount{enabledForAccount enabledForSymbol discountAsset discount}"
_AMENDED = (
    "symbol orderId orderListId origClientOrderId clientOrderId price qty executedQty preventedQty quoteOrderQty "
    "cumulativeQuoteQty status timeInForce type side workingTime selfTradePreventionMode"
)

REST: dict[str, str] = {
    "rest-api.md New order, ACK": _ACK,
    "rest-api.md New order, RESULT": _RESULT,
    "rest-api.md New order, FULL": f"{_RESULT} fills[price qty commission commissionAsset tradeId]",
    "rest-api.md Test new order": (
        f"standardCommissionForOrder{{{_PAIR}}} specialCommissionForOrder{{{_PAIR}}} "
        f"taxCommissionForOrder{{{_PAIR}}} {_DISCOUNT}"
    ),
    "rest-api.md Cancel order": _CANCEL,
    "rest-api.md Cancel an Existing Order and Send a New Order": (
        f"cancelResult newOrderResult cancelResponse{{{_CANCEL}}} newOrderResponse{{{_RESULT} fills}}"
    ),
    "rest-api.md Order Amend Keep Priority": f"transactTime executionId amendedOrder{{{_AMENDED}}}",
    "rest-api.md New Order list - OCO": f"{_LIST} orderReports[{_RESULT}]",
    "rest-api.md New Order list - OTO": f"{_LIST} orderReports[{_RESULT}]",
    "rest-api.md New Order list - OTOCO": f"{_LIST} orderReports[{_RESULT}]",
    "rest-api.md Cancel Order list": f"{_LIST} orderReports[{_CANCEL}]",
    "rest-api.md Account information": (
        f"makerCommission takerCommission buyerCommission sellerCommission commissionRates{{{_RATES}}} canTrade "
        "canWithdraw canDeposit brokered requireSelfTradePrevention preventSor updateTime accountType "
        "balances[asset free locked] permissions uid"
    ),
    "rest-api.md Query order": _QUERY,
    "rest-api.md Current open orders": f"[{_QUERY}]",
    "rest-api.md All orders": f"[{_QUERY}]",
    "rest-api.md Query Order list": _LIST,
    "rest-api.md Account trade list": (
        "[symbol id orderId orderListId price qty quoteQty commission commissionAsset time isBuyer isMaker isBestMatch]"
    ),
    "rest-api.md Query Unfilled Order Count": "[rateLimitType interval intervalNum limit count]",
    "rest-api.md Query Prevented Matches": (
        "[symbol preventedMatchId takerOrderId makerSymbol makerOrderId tradeGroupId selfTradePreventionMode price "
        "makerPreventedQuantity transactTime]"
    ),
    "rest-api.md Query Commission Rates": (
        f"symbol standardCommission{{{_RATES}}} specialCommission{{{_RATES}}} taxCommission{{{_RATES}}} {_DISCOUNT}"
    ),
    "rest-api.md Query Order Amendments": (
        "[symbol orderId executionId origClientOrderId newClientOrderId origQty newQty time]"
    ),
    "rest-api.md Exchange information": (
        "timezone serverTime rateLimits exchangeFilters symbols[symbol status baseAsset baseAssetPrecision quoteAsset "
        "quotePrecision quoteAssetPrecision baseCommissionPrecision quoteCommissionPrecision orderTypes icebergAllowed "
        "ocoAllowed otoAllowed opoAllowed quoteOrderQtyMarketAllowed allowTrailingStop cancelReplaceAllowed "
        "amendAllowed pegInstructionsAllowed isSpotTradingAllowed isMarginTradingAllowed filters permissions "
        "permissionSets defaultSelfTradePreventionMode allowedSelfTradePreventionModes]"
    ),
    "rest-api.md Order book": "lastUpdateId bids asks",
    "rest-api.md Recent trades list": "[id price qty quoteQty time isBuyerMaker isBestMatch]",
    "rest-api.md Compressed/Aggregate trades list": "[a p q f l T m M]",
    "rest-api.md Current average price": "mins price closeTime",
    "rest-api.md 24hr ticker price change statistics": (
        "symbol priceChange priceChangePercent weightedAvgPrice prevClosePrice lastPrice lastQty bidPrice bidQty "
        "askPrice askQty openPrice highPrice lowPrice volume quoteVolume openTime closeTime firstId lastId count"
    ),
    "rest-api.md Symbol order book ticker": "symbol bidPrice bidQty askPrice askQty",
}

EVENTS: dict[str, str] = {
    "user-data-stream.md Account Update": "e E u B[a f l]",
    "user-data-stream.md Balance Update": "e E a d T",
    "user-data-stream.md Order Update": "e E s c S o f q p P F g C x X r i l z L n N T t I w m M O Z Y Q W V",
    "user-data-stream.md Conditional Fields, STP": "v A B u U Cs pl pL pY",
    "user-data-stream.md Conditional Fields, trailing": "d D",
    "user-data-stream.md Conditional Fields, strategy": "j J",
    "user-data-stream.md Conditional Fields, expiry": "eR",
    "user-data-stream.md listStatus": "e E s g c l L r C T O[s i c]",
}


def absent(shape: str, value: object) -> list[str]:
    """The fields of the shape that the value lacks."""
    words = iter(shape.replace("[", " [ ").replace("]", " ] ").replace("{", " { ").replace("}", " } ").split())
    return _absent(list(words), value, "")


def _absent(words: list[str], value: object, where: str) -> list[str]:
    if words[:1] == ["["]:
        if not isinstance(value, list) or not value:
            return [f"{where}[]"]
        return [each for item in value for each in _absent(words[1:-1], item, where)]
    if not isinstance(value, dict):
        return [f"{where} is no object"]
    found: list[str] = []
    place = 0
    while place < len(words):
        name = words[place]
        place += 1
        if name not in value:
            found.append(where + name)
        if place < len(words) and words[place] in "[{":
            end, depth = place, 0
            while True:
                depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(words[end], 0)
                end += 1
                if depth == 0:
                    break
            inner = words[place:end] if words[place] == "[" else words[place + 1 : end - 1]
            if name in value:
                found += _absent(inner, value[name], f"{where}{name}.")
            place = end
    return found
