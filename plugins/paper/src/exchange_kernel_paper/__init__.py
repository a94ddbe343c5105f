"""The paper venue: an exchange in a box, and the adapter that trades on it.

:mod:`exchange_kernel_paper.exchange` is the exchange and knows nothing of the kernel;
:mod:`exchange_kernel_paper.adapter` is the plugin proper. Between them is a
:class:`~exchange_kernel_paper.link.Link`, in process or over TCP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exchange_kernel_paper.adapter import PaperAdapter

__all__ = ["create"]


def create() -> PaperAdapter:
    """A new, unopened adapter."""
    from exchange_kernel_paper.adapter import PaperAdapter

    return PaperAdapter()
