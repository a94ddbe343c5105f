"""``exk binance sim``: the simulated Binance from the shell."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click


@click.group("binance")
def command() -> None:
    """What the Binance plugin brings besides its venue."""


@command.command("sim")
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="TOML with symbols and accounts; else three symbols.",
)
@click.option("--seed", type=int, help="Decides ids, keys and the market maker's moves.")
@click.option("--market-maker", is_flag=True, help="Keep a book in every spot symbol.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, help="Plain HTTP and WebSocket; a free one by default."
)
@click.option("--tls-port", type=click.IntRange(0, 65535), default=0, help="The same with TLS for *.binance.com.")
@click.option("--admin-port", type=click.IntRange(0, 65535), default=0, help="Faults and the truth.")
def simulate(
    config: Path | None, seed: int | None, market_maker: bool, port: int, tls_port: int, admin_port: int
) -> None:
    """A Binance on the loopback interface, until interrupted.

    The first line that it prints is JSON with every address and key. Nothing is sent to Binance; nothing survives its
    end.
    """
    # Imported when it runs: `--help` needs none of it.
    from exchange_kernel_binance.simulator.config import BadConfig, MakerConfig, load_config, standard_config
    from exchange_kernel_binance.simulator.serving import serve

    try:
        settings = load_config(config) if config else standard_config()
    except (BadConfig, OSError) as error:
        raise click.UsageError(str(error)) from None
    if seed is not None:
        settings.seed = seed
    if market_maker and settings.market_maker is None:
        settings.market_maker = MakerConfig()
    asyncio.run(serve(settings, port, tls_port, admin_port))
