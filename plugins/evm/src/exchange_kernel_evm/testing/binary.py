"""Anvil, the node of the test chain: found on the machine, or fetched once as a single program file."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tarfile
from pathlib import Path
from typing import Final

from exchange_kernel_evm.testing.cache import cached
from exchange_kernel_evm.testing.errors import TestChainError
from exchange_kernel_evm.testing.npm import pack

__all__ = ["ANVIL_VARIABLE", "ANVIL_VERSION", "anvil_package", "find_anvil"]

ANVIL_VARIABLE: Final = "EXK_ANVIL"
ANVIL_VERSION: Final = "1.7.1"
_SYSTEMS: Final = {"linux": "linux", "darwin": "darwin"}
_MACHINES: Final = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_MEMBER: Final = "package/bin/anvil"


def anvil_package(system: str = sys.platform, machine: str | None = None) -> str:
    """The npm package, with its version, that carries Anvil for a platform.

    :raises TestChainError: there is none; `$EXK_ANVIL` may name a program built otherwise.
    """
    machine = (machine or platform.machine()).lower()
    if system not in _SYSTEMS or machine not in _MACHINES:
        raise TestChainError(
            f"no Anvil is fetched for {system} on {machine}, only for Linux and macOS on amd64 and arm64: "
            f"install Anvil yourself and put it on PATH, or name it in ${ANVIL_VARIABLE}"
        )
    return f"@foundry-rs/anvil-{_SYSTEMS[system]}-{_MACHINES[machine]}@{ANVIL_VERSION}"


def find_anvil() -> Path:
    """Anvil's program file: `$EXK_ANVIL`, else of PATH, else of the cache, into which npm fetches it once.

    :raises TestChainError: it is in none of these places and cannot be fetched; the message says what to do.
    """
    if named := os.environ.get(ANVIL_VARIABLE):
        if not os.access(named, os.X_OK) or not Path(named).is_file():
            raise TestChainError(
                f"${ANVIL_VARIABLE} is {named!r}, which is no program that can be run: name Anvil's program file, or "
                "unset the variable to have it looked for on PATH and fetched otherwise"
            )
        return Path(named)
    if on_path := shutil.which("anvil"):
        return Path(on_path)
    package = anvil_package()
    name = package.partition("/")[2].replace("@", "-")

    def fetch(folder: Path) -> None:
        try:
            archive = pack(package, folder)
            with tarfile.open(archive) as tar:
                source = tar.extractfile(_MEMBER)
                assert source is not None
                with (folder / "anvil").open("wb") as target:
                    shutil.copyfileobj(source, target)
        except (TestChainError, tarfile.TarError, KeyError) as error:
            raise TestChainError(
                f"Anvil is not here and could not be fetched: {error}\nEither make `npm pack {package}` work, or "
                f"install Anvil {ANVIL_VERSION} yourself and put it on PATH, or name it in ${ANVIL_VARIABLE}"
            ) from error
        archive.unlink()
        (folder / "anvil").chmod(0o755)

    return cached(name, fetch) / "anvil"
