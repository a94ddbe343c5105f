"""Importing adapters beside the loop."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from exchange_kernel.plugins import InstalledVenue, Plugin, Status, VenueSpec
from exchange_kernel.plugins.background import Imports


def venue(module: str) -> InstalledVenue:
    spec = VenueSpec("acme", "Acme", "sim", f"{module}:Adapter")
    return InstalledVenue(spec, Plugin("acme", "exchange-kernel-acme", "1.0", module, Status.OK, venues=(spec,)))


def test_a_long_import_holds_up_only_who_waits_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop turns meanwhile; impatience is told with where the import stands, and the next wait is for the same."""
    (tmp_path / "exk_slow.py").write_text(
        "import asyncio, sys\nnumber = getattr(sys, 'exk_imports', 0)\nsys.exk_imports = number + 1\n"
        "sys.exk_gate.wait()\nclass Adapter: pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    async def play() -> None:
        import threading

        gate = threading.Event()
        monkeypatch.setattr(sys, "exk_gate", gate, raising=False)
        monkeypatch.setattr(sys, "exk_imports", 0, raising=False)
        imports, slow = Imports(), venue("exk_slow")
        for _ in range(2):
            with pytest.raises(TimeoutError) as caught:
                await imports.wait(slow, 0.2)
            assert "the adapter of exchange-kernel-acme is still being imported after 0.2 s" in str(caught.value)
        assert "exk_slow" in sys.modules, "under way: that is no reason not to wait"
        waiting = [asyncio.create_task(imports.wait(slow, 30)) for _ in range(2)]
        await asyncio.sleep(0)
        gate.set()
        await asyncio.gather(*waiting)
        await imports.wait(slow, 30)
        assert getattr(sys, "exk_imports", None) == 1

    asyncio.run(play())


def test_an_import_that_fails_is_met_where_the_adapter_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting tells nothing of it, and costs no thread its life, whatever is raised."""
    (tmp_path / "exk_exits.py").write_text("raise SystemExit(3)")
    monkeypatch.syspath_prepend(tmp_path)
    for module in ("exk_exits", "no_such_module_z"):
        asyncio.run(Imports().wait(venue(module), 30))
