"""The same kernel from afar: ``connect(url, token, account)``. Needs the extra ``client``."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

import httpx

from exchange_kernel.client.kernel import RemoteKernel
from exchange_kernel.clock import Clock, Ids, SystemClock, SystemIds

__all__ = ["RemoteKernel", "connect"]


def connect(
    url: str,
    token: str,
    account: str = "",
    *,
    on_resync: Callable[[str], Any] | None = None,
    verify: ssl.SSLContext | bool = True,
    clock: Clock | None = None,
    ids: Ids | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> RemoteKernel:
    """The kernel of an account behind a server; ``await start()`` it, or use it in ``async with``.

    ``account``: may be left out where the token reaches only one. ``on_resync``: called with the reason when events
    were missed for good, because the server's store was restored or is another one: list the orders anew.
    ``verify``: an SSL context where the server's certificate is your own. Raises ConfigError.
    """
    return RemoteKernel(url, token, account, on_resync, verify, clock or SystemClock(), ids or SystemIds(), transport)
