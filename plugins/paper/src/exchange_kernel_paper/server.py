"""The exchange as a process of its own: ``python -m exchange_kernel_paper.server --port 0 --state FILE``.

It listens on loopback only and prints ``{"port": N}`` when it is ready. Its state is a journal that loses nothing that
was answered, however the process dies. The same socket takes control messages (see :class:`Controls`): this is a test
venue.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

from exchange_kernel_paper.exchange import (
    Exchange,
    FileJournal,
    House,
    NeverSent,
    NoAnswer,
    Refusal,
    SettingError,
    Settings,
    SystemVenueClock,
    VenueClock,
    Wire,
    decode,
    encode,
    read_journal,
)
from exchange_kernel_paper.exchange.filters import Terms
from exchange_kernel_paper.tcp import LINE_LIMIT

LOOPBACK = "127.0.0.1"


class Controls:
    """What the test side may ask: quotes, faults, and the ledger."""

    def __init__(self, exchange: Exchange, house: House) -> None:
        self._exchange = exchange
        faults, ledger = exchange.faults, exchange.ledger
        self._do: dict[str, Callable[..., Any]] = {
            "set_ladder": exchange.set_ladder,
            "trade_through": exchange.trade_through,
            "deposit": exchange.deposit,
            "force": exchange.force,
            "set_open": exchange.set_open,
            "set_base_fee": exchange.set_base_fee,
            "skew": exchange.skew,
            "outage": exchange.outage,
            "restart": exchange.restart,
            "step": house.step,
            "fault": faults.set,
            "fault_once": faults.once,
            "clear_faults": faults.clear,
            "counts": lambda: dict(faults.counts),
            "dump": ledger.dump,
            "totals": ledger.totals,
            "orders": lambda client: [record.view() for record in ledger.orders_by_client_id(client)],
            "client_ids": ledger.client_ids,
            "arrivals": ledger.arrivals,
            "doubled": lambda: sorted(ledger.doubled()),
            "now": lambda: exchange.clock.now_ms(),
            "open_account": self._open_account,
            "traffic": lambda: {"requests": exchange.requests, "changes": exchange.changes},
            "orders_of": self._orders_of,
            "place": self._place,
            "correct": self._correct,
        }

    def run(self, message: dict[str, Any]) -> dict[str, Any]:
        """The result, or the error, of one control message."""
        name = message.get("do")
        try:
            return {"result": self._do[str(name)](*message.get("args", ()), **message.get("kwargs", {}))}
        except KeyError:
            return {"error": f"no control {name!r}; there are {', '.join(self._do)}"}
        except (Refusal, ArithmeticError, IndexError, ValueError, TypeError, AssertionError) as error:
            return {"error": f"{type(error).__name__}: {error}"}

    def _open_account(self, name: str, secret: str, balances: dict[str, str]) -> None:
        self._exchange.open_account(name, secret, balances)

    def _orders_of(self, account: str) -> list[dict[str, Any]]:
        """Every order the account ever had, oldest first, with its limit while the venue remembers it."""
        self._exchange.refresh()
        out = []
        for record in self._exchange.ledger.orders():
            if record.account == account:
                known = self._exchange.engine.orders.get(record.id)
                limit = None if known is None or known.limit is None else f"{known.limit:f}"
                out.append({**record.view(), "limit": limit, "live": record.live})
        return out

    def _place(self, account: str, symbol: str, side: str, amount: str, limit: str, client: str | None) -> int:
        """Somebody else's order on an account, made by hand; its number."""
        exchange = self._exchange
        who, market = exchange.account(account), exchange.market(symbol)
        exchange.refresh()
        terms = Terms(side, Decimal(amount), False, Decimal(limit), None, "GTC", None, False, None)
        made = exchange.engine.place(who, market, terms, client, None)
        exchange.refresh()
        return made.id

    def _correct(self, order: int, base: str) -> None:
        """Restate the order's last trade."""
        self._exchange.refresh()
        self._exchange.correct(order, self._exchange.engine.orders[order].trades[-1].id, base)


class Server:
    """Serves one exchange."""

    def __init__(self, exchange: Exchange, house: House) -> None:
        self.exchange = exchange
        self._wire = Wire(exchange)
        self._controls = Controls(exchange, house)
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self, port: int) -> int:
        """Listen on loopback; the port it got."""
        self._server = await asyncio.start_server(self._serve, LOOPBACK, port, limit=LINE_LIMIT)
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    async def run(self) -> None:
        """Serve until cancelled."""
        assert self._server is not None
        await self._server.serve_forever()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls: set[asyncio.Task[None]] = set()
        try:
            while line := await reader.readline():
                task = asyncio.create_task(self._answer(_read(line), writer))
                calls.add(task)
                task.add_done_callback(calls.discard)
        except (OSError, ValueError):
            pass
        finally:
            for task in calls:
                task.cancel()
            writer.close()

    async def _answer(self, message: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        number, op = message["id"], str(message.get("op"))
        if op == "control":
            _write(writer, {"id": number, **self._controls.run(message)})
        elif op == "subscribe":
            await self._stream(number, message["body"].encode(), writer)
        else:
            try:
                body = await self._wire.call(op, message["body"].encode())
                _write(writer, {"id": number, "body": body.decode(errors="replace")})
            except NeverSent:
                _write(writer, {"id": number, "refused": True})
            except NoAnswer:
                writer.close()

    async def _stream(self, number: int, body: bytes, writer: asyncio.StreamWriter) -> None:
        try:
            stream = self._wire.subscribe(body)
        except NeverSent:
            _write(writer, {"id": number, "refused": True})
            return
        except Refusal as refusal:
            _write(writer, {"id": number, "body": self._wire.front.refuse(refusal).decode()})
            return
        _write(writer, {"id": number})
        try:
            async for event in stream:
                _write(writer, {"event": event.decode()})
                await writer.drain()
        except OSError:
            pass
        finally:
            stream.close()
            writer.close()


def _read(line: bytes) -> dict[str, Any]:
    """One message. Raises ValueError, which ends the connection."""
    message = decode(line)
    if not isinstance(message, dict) or type(message.get("id")) is not int:
        raise ValueError("a message needs an id")
    if message.get("op") != "control" and not isinstance(message.get("body"), str):
        raise ValueError("a request needs a body")
    return message


def _write(writer: asyncio.StreamWriter, message: dict[str, Any]) -> None:
    if not writer.is_closing():
        writer.write(encode(message) + b"\n")


def build(
    name: str, clock: VenueClock, config: dict[str, Any], state: Path | None, seed: int
) -> tuple[Exchange, House]:
    """An exchange with its accounts, continued from its journal if it has one.

    ``config``: ``settings`` (of :class:`Settings`), ``accounts`` (name to ``secret`` and ``balances``), ``house``
    (false: no quotes), ``walk_ms`` (a random walk of the quotes). Raises SettingError, Refusal.
    """
    exchange = Exchange(name, clock, Settings.of(config.get("settings", {})), rng=Random(seed))
    past = list(read_journal(state)) if state is not None else []
    exchange.replay(past)
    if state is not None:
        exchange.keep_journal(FileJournal(state))
    for account, given in config.get("accounts", {}).items():
        exchange.open_account(account, given.get("secret", "paper"), given.get("balances", {}))
    house = House(exchange, Random(seed))
    if config.get("house", True):
        house.open()
    return exchange, house


async def _main(arguments: argparse.Namespace, config: dict[str, Any]) -> None:
    exchange, house = build(arguments.name, SystemVenueClock(), config, arguments.state, arguments.seed)
    server = Server(exchange, house)
    port = await server.start(arguments.port)
    if config.get("walk_ms"):
        house.walk(config["walk_ms"])
    sys.stdout.write(encode({"port": port}).decode() + "\n")
    sys.stdout.flush()
    await server.run()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m exchange_kernel_paper.server", description="A paper exchange.")
    parser.add_argument("--port", type=int, default=0, help="on loopback; 0 takes any free one and prints it")
    parser.add_argument("--name", default="paper", help="name of the venue")
    parser.add_argument("--state", type=Path, help="journal to continue from and to write")
    parser.add_argument("--config", required=True, help="JSON file with settings and accounts, or - for standard input")
    parser.add_argument("--seed", type=int, default=0, help="of its faults and of its quotes")
    arguments = parser.parse_args()
    try:
        text = sys.stdin.read() if arguments.config == "-" else Path(arguments.config).read_text("utf-8")
        with suppress(KeyboardInterrupt):
            asyncio.run(_main(arguments, decode(text.encode())))
    except (SettingError, Refusal, ValueError, OSError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
