"""Group commit: operations in, one transaction, one fsync, outcomes out. Runs in one thread at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import localcontext
from typing import Any, NamedTuple

from exchange_kernel.errors import CommitUnknown, ExchangeKernelError, StoreError, StoreUnavailable
from exchange_kernel.events import Event
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.state.sql.backend import Cursor, Session, Trouble
from exchange_kernel.state.sql.batch import Collision
from exchange_kernel.state.sql.statements import Statements
from exchange_kernel.state.sql.working_set import Loaded, changed, collision, flush, load
from exchange_kernel.state.unit import Operation, Unit, perform, union

TURNS = 4


class Outcome(NamedTuple):
    """What became of one operation or query."""

    error: BaseException | None
    value: Any = None


class Written(NamedTuple):
    """What one call of :meth:`Writer.run` did: an outcome per operation, and the events now true, in order."""

    outcomes: list[Outcome]
    events: list[Event]


class _Guilty(Exception):
    """One of the operations broke the transaction for all of them."""


class Writer:
    """Applies operations through one session.

    ``loaded`` is called with what was read under lock and may refuse it, ``committed`` with the unit after every
    commit.
    """

    def __init__(
        self,
        session: Session,
        sql: Statements,
        committed: Callable[[Unit], None],
        loaded: Callable[[Loaded], None] | None = None,
    ) -> None:
        self._session = session
        self._backend = session.backend
        self._sql = sql
        self._committed = committed
        self._loaded = loaded
        self.transactions = 0

    def run(self, operations: Sequence[Operation]) -> Written:
        """Apply the operations in their order, all in one transaction; an operation's own error is its caller's only.

        An operation that breaks the transaction itself (a fill booked twice, a value that cannot be stored) fails
        alone: the group is halved until it stands by itself.
        """
        try:
            return self._transaction(operations)
        except _Guilty as guilty:
            if len(operations) == 1:
                return Written([Outcome(guilty.__cause__)], [])
            middle = len(operations) // 2
            first, second = self.run(operations[:middle]), self.run(operations[middle:])
            return Written([*first.outcomes, *second.outcomes], [*first.events, *second.events])
        except ExchangeKernelError as error:
            return Written([Outcome(_another(error)) for _ in operations], [])

    def _transaction(self, operations: Sequence[Operation]) -> Written:
        errors = self._backend.errors
        for turn in range(1, TURNS + 1):
            unit: Unit | None = None
            committing = False
            try:
                cursor = self._session.begin()
                loaded = load(self._backend, self._sql, cursor, union(op.needs() for op in operations))
                if self._loaded is not None:
                    self._loaded(loaded)
                unit = loaded.unit
                outcomes = _apply(operations, unit)
                if not changed(unit):
                    self._session.rollback()
                    return Written(outcomes, [])
                flush(self._backend, self._sql, cursor, loaded)
                committing = True
                self._session.commit()
            except errors as error:
                trouble = self._backend.trouble(error, committing)
                if trouble is Trouble.LOST or trouble is Trouble.AMBIGUOUS:
                    self._session.drop()
                else:
                    self._session.rollback()
                if trouble is Trouble.AMBIGUOUS:
                    raise CommitUnknown(
                        f"{self._backend.explain(error)} (the commit was sent and its reply was lost: read it back)"
                    ) from error
                if trouble is Trouble.GUILTY:
                    # Two processes may have inserted the same first row: the second turn sees the other's.
                    if len(operations) == 1 and turn == 1 and self._backend.postgres:
                        continue
                    raise _Guilty from self._culprit(operations, error)
                if (turn < TURNS and trouble is Trouble.AGAIN) or (turn == 1 and trouble is Trouble.LOST):
                    continue
                raise StoreUnavailable(f"{self._backend.explain(error)} (nothing was written)") from error
            except Collision as error:
                self._session.rollback()
                raise _Guilty from self._culprit(operations, error)
            except ExchangeKernelError:
                self._session.rollback()
                raise
            except (ValueError, TypeError, OverflowError) as error:
                self._session.rollback()
                raise _Guilty from StoreError(f"a value cannot be stored (nothing was written): {error!r}")
            except Exception as error:
                # A mistake in an operation must not take its group along.
                self._session.rollback()
                raise _Guilty from error
            self.transactions += 1
            self._committed(unit)
            return Written(outcomes, unit.emitted)
        raise AssertionError("unreachable")

    def _culprit(self, operations: Sequence[Operation], error: Exception) -> BaseException:
        if len(operations) > 1:
            return error
        failures: tuple[type[Exception], ...] = (*self._backend.errors, Collision)
        try:
            found = self._collision(operations[0])
        except ExchangeKernelError as now:
            found = now
        except failures as again:
            error, found = again, None
        said = self._backend.explain(error) if isinstance(error, self._backend.errors) else str(error)
        return found or StoreError(f"the database refused this write (nothing was written): {said}")

    def _collision(self, operation: Operation) -> ExchangeKernelError | None:
        cursor: Cursor = self._session.begin()
        try:
            unit = load(self._backend, self._sql, cursor, union((operation.needs(),))).unit
            perform(operation, unit)
            return collision(self._sql, cursor, unit)
        finally:
            self._session.rollback()


def _apply(operations: Sequence[Operation], unit: Unit) -> list[Outcome]:
    outcomes = []
    with localcontext(EXACT):
        for operation in operations:
            try:
                outcomes.append(Outcome(None, operation.apply(unit)))
            except ExchangeKernelError as error:
                outcomes.append(Outcome(error))
    return outcomes


def _another(error: ExchangeKernelError) -> ExchangeKernelError:
    """The same error for the next caller: one object raised in many places would collect all their tracebacks."""
    made = type(error).__new__(type(error), *error.args)
    made.args = error.args
    made.__dict__.update(error.__dict__)
    made.__cause__ = error.__cause__
    return made
