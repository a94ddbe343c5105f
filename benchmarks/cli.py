"""What the shell waits for. ``python -m benchmarks.cli``: least of five runs each, beside an empty Python."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.ground import Table

ORDERS = 2_000


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cli", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="on the disk to measure")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="exk-bench-", dir=options.folder) as made:
        run(Path(made))


def run(folder: Path) -> None:
    """Measure in this folder."""
    exk = str(Path(sys.executable).with_name("exk"))
    (folder / "exk.yaml").write_text(
        "accounts: {paper_main: {venue: paper, mode: paper, config: {balances: {USD: 100000000}}}}\n"
    )
    table = Table("The shell")
    table.start()
    plain = _least([sys.executable, "-c", "pass"], folder)
    table.add("an empty Python", f"{plain:.3f} s", "", "1")

    def row(what: str, budget: float | None, *arguments: str, runs: int = 5) -> None:
        seconds = _least([exk, *arguments], folder, runs)
        met = None if budget is None else seconds <= budget
        said = "" if budget is None else f"≤ {budget} s"
        table.add(what, f"{seconds:.3f} s", said, f"{seconds / plain:.1f}x an empty Python", met)

    row("exk --help", 0.15, "--help")
    row("exk binance --help (a plugin's command)", None, "binance", "--help")
    _write(folder / "orders.yaml", "2000")
    row(f"exk apply of {ORDERS:,} new orders in one file", 3.0, "apply", "-f", "orders.yaml", "-o", "name", runs=1)
    row(f"exk apply of the same {ORDERS:,} again", 3.0, "apply", "-f", "orders.yaml", "-o", "name")
    row(f"exk diff of {ORDERS:,}", None, "diff", "-f", "orders.yaml")
    _write(folder / "orders.yaml", "2001")
    row(f"exk apply of {ORDERS:,} changed ones", 3.0, "apply", "-f", "orders.yaml", "-o", "name", runs=1)
    (folder / "bomb.yaml").write_text("[" * 30_000)
    row("exk apply of a file of 30,000 brackets, refused", None, "apply", "-f", "bomb.yaml")
    row(f"exk get intents, {ORDERS:,} of them", None, "get", "intents")
    row("exk get positions, on the store", 0.6, "get", "positions")


def _write(path: Path, price: str) -> None:
    documents = (
        "apiVersion: exchange-kernel/v1\nkind: Order\n"
        f"metadata: {{name: o{number}, account: paper_main, labels: {{app: bench}}}}\n"
        f'spec: {{symbol_id: BTC/USD, side: BUY, amount: "0.01", limit_price: "{price}"}}\n'
        for number in range(ORDERS)
    )
    path.write_text("---\n".join(documents))


def _least(command: list[str], folder: Path, runs: int = 5) -> float:
    best = float("inf")
    for _ in range(runs):
        began = time.perf_counter()
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        best = min(best, time.perf_counter() - began)
        refused = "bomb.yaml" in command
        if done.returncode != (3 if refused else 0):
            raise SystemExit(f"{' '.join(command)} failed: {done.stderr}")
    return best


if __name__ == "__main__":
    main()
