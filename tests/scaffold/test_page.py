"""The page for new authors, followed word for word in an empty folder."""

from __future__ import annotations

from tests.scaffold.page import PAGE, follow


def test_the_page_says_what_happens() -> None:
    """Every command of docs/write-a-venue.md answers what is printed below it."""
    text = PAGE.read_text(encoding="utf-8")

    assert follow(text) == text, "look at what changed: uv run python -m tests.scaffold.page"
