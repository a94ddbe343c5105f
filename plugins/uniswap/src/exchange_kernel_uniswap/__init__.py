"""Uniswap v2, v3 and v4: between an order and calldata, and between a receipt and fills."""
