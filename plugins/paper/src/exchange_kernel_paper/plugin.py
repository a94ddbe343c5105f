"""What the kernel's plugin loader imports: the paper venue by name, and nothing of it."""

from __future__ import annotations

from exchange_kernel.plugins import HarnessSpec, VenueSpec, hookimpl


@hookimpl
def exk_venues() -> list[VenueSpec]:
    """One venue."""
    return [
        VenueSpec(
            name="paper",
            title="Paper exchange",
            kind="sim",
            factory="exchange_kernel_paper.adapter:PaperAdapter",
            config="exchange_kernel_paper.config:PaperConfig",
        )
    ]


@hookimpl
def exk_conformance() -> list[HarnessSpec]:
    """Its harness, with the default fence."""
    return [HarnessSpec("paper", "exchange_kernel_paper.conformance:PaperHarness")]
