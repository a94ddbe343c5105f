"""A running Anvil: a child that ends with its parent, on a loopback port of its own."""

from __future__ import annotations

import http.client
import socket
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from exchange_kernel_evm.testing.binary import find_anvil
from exchange_kernel_evm.testing.chain import Chain
from exchange_kernel_evm.testing.errors import TestChainError
from exchange_kernel_evm.testing.rpc import Rpc

__all__ = ["AnvilNode"]

# The shell kills Anvil when its own standard input ends, which it does when the parent is gone, however it went.
_GUARD: Final = 'exec 3<&0; "$@" </dev/null & node=$!; (read -r _ <&3; kill -9 $node) 2>/dev/null & wait $node'
_TRIES: Final = 4000
_TRY_SECONDS: Final = 0.005
_PORT_TRIES: Final = 5
# A fork's answers must not come from another chain's: Anvil's cache knows a block by its number alone.
_FORK: Final = ("--no-storage-caching", "--no-rate-limit")
# By itself Anvil keeps 500 states in memory (about 10 kB each) and 3,600 more on disk, where a killed one leaves them;
# then it forgets what the first blocks were, after a return to a snapshot too.
_STATES: Final = ("--prune-history", "100000")


class AnvilNode:
    """One Anvil, to be used in a `with` statement, which starts it and ends it.

    :param fork_url: the node whose chain it continues; without it the chain is new.
    :param chain_id: of a new chain; a fork has that of its origin.
    :param options: further options of Anvil's command line.
    :raises TestChainError: Anvil cannot be had, or ended by itself; the message carries the end of its output.
    """

    def __init__(self, *options: str, fork_url: str | None = None, chain_id: int = 1) -> None:
        self._options: tuple[str, ...] = ("--fork-url", fork_url, *_FORK) if fork_url else ("--chain-id", str(chain_id))
        self._options += options
        self._process: subprocess.Popen[bytes] | None = None
        self._port = 0
        self._log: Path | None = None
        self._chain: Chain | None = None

    @property
    def url(self) -> str:
        """Where it answers JSON-RPC over HTTP."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def ws_url(self) -> str:
        """Where it answers over WebSocket."""
        return f"ws://127.0.0.1:{self._port}"

    @property
    def chain(self) -> Chain:
        """The controls of its chain, over a connection of their own."""
        if self._chain is None:
            raise TestChainError("the node is not running: use it in a `with` statement")
        return self._chain

    def start(self) -> None:
        """Start it and return when it answers."""
        program = find_anvil()
        for left in reversed(range(_PORT_TRIES)):
            self._port = _free_port()
            self._launch(program)
            if self._answers():
                self._chain = Chain(Rpc(self.url))
                return
            said = self._said()
            self.stop()
            if "in use" not in said or not left:
                raise TestChainError(f"Anvil did not start; it said:\n{said}")

    def stop(self) -> None:
        """End it at once; what it knew is gone. A second call does nothing."""
        chain, self._chain = self._chain, None
        if chain is not None:
            chain.rpc.close()
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()
        if self._log is not None:
            self._log.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _launch(self, program: Path) -> None:
        options = ("--host", "127.0.0.1", "--port", str(self._port), "--quiet", *_STATES, *self._options)
        with tempfile.NamedTemporaryFile(prefix="exk-anvil-", suffix=".log", delete=False) as log:
            self._log = Path(log.name)
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _GUARD, "anvil", str(program), *options],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _answers(self) -> bool:
        """Whether it answers; False when it ended by itself."""
        assert self._process is not None
        for _ in range(_TRIES):
            rpc = Rpc(self.url)
            try:
                rpc("eth_chainId")
            except (OSError, http.client.HTTPException):
                try:
                    self._process.wait(_TRY_SECONDS)
                except subprocess.TimeoutExpired:
                    continue
                return False
            else:
                # Another program may have taken the port between the look and the start.
                return self._process.poll() is None
            finally:
                rpc.close()
        raise TestChainError(f"Anvil does not answer at {self.url}; it said:\n{self._said()}")

    def _said(self) -> str:
        assert self._log is not None
        return self._log.read_text(errors="replace")[-4000:]


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
