"""What tests of a Binance client need: the simulator behind a fault proxy, in a thread of its own."""

from exchange_kernel_binance.testing.aside import BinanceAside

__all__ = ["BinanceAside"]
