"""Which requests and frames a fault is meant for: keyword matchers, all of which must hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final, TypedDict

import msgspec

from exchange_kernel.testing.faults.records import Direction, Fate, FrameFate, FrameKind, FrameRecord, RequestRecord


class RequestLike(TypedDict, total=False):
    """``method``: the HTTP method, or several. ``path``: a glob over the path without the query (``*`` crosses ``/``).
    ``rpc``: a glob over the JSON-RPC method, or several; a batch matches when one of its calls does."""

    method: str | tuple[str, ...]
    path: str
    rpc: str | tuple[str, ...]


class RequestMatch(RequestLike, total=False):
    """``request_headers``: name (any case) to a glob over its value. ``request_body``: a predicate over the bytes."""

    request_headers: Mapping[str, str]
    request_body: Callable[[bytes], bool]


class RequestQuery(RequestLike, total=False):
    """``fate``: what became of it."""

    fate: Fate


class FrameLike(TypedDict, total=False):
    """``path``: a glob over the handshake's path. ``direction``: without it, both. ``kind``: of the frame. ``rpc``: a
    glob over the JSON-RPC method that the frame calls or, towards the client, answers; or several."""

    path: str
    direction: Direction
    kind: FrameKind
    rpc: str | tuple[str, ...]


class FrameMatch(FrameLike, total=False):
    """Without ``kind``, TEXT and BINARY. ``data``: a predicate over the payload: str of a TEXT frame, bytes of any
    other."""

    data: Callable[[str | bytes], bool]


class FrameQuery(FrameLike, total=False):
    """Without ``kind``, every kind. ``fate``: what became of it."""

    fate: FrameFate


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """A complete request as matchers see it."""

    record: RequestRecord
    path: str  # as on the wire; the record's may have lost a secret
    headers: tuple[tuple[bytes, bytes], ...]  # names in lower case
    body: bytes


@dataclass(frozen=True, slots=True)
class SeenFrame:
    """A complete frame as matchers see it."""

    record: FrameRecord
    path: str
    data: str | bytes


_DATA: Final = frozenset({FrameKind.TEXT, FrameKind.BINARY})


def request_matcher(given: Mapping[str, Any]) -> Callable[[SeenRequest], bool]:
    """The test that all of a ``RequestMatch`` holds.

    :raises TypeError: it names something that requests are not matched by.
    """
    _known(RequestMatch, given)
    match = dict(given)
    headers = {name.lower().encode("latin-1"): glob for name, glob in (match.get("request_headers") or {}).items()}
    body: Callable[[bytes], bool] | None = match.get("request_body")

    def holds(seen: SeenRequest) -> bool:
        return (
            _request_holds(match, seen.record, seen.path)
            and all(_has_header(seen.headers, name, glob) for name, glob in headers.items())
            and (body is None or bool(body(seen.body)))
        )

    return holds


def request_query(given: Mapping[str, Any]) -> Callable[[RequestRecord], bool]:
    """The test that all of a ``RequestQuery`` holds of a record.

    :raises TypeError: it names something that records are not asked by.
    :raises ValueError: no such fate.
    """
    _known(RequestQuery, given)
    match = dict(given)
    fates = [Fate(match["fate"])] if "fate" in match else list(Fate)
    return lambda record: record.fate in fates and _request_holds(match, record, record.path)


def frame_matcher(given: Mapping[str, Any]) -> Callable[[SeenFrame], bool]:
    """The test that all of a ``FrameMatch`` holds.

    :raises TypeError: it names something that frames are not matched by.
    :raises ValueError: no such direction or kind.
    """
    _known(FrameMatch, given)
    match = _with_enums(given)
    data: Callable[[str | bytes], bool] | None = match.get("data")

    def holds(seen: SeenFrame) -> bool:
        of_kind = "kind" in match or seen.record.kind in _DATA
        return of_kind and _frame_holds(match, seen.record, seen.path) and (data is None or bool(data(seen.data)))

    return holds


def frame_query(given: Mapping[str, Any]) -> Callable[[FrameRecord], bool]:
    """The test that all of a ``FrameQuery`` holds of a record.

    :raises TypeError: it names something that records are not asked by.
    :raises ValueError: no such direction, kind or fate.
    """
    _known(FrameQuery, given)
    match = _with_enums(given)
    fates = [FrameFate(match["fate"])] if "fate" in match else list(FrameFate)
    return lambda record: record.fate in fates and _frame_holds(match, record, record.path)


def rpc_methods(data: str | bytes, named: str = "method") -> tuple[str, ...]:
    """The JSON-RPC methods that a body or frame calls, in order; () when it is no such call. ``named``: in which
    member."""
    return tuple(call[named] for call in rpc_objects(data) if isinstance(call.get(named), str))


def rpc_objects(data: str | bytes) -> list[dict[str, Any]]:
    """The JSON objects of a call, an answer, or a batch of them; [] when the data is none of these."""
    first = data[:64].lstrip()[:1]  # so that what is no JSON is not read as such
    if first not in ("{", "[", b"{", b"["):
        return []
    try:
        found = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return []
    return [item for item in (found if isinstance(found, list) else [found]) if isinstance(item, dict)]


def _request_holds(match: Mapping[str, Any], record: RequestRecord, path: str) -> bool:
    return (
        ("method" not in match or _is_one_of(record.method, match["method"]))
        and ("path" not in match or fnmatchcase(path, match["path"]))
        and ("rpc" not in match or _calls(record.rpc, match["rpc"]))
    )


def _frame_holds(match: Mapping[str, Any], record: FrameRecord, path: str) -> bool:
    return (
        ("path" not in match or fnmatchcase(path, match["path"]))
        and ("direction" not in match or record.direction is match["direction"])
        and ("kind" not in match or record.kind is match["kind"])
        and ("rpc" not in match or _calls(record.rpc, match["rpc"]))
    )


def _is_one_of(method: str, wanted: str | tuple[str, ...]) -> bool:
    names = (wanted,) if isinstance(wanted, str) else wanted
    return method.upper() in {name.upper() for name in names}


def _calls(methods: tuple[str, ...], globs: str | tuple[str, ...]) -> bool:
    wanted = (globs,) if isinstance(globs, str) else globs
    return any(fnmatchcase(method, glob) for method in methods for glob in wanted)


def _has_header(headers: tuple[tuple[bytes, bytes], ...], name: bytes, glob: str) -> bool:
    return any(found == name and fnmatchcase(value.decode("latin-1"), glob) for found, value in headers)


def _with_enums(given: Mapping[str, Any]) -> dict[str, Any]:
    match = dict(given)
    if "direction" in match:
        match["direction"] = Direction(match["direction"])
    if "kind" in match:
        match["kind"] = FrameKind(match["kind"])
    return match


def _known(shape: Any, given: Mapping[str, Any]) -> None:
    names = sorted(shape.__annotations__)  # those it inherits are among them
    for name in given:
        if name not in names:
            raise TypeError(f"no matcher or option is named {name!r}; the matchers here are {', '.join(names)}")
