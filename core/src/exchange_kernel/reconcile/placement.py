"""Which worker runs which account: a pure function of who is there and who holds what.

Every worker computes the same from the same facts, and acts on its own part only; where facts differ for a moment, the
lease keeps two of them from working on one account, and its epoch makes it safe (R31).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

__all__ = ["place"]


def place(accounts: Collection[str], serves: Mapping[str, Collection[str]], held: Mapping[str, str]) -> dict[str, str]:
    """From account to worker. ``serves``: the workers that stay, and the accounts each can run; ``held``: who holds an
    account now, if anybody.

    No worker has more than its share while another that could take one has less; who holds an account keeps it where
    that is fair; nobody's account that no worker can run is placed."""
    able = {name: frozenset(of) for name, of in serves.items()}
    plan: dict[str, str] = {}
    load = dict.fromkeys(sorted(able), 0)
    for account in sorted(accounts):
        holder = held.get(account)
        if holder in able and account in able[holder]:
            plan[account] = holder
            load[holder] += 1
    for account in sorted(accounts):
        if account not in plan:
            free = [name for name in load if account in able[name]]
            if free:
                _give(plan, load, account, min(free, key=lambda name: (load[name], name)))
    # The fullest gives to the emptiest that can take one of its accounts, until no step makes it fairer.
    while (step := _fairer(plan, load, able)) is not None:
        account, taker = step
        load[plan[account]] -= 1
        _give(plan, load, account, taker)
    return plan


def _give(plan: dict[str, str], load: dict[str, int], account: str, worker: str) -> None:
    plan[account] = worker
    load[worker] += 1


def _fairer(
    plan: Mapping[str, str], load: Mapping[str, int], able: Mapping[str, frozenset[str]]
) -> tuple[str, str] | None:
    for giver in sorted(load, key=lambda name: (-load[name], name)):
        mine = [account for account in sorted(plan) if plan[account] == giver]
        for taker in sorted(load, key=lambda name: (load[name], name)):
            if load[giver] - load[taker] < 2:
                break
            for account in reversed(mine):
                if account in able[taker]:
                    return account, taker
    return None
