"""Account events on their way to whoever listens, and what a fault does to them there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from exchange_kernel_binance.simulator.faults import STREAM_FAULTS, Faults


@dataclass(eq=False, slots=True)
class Subscription:
    """One listener; `send` takes the bare event, `disconnect` ends its connection."""

    account: str
    send: Callable[[dict[str, Any]], None]
    disconnect: Callable[[], None]
    # A reordered event waits here for the next one.
    held: list[dict[str, Any]] = field(default_factory=list)


class UserStreams:
    """All listeners; `sent` counts the events that went out."""

    def __init__(self) -> None:
        self.faults = Faults(STREAM_FAULTS)
        self.subscriptions: list[Subscription] = []
        self.sent = 0
        self._timers: set[asyncio.TimerHandle] = set()

    def add(self, subscription: Subscription) -> Subscription:
        self.subscriptions.append(subscription)
        return subscription

    def remove(self, subscription: Subscription) -> None:
        if subscription in self.subscriptions:
            self.subscriptions.remove(subscription)

    def of(self, account: str | None) -> list[Subscription]:
        return [each for each in self.subscriptions if account is None or each.account == account]

    def tell(self, account: str, event: dict[str, Any]) -> None:
        """Send the event to every listener of the account."""
        listeners = self.of(account)
        if not listeners:
            return
        fault = self.faults.strike(str(event["e"]), account)
        for listener in listeners:
            match fault.kind if fault is not None else None:
                case "lose":
                    continue
                case "duplicate":
                    self._send(listener, event)
                    self._send(listener, event)
                case "reorder":
                    listener.held.append(event)
                case "delay":
                    assert fault is not None
                    loop = asyncio.get_running_loop()
                    self._timers.add(loop.call_later(fault.ms / 1000, self._send, listener, event))
                case "disconnect":
                    listener.disconnect()
                case _:
                    self._send(listener, event)

    def _send(self, listener: Subscription, event: dict[str, Any]) -> None:
        if listener not in self.subscriptions:
            return
        self.sent += 1
        listener.send(event)
        held, listener.held = listener.held, []
        for late in held:
            listener.send(late)

    def disconnect(self, account: str | None = None) -> int:
        """End the connections of the account's listeners, or of all; how many there were."""
        listeners = self.of(account)
        for listener in listeners:
            listener.disconnect()
        return len(listeners)

    def close(self) -> None:
        for timer in self._timers:
            timer.cancel()
