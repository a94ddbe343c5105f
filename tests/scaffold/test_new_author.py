"""What `exk new-plugin` writes works before its author changed a line: from the wheel, in an environment of its own."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from exchange_kernel.testing.conformance import all_cases
from tests.scaffold.workshop import Workshop

KINDS = ("cex", "dex")
TRADE = """
import asyncio
from exchange_kernel import Platform, Side, StandardOrder

async def trade(account, kernel):
    bought = await kernel.place_order(StandardOrder("BTC/USD", Side.BUY, "0.01", limit_price="50100"))
    resting = await kernel.place_order(StandardOrder("BTC/USD", Side.BUY, "0.01", limit_price="40000"))
    while (await kernel.get_order_state(resting)).status != "WORKING":
        await asyncio.sleep(0.05)
    await kernel.cancel_order(resting)
    for order in (bought, resting):
        while not (state := await kernel.get_order_state(order)).status.terminal:
            await asyncio.sleep(0.05)
        print(account, state.status, state.filled_base)

async def main():
    async with Platform.from_file("exk.yaml") as platform:
        for account in platform:
            await trade(account, platform[account])

asyncio.run(asyncio.wait_for(main(), 60))
"""


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """An environment in which a plugin of each kind was made and installed."""
    made = Workshop(tmp_path_factory.mktemp("workshop"))
    made.prepare()
    for kind in KINDS:
        made.run("exk", "new-plugin", f"new-{kind}", "--kind", kind)
    made.install(*(f"./exchange-kernel-new-{kind}" for kind in KINDS))
    return made


def conformance(workshop: Workshop, venue: str, *more: str, code: int = 0) -> dict[str, Any]:
    """The report of `exk conformance run`."""
    done = workshop.run("exk", "conformance", "run", venue, "-o", "json", *more, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_is_found(workshop: Workshop, kind: str) -> None:
    """Installed, it is listed with its venue and its harness, without trouble."""
    listed = json.loads(workshop.run("exk", "plugins", "list", "-o", "json").stdout)
    mine = next(row for row in listed if row["name"] == f"new-{kind}")

    assert (mine["distribution"], mine["status"]) == (f"exchange-kernel-new-{kind}", "ok")
    assert mine["venues"] == [f"new-{kind}"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_passes_every_bronze_case(workshop: Workshop, kind: str) -> None:
    """Against its own stand-in no case fails, every bronze one passes, and the grade follows from that."""
    report = conformance(workshop, f"new-{kind}")

    bronze = [case for case in report["cases"] if case["grade"] == "bronze"]
    assert {case["status"] for case in bronze} <= {"passed", "unsupported"}
    assert Counter(case["status"] for case in bronze)["passed"] >= 15
    assert report["grade"] in ("bronze", "silver", "gold")
    assert report["plugin"] == f"exchange-kernel-new-{kind} 0.1.0"
    assert report["capabilities"]["BTC/USD"]["limit"] == "native"


def test_its_own_test_file_passes(workshop: Workshop) -> None:
    """The same cases come to life as tests in the package's few lines of test file."""
    # That of the other kind is run by the page for new authors.
    folder = workshop.folder / "exchange-kernel-new-dex"
    done = workshop.run(
        "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--exk-report=results.json", cwd=folder
    )
    results = json.loads((folder / "results.json").read_text())

    assert " passed" in done.stdout
    assert {result["status"] for result in results} <= {"passed", "unsupported", "missing"}
    assert {result["id"] for result in results} == {case.id for case in all_cases()}


def test_a_kernel_trades_on_them(workshop: Workshop) -> None:
    """An order is filled and another cancelled through the whole kernel, on each stand-in."""
    folder = workshop.folder / "trade"
    folder.mkdir()
    (folder / "secret").write_text("open sesame")
    (folder / "secret").chmod(0o600)
    accounts = (f'  {kind}: {{venue: new-{kind}, mode: paper, secrets: {{secret: "file:secret"}}}}' for kind in KINDS)
    (folder / "exk.yaml").write_text("\n".join(["accounts:", *accounts]) + "\n")
    (folder / "trade.py").write_text(TRADE)
    done = workshop.run("python", "trade.py", cwd=folder)

    assert done.stdout.splitlines() == [f"{kind} {end}" for kind in KINDS for end in ("FILLED 0.01", "CANCELED 0")]


@pytest.mark.parametrize("kind", KINDS)
def test_its_entry_module_is_light(workshop: Workshop, kind: str) -> None:
    """Every program imports it to look for plugins: it brings neither the adapter nor the test kit."""
    package = f"exchange_kernel_new_{kind}"
    code = f"import sys, {package}.plugin as p; print(sorted(m for m in sys.modules if m.startswith('{package}')))"

    assert workshop.run("python", "-c", code).stdout == f"['{package}', '{package}.plugin']\n"


def test_grades_are_computed(workshop: Workshop) -> None:
    """Without a name every installed venue with a harness is graded, from a run made now."""
    rows = json.loads(workshop.run("exk", "plugins", "grade", "-o", "json").stdout)

    assert {row["venue"] for row in rows} >= {f"new-{kind}" for kind in KINDS}
    highest = max((case.grade for case in all_cases()), key=("bronze", "silver", "gold").index)
    for row in rows:
        assert row["passed"] + row["unsupported"] + row["missing"] == len(all_cases())
        assert row["grade"] == highest or row["in_the_way"]


def test_a_mistake_fails_the_run(workshop: Workshop) -> None:
    """A price rounded to the disadvantage is found, told with its reason, and the exit code is 1."""
    folder = _spoilt(workshop, "spoilt")
    report = conformance(workshop, "spoilt", code=1)
    failed = {case["id"]: case["reason"] for case in report["cases"] if case["status"] == "failed"}
    told = workshop.run("exk", "conformance", "run", "spoilt", "--case", "prec-01", check=False)

    assert "safe side" in failed["PREC-01"]
    assert report["grade"] is None
    assert failed["PREC-01"] in told.stdout
    assert told.returncode == 1
    # Declared as deviations they fail no run any more, and still keep the grade away.
    harness = next(folder.glob("src/*/conformance.py"))
    declared = f"    deviations = {dict.fromkeys(failed, 'the venue rounds so, #12')}\n    faults = "
    harness.write_text(harness.read_text().replace("    faults = ", declared))
    workshop.install("--reinstall-package", "exchange-kernel-spoilt", "./exchange-kernel-spoilt")
    report = conformance(workshop, "spoilt", *(word for name in failed for word in ("--case", name)))

    assert {case["id"]: case["status"] for case in report["cases"]} == dict.fromkeys(failed, "deviation")
    assert report["grade"] is None


def _spoilt(workshop: Workshop, name: str) -> Path:
    """A plugin whose prices are rounded the wrong way."""
    workshop.run("exk", "new-plugin", name, "--kind", "cex")
    folder = workshop.folder / f"exchange-kernel-{name}"
    checks = next(folder.glob("src/*/checks.py"))
    text = checks.read_text()
    wrong = text.replace("safe_price(spec.limit, spec.side,", "safe_price(spec.limit, Side.SELL,")
    assert wrong != text
    checks.write_text(wrong)
    workshop.install(f"./{folder.name}")
    return folder
