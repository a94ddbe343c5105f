"""A strict and bounded reading of YAML: what stands in the file is what is meant, or it is refused with its place.

Built on the parser's events, because the usual loaders keep the last of two equal keys, read ``no`` as false and
``12:30:45`` as a number, round decimals to floats, and can be killed by deep nesting. Here nothing is guessed:
``true``, ``false``, ``null`` and plain integers mean themselves, and all else is text, so ``0.1`` stays exactly that.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from exchange_kernel.errors import ConfigError

MAX_BYTES = 262_144
MAX_DEPTH = 12
MAX_NODES = 20_000
MAX_TEXT = 4_096

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})", re.ASCII).fullmatch
_WORDS: dict[str, bool | None] = {"": None, "~": None, "null": None, "true": True, "false": False}
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands: a file and, from 1, line and column."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}, column {self.column}"


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it stands; in a mapping, where its key stands."""

    value: str | int | bool | list[Node] | dict[str, Node] | None
    place: Place

    def plain(self) -> Any:
        """The value without its places: text, int, bool, None, lists and dicts."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


@dataclass(frozen=True, slots=True)
class Bounds:
    """How large a file may be: bytes, values in it, and whether it may hold more than one document."""

    max_bytes: int = MAX_BYTES
    max_nodes: int = MAX_NODES
    many: bool = False


def read(raw: bytes, file: str) -> Node:
    """The one document in ``raw``. ``file`` names it in errors. Raises ConfigError."""
    found = read_all(raw, file, Bounds())
    if not found:
        raise _refused(Place(file, 1, 1), "", "is empty", "list the accounts")
    return found[0]


def read_all(raw: bytes, file: str, bounds: Bounds) -> list[Node]:
    """Every document in ``raw``. Raises ConfigError, whose ``field`` is the place."""
    top = Place(file, 1, 1)
    if len(raw) > bounds.max_bytes:
        raise _refused(top, f"{len(raw)} bytes", f"must be at most {bounds.max_bytes} bytes")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refused(top, f"byte {error.start}", "is not UTF-8") from None
    reader = _Reader(file, bounds)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            reader.take(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = top if mark is None else Place(file, mark.line + 1, mark.column + 1)
        raise _refused(place, error.problem or "", "is not YAML") from None
    except yaml.YAMLError as error:
        raise _refused(top, str(error).partition("\n")[0], "is not YAML") from None
    return reader.documents


def _refused(place: Place, value: str, rule: str, hint: str = "") -> ConfigError:
    return ConfigError(str(place), value, rule, hint)


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not come yet. ``key``: of the value that comes next."""

    items: list[Node] | dict[str, Node]
    place: Place
    key: tuple[str, Place] | None = None


class _Reader:
    """Builds nodes from events, without recursion."""

    def __init__(self, file: str, bounds: Bounds) -> None:
        self._file = file
        self._bounds = bounds
        self._stack: list[_Open] = []
        self._count = 0
        self.documents: list[Node] = []

    def take(self, event: yaml.Event) -> None:
        """Take the next event."""
        mark = event.start_mark
        assert mark is not None, "every event of a text has its place"
        place = Place(self._file, mark.line + 1, mark.column + 1)
        anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
        if anchor is not None:
            raise _refused(place, anchor, "anchors and aliases are not allowed", "write the value out")
        if tag is not None:
            raise _refused(place, tag, "tags are not allowed")
        if isinstance(event, yaml.DocumentStartEvent):
            if self.documents and not self._bounds.many:
                raise _refused(place, "---", "only one document is allowed")
            if event.version or event.tags:
                raise _refused(place, "%", "directives are not allowed")
        elif isinstance(event, yaml.ScalarEvent):
            self._put(self._scalar(event, place), place)
        elif isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
            if len(self._stack) >= MAX_DEPTH:
                raise _refused(place, "", f"is nested more than {MAX_DEPTH} deep")
            if self._wants_key():
                raise _refused(place, "", "a key must be text")
            self._counted(place)
            self._stack.append(_Open([] if isinstance(event, yaml.SequenceStartEvent) else {}, place))
        elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            closed = self._stack.pop()
            self._put(closed.items, closed.place)

    def _wants_key(self) -> bool:
        return bool(self._stack) and isinstance(self._stack[-1].items, dict) and self._stack[-1].key is None

    def _counted(self, place: Place) -> None:
        self._count += 1
        if self._count > self._bounds.max_nodes:
            raise _refused(place, "", f"has more than {self._bounds.max_nodes} values")

    def _scalar(self, event: yaml.ScalarEvent, place: Place) -> str | int | bool | None:
        self._counted(place)
        text: str = event.value
        if len(text) > MAX_TEXT:
            raise _refused(place, f"{len(text)} characters", f"must be at most {MAX_TEXT} characters")
        if event.style or self._wants_key():
            return text
        if text in _WORDS:
            return _WORDS[text]
        return int(text) if _INTEGER(text) else text

    def _put(self, value: str | int | bool | list[Node] | dict[str, Node] | None, place: Place) -> None:
        if not self._stack:
            self.documents.append(Node(value, place))
            return
        parent = self._stack[-1]
        if isinstance(parent.items, list):
            parent.items.append(Node(value, place))
        elif parent.key is None:
            assert isinstance(value, str)
            if value == "<<":
                raise _refused(place, value, "merge keys are not allowed", "write the values out")
            if value in parent.items:
                raise _refused(place, value, "this key stands here twice")
            parent.key = (value, place)
        else:
            name, key_place = parent.key
            parent.items[name] = Node(value, key_place)
            parent.key = None
