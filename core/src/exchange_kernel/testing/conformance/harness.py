"""What an author tells the kit about a venue: how to reach it, and how to see and move it without the adapter.

Every control beyond the abstract ones is optional. One that is missing removes exactly the cases that need it, and the
report says which and why.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Literal

from exchange_kernel.clock import Clock
from exchange_kernel.value import Value
from exchange_kernel.venue import Context, Spec, VenueAdapter, VenueId


class Fault(StrEnum):
    """What may go wrong between an adapter and its venue. ``ms``: how long or how late, where that means something."""

    REQUEST_LOST = "request_lost"
    """The next change never arrives; the client sees the connection break."""
    ANSWER_LOST = "answer_lost"
    """The next change is executed; the client sees the connection break."""
    LATE = "late"
    """The client sees the connection break; the change arrives ``ms`` later, and then waits in the venue's queue as
    long as it may."""
    ERROR_AFTER = "error_after"
    """The next change is executed; the answer is a server error (HTTP 5xx)."""
    UNAVAILABLE = "unavailable"
    """The next change is not executed; the answer is a server error, which nobody can tell from the one above."""
    GARBLED = "garbled"
    """The next change is executed; the answer breaks off in the middle."""
    RATE_LIMIT = "rate_limit"
    """The next change is refused for its rate, before execution, until ``ms`` from now."""
    BANNED = "banned"
    """The next request, read or change, is refused before execution: the client is banned until ``ms`` from now. Only
    where the venue bans."""
    NODE_REFUSES = "node_refuses"
    """A ledger venue takes the next change, and the node that was asked answers with a refusal."""
    SLOW = "slow"
    """The next request, read or change, takes ``ms``; the connection stays and the answer comes."""
    READ_FAILS = "read_fails"
    """The next read is answered with a server error."""
    READ_GARBLED = "read_garbled"
    """The answer to the next read breaks off in the middle."""
    READ_LIMITED = "read_limited"
    """The next read is refused for its rate, until ``ms`` from now."""
    READ_LAGS = "read_lags"
    """The next reads show the state of ``ms`` ago; 0: as long ago as this venue's reads ever do."""
    STREAM_CUT = "stream_cut"
    """The stream's connection ends now."""
    STREAM_SILENT = "stream_silent"
    """The stream's connection stays open and nothing comes any more, heartbeats included."""
    EVENT_LOST = "event_lost"
    """The next event is lost, unnoticed by the connection."""
    EVENT_REPEATED = "event_repeated"
    """The next event comes twice."""
    EVENTS_REORDERED = "events_reordered"
    """The next two events change places."""


STREAM_FAULTS = frozenset(
    {Fault.STREAM_CUT, Fault.STREAM_SILENT, Fault.EVENT_LOST, Fault.EVENT_REPEATED, Fault.EVENTS_REORDERED}
)
"""What can only happen to events that are pushed."""


READ_FAULTS = frozenset({Fault.READ_FAILS, Fault.READ_GARBLED, Fault.READ_LIMITED, Fault.READ_LAGS})
"""What happens to reads."""


class TruthOrder(Value, frozen=True):
    """One order as the venue itself knows it, learned by a way that is not the adapter. Money: base and quote."""

    ids: tuple[VenueId, ...]
    symbol: str
    side: str
    amount: Decimal
    filled_base: Decimal
    filled_quote: Decimal
    live: bool
    price: Decimal | None = None
    """Limit price; None: it has none, or the harness does not know it."""
    display: Decimal | None = None
    """Base that it shows at a time, all of it where nothing is hidden; None: the harness does not know it."""
    tif: str | None = None
    """Time in force, by the kernel's name for it; None: the harness does not know it."""
    post_only: bool | None = None
    """May it only rest? None: the harness does not know it."""


class Harness(ABC):
    """One venue under test. The kit makes a new one for every case.

    ``symbol``: a market with two sides, in which :meth:`resting` and :meth:`crossing` make orders. ``secrets``: what
    the adapter gets; the kit looks for their values where no secret may be. ``deviations``: ids of cases that this
    venue cannot pass, and why; each must fail, and once it passes the run fails until the entry is gone.

    ``quiet_s``: seconds in which this venue, at rest, has surely said and done what it was going to; the waits of the
    cases are multiples of it. In real time make it short: some three heartbeats of the stream, a block and its
    finality, and never less than a slow machine needs. ``limit_s``: the longest one case may take, seconds of the
    harness' own time. ``polled``: the adapter's events are polled, it asks what changed; nothing is pushed to it. Then
    the cases of a broken stream break its reads instead, after having seen that nothing comes while none is answered.
    """

    deviations: Mapping[str, str] = {}
    quiet_s = 1.0
    limit_s = 300.0
    polled = False
    venue: str
    kind: Literal["cex", "dex", "sim"] = "cex"
    symbol: str
    secrets: Mapping[str, str]

    @property
    @abstractmethod
    def clock(self) -> Clock:
        """The time source of this run; :meth:`context` hands the same one to the adapter."""

    def loop(self) -> asyncio.AbstractEventLoop:
        """The event loop the case runs in: real time, or a virtual one."""
        return asyncio.new_event_loop()

    async def start(self) -> None:  # noqa: B027 - a venue that is there already needs nothing
        """Make the venue ready: empty, open, with the account funded."""

    async def stop(self) -> None:  # noqa: B027 - the same
        """End everything :meth:`start` began."""

    @abstractmethod
    def adapter(self) -> VenueAdapter:
        """A new adapter, not opened."""

    @abstractmethod
    def context(self, account: str = "main", secrets: Mapping[str, str] | None = None) -> Context:
        """What the adapter is opened with. ``account``: ``main`` or ``second``; ``secrets``: instead of the own."""

    @abstractmethod
    def resting(self, steps: int = 1) -> Spec:
        """A limit order that will not trade by itself; ``steps`` makes others of other amounts."""

    def near(self, spec: Spec) -> Spec:
        """The order at the nearest price that the venue takes for it, where the market's metadata does not say which
        these are."""
        return spec

    @abstractmethod
    def crossing(self, steps: int = 1) -> Spec:
        """An order that trades in full at once."""

    @abstractmethod
    async def truth(self, account: str = "main") -> Sequence[TruthOrder]:
        """Every order of the account there ever was, oldest first, read past the adapter."""

    @abstractmethod
    async def changes(self) -> int:
        """Requests that could change something and reached the venue since :meth:`start`."""

    # optional controls ------------------------------------------------------------------------------------------

    faults: frozenset[Fault] = frozenset()

    async def inject(self, fault: Fault, *, times: int = 1, ms: int = 0, after: int = 0) -> None:
        """Arm a fault of :attr:`faults` for the next ``times`` occasions, once ``after`` of them have passed."""
        raise NotImplementedError

    async def clear(self) -> None:  # noqa: B027 - nothing to clear without faults
        """No more faults."""

    async def fill(self, order: TruthOrder, base: Decimal) -> None:
        """Somebody trades ``base`` of a resting order."""
        raise NotImplementedError

    async def correct(self, order: TruthOrder, base: Decimal) -> None:
        """The venue restates, afterwards, the last execution of an order that is over: it was for ``base``. 0: it is
        taken back, as by a bust or a reorganisation."""
        raise NotImplementedError

    async def liquidity(self, base: Decimal) -> None:
        """From now on :meth:`crossing` orders trade at once up to ``base``, all of them together, and no more."""
        raise NotImplementedError

    async def reprice(self) -> None:
        """The best prices of :attr:`symbol` change now. What rests and what crosses stays so."""
        raise NotImplementedError

    async def halt(self, halted: bool) -> None:
        """From now on the market of :attr:`symbol` takes no new orders, and is listed as one that does not; or, not
        ``halted``, takes them again. What rests stays."""
        raise NotImplementedError

    async def revoke(self, revoked: bool) -> None:
        """From now on the venue takes the credentials of ``main`` no more; or, not ``revoked``, takes them again."""
        raise NotImplementedError

    async def foreign(self) -> TruthOrder:
        """Somebody else places a resting order on the same account, past the adapter."""
        raise NotImplementedError

    async def restart(self) -> None:
        """The venue's servers restart: connections break, orders stay."""
        raise NotImplementedError

    async def outage(self, ms: int) -> None:
        """Nothing can be reached for a while."""
        raise NotImplementedError

    async def requests(self) -> int:
        """Requests of any kind, reads too, that reached the venue since :meth:`start`."""
        raise NotImplementedError

    async def skew(self, ms: int) -> None:
        """From now on the local clock, the adapter's, shows ``ms`` more; the venue's clock stays right."""
        raise NotImplementedError

    async def leap(self, ms: int) -> None:
        """Both clocks, the venue's and the local one, show ``ms`` more: a week for which nobody waits."""
        raise NotImplementedError

    def elsewhere(self) -> Spec:
        """A limit order in another market, which will not trade by itself."""
        raise NotImplementedError

    def group(self, kind: str) -> Sequence[Spec]:
        """The legs of a native group: ``oco``, ``oto`` or ``bracket``, the first leg first. No two are alike, and
        nothing trades by itself."""
        raise NotImplementedError

    async def burst(self, orders: Sequence[TruthOrder]) -> None:
        """At one moment there is enough to trade with for all of these resting orders."""
        raise NotImplementedError

    async def forced(self) -> TruthOrder:
        """The venue itself trades for the account: a liquidation, a deleveraging, a settlement."""
        raise NotImplementedError

    async def settle(self) -> None:
        """Let everything that is pending at the venue become final (a chain: mine until finality)."""
        raise NotImplementedError

    def wrong_secrets(self) -> Mapping[str, str]:
        """Credentials the venue refuses."""
        raise NotImplementedError

    def offers(self, control: str) -> bool:
        """Is this optional control implemented?"""
        return getattr(type(self), control) is not getattr(Harness, control)
