"""Exit codes, and which error has which."""

from __future__ import annotations

from typing import Final

from exchange_kernel.errors import (
    AccountHalted,
    AdmissionDenied,
    ConfigError,
    ExchangeKernelError,
    IntentConflict,
    IntentFinished,
    InvalidOrder,
    LimitExceeded,
    NoEffect,
    SchemaMismatch,
    StoreError,
    UnknownIntent,
    VenueError,
)

EXITS: Final = {
    0: "done",
    1: "failed, or something that was checked does not hold",
    2: "wrong usage or configuration",
    3: "refused: the order breaks a rule or a limit, or the account is halted",
    4: "no such intent",
    5: "the store or the venue cannot be reached now",
    6: "conflict: the intent exists with another order, has changed, or is finished",
    7: "there are differences (exk diff)",
    8: "not within the time (exk wait)",
}

_CODES: Final[tuple[tuple[type[ExchangeKernelError], int], ...]] = (
    (ConfigError, 2),
    (SchemaMismatch, 2),
    (InvalidOrder, 3),
    (LimitExceeded, 3),
    (AdmissionDenied, 3),
    (AccountHalted, 3),
    (UnknownIntent, 4),
    (IntentConflict, 6),
    (IntentFinished, 6),
    (NoEffect, 3),
    (StoreError, 5),
    (VenueError, 5),
)


def code_of(error: ExchangeKernelError) -> int:
    """The exit code of an error."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), 1)


class Failed(Exception):
    """Ends the command with one line on standard error and an exit code."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code
