"""Finding and loading three healthy plugins, in a fresh process. ``python -m benchmarks.plugins``.

The time is that of a Python that imports the loader, scans and loads, less that of one that does nothing; the bytecode
is there, as it is after the first run. Best of ten: the machine may be busy with something else.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BUDGET_MS = 150
RUNS = 10
LIBRARIES = ("ccxt", "web3")
LOAD = (
    "import sys; from exchange_kernel.plugins import load; found = load().found;"
    "assert len(found) >= 3 and all(each.status == 'ok' for each in found), found;"
    f"loaded = [name for name in {LIBRARIES!r} if name in sys.modules]; assert not loaded, loaded"
)
PLUGIN = """
from exchange_kernel.plugins import VenueSpec, hookimpl

@hookimpl
def exk_venues():
    return [VenueSpec("{name}", "Benchmark", "sim", "{name}.adapter:Adapter")]
"""


def publish(folder: Path, name: str) -> None:
    """An installed distribution with one plugin."""
    (folder / f"exk_{name}.py").write_text(PLUGIN.format(name=name))
    info = folder / f"exchange_kernel_{name}-1.0.dist-info"
    info.mkdir()
    lines = ("Metadata-Version: 2.1", f"Name: exchange-kernel-{name}", "Version: 1.0")
    (info / "METADATA").write_text("\n".join([*lines, "Requires-Dist: exchange-kernel>=0.1,<0.2", ""]))
    (info / "entry_points.txt").write_text(f"[exchange_kernel]\n{name} = exk_{name}\n")


def milliseconds(program: str, environment: dict[str, str]) -> float:
    """The quickest of several runs of a fresh Python."""
    times = []
    for _ in range(RUNS):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", program], check=True, env=environment)
        times.append(time.perf_counter() - began)
    return min(times) * 1000


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for plugin in ("bench_a", "bench_b", "bench_c"):
            publish(folder, plugin)
        environment = {key: value for key, value in os.environ.items() if not key.startswith("EXK_")}
        environment |= {"PYTHONPATH": name, "PYTHONPYCACHEPREFIX": str(folder / "pyc")}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        empty, imported = milliseconds("pass", environment), milliseconds("import exchange_kernel.plugins", environment)
        loaded = milliseconds(LOAD, environment)
    print(f"an empty Python                      {empty:6.0f} ms")
    print(f"importing the loader                 {imported - empty:6.0f} ms")
    print(f"trying, loading and asking plugins   {loaded - imported:6.0f} ms")
    verdict = "yes" if loaded - empty <= BUDGET_MS else "no"
    print(f"together                             {loaded - empty:6.0f} ms of {BUDGET_MS} ms: {verdict}")
    print(f"neither {' nor '.join(LIBRARIES)} was imported")


if __name__ == "__main__":
    main()
