"""The planted defects: each a broken adapter, the venue it runs on, and the case meant for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from exchange_kernel.value import Value
from exchange_kernel.venue import VenueAdapter
from exchange_kernel_paper.conformance import PaperHarness


class Defect(Value, frozen=True):
    """``make``: the broken adapter. ``case``: the id of the case that must fail. ``settings``: of the exchange."""

    name: str
    case: str
    make: Callable[[], VenueAdapter]
    settings: dict[str, Any]


DEFECTS: dict[str, Defect] = {}


def defect(case: str, **settings: Any) -> Callable[[type], type]:
    """Register a broken adapter class under its own name (a subclass of PaperAdapter with one mistake)."""

    def register(cls: type) -> type:
        assert cls.__name__ not in DEFECTS, f"two defects named {cls.__name__}"
        assert cls.__doc__, f"{cls.__name__} does not say what its mistake is"
        DEFECTS[cls.__name__] = Defect(cls.__name__, case, cls, settings)
        return cls

    return register


class BrokenHarness(PaperHarness):
    """The paper venue reached through a broken adapter."""

    def __init__(self, planted: Defect) -> None:
        super().__init__(**planted.settings)
        self._make = planted.make

    def adapter(self) -> VenueAdapter:
        return self._make()
