"""What every change of an exchange goes through: exact arithmetic, due work first, the journal, the events after."""

from __future__ import annotations

from collections.abc import Callable
from decimal import getcontext, setcontext
from functools import wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar

from exchange_kernel_paper.exchange.numbers import EXACT

if TYPE_CHECKING:
    from exchange_kernel_paper.exchange.exchange import Exchange

P = ParamSpec("P")
R = TypeVar("R")


class Journal(Protocol):
    """Where mutations are written before they run."""

    def write(self, now: int, name: str, args: tuple[object, ...]) -> None: ...


def mutation(method: Callable[Concatenate[Exchange, P], R]) -> Callable[Concatenate[Exchange, P], R]:
    """Run a method at the venue's present: exact arithmetic, due work first, journaled, its events published after."""
    name = method.__name__

    @wraps(method)
    def run(self: Exchange, /, *args: P.args, **kwargs: P.kwargs) -> R:
        assert not kwargs, "journaled arguments are positional"
        saved = getcontext()
        setcontext(EXACT)
        try:
            self._catch_up()
            if self._journal is not None:
                self._journal.write(self.now, name, args)
            return method(self, *args, **kwargs)
        finally:
            self._publish()
            setcontext(saved)

    return run
