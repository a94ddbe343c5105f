"""The venue's dead-man switch: armed again and again while this owner works, so that its orders do not outlive it.

It is the venue that cancels, and it spares nobody: a symbol in which others have orders, or in which orders of ours
protect a position, is armed only where the user said so (R22). A cancellation by it is ours (R37); see
:mod:`exchange_kernel.reconcile.firings`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from exchange_kernel.errors import ExchangeKernelError, Unsupported
from exchange_kernel.models import DeadManPolicy, OrderIntent, Origin
from exchange_kernel.reconcile.intake import Intake
from exchange_kernel.state.rows import is_step
from exchange_kernel.venue import DeadMan, Ms, Notice

log = logging.getLogger("exchange_kernel.reconcile")

LOOK_S = 1.0
"""How often it is seen whether somebody else has come to a symbol, or ours to a new one."""
RENEWALS = 4
"""How often a switch is armed again before it would fire."""


class Switch:
    """``seen_at``: monotonic seconds of the newest whole snapshot, None before the first."""

    def __init__(self, intake: Intake, policy: DeadManPolicy, seen_at: Callable[[], float | None]) -> None:
        self._intake, self._policy, self._seen_at = intake, policy, seen_at
        self.session = intake.session
        self._armed: frozenset[str] = frozenset()
        self._due = 0.0
        self._ours: dict[str, str] = {}
        self._trouble = ""

    def inherit(self, lease_end: Ms) -> None:
        """Somebody owned the account before, until then by the database's clock: what it armed may have fired."""
        after = self._policy.after_s * 1_000
        since = lease_end - self.session.settings.lease_ms + after * (RENEWALS - 1) // RENEWALS
        offset = self.session.opened.clock_offset
        self.session.firings.fired("", since + offset, lease_end + after + offset)

    async def run(self) -> None:
        """Until it is cancelled. Raises nothing of the venue: what fails is told, and tried again."""
        while True:
            await self.step()
            await self.session.clock.sleep(LOOK_S)

    async def step(self) -> None:
        """One look; the venue is asked where something is due."""
        session = self.session
        now = session.clock.monotonic()
        idle = self._idle(now)
        if not idle:
            if now >= self._due:
                active = await session.store.intents(session.account, active_only=True)
                self._ours = _symbols(intent for intent, _ in active)
            await self._keep(now, self._wanted())
        elif self._armed:
            self._trouble = f"not renewed: {idle}; the venue will cancel what it is armed for"
        self._tell("", self._trouble)

    async def _keep(self, now: float, wanted: frozenset[str]) -> None:
        leave = self._armed - wanted
        if leave and await self._ask(None, leave):
            self._armed -= leave
        if now < self._due and wanted <= self._armed:
            return
        done = True
        if wanted:
            self._armed |= wanted
            done = await self._ask(self.session.clock.now_ms() + self._policy.after_s * 1_000, wanted)
        self._due = now + (self._policy.after_s / RENEWALS if done else LOOK_S)

    async def stop(self) -> None:
        """At a clean stop: as the user says."""
        if self._policy.at_stop == "DISARM" and self._armed and self.session.owned:
            await self._ask(None, self._armed)

    def _idle(self, now: float) -> str:
        """Why this owner does not reconcile, or ""."""
        seen, settings = self._seen_at(), self.session.settings
        if not self.session.owned:
            return "the account's lease is not known to be held"
        if seen is None:
            return "the venue's orders have not been read yet"
        if now - seen > max(2 * settings.snapshot_every, self._policy.after_s):
            return "the venue's orders cannot be read"
        return ""

    def _wanted(self) -> frozenset[str]:
        """Symbols where orders of ours rest, and may be cancelled with whatever else is there."""
        session = self.session
        fresh = _symbols(each.intent for each in session.records.values() if not each.progress.status.terminal)
        ours = fresh | {symbol: why or fresh.get(symbol, "") for symbol, why in self._ours.items()}
        wanted, refused = set(ours), {symbol: why for symbol, why in ours.items() if why}
        for state in session.actual.all(session.account):
            if state.origin is not Origin.OURS and state.symbol_id in wanted:
                refused[state.symbol_id] = "somebody else has orders there"
        if self._policy.cancels_everything:
            refused.clear()
        for kind, symbol in tuple(session.conditions):
            if kind == "dead_man" and symbol and symbol not in refused:
                self._tell(symbol, "")
        for symbol, why in refused.items():
            self._tell(symbol, f"not armed: {why}, and it would cancel everything; say cancels_everything to allow it")
        return frozenset(wanted - set(refused))

    async def _ask(self, until: int | None, symbols: frozenset[str]) -> bool:
        session, adapter = self.session, self.session.adapter
        assert isinstance(adapter, DeadMan)
        firings, offset = session.firings, session.opened.clock_offset
        if until is not None:
            for symbol in symbols:
                firings.asked(symbol, until + offset)
        try:
            with session.deadlines.within(session.settings.read_timeout):
                confirmed = await adapter.arm(until, symbols)
        except Unsupported as error:
            self._trouble = f"not armed: {error}"
            return False
        except (ExchangeKernelError, TimeoutError) as error:
            what = "not disarmed" if until is None else "not renewed"
            self._trouble = f"{what}: {type(error).__name__}: {error}"[:200]
            return False
        except Exception as error:
            log.exception("arming the dead-man switch of %s", session.account)
            self._trouble = f"not renewed: {type(error).__name__}"
            return False
        now = session.clock.now_ms() + offset
        for symbol in symbols:
            if until is None:
                firings.disarmed(symbol, now)
            elif confirmed is not None:
                firings.armed(symbol, confirmed + offset, now)
        self._trouble = "" if until is None or confirmed is not None else "not armed: the venue does not confirm it"
        return not self._trouble

    def _tell(self, subject: str, text: str) -> None:
        self._intake.note(Notice("dead_man", text, subject), over=not text)


def _symbols(intents: Iterable[OrderIntent]) -> dict[str, str]:
    """The symbols of these orders, and which of them protects a position, or ""."""
    found: dict[str, str] = {}
    for intent in intents:
        if not is_step(intent.intent_id):
            why = f"{intent.intent_id} protects a position" if protects(intent) else ""
            found[intent.order.symbol_id] = found.get(intent.order.symbol_id, "") or why
    return found


def protects(intent: OrderIntent) -> bool:
    """Does this order make a position smaller, or wait for a price to do so?"""
    return intent.order.reduce_only or intent.order.conditional_trigger is not None
