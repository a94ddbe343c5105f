"""When a swap refuses itself: unix seconds, never later than what the order says."""

from __future__ import annotations

from exchange_kernel.errors import InvalidOrder
from exchange_kernel.schema import TimeInForce
from exchange_kernel.venue import Ms, Spec

__all__ = ["deadline", "end_of_day"]

_SECOND, _DAY = 1000, 86_400_000


def end_of_day(now: Ms) -> Ms:
    """The end of the UTC day ``now`` (ms UTC) lies in."""
    return (now // _DAY + 1) * _DAY


def deadline(spec: Spec, now: Ms, give_up: Ms) -> int:
    """The last block time (unix seconds) at which the swap of ``spec`` may execute.

    The earliest of ``give_up``, the order's ``until`` and, for DAY, the end of the UTC day; all ms UTC, rounded down. A
    DAY ends before midnight, so its last second does not count.

    :raises InvalidOrder: that moment is not after ``now``.
    """
    field, end = "give_up", give_up
    if spec.until is not None and spec.until < end:
        field, end = "until", spec.until
    if spec.tif is TimeInForce.DAY and end_of_day(now) - 1 < end:
        field, end = "time_in_force", end_of_day(now) - 1
    if end // _SECOND * _SECOND <= now:
        raise InvalidOrder(field, end, f"has passed: it is {now} ms UTC", "give a later moment")
    return end // _SECOND
