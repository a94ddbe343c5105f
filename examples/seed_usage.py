"""The usage pattern of a kernel from beginning to end, on a paper venue in this process.

Run it: uv run python examples/seed_usage.py
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from exchange_kernel import AmountType, Side, StandardOrder
from exchange_kernel.events import Event
from exchange_kernel.kernel import Kernel
from exchange_kernel.models import IntentStatus
from exchange_kernel.plugins import load
from exchange_kernel.state import SqlIntentStore


class PaperExchangeKernel(Kernel):
    """A kernel of one paper account, with its store in ``folder``. Accounts in a file: see ``Platform.from_file``."""

    def __init__(self, exchange_id: str, folder: Path) -> None:
        adapter = load().venue("paper")()
        store = SqlIntentStore(f"sqlite:///{folder / 'exk.db'}")
        balances = {"USD": "200000", "BTC": "3"}
        super().__init__(exchange_id, adapter, store, venue="paper", venue_config={"balances": balances})


def my_event_handler(event: Event) -> None:
    print(f"  event {event.seq}: {event.kind} {event.reason}")


async def until(kernel: Kernel, intent_id: str, *statuses: IntentStatus) -> None:
    """Wait until the exchange's side of an intent is there: look at it whenever an event tells of a change."""
    changed = asyncio.Event()

    def wake(event: Event) -> None:
        changed.set()

    kernel.subscribe_events(wake)
    while (await kernel.get_order_state(intent_id)).status not in statuses:
        await changed.wait()
        changed.clear()
    kernel.unsubscribe_events(wake)


async def main(folder: Path) -> None:
    # Create exchange kernel for specific exchange
    kernel = PaperExchangeKernel(exchange_id="paper_main", folder=folder)

    # Subscribe to events
    kernel.subscribe_events(my_event_handler)

    # Start kernel
    await kernel.start()

    # Place order (creates intent, kernel handles execution)
    intent_id = await kernel.place_order(
        StandardOrder(
            symbol_id="BTC/USD",
            side=Side.BUY,
            amount=1.0,
            amount_type=AmountType.BASE,
            limit_price=50000.0,
        )
    )

    # Query desired state
    intent = await kernel.get_order_intent(intent_id)
    print(f"desired: {intent.order.side} {intent.order.amount} at {intent.order.limit_price}, {intent.desired}")

    # Query actual state
    await until(kernel, intent_id, IntentStatus.WORKING)
    state = await kernel.get_order_state(intent_id)
    print(f"actual: {state.status}, {state.filled_base} filled, at the venue as {', '.join(state.venue_ids)}")

    # Modify order (updates intent, kernel reconciles)
    new_order = intent.order.but(amount=0.8, limit_price=50100.0)
    await kernel.modify_order(intent_id, new_order)
    await until(kernel, intent_id, IntentStatus.FILLED)

    # Cancel order
    resting = await kernel.place_order(intent.order.but(limit_price=45000.0))
    await kernel.cancel_order(resting)
    await until(kernel, resting, IntentStatus.CANCELED)

    # Query positions
    positions = await kernel.get_positions()
    print(f"positions: {[(position.symbol_id, str(position.amount)) for position in positions]}")

    # Query account state
    await kernel.force_reconciliation()
    account = await kernel.get_account_state()
    print(f"balances: {[(asset.asset_id, str(asset.total)) for asset in account.assets]}")

    await kernel.stop()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        asyncio.run(main(Path(made)))
