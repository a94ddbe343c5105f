"""``exk explain``: what a field of an order file or of the configuration means."""

from __future__ import annotations

from typing import Any

import click

from exchange_kernel.cli.exits import Failed
from exchange_kernel.cli.output import clean
from exchange_kernel.schema.fields import close_to

Schema = dict[str, Any]


@click.command("explain")
@click.argument("path")
def command(path: str) -> None:
    """Explain a field: Order.spec.limit_price, OrderGroup.spec, config.accounts.limits, or a whole: Order, config.

    What stands under names of your own (accounts) and in lists is written without them.
    """
    first, *rest = path.split(".")
    schemas = _roots()
    known = {name.casefold(): name for name in schemas}
    if first.casefold() not in known:
        near = close_to(first, schemas)
        hint = f"did you mean {near}?" if near else f"there are {', '.join(schemas)}"
        raise Failed(f"{clean(first)}: nothing begins so; {hint}", 2)
    here = known[first.casefold()]
    root, schema = schemas[here]
    required = False
    for name in rest:
        schema = _inside(root, schema)
        fields = schema.get("properties", {})
        if name not in fields:
            near = close_to(name, fields)
            hint = f"did you mean {near}?" if near else f"there are {', '.join(fields) or 'no fields'}"
            raise Failed(f"{clean(here)} has no field {clean(name)}; {hint}", 2)
        required = name in schema.get("required", ())
        here, schema = f"{here}.{name}", fields[name]
    click.echo(f"{here}  <{_type(root, schema)}>{'  required' if required else ''}")
    described = _resolved(root, schema).get("description") or schema.get("description")
    if described:
        click.echo(f"\n  {described}")
    inner = _inside(root, schema)
    if inner.get("properties"):
        click.echo("\nFields")
        needed = inner.get("required", ())
        rows = [
            (f"{name}{' *' if name in needed else ''}", f"<{_type(root, each)}>", _about(root, each))
            for name, each in inner["properties"].items()
        ]
        wide, typed = max(len(row[0]) for row in rows), max(len(row[1]) for row in rows)
        for name, kind, about in rows:
            click.echo(f"  {name:<{wide}}  {kind:<{typed}}  {about}".rstrip())
        if needed:
            click.echo("\n  * required")


def _roots() -> dict[str, tuple[Schema, Schema]]:
    """What can be explained: each with the schema that it is a part of."""
    from exchange_kernel.config.json_schema import config_schema
    from exchange_kernel.manifests.json_schema import manifest_schema

    orders, config = manifest_schema(), config_schema()
    kinds: dict[str, tuple[Schema, Schema]] = {}
    for each in orders.get("oneOf") or orders.get("anyOf") or [orders]:
        kind = _resolved(orders, each)
        kinds[_constant(kind["properties"]["kind"])] = (orders, kind)
    return {**kinds, "config": (config, config)}


def _constant(schema: Schema) -> str:
    return str(schema["const"] if "const" in schema else schema["enum"][0])


def _resolved(root: Schema, schema: Schema) -> Schema:
    """The schema that is meant, references followed, and what may be left out as null taken as given."""
    while True:
        if "$ref" in schema:
            name = str(schema["$ref"]).rpartition("/")[2]
            schema = root["$defs"][name]
            continue
        given = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
        if len(given) == 1 and "properties" not in schema:
            schema = given[0]
            continue
        return schema


def _inside(root: Schema, schema: Schema) -> Schema:
    """Past lists, and names that their user chooses."""
    schema = _resolved(root, schema)
    while "properties" not in schema:
        inner = schema.get("items") or schema.get("additionalProperties")
        if not isinstance(inner, dict):
            objects = [each for each in schema.get("anyOf", ()) if "properties" in _resolved(root, each)]
            return _resolved(root, objects[0]) if objects else schema
        schema = _resolved(root, inner)
    return schema


def _type(root: Schema, schema: Schema) -> str:
    schema = _resolved(root, schema)
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return " | ".join(str(each) for each in schema["enum"] if each is not None)
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next(each for each in kind if each != "null")
    if kind == "array":
        return f"list of {_type(root, schema.get('items', {}))}"
    if kind is None and "anyOf" in schema:
        kinds = dict.fromkeys(_type(root, each) for each in schema["anyOf"] if each != {"type": "null"})
        return " or ".join(kinds)
    if kind == "object" and "properties" not in schema and isinstance(schema.get("additionalProperties"), dict):
        return f"names to {_type(root, schema['additionalProperties'])}"
    return str(kind or "anything")


def _about(root: Schema, schema: Schema) -> str:
    return str(schema.get("description") or _resolved(root, schema).get("description") or "")
