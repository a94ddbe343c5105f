"""The entry point: what this distribution brings, by name. Imports nothing that takes time."""

from __future__ import annotations

from collections.abc import Iterable

from exchange_kernel.plugins import HarnessSpec, VenueSpec, hookimpl


@hookimpl
def exk_venues() -> Iterable[VenueSpec]:
    """The venue, its adapter and its configuration."""
    yield VenueSpec(
        name="myvenue",
        title="MyVenue",
        kind="cex",
        factory="exchange_kernel_myvenue.adapter:MyVenueAdapter",
        config="exchange_kernel_myvenue.config:Config",
        api=(1, 0),
    )


@hookimpl
def exk_conformance() -> Iterable[HarnessSpec]:
    """How the conformance kit reaches it: ``exk conformance run myvenue``."""
    yield HarnessSpec(venue="myvenue", factory="exchange_kernel_myvenue.conformance:MyVenueHarness")
