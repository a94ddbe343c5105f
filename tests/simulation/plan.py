"""What one seed does: the venue, the processes, the orders, the user's wishes, and the weather. Swarm testing: each
seed
draws its own rates, so that rare faults are frequent somewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import Any

from exchange_kernel.schema import AmountType, Side, StandardOrder, TimeInForce

FENCES = ("time_window", "time_window", "time_window", "sequence", "height", "permanent_key", "none")


@dataclass
class Wish:
    """One thing the user does. ``at``: virtual seconds."""

    at: float
    kind: str
    intent: str
    order: StandardOrder | None = None


@dataclass
class Plan:
    """Everything about one schedule."""

    seed: int
    fence: str
    settings: dict[str, Any]
    processes: int
    skews: tuple[int, ...]
    wishes: list[Wish]
    crash: float
    pause: float
    store_unavailable: float
    commit_unknown: float
    venue: list[tuple[str, float, Any]] = field(default_factory=list)
    faulty_for: float = 15.0
    restore_at: float | None = None
    trades: float = 0.4
    lying: bool = False
    fees: float = 0.0
    """Seconds, on average, between two changes of a ledger's base fee; 0: it stays."""
    stranger: float = 0.0
    """Seconds, on average, between two doings of somebody else on the same account; 0: there is nobody."""


OVERTAKEN: dict[str, Any] = {
    "fence": "sequence",
    "settings": {"amend": "full"},
    "styles": ("resting",),
    "changes": (4, 5),
    "ends": 0.2,
    "venue": [("late", 0.5, (1500, 3500)), ("forgotten", 0.3, 0), ("request_lost", 0.2, (200, 1500))],
}
"""Changes of changes that did not arrive yet: the numbers of what nobody wants any more are burnt (R26, R27)."""

FORGETFUL: dict[str, Any] = {
    "fence": "time_window",
    "settings": {"retention_ms": 300},
    "styles": ("resting", "post_only"),
    "ends": 0.9,
    "venue": [("event_drop", 0.7, 0), ("answer_lost", 0.6, (500, 2500)), ("disconnect", 0.03, 0)],
}
"""Orders seen once that end unseen, and are forgotten: gone from snapshot and history, they are closed (R16)."""

SETTLED: dict[str, Any] = {"settings": {"settle": "on"}, "styles": ("resting", "resting", "crossing"), "trades": 0.8}
"""What rests has to be settled once it has executed in full."""

WATCHED: dict[str, Any] = {"settings": {"rests": "off"}, "styles": ("resting", "resting", "crossing", "ioc", "market")}
"""Nothing rests at the venue: the kernel keeps what would, and watches the prices."""

STYLES = ("market", "resting", "resting", "resting", "crossing", "ioc", "fok", "post_only")


def order(rng: Random, styles: tuple[str, ...] = STYLES) -> StandardOrder:
    """A random order on a paper market: market, crossing, resting, any time in force."""
    symbol = rng.choice(("BTC/USD", "ETH/USD"))
    side = rng.choice((Side.BUY, Side.SELL))
    price = Decimal(60000 if symbol == "BTC/USD" else 3000)
    size = Decimal(rng.randint(5, 40)) / (1000 if symbol == "BTC/USD" else 50)
    style = rng.choice(styles)
    if style == "fok" and rng.random() < 0.5:
        size *= 10  # more than the house shows: it cannot be filled
    if style == "market":
        return StandardOrder(symbol, side, size)
    away = rng.choice((Decimal("0.002"), Decimal("0.0006"), Decimal("0.02")))
    passive = price * (1 - away if side is Side.BUY else 1 + away)
    aggressive = price * (Decimal("1.01") if side is Side.BUY else Decimal("0.99"))
    limit = (aggressive if style in ("crossing", "ioc", "fok") else passive).quantize(Decimal("0.01"))
    tif = {"ioc": TimeInForce.IOC, "fok": TimeInForce.FOK}.get(style, TimeInForce.GTC)
    return StandardOrder(symbol, side, size, AmountType.BASE, limit, tif, post_only=style == "post_only")


def changed(rng: Random, old: StandardOrder) -> StandardOrder:
    """The order with another price, another total, or both."""
    amount = old.amount
    limit = old.limit_price
    what = rng.choice(("price", "more", "less", "both"))
    if what in ("price", "both") and limit is not None:
        limit = (limit * Decimal(rng.choice(("0.999", "1.001", "0.99")))).quantize(Decimal("0.01"))
    if what in ("more", "both") or limit is None:
        amount = amount * 2
    if what == "less":
        half = amount / 2
        amount = half - half % Decimal("0.001") or amount
    return StandardOrder(
        old.symbol_id, old.side, amount, old.amount_type, limit, old.time_in_force, post_only=old.post_only
    )


def accent(seed: int) -> dict[str, Any]:
    """What is rare in a drawn schedule and frequent in some of these: a stranger on the account, changes that overtake
    one another on a ledger, and a venue that soon forgets what it did not tell."""
    rng = Random(f"the accent of {seed}")
    kind = rng.random()
    if kind < 0.12:
        return {"stranger": rng.choice((0.3, 1.0))}
    if kind < 0.18:
        return OVERTAKEN
    if kind < 0.22:
        return FORGETFUL
    if kind < 0.40:
        fence = rng.choice([fence for fence in FENCES if fence != "none"])
        return {"fence": fence, "settings": {"enable": rng.choice(("mode", "allowance"))}, "intents": (3, 6)}
    if kind < 0.50:
        return SETTLED
    if kind < 0.56:
        return {"fence": "sequence", "fees": 1.0}
    if kind < 0.64:
        return WATCHED
    return {}


def draw(seed: int, *, plain: bool = False, **fixed: Any) -> Plan:
    """The plan of a seed. ``fixed``: what a test forces: fields of the plan, the fence, ``styles`` of orders, how many
    ``intents``, how many ``changes`` to each, the share that ``ends`` by a cancel, single ``settings`` of the venue.
    ``plain``: without the accents, which came later and change what some
    seeds mean."""
    if not plain:
        fixed = {**accent(seed), **fixed}
    rng = Random(seed)
    styles = fixed.pop("styles", STYLES)
    overrides = fixed.pop("settings", {})
    fence = fixed.get("fence") or rng.choice(FENCES)
    ledger = fence in ("sequence", "height")
    settings: dict[str, Any] = {
        "fence": fence,
        "amend": rng.choice(("full", "down", "off", "full")),
        "window_ms": 2000,
        "read_lag_ms": rng.choice((0, 0, 300)),
        "engine_delay_ms": 0 if ledger else rng.choice((0, 500)),
        "page_size": rng.choice((1, 2, 500)),
    }
    if not ledger:
        settings["retention_ms"] = rng.choice((0, 0, 1500, 6000))
    settings.update(overrides)
    if ledger:
        settings.pop("retention_ms", None)  # an accent's, where a test forces the fence
    wishes: list[Wish] = []
    changes, ends = fixed.pop("changes", (0, 0, 1, 1, 2)), fixed.pop("ends", 0.45)
    for n in range(rng.randint(*fixed.pop("intents", (2, 4)))):
        name = f"i{n}"
        first = order(rng, styles)
        at = rng.uniform(0.1, 6.0)
        wishes.append(Wish(at, "place", name, first))
        current = first
        for _ in range(rng.choice(changes)):
            at += rng.choice((0.01, 0.3, 2.0)) * rng.random()
            current = changed(rng, current)
            wishes.append(Wish(at, "modify", name, current))
        if rng.random() < ends:
            at += rng.choice((0.0, 0.02, 0.5, 3.0)) * rng.random()
            wishes.append(Wish(at, "cancel", name))
    wishes.sort(key=lambda wish: wish.at)

    def some(*values: float) -> float:
        return rng.choice(values)

    venue: list[tuple[str, float, Any]] = [
        ("not_sent", some(0, 0, 0.1), 0),
        ("request_lost", some(0, 0.1, 0.3), (200, 1500)),
        ("answer_lost", some(0, 0.1, 0.3), (200, 1500)),
        ("late", some(0, 0.1, 0.3), (200, 3500)),
        ("delay", some(0, 0, 0.1), (10, 800)),
        ("rate_limit", some(0, 0, 0.1), (100, 2000)),
        ("unavailable", some(0, 0, 0.1), 0),
        ("error_after", some(0, 0, 0.1), 0),
        ("garbled", some(0, 0, 0.05), 0),
        ("event_drop", some(0, 0, 0.2), 0),
        ("event_duplicate", some(0, 0, 0.3), 0),
        ("event_reorder", some(0, 0, 0.3), 0),
        ("disconnect", some(0, 0, 0.03), 0),
    ]
    if settings["read_lag_ms"]:
        venue.append(("query_lag", some(0.3, 0.8), (50, 300)))
    if settings["engine_delay_ms"]:
        venue.append(("engine_delay", some(0.2, 0.5), (50, 500)))
    if fence != "none" and fence != "time_window":
        venue.append(("duplicate", some(0, 0.3), (100, 3000)))
    if ledger:
        venue.append(("misleading", some(0, 0.2, 0.5), 0))
        venue.append(("forgotten", some(0, 0.2), 0))
    processes = rng.choice((1, 1, 2))
    plan = Plan(
        seed=seed,
        fence=fence,
        settings=settings,
        processes=processes,
        skews=tuple(rng.choice((0, 0, 30_000, -30_000, 700)) for _ in range(8)),
        wishes=wishes,
        crash=some(0, 0.004, 0.012),
        pause=some(0, 0, 0.003, 0.008),
        store_unavailable=some(0, 0, 0.02),
        commit_unknown=some(0, 0, 0.03),
        venue=venue,
        restore_at=rng.uniform(3.0, 10.0) if rng.random() < 0.08 and fence != "none" else None,
    )
    for name, value in fixed.items():
        if name != "fence":
            setattr(plan, name, value)
    return plan
