"""Writes `docs/protocol-model.md` from the models: `uv run python -m tests.model.page`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.model.catalog import INVARIANTS, KILLS, MODELS, Kill, run
from tests.model.mutants import FURTHER, LAW, Mutant

PAGE = Path(__file__).resolve().parents[2] / "docs" / "protocol-model.md"

INTRODUCTION = """\
# The protocol, model-checked

<!-- Written by `uv run python -m tests.model.page`; a test fails when it is out of date. -->

Every promise of the kernel rests on a protocol of numbered rules (R…) and invariants (S…, L…). The models in
`tests/model` state those rules as small state machines and visit *every* interleaving of them: each process may stop
or crash between any two steps, each message may be lost, late or repeated, each answer may be lost. Breadth-first
search, so what is shown below are shortest runs.

A model is not the code. It says that the rules are right; that the code follows them is the business of the
simulation, which runs the real engine. And a model proves nothing about mistakes it cannot make, which is why it is
made to make them: every mutant below is one deviation from the rules, and a test asserts that it is found out, by the
invariant it was expected to break.
"""

NOT_MODELLED = """\
## Not modelled

Amounts are a few units, time is "before, at, after" an end, each intent has two attempts, an account changes hands
once. A venue whose facts are wrong (an end it does not honour, a watermark that runs ahead of what its search shows,
retention shorter than declared) is outside every proof here; the conformance kit looks for those. Rate limits, fees,
allowances, reduce-only, conditional orders and subscriptions are tested elsewhere.
"""


def render() -> str:
    """The whole page. Runs every search."""
    return "\n".join([INTRODUCTION, *_invariants(), *_models(), *_mutants(), NOT_MODELLED])


def _invariants() -> Iterator[str]:
    yield "## What is checked\n"
    yield "| | holds in every reachable state |"
    yield "|---|---|"
    yield from (f"| {name} | {text} |" for name, text in INVARIANTS.items())
    yield ""


def _models() -> Iterator[str]:
    yield "## The models\n"
    for model in MODELS:
        yield f"### `{model.name}`\n"
        yield f"{model.about}\n"
        yield f"**Proves:** {model.proves}\n"
        yield "| setting | states | |"
        yield "|---|---:|---|"
        for setting in model.settings:
            result = run(model.name, setting)
            verdict = "holds" if result.counterexample is None else f"**{result.counterexample.broken} broken**"
            yield f"| {setting} | {result.states:,} | {verdict} |"
        yield ""


def _mutants() -> Iterator[str]:
    yield "## The mutants\n"
    yield "Those the protocol demands, then further ones: readings its words would allow, and defects of an adapter.\n"
    for heading, mutants in (("Demanded by the protocol", LAW), ("Further", FURTHER)):
        yield f"### {heading}\n"
        yield "| mutant | model: setting | breaks | steps |"
        yield "|---|---|---|---:|"
        for kill in _kills(mutants):
            yield f"| {kill.mutant} | {kill.model}: {kill.setting} | {_found(kill)[0]} | {len(_found(kill)[1])} |"
        yield ""
    yield "### Shortest counterexamples\n"
    for mutant in (*LAW, *FURTHER):
        yield f"**{mutant}**\n"
        for kill in _kills((mutant,)):
            broken, trace = _found(kill)
            yield f"* {kill.model}, {kill.setting}: {' → '.join(trace)} → **{broken}**"
        yield ""


def _kills(mutants: tuple[Mutant, ...]) -> list[Kill]:
    return [kill for mutant in mutants for kill in KILLS if kill.mutant is mutant]


def _found(kill: Kill) -> tuple[str, tuple[str, ...]]:
    found = run(kill.model, kill.setting, kill.mutant).counterexample
    return (found.broken, found.trace) if found else ("survives", ())


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(render(), encoding="utf-8")
    print(f"wrote {PAGE}")
