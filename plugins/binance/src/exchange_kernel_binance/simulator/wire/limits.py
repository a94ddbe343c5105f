"""Request weight per address and unfilled orders per account, per fixed interval (rest-api.md, LIMITS)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from exchange_kernel_binance.simulator.clock import Clock
from exchange_kernel_binance.simulator.errors import ApiError

_LENGTH = {"SECOND": 1_000, "MINUTE": 60_000, "DAY": 86_400_000}


@dataclass(frozen=True, slots=True)
class Rule:
    """At most `limit` per `count` intervals."""

    kind: str
    interval: str
    count: int
    limit: int

    @property
    def length(self) -> int:
        """ms."""
        return _LENGTH[self.interval] * self.count

    def shown(self, used: int | None = None) -> dict[str, Any]:
        rule: dict[str, Any] = {
            "rateLimitType": self.kind,
            "interval": self.interval,
            "intervalNum": self.count,
            "limit": self.limit,
        }
        return rule if used is None else rule | {"count": used}


SPOT_RULES = (
    Rule("REQUEST_WEIGHT", "MINUTE", 1, 6000),
    Rule("ORDERS", "SECOND", 10, 100),
    Rule("ORDERS", "DAY", 1, 200_000),
    Rule("RAW_REQUESTS", "MINUTE", 5, 61_000),
)
FUTURES_RULES = (
    Rule("REQUEST_WEIGHT", "MINUTE", 1, 2400),
    Rule("ORDERS", "MINUTE", 1, 1200),
    Rule("ORDERS", "SECOND", 10, 300),
)


@dataclass(slots=True)
class _Address:
    refusals: int = 0
    banned_until: int = 0
    bans: int = 0


@dataclass(slots=True)
class Limits:
    """Counts and refuses. `ban_after` refused requests in a row make a ban of two minutes, then four, …"""

    clock: Clock
    rules: tuple[Rule, ...]
    ban_after: int = 10
    _used: dict[tuple[Rule, str], tuple[int, int]] = field(default_factory=dict)
    _addresses: dict[str, _Address] = field(default_factory=dict)

    def used(self, rule: Rule, who: str) -> int:
        interval, count = self._used.get((rule, who), (0, 0))
        return count if interval == self.clock.now() // rule.length else 0

    def _add(self, rule: Rule, who: str, amount: int) -> int:
        count = max(0, self.used(rule, who) + amount)
        self._used[rule, who] = (self.clock.now() // rule.length, count)
        return count

    def _wait(self, rule: Rule) -> int:
        """Seconds until the interval ends."""
        return -(-(rule.length - self.clock.now() % rule.length) // 1000)

    def of(self, kind: str) -> list[Rule]:
        return [rule for rule in self.rules if rule.kind == kind]

    def request(self, address: str, weight: int) -> None:
        """Count a request. :raises ApiError: -1003 with 429, or 418 while the address is banned."""
        now, known = self.clock.now(), self._addresses.setdefault(address, _Address())
        if now < known.banned_until:
            raise self._banned(known.banned_until)
        for rule in self.rules:
            if rule.kind == "ORDERS":
                continue
            if self._add(rule, address, weight if rule.kind == "REQUEST_WEIGHT" else 1) > rule.limit:
                known.refusals += 1
                if known.refusals > self.ban_after:
                    self.ban(address)
                    raise self._banned(known.banned_until)
                wait = self._wait(rule)
                raise ApiError(
                    -1003,
                    f"Too much request weight used; current limit is {rule.limit} request weight per "
                    f"{rule.count} {rule.interval}. Please use WebSocket Streams for live updates to avoid polling "
                    "the API.",
                    429,
                    retry_after=wait,
                )
        known.refusals = 0

    def ban(self, address: str, ms: int | None = None) -> None:
        """Ban the address, for twice as long as the last time if `ms` isn't given."""
        known = self._addresses.setdefault(address, _Address())
        length = ms if ms is not None else min(120_000 * 2**known.bans, 3 * _LENGTH["DAY"])
        known.bans += 1
        known.refusals = 0
        known.banned_until = self.clock.now() + length

    def pardon(self) -> None:
        """Forget every ban and every count."""
        self._addresses.clear()
        self._used.clear()

    def _banned(self, until: int) -> ApiError:
        return ApiError(
            -1003,
            f"Way too much request weight used; IP banned until {until}. Please use WebSocket Streams for live "
            "updates to avoid bans.",
            418,
            retry_after=-(-(until - self.clock.now()) // 1000),
        )

    def order_refusal(self, account: str, orders: int) -> ApiError | None:
        """-1015 where so many new orders would be too many."""
        for rule in self.of("ORDERS"):
            if self.used(rule, account) + orders > rule.limit:
                return ApiError(
                    -1015,
                    f"Too many new orders; current limit is {rule.limit} orders per {rule.count} {rule.interval}.",
                    429,
                    retry_after=self._wait(rule),
                )
        return None

    def ordered(self, account: str, orders: int) -> None:
        for rule in self.of("ORDERS"):
            self._add(rule, account, orders)

    def first_fill(self, account: str, is_maker: bool) -> None:
        """An order that trades gives its count back, one that made the market five."""
        self.ordered(account, -5 if is_maker else -1)

    def headers(self, address: str, account: str | None) -> dict[str, str]:
        """X-MBX-USED-WEIGHT-1M and, where orders were placed, X-MBX-ORDER-COUNT-…"""
        shown = {}
        for rule in self.rules:
            letters = f"{rule.count}{rule.interval[0]}"
            if rule.kind == "REQUEST_WEIGHT":
                shown["X-MBX-USED-WEIGHT"] = shown[f"X-MBX-USED-WEIGHT-{letters}"] = str(self.used(rule, address))
            elif rule.kind == "ORDERS" and account is not None:
                shown[f"X-MBX-ORDER-COUNT-{letters}"] = str(self.used(rule, account))
        return shown

    def listed(self, address: str, account: str | None) -> list[dict[str, Any]]:
        """The `rateLimits` of a WebSocket reply."""
        orders = [rule.shown(self.used(rule, account)) for rule in self.of("ORDERS")] if account is not None else []
        return orders + [rule.shown(self.used(rule, address)) for rule in self.of("REQUEST_WEIGHT")]
