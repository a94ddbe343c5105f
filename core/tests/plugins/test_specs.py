"""What plugins may answer, and what hooks there are."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from exchange_kernel import errors
from exchange_kernel.errors import InvalidMetadata
from exchange_kernel.plugins import API, HOOKS, Finding, HarnessSpec, Level, Status, VenueSpec, hookspecs
from exchange_kernel.plugins.policy import ONLY, STRICT

GOOD: dict[str, Any] = {"name": "acme", "title": "Acme Exchange", "kind": "cex", "factory": "acme.adapter:Adapter"}


def test_a_venue_needs_four_words() -> None:
    """Name, title, kind and where its adapter is; the contract's first version unless said otherwise."""
    spec = VenueSpec(**GOOD)

    assert (spec.config, spec.api, spec.docs_url) == (None, (1, 0), "")
    assert spec.api[0] == API[0]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("name", value) for value in ("", "Acme", "-a", "a" * 33, "a b", 5, None)),
        *(("title", value) for value in ("", "  ", "two\nlines", 5)),
        ("kind", "CEX"),
        *(("factory", value) for value in ("", "acme", "acme:", ":Adapter", "acme..x:Adapter", "a:b.c", "1a:B", 5)),
        ("config", "acme"),
        *(("api", value) for value in ((1,), (1, 0, 0), [1, 0], ("1", "0"), (True, 0), (1, -1), 1)),
        *(("docs_url", value) for value in ("acme", "javascript:x", 5)),
    ],
)
def test_a_venue_that_says_nonsense_is_refused(field: str, value: object) -> None:
    """The error names the field."""
    with pytest.raises(InvalidMetadata, match=field):
        VenueSpec(**{**GOOD, field: value})


def test_harnesses_and_findings_are_checked_too() -> None:
    """Each of what hooks may return."""
    with pytest.raises(InvalidMetadata, match="venue"):
        HarnessSpec("Acme", "a:B")
    with pytest.raises(InvalidMetadata, match="factory"):
        HarnessSpec("acme", "B")
    with pytest.raises(InvalidMetadata, match="level"):
        Finding("bad", "subject", "text")  # type: ignore[arg-type]
    with pytest.raises(InvalidMetadata, match="text"):
        Finding(Level.OK, "subject", None)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_described_and_takes_nothing(name: str) -> None:
    """A hook is data about a plugin: it needs no argument, and its docstring says when it is called."""
    hook = HOOKS[name]

    assert name == hook.__name__
    assert "Called" in (inspect.getdoc(hook) or "")
    assert not inspect.signature(hook).parameters


def test_the_page_names_everything_there_is() -> None:
    """A hook, a status that keeps a plugin from being used, or a switch that is not on the page fails here."""
    page = (Path(__file__).resolve().parents[3] / "docs" / "plugins.md").read_text()
    statuses = [status for status in Status if status not in (Status.OK, Status.FOUND)]

    assert [name for name in (*HOOKS, *statuses, ONLY, STRICT) if f"`{name}" not in page] == []


def test_nothing_escapes_the_lists_that_the_pages_are_held_to() -> None:
    """A hook that is specified and not listed, or an error that is public and not listed, would need no page."""
    specified = [name for name in vars(hookspecs) if name.startswith("exk_")]
    public = [
        name
        for name, each in vars(errors).items()
        if isinstance(each, type) and issubclass(each, (errors.VenueError, errors.InvalidOrder))
        if not name.startswith("_")
    ]

    assert sorted(specified) == sorted(HOOKS)
    assert sorted(set(public) - set(errors.__all__)) == []
