"""``exk demo``: orders, faults, a ``kill -9`` in the middle, and the proof from the venue's own ledger."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import click

from exchange_kernel.cli.desk import run
from exchange_kernel.cli.exits import Failed


@click.command("demo")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), help="Keep all that it makes in this folder.")
@click.option("--seed", type=click.IntRange(0), default=1, help="Of the venue's faults.", show_default=True)
@run
async def command(keep: Path | None, seed: int) -> None:
    """See it work, in half a minute: a paper exchange and a kernel, each a process of its own; a handful of orders of
    different kinds; lost, late and doubled messages; the kernel killed with orders in flight, and started again. Then
    the exchange's own ledger is compared with what the kernel believes, order by order.

    Exits 1 if anything differs. Leaves nothing behind.
    """
    from exchange_kernel.cli.demo.play import Demo

    with contextlib.ExitStack() as stack:
        if keep is None:
            made = tempfile.TemporaryDirectory(prefix="exk-demo-", ignore_cleanup_errors=True)
            folder = Path(stack.enter_context(made))
        else:
            folder = _empty(keep)
        agrees = await Demo(folder, seed).play()
    if keep is not None:
        click.echo(f"kept in {keep}: look around with `exk get orders -c {keep / 'exk.yaml'}`")
    if not agrees:
        raise click.exceptions.Exit(1)


def _empty(folder: Path) -> Path:
    if folder.exists() and any(folder.iterdir()):
        raise Failed(f"{folder} is not empty", 2)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
