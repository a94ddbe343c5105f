"""From files to manifests: strict, bounded, and with every error at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from exchange_kernel.config.strict_yaml import Bounds, Node, Place, read_all
from exchange_kernel.errors import ConfigError, FieldError, InvalidOrder
from exchange_kernel.manifests.faults import Fault, ManifestError
from exchange_kernel.manifests.orders import read_order
from exchange_kernel.orders.names import check_id, check_labels
from exchange_kernel.schema import StandardOrder
from exchange_kernel.schema.fields import close_to

__all__ = [
    "API_VERSION",
    "APPLIED",
    "KINDS",
    "MAX_ORDERS",
    "RESERVED",
    "Declared",
    "Source",
    "find_files",
    "read_manifests",
]

API_VERSION: Final = "exchange-kernel/v1"
KINDS: Final = ("Order", "OrderGroup")
GROUP_KINDS: Final = ("BATCH",)
SUFFIXES: Final = (".yaml", ".yml", ".json")
RESERVED: Final = "exk/"
"""Labels that begin so are the kernel's own."""
APPLIED: Final = "exk/applied"
"""The label of what was declared by a manifest: all that pruning may take away."""
MAX_ORDERS: Final = 5_000
_BOUNDS: Final = Bounds(max_bytes=4_194_304, max_nodes=200_000, many=True)


@dataclass(frozen=True, slots=True)
class Source:
    """A file's name, as errors show it, and its bytes."""

    name: str
    raw: bytes


@dataclass(frozen=True, slots=True)
class Declared:
    """One order that a manifest declares. ``fields``: where each field of it stands, by name; "" the document."""

    file: str
    account: str
    name: str
    order: StandardOrder
    labels: Mapping[str, str]
    group: str | None
    fields: Mapping[str, Place]

    def place(self, field: str) -> Place:
        """Where a field stands, or the nearest thing around it."""
        while field and field not in self.fields:
            field = field.rpartition(".")[0]
        return self.fields.get(field) or self.fields[""]


def find_files(paths: Iterable[str], stdin: bytes | None = None) -> list[Source]:
    """Files, the .yaml, .yml and .json files of folders (not below), and ``-`` for ``stdin``. Raises ManifestError."""
    found: list[Source] = []
    for given in paths:
        if given == "-":
            found.append(Source("-", stdin or b""))
            continue
        if "://" in given:
            raise _unreadable(given, "is an address; only files are read", "fetch it yourself, and look at it")
        path = Path(given)
        inside = path.is_dir()
        try:
            files = sorted(each for each in path.iterdir() if each.suffix in SUFFIXES) if inside else [path]
        except OSError as error:
            raise _unreadable(given, f"cannot be read: {error.strerror}") from None
        if inside and not files:
            raise _unreadable(given, "has no .yaml, .yml or .json file in it")
        for file in files:
            try:
                with file.open("rb") as opened:
                    found.append(Source(str(file), opened.read(_BOUNDS.max_bytes + 1)))
            except OSError as error:
                raise _unreadable(str(file), f"cannot be read: {error.strerror}") from None
    return found


def _unreadable(file: str, rule: str, hint: str = "") -> ManifestError:
    return ManifestError([Fault.at(Place(file, 1, 1), "the file", "", rule, hint)])


def read_manifests(sources: Sequence[Source], account: str | None = None) -> list[Declared]:
    """Every order that the files declare. ``account``: of manifests that name none.

    :raises ManifestError: with all that is wrong in all of them, also a name that stands there twice."""
    faults: list[Fault] = []
    found: list[Declared] = []
    for source in sources:
        try:
            documents = read_all(source.raw, source.name, _BOUNDS)
        except ConfigError as error:
            faults.append(_fault(source.name, error))
            continue
        documents = [each for each in documents if each.value is not None]
        if not documents:
            faults.append(Fault.at(Place(source.name, 1, 1), "the file", "", "is empty", "declare an Order"))
        for document in documents:
            found += _Document(document, account, faults).read()
    if len(found) > MAX_ORDERS:
        last = found[MAX_ORDERS]
        faults.append(
            Fault.at(last.place(""), "orders", len(found), f"more than {MAX_ORDERS} at once", "apply in parts")
        )
    _refuse_twins(found, faults)
    if faults:
        order = {source.name: number for number, source in enumerate(sources)}
        faults.sort(key=lambda each: (order[each.place.file], each.place.line, each.place.column))
        raise ManifestError(faults)
    return found


def _fault(name: str, error: ConfigError) -> Fault:
    # The field of these errors is "file, line N, column M".
    parts = error.field.rsplit(", ", 2)
    try:
        place = Place(name, int(parts[1].removeprefix("line ")), int(parts[2].removeprefix("column ")))
    except (IndexError, ValueError):
        place = Place(name, 1, 1)
    return Fault(place, "YAML", error.value, error.rule, error.hint)


def _refuse_twins(found: list[Declared], faults: list[Fault]) -> None:
    first: dict[tuple[str, str], Declared] = {}
    for each in found:
        known = first.setdefault((each.account, each.name), each)
        if known is not each:
            there = known.place("metadata.name")
            faults.append(
                Fault.at(
                    each.place("metadata.name"),
                    "metadata.name",
                    each.name,
                    f"stands at {there.file}:{there.line}:{there.column} already, for account {each.account}",
                    "a name is one order",
                )
            )


class _Document:
    """One document, read key by key; what is wrong is collected."""

    def __init__(self, node: Node, account: str | None, faults: list[Fault]) -> None:
        self._node, self._account, self._faults = node, account, faults

    def read(self) -> Iterator[Declared]:
        """What it declares; nothing where anything in it is wrong."""
        before = len(self._faults)
        found = list(self._declared())
        if len(self._faults) == before:
            yield from found

    def _declared(self) -> Iterator[Declared]:
        top = self._mapping(self._node, "")
        if top is None:
            return
        self._known(top, "", ("apiVersion", "kind", "metadata", "spec"))
        self._choice(top, "apiVersion", (API_VERSION,))
        kind = self._choice(top, "kind", KINDS)
        meta = self._section(top, "metadata")
        spec = self._section(top, "spec")
        # Whatever is wrong above, what is below is read all the same: every error is told at once.
        name, account, labels = self._meta({} if meta is None else meta)
        if spec is None or kind is None:
            return
        if kind == "OrderGroup":
            yield from self._group(spec, account, name, labels)
            return
        places = {"": self._node.place}
        if meta is not None and "name" in meta:
            places["metadata.name"] = meta["name"].place
        order = read_order(spec, "spec", top["spec"].place, places, self._faults)
        if order is not None:
            yield Declared(self._node.place.file, account, name, order, labels, None, places)

    def _meta(self, meta: dict[str, Node]) -> tuple[str, str, Mapping[str, str]]:
        """Name, account and labels; where one is wrong that is told, and what is returned is not used."""
        if not meta:
            self._fault(self._node.place, "metadata.name", "", "is required")
            return "", "", {}
        self._known(meta, "metadata", ("name", "account", "labels"))
        name, account = self._id(meta, "name", "metadata.name"), self._named_account(meta)
        return name or "", account or "", self._labels(meta) or {}

    def _group(self, spec: dict[str, Node], account: str, group: str, labels: Mapping[str, str]) -> Iterator[Declared]:
        self._known(spec, "spec", ("kind", "orders"))
        self._choice(spec, "kind", GROUP_KINDS, "BATCH", "spec.")
        listed = spec.get("orders")
        if listed is None or not isinstance(listed.value, list) or not listed.value:
            place = self._node.place if listed is None else listed.place
            self._fault(place, "spec.orders", "", "must be a list of at least one order")
            return
        for number, node in enumerate(listed.value):
            path = f"spec.orders[{number}]"
            fields = self._mapping(node, path)
            if fields is None:
                continue
            name = self._id(fields, "name", f"{path}.name", node.place) or ""
            places = {"": node.place}
            if "name" in fields:
                places["metadata.name"] = fields["name"].place
            rest = {key: value for key, value in fields.items() if key != "name"}
            order = read_order(rest, path, node.place, places, self._faults)
            if order is not None:
                yield Declared(node.place.file, account, name, order, labels, group, places)

    # ---- keys ---------------------------------------------------------------------------------------------------

    def _fault(self, place: Place, field: str, value: object, rule: str, hint: str = "") -> None:
        self._faults.append(Fault.at(place, field, _text(value), rule, hint))

    def _mapping(self, node: Node, path: str) -> dict[str, Node] | None:
        if isinstance(node.value, dict):
            return node.value
        self._fault(node.place, path or "the document", node.value, "must be a mapping of names to values")
        return None

    def _section(self, top: dict[str, Node], key: str) -> dict[str, Node] | None:
        node = top.get(key)
        if node is None:
            self._fault(self._node.place, key, "", "is required")
            return None
        return self._mapping(node, key)

    def _known(self, found: dict[str, Node], path: str, known: tuple[str, ...]) -> None:
        for key, node in found.items():
            if key in known:
                continue
            near = close_to(key, known)
            hint = f"did you mean {near}?" if near else f"there are {', '.join(known)}"
            if key in ("status", "resourceVersion", "generation"):
                hint = "that is the kernel's to say: see exk get and exk describe"
            self._fault(node.place, ".".join(part for part in (path, key) if part), "", "is no field", hint)

    def _choice(
        self, found: dict[str, Node], key: str, choices: tuple[str, ...], default: str | None = None, path: str = ""
    ) -> str | None:
        node = found.get(key)
        if node is None:
            if default is None:
                self._fault(self._node.place, path + key, "", f"is required: {' or '.join(choices)}")
            return default
        if node.value not in choices:
            near = close_to(str(node.value), choices) if len(choices) > 1 else ""
            hint = f"did you mean {near}?" if near else ""
            self._fault(node.place, path + key, node.value, f"must be {' or '.join(choices)}", hint)
            return None
        return str(node.value)

    def _id(self, found: dict[str, Node], key: str, path: str, around: Place | None = None) -> str | None:
        node = found.get(key)
        if node is None:
            self._fault(around or self._node.place, path, "", "is required")
            return None
        try:
            check_id(path, node.value)
        except FieldError as error:
            self._faults.append(Fault.of(node.place, path, error))
            return None
        return str(node.value)

    def _named_account(self, meta: dict[str, Node]) -> str | None:
        if "account" in meta:
            return self._id(meta, "account", "metadata.account")
        if self._account is None:
            self._fault(self._node.place, "metadata.account", "", "is required", "name it here or with --account")
        return self._account

    def _labels(self, meta: dict[str, Node]) -> dict[str, str] | None:
        node = meta.get("labels")
        if node is None or node.value is None:
            return {APPLIED: "yes"}
        found = self._mapping(node, "metadata.labels")
        if found is None:
            return None
        before = len(self._faults)
        labels: dict[str, str] = {}
        for key, each in found.items():
            if key.startswith(RESERVED):
                self._fault(each.place, f"metadata.labels.{key}", "", f"labels of {RESERVED} are the kernel's own")
            elif not isinstance(each.value, str):
                self._fault(each.place, f"metadata.labels.{key}", each.value, "must be text", "put it in quotes")
            else:
                labels[key] = each.value
                try:
                    check_labels({key: each.value})
                except InvalidOrder as error:
                    self._faults.append(Fault.of(each.place, f"metadata.labels.{key}", error))
        labels[APPLIED] = "yes"
        try:
            check_labels(labels if len(self._faults) == before else {})
        except InvalidOrder as error:
            self._faults.append(Fault.of(node.place, "metadata.labels", error))
        return labels if len(self._faults) == before else None


def _text(value: Any) -> object:
    """A value as an error shows it: never the whole of a mapping."""
    if isinstance(value, dict):
        return "(a mapping)"
    if isinstance(value, list):
        return "(a list)"
    return "" if value is None else value
