"""`python -m exchange_kernel_binance.simulator`: the same as `exk binance sim`."""

from __future__ import annotations

from exchange_kernel_binance.command import simulate

if __name__ == "__main__":
    simulate(prog_name="exchange_kernel_binance.simulator")
