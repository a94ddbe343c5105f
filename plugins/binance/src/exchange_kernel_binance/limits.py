"""Binance's limits: what requests weigh, what answers say is used, and when requests may leave again.

Sources: rest-api.md and web-socket-api.md (Rate limits, and the weight of each request), USD-M futures (General Info,
and each request), Margin Trading (IP weights of /sapi).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

from exchange_kernel.clock import Clock
from exchange_kernel.errors import RateLimited
from exchange_kernel.venue import Ms
from exchange_kernel_binance.weights import is_urgent, weight_of
from exchange_kernel_ccxt.budget import Booking, Budget, Cost, Rule

_LENGTHS = {"SECOND": 1_000, "MINUTE": 60_000, "HOUR": 3_600_000, "DAY": 86_400_000}
_KINDS = {"REQUEST_WEIGHT": "weight", "RAW_REQUESTS": "requests", "ORDERS": "orders"}
_HEADER = re.compile(r"^x-(?:mbx-used-weight|sapi-used-ip-weight|mbx-order-count)-(\d+[smhd])$")
_PAUSE_MS = 60_000
"""After a 429 that says no time: the longest window of weight."""
_BANNED_MS = 120_000
"""The shortest ban (rest-api.md, IP Limits)."""
TOO_MANY_ORDERS = -1015


def rules_of(rate_limits: Iterable[Mapping[str, Any]]) -> tuple[Rule, ...]:
    """``rateLimits`` of exchangeInfo. A limit of a kind that is not known is left out: no reason to stop."""
    found = []
    for each in rate_limits:
        kind, length = _KINDS.get(each["rateLimitType"]), _LENGTHS.get(each["interval"])
        if kind is not None and length is not None:
            count, letter = int(each["intervalNum"]), each["interval"][0]
            scope = "account" if kind == "orders" else "ip"
            found.append(Rule(f"{count}{letter}", kind, int(each["limit"]), length * count, scope))
    return tuple(found)


def counts_in(headers: Mapping[str, str]) -> dict[tuple[str, str], int]:
    """What an HTTP answer says is used, by (counts, name) of the rules."""
    found = {}
    for name, value in headers.items():
        match = _HEADER.match(name.lower())
        if match is not None and value.isdigit():
            found["orders" if "order" in name.lower() else "weight", match[1].upper()] = int(value)
    return found


def counts_of(rate_limits: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], int]:
    """What a WebSocket answer (``rateLimits``) says is used."""
    limits = list(rate_limits)
    names = [(rule.counts, rule.name) for rule in rules_of(limits)]
    return {name: int(each["count"]) for name, each in zip(names, limits, strict=False) if "count" in each}


def retry_at(status: int, headers: Mapping[str, str], now: Ms) -> Ms:
    """When requests may leave again after a 429 or 418, local ms; ``Retry-After`` is in whole seconds."""
    said = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    if said.isdigit():
        return now + int(said) * 1_000
    return now + (_BANNED_MS if status == 418 else _PAUSE_MS)


_ALL: WeakSet[Limits] = WeakSet()


class Limits:
    """The limits of one service (``/api``, ``/sapi``, ``/fapi``: each counts for itself), for one account.

    ``budget``: of the address, which all accounts of a process share (:func:`address_budget`). ``orders``: of this
    account; None where ``budget`` serves one account alone.
    """

    def __init__(self, budget: Budget, clock: Clock, orders: Budget | None = None) -> None:
        self.budget, self.orders, self._clock = budget, orders, clock
        _ALL.add(self)

    def configure(self, rate_limits: Iterable[Mapping[str, Any]]) -> None:
        """From exchangeInfo; before that nothing is counted, and only refusals are obeyed."""
        rules = rules_of(rate_limits)
        if self.orders is None:
            self.budget.configure(rules)
            return
        self.budget.configure(rule for rule in rules if rule.scope == "ip")
        self.orders.configure(rule for rule in rules if rule.scope != "ip")

    def cost(self, method: str, path: str, fields: Mapping[str, str], *, urgent: bool = False) -> Cost:
        """What a request uses; ``path`` as in ``/api/v3/order``. Cancels and questions for an order are urgent."""
        weight, orders = weight_of(method, path, fields)
        return Cost(weight, orders, urgent or is_urgent(method, path))

    def take(self, method: str, path: str, fields: Mapping[str, str], *, urgent: bool = False) -> Booking:
        """Book a request that leaves now. Raises RateLimited: it must not."""
        cost = self.cost(method, path, fields, urgent=urgent)
        booking = self.budget.take(cost)
        if self.orders is not None:
            try:
                booking.beside.append((self.orders, self.orders.take(cost)))
            except RateLimited:
                self.budget.never_sent(booking)
                raise
        return booking

    def answered(self, booking: Booking, status: int, headers: Mapping[str, str], code: int | None = None) -> None:
        """Learn from an answer: what is used, and whether Binance refused it for the rate."""
        self.budget.answered(booking, counts_in(headers))
        if status not in (418, 429):
            return
        until = retry_at(status, headers, self._clock.now_ms())
        scope = "account" if code == TOO_MANY_ORDERS and status == 429 else "ip"
        budget = self.orders if self.orders is not None and scope == "account" else self.budget
        budget.refused(until, scope, banned=status == 418)


_of_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakValueDictionary[str, Budget]] = WeakKeyDictionary()


def address_budget(service: str, make: Callable[[], Budget]) -> Budget:
    """The one budget that all sessions of this process at this service (its origin) share; ``make`` for the first.

    It lives as long as a session holds it.
    """
    known = _of_loops.setdefault(asyncio.get_running_loop(), WeakValueDictionary())
    budget = known.get(service)
    if budget is None:
        budget = known[service] = make()
    return budget


def reopen_all() -> None:
    """Forget every refusal: for a bench whose exchange has withdrawn them, which the real one never does."""
    for limits in tuple(_ALL):
        limits.budget.reopen()
        if limits.orders is not None:
            limits.orders.reopen()
