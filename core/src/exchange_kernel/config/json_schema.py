"""The JSON Schema of the configuration. Editors understand it; :func:`exchange_kernel.config.load` checks more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from exchange_kernel.config.load import MODES

__all__ = ["config_schema"]

_NAME: Final = {"type": "string", "pattern": r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$"}
_DISTRIBUTION: Final = {
    "type": "string",
    "pattern": "^[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?$",
    "description": "the distribution that brings it, where several do",
}
_REFERENCE: Final = {
    "type": "string",
    "pattern": r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:[^\x00-\x1f]+|keyring:[^\x00-\x1f/]+/[^\x00-\x1f]+)$",
    "description": "where a secret is, never the secret: env:NAME, file:PATH or keyring:SERVICE/USER",
}
_MONEY: Final = {
    "anyOf": [
        {"type": "string", "pattern": r"^[0-9]{1,60}(\.[0-9]{1,36})?$"},
        {"type": "number", "exclusiveMinimum": 0},
        {"type": "null"},
    ]
}
_COUNT: Final = {"type": ["integer", "null"], "minimum": 1}
_FREE: Final = {"type": ["object", "null"], "description": "as the venue's page says; secrets do not belong here"}


def _object(properties: Mapping[str, Any], *required: str) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "object", "properties": dict(properties), "additionalProperties": False}
    return found | ({"required": list(required)} if required else {})


def _or_nothing(schema: Mapping[str, Any]) -> dict[str, Any]:
    """What is given as null is not given."""
    return {"anyOf": [dict(schema), {"type": "null"}]}


def _map_of(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": ["object", "null"], "additionalProperties": dict(schema)}


_SECRETS: Final = _map_of(_REFERENCE)
_USES: Final = {
    "type": ["array", "null"],
    "items": {
        "anyOf": [
            {"type": "string", "pattern": "^[!-~]{1,64}$"},
            _object({"use": {"type": "string"}, "plugin": _DISTRIBUTION, "config": _FREE, "secrets": _SECRETS}, "use"),
        ]
    },
}
_LIMITS: Final = _object(
    {
        "max_order_notional": {**_MONEY, "description": "the most that one order may be worth, in quote"},
        "max_open_notional": {**_MONEY, "description": "the most that everything open may be worth, in quote"},
        "order_count": {**_COUNT, "description": "at most so many new orders in order_period_ms"},
        "order_period_ms": {**_COUNT, "description": "1000 where it is not given"},
        "symbols": {
            "type": ["array", "null"],
            "items": {"type": "string", "pattern": "^[!-~]{1,64}$"},
            "description": "only these; without it every symbol",
        },
    }
)
_ACCOUNT: Final = _object(
    {
        "venue": {"type": "string", "description": "as `exk plugins list` names it"},
        "plugin": _DISTRIBUTION,
        "mode": {
            "enum": [*MODES, None],
            "description": "what the venue must say it is; observe: look at it, and never send anything",
        },
        "config": _FREE,
        "secrets": _SECRETS,
        "limits": _or_nothing(_LIMITS),
        "drift": _or_nothing(
            _object({"foreign": {"enum": ["REPORT", "IGNORE", None]}, "ours": {"enum": ["ACCEPT", None]}})
        ),
        "admission": _USES,
        "dead_man": _or_nothing(
            _object(
                {
                    "after_s": {"type": "integer", "minimum": 10, "maximum": 3600},
                    "cancels_everything": {"type": ["boolean", "null"]},
                    "at_stop": {"enum": ["DISARM", "LEAVE", None]},
                },
                "after_s",
            )
        ),
    },
    "venue",
)


def config_schema() -> dict[str, Any]:
    """Draft 2020-12."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Exchange Kernel: exk.yaml",
        **_object(
            {
                "store": _or_nothing(
                    _object(
                        {"url": {"type": "string", "description": "sqlite:///FILE, postgresql://…, or a reference"}},
                        "url",
                    )
                ),
                "state_dir": {"type": ["string", "null"], "description": "where local files are kept"},
                "plugins": _or_nothing(_object({"allow": {"type": ["array", "null"], "items": _DISTRIBUTION}})),
                "accounts": {
                    "type": "object",
                    "minProperties": 1,
                    "propertyNames": _NAME,
                    "additionalProperties": _ACCOUNT,
                },
                "sinks": _USES,
                "redis": _or_nothing(
                    _object(
                        {
                            "url": {
                                "type": "string",
                                "description": "redis[s]://HOST:PORT/DB without a password, or where the address is",
                            }
                        },
                        "url",
                    )
                ),
            },
            "accounts",
        ),
    }
