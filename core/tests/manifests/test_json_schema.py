"""The published JSON Schema: made from the code, and of one mind with it."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from core.tests.manifests.test_reading import HOSTILE, order
from exchange_kernel.manifests import ManifestError, Source, read_manifests
from exchange_kernel.manifests.json_schema import manifest_schema

PUBLISHED = Path("docs/exchange-kernel.schema.json")
GOOD = {
    "limit": order(),
    "numbers unquoted": order(amount="0.1", limit_price="10"),
    "good till a date": order(time_in_force="GTD", expire_at="'2099-01-01T00:00:00Z'"),
    "stop": order(
        conditional_trigger="{kind: STOP_LOSS, trigger_price: '9'}", conditional_mode="STANDALONE", reduce_only="true"
    ),
    "group": "apiVersion: exchange-kernel/v1\nkind: OrderGroup\nmetadata: {name: g, labels: {a: 'b'}}\n"
    "spec: {kind: BATCH, orders: [{name: n, symbol_id: A/B, side: SELL, amount: '2'}]}\n",
}
# An editor reads one key or value at a time, after a YAML that guesses: what two say together, what YAML refuses or
# makes numbers of, and what a time is, it leaves to the kernel.
BEYOND = (
    "2 .nan",
    "3 .inf",
    "7 ",
    "9 0x10",
    "10 ",
    "34 12",
    "12 null",
    "21 ",
    "31 ",
    "32 ",
    "33 ",
    "35 ",
    "36 ",
    "37 ",
    "38 ",
    "39 ",
    "42 ",
    "43 ",
)


def valid(text: str) -> bool:
    return bool(Draft202012Validator(manifest_schema()).is_valid(json.loads(json.dumps(yaml.safe_load(text)))))


def test_the_published_schema_is_the_codes() -> None:
    """docs/exchange-kernel.schema.json is what `exk schema` prints: `exk schema > docs/exchange-kernel.schema.json`."""
    Draft202012Validator.check_schema(manifest_schema())
    assert json.loads(PUBLISHED.read_text()) == manifest_schema()


@pytest.mark.parametrize("what", GOOD)
def test_what_the_kernel_takes_the_schema_takes(what: str) -> None:
    """Both take it."""
    assert read_manifests([Source("f", GOOD[what].encode())], "x")
    assert valid(GOOD[what])


@pytest.mark.parametrize("what", [each for each in HOSTILE if not each.startswith(BEYOND)])
def test_what_the_schema_can_say_it_refuses_too(what: str) -> None:
    """Wrong names, choices, numbers and unknown fields are red in the editor before anybody applies them."""
    text: Any = HOSTILE[what][0]
    with pytest.raises(ManifestError):
        read_manifests([Source("f", text.encode())], "x")
    if what in ("11 Arabic", "11 full width", "an empty file", "only a comment"):
        return  # whether a pattern means ASCII is the validator's affair; nothing is nothing
    with contextlib.suppress(yaml.YAMLError):  # PyYAML cannot even read it
        assert not valid(text)
