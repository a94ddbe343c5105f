"""Writes `docs/conformance.md`, and the names of cases into `docs/venue-contract.md`.

``uv run python -m tests.conformance.page``
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from exchange_kernel.testing.conformance import Case, Fault, Harness, all_cases
from exchange_kernel.testing.conformance import harness as harness_module
from exchange_kernel.testing.conformance.registry import GROUPS
from tests.conformance import defects
from tests.conformance.defects.registry import DEFECTS

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE, CONTRACT = DOCS / "conformance.md", DOCS / "venue-contract.md"
INTRODUCTION = """\
# The conformance cases

<!-- Written by `uv run python -m tests.conformance.page`; a test fails when it is out of date. -->

Does an adapter keep the [venue contract](venue-contract.md)? The kit asks it, case by case, against a venue that it can
see and move by another way than the adapter. It comes with the core (`exchange-kernel[testing]`), so a newer core has
newer cases; an id never changes its meaning. [write-a-venue.md](write-a-venue.md) shows it at work.

```
exk conformance list                      # these cases
exk conformance run VENUE                 # all of them, without a test file; --case ID, --report FILE, --markdown FILE
pytest --exk-report results.json          # as tests: derive a class from VenueConformance
exk plugins grade VENUE                   # what follows from them
```

| result | means |
|---|---|
| passed | what the case says holds |
| failed | it does not; the run exits with 1 |
| deviation | it fails as the harness declares with a reason; once it passes, the run fails until the entry is gone |
| unsupported | it is about something this venue does not offer. That this is refused is META-03's business |
| missing | the harness has no way to make happen what the case is about |

**Grades** are computed from a run, never declared. Bronze, silver or gold is reached when every case of that grade, and
of those below, has passed or is unsupported. A failure, a deviation or a missing control keeps the grade away.

**A case has its time**, `limit_s` of the harness. One that does not end by then has failed, and so has one that blocks
the event loop; either is told with the stack, and the next one runs. However a case ends, also by Ctrl-C, the sweeper
comes after it: with a session of its own it cancels whatever lives at the venue and did not before, and what it cannot
cancel is named. Waits are for conditions; where only time can tell that nothing comes, it is a multiple of the
harness' `quiet_s`.

**Every case is tested itself**: adapters with one mistake each are planted, {mistakes} of them today. A test asserts
that the case meant for each catches it, and that the correct paper venue passes all {cases} cases on all five kinds of
fence. The mistakes are named below with the cases that catch them.
"""


def render() -> str:
    """The page."""
    for module in pkgutil.iter_modules(defects.__path__):
        importlib.import_module(f"tests.conformance.defects.{module.name}")
    cases = all_cases()
    parts = [INTRODUCTION.format(mistakes=len(DEFECTS), cases=len(cases)), *_groups(cases), *_harness()]
    return "\n".join(parts) + "\n"


def contract(text: str) -> str:
    """The contract's page with the cases of each rule filled in, where a case says that it proves one."""
    cases = all_cases()

    def filled(found: re.Match[str]) -> str:
        number = re.compile(rf"\brule {found['number']}\b")
        proving = [case.id for case in cases if number.search(case.rule)]
        return f"{found['before']}Cases: {', '.join(proving) or found['cases']}\n"

    return re.sub(
        r"(?P<before>^### Rule (?P<number>\d+):(?:(?!^###?).*\n)*?)^Cases: (?P<cases>.*)\n",
        filled,
        text,
        flags=re.MULTILINE,
    )


def _groups(cases: tuple[Case, ...]) -> Iterator[str]:
    for group in GROUPS:
        mine = [case for case in cases if case.group == group]
        if not mine:
            continue
        module = importlib.import_module(f"exchange_kernel.testing.conformance.cases.{group}")
        yield f"## {group.capitalize()}\n"
        yield f"{_line(module.__doc__)}\n"
        for case in mine:
            yield from _case(case)


def _case(case: Case) -> Iterator[str]:
    yield f"### {case.id} {case.title}\n"
    facts = [case.grade, case.rule]
    if case.features:
        offered = (f"`{feature}`".replace("|", "` or `") for feature in case.features)
        facts.append("where the venue offers " + ", ".join(offered))
    if case.needs:
        facts.append("the harness needs " + ", ".join(_need(need) for need in case.needs))
    if case.polled is not None:
        facts.append("where events are polled it needs " + ", ".join(_need(need) for need in case.polled.needs))
    yield f"*{'; '.join(facts)}*\n"
    yield f"{_line(case.doc)}\n"
    for name, planted in sorted(DEFECTS.items()):
        if planted.case == case.id:
            # A class may be made by a function; what it does wrong is in its own docstring all the same.
            yield f"* `{name}`: {_line(inspect.getdoc(planted.make))}"
    yield ""


def _need(need: Fault | str) -> str:
    return f"`{need.value}`" if isinstance(need, Fault) else f"`{need}()`"


def _harness() -> Iterator[str]:
    yield "## The harness\n"
    yield "What an author writes so that the kit can reach a venue: a class derived from `Harness`, made anew for each"
    yield "case. The first table is required; of the second, what is missing only removes the cases that need it.\n"
    methods = [
        (name, member)
        for name, member in vars(Harness).items()
        if not name.startswith("_") and name != "offers" and (callable(member) or isinstance(member, property))
    ]
    for required in (True, False):
        yield "| member | what it does |\n|---|---|"
        for name, member in methods:
            if (name in Harness.__abstractmethods__) == required:
                call = name if isinstance(member, property) else f"{name}{_parameters(member)}"
                yield f"| `{call}` | {_line(inspect.getdoc(member))} |"
        yield ""
    yield "| attribute | what it says |\n|---|---|"
    for name, text in _attributes().items():
        yield f"| `{name}` | {text} |"
    yield ""
    yield "## The faults\n"
    yield "What a harness may be able to make happen between adapter and venue (`Harness.faults`, `inject`, `clear`).\n"
    yield "| fault | what happens |\n|---|---|"
    for fault, text in _faults().items():
        yield f"| `{fault.value}` | {text} |"


def _attributes() -> dict[str, str]:
    """What the docstring of the harness says of each of its attributes."""
    text = _line(inspect.getdoc(Harness)).partition("The kit makes a new one for every case. ")[2]
    return dict(re.findall(r"`(\w+)`: (.*?)(?= `\w+`: |$)", text))


def _parameters(member: object) -> str:
    assert callable(member)
    names = [name for name in inspect.signature(member).parameters if name != "self"]
    return f"({', '.join(names)})"


def _faults() -> dict[Fault, str]:
    """Each fault and the line that stands below it in the source."""
    tree = ast.parse(inspect.getsource(harness_module))
    body = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Fault").body
    out = {}
    for member, text in pairwise(body):
        if isinstance(member, ast.Assign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            assert isinstance(member.targets[0], ast.Name)
            out[Fault[member.targets[0].id]] = _line(str(text.value.value))
    assert set(out) == set(Fault), "a fault has no line that says what it is"
    return out


def _line(text: str | None) -> str:
    """A docstring as one line of Markdown."""
    plain = " ".join((text or "").split())
    return plain.replace("``", "`").replace(":attr:", "").replace(":meth:", "").replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
    CONTRACT.write_text(contract(CONTRACT.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote {PAGE} and {CONTRACT}")
