"""A process that trades on a chain and is to be killed, or stopped, at a labelled point. ``python -m
plugins.evm.tests.processes.worker`` is a nursery of them, as :mod:`tests.processes.child` is.

Its orders name everything: ``adapter`` (module:function), ``venue``, ``config``, ``secrets``, ``store``, ``plan``:
steps ``["place", id, {fields of StandardOrder}]``, ``["modify", id, {...}]``, ``["cancel", id]``, ``["wait", id]``.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import signal
from typing import Any

from exchange_kernel.kernel import Kernel
from exchange_kernel.schema import StandardOrder
from tests.processes.boundary import AdapterBoundary, Touch
from tests.processes.child import nursery
from tests.processes.mortal import ACCOUNT, SETTINGS, Mortal

_OPS = {"order": "place"}
IN_FLIGHT = 4


class ChainBoundary:
    """An on-chain adapter, touched around every call, and before and after its bytes leave for the node. It has the
    contract's ten methods and no optional protocol."""

    check, close, markets, prepare = (
        AdapterBoundary.check,
        AdapterBoundary.close,
        AdapterBoundary.markets,
        AdapterBoundary.prepare,
    )
    lookup, open_orders, account, events, _read = (
        AdapterBoundary.lookup,
        AdapterBoundary.open_orders,
        AdapterBoundary.account,
        AdapterBoundary.events,
        AdapterBoundary._read,
    )

    def __init__(self, inner: Any, touch: Touch) -> None:
        self.inner, self._touch, self._op = inner, touch, ""

    async def open(self, ctx: Any) -> Any:
        await self._touch("before open", ctx)
        opened = await self.inner.open(ctx)
        send = self.inner._rpc.send

        async def touched(raw: bytes) -> Any:
            name = self._op
            await self._touch(f"before send of {name}", raw)
            sending = asyncio.ensure_future(send(raw))
            # The connection is open by now: its bytes leave in the first turns of the loop.
            for _ in range(IN_FLIGHT):
                await asyncio.sleep(0)
            await self._touch(f"sent {name}", raw)
            answer = await sending
            await self._touch(f"after send of {name}", raw)
            return answer

        self.inner._rpc.send = touched
        return opened

    async def submit(self, ticket: Any) -> Any:
        op = json.loads(ticket.body.partition(b"\n")[0])["op"]
        self._op = _OPS.get(op, op)
        name = self._op
        await self._touch(f"before submit of {name}", ticket)
        ack = await self.inner.submit(ticket)
        await self._touch(f"after submit of {name}", ack)
        return ack


class Worker(Mortal):
    """One process."""

    def __init__(self, orders: dict[str, Any]) -> None:
        super().__init__(orders)
        module, _, name = orders["adapter"].partition(":")
        self.kernel = Kernel(
            ACCOUNT,
            ChainBoundary(getattr(importlib.import_module(module), name)(), self._touch),  # type: ignore[arg-type]
            self._store,  # type: ignore[arg-type]
            venue=orders["venue"],
            venue_config=orders["config"],
            secrets=orders["secrets"],
            settings=SETTINGS,
            standby=orders["standby"],
        )

    async def run(self) -> None:
        """Go through the plan, under the same ids in every process; then look until everything has ended."""
        await self.kernel.start()
        owning = asyncio.create_task(self._own())
        for action, intent, *more in self._orders["plan"]:
            await self._do(action, intent, *more)
        while not await self._ended():
            await asyncio.sleep(0.02)
        self.say("settled")
        await owning
        await asyncio.Event().wait()

    async def _do(self, action: str, intent: str, fields: dict[str, Any] | None = None) -> None:
        kernel = self.kernel
        if action == "wait":
            while not (await kernel.get_order_state(intent)).status.terminal:
                await asyncio.sleep(0.01)
        elif action == "place":
            order = StandardOrder(**(fields or {}))
            await self._insist(lambda: kernel.place_order(order, intent))
        else:
            while not (state := await kernel.get_order_state(intent)).observed_generation:
                if state.status.terminal:
                    break
                await asyncio.sleep(0.01)
            if action == "modify":
                await self._insist(lambda: kernel.modify_order(intent, StandardOrder(**(fields or {}))))
            else:
                await self._insist(lambda: kernel.cancel_order(intent))
        self.say(f"done {action} {intent}")

    async def _ended(self) -> bool:
        intents = await self.kernel.get_all_intents()
        states = [await self.kernel.get_order_state(each.intent_id) for each in intents]
        return all(state.status.terminal for state in states)


if __name__ == "__main__":
    for module in ("plugins.evm.tests.weth", "exchange_kernel_uniswap.adapter"):
        importlib.import_module(module)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    nursery(lambda orders: Worker(orders).run())
