"""Allowances as prerequisites: what an order asks for first, and the transaction that a step makes of it.

Names say who may take what, never how much: the amount is the kernel's to add up over everything that lives and waits
(``Enable.amount``, in the token's smallest units).
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from decimal import Decimal

from exchange_kernel.errors import Unsupported
from exchange_kernel.value import Value
from exchange_kernel.venue import Enable, Ms, NeedsFirst
from exchange_kernel_evm.abi import checked_address
from exchange_kernel_evm.tokens import MAX_UINT160, MAX_UINT256, Allow, Approval, Token, approval_steps, permit2_steps

__all__ = [
    "Wish",
    "allowance_name",
    "allowance_need",
    "allowance_needs",
    "permit2_name",
    "permit2_need",
    "reset_name",
    "wish_of",
]

PERMIT2_LIFE_S = 86_400
"""How much longer than its order an allowance inside Permit2 lives: the step itself has to become final first."""

_EXACT = Allow()


def allowance_name(token: str, spender: str) -> str:
    """What ``Preview.needs`` calls an allowance of a token; its unit is the token's smallest."""
    return f"allowance:{token}:{spender}"


def permit2_name(token: str, spender: str) -> str:
    """The same for an allowance inside Permit2."""
    return f"permit2:{token}:{spender}"


def reset_name(token: str, spender: str) -> str:
    """The name of setting an allowance to zero, before it is set anew; it has no quantity."""
    return f"reset:{token}:{spender}"


def allowance_needs(token: Token, spender: str, units: int) -> dict[str, Decimal]:
    """What an order that lets ``spender`` take so much puts into ``Preview.needs``."""
    needs = {allowance_name(token.address, spender): Decimal(units)}
    if token.reset_first:
        needs[reset_name(token.address, spender)] = Decimal(0)
    return needs


def allowance_need(
    token: Token,
    spender: str,
    need: int,
    current: int,
    allow: Allow | None = None,
    under_way: Container[str] = (),
) -> NeedsFirst | None:
    """What must be enabled before ``spender`` can take ``need`` units, one step at a time; None: nothing.

    ``need``: of this order and of everybody else who lives (``Prep.in_use``). ``under_way``: as ``Prep`` has it; while
    a reset is among it, an order would find nothing allowed, whatever the chain shows: it waits for the reset, too.
    """
    name, reset = allowance_name(token.address, spender), reset_name(token.address, spender)
    resets = reset in under_way
    steps = approval_steps(token, spender, current, need, allow or _EXACT)
    if not steps and not resets:
        return None
    body = {"token": token.address, "spender": spender, "asset": token.asset, "ahead": str((allow or _EXACT).bound)}
    if resets:
        return NeedsFirst(reset, {**body, "reset": "yes"}, f"what {spender} may take of {token.asset} is being reset")
    why = f"{steps[0].note}: {spender} may take {current} of {need} units"
    if len(steps) > 1:  # a name of its own: it has no quantity, and is over before the allowance is asked for again
        return NeedsFirst(reset, {**body, "reset": "yes"}, why)
    return NeedsFirst(name, body, why)


def permit2_need(
    token: Token, permit2: str, spender: str, need: int, current: tuple[int, int], until_s: int, allow: Allow = _EXACT
) -> NeedsFirst | None:
    """The same inside Permit2. ``current``: units and when they end, seconds; ``until_s``: until when they must do."""
    steps = permit2_steps(token, permit2, spender, current, need, until_s, allow)
    if not steps:
        return None
    body = {"token": token.address, "spender": spender, "asset": token.asset, "ahead": str(allow.bound)}
    why = f"{steps[0].note}: {spender} may take {current[0]} of {need} units"
    return NeedsFirst(
        permit2_name(token.address, spender), {**body, "permit2": permit2, "until": str(until_s + PERMIT2_LIFE_S)}, why
    )


class Wish(Value, frozen=True):
    """What an ``Enable`` wants set: ``spender`` may take ``units`` of ``token``; inside ``permit2`` until ``until``
    (seconds) where that is not ""."""

    token: str
    spender: str
    asset: str
    units: int
    permit2: str = ""
    until: int = 0

    def approval(self) -> Approval:
        """The transaction. It sets, and does not add: done twice it is done once."""
        token = Token(self.token, self.asset, 0)
        if self.permit2:
            (step,) = permit2_steps(token, self.permit2, self.spender, (0, 0), self.units, self.until)
            return step
        if not self.units:
            (step, _) = approval_steps(Token(self.token, self.asset, 0, True), self.spender, 1, 2)
            return step
        (step,) = approval_steps(token, self.spender, 0, self.units)
        return step


def wish_of(command: Enable, permit2: str, now: Ms) -> Wish:
    """What is to be set, from what a need of this module said. Raises Unsupported for anything else."""
    body: Mapping[str, str] = command.body
    try:
        token, spender = checked_address("token", body["token"]), checked_address("spender", body["spender"])
        ahead, inside = int(body.get("ahead", "0")), body.get("permit2", "")
        until = int(body.get("until", "0"))
    except (KeyError, ValueError):
        raise Unsupported(command.name, "is no allowance") from None
    if "reset" in body:
        return Wish(token, spender, body.get("asset", ""), 0)
    units = max(int(command.amount.to_integral_value()), ahead)
    if units <= 0 or command.amount < Decimal(0):
        raise Unsupported(command.name, f"of {command.amount} units is no allowance")
    if inside and (inside != permit2 or until * 1000 <= now):
        raise Unsupported(command.name, f"inside {inside} until {until} is no allowance of Permit2")
    return Wish(
        token, spender, body.get("asset", ""), min(units, MAX_UINT160 if inside else MAX_UINT256), inside, until
    )
