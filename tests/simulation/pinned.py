"""Seeds worth keeping. A change of :mod:`plan` changes what a seed means; a killer that no longer kills is searched
anew."""

from __future__ import annotations

PAST = (
    0,
    1,
    10,
    11,
    12,
    14,
    18,
    38,
    56,
    57,
    58,
    61,
    130,
    173,
    219,
    226,
    1016,
    1085,
    1160,
    1244,
    883,
    1871,
    1884,
    1905,
    20063,
    20814,
    377,
    1240,
)
"""Schedules that once violated something."""

KILLERS: dict[str, int] = {
    "HTTP retry": 7,
    "absence beyond retention": 138,
    "allowance of one for all": 0,
    "broadcast answer taken as rejection": 128,
    "cancel not re-checked before send": 158,
    "cancel-replace as amend": 29,
    "committed ticket read as unsent": 12,
    "enabled twice": 2,
    "epoch unchecked on status writes": 142,
    "fence judged by the local clock": 2,
    "fill counted from ack and stream": 1,
    "gap left open": 4,
    "late fill dropped": 10,
    "lost commit not noticed": 32,
    "no compare-and-swap and no epoch": 30,
    "not found believed at once": 10,
    "query before the fence trusted after it": 5,
    "remainder from stale fills": 40,
    "sent before what it needs is proved": 2,
    "sign after commit": 6,
    "trade id without instrument": 1,
    "two amends in flight": 50,
}
"""A seed that kills each mutant."""
