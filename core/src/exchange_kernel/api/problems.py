"""Errors as ``application/problem+json`` (RFC 9457), with a stable ``code`` each, and back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from exchange_kernel import errors
from exchange_kernel.errors import ExchangeKernelError

__all__ = ["CODES", "MEDIA_TYPE", "Problem", "from_problem", "to_problem"]

MEDIA_TYPE: Final = "application/problem+json"

_STATUS: Final[tuple[tuple[type[ExchangeKernelError], int], ...]] = (
    (errors.InvalidOrder, 422),
    (errors.LimitExceeded, 422),
    (errors.AdmissionDenied, 422),
    (errors.AccountHalted, 409),
    (errors.UnknownIntent, 404),
    (errors.IntentConflict, 409),
    (errors.IntentFinished, 409),
    (errors.NotAllowed, 403),
    (errors.ConfigError, 404),
    (errors.StaleWrite, 409),
    (errors.KeyTaken, 409),
    (errors.RateLimited, 429),
    (errors.Rejected, 422),
    (errors.InvalidMetadata, 502),
    (errors.VenueError, 503),
    (errors.StoreError, 503),
    (errors.NotRunning, 503),
    (ExchangeKernelError, 503),
)


def _code(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", name).lower()


CODES: Final[dict[str, type[ExchangeKernelError]]] = {
    _code(name): vars(errors)[name] for name in sorted(errors.__all__)
}
"""The code of each error of the library; a code never changes its meaning."""

_NAMES: Final = {kind: code for code, kind in CODES.items()}
_EXTRA: Final = ("field", "value", "rule", "hint", "limit", "feature", "reasons", "why", "retry_at", "scope", "banned")


class Problem(Exception):
    """An answer of the API itself that is no error of the library: ``status``, ``code``, what is wrong, and headers."""

    def __init__(self, status: int, code: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.code, self.headers = status, code, dict(headers or {})

    def body(self) -> dict[str, Any]:
        """As JSON says it."""
        return _body(self.status, self.code, str(self))


def to_problem(error: ExchangeKernelError) -> dict[str, Any]:
    """What the answer says; its ``status`` is the answer's."""
    kind = next(each for each in type(error).__mro__ if each in _NAMES)
    status = next(number for base, number in _STATUS if isinstance(error, base))
    said: dict[str, Any] = {name: getattr(error, name, None) for name in _EXTRA}
    extra = {name: value for name, value in said.items() if value not in (None, "", (), False)}
    if "reasons" in extra:
        extra["reasons"] = list(extra["reasons"])
    if isinstance(error, errors.VenueError) and error.code:
        extra["venue_code"] = error.code
    return _body(status, _NAMES[kind], str(error)) | extra


def _body(status: int, code: str, detail: str) -> dict[str, Any]:
    shown = detail.encode("utf-8", "backslashreplace").decode()
    title = code.replace("-", " ").capitalize()
    kind = f"urn:exchange-kernel:error:{code}"
    return {"type": kind, "title": title, "status": status, "code": code, "detail": shown}


def from_problem(body: Mapping[str, Any]) -> ExchangeKernelError:
    """The error that an answer tells of, with all it said; the root for a kind that this release does not know."""
    kind = CODES.get(str(body.get("code")), ExchangeKernelError)
    detail = str(body.get("detail") or body.get("title") or "the server refused it")
    error: Any = kind.__new__(kind)
    Exception.__init__(error, detail)
    if issubclass(kind, errors.FieldError):
        for name in ("field", "value", "rule", "hint"):
            setattr(error, name, str(body.get(name, "")))
    if issubclass(kind, errors.VenueError):
        error.code, error.why = str(body.get("venue_code", "")), str(body.get("why", "other"))
    for name in _EXTRA[4:]:
        if name in body and name != "why":
            setattr(error, name, tuple(body[name]) if name == "reasons" else body[name])
    if issubclass(kind, errors.Unavailable):
        error.retry_at = body.get("retry_at")
    found: ExchangeKernelError = error
    return found
