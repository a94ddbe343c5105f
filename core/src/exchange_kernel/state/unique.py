"""What may exist only once, as every store says it when it refuses the second one. Nothing is written then."""

from __future__ import annotations

from exchange_kernel.errors import KeyTaken, StoreError
from exchange_kernel.venue import Slot, VenueId


def live_attempt_exists(intent_id: str) -> StoreError:
    """At most one live attempt per intent (R6)."""
    return StoreError(
        f"intent {intent_id} has a live attempt already (R6): read it again; it must end, by proof, first"
    )


def key_taken(key: bytes) -> KeyTaken:
    """A client id is never used again (R7)."""
    return KeyTaken(f"attempt key {key.hex()} exists already in this account (R7): make the next attempt's own key")


def fill_taken(fill_id: str, intent_id: str, owner: str) -> KeyTaken:
    """A fill counts once (S10)."""
    return KeyTaken(
        f"fill {fill_id} of intent {intent_id} is already booked for {owner}: the adapter must make Fill.id unique in "
        "the account for ever (with the symbol in it where the venue counts per symbol)"
    )


def venue_id_taken(vid: VenueId, intent_id: str, owner: str, attempt: int) -> StoreError:
    """A venue id belongs to one attempt."""
    return StoreError(
        f"venue id {vid.kind} {vid.value} of intent {intent_id} belongs to {owner} attempt {attempt}: the adapter must "
        "make ids unique in the account for ever (with the symbol in it where the venue counts per symbol)"
    )


def number_taken(slot: Slot, owner: str, attempt: int) -> KeyTaken:
    """A sequence number belongs to one attempt (S9)."""
    return KeyTaken(
        f"number {slot.number} of {slot.scope} belongs to {owner} attempt {attempt} (S9): take the next free number"
    )
