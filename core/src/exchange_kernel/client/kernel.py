"""The same kernel from afar: every command, query and subscription over the HTTP API, with the same errors.

Whatever is sent may be sent again: an order is declared by a name made here, before the first byte leaves, and a change
names the generation that it changes. So a lost answer is asked for again, and is the answer to the same thing.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from exchange_kernel.api.wire import read, read_event, read_intent, read_preview, read_symbol
from exchange_kernel.base import DryRun, EventHandler, ExchangeKernel, GroupKind, Health, Resolution
from exchange_kernel.client.line import FIRST_WAIT_S, Gone, Line, check_url
from exchange_kernel.clock import Clock, Ids
from exchange_kernel.errors import (
    ConfigError,
    ExchangeKernelError,
    InvalidOrder,
    NotAllowed,
    NotRunning,
    StoreUnavailable,
    UnknownIntent,
)
from exchange_kernel.models import AccountState, OrderIntent, OrderState, Position
from exchange_kernel.orders.names import check_id, new_id
from exchange_kernel.schema import AssetMetadata, StandardOrder, SymbolMetadata

__all__ = ["RemoteKernel"]

log = logging.getLogger("exchange_kernel.client")

PAGE = 500

Resync = Callable[[str], Any]


class RemoteKernel(ExchangeKernel):
    """One account of a server. ``exchange_id`` is "" until ``start`` where no account was named."""

    def __init__(
        self,
        url: str,
        token: str,
        account: str,
        on_resync: Resync | None,
        verify: ssl.SSLContext | bool,
        clock: Clock,
        ids: Ids,
        transport: httpx.AsyncBaseTransport | None,
    ) -> None:
        check_url(url)
        if account:
            check_id("account", account, ConfigError)
        self.exchange_id = account
        self._make = partial(Line, url, token, verify, clock, transport)
        self._where, self._on_resync, self._clock, self._ids = url, on_resync, clock, ids
        self._line: Line | None = None
        self._listeners: list[tuple[EventHandler, int | None, asyncio.Task[None] | None]] = []

    def __repr__(self) -> str:
        return f"<RemoteKernel {self.exchange_id or '?'} at {self._where}>"

    # ---- life ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Find the server and the account. Raises NotAllowed, ConfigError, StoreUnavailable."""
        if self._line is not None:
            return
        self._line = self._make()
        try:
            names = [each["account"] for each in (await self._running().call("GET", "/v1/accounts"))["items"]]
            if not self.exchange_id and len(names) != 1:
                raise ConfigError(
                    "account", "(nothing)", "is required", f"the token reaches {', '.join(names) or 'none'}"
                )
            if self.exchange_id and self.exchange_id not in names:
                raise ConfigError("account", self.exchange_id, "is not served to this token", ", ".join(names))
            self.exchange_id = self.exchange_id or names[0]
            early, self._listeners = self._listeners, []
            for handler, after, _ in early:
                self.subscribe_events(handler, after=after)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        listeners, self._listeners = self._listeners, []
        tasks = [task for _, _, task in listeners if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        line, self._line = self._line, None
        if line is not None:
            await line.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _running(self) -> Line:
        if self._line is None:
            raise NotRunning(f"{self!r} is not connected; await start() first")
        return self._line

    # ---- commands -----------------------------------------------------------------------------------------------

    async def place_order(
        self, order: StandardOrder, intent_id: str | None = None, *, labels: Mapping[str, str] | None = None
    ) -> str:
        name = self._new_id() if intent_id is None else intent_id
        body = {"order": _written(order)} | ({} if labels is None else {"labels": dict(labels)})
        answer = await self._running().call("PUT", self._order(name), body, headers={"if-none-match": "*"})
        return str(answer["intent"]["intent_id"])

    async def place_order_group(
        self,
        orders: Sequence[StandardOrder],
        kind: GroupKind = GroupKind.BATCH,
        *,
        group_id: str | None = None,
        intent_ids: Sequence[str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> list[str]:
        self._running()
        group = self._new_id() if group_id is None else group_id
        check_id("group_id", group)
        names = [self._new_id() for _ in orders] if intent_ids is None else list(intent_ids)
        if len(names) != len(orders):
            raise InvalidOrder("intent_ids", str(len(names)), f"must be {len(orders)} different ids, one per order")
        items = [{"name": name, "order": _written(order)} for name, order in zip(names, orders, strict=True)]
        body = {"kind": str(kind), "orders": items} | ({} if labels is None else {"labels": dict(labels)})
        return list((await self._running().call("PUT", self._path(f"groups/{quote(group)}"), body))["names"])

    async def modify_order(
        self, intent_id: str, new_order: StandardOrder, *, expected_generation: int | None = None
    ) -> int:
        match = "*" if expected_generation is None else f'"{expected_generation}"'
        body = {"order": _written(new_order)}
        answer = await self._running().call("PUT", self._order(intent_id), body, headers={"if-match": match})
        return int(answer["intent"]["generation"])

    async def cancel_order(self, intent_id: str, *, reason: str = "") -> None:
        await self._running().call("DELETE", self._order(intent_id), query={"reason": reason[:200]})

    async def cancel_all_orders(self, symbol_id: str | None = None, *, reason: str = "") -> list[str]:
        body = {"symbol_id": symbol_id, "reason": reason[:200]}
        return list((await self._running().call("POST", self._path("cancel-all"), body))["canceled"])

    async def resolve_order(self, intent_id: str, resolution: Resolution, *, actor: str, reason: str) -> OrderState:
        body = {"resolution": str(resolution), "actor": actor, "reason": reason}
        return read(
            (await self._running().call("POST", f"{self._order(intent_id)}/resolve", body))["state"], OrderState
        )

    async def dry_run(self, order: StandardOrder) -> DryRun:
        return read_preview(
            await self._running().call("POST", self._path("dry-run"), {"order": _written(order)}, safe=True)
        )

    async def halt(self, *, actor: str, reason: str) -> None:
        await self._running().call("POST", self._path("halt"), {"actor": actor, "reason": reason})

    async def resume(self, *, actor: str, reason: str) -> None:
        await self._running().call("POST", self._path("resume"), {"actor": actor, "reason": reason})

    # ---- queries ------------------------------------------------------------------------------------------------

    async def get_order_intent(self, intent_id: str) -> OrderIntent:
        return read_intent((await self._one(intent_id))["intent"])

    async def get_order_state(self, intent_id: str) -> OrderState:
        return read((await self._one(intent_id))["state"], OrderState)

    async def get_all_intents(self, *, symbol_id: str | None = None, active_only: bool = False) -> list[OrderIntent]:
        return [read_intent(each["intent"]) async for each in self._all(symbol_id, active_only)]

    async def get_all_orders(self, *, symbol_id: str | None = None) -> list[OrderState]:
        ours = [read(each["state"], OrderState) async for each in self._all(symbol_id, False)]
        query = {} if symbol_id is None else {"symbol": symbol_id}
        foreign = await self._running().call("GET", self._path("foreign-orders"), query=query)
        return ours + read(foreign["items"], list[OrderState])

    async def get_positions(self) -> list[Position]:
        return read((await self._running().call("GET", self._path("positions")))["items"], list[Position])

    async def get_account_state(self) -> AccountState:
        return read(await self._running().call("GET", self._path("")), AccountState)

    async def get_symbol_metadata(self, symbol_id: str) -> SymbolMetadata:
        return read_symbol(await self._running().call("GET", self._path(f"symbols/{quote(symbol_id, safe='/')}")))

    async def get_asset_metadata(self, asset_id: str) -> AssetMetadata:
        return read(await self._running().call("GET", self._path(f"assets/{quote(asset_id, safe='/')}")), AssetMetadata)

    async def health_check(self) -> Health:
        return read(await self._running().call("GET", self._path("health")), Health)

    async def force_reconciliation(self) -> None:
        await self._running().call("POST", self._path("reconcile"))

    # ---- events -------------------------------------------------------------------------------------------------

    def subscribe_events(self, handler: EventHandler, *, after: int | None = None) -> None:
        if self._line is None:
            self._listeners.append((handler, after, None))
            return
        task = asyncio.get_running_loop().create_task(self._listen(handler, after), name=f"events {self.exchange_id}")
        self._listeners.append((handler, after, task))

    def unsubscribe_events(self, handler: EventHandler) -> None:
        mine = [each for each in self._listeners if each[0] == handler]
        self._listeners = [each for each in self._listeners if each[0] != handler]
        for _, _, task in mine:
            if task is not None:
                task.cancel()

    async def _listen(self, handler: EventHandler, after: int | None) -> None:
        """Call the handler, through every loss of the connection, with each event once."""
        place: dict[str, str] = {}
        start = after
        if start is None:
            # Where "from now on" begins is settled once, so that nothing is missed while the connection is made anew.
            start = await self._persist(self._newest)
        wait = FIRST_WAIT_S
        while True:
            try:
                async for last, data in self._running().frames(self._path("events"), place, start):
                    wait = FIRST_WAIT_S
                    await _handle(handler, data)
                    place = {"last-event-id": last}
            except NotAllowed as error:
                log.error("no events of %s any more: %s", self.exchange_id, error)
                return
            except Gone as gone:
                place, start = {}, await self._persist(self._newest)
                log.error("events of %s were missed: %s", self.exchange_id, gone)
                if self._on_resync is not None:
                    await _called(self._on_resync(str(gone)))
            except (ExchangeKernelError, httpx.HTTPError) as error:
                log.info("events of %s: %s; connecting again", self.exchange_id, type(error).__name__)
            await self._clock.sleep(wait)
            wait = min(2 * wait, 5.0)

    async def _persist(self, ask: Callable[[], Any]) -> int:
        while True:
            with contextlib.suppress(StoreUnavailable):
                return int(await ask())
            await self._clock.sleep(1.0)

    async def _newest(self) -> int:
        return int((await self._running().call("GET", self._path("events"), query={"limit": 1}))["newest"])

    # ---- names --------------------------------------------------------------------------------------------------

    def _new_id(self) -> str:
        return new_id(self._clock.now_ms(), self._ids.new(12))

    def _path(self, rest: str) -> str:
        return f"/v1/accounts/{self.exchange_id}/{rest}".rstrip("/")

    def _order(self, intent_id: str) -> str:
        check_id("intent_id", intent_id)
        return self._path(f"orders/{quote(intent_id, safe='')}")

    async def _one(self, intent_id: str) -> dict[str, Any]:
        self._running()
        try:
            path = self._order(intent_id)
        except InvalidOrder:
            shown = ascii(intent_id)[1:-1][:80]
            raise UnknownIntent(f"intent_id {shown}: account {self.exchange_id} has no such intent") from None
        return await self._running().call("GET", path)

    async def _all(self, symbol_id: str | None, active_only: bool) -> AsyncIterator[dict[str, Any]]:
        after: str | None = ""
        while after is not None:
            query: dict[str, Any] = {"limit": PAGE, "active": str(active_only).lower(), "after": after}
            if symbol_id is not None:
                query["symbol"] = symbol_id
            page = await self._running().call("GET", self._path("orders"), query=query)
            for each in page["items"]:
                yield each
            after = page["next"]


async def _called(result: Any) -> None:
    if inspect.isawaitable(result):
        await result


async def _handle(handler: EventHandler, data: dict[str, Any]) -> None:
    try:
        event = read_event(data)
    except (KeyError, TypeError):
        log.warning("an event of a newer release: %s %s", data.get("kind"), data.get("seq"))
        return
    try:
        await _called(handler(event))
    except Exception:
        log.exception("event handler failed on %s %s", event.kind, event.seq)


def _written(order: object) -> dict[str, Any]:
    if not isinstance(order, StandardOrder):
        raise InvalidOrder("order", type(order).__name__, "must be a StandardOrder")
    return order.to_dict()
