"""A SQLite store's backup, made while it is used, and its return."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from exchange_kernel.errors import ConfigError, StoreUnavailable

__all__ = ["Facts", "back_up", "facts", "restore", "sqlite_file"]

_PAGES: Final = 2_000
"""Copied at a time, so that a kernel's commits go on in between."""
_COUNTED: Final = ("intent", "attempt", "fill", "event")
_BESIDE: Final = ("-wal", "-shm", "-journal")
Progress = Callable[[int, int], None]


class Facts(NamedTuple):
    """What a store's file holds. ``store_id``: "" where no kernel has opened it yet. ``newest``: ms UTC of its newest
    event, None without any. ``owners``: accounts that a process owns at ``now``, and which."""

    store_id: str
    revision: str
    incarnation: int
    commits: int
    size: int
    rows: dict[str, int]
    newest: int | None
    halted: bool
    owners: dict[str, str]


def sqlite_file(url: str) -> Path:
    """The file of a SQLite store. Raises ConfigError for another database."""
    scheme, _, name = url.partition(":///")
    if not scheme.startswith("sqlite") or not name:
        hint = "pg_dump -Fc writes a backup of PostgreSQL, pg_restore brings it back; then start a kernel as usual"
        raise ConfigError("store.url", scheme, "is no SQLite file", hint)
    return Path(name)


def facts(path: Path, now: int) -> Facts:
    """What is in the file. ``now``: ms UTC. Raises StoreUnavailable where it is no store."""
    with _opened(path) as db:
        row = db.execute("SELECT store_id, incarnation, commit_seq, halted FROM store").fetchone()
        # A schema that no kernel has opened yet has no row of its own.
        store_id, incarnation, commits, halted = row or ("", 0, 0, None)
        (revision,) = _one(db, "SELECT version_num FROM alembic_version")
        rows = {name: _one(db, f"SELECT count(*) FROM {name}")[0] for name in _COUNTED}
        (newest,) = _one(db, "SELECT max(at) FROM event")
        owners = dict(db.execute("SELECT account, owner FROM account_lease WHERE expires_at > ?", (now,)).fetchall())
    return Facts(
        store_id, revision, incarnation, commits, path.stat().st_size, rows, newest, halted is not None, owners
    )


def back_up(path: Path, target: Path, progress: Progress) -> None:
    """Copy a store that may be in use, as it is at one moment, into a new file, and check the copy.

    ``progress`` is told how many pages of how many are copied. Raises ConfigError where the file is there already,
    StoreUnavailable where it cannot be written or read; then nothing is left of it."""
    if target.exists():
        raise ConfigError("backup", str(target), "is there already", "a backup never replaces another: name a new file")
    draft = target.with_name(f"{target.name}.part")
    draft.unlink(missing_ok=True)
    try:
        with _opened(path) as source:
            verdict = _copied(source, draft, progress)
        if verdict != "ok":
            raise StoreUnavailable(f"the copy of {path} is damaged: {verdict}; the store itself may be: exk verify")
        _sync(draft)
        draft.rename(target)
        _sync(target.parent)
    except OSError as error:
        raise StoreUnavailable(f"{target} could not be written: {error} (nothing is left of it)") from error
    finally:
        draft.unlink(missing_ok=True)


def _copied(source: sqlite3.Connection, draft: Path, progress: Progress) -> str:
    """What SQLite says of the copy: "ok". Raises OSError."""
    try:
        with contextlib.closing(sqlite3.connect(draft)) as copy:
            source.backup(copy, pages=_PAGES, progress=lambda _, left, pages: progress(pages - left, pages))
            copy.execute("PRAGMA journal_mode = DELETE")
            return str(_one(copy, "PRAGMA integrity_check")[0])
    except sqlite3.Error as error:
        raise OSError(str(error)) from error


def restore(path: Path, backup: Path, now: int) -> Path | None:
    """Put a backup in the place of a store. What stood there is kept beside it; its new name is returned, or None.

    The witness stays as it is, so the next start knows that commits may be lost and looks at every order before it
    sends anything (R32). ``now``: ms UTC. Raises ConfigError where the backup is another store's, or a process owns an
    account of the store that is to be replaced; StoreUnavailable where a file cannot be used."""
    found = facts(backup, now)
    kept: Path | None = None
    try:
        if path.exists():
            here = facts(path, now)
            if here.store_id != found.store_id:
                rule = f"is a backup of another store ({found.store_id}, here {here.store_id})"
                raise ConfigError("backup", str(backup), rule, "move the store that is here away first, if you mean it")
            if here.owners:
                owned = ", ".join(f"{account} ({owner})" for account, owner in here.owners.items())
                raise ConfigError("store", str(path), f"is in use: {owned}", "stop its kernels first")
            kept = _moved_away(path, now)
        draft = path.with_name(f"{path.name}.part")
        draft.write_bytes(backup.read_bytes())
        _sync(draft)
        draft.rename(path)
        _sync(path.parent)
    except OSError as error:
        raise StoreUnavailable(f"{backup} could not be put in the place of {path}: {error}") from error
    return kept


def _moved_away(path: Path, now: int) -> Path:
    # Everything in the log goes into the file first: what is moved is whole.
    with contextlib.closing(sqlite3.connect(path, timeout=2)) as db:
        try:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            db.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.Error as error:
            raise ConfigError("store", str(path), f"is in use ({error})", "stop every process that uses it") from error
    kept = path.with_name(f"{path.name}.replaced-{now}")
    path.rename(kept)
    for each in _BESIDE:
        path.with_name(path.name + each).unlink(missing_ok=True)
    return kept


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """Read only. Raises StoreUnavailable."""
    if not path.is_file():
        raise StoreUnavailable(f"{path}: there is no such file")
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=2)
    try:
        yield db
    except sqlite3.Error as error:
        raise StoreUnavailable(f"{path} is no store of this kernel, or damaged: {error}") from error
    finally:
        db.close()


def _one(db: sqlite3.Connection, text: str) -> tuple[Any, ...]:
    row: tuple[Any, ...] | None = db.execute(text).fetchone()
    if row is None:
        raise sqlite3.DatabaseError("a row that every store has is not there")
    return row


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
