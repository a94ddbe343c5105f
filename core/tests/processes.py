"""A paper venue, and kernels on it, as processes of their own; and the `exk` command beside them."""

from __future__ import annotations

import hmac
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from click.testing import CliRunner, Result

from exchange_kernel.cli.main import cli

ACCOUNT, SECRET = "main", "canary-4f1d"
PATIENCE = 30.0


def wait_for(true: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
    """Poll until it is true; fail with what did not come true."""
    give_up = time.monotonic() + patience
    while not true():
        assert time.monotonic() < give_up, f"{what}: not within {patience} s"
        time.sleep(0.02)


class Venue:
    """The paper exchange's server in ``folder``, and its control side."""

    def __init__(self, folder: Path, **settings: object) -> None:
        self._folder = folder
        config = {
            "settings": settings,
            "accounts": {ACCOUNT: {"secret": SECRET, "balances": {"USD": "10000000", "BTC": "100", "ETH": "1000"}}},
        }
        (folder / "venue.json").write_text(json.dumps(config))
        self._output = (folder / "venue.out").open("w+b")
        command = [sys.executable, "-m", "exchange_kernel_paper.server", "--config", str(folder / "venue.json")]
        self._child = subprocess.Popen(command, stdout=self._output, stderr=self._output)
        wait_for(lambda: (folder / "venue.out").read_bytes().endswith(b"}\n"), "the venue's start")
        self.port = int(json.loads((folder / "venue.out").read_text())["port"])
        self._socket = socket.create_connection(("127.0.0.1", self.port), PATIENCE)
        self._lines = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.close()
        self._socket.close()
        self._child.kill()
        self._child.wait()
        self._output.close()

    def control(self, name: str, *args: object, **kwargs: object) -> Any:
        """One control operation of the venue."""
        answer = self._ask({"op": "control", "do": name, "args": args, "kwargs": kwargs})
        assert "error" not in answer, answer
        return answer["result"]

    def order(self, client: str, **terms: object) -> int:
        """An order placed by another program with the same credentials; its id."""
        fields = {
            "op": "order",
            "account": ACCOUNT,
            "client": client,
            "ts": self.control("now"),
            "window": 5000,
            **terms,
        }
        payload = json.dumps(fields).encode()
        body = payload + b"\n" + hmac.digest(SECRET.encode(), payload, "sha256").hex().encode()
        return int(json.loads(self._ask({"op": "order", "body": body.decode()})["body"])["orders"][0]["id"])

    def orders(self, *, live: bool | None = None) -> list[dict[str, Any]]:
        """The account's orders in the venue's ledger."""
        found = [order for order in self.control("dump")["orders"] if order["account"] == ACCOUNT]
        return [order for order in found if live is None or (order["status"] == "WORKING") == live]

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        self._socket.sendall(json.dumps({"id": 1, **message}).encode() + b"\n")
        answer: dict[str, Any] = json.loads(self._lines.readline())
        return answer


def configure(folder: Path, venue: Venue, extra: str = "", account: str = "") -> Path:
    """An ``exk.yaml`` in ``folder`` with one account at the venue."""
    path = folder / "exk.yaml"
    (folder / "paper.secret").write_text(SECRET + "\n")
    (folder / "paper.secret").chmod(0o600)
    path.write_text(
        "accounts:\n"
        "  paper_main:\n"
        "    venue: paper\n"
        "    mode: paper\n"
        f"    config: {{connect: '127.0.0.1:{venue.port}', account: {ACCOUNT}}}\n"
        "    secrets: {secret: 'file:paper.secret'}\n"
        f"{account}{extra}"
    )
    return path


class Shell:
    """Runs commands against one configuration, in this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "exk.yaml"

    def run(self, *arguments: str, stdin: str | None = None) -> Result:
        return CliRunner().invoke(
            cli, list(arguments), input=stdin, env={"EXK_CONFIG": str(self.config), "EXK_ACTOR": "tester"}
        )

    def ok(self, *arguments: str, stdin: str | None = None) -> str:
        done = self.run(*arguments, stdin=stdin)
        assert done.exit_code == 0, done.output
        return str(done.stdout)

    def json(self, *arguments: str, stdin: str | None = None) -> Any:
        return json.loads(self.ok(*arguments, "-o", "json", stdin=stdin))

    def refused(self, code: int, *arguments: str, stdin: str | None = None) -> str:
        """The one line that says why."""
        done = self.run(*arguments, stdin=stdin)
        assert done.exit_code == code, done.output
        assert done.stdout == ""
        assert done.stderr.startswith("exk: ")
        assert done.stderr.count("\n") == 1
        assert "Traceback" not in done.stderr
        return str(done.stderr)

    def order(self, intent_id: str) -> dict[str, Any]:
        found = [row for row in self.json("get", "orders") if row["id"] == intent_id]
        assert len(found) == 1
        return found[0]

    def reach(self, intent_id: str, status: str) -> None:
        wait_for(lambda: self.order(intent_id)["status"] == status, f"{intent_id} {status}")


class Daemon:
    """``exk run`` in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "run.log"
        before = self.log.read_text().count("is running") if self.log.exists() else 0
        with self.log.open("ab") as output:
            self.child = subprocess.Popen(
                [sys.executable, "-m", "exchange_kernel.cli.main", "run"],
                cwd=folder,
                stdout=output,
                stderr=output,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        wait_for(
            lambda: self.child.poll() is not None or self.log.read_text().count("is running") > before,
            "the kernel's start",
        )
        assert self.child.poll() is None, self.log.read_text()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def kill(self) -> None:
        """SIGKILL."""
        self.child.kill()
        self.child.wait()

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        self.child.send_signal(signal.SIGTERM)
        return self.child.wait(PATIENCE)
