"""The same kernels without ``async``: for notebooks and scripts. A thin facade; one loop in one thread does the work.

::

    with open_platform("exk.yaml") as platform:
        platform["paper_main"].place_order(order)

    with connect("http://127.0.0.1:8420", token) as kernel:
        kernel.get_positions()
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from exchange_kernel.base import DryRun, EventHandler, ExchangeKernel, GroupKind, Health, Resolution
from exchange_kernel.models import AccountState, OrderIntent, OrderState, Position
from exchange_kernel.platform import Platform
from exchange_kernel.schema import AssetMetadata, StandardOrder, SymbolMetadata

__all__ = ["SyncKernel", "SyncPlatform", "connect", "open_platform"]

T = TypeVar("T")


class Worker:
    """An event loop in a thread of its own, which ends with the program."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="exk-sync", daemon=True)
        self._thread.start()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run it there and wait for it. An interrupt cancels it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def call(self, work: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Call a plain function there."""

        async def there() -> T:
            return work(*arguments, **named)

        return self.do(there())

    def close(self) -> None:
        """End the loop and its thread."""
        if self._loop.is_closed():
            return
        self.do(self._loop.shutdown_asyncgens())
        self.do(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class SyncKernel:
    """An :class:`ExchangeKernel` whose methods return when they are done. Handlers of events run in the loop's thread.

    ``worker``: of a platform that owns it; without one the kernel is started and stopped here."""

    def __init__(self, kernel: ExchangeKernel, worker: Worker | None = None) -> None:
        self._kernel, self._owns, self._worker = kernel, worker is None, worker or Worker()

    @property
    def exchange_id(self) -> str:
        """The account."""
        return self._kernel.exchange_id

    def place_order(
        self, order: StandardOrder, intent_id: str | None = None, *, labels: Mapping[str, str] | None = None
    ) -> str:
        return self._worker.do(self._kernel.place_order(order, intent_id, labels=labels))

    def place_order_group(
        self,
        orders: Sequence[StandardOrder],
        kind: GroupKind = GroupKind.BATCH,
        *,
        group_id: str | None = None,
        intent_ids: Sequence[str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> list[str]:
        return self._worker.do(
            self._kernel.place_order_group(orders, kind, group_id=group_id, intent_ids=intent_ids, labels=labels)
        )

    def modify_order(self, intent_id: str, new_order: StandardOrder, *, expected_generation: int | None = None) -> int:
        return self._worker.do(self._kernel.modify_order(intent_id, new_order, expected_generation=expected_generation))

    def cancel_order(self, intent_id: str, *, reason: str = "") -> None:
        self._worker.do(self._kernel.cancel_order(intent_id, reason=reason))

    def cancel_all_orders(self, symbol_id: str | None = None, *, reason: str = "") -> list[str]:
        return self._worker.do(self._kernel.cancel_all_orders(symbol_id, reason=reason))

    def resolve_order(self, intent_id: str, resolution: Resolution, *, actor: str, reason: str) -> OrderState:
        return self._worker.do(self._kernel.resolve_order(intent_id, resolution, actor=actor, reason=reason))

    def dry_run(self, order: StandardOrder) -> DryRun:
        return self._worker.do(self._kernel.dry_run(order))

    def halt(self, *, actor: str, reason: str) -> None:
        self._worker.do(self._kernel.halt(actor=actor, reason=reason))

    def resume(self, *, actor: str, reason: str) -> None:
        self._worker.do(self._kernel.resume(actor=actor, reason=reason))

    def get_order_intent(self, intent_id: str) -> OrderIntent:
        return self._worker.do(self._kernel.get_order_intent(intent_id))

    def get_order_state(self, intent_id: str) -> OrderState:
        return self._worker.do(self._kernel.get_order_state(intent_id))

    def get_all_intents(self, *, symbol_id: str | None = None, active_only: bool = False) -> list[OrderIntent]:
        return self._worker.do(self._kernel.get_all_intents(symbol_id=symbol_id, active_only=active_only))

    def get_all_orders(self, *, symbol_id: str | None = None) -> list[OrderState]:
        return self._worker.do(self._kernel.get_all_orders(symbol_id=symbol_id))

    def get_positions(self) -> list[Position]:
        return self._worker.do(self._kernel.get_positions())

    def get_account_state(self) -> AccountState:
        return self._worker.do(self._kernel.get_account_state())

    def get_symbol_metadata(self, symbol_id: str) -> SymbolMetadata:
        return self._worker.do(self._kernel.get_symbol_metadata(symbol_id))

    def get_asset_metadata(self, asset_id: str) -> AssetMetadata:
        return self._worker.do(self._kernel.get_asset_metadata(asset_id))

    def subscribe_events(self, handler: EventHandler, *, after: int | None = None) -> None:
        self._worker.call(self._kernel.subscribe_events, handler, after=after)

    def unsubscribe_events(self, handler: EventHandler) -> None:
        self._worker.call(self._kernel.unsubscribe_events, handler)

    def start(self) -> None:
        self._worker.do(self._kernel.start())

    def stop(self) -> None:
        self._worker.do(self._kernel.stop())

    def health_check(self) -> Health:
        return self._worker.do(self._kernel.health_check())

    def force_reconciliation(self) -> None:
        self._worker.do(self._kernel.force_reconciliation())

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        finally:
            self._close()

    def _close(self) -> None:
        if self._owns:
            self._worker.close()


class SyncPlatform:
    """Every account of a configuration, in ``with``."""

    def __init__(self, platform: Platform) -> None:
        self._platform, self._worker = platform, Worker()

    def __iter__(self) -> Iterator[str]:
        return iter(self._platform)

    def __getitem__(self, name: str) -> SyncKernel:
        return SyncKernel(self._platform[name], self._worker)

    def halt(self, *, actor: str, reason: str) -> None:
        """As :meth:`Platform.halt`."""
        self._worker.do(self._platform.halt(actor=actor, reason=reason))

    def resume(self, *, actor: str, reason: str) -> None:
        """As :meth:`Platform.resume`."""
        self._worker.do(self._platform.resume(actor=actor, reason=reason))

    def health_check(self) -> dict[str, Health]:
        """As :meth:`Platform.health_check`."""
        return self._worker.do(self._platform.health_check())

    def __enter__(self) -> Self:
        try:
            self._worker.do(self._platform.start())
        except BaseException:
            self._worker.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._worker.do(self._platform.stop())
        finally:
            self._worker.close()


def open_platform(path: str | Path) -> SyncPlatform:
    """The platform of a configuration file, for ``with``. Raises ConfigError."""
    return SyncPlatform(Platform.from_file(path))


def connect(url: str, token: str, account: str = "", **more: Any) -> SyncKernel:
    """An account behind a server, for ``with``; arguments as of :func:`exchange_kernel.client.connect`."""
    from exchange_kernel.client import connect as remote

    return SyncKernel(remote(url, token, account, **more))
