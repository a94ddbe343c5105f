"""The pages of the contract and the cases are complete: nothing an author meets is missing from them."""

from __future__ import annotations

import inspect
import re

from exchange_kernel import errors, venue
from exchange_kernel.plugins import HOOKS
from exchange_kernel.schema import FEATURES
from exchange_kernel.testing.conformance import all_cases
from exchange_kernel.venue import VenueAdapter
from tests.conformance.page import CONTRACT, PAGE, contract, render

TEXT = CONTRACT.read_text(encoding="utf-8")
PROTOCOLS = (venue.Prices, venue.Quotes, venue.History, venue.DeadMan)


def test_the_page_is_up_to_date() -> None:
    """docs/conformance.md is what the cases and the planted mistakes say now."""
    assert PAGE.read_text(encoding="utf-8") == render(), "run: uv run python -m tests.conformance.page"


def test_every_case_is_documented() -> None:
    """Each case has its heading, with its id, on the page."""
    page = PAGE.read_text(encoding="utf-8")

    assert [case.id for case in all_cases() if f"\n### {case.id} {case.title}\n" not in page] == []


def test_every_rule_names_the_cases_that_prove_it() -> None:
    """The contract has its 21 rules, each with a way to break it, and the cases that say they prove it."""
    rules = re.findall(r"^### Rule (\d+): .+?\n\n(.*?)^Cases: (.+?)\n", TEXT, flags=re.MULTILINE | re.DOTALL)
    known = {case.id for case in all_cases()}

    assert [int(number) for number, _, _ in rules] == list(range(1, 22))
    assert [number for number, text, _ in rules if "*Broken by*" not in text] == []
    assert {name for _, _, cases in rules for name in re.findall(r"[A-Z]+-\d\d", cases)} <= known
    assert [number for number, _, cases in rules if not re.search(r"[A-Z]+-\d\d|none yet: ", cases)] == []
    assert contract(TEXT) == TEXT, "run: uv run python -m tests.conformance.page"


def test_every_method_is_documented() -> None:
    """The ten methods with their parameters, and the optional protocols with the capabilities they stand for."""
    methods = [(name, each) for name, each in vars(VenueAdapter).items() if name.islower() and inspect.isfunction(each)]
    methods = [(name, each) for name, each in methods if not name.startswith("_")]

    assert len(methods) == 10
    assert [name for name, each in methods if f"\n| `{_call(name, each)}` |" not in TEXT] == []
    for protocol in PROTOCOLS:
        (method,) = [(n, each) for n, each in vars(protocol).items() if n[0] != "_" and inspect.isfunction(each)]
        assert f"\n| `{protocol.__name__}` | `{_call(*method)}`" in TEXT


def test_every_error_of_an_adapter_is_documented() -> None:
    """Each error that an adapter may raise has its row: who raises it, what it says, what the kernel does."""
    roots = {errors.VenueError, errors.NoEffect}
    meant = [
        name
        for name in errors.__all__
        if issubclass(each := getattr(errors, name), (errors.VenueError, errors.InvalidOrder)) and each not in roots
    ]

    assert [name for name in meant if not re.search(rf"^\| `{name}(\(.*\))?` \|", TEXT, re.MULTILINE)] == []


def test_every_capability_is_documented() -> None:
    """Each capability is in the table, and no other."""
    table = TEXT.partition("| capability | native means |")[2].partition("\n## ")[0]
    named = [name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.partition(" | ")[0])]

    assert sorted(named) == sorted(FEATURES)


def test_every_command_and_fence_is_documented() -> None:
    """What a command is called, and which ends a fence may have, stand on the page."""
    names = [kind.__name__ for kind in (*venue.Command.__args__, *venue.End.__args__)]

    assert [name for name in names if f"`{name}" not in TEXT] == []


def test_every_hook_is_documented() -> None:
    """Each hook a plugin may implement is in the table."""
    assert [name for name in HOOKS if f"\n| `{name}()` |" not in TEXT] == []


def _call(name: str, method: object) -> str:
    assert callable(method)
    return f"{name}({', '.join(p for p in inspect.signature(method).parameters if p != 'self')})"
