"""What goes to the terminal: plain tables, JSON, UTC times, and never a control character from outside."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Context, Decimal
from enum import StrEnum
from typing import Any

import click

WIDEST = 60
_TEN_DIGITS = Context(prec=10)


def clean(text: object) -> str:
    """The text on one line, with every character that could steer a terminal, or hide, shown by its code."""
    plain = str(text)
    if plain.isascii() and plain.isprintable():
        return plain
    return "".join(c if _harmless(c) else c.encode("unicode_escape", "surrogatepass").decode() for c in plain)


def _harmless(character: str) -> bool:
    return character == " " or unicodedata.category(character)[0] in "LMNPS"


def utc(ms: int | None) -> str:
    """ms UTC as ``2026-11-22T21:40:00.123Z``; "" for none."""
    if not ms:
        return ""
    moment = datetime.fromtimestamp(ms // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"


def money(value: Decimal | None) -> str | None:
    """Plain digits without trailing zeros; None stays None."""
    if value is None:
        return None
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def average(value: Decimal | None) -> str | None:
    """A quotient, rounded to 10 digits for people."""
    return None if value is None else money(_TEN_DIGITS.plus(value))


def cell(value: object) -> str:
    """A value as a table shows it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ",".join(f"{clean(name)}={clean(each)}" for name, each in value.items()) or "-"
    if isinstance(value, (list, tuple)):
        return ",".join(clean(each) for each in value) or "-"
    text = clean(value)
    return (text if len(text) <= WIDEST else text[: WIDEST - 1] + "…") or "-"


def table(rows: Sequence[dict[str, Any]], columns: Sequence[str], empty: str) -> str:
    """Rows under a header line, two spaces apart; ``empty`` where there are none."""
    if not rows:
        return empty
    lines = [[name.upper().replace("_", " ") for name in columns]]
    lines += [[cell(row.get(name)) for name in columns] for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def as_json(value: object, *, indent: int | None = 2) -> str:
    """JSON in plain ASCII, so that no text in it can reach the terminal's controls; money as text."""
    return json.dumps(value, indent=indent, default=_plain)


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return money(value)
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    raise TypeError(f"no JSON for {type(value).__name__}")


def show(
    rows: Sequence[dict[str, Any]], columns: Sequence[str], form: str, empty: str, *, name: str = "id", kind: str = ""
) -> None:
    """Print rows: as a table (``columns`` of them; wide: every one), as JSON, as lines of JSON, as YAML (all of each),
    or only what each row's ``name`` says, after its ``kind`` and a slash."""
    if form == "json":
        click.echo(as_json(list(rows)))
    elif form == "jsonl":
        for row in rows:
            click.echo(as_json(row, indent=None))
    elif form == "yaml":
        click.echo(as_yaml(list(rows)), nl=False)
    elif form == "name":
        for row in rows:
            click.echo(f"{kind}/{clean(row[name])}" if kind else clean(row[name]))
    else:
        every = list(dict.fromkeys([*columns, *(key for row in rows for key in row)]))
        click.echo(table(rows, every if form == "wide" else columns, empty))


def as_yaml(value: object) -> str:
    """YAML in plain ASCII; money as text."""
    import yaml

    return yaml.safe_dump(json.loads(as_json(value)), sort_keys=False, allow_unicode=False)
