"""Real processes: a kernel is killed, or stopped past its lease, at every labelled point of an order's path, and the
venue,
a process of its own, counts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from exchange_kernel.testing.servers import PostgresServer
from tests.processes.parent import Nursery, Trial, venue

AT_ONCE = 6
Point = tuple[str, int]


def steps(command: str) -> list[Point]:
    """Every point on the path of one command, from its preparation to the record of its answer."""
    return [
        (f"before prepare of {command}", 1),
        (f"after prepare of {command}", 1),
        (f"before commit of {command}", 1),
        (f"after commit of {command}", 1),
        (f"before submit of {command}", 1),
        (f"before send of {command}", 1),
        (f"sent {command}", 1),
        (f"after send of {command}", 1),
        (f"after submit of {command}", 1),
        (f"before record of {command}", 1),
        (f"after record of {command}", 1),
    ]


KILLS: dict[str, list[Point]] = {
    "declare": [
        ("before commit of declare", 1), ("after commit of declare", 1), ("after commit of declare", 4),
        ("before commit of modify", 1), ("after commit of modify", 1),
        ("before commit of the wish to cancel", 1), ("after commit of the wish to cancel", 1),
    ],
    "place": [*steps("place"), ("after commit of place", 3), ("after send of place", 5)],
    "amend": steps("amend"),
    "cancel": steps("cancel"),
    "upkeep": [
        ("before takeover", 1), ("after takeover", 1), ("before renewal", 1), ("after renewal", 2),
        ("before snapshot", 1), ("after snapshot", 1), ("after snapshot", 2), ("event", 3),
    ],
}  # fmt: skip

STOPS: list[tuple[str, int, bool]] = [
    ("after commit of declare", 1, False),
    ("before commit of place", 1, False),
    ("after commit of place", 1, False),
    ("before send of place", 1, False),
    ("before send of place", 1, True),
    ("after send of place", 1, False),
    ("before record of place", 2, False),
    ("before commit of amend", 1, False),
    ("before send of amend", 1, False),
    ("before commit of cancel", 1, False),
    ("before send of cancel", 1, True),
    ("before renewal", 2, False),
    ("after snapshot", 1, False),
]
"""Label, passage, and whether it goes on as soon as it was succeeded, or only when all is done."""


async def all_of(folder: Path, stores: list[str], trials: list[Callable[[Trial], Awaitable[None]]]) -> None:
    """Run trials side by side, each with a venue and a store of its own; tell of all that failed."""
    at_once = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, trial: Callable[[Trial], Awaitable[None]]) -> None:
        own = folder / str(number)
        own.mkdir()
        async with at_once, venue(own / "venue") as (port, control):
            await trial(Trial(own, stores[number] if stores else f"sqlite:///{own}/store.db", nursery, port, control))

    async with Nursery.open() as nursery:
        found = await asyncio.gather(*(one(n, trial) for n, trial in enumerate(trials)), return_exceptions=True)
    failed = [error for error in found if error is not None]
    if failed:
        raise BaseExceptionGroup(f"{len(failed)} of {len(trials)}", failed) if len(failed) > 1 else failed[0]


def kill(point: Point) -> Callable[[Trial], Awaitable[None]]:
    """The trial of one death."""

    async def trial(trial: Trial) -> None:
        try:
            await trial.killed(*point)
        except AssertionError as error:
            raise AssertionError(f"killed at passage {point[1]} of {point[0]!r}: {error}") from error

    return trial


def stop(label: str, passage: int, early: bool) -> Callable[[Trial], Awaitable[None]]:
    """The trial of one zombie."""

    async def trial(trial: Trial) -> None:
        try:
            await trial.stopped(label, passage, early)
        except AssertionError as error:
            when = "at once" if early else "late"
            raise AssertionError(f"stopped at passage {passage} of {label!r}, woken {when}: {error}") from error

    return trial


@pytest.mark.parametrize("path", KILLS)
def test_killed_at_every_point_nothing_is_lost_or_doubled(path: str, tmp_path: Path) -> None:
    """SIGKILL, then a new process on the same SQLite file: each intent is one order, and every fill is booked."""
    asyncio.run(all_of(tmp_path, [], [kill(point) for point in KILLS[path]]))


@pytest.mark.parametrize("part", range(2))
def test_stopped_past_its_lease_a_process_does_no_harm_when_it_goes_on(part: int, tmp_path: Path) -> None:
    """SIGSTOP, a standby process takes over, SIGCONT: the zombie notices, and has sent nothing that counts twice."""
    asyncio.run(all_of(tmp_path, [], [stop(*point) for point in STOPS[part::2]]))


ON_POSTGRES: list[Callable[[Trial], Awaitable[None]]] = [
    kill(("after commit of declare", 1)),
    kill(("after commit of place", 1)),
    kill(("sent place", 1)),
    kill(("before record of place", 2)),
    kill(("sent amend", 1)),
    kill(("after commit of cancel", 1)),
    stop("before commit of place", 1, False),
    stop("before send of place", 1, True),
    stop("after send of amend", 1, False),
]


def test_the_same_holds_on_postgresql(postgres: PostgresServer, tmp_path: Path) -> None:
    """A choice of deaths and pauses, with the truth in a PostgreSQL that several processes use at once."""
    urls = [postgres.new_database() for _ in ON_POSTGRES]
    try:
        asyncio.run(all_of(tmp_path, urls, ON_POSTGRES))
    finally:
        for url in urls:
            postgres.drop_database(url)
