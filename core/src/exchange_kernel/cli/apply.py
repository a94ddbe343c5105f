"""``exk apply``: make the store say what order files say."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from exchange_kernel.cli.desk import account_option, config_option, desk, forms_option, run, tell
from exchange_kernel.cli.exits import Failed
from exchange_kernel.cli.output import as_json, clean, show

COLUMNS = ("action", "account", "name", "symbol", "side", "amount", "price", "changes")
PREVIEW = ("action", "account", "name", "would_send", "costs_at_most", "warnings")
FILES = click.option(
    "-f", "--file", "files", multiple=True, required=True, metavar="FILE", help="A file, a folder, or - for stdin."
)


@click.command("apply")
@FILES
@config_option
@account_option
@click.option(
    "--dry-run",
    "dry",
    type=click.Choice(["none", "client", "server"]),
    default="none",
    help="client: only read the files. server: also compare with the store, and ask the venue what would be sent.",
)
@click.option("--prune", is_flag=True, help="Cancel what files made before, -l chooses, and these files do not name.")
@click.option("-l", "--selector", help="With --prune: labels, like app=mean-rev,stage!=test.")
@forms_option
@run
async def command(
    files: tuple[str, ...],
    config_path: Path,
    account: str | None,
    dry: str,
    prune: bool,
    selector: str | None,
    form: str,
) -> None:
    """Make the store say what order files say: exk apply -f orders/

    An order's name is its intent: new ones are declared, equal ones left alone, changed ones modified. What is finished
    is never changed, and never made again under its name. Everything in a file is written at once, or nothing of it;
    files are read and checked, all of them, before anything is written, and every error is told with its place. It may
    be repeated as often as you like.
    """
    from exchange_kernel.cli import applying
    from exchange_kernel.manifests import ManifestError
    from exchange_kernel.orders.selector import Selector

    if prune != (selector is not None):
        raise click.UsageError("--prune and -l go together: pruning takes only what -l chooses")
    chosen = None if selector is None else Selector.parse(selector)
    try:
        declared = read(files, account, config_path)
        if dry == "client":
            rows = [applying.Ready(applying.Step(applying.Action.CREATE, each, None)).row("read") for each in declared]
            show(rows, COLUMNS, form, "no orders", name="name", kind="order")
            return
        async with desk(config_path, make=dry == "none") as at, applying.counters(at) as shops:
            if dry == "server":
                found = await applying.ready(at, shops, declared, preview=True)
            else:
                found = await applying.apply(at, shops, declared)
            rows = [each.row() for each in found]
            if chosen is not None:
                rows += await applying.prune(at, declared, chosen, dry=dry == "server")
            written = sorted({row["account"] for row in rows if row["action"] != "unchanged"})
            remark = await at.when(written) if dry == "none" else "nothing was written or sent (--dry-run)"
    except ManifestError as error:
        raise refused(error, form) from None
    show(rows, PREVIEW if dry == "server" else COLUMNS, form, "no orders", name="name", kind="order")
    if form in ("table", "wide"):
        for row in rows:
            if row.get("plan"):
                click.echo(f"{clean(row['name'])}: {clean(row['plan'])}")
        tell(counted(rows))
    tell(remark)


def read(files: tuple[str, ...], account: str | None, config_path: Path) -> list[Any]:
    """The orders of the files; those that name no account are the named one's, or the only one's."""
    from exchange_kernel.config import load
    from exchange_kernel.manifests import find_files, read_manifests

    stdin = sys.stdin.buffer.read(4_194_305) if "-" in files else None
    if account is None:
        accounts = list(load(config_path).accounts)
        account = accounts[0] if len(accounts) == 1 else None
    return read_manifests(find_files(files, stdin), account)


def counted(rows: list[dict[str, Any]]) -> str:
    """``3 created, 1 unchanged``."""
    actions = [row["action"] for row in rows]
    return ", ".join(f"{actions.count(action)} {action}" for action in dict.fromkeys(actions))


def refused(error: Any, form: str) -> Failed:
    """All that is wrong: lines, or JSON where programs read."""
    if form in ("json", "jsonl", "yaml"):
        return Failed(as_json({"errors": [each.to_dict() for each in error.faults]}, indent=None), 3)
    lines = [clean(line) for line in str(error).splitlines()]
    click.echo("\n".join(lines), err=True)
    count = len(error.faults)
    return Failed(f"{count} error{'s' if count != 1 else ''}; nothing was written", 3)
