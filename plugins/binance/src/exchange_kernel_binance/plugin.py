"""What the kernel's plugin loader imports: the venue by name, and nothing of it."""

from __future__ import annotations

from exchange_kernel.plugins import CommandSpec, HarnessSpec, VenueSpec, hookimpl


@hookimpl
def exk_venues() -> list[VenueSpec]:
    """One venue."""
    return [
        VenueSpec(
            name="binance",
            title="Binance",
            kind="cex",
            factory="exchange_kernel_binance.adapter:BinanceAdapter",
            config="exchange_kernel_binance.config:BinanceConfig",
        )
    ]


@hookimpl
def exk_conformance() -> list[HarnessSpec]:
    """Its harness: the spot account of a simulated Binance, behind the fault proxy."""
    return [HarnessSpec("binance", "exchange_kernel_binance.conformance:SpotHarness")]


@hookimpl
def exk_commands() -> list[CommandSpec]:
    """``exk binance sim``."""
    return [CommandSpec("binance", "A simulated Binance to test on", "exchange_kernel_binance.command:command")]
