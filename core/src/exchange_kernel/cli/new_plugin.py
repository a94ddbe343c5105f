"""``exk new-plugin``: a venue's plugin that works, to begin from."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import click

from exchange_kernel import __version__
from exchange_kernel.cli.exits import Failed
from exchange_kernel.cli.output import clean
from exchange_kernel.errors import ConfigError

KINDS = {"cex": "exchange", "dex": "chain with an exchange on it"}
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", re.ASCII).fullmatch
_LONGEST = 24
"""Characters of a name: a venue's may have 32, and it stands in client ids and identities."""
_OURS = ("paper",)
"""Plugins of this project: installing another distribution of that name would replace them."""
_SUFFIX = ".in"
"""At the end of a template's name where a tool would take it for a file of this project; dropped."""


@click.command("new-plugin")
@click.argument("name")
@click.option("--kind", type=click.Choice(list(KINDS)), required=True, help="A central exchange, or one on a chain.")
@click.option(
    "--into",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    show_default="this folder",
    help="Where the package's folder is made.",
)
def command(name: str, kind: str, into: Path) -> None:
    """Write the package exchange-kernel-NAME: a venue that installs, is found, trades on a stand-in of its own, and
    passes the conformance cases before a line of it was changed.
    """
    check_name(name)
    target = into / f"exchange-kernel-{name}"
    if target.exists():
        raise Failed(f"{clean(target)} exists: choose another name, or another folder with --into", 2)
    written = dict(render(name, kind))
    try:
        for path, text in written.items():
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (target / path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise Failed(f"{clean(target)} cannot be written: {error.strerror}", 1) from None
    click.echo(f"{len(written)} files in {clean(target)}")
    click.echo(
        f"\nNext:\n"
        f"  cd {clean(target)}\n"
        f'  python -m pip install -e ".[testing]"    # or: uv pip install -e ".[testing]"\n'
        f"  exk plugins list\n"
        f"  exk conformance run {name}\n"
        f"  pytest"
    )


def check_name(name: str) -> None:
    """May a new plugin have this name? Raises ConfigError."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-").removeprefix("exchange-kernel-")
    if not _NAME(name) or name.startswith("exchange-kernel"):
        rule = "must be lower-case letters and digits, with single dashes between them, beginning with a letter"
        legal = _NAME(plain) and not plain.startswith("exchange-kernel")
        raise ConfigError("name", name, rule, f"for example {plain}" if legal else "")
    if name in _OURS:
        raise ConfigError("name", name, f"is taken by exchange-kernel-{name}, which belongs to the core")
    if len(name) > _LONGEST:
        raise ConfigError("name", name, f"has more than {_LONGEST} characters", "it is typed often")
    from exchange_kernel.plugins import load

    for plugin in load().found:
        if name in (plugin.name, *(spec.name for spec in plugin.venues)):
            raise ConfigError("name", name, f"is taken by {plugin.distribution}, which is installed here")
    if importlib.util.find_spec(_package(name)) is not None:
        raise ConfigError("name", name, f"is taken: a package {_package(name)} is installed here")


def render(name: str, kind: str) -> Iterator[tuple[str, str]]:
    """The files of a new plugin, path within its folder and text. Pure: nothing is written."""
    words = {
        "exchange-kernel-myvenue": f"exchange-kernel-{name}",
        "exchange_kernel_myvenue": _package(name),
        "MYVENUE": name.replace("-", "_").upper(),
        "MyVenue": "".join(part.capitalize() for part in name.split("-")),
        "myvenue": name,
        "@CORE@": core_range(__version__),
        "@VENUE@": KINDS[kind],
        'kind="cex"': f'kind="{kind}"',
    }
    # One pass, longest first: what was put in is never replaced again.
    pattern = re.compile("|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)))

    def filled(text: str) -> str:
        return pattern.sub(lambda found: words[found[0]], text)

    for folder in ("common", kind):
        for path, text in _walk(files("exchange_kernel") / "scaffold" / folder, ""):
            yield filled(path.removesuffix(_SUFFIX)), filled(text)


def core_range(version: str) -> str:
    """The versions of the core a plugin made with this one asks for: up to the next that may break it."""
    major, minor = (int(part) for part in version.split(".")[:2])
    return f">={major}.{minor},<{major}.{minor + 1}" if major == 0 else f">={major}.{minor},<{major + 1}"


def _package(name: str) -> str:
    return "exchange_kernel_" + name.replace("-", "_")


def _walk(folder: Traversable, path: str) -> Iterator[tuple[str, str]]:
    for each in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if each.name == "__pycache__":
            continue
        if each.is_dir():
            yield from _walk(each, f"{path}{each.name}/")
        else:
            yield f"{path}{each.name}", each.read_text(encoding="utf-8")
