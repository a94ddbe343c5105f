"""Installing and removing plugins: which distributions are meant, and the command that does it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from exchange_kernel.errors import ConfigError
from exchange_kernel.plugins.compat import CORE, canonical

_NAME = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(\[[^\]]*\])?\s*([<>=!~].*)?", re.ASCII).fullmatch
_ARCHIVES = (".whl", ".tar.gz", ".zip")


def distribution(name: str, *, exact: bool = False) -> str:
    """The distribution that a short name means: ``binance`` is ``exchange-kernel-binance``. ``exact``: it is no short
    name. Raises ConfigError for what is no name, and for the core's own."""
    return _requirement(name, exact, "")


def target(wanted: str, *, exact: bool = False) -> str:
    """What to tell an installer: a distribution, with its version if one was given, or a path or an address as it is.

    Raises ConfigError."""
    if "://" in wanted or " @ " in wanted:
        return wanted
    if "/" in wanted or "\\" in wanted or wanted.endswith(_ARCHIVES) or wanted in (".", ".."):
        path = Path(wanted).expanduser()
        if not path.exists():
            raise ConfigError("plugin", wanted, "there is no such file or folder")
        return str(path.resolve())
    found = _NAME(wanted)
    return _requirement(found[1] if found else wanted, exact, (found[2] or "") + (found[3] or "") if found else "")


def _requirement(name: str, exact: bool, rest: str) -> str:
    if _NAME(name) is None:
        raise ConfigError(
            "plugin", name, "is no name of a distribution", "for example binance, or exchange-kernel-binance"
        )
    plain = canonical(name)
    if plain == CORE:
        raise ConfigError("plugin", name, "is the core, and no plugin", "upgrade it with what installed it")
    return f"{name if exact else plain if plain.startswith(f'{CORE}-') else f'{CORE}-{plain}'}{rest}"


def installer() -> list[str]:
    """The beginning of an installer's command for this Python: uv where it works, else pip. Raises ConfigError."""
    uv = shutil.which("uv")
    if uv is not None and _works([uv, "--version"]):
        return [uv, "pip"]
    if _works([sys.executable, "-m", "pip", "--version"]):
        return [sys.executable, "-m", "pip"]
    hint = "install uv, or pip with: python -m ensurepip"
    raise ConfigError("installer", "(none)", f"neither uv nor pip works for {sys.executable}", hint)


def _works(command: list[str]) -> bool:
    """Does it answer? A version manager may put a uv on the path that has nothing behind it."""
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def install_command(tool: Sequence[str], targets: Sequence[str], constraints: Path) -> list[str]:
    """The command that installs ``targets`` and moves nothing that ``constraints`` pins."""
    return [*tool, "install", *_python(tool), "--constraint", str(constraints), *targets]


def uninstall_command(tool: Sequence[str], names: Sequence[str]) -> list[str]:
    """The command that removes distributions, without another question."""
    return [*tool, "uninstall", *_python(tool), *(() if _python(tool) else ("--yes",)), *names]


def _python(tool: Sequence[str]) -> list[str]:
    return ["--python", sys.executable] if tool[-2:] != ["-m", "pip"] else []


def pinned_core() -> str:
    """The constraint that keeps an installer from moving the core that is running: no plugin may do that."""
    return f"{CORE}=={version(CORE)}"
