"""What makes a ticket safe: may copies arrive, and what proves it dead.

The adapter states facts (:class:`Fence`, :class:`Watermark`); only the kernel draws conclusions from them
(:mod:`exchange_kernel.reconcile.proof`). Times are ``int`` milliseconds since the epoch, UTC.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from exchange_kernel.value import Value

Ms = int
Key = bytes
FOREVER: Ms = 2**62


class VenueId(Value, frozen=True):
    """An id the venue gave or accepted. ``value`` is unique in the account for its ``kind``, for ever."""

    kind: str
    value: str


class Slot(Value, frozen=True):
    """One number of a sequence (an EVM nonce): ``scope`` names the sequence, e.g. ``evm:1:0xabc…``."""

    scope: str
    number: int


class Scope(Value, frozen=True):
    """A sequence the kernel allocates numbers from.

    ``gapless``: every number is used in order. ``rising``: numbers only grow. ``set``: any unused number of a window.
    ``floor``: smallest number still usable, as the venue sees it now. ``clocked``: numbers are also >= now in ms.
    """

    name: str
    rule: Literal["gapless", "rising", "set"]
    floor: int
    window: int | None = None
    clocked: bool = False


class TimeEnd(Value, frozen=True):
    """Dead once a clock of the venue or its ledger passed ``at``; ``slack``: longest time from the venue's last check
    of
    ``at`` to the order's visibility in ``lookup``."""

    at: Ms
    clock: Literal["venue", "ledger"]
    slack: Ms = 0


class HeightEnd(Value, frozen=True):
    """Dead once a final block above ``last`` was read."""

    last: int


class SlotEnd(Value, frozen=True):
    """Dead once this number was spent, finally, by something else."""

    slot: Slot


End = TimeEnd | HeightEnd | SlotEnd


class Fence(Value, frozen=True):
    """``repeatable``: any number of copies of these bytes, arriving at any time, have at most the effect of one.
    ``ends``: any ONE of them, passed in a read that also shows the ticket absent, proves it dead; ``()``: never
    provable.
    ``authority``: whose word ends an order. Unverified parameters of an endpoint have no ends (R15)."""

    repeatable: bool
    ends: tuple[End, ...]
    authority: Literal["venue", "ledger"] = "venue"


class Watermark(Value, frozen=True):
    """How far the state that was read had got. All bounds are *lower* bounds taken before the search began (rule 8).

    ``spent``: of the slots asked about, those used, or refused for ever, in that same state.
    """

    venue_ms: Ms | None = None
    ledger_ms: Ms | None = None
    height: int | None = None
    spent: frozenset[Slot] = frozenset()


class Money(Value, frozen=True):
    """An amount of one asset, in that asset's own unit."""

    asset: str
    amount: Decimal


class Ticket(Value, frozen=True):
    """A command made exact: the very bytes to send. Stored durably before it is sent.

    ``body`` holds what is ordered, its price and its life; at most 64 KiB, no secret, readable by later plugin versions
    (``codec``). ``identity`` is :attr:`Opened.identity` of the account it was made for. ``send_before`` is in local
    ms UTC.
    ``outlay``: the most this may cost. ``slot``: the number it uses, where its scope has numbers.
    """

    key: Key
    body: bytes
    codec: str
    identity: str
    fence: Fence
    ids: tuple[VenueId, ...] = ()
    send_before: Ms = FOREVER
    outlay: tuple[Money, ...] = ()
    note: str = ""

    @property
    def slot(self) -> Slot | None:
        """The sequence number this ticket spends, from its fence."""
        return next((end.slot for end in self.fence.ends if isinstance(end, SlotEnd)), None)
