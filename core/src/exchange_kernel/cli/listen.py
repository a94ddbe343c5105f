"""Where a command serves the HTTP API, if it does."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

import click

from exchange_kernel.errors import ConfigError
from exchange_kernel.platform import Platform

DEFAULT = "127.0.0.1:8420"

Serving = Callable[[Platform], AbstractAsyncContextManager[Any]]


def listen_options(*, required: bool) -> Callable[[Any], Any]:
    """Where to listen, and with which certificate. ``required``: it listens anyway."""
    file = click.Path(dir_okay=False, path_type=Path)
    made = (
        click.option(
            "--listen",
            "address",
            metavar="HOST:PORT",
            default=DEFAULT if required else None,
            show_default=required,
            help="Serve the HTTP API here. What others reach needs a certificate and a token.",
        ),
        click.option("--tls-cert", "cert", type=file, help="Certificate of the HTTP API, PEM."),
        click.option("--tls-key", "key", type=file, help="Its key, PEM."),
        click.option("--name", "names", multiple=True, help="A further name by which clients call it."),
    )

    def add(command: Any) -> Any:
        for option in reversed(made):
            command = option(command)
        return command

    return add


def listening(
    address: str | None, cert: Path | None, key: Path | None, names: tuple[str, ...], *, probes: bool = False
) -> Serving:
    """Serves a platform as these options say; ``probes``: only what tells how it stands. Raises ConfigError, before
    anything is started."""
    if address is None:
        if cert or key or names:
            raise ConfigError("listen", "(nothing)", "is required with --tls-cert, --tls-key and --name")
        return lambda _: nullcontext()
    try:
        from exchange_kernel.api.serve import Listen, serve
    except ImportError as error:
        rule = f"needs {error.name}"
        raise ConfigError("listen", address, rule, "pip install 'exchange-kernel[server]'") from None
    where = Listen.parse(address, cert, key, names)

    @asynccontextmanager
    async def serving(platform: Platform) -> AsyncIterator[None]:
        async with serve(platform, where, probes=probes) as url:
            click.echo(f"{'probes are' if probes else 'the API is'} at {url}")
            yield

    return serving
