"""Every error a user or an adapter author meets, as one tree.

::

    ExchangeKernelError
    ├── InvalidOrder ................ the order breaks a rule: field, value, rule, what to do. Nothing was written
    │   ├── UnknownSymbol ........... the account's venue does not list this symbol
    │   └── Unsupported ............. neither the venue nor the kernel can do this (also a venue verdict)
    ├── LimitExceeded ............... a limit of the account forbids it (size, open notional, rate, allow-list)
    ├── AdmissionDenied ............. a check that the account was configured with refuses it
    ├── AccountHalted ............... the account or the platform is halted
    ├── UnknownIntent ............... no intent has this id
    ├── IntentConflict .............. the id exists with another order, or the generation has moved on
    ├── IntentFinished .............. the intent is terminal: it is never changed or re-created
    ├── NotRunning .................. called before start() or after stop()
    ├── NotAllowed .................. a server refuses it: the token is not valid, or does not allow this
    ├── ConfigError ................. the configuration cannot be used
    │   └── IdentityMismatch ........ another account or mode stands behind this exchange_id
    ├── InvalidMetadata ............. a venue described a symbol or an asset in a way that cannot be used
    ├── StoreError .................. the store did not do it
    │   ├── StoreUnavailable ........ cannot be reached or written now (disk full, locked, gone): nothing half-written
    │   ├── CommitUnknown ........... the commit's reply was lost: read it back
    │   ├── SchemaMismatch .......... the database is older or newer than this release
    │   ├── StaleWrite .............. the row changed since it was read
    │   ├── KeyTaken ................ a key, fill or number that must be unique exists already
    │   └── Fenced .................. another process owns the account now
    └── VenueError .................. what adapters raise (effect: "none" or "unknown")
        ├── NoEffect ................ definite: this ticket did nothing and never will
        │   ├── Rejected ............ a documented business verdict of the venue
        │   │   ├── InsufficientFunds, OrderRefused, PostOnlyWouldCross, MarketClosed
        │   │   └── UnknownTarget ... a cancel's or amend's target was not there; says nothing about the order
        │   ├── NotSent ............. the bytes never left this process
        │   ├── RateLimited ......... refused before execution; retry_at, scope
        │   ├── ClockSkew ........... refused for its timestamp
        │   └── NotAuthorized ....... credentials or permissions; stops the account
        ├── OutcomeUnknown .......... anything may have happened
        │   └── Refused ............. not taken now, the bytes stay valid (a node, a pool)
        └── Unavailable ............. a read failed; never absence
"""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar, Literal

__all__ = [
    "AccountHalted",
    "AdmissionDenied",
    "ClockSkew",
    "CommitUnknown",
    "ConfigError",
    "ExchangeKernelError",
    "Fenced",
    "IdentityMismatch",
    "InsufficientFunds",
    "IntentConflict",
    "IntentFinished",
    "InvalidMetadata",
    "InvalidOrder",
    "KeyTaken",
    "LimitExceeded",
    "MarketClosed",
    "NoEffect",
    "NotAllowed",
    "NotAuthorized",
    "NotRunning",
    "NotSent",
    "OrderRefused",
    "OutcomeUnknown",
    "PostOnlyWouldCross",
    "RateLimited",
    "Refused",
    "Rejected",
    "SchemaMismatch",
    "StaleWrite",
    "StoreError",
    "StoreUnavailable",
    "Unavailable",
    "UnknownIntent",
    "UnknownSymbol",
    "UnknownTarget",
    "Unsupported",
    "VenueError",
]


class ExchangeKernelError(Exception):
    """Root of every error this package raises."""


class FieldError(ExchangeKernelError):
    """An error about one named field: its value, the rule it breaks, and what to do about it."""

    def __init__(self, field: str, value: object, rule: str, hint: str = "") -> None:
        self.field, self.value, self.rule, self.hint = field, shown(value), rule, hint
        super().__init__(f"{field} {self.value}: {rule}" + (f"; {hint}" if hint else ""))


def shown(value: object, limit: int = 80) -> str:
    """The value as it may appear in a message: printable ASCII, one line, at most ``limit`` characters; money plain."""
    try:
        if isinstance(value, Decimal):
            text = format(value, "f") if abs(value.adjusted()) < 100 else str(value)
        else:
            text = str(value) if isinstance(value, str) else repr(value)
    except (RecursionError, TypeError, ValueError):  # repr of an int of thousands of digits raises
        text = f"<{type(value).__name__}>"
    quoted = ascii(text) if isinstance(value, str) else ascii(text)[1:-1]
    return quoted if len(quoted) <= limit else f"{quoted[:limit]}… ({len(text)} characters)"


class InvalidOrder(FieldError):
    """The order breaks a rule of the schema, the symbol or the venue. Raised before anything is written."""


class InvalidMetadata(FieldError):
    """A venue, or its adapter, described a symbol or an asset in a way that breaks a rule of the schema."""


class UnknownSymbol(InvalidOrder):
    """The account's venue does not list this symbol."""


class LimitExceeded(FieldError):
    """A limit configured for the account forbids this order. ``limit``: its name in the account's configuration."""

    def __init__(self, limit: str, field: str, value: object, rule: str, hint: str = "") -> None:
        super().__init__(field, value, rule, hint)
        self.limit = limit


class AdmissionDenied(FieldError):
    """An admission check of the account refuses this order, or failed. ``reasons``: all of them, this one first."""

    def __init__(self, field: str, value: object, rule: str, hint: str = "", others: tuple[str, ...] = ()) -> None:
        super().__init__(field, value, rule, hint)
        self.reasons = (str(self), *others)
        if others:
            self.args = (" | ".join(self.reasons),)


class AccountHalted(ExchangeKernelError):
    """The account, or the whole platform, is halted; cancels still work. ``resume`` needs an actor and a reason."""


class UnknownIntent(ExchangeKernelError):
    """No intent of this account has this id."""


class IntentConflict(ExchangeKernelError):
    """The id exists with another order, or the expected generation is not the current one."""


class IntentFinished(ExchangeKernelError):
    """The intent is terminal. Terminal intents are never changed, and never re-created under the same id."""


class NotRunning(ExchangeKernelError):
    """The kernel was not started, or is stopped."""


class NotAllowed(ExchangeKernelError):
    """A server refuses it: the token is not valid, or does not allow this on this account. Nothing was done."""


class ConfigError(FieldError):
    """The configuration cannot be used; names the key, the value and the rule."""


class IdentityMismatch(ConfigError):
    """The store binds this ``exchange_id`` to another venue account or mode (R33)."""


class StoreError(ExchangeKernelError):
    """The store did not do what was asked."""


class StoreUnavailable(StoreError):
    """The store cannot be reached or written now. Nothing was half-written; the same call may succeed later."""


class CommitUnknown(StoreError):
    """The transaction was sent and its reply was lost: it may have committed. Read it back (R3)."""


class SchemaMismatch(StoreError):
    """The database was made by an older release (migrate it) or a newer one (upgrade this program)."""


class StaleWrite(StoreError):
    """Compare-and-swap failed: the row changed since it was read."""


class KeyTaken(StoreError):
    """A key, a fill or a sequence number that must be unique exists already: another order holds it."""


class Fenced(StoreError):
    """Another process took the account over: its epoch is higher (R31)."""


class VenueError(ExchangeKernelError):
    """What an adapter may raise. ``effect`` says what the ticket may have done at the venue.

    ``code`` is the venue's own code; ``why`` one of :class:`exchange_kernel.venue.Why`, as text.
    """

    effect: ClassVar[Literal["none", "unknown"]] = "unknown"

    def __init__(self, text: str = "", *, code: str = "", why: str = "other") -> None:
        super().__init__(text)
        self.code, self.why = code, why


class NoEffect(VenueError):
    """Definite: this ticket did nothing and never will (R9)."""

    effect = "none"


class Rejected(NoEffect):
    """A documented business verdict of the venue: the attempt ends with this reason."""


class InsufficientFunds(Rejected):
    """The account cannot pay for the order."""


class OrderRefused(Rejected):
    """The venue's own rule refused the order (a filter, a risk check)."""


class PostOnlyWouldCross(Rejected):
    """A post-only order would have traded at once."""


class MarketClosed(Rejected):
    """The market takes no orders now."""


class UnknownTarget(Rejected):
    """The target of a cancel or an amend was not found: the command did nothing, the order may be anywhere (R21)."""


class NotSent(NoEffect):
    """Not one byte left this process (too old, wrong identity, unknown codec)."""


class RateLimited(NoEffect):
    """Refused before execution for its rate. ``retry_at``: local ms UTC; ``banned``: all of this scope must pause."""

    def __init__(self, retry_at: int, scope: str, banned: bool = False) -> None:
        super().__init__(f"rate limit of {scope}, retry at {retry_at} ms")
        self.retry_at, self.scope, self.banned = retry_at, scope, banned


class NotAuthorized(NoEffect):
    """Wrong or insufficient credentials: stops the account and alerts."""


class ClockSkew(NoEffect):
    """Refused for its timestamp: the local clock is off."""


class Unsupported(InvalidOrder, NoEffect):
    """Neither the venue nor the kernel offers this feature, or this combination. ``feature`` names the capability."""

    effect = "none"

    def __init__(self, feature: str, note: str = "") -> None:
        FieldError.__init__(self, feature, "unsupported", note or "this venue does not offer it")
        self.feature, self.code, self.why = feature, "", "filter"


class OutcomeUnknown(VenueError):
    """Anything may have happened: look until found or proved dead."""


class Refused(OutcomeUnknown):
    """Not taken now, but the bytes stay valid: repeat, replace or burn. A node's refusal is never a verdict (R10)."""


class Unavailable(VenueError):
    """A read failed. Ask again; never to be read as absence. ``retry_at`` in local ms UTC, or None."""

    def __init__(self, text: str = "", *, retry_at: int | None = None, code: str = "") -> None:
        super().__init__(text, code=code)
        self.retry_at = retry_at
