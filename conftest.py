"""Real servers for every test of the workspace, one of each per test process, started when the first test asks."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import hypothesis
import pytest

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
