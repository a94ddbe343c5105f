"""``exk demo``: orders, faults, a ``kill -9`` in the middle, and the proof from the venue's own ledger."""

from __future__ import annotations

import contextlib
import tempfile
from importlib.util import find_spec
from pathlib import Path

import click

from exchange_kernel.cli.desk import run
from exchange_kernel.cli.exits import Failed


@click.command("demo")
@click.option("--keep", type=click.Path(file_okay=False, path_type=Path), help="Keep all that it makes in this folder.")
@click.option("--seed", type=click.IntRange(0), default=1, help="Of what is random at the venues.", show_default=True)
@click.option("--paper", is_flag=True, help="One account on a paper exchange: needs no other plugin and no download.")
@run
async def command(keep: Path | None, seed: int, paper: bool) -> None:
    """See it work, in a minute: Binance spot, Binance futures and Uniswap side by side, simulated Binance and a real
    Ethereum node with all of Uniswap on it, on this machine. Orders from files, lost, late and doubled messages, the
    kernel killed with orders in flight, and started again. Then Binance's own ledger and the chain's own blocks are
    compared with what the kernel believes, order by order.

    The first time an Ethereum node and Uniswap's contracts are downloaded. Exits 1 if anything differs. Leaves nothing
    behind.
    """
    if paper:
        from exchange_kernel.cli.demo.play import Demo as Play
    else:
        _need("exchange_kernel_binance", "exchange_kernel_uniswap")
        from exchange_kernel.cli.demo.mixed.play import MixedDemo as Play  # type: ignore[assignment]

    with contextlib.ExitStack() as stack:
        if keep is None:
            made = tempfile.TemporaryDirectory(prefix="exk-demo-", ignore_cleanup_errors=True)
            folder = Path(stack.enter_context(made))
        else:
            folder = _empty(keep)
        agrees = await Play(folder, seed).play()
    if keep is not None:
        click.echo(f"kept in {keep}: look around with `exk get orders -c {keep / 'exk.yaml'}`")
    if not agrees:
        raise click.exceptions.Exit(1)


def _need(*packages: str) -> None:
    missing = [name.replace("_", "-") for name in packages if find_spec(name) is None]
    if missing:
        raise Failed(
            f"{' and '.join(missing)} not installed: pip install 'exchange-kernel[testing]' {' '.join(missing)}, "
            "or see `exk demo --paper`",
            2,
        )


def _empty(folder: Path) -> Path:
    if folder.exists() and any(folder.iterdir()):
        raise Failed(f"{folder} is not empty", 2)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
