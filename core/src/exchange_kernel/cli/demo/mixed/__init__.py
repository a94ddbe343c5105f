"""The demo on mixed accounts: Binance spot, Binance futures and Uniswap, each as a process of its own."""

from __future__ import annotations
