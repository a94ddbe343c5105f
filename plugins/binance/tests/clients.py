"""Clients that somebody else wrote. What they warn about at import is their business."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import binance_sdk_derivatives_trading_usds_futures as usds
    import binance_sdk_spot as spot_sdk
    import ccxt.pro
    from binance import AsyncClient, BinanceSocketManager
    from binance.exceptions import BinanceAPIException

__all__ = ["AsyncClient", "BinanceAPIException", "BinanceSocketManager", "ccxt", "spot_sdk", "usds"]
