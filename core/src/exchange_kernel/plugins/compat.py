"""Whether a plugin goes with this core, from what its distribution requires: known before anything is imported."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

CORE = "exchange-kernel"

# A requirement without extras, marker and address, which is what nearly every one is.
_PLAIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)\s*\(?([^;@\[\]()]*)\)?", re.ASCII).fullmatch
_BOUND_ABOVE = ("<", "<=", "==", "===", "~=")
_RELEASE = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){0,9}", re.ASCII).fullmatch
_CLAUSE = re.compile(r"(>=|<=|>|<)\s*([0-9]{1,9}(?:\.[0-9]{1,9}){0,9})", re.ASCII).fullmatch
_COMPARED = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


def canonical(name: str) -> str:
    """A distribution's name as packaging tools compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


@dataclass(frozen=True, slots=True)
class Needs:
    """What a distribution asks of the core: ``spec`` ("" for anything), and in ``problem`` why this core is not it."""

    spec: str
    stated: bool
    bounded: bool
    problem: str = ""


def needs(requires: Iterable[str] | None, version: str) -> Needs:
    """What ``requires`` (lines of Requires-Dist) asks of the core, which is at ``version``."""
    return _needs(tuple(requires or ()), version)


@lru_cache(64)
def _needs(requires: tuple[str, ...], version: str) -> Needs:
    specs = []
    for line in requires:
        spec, problem = _of_core(line)
        if problem:
            return Needs("", stated=True, bounded=False, problem=problem)
        if spec is not None:
            specs.append(spec)
    if not specs:
        return Needs("", stated=False, bounded=False)
    text = ",".join(spec for spec in specs if spec)
    try:
        bounded, meets = _plainly(text, version) or _by_the_book(text, version)
    except ValueError as error:
        return Needs("", stated=True, bounded=False, problem=f"its requirement on {CORE} cannot be read: {error}")
    return Needs(text, True, bounded, "" if meets else f"needs {CORE}{text}, and this is {version}")


def _plainly(spec: str, version: str) -> tuple[bool, bool] | None:
    """Is it bounded above, and does ``version`` meet it? None where that takes more than comparing plain numbers.

    Importing packaging takes longer than finding and loading all plugins, and nearly every requirement is as plain."""
    ours = _release(version)
    if ours is None:
        return None
    bounded, meets = False, True
    for clause in spec.split(",") if spec else ():
        found = _CLAUSE(clause.strip())
        if found is None:
            return None
        theirs = _release(found[2])
        assert theirs is not None, "the pattern has plain numbers only"
        bounded = bounded or found[1].startswith("<")
        meets = meets and _COMPARED[found[1]](ours, theirs)
    return bounded, meets


def _release(version: str) -> tuple[int, ...] | None:
    """A plain version's numbers without trailing zeros, which do not count."""
    if not _RELEASE(version):
        return None
    numbers = [int(number) for number in version.split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def _by_the_book(spec: str, version: str) -> tuple[bool, bool]:
    """The same for every specifier there is (PEP 440). Raises ValueError for what is none."""
    from packaging.specifiers import SpecifierSet

    wanted = SpecifierSet(spec)
    bounded = any(each.operator in _BOUND_ABOVE for each in wanted)
    return bounded, wanted.contains(version, prereleases=True)


def _of_core(line: str) -> tuple[str | None, str]:
    """The version specifier of a requirement if it is one on the core and applies here, and what is wrong with it."""
    name = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", line, re.ASCII)
    if name is None or canonical(name[1]) != CORE:
        return None, ""
    plain = _PLAIN(line.strip())
    if plain is not None:
        return plain[2].strip(), ""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(line)
    except InvalidRequirement as error:
        return None, f"its requirement on {CORE} cannot be read: {str(error).partition(chr(10))[0]}"
    if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
        return None, ""
    return str(requirement.specifier), ""
