"""``exk db``: the store's schema, its backups, and what is in it."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from exchange_kernel.cli.desk import config_option, missing_file, output_option
from exchange_kernel.cli.exits import Failed
from exchange_kernel.cli.output import as_json, utc
from exchange_kernel.clock import SystemClock
from exchange_kernel.config import load


@click.group("db")
def command() -> None:
    """Look after the store: its schema, which nothing changes unasked, and its backups."""


@command.command("upgrade")
@config_option
def upgrade(config_path: Path) -> None:
    """Bring the store to this release's schema, or make it. Stop its processes and back it up first."""
    from exchange_kernel.state.sql import upgrade as bring_up

    config = load(config_path)
    click.echo("upgrading the store …")
    bring_up(config.store_url)
    click.echo("the store has this release's schema")


@command.command("status")
@config_option
@output_option
def status(config_path: Path, form: str) -> None:
    """What is in the store: its schema, size, rows, newest event, and which processes own accounts."""
    from exchange_kernel.state.sql.backup import facts, sqlite_file

    path, now = sqlite_file(_there(config_path)), SystemClock().now_ms()
    found = facts(path, now)
    said = {
        "file": str(path),
        "store": found.store_id,
        "schema": found.revision,
        "size": found.size,
        "commits": found.commits,
        "restored": found.incarnation,
        "newest_event": utc(found.newest),
        "halted": found.halted,
        "owners": found.owners,
        "rows": found.rows,
    }
    if form == "json":
        click.echo(as_json(said))
        return
    for name, value in said.items():
        if isinstance(value, dict):
            value = ", ".join(f"{each} {of}" for each, of in value.items()) or "-"
        click.echo(f"{name.replace('_', ' '):13} {value}")


@command.command("backup")
@click.argument("target", type=click.Path(dir_okay=False, path_type=Path))
@config_option
def backup(target: Path, config_path: Path) -> None:
    """Copy the store into a new file, as it is at one moment, while its kernels run. The copy is checked.

    A backup holds no key. For PostgreSQL use pg_dump.
    """
    from exchange_kernel.state.sql.backup import back_up, sqlite_file

    path = sqlite_file(_there(config_path))
    with click.progressbar(
        length=100, label="copying", show_eta=False, file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:
        done = 0

        def progress(copied: int, pages: int) -> None:
            nonlocal done
            percent = 100 * copied // max(1, pages)
            bar.update(percent - done)
            done = percent

        back_up(path, target, progress)
    click.echo(f"{target}: {target.stat().st_size} bytes, checked")


@command.command("restore")
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@config_option
def restore(source: Path, config_path: Path) -> None:
    """Put a backup in the store's place; what stood there is kept beside it. Stop every kernel first.

    The next start knows that commits are missing: every account is RECOVERING until each of its orders at the venue has
    been looked at, and nothing is sent twice. What the backup does not know is parked, or reported as foreign.
    """
    from exchange_kernel.state.sql.backup import restore as put_back
    from exchange_kernel.state.sql.backup import sqlite_file

    path = sqlite_file(load(config_path).store_url)
    kept = put_back(path, source, SystemClock().now_ms())
    if kept is not None:
        click.echo(f"what stood there is {kept}")
    click.echo(f"{path} is the backup now; the next start recovers")


def _there(config_path: Path) -> str:
    url = load(config_path).store_url
    missing = missing_file(url)
    if missing:
        raise Failed(f"there is no store at {missing} yet: `exk run` makes it", 5)
    return url
