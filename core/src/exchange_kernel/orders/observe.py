"""Accounts that are only looked at."""

from __future__ import annotations

from typing import Final

from exchange_kernel.errors import AdmissionDenied

__all__ = ["OBSERVE", "observed"]

OBSERVE: Final = "observe"
"""The mode of an account that is only looked at: nothing is ever prepared, signed or sent."""


def observed(account: str) -> AdmissionDenied:
    """What such an account answers to whoever wants to trade with it."""
    rule = f"is only observed (mode: {OBSERVE}): nothing is sent from here"
    return AdmissionDenied("account", account, rule, "to trade with it, say in its mode what it is")
