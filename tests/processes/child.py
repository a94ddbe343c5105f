"""A trading process that is to be killed, or stopped, at a labelled point of its work. ``python -m
tests.processes.child``
is a nursery: it has imported everything and forks one such process for every line of orders it gets.

What a process says goes to its own file, one line each, before anything else happens: ``ack NAME`` when a command was
answered, ``owns`` when it has the account, ``fenced`` when another process took it, ``settled JSON`` when every intent
is where it is wanted.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any

from exchange_kernel.kernel import Kernel
from exchange_kernel.models import Desired, IntentStatus
from exchange_kernel.schema import Side, StandardOrder, TimeInForce
from exchange_kernel_paper.adapter import PaperAdapter
from tests.processes.boundary import AdapterBoundary
from tests.processes.mortal import ACCOUNT, SETTINGS, Mortal


def buy(amount: str, price: str | None, **more: Any) -> StandardOrder:
    """An order to buy BTC; at 49000 it rests, from 50010 on it trades."""
    limit = None if price is None else Decimal(price)
    return StandardOrder("BTC/USD", Side.BUY, Decimal(amount), limit_price=limit, **more)


PLACED = {
    "rests": buy("0.1", "49000"),
    "trades": buy("0.2", None),
    "partly": buy("5", "50010"),
    "at once": buy("0.3", "50500", time_in_force=TimeInForce.IOC),
    "changed": buy("0.2", "49100"),
    "cancelled": buy("0.3", "49200"),
}
CHANGED = buy("0.4", "49150")
WANTED = {name: order.amount for name, order in PLACED.items()} | {"changed": CHANGED.amount}


class Trader(Mortal):
    """One process. ``orders``: those of :class:`Mortal`, and the venue."""

    def __init__(self, orders: dict[str, Any]) -> None:
        super().__init__(orders)
        config = {"connect": f"127.0.0.1:{orders['port']}", "timeout_ms": 3_000}
        self.kernel = Kernel(
            ACCOUNT,
            AdapterBoundary(PaperAdapter(), self._touch),  # type: ignore[arg-type]
            self._store,  # type: ignore[arg-type]
            venue="paper",
            venue_config=config,
            secrets={"secret": "s3cret"},
            settings=SETTINGS,
            standby=orders["standby"],
        )

    async def run(self) -> None:
        """Declare everything, under the same ids in every process; then look until it is settled."""
        logging.getLogger("exchange_kernel").addHandler(_Fenced(self))
        await self.kernel.start()
        owning = asyncio.create_task(self._own())
        await asyncio.gather(*(self._trade(name) for name in PLACED))
        while not (states := await self._settled()):
            await asyncio.sleep(0.02)
        self.say(f"settled {json.dumps(states)}")
        await owning
        await asyncio.Event().wait()

    async def _trade(self, name: str) -> None:
        await self._command(f"place {name}", lambda: self.kernel.place_order(PLACED[name], name.replace(" ", "-")))
        if name == "changed":
            await self._worked("changed")
            await self._command("modify changed", lambda: self.kernel.modify_order("changed", CHANGED))
        if name == "cancelled":
            await self._worked("cancelled")
            await self._command("cancel cancelled", lambda: self.kernel.cancel_order("cancelled"))

    async def _command(self, said: str, call: Any) -> None:
        await self._insist(call)
        self.say(f"ack {said}")

    async def _worked(self, name: str) -> None:
        while not (await self.kernel.get_order_state(name)).observed_generation:
            await asyncio.sleep(0.01)

    async def _settled(self) -> dict[str, Any] | None:
        out = {}
        for intent in await self.kernel.get_all_intents():
            state = await self.kernel.get_order_state(intent.intent_id)
            resting = state.status in (IntentStatus.WORKING, IntentStatus.PARTIALLY_FILLED)
            if not state.status.terminal and (
                not resting or intent.desired is Desired.CANCELED or state.observed_generation != intent.generation
            ):
                return None
            out[intent.intent_id] = {
                "status": state.status.value,
                "booked": str(state.filled_base),
                "orders": state.venue_ids,
            }
        return out


class _Fenced(logging.Handler):
    def __init__(self, trader: Trader) -> None:
        super().__init__()
        self._trader = trader

    def emit(self, record: logging.LogRecord) -> None:
        if "taken over by another process" in record.getMessage():
            self._trader.say("fenced")


def nursery(run: Callable[[dict[str, Any]], Coroutine[Any, Any, None]]) -> None:
    """Fork a process for each line, which runs what its orders say; tell when one stopped or ended: ``started PID``,
    ``stopped PID``, ``ended PID CODE``."""
    running: set[int] = set()
    os.set_blocking(0, False)
    pending = b""
    while True:
        try:
            data = os.read(0, 65536)
            if not data:
                break
            pending += data
        except BlockingIOError:
            pass
        *lines, pending = pending.split(b"\n")
        for line in lines:
            orders = json.loads(line)
            pid = os.fork()
            if pid == 0:
                _be(orders, run)
            running.add(pid)
            _tell({"started": pid, "for": orders["out"]})
        for pid in tuple(running):
            found, status = os.waitpid(pid, os.WNOHANG | os.WUNTRACED)
            if not found:
                continue
            if os.WIFSTOPPED(status):
                _tell({"stopped": pid})
            else:
                running.discard(pid)
                _tell({"ended": pid, "code": os.waitstatus_to_exitcode(status)})
        signal.sigtimedwait({signal.SIGCHLD}, 0.02)
    for pid in running:
        os.kill(pid, signal.SIGKILL)


def _be(orders: dict[str, Any], run: Callable[[dict[str, Any]], Coroutine[Any, Any, None]]) -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    code = 1
    try:
        log = os.open(f"{orders['out']}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        for standard in (1, 2):
            os.dup2(log, standard)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        logging.basicConfig(level="INFO", format="%(asctime)s %(process)d %(message)s", force=True)
        asyncio.run(run(orders))
        code = 0
    finally:
        logging.exception("ended")
        os._exit(code)


def _tell(message: dict[str, Any]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    nursery(lambda orders: Trader(orders).run())
    sys.exit(0)
