"""Every model with what it proves, and which model kills which mutant."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from tests.model import amend, cancel, clock_and_loss, fills, group, recovery, sequence, submit
from tests.model.explorer import Result
from tests.model.mutants import Mutant

INVARIANTS = {
    "S1": "an attempt has at most one live order at the venue",
    "S2": "an intent has at most one live attempt: never live orders of two",
    "S3": "never more is executed than the largest total ever committed to a ticket",
    "S4": "a write is made under the epoch, and in the store, that are current when it is made",
    "S6": "a terminal state absorbs: nothing reopens it, and nothing of it is left live",
    "S7": "no order is committed, and none is sent by a check made, after a committed cancel; CANCELED only with proof",
    "S9": "a sequence number belongs to one attempt; every number below the newest is used or burnt",
    "S10": "each fill is counted once: neither twice nor never",
    "S18": "the generation an order shows never falls below the one status claims",
    "R13": "no trade comes about only because a cancel had to use up a key",
    "L1": "from every state the intent can still end, or be parked where its fence allows no better",
}


class Model(NamedTuple):
    """``name``: its module. ``about``: what is modelled, for the page. ``proves``: the property in one sentence."""

    name: str
    settings: tuple[str, ...]
    check: Callable[[str, Mutant | None], Result]
    about: str
    proves: str


class Kill(NamedTuple):
    """``mutant`` makes ``model`` break ``broken`` in ``setting``."""

    mutant: Mutant
    model: str
    setting: str
    broken: str


MODELS = (
    Model(
        "submit",
        submit.SETTINGS,
        submit.check,
        "One intent, two attempts, an owner and its successor. Any process may stop between any two steps for "
        "any time, crash, or run on as a zombie that does not know it lost the account. Copies are lost, late "
        "and repeated; answers are lost; one lookup in the whole run may come from a replica that misses the "
        "order. Tickets are signed before their commit, commits compare version and epoch, a watermark is "
        "read before the search, and two reads are asked for where the venue is the authority.",
        "Never two live orders, never two executions, and always a way to found, dead or (without any end) "
        "parked. Either guard of a commit, version or epoch, is enough for one intent.",
    ),
    Model(
        "cancel",
        cancel.SETTINGS,
        cancel.check,
        "The user's cancel falls anywhere between the row being read and the order being filled, with the "
        "ticket in the hands of a paused owner.",
        "CANCELED is never claimed over an order that lives, filled or may still come; every cancelled intent can end.",
    ),
    Model(
        "amend",
        amend.SETTINGS,
        amend.check,
        "Three generations of one order (total up, then below what may be filled already) by native amends "
        "that are lost, late or unanswered; by cancel, final fills and a new attempt; and by one request that "
        "cancels and places, while the user may cancel at any time.",
        "Executed never exceeds the largest committed total, and what status claims is what the venue shows.",
    ),
    Model(
        "clock_and_loss",
        clock_and_loss.SETTINGS,
        clock_and_loss.check,
        "The host's clock runs ahead of the venue's; the venue forgets finished orders; the answer to a "
        "commit is lost, and the commit may land long after; an order once seen is missing from a snapshot.",
        "An end is judged by the venue's clock inside the window its lookup covers; a commit of unknown "
        "outcome counts as sent; a seen order is closed only by a snapshot begun after it was last seen and a "
        "fill history read after that snapshot.",
    ),
    Model(
        "recovery",
        recovery.SETTINGS,
        recovery.check,
        "A backup taken at any moment is restored while tickets, orders, cancels and whole intents of the "
        "lost time exist, and while the lost process still runs.",
        "Nothing is sent twice: a restored store waits for the longest fence, searches, keeps what it cannot "
        "match, holds what was never sent until someone says it is still wanted, and accepts no token of the "
        "lost store.",
    ),
    Model(
        "sequence",
        sequence.SETTINGS,
        sequence.check,
        "Two intents share the numbers of one address. Endpoints contradict each other, blocks are "
        "reorganised, tickets replace each other, a stranger spends a number, a ticket will never be sent, a "
        "commit is in limbo.",
        "A number has one holder, no gap is broadcast over, no intent is executed by two transactions, and "
        "both intents can end.",
    ),
    Model(
        "group",
        group.SETTINGS,
        group.check,
        "An OCO pair whose reports arrive in any order, and a single order cancelled from outside or by an "
        "account-wide cancel of ours.",
        "RESTORE never places what a sibling's fill or a cancel of ours removed, and never more than the remainder.",
    ),
    Model(
        "fills",
        fills.SETTINGS,
        fills.check,
        "Fills told twice, in two channels, with equal trade numbers, after a contradiction, before a reorg; "
        "status written by a paused owner.",
        "Every fill told is counted exactly once, and no stale write reopens a finished intent.",
    ),
)

_WINDOW, _WINDOW_LOOSE, _SEQUENCE, _HEIGHT, _KEY, _NONE = submit.SETTINGS
_NATIVE, _REMAINDER, _REPLACE = amend.SETTINGS
_RESTS, _TRADES = "permanent_key, order rests", "permanent_key, order can trade at once"

KILLS = (
    Kill(Mutant.NO_CAS_NO_EPOCH, "submit", _WINDOW, "S2"),
    Kill(Mutant.NO_CAS_NO_EPOCH, "submit", _KEY, "S2"),
    Kill(Mutant.SIGN_AFTER_COMMIT, "submit", _WINDOW, "S2"),
    Kill(Mutant.NOT_FOUND_BELIEVED, "submit", _WINDOW, "S2"),
    Kill(Mutant.NOT_FOUND_BELIEVED, "submit", _SEQUENCE, "S2"),
    Kill(Mutant.QUERY_BEFORE_FENCE, "submit", _WINDOW, "S2"),
    Kill(Mutant.QUERY_BEFORE_FENCE, "submit", _HEIGHT, "S2"),
    Kill(Mutant.HTTP_RETRY, "submit", _WINDOW, "S3"),
    Kill(Mutant.HTTP_RETRY, "submit", _WINDOW_LOOSE, "S1"),
    Kill(Mutant.CANCEL_NOT_RECHECKED, "cancel", "time_window", "S7"),
    Kill(Mutant.FILL_FROM_ACK_AND_STREAM, "fills", fills.BOOKS, "S10"),
    Kill(Mutant.COMMITTED_READ_AS_UNSENT, "clock_and_loss", clock_and_loss.REPLY, "S1"),
    Kill(Mutant.COMMITTED_READ_AS_UNSENT, "submit", _WINDOW, "S3"),
    Kill(Mutant.COMMITTED_READ_AS_UNSENT, "cancel", "time_window", "S7"),
    Kill(Mutant.FENCE_BY_LOCAL_CLOCK, "clock_and_loss", clock_and_loss.CLOCK, "S2"),
    Kill(Mutant.ABSENCE_BEYOND_RETENTION, "clock_and_loss", clock_and_loss.MEMORY, "S3"),
    Kill(Mutant.LOST_COMMIT_NOT_NOTICED, "recovery", recovery.WINDOW, "S1"),
    Kill(Mutant.BROADCAST_ANSWER_BELIEVED, "sequence", sequence.PLAIN, "S3"),
    Kill(Mutant.BROADCAST_ANSWER_BELIEVED, "submit", _HEIGHT, "S2"),
    Kill(Mutant.REMAINDER_FROM_STALE_FILLS, "amend", _REMAINDER, "S3"),
    Kill(Mutant.TWO_AMENDS_IN_FLIGHT, "amend", _NATIVE, "S18"),
    Kill(Mutant.CANCEL_REPLACE_AS_AMEND, "amend", _REPLACE, "S3"),
    Kill(Mutant.RESTORE_ON_GROUP_LEG, "group", group.LEGS, "S3"),
    Kill(Mutant.GAP_LEFT_OPEN, "sequence", sequence.CANCELLED, "S9"),
    Kill(Mutant.EPOCH_UNCHECKED_ON_STATUS, "fills", fills.ZOMBIE, "S6"),
    Kill(Mutant.TRADE_ID_WITHOUT_INSTRUMENT, "fills", fills.BOOKS, "S10"),
    Kill(Mutant.LATE_FILL_DROPPED, "fills", fills.LATE_LIVE, "S10"),
    Kill(Mutant.LATE_FILL_DROPPED, "fills", fills.LATE_CLOSED, "S10"),
    Kill(Mutant.WATERMARK_AFTER_SEARCH, "submit", _HEIGHT, "S2"),
    Kill(Mutant.ONE_READ, "submit", _WINDOW, "S2"),
    Kill(Mutant.TIP_BELIEVED, "submit", _HEIGHT, "S2"),
    Kill(Mutant.TIP_BELIEVED, "sequence", sequence.PLAIN, "S3"),
    Kill(Mutant.NOT_REPEATABLE_REPEATED, "submit", _WINDOW, "S3"),
    Kill(Mutant.ANSWER_TO_A_COPY_BELIEVED, "submit", _KEY, "S2"),
    Kill(Mutant.ANSWER_TO_A_COPY_BELIEVED, "submit", _SEQUENCE, "S2"),
    Kill(Mutant.REPEATED_WITHOUT_COMMIT, "submit", _KEY, "S2"),
    Kill(Mutant.REPEATED_WITHOUT_COMMIT, "submit", _SEQUENCE, "S2"),
    Kill(Mutant.ATTEMPT_OUTSIDE_CAS, "cancel", "time_window", "S7"),
    Kill(Mutant.CANCELED_WITHOUT_PROOF, "cancel", "time_window", "S7"),
    Kill(Mutant.KEY_NOT_CONSUMED, "cancel", _RESTS, "S7"),
    Kill(Mutant.CONSUMED_THOUGH_IT_TRADES, "cancel", _TRADES, "R13"),
    Kill(Mutant.SETTING_SENT_AGAIN, "amend", _NATIVE, "S18"),
    Kill(Mutant.AMEND_BY_REMAINDER, "amend", _NATIVE, "S3"),
    Kill(Mutant.REPLACED_CLOSED_ON_COMMIT, "amend", _REPLACE, "S2"),
    Kill(Mutant.PLACED_THOUGH_NOT_CANCELLED, "amend", _REPLACE, "S2"),
    Kill(Mutant.PARTLY_FILLED_REPLACED, "amend", _REPLACE, "S3"),
    Kill(Mutant.HALF_ANSWER_BELIEVED, "amend", _REPLACE, "S2"),
    Kill(Mutant.CANCELED_BY_THE_OLD_LEG, "amend", _REPLACE, "S7"),
    Kill(Mutant.STALE_SNAPSHOT, "clock_and_loss", clock_and_loss.SEEN, "S6"),
    Kill(Mutant.HISTORY_BEFORE_SNAPSHOT, "clock_and_loss", clock_and_loss.SEEN, "S10"),
    Kill(Mutant.SEEN_ORDER_RECREATED, "clock_and_loss", clock_and_loss.SEEN, "S3"),
    Kill(Mutant.ORPHAN_FORGOTTEN, "recovery", recovery.AGAIN, "S1"),
    Kill(Mutant.UNBOUNDED_FENCE_RESUMED, "recovery", recovery.ENDLESS, "S1"),
    Kill(Mutant.RESUMED_UNASKED, "recovery", recovery.CANCEL, "S7"),
    Kill(Mutant.EPOCH_WITHOUT_INCARNATION, "recovery", recovery.EPOCHS, "S4"),
    Kill(Mutant.REPLACED_TICKET_FORGOTTEN, "sequence", sequence.PLAIN, "S3"),
    Kill(Mutant.NUMBER_REUSED_IN_LIMBO, "sequence", sequence.LIMBO, "S9"),
    Kill(Mutant.RESTORE_BEFORE_FINAL_FILLS, "group", group.SINGLE, "S3"),
    Kill(Mutant.RESTORE_UNDER_OWN_CANCEL, "group", group.SINGLE, "S7"),
    Kill(Mutant.RESTORE_AFTER_OWN_CANCEL, "group", group.SINGLE, "S7"),
    Kill(Mutant.NEVER_BURNT, "sequence", sequence.CANCELLED, "L1"),
    Kill(Mutant.NEVER_BURNT, "cancel", "sequence", "L1"),
    Kill(Mutant.POSITION_IN_BLOCK_AS_FILL_ID, "fills", fills.REORG, "S10"),
)

_BY_NAME = {model.name: model for model in MODELS}


@cache
def run(model: str, setting: str, mutant: Mutant | None = None) -> Result:
    """Search ``model`` in ``setting``; each search is made once in a process."""
    return _BY_NAME[model].check(setting, mutant)
