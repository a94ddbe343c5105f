"""A real PgBouncer in transaction mode in front of a test's PostgreSQL: a package of the system, not of Python."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from sqlalchemy import make_url

from exchange_kernel.testing.servers import PostgresServer, ServerError, _free_port, _unprivileged_user

__all__ = ["Pooler"]

_SECONDS: Final = 30.0
_INSTALL: Final = (
    ["apt-get", "update", "-q"],
    ["apt-get", "install", "-q", "-y", "--no-install-recommends", "pgbouncer"],
)


class Pooler:
    """PgBouncer, ``pool_mode = transaction``, on a port of its own; installed by apt-get where it is missing.

    :param size: connections to the server per database.
    :param certificate: and its key; with them only encrypted clients are let in.

    :raises ServerError: it is not there and cannot be installed, or did not start.
    """

    def __init__(self, server: PostgresServer, *, size: int = 4, certificate: tuple[Path, Path] | None = None) -> None:
        self._program = _program()
        self._root = Path(tempfile.mkdtemp(prefix="exk-pgbouncer-"))
        self._port = _free_port()
        self._size = size
        self._process: subprocess.Popen[bytes] | None = None
        self._encrypt = ""
        if certificate is not None:
            files = [shutil.copy(path, self._root) for path in certificate]
            self._encrypt = (
                f"client_tls_sslmode = require\nclient_tls_cert_file = {files[0]}\nclient_tls_key_file = {files[1]}\n"
            )
        self._write(server)

    def url_of(self, url: str) -> str:
        """The pooler's address of a database."""
        return make_url(url).set(port=self._port).render_as_string(hide_password=False)

    def point_at(self, server: PostgresServer) -> None:
        """Send every transaction from now on to another server; clients keep their connections."""
        self._write(server)
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def _write(self, server: PostgresServer) -> None:
        url = make_url(server.url)
        (self._root / "users").write_text(f'"postgres" "{url.password}"\n')
        (self._root / "ini").write_text(
            f"[databases]\n* = host=127.0.0.1 port={url.port} user=postgres password={url.password}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self._port}\nunix_socket_dir =\n"
            f"auth_type = plain\nauth_file = {self._root}/users\npool_mode = transaction\n"
            f"default_pool_size = {self._size}\nserver_login_retry = 1\nserver_fast_close = 1\nquery_wait_timeout = 5\n"
            + self._encrypt
        )
        user = _unprivileged_user()
        if user is not None:
            for path in (self._root, *self._root.iterdir()):
                os.chown(path, *user)

    def __enter__(self) -> Self:
        user = _unprivileged_user()
        identity: Mapping[str, Any] = {}
        if user is not None:
            identity = {"user": user[0], "group": user[1], "extra_groups": []}
        with (self._root / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, str(self._root / "ini")],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                cwd=self._root,
                **identity,
            )
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self._port), 1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return self
        said = (self._root / "log").read_text(errors="replace")
        self.close()
        raise ServerError(f"PgBouncer did not start:\n{said[-4000:]}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop it and remove its directory."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
        shutil.rmtree(self._root, ignore_errors=True)


def _program() -> str:
    for attempt in (True, False):
        path = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin"
        found = shutil.which("pgbouncer", path=path)
        if found is not None:
            return found
        if attempt and os.geteuid() == 0 and shutil.which("apt-get") is not None:
            for command in _INSTALL:
                subprocess.run(command, check=False, capture_output=True)
    raise ServerError("PgBouncer is not installed: apt-get install pgbouncer")
