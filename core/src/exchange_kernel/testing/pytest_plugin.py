"""The pytest side of the kit. Light: every pytest run in an environment with the kernel imports it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

__all__: list[str] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--exk-report FILE``."""
    group = parser.getgroup("exchange-kernel", "conformance of venue adapters")
    group.addoption("--exk-report", metavar="FILE", help="write the results of conformance cases to FILE, as JSON")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test per case, wherever a test takes ``exk_case``."""
    if "exk_case" in metafunc.fixturenames:
        from exchange_kernel.testing.conformance.registry import all_cases

        cases = all_cases()
        metafunc.parametrize("exk_case", cases, ids=[case.id for case in cases])


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Write the report, from the results of all workers."""
    target = config.getoption("--exk-report")
    if not target:
        return
    rows = []
    for reports in terminalreporter.stats.values():
        for report in reports:
            for name, result in getattr(report, "user_properties", ()):
                if name == "exk_result" and getattr(report, "when", "") == "call":
                    rows.append({"test": report.nodeid, **result})
    rows.sort(key=lambda row: row["test"])
    Path(target).write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    terminalreporter.write_line(f"conformance: {len(rows)} results in {target}")
