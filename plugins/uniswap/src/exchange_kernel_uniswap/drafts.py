"""A transaction wanted, before anything is signed: where to, with what data, and what must be allowed first."""

from __future__ import annotations

from exchange_kernel.value import Value

__all__ = ["Allowance", "Draft"]


class Allowance(Value, frozen=True):
    """``spender`` must be able to take ``units`` of ``token``; ``permit2``: by way of Permit2, not by ERC-20 approval.

    With ``permit2`` two things are needed: that Permit2 may take the token, and that Permit2 lets the spender.
    """

    token: str
    spender: str
    units: int
    permit2: bool = False


class Draft(Value, frozen=True):
    """One transaction: ``value`` in wei; ``gas``: what it uses by experience, a floor for the limit, no substitute for
    an estimate; ``deadline``: unix seconds after which the contract itself refuses it."""

    to: str
    data: bytes
    value: int
    gas: int
    needs: tuple[Allowance, ...] = ()
    deadline: int | None = None
