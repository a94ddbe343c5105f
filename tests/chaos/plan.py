"""What goes wrong, and when: drawn from a seed before anything runs, so that a run can be repeated as far as real
processes can."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

ROLES = ("worker", "api", "postgres", "valkey", "postgres line", "valkey line", "venue line", "venue")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault. ``low``, ``high``: how long it lasts, in seconds; ``weight``: how often it is drawn."""

    target: str
    what: str
    weight: int
    low: float = 0.0
    high: float = 0.0

    def __str__(self) -> str:
        return f"{self.target} {self.what}"


KINDS = (
    Kind("worker", "killed", 5, 0.0, 3.0),
    Kind("worker", "stopped past its lease", 4, 20.0, 20.0),
    Kind("worker", "drained", 3, 0.0, 2.0),
    Kind("api", "killed", 2, 0.0, 1.0),
    Kind("postgres", "restarted", 2, 0.0, 2.0),
    Kind("postgres", "backends ended", 3),
    Kind("valkey", "flushed", 4),
    Kind("valkey", "killed", 2, 0.0, 2.0),
    Kind("valkey", "stopped", 2, 2.0, 8.0),
    Kind("postgres line", "cut", 3),
    Kind("postgres line", "delayed", 2, 2.0, 5.0),
    Kind("postgres line", "stalled", 2, 1.0, 8.0),
    Kind("valkey line", "cut", 2),
    Kind("valkey line", "delayed", 1, 2.0, 5.0),
    Kind("valkey line", "stalled", 2, 1.0, 8.0),
    Kind("venue line", "cut", 3),
    Kind("venue line", "stalled", 2, 1.0, 6.0),
    Kind("venue", "loses requests", 3, 2.0, 5.0),
    Kind("venue", "loses answers", 3, 2.0, 5.0),
    Kind("venue", "takes requests late", 3, 2.0, 5.0),
)


@dataclass(frozen=True)
class Size:
    """How big a run is. ``rate``: intents a second; ``every``: seconds between faults; ``quiet``: how long everything
    may take to arrive where it is wanted, once the faults have stopped; ``without``: faults that are left out."""

    intents: int
    rate: float
    every: float
    accounts: int = 60
    workers: int = 3
    quiet: float = 180.0
    without: tuple[str, ...] = ()

    @property
    def span(self) -> float:
        """How long intents are declared and things go wrong, in seconds."""
        return self.intents / self.rate


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault. ``at``: seconds from the beginning; ``number``: which of several workers; ``lasts``: seconds."""

    at: float
    kind: Kind
    number: int
    lasts: float

    def __str__(self) -> str:
        which = f" {self.number}" if self.kind.target == "worker" else ""
        lasting = f" for {self.lasts:.1f} s" if self.lasts else ""
        return f"{self.kind.target}{which} {self.kind.what}{lasting}"


def draw(seed: int, span: float, every: float, workers: int, without: Iterable[str] = ()) -> list[Fault]:
    """The faults of a run of ``span`` seconds, one in ``every`` seconds on average. ``without``: targets, or whole
    kinds, that are left alone."""
    spared = set(without)
    kinds = [kind for kind in KINDS if not spared & {kind.target, str(kind)}]
    rng = Random(f"faults {seed}")
    out: list[Fault] = []
    at = every / 3
    while at < span:
        # Each kind comes once before chance decides: a short run has seen them all.
        kind = kinds[len(out)] if len(out) < len(kinds) else rng.choices(kinds, [each.weight for each in kinds])[0]
        out.append(Fault(at, kind, rng.randrange(workers), round(rng.uniform(kind.low, kind.high), 2)))
        at += rng.uniform(0.4, 1.6) * every
    firsts = [fault.kind for fault in out[: len(kinds)]]
    rng.shuffle(firsts)
    shuffled = [Fault(f.at, k, f.number, _lasting(rng, k)) for f, k in zip(out, firsts, strict=False)]
    return shuffled + out[len(kinds) :]


def _lasting(rng: Random, kind: Kind) -> float:
    return round(rng.uniform(kind.low, kind.high), 2)
