"""The emergency brake: cancel at the venue with nothing but credentials, journal to a local file, halt for later."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from exchange_kernel.clock import Clock, Ids
from exchange_kernel.errors import ExchangeKernelError, NoEffect, RateLimited, Unavailable
from exchange_kernel.state.ops import SetHalt
from exchange_kernel.state.stores import IntentStateStore
from exchange_kernel.venue import Cancel, Context, Opened, OrderReport, Prep, Ref, Slot, Ticket, VenueAdapter, Watermark

PATIENCE_MS = 60_000
"""How long a panic goes on before it gives up and says what may be left."""

AT_ONCE = 16
ANSWER_S = 20


@dataclass(frozen=True, slots=True)
class PanicResult:
    """What a panic found and did, by venue id.

    ``canceled``: the venue took the cancel. ``left``: open at the last look, foreign ones not counted. ``foreign``:
    open and not ours. ``errors``: what went wrong on the way. ``doubt``: why something of ours may be open, or come to
    be, all the same; "" when the venue's own answer excludes it. ``journal``: why it could not be written, or "".
    """

    canceled: tuple[str, ...]
    left: tuple[str, ...]
    foreign: tuple[str, ...]
    errors: tuple[str, ...]
    doubt: str
    journal: str = ""


def journal_path(state_dir: Path, account: str) -> Path:
    """Where the panic of an account is written down."""
    return state_dir / f"panic-{account}.jsonl"


class Journal:
    """An append-only local file, synced line by line: the only memory a panic needs.

    A full disk must not keep orders from being cancelled: what could not be written is kept in ``error``.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._clock = clock
        self._file: IO[str] | None = None
        self.error = ""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            self.error = str(error)

    def write(self, **entry: object) -> None:
        """Append one entry and sync it."""
        if self._file is None:
            return
        try:
            self._file.write(json.dumps({"at": self._clock.now_ms(), **entry}, separators=(",", ":")) + "\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            self.error = self.error or str(error)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()


async def nothing_runs() -> str:
    """The default of ``quiet``: no kernel can send anything any more."""
    return ""


async def panic(
    account: str,
    adapter: VenueAdapter,
    context: Context,
    state_dir: Path,
    *,
    actor: str,
    reason: str,
    clock: Clock,
    ids: Ids,
    foreign_too: bool = False,
    quiet: Callable[[], Awaitable[str]] = nothing_runs,
    patience_ms: int = PATIENCE_MS,
    tell: Callable[[str], None] = lambda line: None,
) -> PanicResult:
    """Halt (in the journal, first), then cancel each open order of ours at the venue, and look until none can be left.

    An order is taken for ours when its client id carries a key of this product; ``foreign_too`` cancels the rest too
    (R22), liquidations excepted. Needs no store. ``quiet`` returns once no kernel of the account sends any more, or
    says why that is not sure; orders under way by then are waited for, as long as a request can live at this venue.

    Raises NotAuthorized, Unavailable or ConfigError when the venue cannot be reached at all: nothing was cancelled.
    """
    journal = Journal(journal_path(state_dir, account), clock)
    try:
        journal.write(kind="halt", account=account, actor=actor, reason=reason)
        try:
            opened = await adapter.open(context)
            work = _Panic(account, adapter, opened, journal, clock, ids, foreign_too, tell)
            result = await work.run(quiet, clock.now_ms() + patience_ms)
        finally:
            await adapter.close()
        journal.write(
            kind="done", account=account, canceled=len(result.canceled), left=len(result.left), doubt=result.doubt
        )
    finally:
        journal.close()
    return replace(result, journal=journal.error)


class _Panic:
    """One account being emptied."""

    def __init__(
        self,
        account: str,
        adapter: VenueAdapter,
        opened: Opened,
        journal: Journal,
        clock: Clock,
        ids: Ids,
        foreign_too: bool,
        tell: Callable[[str], None],
    ) -> None:
        self._account, self._adapter, self._opened, self._journal = account, adapter, opened, journal
        self._clock, self._ids, self._foreign_too, self._tell = clock, ids, foreign_too, tell
        self._floors = {scope.name: scope.floor for scope in opened.scopes}
        self._canceled: dict[str, None] = {}
        self._errors: list[str] = []
        self._ours: list[OrderReport] = []
        self._others: list[OrderReport] = []
        self._wait_until = 0
        self._quiet_at = 0

    async def run(self, quiet: Callable[[], Awaitable[str]], give_up: int) -> PanicResult:
        """Look and cancel, until a look proves that nothing is left, or ``give_up`` (local ms)."""
        quieting = asyncio.ensure_future(quiet())
        shows_keys = await self._shows_keys()
        doubt, over, pause = "the venue's open orders could not be read", False, 0.1
        try:
            while True:
                looked = await self._look()
                if looked is not None:
                    await self._cancel_all()
                    doubt, over = self._judge(looked, quieting, shows_keys)
                now = self._clock.now_ms()
                if over or now >= give_up:
                    break
                pause = min(2 * pause, 2.0)
                await self._clock.sleep(min(max(pause, (self._wait_until - now) / 1000), (give_up - now + 1) / 1000))
        finally:
            quieting.cancel()
        return PanicResult(
            tuple(self._canceled),
            tuple(order.id.value for order in self._ours),
            tuple(order.id.value for order in self._others),
            tuple(self._errors),
            doubt,
        )

    async def _shows_keys(self) -> bool:
        """Does this venue show client ids, by which our orders are known from others'?"""
        try:
            markets = await self._adapter.markets()
        except ExchangeKernelError as error:
            self._errors.append(f"markets: {error}")
            return True
        return any(market.capabilities.offers("find_by_key") for market in markets)

    def _judge(self, at: Watermark, quieting: asyncio.Future[str], shows_keys: bool) -> tuple[str, bool]:
        """After a look that got as far as ``at``: why orders of ours may be open, or come to be, and whether more looks
        can't change that."""
        opened = self._opened
        if self._ours:
            return f"{len(self._ours)} orders were still open", False
        if not quieting.done():
            return "a kernel may still be sending", False
        self._quiet_at = self._quiet_at or self._clock.now_ms()
        if opened.horizon is not None:
            end = self._quiet_at + opened.clock_offset + opened.clock_error + opened.horizon + opened.read_lag
            if at.venue_ms is None or at.venue_ms <= end:
                return "orders sent just before may still arrive", False
        if quieting.result():
            return quieting.result(), True
        if self._others and not shows_keys and not self._foreign_too:
            count = len(self._others)
            return f"this venue shows no client ids: {count} open orders may be ours; --foreign cancels them", True
        if opened.horizon is None:
            return (
                "this venue sets requests no time limit: orders sent before may still arrive; look again later",
                True,
            )
        return "", True

    async def _look(self) -> Watermark | None:
        """Read all open orders; the watermark of the read, or None when it did not succeed completely."""
        page: str | None = None
        found: list[tuple[OrderReport, bool]] = []
        at: Watermark | None = None
        complete = True
        while True:
            try:
                async with asyncio.timeout(ANSWER_S):
                    snapshot = await self._adapter.open_orders(page)
            except (Unavailable, RateLimited, TimeoutError) as error:
                self._note("open orders", error)
                return None
            at = at or snapshot.at
            complete = complete and snapshot.complete and snapshot.symbols is None
            found.extend((report, snapshot.owner == "ours") for report in snapshot.reports)
            page = snapshot.next
            if page is None:
                break
        mine = [report for report, only_ours in found if report.key is not None or only_ours]
        rest = [report for report, only_ours in found if report.key is None and not only_ours]
        takable = [report for report in rest if self._foreign_too and report.origin != "venue"]
        self._ours = [*mine, *takable]
        self._others = [report for report in rest if report not in takable]
        if not complete:
            self._errors.append("open orders: the venue did not answer for every market")
        return at if complete else None

    async def _cancel_all(self) -> None:
        if not self._ours:
            return
        self._tell(f"{self._account}: {len(self._ours)} open orders to cancel")
        for start in range(0, len(self._ours), AT_ONCE):
            part = self._ours[start : start + AT_ONCE]
            if self._opened.scopes:
                for report in part:
                    await self._cancel(report)
            else:
                await asyncio.gather(*(self._cancel(report) for report in part))

    async def _cancel(self, report: OrderReport) -> None:
        named = report.id.value
        self._journal.write(kind="cancel", account=self._account, venue_id=named, symbol=report.symbol)
        answer = await self._answer(report)
        self._journal.write(kind="answer", account=self._account, venue_id=named, answer=answer)
        if answer == "ok":
            self._canceled[named] = None
        else:
            self._errors.append(f"cancel of {named}: {answer}")

    async def _answer(self, report: OrderReport) -> str:
        key = report.key if report.key is not None else self._ids.new(16)
        ref = Ref(key=key, symbol=report.symbol, spec=None, placed_at=0, ids=(report.id, *report.links))
        now = self._clock.now_ms()
        try:
            async with asyncio.timeout(ANSWER_S):
                command = Cancel(self._ids.new(16), ref, force=True)
                ticket = await self._adapter.prepare(command, Prep(now, now + 1000 * ANSWER_S, self._take))
                if not isinstance(ticket, Ticket):
                    return f"not now: {ticket.why}"
                await self._adapter.submit(ticket)
        except NoEffect as error:
            self._wait_for(error)
            return f"{type(error).__name__}: {error}"
        except ExchangeKernelError as error:
            return f"unknown ({type(error).__name__}): {error}"
        except TimeoutError:
            return f"unknown: no answer in {ANSWER_S} s"
        return "ok"

    def _take(self, scope: str) -> Slot:
        slot = Slot(scope, self._floors[scope])
        self._floors[scope] += 1
        return slot

    def _note(self, what: str, error: Exception) -> None:
        self._wait_for(error)
        self._errors.append(f"{what}: {type(error).__name__}: {error}")
        self._tell(f"{self._account}: {what}: {error}")

    def _wait_for(self, error: Exception) -> None:
        self._wait_until = max(self._wait_until, getattr(error, "retry_at", None) or 0)


def read_halt(account: str, state_dir: Path) -> tuple[str, str] | None:
    """Actor and reason of the newest panic in the journal, or None when there is no journal to import."""
    try:
        text = journal_path(state_dir, account).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    actor, reason = "panic", "a journal without a readable entry"
    for line in text.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.get("kind") == "halt":
            actor, reason = str(entry.get("actor")), str(entry.get("reason"))
    return actor, f"panic: {reason}"[:200]


async def import_journal(store: IntentStateStore, account: str, state_dir: Path) -> bool:
    """Bring a panic into the store: its halt, with actor and reason. Done once; the file is kept under another name."""
    halt = read_halt(account, state_dir)
    if halt is None:
        return False
    await store.execute(SetHalt(account, True, *halt))
    row = await store.account_row(account)
    suffix = row.event_seq if row is not None else 0
    path = journal_path(state_dir, account)
    path.rename(path.with_name(f"{path.stem}.imported-{suffix}.jsonl"))
    return True


__all__ = ["Journal", "PanicResult", "import_journal", "journal_path", "panic", "read_halt"]
