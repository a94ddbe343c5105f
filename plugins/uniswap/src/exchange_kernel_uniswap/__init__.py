"""Uniswap for Exchange Kernel: orders become swaps of v2, v3 and v4 pools, or range orders of v3."""
