"""The interface a strategy uses: the same for a kernel in this process and for one behind an API."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from exchange_kernel.events import Event
from exchange_kernel.models import AccountState, OrderIntent, OrderState, Position
from exchange_kernel.schema import AssetMetadata, StandardOrder, Support, SymbolMetadata

EventHandler = Callable[[Event], Any] | Callable[[Event], Awaitable[Any]]


class GroupKind(StrEnum):
    """How the orders of a group relate. BATCH: recorded all or none, otherwise independent."""

    BATCH = "BATCH"
    OCO = "OCO"
    OTO = "OTO"
    BRACKET = "BRACKET"
    SEQUENCE = "SEQUENCE"


class Resolution(StrEnum):
    """What an operator may say about a parked or unknown order.

    LOOK_AGAIN: ask the venue now. ABANDON: want nothing of it any more; it ends as soon as the rules of proof allow,
    and stays UNKNOWN until then. NEVER_SENT: the operator has proof from the venue that no order exists; accepted only
    for tickets whose fence has no end, where no other proof is possible. ENDED: the operator knows from the venue that
    the order has ended with the fills booked; accepted only for one that the venue forgot (condition Unaccounted).
    """

    LOOK_AGAIN = "LOOK_AGAIN"
    ABANDON = "ABANDON"
    NEVER_SENT = "NEVER_SENT"
    ENDED = "ENDED"


@dataclass(frozen=True, slots=True)
class DryRun:
    """What placing an order would do, without a trace anywhere (S14).

    ``order``: as it would be recorded. ``uses``: capabilities it needs and how the venue offers them; ``emulated``:
    those
    the kernel would provide. ``outlay``: asset → the most it may cost. ``notional`` in quote, None when unbounded.
    """

    order: StandardOrder
    sent_amount: Decimal
    sent_price: Decimal | None
    uses: Mapping[str, Support]
    emulated: tuple[str, ...]
    outlay: Mapping[str, Decimal]
    notional: Decimal | None
    warnings: tuple[str, ...]
    would_wait: str


@dataclass(frozen=True, slots=True)
class ComponentHealth:
    """One part of the kernel: working or not, and since when (ms UTC)."""

    healthy: bool
    reason: str = ""
    since: int = 0


@dataclass(frozen=True, slots=True)
class Health:
    """Answer of ``health_check``. ``ready``: orders placed now would be worked on."""

    ready: bool
    components: Mapping[str, ComponentHealth]


class ExchangeKernel(ABC):
    """One account at one venue, declaratively.

    Commands write desired state and return when it is durable; the kernel makes it true. Queries of intents answer
    what is
    wanted, queries of states what is true. Every method but ``start`` raises NotRunning before ``start()`` and after
    ``stop()``; every command raises StoreUnavailable when the store cannot write, with nothing half-written.
    """

    exchange_id: str

    @abstractmethod
    async def place_order(
        self, order: StandardOrder, intent_id: str | None = None, *, labels: Mapping[str, str] | None = None
    ) -> str:
        """Declare an order; returns its intent id once it is durable.

        ``intent_id``: made by the caller before the call, so that a repeated call is the same intent; made here
        otherwise.
        Raises InvalidOrder, UnknownSymbol, Unsupported, LimitExceeded, AdmissionDenied, AccountHalted,
        IntentConflict."""

    @abstractmethod
    async def place_order_group(
        self,
        orders: Sequence[StandardOrder],
        kind: GroupKind = GroupKind.BATCH,
        *,
        group_id: str | None = None,
        intent_ids: Sequence[str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> list[str]:
        """Declare several orders, all or none. Raises as ``place_order``; Unsupported for kinds other than BATCH."""

    @abstractmethod
    async def modify_order(
        self, intent_id: str, new_order: StandardOrder, *, expected_generation: int | None = None
    ) -> int:
        """Replace the order of an intent; its amount is the new total, filled part included. Returns the generation.

        Symbol and side cannot change. Raises as ``place_order``, and UnknownIntent, IntentFinished, IntentConflict."""

    @abstractmethod
    async def cancel_order(self, intent_id: str, *, reason: str = "") -> None:
        """Want an order gone. CANCELED is shown only when proved. Finished intents stay as they are. Raises
        UnknownIntent."""

    @abstractmethod
    async def cancel_all_orders(self, symbol_id: str | None = None, *, reason: str = "") -> list[str]:
        """Want all active intents of this account (of one symbol) gone; never foreign orders. Returns their ids."""

    @abstractmethod
    async def resolve_order(self, intent_id: str, resolution: Resolution, *, actor: str, reason: str) -> OrderState:
        """Resolve a parked or unknown order, under the same rules of proof (R14). Raises UnknownIntent,
        IntentConflict."""

    @abstractmethod
    async def dry_run(self, order: StandardOrder) -> DryRun:
        """What placing this order would do; leaves no trace. Raises as ``place_order``."""

    @abstractmethod
    async def halt(self, *, actor: str, reason: str) -> None:
        """Refuse and send no order, durably, until ``resume``. Cancels still work."""

    @abstractmethod
    async def resume(self, *, actor: str, reason: str) -> None:
        """Lift a halt."""

    @abstractmethod
    async def get_order_intent(self, intent_id: str) -> OrderIntent:
        """Desired state. Raises UnknownIntent."""

    @abstractmethod
    async def get_order_state(self, intent_id: str) -> OrderState:
        """Actual state. Raises UnknownIntent."""

    @abstractmethod
    async def get_all_intents(self, *, symbol_id: str | None = None, active_only: bool = False) -> list[OrderIntent]:
        """Desired state of every intent, oldest first."""

    @abstractmethod
    async def get_all_orders(self, *, symbol_id: str | None = None) -> list[OrderState]:
        """Actual state of every intent that reached a decision, and of foreign orders (``origin`` FOREIGN or VENUE)."""

    @abstractmethod
    async def get_positions(self) -> list[Position]:
        """Positions: from booked fills on spot, as the venue reports them elsewhere."""

    @abstractmethod
    async def get_account_state(self) -> AccountState:
        """Balances, positions, margin, as of the venue's last snapshot."""

    @abstractmethod
    async def get_symbol_metadata(self, symbol_id: str) -> SymbolMetadata:
        """Constraints and capabilities of a market. Raises UnknownSymbol."""

    @abstractmethod
    async def get_asset_metadata(self, asset_id: str) -> AssetMetadata:
        """Description of an asset. Raises UnknownSymbol."""

    @abstractmethod
    def subscribe_events(self, handler: EventHandler, *, after: int | None = None) -> None:
        """Call ``handler`` for every event after commit, in order. ``after``: resume behind this sequence number (0:
        from
        the beginning); None: only new ones. May be called before ``start()``."""

    @abstractmethod
    def unsubscribe_events(self, handler: EventHandler) -> None:
        """Stop calling ``handler``."""

    @abstractmethod
    async def start(self) -> None:
        """Open store and venue, take the account over, recover, and begin to reconcile."""

    @abstractmethod
    async def stop(self) -> None:
        """Stop. Orders stay at the venue, intents stay durable. Idempotent."""

    @abstractmethod
    async def health_check(self) -> Health:
        """Is everything connected and working, and if not, what isn't?"""

    @abstractmethod
    async def force_reconciliation(self) -> None:
        """Returns after a venue snapshot begun after this call is folded into the states."""
