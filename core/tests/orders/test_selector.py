"""Selectors of labels."""

from __future__ import annotations

import pytest

from exchange_kernel.errors import InvalidOrder
from exchange_kernel.orders.selector import Selector

LABELS = {"app": "x", "stage": "live", "empty": ""}


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("app=x", True),
        ("app==x", True),
        ("app=y", False),
        ("app=x,stage=live", True),
        ("app=x, stage=test", False),
        ("stage!=test", True),
        ("other!=1", True),
        ("app!=x", False),
        ("empty", True),
        ("other", False),
        ("!other", True),
        ("!app", False),
        ("empty=", True),
        ("app=", False),
    ],
)
def test_every_part_must_hold(text: str, chosen: bool) -> None:
    """Equal, not equal, there, not there; several parts all hold or it is not chosen."""
    assert Selector.parse(text).chooses(LABELS) is chosen


@pytest.mark.parametrize("text", ["", " , ", "=x", "!a=b", "a b", "a>1", "\u0430=1", "a" * 64])
def test_what_is_no_selector_is_refused(text: str) -> None:
    """An empty selector above all: it would choose everything."""
    with pytest.raises(InvalidOrder, match="selector"):
        Selector.parse(text)
