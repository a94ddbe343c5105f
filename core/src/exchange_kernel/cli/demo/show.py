"""What the watcher sees: a live table on a terminal, lines elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from exchange_kernel.cli.demo.orders import Wanted
from exchange_kernel.cli.output import clean, money
from exchange_kernel.clock import Clock
from exchange_kernel.models import OrderIntent
from exchange_kernel.state.rows import Progress

LINE_EVERY_S = 2.0
WIDTH = 132
"""Of the output where no terminal says how wide it is."""

_COLOURS = {
    "FILLED": "green",
    "WORKING": "cyan",
    "PARTIALLY_FILLED": "cyan",
    "CANCELED": "dim",
    "EXPIRED": "dim",
    "REJECTED": "dim",
    "UNKNOWN": "bold yellow",
    "PARKED": "bold red",
    "SUBMITTING": "yellow",
}

Rows = Mapping[str, tuple[OrderIntent, Progress]]


class Screen:
    """Shows the intents as they are, and says what happens."""

    def __init__(self, clock: Clock) -> None:
        self._console = Console(highlight=False)
        if not self._console.is_terminal:
            self._console = Console(highlight=False, width=WIDTH)
        self._clock = clock
        self._began = clock.monotonic()
        self._line_at = 0.0
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return self._clock.monotonic() - self._began

    def say(self, text: str, style: str = "") -> None:
        """Something happened."""
        self._console.print(Text(f"{self.elapsed:5.1f}s  {text}", style=style))

    def plain(self, text: str, style: str = "") -> None:
        """A line of the summary."""
        self._console.print(Text(text, style=style))

    def intents(self, wanted: Sequence[Wanted], rows: Rows) -> None:
        """The intents now."""
        if self._live is not None:
            self._live.update(self._table(wanted, rows), refresh=True)
        elif self.elapsed >= self._line_at:
            self._line_at = self.elapsed + LINE_EVERY_S
            counts = Counter(progress.status.value for _, progress in rows.values())
            self.say("intents: " + ", ".join(f"{count} {status}" for status, count in sorted(counts.items())))

    def last(self, wanted: Sequence[Wanted], rows: Rows) -> None:
        """The intents at the end."""
        self._console.print(self._table(wanted, rows))

    def _table(self, wanted: Sequence[Wanted], rows: Rows) -> Table:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
        left = max(24, self._console.width - 17 - 16 - 8 - 5 * 2)
        words = min(46, max(20, left * 3 // 5))
        for name, width in (("INTENT", 17), ("DESIRED", words), ("ACTUAL", 16), ("FILLED", 8), ("WHY", left - words)):
            table.add_column(name, no_wrap=True, overflow="ellipsis", width=width)
        for each in wanted:
            found = rows.get(each.intent_id)
            if found is None:
                continue
            intent, progress = found
            status = progress.status.value
            filled = f"{money(progress.filled_base)}" if progress.filled_base else ""
            goal = "gone" if intent.desired.value == "CANCELED" else each.words
            told = [] if progress.status.terminal else [each.message for each in progress.conditions]
            why = clean(progress.reason or "; ".join(told))
            table.add_row(each.intent_id, goal, Text(status, _COLOURS.get(status, "")), filled, Text(why, "dim"))
        return table
