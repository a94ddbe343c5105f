"""What the kernel's plugin loader imports: the venue by name, and nothing of it."""

from __future__ import annotations

from exchange_kernel.plugins import CommandSpec, HarnessSpec, VenueSpec, hookimpl


@hookimpl
def exk_venues() -> list[VenueSpec]:
    """One venue."""
    return [
        VenueSpec(
            name="uniswap",
            title="Uniswap v2, v3 and v4",
            kind="dex",
            factory="exchange_kernel_uniswap.adapter:UniswapAdapter",
            config="exchange_kernel_uniswap.settings:UniswapConfig",
        )
    ]


@hookimpl
def exk_conformance() -> list[HarnessSpec]:
    """Its harness: a chain of its own with all of Uniswap on it."""
    return [HarnessSpec("uniswap", "exchange_kernel_uniswap.conformance:UniswapHarness")]


@hookimpl
def exk_commands() -> list[CommandSpec]:
    """``exk uniswap chain``."""
    return [CommandSpec("uniswap", "A chain with all of Uniswap to test on", "exchange_kernel_uniswap.command:command")]
