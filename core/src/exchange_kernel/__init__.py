"""Declare the orders you want; the kernel makes the exchange agree, at most once.

The names below are all a strategy needs to write orders and run a kernel. Each is loaded when it is first used, so that
importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from exchange_kernel.base import ExchangeKernel
    from exchange_kernel.platform import Platform
    from exchange_kernel.schema import (
        AmountType,
        ConditionalOrderMode,
        ConditionalTrigger,
        PriceSource,
        Rounding,
        Side,
        StandardOrder,
        TimeInForce,
        TriggerKind,
    )

__all__ = [
    "AmountType",
    "ConditionalOrderMode",
    "ConditionalTrigger",
    "ExchangeKernel",
    "Platform",
    "PriceSource",
    "Rounding",
    "Side",
    "StandardOrder",
    "TimeInForce",
    "TriggerKind",
    "__version__",
]

__version__: Final = "0.1.0"

_ROOMS: Final = {"ExchangeKernel": "exchange_kernel.base", "Platform": "exchange_kernel.platform"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_ROOMS.get(name, "exchange_kernel.schema")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
