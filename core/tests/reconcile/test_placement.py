"""Which worker runs which account: fair, steady, and the same wherever it is computed."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from exchange_kernel.reconcile.placement import place

ACCOUNTS = [f"account{n:02d}" for n in range(12)]
WORKERS = ["w1", "w2", "w3", "w4"]


def everywhere(*workers: str) -> dict[str, list[str]]:
    return dict.fromkeys(workers, ACCOUNTS)


def test_accounts_are_spread_evenly() -> None:
    """Sixty accounts on three workers are twenty each."""
    accounts = [f"a{n}" for n in range(60)]
    plan = place(accounts, dict.fromkeys(WORKERS[:3], accounts), {})
    assert Counter(plan.values()) == {"w1": 20, "w2": 20, "w3": 20}


def test_a_worker_that_is_gone_leaves_only_its_own_to_the_others() -> None:
    """Nothing else moves."""
    before = place(ACCOUNTS, everywhere("w1", "w2", "w3"), {})
    after = place(ACCOUNTS, everywhere("w1", "w3"), before)
    moved = {account for account in ACCOUNTS if before[account] != after[account]}
    assert moved == {account for account, worker in before.items() if worker == "w2"}
    assert Counter(after.values()) == {"w1": 6, "w3": 6}


def test_a_worker_that_comes_gets_its_share_and_no_more_moves() -> None:
    """Four of twelve, from both of the others."""
    before = place(ACCOUNTS, everywhere("w1", "w2"), {})
    after = place(ACCOUNTS, everywhere("w1", "w2", "w3"), before)
    assert Counter(after.values()) == {"w1": 4, "w2": 4, "w3": 4}
    assert sum(before[account] != after[account] for account in ACCOUNTS) == 4


def test_an_account_goes_only_to_a_worker_that_can_run_it() -> None:
    """Where its plugin is missing, or its venue cannot be reached."""
    serves = {"w1": ACCOUNTS, "w2": ["account00"]}
    plan = place(ACCOUNTS, serves, {})
    assert plan["account00"] == "w2"
    assert {plan[account] for account in ACCOUNTS[1:]} == {"w1"}
    assert place(ACCOUNTS, {"w2": ["account00"]}, {}) == {"account00": "w2"}
    assert place(ACCOUNTS, {}, {"account00": "gone"}) == {}


@given(
    st.dictionaries(st.sampled_from(WORKERS), st.sets(st.sampled_from(ACCOUNTS))),
    st.dictionaries(st.sampled_from(ACCOUNTS), st.sampled_from([*WORKERS, "", "somebody"])),
)
def test_whatever_is_held(serves: dict[str, set[str]], held: dict[str, str]) -> None:
    """Every account that can be run is placed, on one that can; it is steady; and nobody can be relieved."""
    plan = place(ACCOUNTS, serves, held)
    assert set(plan) == set().union(*serves.values())
    assert all(account in serves[worker] for account, worker in plan.items())
    assert place(list(reversed(ACCOUNTS)), dict(reversed(serves.items())), held) == plan
    assert place(ACCOUNTS, serves, plan) == plan
    load = Counter(plan.values())
    for account, worker in plan.items():
        for other, able in serves.items():
            assert account not in able or load[worker] - load[other] < 2
