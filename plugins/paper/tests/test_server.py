"""The exchange as a process of its own: the same venue over TCP, its faults, and what survives its death."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from exchange_kernel.errors import NotAuthorized, NotSent, OutcomeUnknown, Unavailable
from exchange_kernel.venue import Cancel, Context, Found, Gap, OrderReport, Place, Prep, Ref, VenueStatus, Why
from exchange_kernel_paper.adapter import PaperAdapter
from exchange_kernel_paper.exchange import read_journal
from exchange_kernel_paper.tcp import Control, TcpLink
from exchange_kernel_paper.translate import client_id
from plugins.paper.tests.session import BTC, Reader, key, spec

CONFIG = {
    "settings": {"maker_fee": "0", "taker_fee": "0", "window_ms": 30_000},
    "accounts": {"main": {"secret": "s3cret", "balances": {"USD": "1000000", "BTC": "10"}}},
    "house": False,
}


class Running:
    """A server process."""

    def __init__(self, state: Path, config: dict[str, Any]) -> None:
        command = [sys.executable, "-m", "exchange_kernel_paper.server", "--config", "-", "--state", str(state)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(config))
        self.process.stdin.close()
        line = self.process.stdout.readline()
        assert line, "the server did not start"
        self.port: int = json.loads(line)["port"]

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def server(state: Path, config: dict[str, Any] = CONFIG) -> Iterator[Running]:
    """A server for the length of a block."""
    running = Running(state, config)
    try:
        yield running
    finally:
        running.kill()


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Where a server keeps its journal."""
    return tmp_path / "journal"


def local_ms() -> int:
    """The machine's time."""
    return time.time_ns() // 1_000_000


class Client:
    """An adapter connected to a running server, and the control side."""

    def __init__(self, port: int, secret: str = "s3cret") -> None:
        self.port, self.secret = port, secret
        self.adapter, self.control = PaperAdapter(), Control("127.0.0.1", port)

    async def __aenter__(self) -> Client:
        config = {"connect": f"127.0.0.1:{self.port}", "timeout_ms": 5_000}
        context = Context("main", config, local_ms, asyncio.sleep, {"secret": self.secret})
        self.opened = await self.adapter.open(context)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.adapter.close()
        await self.control.close()

    async def place(self, number: int, **fields: Any) -> Any:
        """Place an order; the answer."""
        return await self.adapter.submit(await self.ticket(number, **fields))

    async def ticket(self, number: int, **fields: Any) -> Any:
        """Its ticket."""
        return await self.adapter.prepare(Place(key(number), spec(**fields)), self.prep())

    def prep(self) -> Prep:
        """What `prepare` may use."""
        now = local_ms()
        return Prep(now, now + 30_000, lambda scope: pytest.fail(f"no numbers of {scope} are needed"))

    async def status(self, number: int) -> VenueStatus:
        """Status of an order by a look-up."""
        found = await self.adapter.lookup(Ref(key(number), BTC, None, 0))
        assert isinstance(found, Found)
        [report] = found.reports
        assert isinstance(report, OrderReport)
        return report.status


def with_server(state: Path, play: Callable[[Client, Running], Awaitable[None]]) -> None:
    """Run a server and a client."""

    async def run(running: Running) -> None:
        async with Client(running.port) as client:
            await play(client, running)

    with server(state) as running:
        asyncio.run(run(running))


def test_orders_go_and_come_over_tcp_as_in_process(state: Path) -> None:
    """Place, trade, look up, cancel, balances, history; the ledger on the other side agrees."""

    async def play(client: Client, running: Running) -> None:
        assert (await client.place(1)).stage == "decided"
        await client.control.do("trade_through", BTC, "SELL", "100", "0.4")
        assert await client.status(1) is VenueStatus.WORKING
        cancel = await client.adapter.prepare(Cancel(key(2), Ref(key(1), BTC, None, 0)), client.prep())
        await client.adapter.submit(cancel)  # type: ignore[arg-type]
        assert await client.status(1) is VenueStatus.CANCELED
        balances = {balance.asset: balance.total for balance in (await client.adapter.account()).balances}
        assert balances == {"USD": Decimal(999_960), "BTC": Decimal("10.4")}
        items, _ = await client.adapter.history(None)
        assert len(items) == 1
        [record] = await client.control.do("orders", client_id(key(1)))
        assert (record["base"], record["quote"], record["status"]) == ("0.4", "40.0", "CANCELED")
        assert client.opened.identity == "paper:paper:main"

    with_server(state, play)


def test_an_exchange_in_another_process_can_be_told_to_liquidate(state: Path) -> None:
    """The trade is in the account's history as the venue's own."""

    async def play(client: Client, running: Running) -> None:
        await client.control.do("set_ladder", BTC, [["100", "5"]], [])
        await client.control.do("force", "main", BTC, "SELL", "2", "LIQUIDATION")
        items, _ = await client.adapter.history(None)
        [report] = [item for item in items if isinstance(item, OrderReport)]
        assert (report.origin, report.why, report.filled.base) == ("venue", Why.LIQUIDATION, Decimal(2))

    with_server(state, play)


def test_events_and_prices_come_over_tcp(state: Path) -> None:
    """Gap first, then the order; prices of the market."""

    async def play(client: Client, running: Running) -> None:
        events = Reader(client.adapter.events(None))
        prices = Reader(client.adapter.prices(frozenset({BTC})))
        await until(lambda: events.items and prices.items)
        await client.place(1)
        await until(
            lambda: any(isinstance(event.body, OrderReport) for event in events.items) and len(prices.items) > 1
        )
        assert isinstance(events.items[0].body, Gap)
        assert prices.items[-1].bid == 100
        await events.stop()
        await prices.stop()

    with_server(state, play)


async def until(condition: Callable[[], object], seconds: float = 20) -> None:
    """Wait for something that comes over the network."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    ("fault", "error", "orders"),
    [("not_sent", NotSent, 0), ("request_lost", OutcomeUnknown, 0), ("answer_lost", OutcomeUnknown, 1)],
)
def test_the_link_tells_what_never_left_from_what_was_never_answered(
    state: Path, fault: str, error: type[Exception], orders: int
) -> None:
    """The same faults as in process, on real sockets; the next call simply connects again."""

    async def play(client: Client, running: Running) -> None:
        await client.control.do("fault_once", fault, "order")
        with pytest.raises(error):
            await client.place(1)
        assert len(await client.control.do("orders", client_id(key(1)))) == orders
        assert await client.control.do("counts") == {fault: 1}
        assert (await client.place(2)).stage == "decided"

    with_server(state, play)


def test_a_read_from_a_dead_server_is_unavailable_and_a_change_was_not_sent(state: Path) -> None:
    """Nobody listens: the connection cannot be made, so not one byte left."""

    async def play(client: Client, running: Running) -> None:
        ticket = await client.ticket(1)
        running.kill()
        with pytest.raises(Unavailable):
            await client.adapter.account()
        with pytest.raises(NotSent):
            await client.adapter.submit(ticket)

    with_server(state, play)


def test_wrong_credentials_are_refused_over_tcp(state: Path) -> None:
    """When the adapter opens."""

    async def run(port: int) -> None:
        client = Client(port, secret="guess")
        with pytest.raises(NotAuthorized):
            await client.__aenter__()
        await client.__aexit__()

    with server(state) as running:
        asyncio.run(run(running.port))


def test_what_was_answered_survives_kill_nine(state: Path) -> None:
    """Orders are placed as fast as they go until the server is killed; after a restart every answered one is there,
    each once, with the same id."""

    answered: dict[int, str] = {}

    async def storm(running: Running) -> None:
        async with Client(running.port) as client:

            async def trader(first: int) -> None:
                for number in range(first, first + 100):
                    ack = await client.place(number, amount="0.1")
                    answered[number] = ack.reports[0].id.value
                    if len(answered) == 150:
                        running.kill()

            await asyncio.gather(*(trader(first) for first in range(1, 1_001, 100)), return_exceptions=True)

    async def check(running: Running) -> None:
        async with Client(running.port) as client:
            for number, venue_id in answered.items():
                found = await client.adapter.lookup(Ref(key(number), BTC, None, 0))
                assert isinstance(found, Found)
                assert [report.id.value for report in found.reports] == [venue_id]
            totals = await client.control.do("totals")
            assert len(answered) <= totals["orders"] <= len(answered) + 10
            assert await client.control.do("doubled") == []
            held = {
                balance.asset: balance.total - balance.free for balance in (await client.adapter.account()).balances
            }
            assert held["USD"] == 10 * totals["live"]

    with server(state) as running:
        asyncio.run(storm(running))
    assert 150 <= len(answered) < 1_000
    with server(state) as running:
        asyncio.run(check(running))


def test_a_torn_last_line_of_the_journal_is_cut_off(state: Path) -> None:
    """It was never answered. Damage anywhere else is an error that names the line."""
    with server(state):
        pass
    whole = state.read_bytes()
    state.write_bytes(whole + b'[1700000000000,"trade",["main",{"op":"or')
    with server(state):
        pass
    assert state.read_bytes() == whole
    state.write_bytes(b"nonsense\n" + whole)
    with pytest.raises(ValueError, match="line 1"):
        list(read_journal(state))


def test_no_secret_is_written_to_the_journal(state: Path) -> None:
    """Neither by accounts nor by requests."""

    async def play(client: Client, running: Running) -> None:
        await client.place(1)

    with_server(state, play)
    assert b"s3cret" not in state.read_bytes()
    assert b'"main"' in state.read_bytes()


def test_the_server_listens_on_loopback_only(state: Path) -> None:
    """It is a test venue with a control channel."""
    with server(state) as running:
        with socket.create_connection(("127.0.0.1", running.port), timeout=5):
            pass
        others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)}
        for address in others - {"127.0.0.1"}:
            if not str(address).startswith("127."):
                with pytest.raises(OSError, match=r".*"), socket.create_connection((str(address), running.port), 1):
                    pass


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"settings": {"fence": "wooden"}}, "time_window"),
        ({"settings": {"speed": 1}}, "is no setting"),
        ({"settings": {}, "accounts": {"a": {"balances": {"USD": "lots"}}}}, "plain decimal"),
    ],
)
def test_a_bad_configuration_stops_the_server_with_a_message(config: dict[str, Any], message: str) -> None:
    """And a usage error, not a traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "exchange_kernel_paper.server", "--config", "-"],
        input=json.dumps(config),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("line", [b"hello", b"{}", b"[1]", b'{"id":1,"op":"order"}', b'{"id":"x","op":"control"}'])
def test_a_message_that_is_none_ends_its_connection_and_nothing_else(state: Path, line: bytes) -> None:
    """The server goes on for everybody else."""

    async def play(client: Client, running: Running) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
        writer.write(line + b"\n")
        assert await asyncio.wait_for(reader.read(), 10) == b""
        writer.close()
        assert (await client.place(1)).stage == "decided"

    with_server(state, play)


def test_controls_answer_errors_instead_of_breaking(state: Path) -> None:
    """An unknown control, wrong arguments: told, and the connection lives on."""

    wrong: list[tuple[str, tuple[Any, ...]]] = [
        ("fly", ()),
        ("skew", ("far",)),
        ("fault", ("earthquake", 1)),
        ("set_ladder", ("X", [], [])),
        ("deposit", ()),
    ]

    async def play(client: Client, running: Running) -> None:
        for name, args in wrong:
            with pytest.raises(RuntimeError):
                await client.control.do(name, *args)
        assert isinstance(await client.control.do("now"), int)

    with_server(state, play)


def test_controls_show_and_move_what_a_harness_needs(state: Path) -> None:
    """Accounts are opened, a stranger's order is placed, one order filled and its trade restated, and what arrived is
    counted."""

    async def play(client: Client, running: Running) -> None:
        control = client.control
        await control.do("open_account", "late", "s3cret", {"USD": "1000"})
        assert await control.do("orders_of", "late") == []
        before = await control.do("traffic")
        await client.place(1)
        made = await control.do("place", "main", BTC, "BUY", "0.2", "90", "by-hand")
        mine, foreign = await control.do("orders_of", "main")
        assert (mine["limit"], mine["live"], foreign["id"], foreign["client"]) == ("100", True, made, "by-hand")
        await control.do("trade_through", BTC, "SELL", "100", "1")
        await control.do("correct", mine["id"], "0.5")
        corrected, _ = await control.do("orders_of", "main")
        assert (corrected["live"], corrected["base"]) == (False, "0.5")
        after = await control.do("traffic")
        assert (after["changes"] - before["changes"], after["requests"] - before["requests"]) == (1, 1)
        for name, args in (("correct", (made, "1")), ("place", ("nobody", BTC, "BUY", "1", "1", None))):
            with pytest.raises(RuntimeError):
                await control.do(name, *args)

    with_server(state, play)


def test_who_stops_waiting_for_a_subscription_leaves_no_connection() -> None:
    """Cancelled before the venue has answered, the link closes what it had opened."""

    async def run() -> None:
        ended, asked = asyncio.Event(), asyncio.Event()

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            asked.set()
            await reader.read()
            ended.set()
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        async with server, asyncio.timeout(20):
            link = TcpLink("127.0.0.1", server.sockets[0].getsockname()[1])
            waiting = asyncio.create_task(link.subscribe(b"{}"))
            await asked.wait()
            waiting.cancel()
            await asyncio.wait([waiting])
            await ended.wait()
            await link.close()

    asyncio.run(run())
