"""The code that people read first runs: the seed's usage pattern, and the README's lines."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

from examples.seed_usage import main

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_usage_pattern_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Place, query, modify, cancel and look at positions and balances, on the paper venue's BTC/USD."""
    asyncio.run(main(tmp_path))
    said = capsys.readouterr().out

    assert "desired: BUY 1 at 50000, ACTIVE" in said
    assert "actual: WORKING, 0 filled" in said
    assert "positions: [('BTC/USD', '0.8')]" in said
    assert "('BTC', '3.8')" in said
    kinds = re.findall(r"event \d+: (\w+)", said)
    assert {"IntentCreated", "OrderSubmitted", "OrderAccepted", "IntentModified", "OrderFilled"} <= set(kinds)
    assert {"PositionOpened", "CancelRequested", "OrderCanceled", "AccountBalanceUpdated"} <= set(kinds)


def test_the_readme_s_code_runs_as_it_stands(tmp_path: Path) -> None:
    """The lines of the README, copied into a file in an empty folder, do what they say."""
    block = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block is not None
    done = subprocess.run([sys.executable, "-c", block[1]], cwd=tmp_path, capture_output=True, text=True, timeout=60)

    assert done.returncode == 0, done.stderr
    assert "OrderIntent(account='paper_main'" in done.stdout
    assert "OrderState(account='paper_main'" in done.stdout
    assert "CancelRequested(" in done.stdout
    assert len(block[1].splitlines()) <= 30
