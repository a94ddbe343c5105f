"""The published JSON Schema of the configuration: made from the code, and of one mind with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from core.tests.test_config import FULL
from exchange_kernel.config import parse
from exchange_kernel.config.json_schema import config_schema
from exchange_kernel.errors import ConfigError, Unsupported

PUBLISHED = Path("docs/exk.config.schema.json")

GOOD = (
    FULL,
    "accounts: {a: {venue: p}}",
    "accounts: {a: {venue: p, mode: observe, limits: {max_order_notional: '0.1', symbols: null}, secrets: null}}",
    "accounts: {a: {venue: p, secrets: {k: 'keyring:exk/main'}, admission: [x, {use: y, config: {z: 1}}]}}",
    "accounts: {a: {venue: p, dead_man: {after_s: 60, cancels_everything: true, at_stop: LEAVE}}}",
    "accounts: {a: {venue: p}}\nsinks: [{use: s, secrets: {t: 'file:t'}}]\nplugins: {allow: null}\nstore: null",
)
BAD = (
    "accounts: {}",
    "{}",
    "accounts: {a: {}}",
    "accounts: {a: {venue: p}}\nunknown: 1",
    "accounts: {a: {venue: p, mode: watch}}",
    "accounts: {a: {venue: p, secrets: {k: hunter2}}}",
    "accounts: {a: {venue: p, secrets: {k: 'keyring:exk'}}}",
    "accounts: {a: {venue: p, secrets: {k: 'env:2B'}}}",
    "accounts: {a: {venue: p, limits: {order_count: 0}}}",
    "accounts: {a: {venue: p, limits: {max_order_notional: '1e5'}}}",
    "accounts: {a: {venue: p, limits: {max_order_notional: -5}}}",
    "accounts: {a: {venue: p, limits: {symbols: [5]}}}",
    "accounts: {a: {venue: p, dead_man: {}}}",
    "accounts: {a: {venue: p, dead_man: {after_s: 5}}}",
    "accounts: {a: {venue: p, drift: {foreign: SOMETIMES}}}",
    "accounts: {a: {venue: p, admission: x}}",
    "accounts: {a: {venue: p, admission: [{config: {}}]}}",
    "accounts: {'a b': {venue: p}}",
    "accounts: {a: {venue: p}}\nstore: {}",
    "accounts: {a: {venue: p}}\nplugins: {allow: ['-x']}",
)


def valid(text: str) -> bool:
    return bool(Draft202012Validator(config_schema()).is_valid(json.loads(json.dumps(yaml.safe_load(text)))))


def test_the_published_schema_is_the_codes() -> None:
    """docs/exk.config.schema.json is what `exk schema config` prints."""
    Draft202012Validator.check_schema(config_schema())
    assert json.loads(PUBLISHED.read_text()) == config_schema()


@pytest.mark.parametrize("text", GOOD)
def test_what_is_read_is_valid(text: str) -> None:
    """A configuration that the kernel takes is one that an editor takes."""
    parse(text.encode(), Path("exk.yaml"))
    assert valid(text)


@pytest.mark.parametrize("text", BAD)
def test_what_is_refused_is_invalid(text: str) -> None:
    """A mistake that one value shows is underlined while it is typed, and refused when it is read."""
    with pytest.raises((ConfigError, Unsupported)):
        parse(text.encode(), Path("exk.yaml"))
    assert not valid(text)


def test_the_page_s_example_is_one() -> None:
    """The configuration in docs/configuration.md is read, and valid."""
    text = Path("docs/configuration.md").read_text().partition("```yaml\n")[2].partition("```")[0]
    assert parse(text.encode(), Path("exk.yaml")).account("real").observed
    assert valid(text)
