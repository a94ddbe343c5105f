"""What bodies look like, for the API's own description; the routes check more, and say it better."""

from __future__ import annotations

from typing import Any, Final

from exchange_kernel.api.problems import MEDIA_TYPE
from exchange_kernel.manifests.json_schema import manifest_schema

__all__ = ["ACCOUNTABLE", "ANSWERS", "CANCEL_ALL", "DECLARED", "GROUP", "RESOLVED", "body"]


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


def _order() -> dict[str, Any]:
    schema = manifest_schema()
    order: dict[str, Any] = dict(schema["oneOf"][0]["properties"]["spec"])
    trigger = schema["$defs"]["trigger"]
    order["properties"] = {**order["properties"], "conditional_trigger": trigger}
    order["properties"]["expire_at"] = {"type": "integer", "exclusiveMinimum": 0, "description": "ms UTC"}
    return order


_TEXT: Final = {"type": "string", "maxLength": 200}
_LABELS: Final = {"type": "object", "maxProperties": 32, "additionalProperties": {"type": "string", "maxLength": 256}}
_NAME: Final = {"type": "string", "pattern": r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}$"}

DECLARED: Final = _object(["order"], order=_order(), labels=_LABELS)
GROUP: Final = _object(
    ["orders"],
    kind={"enum": ["BATCH"]},
    orders={"type": "array", "minItems": 1, "items": _object(["name", "order"], name=_NAME, order=_order())},
    labels=_LABELS,
)
CANCEL_ALL: Final = _object([], symbol_id={"type": "string", "maxLength": 64}, reason=_TEXT)
RESOLVED: Final = _object(
    ["resolution", "reason"],
    resolution={"enum": ["LOOK_AGAIN", "ABANDON", "NEVER_SENT", "ENDED"]},
    actor=_TEXT,
    reason={**_TEXT, "minLength": 1},
)
ACCOUNTABLE: Final = _object(["reason"], actor=_TEXT, reason={**_TEXT, "minLength": 1})


def body(schema: dict[str, Any]) -> dict[str, Any]:
    """A required JSON body of this shape, as a route's description says it."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


_PROBLEM: Final = {
    "type": "object",
    "required": ["type", "title", "status", "code", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
    },
}

ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    "default": {"description": "What is wrong", "content": {MEDIA_TYPE: {"schema": _PROBLEM}}}
}
