"""The adapter: a session with one account of Binance. What lasts is in tickets, or at Binance; it keeps nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from exchange_kernel.errors import ConfigError, NotRunning, NotSent, Unavailable
from exchange_kernel.schema import SymbolMetadata
from exchange_kernel.value import revised
from exchange_kernel.venue import (
    AccountSnapshot,
    Ack,
    Command,
    Context,
    Lookup,
    Ms,
    Notice,
    Opened,
    Prep,
    Prepared,
    Preview,
    PriceTick,
    Ref,
    Snapshot,
    Spec,
    Ticket,
    VenueEvent,
)
from exchange_kernel_binance.config import NETWORKS, SERVICES, BinanceConfig
from exchange_kernel_binance.dialect import Dialect
from exchange_kernel_binance.follow import Follower, Heard, dial_of
from exchange_kernel_binance.margin.dialect import MarginDialect
from exchange_kernel_binance.rights import rights
from exchange_kernel_binance.session import CLOSED, Session
from exchange_kernel_binance.spot import dialect as spot
from exchange_kernel_binance.spot.dialect import SpotDialect
from exchange_kernel_binance.usdm import dialect as usdm
from exchange_kernel_binance.usdm.dialect import UsdmDialect
from exchange_kernel_binance.user_stream import UserStream
from exchange_kernel_binance.verdicts import SPOT, SPOT_MARGIN, USDM
from exchange_kernel_ccxt.stream_link import Patience
from exchange_kernel_ccxt.verdicts import Table

T = TypeVar("T")
_AHEAD_MS = 1_000
"""A request may be dated so far ahead of Binance's clock (rest-api.md, Timing security)."""


@dataclass(frozen=True, slots=True)
class Room:
    """One market type: its verdicts, where its clock is, which refusals of a read say that nothing is there."""

    dialect: Callable[[Session], Dialect]
    table: Table
    clock: tuple[str, str]
    absent: frozenset[int]


ROOMS = {
    "spot": Room(SpotDialect, SPOT, spot.CLOCK, spot.ABSENT),
    "margin_cross": Room(MarginDialect, SPOT_MARGIN, spot.CLOCK, spot.ABSENT),
    "margin_isolated": Room(MarginDialect, SPOT_MARGIN, spot.CLOCK, spot.ABSENT),
    "usdm": Room(UsdmDialect, USDM, usdm.CLOCK, usdm.ABSENT),
}


@dataclass(slots=True)
class _Open:
    session: Session
    dialect: Dialect
    follower: Follower
    notices: tuple[Notice, ...]


class BinanceAdapter:
    """Implements VenueAdapter and PriceReads; on futures DeadMan, too."""

    arm: Callable[[Ms | None, frozenset[str]], Awaitable[Ms | None]]

    def __init__(self) -> None:
        self._now: _Open | None = None
        self._opening: Session | None = None

    async def open(self, ctx: Context) -> Opened:
        config = BinanceConfig.of(ctx)
        room = ROOMS[config.market]
        session = self._opening = Session(ctx, config, room.table, room.clock, room.absent)
        try:
            return await self._open(config, session)
        except BaseException:
            await self.close()
            raise

    async def _open(self, config: BinanceConfig, session: Session) -> Opened:
        real = {market: NETWORKS["live"][market].partition("://")[2] for market in SERVICES}
        await session.open({real[each]: config.addresses[each] for each in SERVICES if each in config.addresses})
        await session.mark()
        await session.mark()  # a second measurement, now that the connection stands
        dialect = ROOMS[config.market].dialect(session)
        number = await _whole(dialect.login())
        session.identity = f"binance:{config.place}:{config.market}:{number}"
        listed = {market.symbol_id for market in await _whole(dialect.load())}
        for symbol in config.symbols:
            if symbol not in listed:
                rule = f"is not listed in market {config.market}"
                raise ConfigError("symbols", symbol, rule, "write BTC/USDT on spot, BTC/USDT:USDT on usdm")
        may = await _whole(rights(session, config, observe=session.ctx.observe))
        notices = (Notice("credentials", "the key may withdraw", "withdraw"),) if may.get("withdraw") else ()
        follower = Follower(dialect, lambda: self._stream(config, session), session.venue_ms)
        self._now = _Open(session, dialect, follower, notices)
        if isinstance(dialect, UsdmDialect):
            self.arm = self._arm
        return Opened(
            identity=session.identity,
            mode=config.mode,
            retention=config.kept_ms,
            read_lag=config.read_lag_ms,
            clock_offset=session.time.offset,
            clock_error=session.time.error,
            horizon=_AHEAD_MS + config.recv_window_ms + config.slack_ms,
            rights=may,
        )

    async def close(self) -> None:
        opened, session = self._now, self._opening
        self._now = self._opening = None
        if opened is not None:
            await opened.follower.close()
        if session is not None:
            await session.close()

    async def markets(self) -> Sequence[SymbolMetadata]:
        return await _whole(self._reads().dialect.load())

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        if self._now is None:
            raise NotRunning(CLOSED)
        return self._now.dialect.check(spec, was)

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        if self._now is None:
            raise NotSent(CLOSED)
        if prep.instead_of is not None:
            raise NotSent("Binance has no sequence numbers by which one ticket could replace another")
        if self._now.session.time.stale:
            await self._now.session.mark()
        return await self._now.dialect.prepare(command, prep)

    async def submit(self, ticket: Ticket) -> Ack:
        if self._now is None:
            raise NotSent(CLOSED)
        return await self._now.dialect.submit(ticket)

    async def lookup(self, ref: Ref) -> Lookup:
        return await _whole(self._reads().dialect.lookup(ref))

    async def open_orders(self, page: str | None) -> Snapshot:
        return await _whole(self._reads().dialect.open_orders(page))

    async def account(self) -> AccountSnapshot:
        opened = self._reads()
        snapshot = await _whole(opened.dialect.account())
        return revised(snapshot, notices=(*(snapshot.notices or ()), *opened.notices))

    async def price(self, symbol: str) -> PriceTick:
        return await _whole(self._reads().dialect.price(symbol))

    async def _arm(self, until: Ms | None, symbols: frozenset[str]) -> Ms | None:
        dialect = self._reads().dialect
        assert isinstance(dialect, UsdmDialect)
        return await _whole(dialect.arm(until, symbols))

    def events(self, cursor: str | None) -> AsyncIterator[VenueEvent]:
        return self._reads().follower.events()

    def _stream(self, config: BinanceConfig, session: Session) -> Heard:
        silence = config.silence_ms / 1000
        patience = Patience(
            connect_s=config.timeout_ms / 1000,
            probe_s=silence / 3,
            silence_s=silence,
            overlap_s=min(silence, 5.0),
            settle_s=min(silence, 1.0),
        )
        return UserStream(dial_of(config, session), session.clock, patience)

    def _reads(self) -> _Open:
        if self._now is None:
            raise Unavailable(CLOSED)
        return self._now


async def _whole(reading: Awaitable[T]) -> T:
    """What is read; an answer with numbers or words that cannot be is none."""
    try:
        return await reading
    except (ArithmeticError, KeyError, ValueError) as error:
        raise Unavailable(f"an answer is not as documented: {type(error).__name__}") from None
