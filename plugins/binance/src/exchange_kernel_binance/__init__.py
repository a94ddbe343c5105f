"""Binance for Exchange Kernel; `exchange_kernel_binance.simulator` is a Binance to test on."""
