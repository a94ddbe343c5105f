"""`python -m exchange_kernel_binance.simulator` as a process: addresses, config, market maker, TLS, stopping."""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import aiohttp


def test_it_serves_until_it_is_stopped(tmp_path: Path) -> None:
    """It prints its addresses, keeps a book in the config's symbol, speaks TLS with its own CA, and ends on SIGTERM."""
    settings = tmp_path / "binance.toml"
    settings.write_text(
        'seed = 5\n[[spot]]\nsymbol = "AAABBB"\nbase = "AAA"\nquote = "BBB"\nlast_price = "100"\n'
        '[[accounts]]\nname = "carol"\nbalances = {BBB = "1000"}\n[market_maker]\nlevels = 3\n'
    )
    command = [sys.executable, "-m", "exchange_kernel_binance.simulator", "--config", str(settings)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            told: dict[str, Any] = json.loads(process.stdout.readline())

            async def look() -> Any:
                trusted = ssl.create_default_context(cafile=told["ca_file"])
                async with (
                    aiohttp.ClientSession() as session,
                    session.get(f"{told['tls_url']}/api/v3/depth?symbol=AAABBB", ssl=trusted) as reply,
                ):
                    return await reply.json()

            book = asyncio.run(look())
            assert (len(book["bids"]), len(book["asks"])) == (3, 3)
            assert list(told["accounts"]) == ["carol"]
            assert len(told["accounts"]["carol"]["secret"]) == 64
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert not Path(told["ca_file"]).exists()


def test_a_bad_config_is_named(tmp_path: Path) -> None:
    """A setting that doesn't exist, or an amount that would be rounded, ends it with 2 and the setting's name."""
    for text, named in (("sed = 1", "sed"), ('[[spot]]\nsymbol = "A"\nlast_price = 0.1', "spot.last_price")):
        settings = tmp_path / "binance.toml"
        settings.write_text(text)
        command = [sys.executable, "-m", "exchange_kernel_binance.simulator", "--config", str(settings)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        assert (done.returncode, named in done.stderr) == (2, True)
