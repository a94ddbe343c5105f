"""How much an account may ask of a venue: counted before a request leaves, corrected by what the venue answers.

A venue counts requests in fixed windows of its own clock: by weight for each address they come from, by orders for each
account. Several processes may share an address: each has a fixed share, or leases from a common pool where there is
one. Cancels and look-ups come first: a part of the weight is for them alone. A refusal for the rate closes the budget
until the venue allows requests again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from exchange_kernel.clock import Clock
from exchange_kernel.errors import RateLimited
from exchange_kernel.value import Value
from exchange_kernel.venue import Ms


class Rule(Value, frozen=True):
    """At most ``limit`` per window of ``length_ms``. ``name``: as answers call it (``1M``). ``scope``: ``ip`` or
    ``account``; ``counts``: ``weight``, ``requests`` or ``orders``."""

    name: str
    counts: str
    limit: int
    length_ms: Ms
    scope: str = "ip"


class Cost(Value, frozen=True):
    """What a request uses of each kind. ``urgent``: a cancel or a look-up, which may use the reserve."""

    weight: int = 1
    orders: int = 0
    urgent: bool = False

    def of(self, rule: Rule) -> int:
        """What it uses of what this rule counts."""
        return {"weight": self.weight, "orders": self.orders, "requests": 1}[rule.counts]


@dataclass(slots=True)
class _Window:
    """One rule's count. ``number``: of the current window; ``own``: booked by this process; ``seen``: the venue's
    count; ``under_way``: booked and not answered; ``leased``: of a pool, None without one."""

    rule: Rule
    number: int = -1
    own: int = 0
    seen: int = 0
    seen_order: int = -1
    under_way: int = 0
    leased: int | None = None

    def turn(self, now: Ms) -> None:
        number = now // self.rule.length_ms
        if number > self.number:
            # What is under way may be counted in the new window.
            self.number, self.own, self.seen, self.leased = number, self.under_way, 0, None

    def ends(self) -> Ms:
        return (self.number + 1) * self.rule.length_ms


@dataclass(slots=True)
class Booking:
    """A request that was let through. It is ended once: by :meth:`Budget.answered`, :meth:`Budget.unanswered` or
    :meth:`Budget.never_sent`."""

    cost: Cost
    order: int
    # By rule name: number of the window it was booked in, and the venue's count by then.
    windows: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    ended: bool = False
    # Of the same request in other budgets; ended with this one.
    beside: list[tuple[Budget, Booking]] = field(default_factory=list)


class Budget:
    """Counts for one address and one account.

    ``share``: this process's part of the address's limits. ``reserve``: the part of the weight that only urgent
    requests may use. ``offset`` and ``error``: of the venue's clock, ms (``VenueClock``).
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        clock: Clock,
        *,
        share: Fraction = Fraction(1),
        reserve: Fraction = Fraction(1, 10),
        offset: Callable[[], Ms] = lambda: 0,
        error: Callable[[], Ms] = lambda: 0,
    ) -> None:
        if not 0 < share <= 1 or not 0 <= reserve < 1:
            raise ValueError(f"share {share} must lie in (0, 1], reserve {reserve} in [0, 1)")
        self._clock, self._share, self._reserve = clock, share, reserve
        self._offset, self._error = offset, error
        self._windows: dict[tuple[str, str], _Window] = {}
        self._closed: dict[str, tuple[Ms, bool]] = {}
        self._order = 0
        self.configure(rules)

    def configure(self, rules: Iterable[Rule]) -> None:
        """The venue's limits; counts of those that stay are kept."""
        found = {(rule.counts, rule.name): rule for rule in rules}
        self._windows = {key: self._windows.get(key, _Window(rule)) for key, rule in found.items()}
        for key, rule in found.items():
            self._windows[key].rule = rule

    @property
    def reserve(self) -> Fraction:
        """The part of the weight that only urgent requests may use."""
        return self._reserve

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The limits in force."""
        return tuple(window.rule for window in self._windows.values())

    # before a request -------------------------------------------------------------------------------------------

    def take(self, cost: Cost) -> Booking:
        """Book a request that leaves now. Raises RateLimited with the local time at which it may; nothing is booked."""
        now = self._clock.now_ms()
        for scope, (until, banned) in self._closed.items():
            if until > now and (scope == "ip" or cost.orders):
                raise RateLimited(until, scope, banned=banned)
        windows = self._turned(now)
        for window in windows:
            amount = cost.of(window.rule)
            if amount and self._used(window) + amount > self._most(window, cost):
                # The venue's clock may be behind by as much as nobody knows.
                raise RateLimited(window.ends() - self._offset() + self._error(), window.rule.scope)
            if amount and window.own + amount > self._own_most(window, cost):
                raise RateLimited(window.ends() - self._offset() + self._error(), window.rule.scope)
        self._order += 1
        booking = Booking(cost, self._order)
        for window in windows:
            amount = cost.of(window.rule)
            window.own += amount
            window.under_way += amount
            booking.windows[window.rule.counts, window.rule.name] = (window.number, window.seen)
        return booking

    def lacks(self, cost: Cost) -> list[tuple[Rule, int, int]]:
        """What would have to be leased for this request: rule, number of its window, and how much at least."""
        found = []
        for window in self._turned(self._clock.now_ms()):
            short = window.own + cost.of(window.rule) - (window.leased or 0)
            if window.rule.scope == "ip" and cost.of(window.rule) and short > 0:
                found.append((window.rule, window.number, short))
        return found

    def lease(self, rule: Rule, number: int, granted: int) -> None:
        """What a pool granted for the window of this number; it takes the place of the fixed share."""
        window = self._windows.get((rule.counts, rule.name))
        if window is not None and window.number == number:
            window.leased = (window.leased or 0) + granted

    def used(self, counts: str, name: str) -> int:
        """What is used of a rule in its current window, by the venue's count and by what is under way."""
        window = self._windows[counts, name]
        window.turn(self._venue_now(self._clock.now_ms()))
        return self._used(window)

    # after it ---------------------------------------------------------------------------------------------------

    def answered(self, booking: Booking, counts: Mapping[tuple[str, str], int]) -> None:
        """The venue answered; ``counts``: what it says is used, by (counts, name) of the rules."""
        for budget, other in booking.beside:
            budget.answered(other, counts)
        for key, window in self._end(booking):
            amount = booking.cost.of(window.rule)
            number, seen_then = booking.windows.get(key, (-1, 0))
            said = counts.get(key)
            if said is None:
                if number == window.number:
                    window.seen += amount
            elif number == window.number or said < seen_then:
                self._learn(window, said, booking.order)
            else:
                # Counted in the window that has ended, by all that can be told: it may be this one all the same.
                window.seen += amount

    def unanswered(self, booking: Booking) -> None:
        """No answer came: it counts as used."""
        for budget, other in booking.beside:
            budget.unanswered(other)
        for _, window in self._end(booking):
            window.seen += booking.cost.of(window.rule)

    def never_sent(self, booking: Booking) -> None:
        """It did not leave: what it had booked is free again."""
        for budget, other in booking.beside:
            budget.never_sent(other)
        for _, window in self._end(booking):
            window.own = max(0, window.own - booking.cost.of(window.rule))

    def refused(self, retry_at: Ms, scope: str = "ip", *, banned: bool = False) -> None:
        """The venue refused a request for the rate: nothing of this scope leaves before ``retry_at`` (local ms)."""
        until, was_banned = self._closed.get(scope, (0, False))
        if retry_at > until:
            self._closed[scope] = (retry_at, banned)
        elif banned and not was_banned:
            self._closed[scope] = (until, True)

    def reopen(self) -> None:
        """The venue has withdrawn its refusals."""
        self._closed.clear()

    @property
    def closed_until(self) -> Ms:
        """When requests may leave again after a refusal for the address, local ms; 0: now."""
        until = self._closed.get("ip", (0, False))[0]
        return until if until > self._clock.now_ms() else 0

    # parts ------------------------------------------------------------------------------------------------------

    def _venue_now(self, now: Ms) -> Ms:
        # A window counts as over only when it surely is.
        return now + self._offset() - self._error()

    def _turned(self, now: Ms) -> list[_Window]:
        windows = list(self._windows.values())
        for window in windows:
            window.turn(self._venue_now(now))
        return windows

    def _end(self, booking: Booking) -> list[tuple[tuple[str, str], _Window]]:
        if booking.ended:
            return []
        booking.ended = True
        self._turned(self._clock.now_ms())
        for window in self._windows.values():
            window.under_way = max(0, window.under_way - booking.cost.of(window.rule))
        return list(self._windows.items())

    def _learn(self, window: _Window, said: int, order: int) -> None:
        """Weight only grows in its window. Orders that trade give their count back: the latest word is the true one."""
        if window.rule.counts == "orders":
            if order > window.seen_order:
                window.seen, window.seen_order = said, order
        else:
            window.seen = max(window.seen, said)

    def _used(self, window: _Window) -> int:
        return window.seen + window.under_way

    def _kept(self, rule: Rule, cost: Cost) -> Fraction:
        """The part of a limit that this request may use."""
        return Fraction(1) if cost.urgent or rule.counts == "orders" else 1 - self._reserve

    def _most(self, window: _Window, cost: Cost) -> int:
        return int(window.rule.limit * self._kept(window.rule, cost))

    def _own_most(self, window: _Window, cost: Cost) -> int:
        """Of the address's limits; an account has one process."""
        if window.rule.scope != "ip":
            return sys.maxsize
        if window.leased is not None:
            return window.leased
        return int(window.rule.limit * self._share * self._kept(window.rule, cost))
