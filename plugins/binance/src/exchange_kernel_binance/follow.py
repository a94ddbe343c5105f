"""The account's events, as the kernel hears them: subscribe, then ``Gap``, then what Binance tells."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Protocol

from exchange_kernel.venue import Gap, Ms, VenueEvent
from exchange_kernel_binance.config import MARGIN, BinanceConfig, secrets_of
from exchange_kernel_binance.dialect import Dialect
from exchange_kernel_binance.session import Session
from exchange_kernel_binance.signatures import signer
from exchange_kernel_binance.user_stream import Keyed, ListenKey, ListenToken, SignedSubscription
from exchange_kernel_ccxt.stream_link import Dial, Live, Message
from exchange_kernel_ccxt.stream_link import Gap as Missing

_UNREADABLE = (KeyError, ValueError, TypeError, ArithmeticError)


def dial_of(config: BinanceConfig, session: Session) -> Dial:
    """How this account's events are asked for."""
    key, secret = secrets_of(session.ctx)
    url = config.addresses[f"{config.service}_ws"]
    if config.market == "usdm":
        request = Keyed(session.connections, config.addresses["usdm"], key, session.clock)
        return ListenKey(session.connections, f"{url}/private/ws", request, session.clock)
    if config.market in MARGIN:
        request = Keyed(session.connections, config.addresses["spot"], key, session.clock)
        symbol = config.symbols[0].replace("/", "") if config.market == "margin_isolated" else ""
        return ListenToken(session.connections, url, request, session.clock, session.time, symbol)
    return SignedSubscription(
        session.connections, url, key, signer(secret), session.time, session.clock, config.recv_window_ms
    )


class Heard(Protocol):
    """A stream of raw events, each connection of it subscribed before it counts."""

    def events(self) -> AsyncIterator[Message | Missing | Live]:
        """Messages and markers until it is closed."""
        ...

    async def close(self) -> None:
        """End it. Idempotent."""
        ...


class Follower:
    """All open streams of one session. ``venue_ms``: Binance's time of a local one, at the earliest."""

    def __init__(self, dialect: Dialect, connect: Callable[[], Heard], venue_ms: Callable[[Ms], Ms]) -> None:
        self._dialect, self._connect, self._venue_ms = dialect, connect, venue_ms
        self._open: set[Heard] = set()
        self._closed = False

    async def events(self) -> AsyncIterator[VenueEvent]:
        """Ends when the session is closed. Raises NotAuthorized."""
        if self._closed:
            return
        heard = self._connect()
        self._open.add(heard)
        items = heard.events()
        why, listening = "", False
        try:
            async for item in items:
                match item:
                    case Missing(_, said):
                        why = said
                    case Live(since, at):
                        # Who has not listened yet may have missed everything.
                        missed = self._venue_ms(since) if listening else 0
                        yield VenueEvent(self._venue_ms(at), None, Gap(missed, None, why))
                        listening = True
                    case Message():
                        for each in self._told(item):
                            yield each
        finally:
            self._open.discard(heard)
            await heard.close()
            if isinstance(items, AsyncGenerator):
                with suppress(RuntimeError):  # a loop that shuts down closes both at once
                    await items.aclose()

    def _told(self, message: Message) -> Sequence[VenueEvent]:
        try:
            return self._dialect.told(message.event)
        except _UNREADABLE as error:
            at = self._venue_ms(message.at)
            return (VenueEvent(at, None, Gap(at, None, f"an event cannot be read: {type(error).__name__}")),)

    async def close(self) -> None:
        """End every stream. Idempotent."""
        self._closed = True
        for heard in tuple(self._open):
            await heard.close()
