"""A mapping of the configuration being read, key by key, with errors that name the key and its place in the file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from exchange_kernel.config.strict_yaml import Node
from exchange_kernel.errors import ConfigError, shown
from exchange_kernel.schema.fields import close_to


@dataclass(frozen=True, slots=True)
class Described:
    """Stands in an error for a value that cannot, or must not, be shown."""

    words: str

    def __repr__(self) -> str:
        return self.words


HIDDEN = Described("(not shown)")


class Section:
    """A mapping being read: each key is taken once, and what is left over is refused."""

    def __init__(self, node: Node, path: str) -> None:
        self.path = path
        self._place = node.place
        if not isinstance(node.value, dict):
            # What stands here instead may be a secret.
            raise self._error("", node, "must be a mapping of names to values", hide=not isinstance(node.value, list))
        self._nodes = node.value
        self._taken: set[str] = set()

    def node(self, key: str) -> Node | None:
        """The value of a key, or None when it is not given (or given as null)."""
        self._taken.add(key)
        node = self._nodes.get(key)
        return None if node is None or node.value is None else node

    def text(self, key: str, default: str | None = None) -> str:
        """Text; ``default`` None: required."""
        node = self.node(key)
        if node is None:
            if default is None:
                near = close_to(key, self._nodes)
                hint = f"{name_of(near)} looks like it" if near else ""
                raise ConfigError(self._name(key), Described("(nothing)"), f"is required ({self._place})", hint)
            return default
        if not isinstance(node.value, str):
            raise self._error(key, node, "must be text", "put it in quotes")
        return node.value

    def choice(self, key: str, choices: tuple[str, ...], default: str) -> str:
        """One of ``choices``."""
        value = self.text(key, default)
        if value != default and value not in choices:
            node = self._nodes[key]
            raise self._error(key, node, f"must be one of {', '.join(choices)}", did_you_mean(value, choices))
        return value

    def section(self, key: str) -> Section | None:
        """A mapping, or None when it is not given."""
        node = self.node(key)
        return None if node is None else Section(node, self._name(key))

    def sections(self) -> list[tuple[str, Section]]:
        """Every value as a mapping, whatever its key."""
        self._taken.update(self._nodes)
        return [(key, Section(node, self._name(key))) for key, node in self._nodes.items()]

    def nodes(self) -> list[tuple[str, Node]]:
        """Every value, whatever its key."""
        self._taken.update(self._nodes)
        return list(self._nodes.items())

    def refuse(self, key: str, rule: str, hint: str = "", *, hide: bool = False) -> ConfigError:
        """The error that refuses the value of ``key``. ``hide``: it may be a secret."""
        return self._error(key, self._nodes[key], rule, hint, hide=hide)

    def done(self) -> None:
        """Refuse the first key that nobody took."""
        for key, node in self._nodes.items():
            if key not in self._taken:
                known = sorted(self._taken)
                hint = did_you_mean(key, known) or f"there are {', '.join(known)}"
                raise self._error(key, node, "is no setting", hint, hide=True)

    def _name(self, key: str) -> str:
        return ".".join(part for part in (self.path, name_of(key)) if part)

    def _error(self, key: str, node: Node, rule: str, hint: str = "", *, hide: bool = False) -> ConfigError:
        value = HIDDEN if hide else _described(node)
        return ConfigError(self._name(key) or "the file", value, f"{rule} ({node.place})", hint)


def name_of(key: str) -> str:
    """A key as it may appear in a message: as it is where it is plain, else quoted."""
    return key if key.isascii() and key.isprintable() and len(key) <= 64 else shown(key)


def _described(node: Node) -> object:
    """The value as an error shows it."""
    if isinstance(node.value, (dict, list)):
        return Described("(a mapping)" if isinstance(node.value, dict) else "(a list)")
    return Described("(nothing)") if node.value is None else node.value


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """A hint that names what was probably meant, or ""."""
    near = close_to(given, known)
    return f"did you mean {near}?" if near else ""
