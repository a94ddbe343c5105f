"""A simulated Binance as a process of its own."""

from __future__ import annotations

import asyncio
import json
import signal

import click

from exchange_kernel_binance.simulator.config import SimulatorConfig
from exchange_kernel_binance.simulator.server import Simulator

__all__ = ["serve"]


async def serve(config: SimulatorConfig, port: int = 0, tls_port: int = 0, admin_port: int = 0) -> None:
    """Serve until SIGINT or SIGTERM; the first line on stdout is JSON with every address and key."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    simulator = Simulator(config)
    await simulator.start(port, tls_port, admin_port)
    try:
        click.echo(
            json.dumps(
                {
                    "url": simulator.url,
                    "ws_url": simulator.ws_url,
                    "tls_url": simulator.tls_url,
                    "admin_url": simulator.admin_url,
                    "ca_file": str(simulator.ca_file),
                    "accounts": {
                        name: {"key": key.key, "secret": key.secret} for name, key in simulator.keys_of.items()
                    },
                }
            )
        )
        await stopped.wait()
    finally:
        await simulator.close()
