"""The API from the shell: tokens, `exk run --listen`, and a server beside the process that runs the kernels."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from core.tests.api.serving import ORDER, platform_of
from exchange_kernel import StandardOrder
from exchange_kernel.cli.main import cli
from exchange_kernel.errors import NotRunning, UnknownIntent

CONFIG = "accounts: {one: {venue: paper, config: {balances: {USD: 100000}}}}\n"


def exk(folder: Path, *arguments: str) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(cli, [*arguments, "--config", str(folder / "exk.yaml")])


def test_tokens_are_made_listed_and_revoked(tmp_path: Path) -> None:
    """A token is printed once, alone on standard output; the list shows what it allows and never what it is."""
    (tmp_path / "exk.yaml").write_text(CONFIG)
    made = exk(tmp_path, "token", "create", "desk", "--allow", "one:read,place", "--allow", "*:cancel")
    token = made.stdout.strip()
    assert made.exit_code == 0, made.output
    assert re.fullmatch(r"exk_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", token)
    listed = json.loads(exk(tmp_path, "token", "list", "-o", "json").stdout)
    assert [(each["name"], each["allows"]) for each in listed] == [("desk", ["*:cancel", "one:read+place"])]
    assert token[17:] not in exk(tmp_path, "token", "list", "-o", "wide").output
    assert exk(tmp_path, "token", "revoke", token).exit_code == 0
    again = exk(tmp_path, "token", "revoke", listed[0]["id"])
    assert (again.exit_code, token[17:] in again.output) == (4, False)
    for wrong in ("one:everything", "six:read", "one"):
        refused = exk(tmp_path, "token", "create", "desk", "--allow", wrong)
        assert refused.exit_code == 2, refused.output


def test_run_serves_the_api_beside_its_kernels(tmp_path: Path) -> None:
    """`exk run --listen` says where it serves, does what is asked there, and ends cleanly on SIGTERM with a reader."""
    (tmp_path / "exk.yaml").write_text(CONFIG)
    token = exk(tmp_path, "token", "create", "desk", "--allow", "one:admin").stdout.strip()
    command = [sys.executable, "-m", "exchange_kernel.cli.main", "run", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(
        [*command, "--log-level", "debug", "--log-format", "json"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            url = ""
            while not url:
                line = process.stdout.readline()
                assert line, process.communicate()
                found = re.search(r"the API is at (\S+)", line)
                url = found[1] if found else ""
            headers = {"authorization": f"Bearer {token}"}
            with httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=20) as http:
                assert http.put("/v1/accounts/one/orders/a", json={"order": ORDER}).status_code == 201
                assert http.get("/readyz").status_code == 200
                with http.stream(
                    "GET", "/v1/accounts/one/events?after=0", headers={"accept": "text/event-stream"}
                ) as answer:
                    lines = answer.iter_lines()
                    while "OrderAccepted" not in next(lines):
                        pass
                    process.send_signal(signal.SIGTERM)
                    for _ in lines:
                        pass
        finally:
            process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out.splitlines()[-1]) == (0, "stopped")
    said = [json.loads(line) for line in err.splitlines()]
    accepted = next(each for each in said if each["message"].startswith("OrderAccepted"))
    assert (accepted["account"], accepted["intent"], accepted["attempt"]) == ("one", "a", "1")
    assert accepted["venue_ids"]
    assert token[17:] not in out + err


def test_listening_is_refused_before_anything_starts(tmp_path: Path) -> None:
    """An open address without a certificate, or a certificate without an address, is a usage error."""
    (tmp_path / "exk.yaml").write_text(CONFIG)
    for arguments in (("run", "--listen", "0.0.0.0:1"), ("api", "--listen", "nowhere"), ("run", "--name", "x")):
        refused = exk(tmp_path, *arguments)
        assert refused.exit_code == 2, refused.output
        assert not (tmp_path / "exk.db").exists()


def test_what_is_declared_beside_the_kernels_is_done_by_them(tmp_path: Path) -> None:
    """A platform that follows owns nothing: its orders are worked on by the process that runs the account, and it says
    when there is none."""

    async def run() -> None:
        async with platform_of(tmp_path, "one", follow=True) as beside:
            kernel = beside["one"]
            assert not (await kernel.health_check()).ready
            async with platform_of(tmp_path, "one") as runs:
                assert (await kernel.health_check()).ready
                lease: Any = await beside.store.lease("one")
                seen: list[str] = []
                kernel.subscribe_events(lambda event: seen.append(event.kind), after=0)
                await kernel.place_order(StandardOrder(**ORDER), "a")
                async with asyncio.timeout(20):
                    while "OrderAccepted" not in seen:
                        await asyncio.sleep(0.02)
                assert (await kernel.get_order_state("a")).venue_ids
                with pytest.raises(NotRunning, match="another process"):
                    await kernel.force_reconciliation()
                await kernel.halt(actor="me", reason="drill")
                assert (await kernel.get_account_state()).halted == "me: drill"
                await runs["one"].resume(actor="me", reason="over")
                assert (await kernel.get_account_state()).halted is None
                await kernel.cancel_order("a")
                async with asyncio.timeout(20):
                    while "OrderCanceled" not in seen:
                        await asyncio.sleep(0.02)
                with pytest.raises(UnknownIntent):
                    await kernel.get_order_state("b")
            after: Any = await beside.store.lease("one")
            assert (lease.epoch, lease.owner) == (after.epoch, after.owner)

    asyncio.run(run())
