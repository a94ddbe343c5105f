"""The queue's promises, said as simply as possible, and what can be done to one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import strategies as st

from exchange_kernel.reconcile.queue import Priority

REFRESH = Priority.REFRESH


@dataclass
class Model:
    """The same promises, said as simply as possible. Times in ticks."""

    time: int = 0
    marked: dict[str, tuple[int, Priority]] = field(default_factory=dict)
    meanwhile: dict[str, tuple[int, Priority]] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)

    def mark(self, key: str, priority: Priority, due: int) -> None:
        marks = self.meanwhile if key in self.running else self.marked
        was = marks.get(key, (due, priority))
        marks[key] = (min(was[0], due), min(was[1], priority))

    def due(self) -> dict[str, Priority]:
        return {key: priority for key, (due, priority) in self.marked.items() if due <= self.time}

    def claimed(self, keys: Sequence[str], limit: int) -> None:
        due = self.due()
        assert len(set(keys)) == len(keys)
        assert set(keys) <= set(due)
        assert [due[key] for key in keys] == sorted(due.values())[:limit]
        for key in keys:
            del self.marked[key]
            self.running.add(key)

    def done(self, key: str, again: int | None) -> None:
        self.running.discard(key)
        meanwhile = self.meanwhile.pop(key, None)
        if meanwhile is not None:
            self.mark(key, meanwhile[1], meanwhile[0])
        if again is not None:
            self.mark(key, REFRESH, self.time + again)


KEYS = st.sampled_from("abcd")
STEP = st.one_of(
    st.tuples(st.just("mark"), KEYS, st.sampled_from(Priority), st.integers(0, 3)),
    st.tuples(st.just("mark"), KEYS, st.sampled_from(Priority), st.just(0)),
    st.tuples(st.just("claim"), st.integers(1, 3)),
    st.tuples(st.just("done"), KEYS, st.sampled_from([None, 0, 2])),
    st.tuples(st.just("pass"), st.integers(1, 2)),
    st.tuples(st.just("forget"), KEYS),
)
