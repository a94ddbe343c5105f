"""`python -m exchange_kernel_binance.simulator`: a Binance on the loopback interface until it is stopped."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from exchange_kernel_binance.simulator.config import (
    BadConfig,
    MakerConfig,
    SimulatorConfig,
    load_config,
    standard_config,
)
from exchange_kernel_binance.simulator.server import Simulator


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser("exchange_kernel_binance.simulator", description=__doc__)
    parser.add_argument("--config", type=Path, help="TOML with symbols and accounts; three symbols without it")
    parser.add_argument("--seed", type=int, help="decides ids, keys and the market maker's moves")
    parser.add_argument("--market-maker", action="store_true", help="keep a book in every symbol")
    parser.add_argument("--port", type=int, default=0, help="plain HTTP and WebSocket; a free one by default")
    parser.add_argument("--tls-port", type=int, default=0, help="the same with TLS for *.binance.com")
    parser.add_argument("--admin-port", type=int, default=0, help="faults and the truth")
    return parser.parse_args(argv)


async def run(config: SimulatorConfig, options: argparse.Namespace) -> None:
    """Serve until SIGINT or SIGTERM; the first line on stdout is JSON with every address and key."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    simulator = Simulator(config)
    await simulator.start(options.port, options.tls_port, options.admin_port)
    try:
        print(
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
            ),
            flush=True,
        )
        await stopped.wait()
    finally:
        await simulator.close()


def main(argv: Sequence[str] | None = None) -> int:
    """:returns: 0, or 2 where the config can't be read."""
    options = arguments(sys.argv[1:] if argv is None else argv)
    try:
        config = load_config(options.config) if options.config else standard_config()
    except (BadConfig, OSError) as error:
        print(f"simulator: {error}", file=sys.stderr)
        return 2
    if options.seed is not None:
        config.seed = options.seed
    if options.market_maker and config.market_maker is None:
        config.market_maker = MakerConfig()
    asyncio.run(run(config, options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
