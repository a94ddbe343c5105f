"""The protocol holds in every model, and every way to get it wrong is found out."""

from __future__ import annotations

import pytest

from tests.model import cancel, clock_and_loss, fills, group, page, recovery, sequence, submit
from tests.model.catalog import INVARIANTS, KILLS, MODELS, Kill, run
from tests.model.mutants import FURTHER, LAW, Mutant

SETTINGS = [(model.name, setting) for model in MODELS for setting in model.settings]

DEMANDED = [
    "no compare-and-swap and no epoch",
    "sign after commit",
    '"not found" believed at once',
    "query before the fence trusted after it",
    "HTTP retry",
    "cancel not re-checked before send",
    "fill counted from ack and stream",
    "committed ticket read as unsent (R3)",
    "fence judged by the local clock (R11)",
    "absence beyond retention (R16)",
    "lost commit not noticed (R32)",
    "broadcast answer taken as rejection (R10)",
    "remainder from stale fills (R17)",
    "two amends in flight (R23)",
    "cancel-replace as amend (R24)",
    "RESTORE on a group leg (R37)",
    "gap left open (R26)",
    "epoch unchecked on status writes (R31)",
    "trade id without instrument (S10)",
    "late fill dropped (R19)",
]
"""The protocol's own list of what its proof must kill."""

HAPPENS = {
    ("submit", submit.SETTINGS[0]): [
        "B takes over",
        "A crashes",
        "A: commit refused",
        "copy of ticket 1 is lost",
        "venue refuses copy of ticket 1, A is told",
        "venue accepts copy of ticket 2, B is told",
        "B looks for order 1: absent, a lagging replica says",
        "B records attempt 2 as dead",
        "B finishes EXPIRED",
    ],
    ("submit", submit.SETTINGS[2]): [
        "an endpoint refuses copy of ticket 1, another keeps it, A is told",
        "B commits that ticket 1 is repeated",
        "B sends ticket 1 again: NotSent",
        "burn of number 1 is final",
    ],
    ("submit", "none"): ["A parks it as UNKNOWN", "A records order 1 as found"],
    ("cancel", "time_window"): [
        "A records NotSent, finishes CANCELED",
        "A: commit refused",
        "B reads absent after the end: CANCELED",
        "the cancel takes effect",
        "venue refuses the cancel: unknown order",
        "B finds it filled: FILLED",
    ],
    ("cancel", cancel.SETTINGS[3]): ["venue accepts the consuming copy", "B finds it cancelled: CANCELED"],
    ("amend", "native amend"): [
        "amend 1 takes effect, the answer is lost",
        "amend 2 is refused",
        "the total is filled already: cancel",
    ],
    ("amend", "cancel and place in one request"): [
        "order 1 is cancelled, placing order 2 fails",
        "order 2 is placed after all",
        "the cancel fails, so does the placing",
        "attempt 3 is committed and sent for 2",
        "the second order's own cancel arrives",
        "CANCELED",
    ],
    ("clock_and_loss", clock_and_loss.REPLY): ["the delayed commit lands", "the delayed commit is refused"],
    ("clock_and_loss", clock_and_loss.MEMORY): ["venue forgets order 1"],
    ("recovery", recovery.WINDOW): ["recovered: the lost order is found", "recovered: the venue shows nothing"],
    ("recovery", recovery.AGAIN): ["the caller places the intent: its order is known"],
    ("sequence", sequence.PLAIN): [
        "a reorg takes X1 out of number 0",
        "x1 is mined as number 0",
        "- is final as number 0",
    ],
    ("sequence", sequence.LIMBO): ["the commit of X1 is refused: number 0 is taken", "the commit of X1 lands"],
    ("group", group.SINGLE): ["RESTORE commits the remainder", "the account-wide cancel takes effect"],
    ("fills", fills.ZOMBIE): ["A: write refused"],
    ("fills", fills.REORG): ["the void is lost", "the void is told", "the chain is read: no fill"],
}
"""Steps without which a proof would be empty: the faults strike, and the protocol gets out of them."""


@pytest.mark.parametrize(("model", "setting"), SETTINGS)
def test_the_protocol_holds(model: str, setting: str) -> None:
    """No reachable state breaks an invariant, and from each the intent can still end."""
    result = run(model, setting)

    assert result.counterexample is None, str(result.counterexample)
    assert result.stuck == ()


@pytest.mark.parametrize("kill", KILLS, ids=lambda kill: f"{kill.mutant.name}-{kill.model}")
def test_the_mutant_is_killed(kill: Kill) -> None:
    """A protocol with this mistake breaks the invariant that the rule was there to keep."""
    found = run(kill.model, kill.setting, kill.mutant).counterexample

    assert found is not None, f"{kill.mutant} survives in {kill.model}: {kill.setting}"
    assert found.broken == kill.broken, str(found)


def test_every_mutant_is_killed_somewhere() -> None:
    """The mutants are the protocol's own list and the further ones, and none is without a model that kills it."""
    assert [mutant.value for mutant in LAW] == DEMANDED
    assert {kill.mutant for kill in KILLS} == set(Mutant) == {*LAW, *FURTHER}


def test_every_invariant_can_break() -> None:
    """Each invariant the page names, liveness included, is broken by some mutant, so its check can fail."""
    assert {kill.broken for kill in KILLS} == set(INVARIANTS)


@pytest.mark.parametrize(("model", "setting"), HAPPENS)
def test_the_faults_strike(model: str, setting: str) -> None:
    """The steps that make the proof worth something do fire."""
    assert set(HAPPENS[model, setting]) <= run(model, setting).steps


@pytest.mark.parametrize("setting", [submit.SETTINGS[0], "permanent_key"])
@pytest.mark.parametrize("guard", ["version", "epoch"])
def test_either_guard_of_a_commit_is_enough(setting: str, guard: str) -> None:
    """One intent is safe with the version alone and with the epoch alone; only without both is it not."""
    result = submit.check(setting, version=guard == "version", epoch=guard == "epoch")

    assert result.counterexample is None, str(result.counterexample)


def test_a_parked_intent_has_a_fence_that_allows_no_better() -> None:
    """Liveness counts parking as an end only where nothing can ever be proved or consumed."""
    parks = {
        (name, setting) for name, setting in SETTINGS if any("UNKNOWN" in step for step in run(name, setting).steps)
    }

    assert parks == {
        ("submit", "none"),
        ("cancel", "permanent_key, order can trade at once"),
        ("cancel", "none"),
        ("clock_and_loss", clock_and_loss.MEMORY),
        ("recovery", recovery.ENDLESS),
    }


def test_the_page_is_up_to_date() -> None:
    """docs/protocol-model.md is what the models say now."""
    assert page.PAGE.read_text(encoding="utf-8") == page.render(), "run: uv run python -m tests.model.page"
