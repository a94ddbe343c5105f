"""The one concrete kernel: an account = venue adapter + stores + reconciler."""

from __future__ import annotations

from exchange_kernel.kernel.account import Vet
from exchange_kernel.kernel.commands import Commands
from exchange_kernel.kernel.lifecycle import Lifecycle
from exchange_kernel.kernel.queries import Queries

__all__ = ["Kernel", "Vet"]


class Kernel(Lifecycle, Commands, Queries):
    """See :class:`ExchangeKernel` for the meaning of every method.

    ``store`` may be shared by the kernels of many accounts; the kernel opens it when nobody did and closes what it
    opened. ``venue_config`` and ``secrets`` go to the adapter and nowhere else. ``standby``: wait for the account while
    another process owns it, instead of refusing to start. ``state_dir``: where ``exk panic`` leaves its journals.
    ``mode``: what the venue must say it is (paper, testnet, fork, live), "" for any. ``vet``: called with the opened
    adapter and its markets before anything else is done with them; what it raises keeps the account from starting.
    ``admission``: the desk's own checks of every order that is placed or changed.
    """
