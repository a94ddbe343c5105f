"""The ways to get the protocol wrong. Each is one deviation that a model can be told to make.

`LAW` are the mutants the protocol itself says its proof must kill, under the protocol's own names. `FURTHER` are
mistakes this checker found to be possible besides: the reading of a rule that its words allow but that is not safe, and
defects of an adapter.
"""

from __future__ import annotations

from enum import StrEnum


class Mutant(StrEnum):
    """A deviation from the protocol; the value is its name in the protocol and in reports."""

    NO_CAS_NO_EPOCH = "no compare-and-swap and no epoch"
    SIGN_AFTER_COMMIT = "sign after commit"
    NOT_FOUND_BELIEVED = '"not found" believed at once'
    QUERY_BEFORE_FENCE = "query before the fence trusted after it"
    HTTP_RETRY = "HTTP retry"
    CANCEL_NOT_RECHECKED = "cancel not re-checked before send"
    FILL_FROM_ACK_AND_STREAM = "fill counted from ack and stream"
    COMMITTED_READ_AS_UNSENT = "committed ticket read as unsent (R3)"
    FENCE_BY_LOCAL_CLOCK = "fence judged by the local clock (R11)"
    ABSENCE_BEYOND_RETENTION = "absence beyond retention (R16)"
    LOST_COMMIT_NOT_NOTICED = "lost commit not noticed (R32)"
    BROADCAST_ANSWER_BELIEVED = "broadcast answer taken as rejection (R10)"
    REMAINDER_FROM_STALE_FILLS = "remainder from stale fills (R17)"
    TWO_AMENDS_IN_FLIGHT = "two amends in flight (R23)"
    CANCEL_REPLACE_AS_AMEND = "cancel-replace as amend (R24)"
    RESTORE_ON_GROUP_LEG = "RESTORE on a group leg (R37)"
    GAP_LEFT_OPEN = "gap left open (R26)"
    EPOCH_UNCHECKED_ON_STATUS = "epoch unchecked on status writes (R31)"
    TRADE_ID_WITHOUT_INSTRUMENT = "trade id without instrument (S10)"
    LATE_FILL_DROPPED = "late fill dropped (R19)"

    WATERMARK_AFTER_SEARCH = "watermark read after the search (R11)"
    ONE_READ = "one read believed where the venue is the authority (R11)"
    TIP_BELIEVED = "end believed before it is final (R11)"
    NOT_REPEATABLE_REPEATED = "ticket repeated though its fence is not repeatable (R12)"
    ANSWER_TO_A_COPY_BELIEVED = "definite answer to a repeated copy believed for the ticket (R9)"
    REPEATED_WITHOUT_COMMIT = "ticket sent again without a commit (R3, R31)"
    ATTEMPT_OUTSIDE_CAS = "attempt committed without seeing the cancel (R20)"
    CANCELED_WITHOUT_PROOF = "refused cancel taken as absence (R21)"
    KEY_NOT_CONSUMED = "permanent key absent, so dead (R13)"
    CONSUMED_THOUGH_IT_TRADES = "permanent key consumed by an order that can trade at once (R13)"
    SETTING_SENT_AGAIN = "amend sent again because setting a value twice is harmless (R12, R23)"
    AMEND_BY_REMAINDER = "amend names the remainder, not the total (R23)"
    REPLACED_CLOSED_ON_COMMIT = "cancel-replace closes the old attempt when committed (R24)"
    PLACED_THOUGH_NOT_CANCELLED = "cancel-replace places though the cancel failed (R24)"
    PARTLY_FILLED_REPLACED = "cancel-replace cancels an order that has filled (R24)"
    HALF_ANSWER_BELIEVED = "partial answer to a cancel-replace believed (R24)"
    CANCELED_BY_THE_OLD_LEG = "CANCELED once the replaced order is closed (R20, R24)"
    STALE_SNAPSHOT = "snapshot begun before the order was last seen (R16)"
    HISTORY_BEFORE_SNAPSHOT = "fill history read before the snapshot (R16)"
    SEEN_ORDER_RECREATED = "order once seen taken as never placed (R16)"
    ORPHAN_FORGOTTEN = "unmatched order not consulted when its intent is placed again (R32)"
    UNBOUNDED_FENCE_RESUMED = "recovery resumes an intent whose fence no time ends (R32)"
    RESUMED_UNASKED = "unsent intent resumed after a restore without asking (R32)"
    EPOCH_WITHOUT_INCARNATION = "epoch of a lost store accepted in its successor (R31, R32)"
    REPLACED_TICKET_FORGOTTEN = "only the newest ticket of a number looked for (R13)"
    NUMBER_REUSED_IN_LIMBO = "number of a commit of unknown outcome given away (R26)"
    RESTORE_BEFORE_FINAL_FILLS = "RESTORE before the fills are final (R37)"
    RESTORE_UNDER_OWN_CANCEL = "RESTORE while a cancel of ours is unsettled (R37)"
    RESTORE_AFTER_OWN_CANCEL = "RESTORE of what a settled cancel of ours removed (R37)"
    NEVER_BURNT = "number that no ticket will use never burnt (R26, R27)"
    POSITION_IN_BLOCK_AS_FILL_ID = "position in the block as fill id (S10)"


_LAST_OF_THE_LAW = list(Mutant).index(Mutant.LATE_FILL_DROPPED)

LAW: tuple[Mutant, ...] = tuple(Mutant)[: _LAST_OF_THE_LAW + 1]
FURTHER: tuple[Mutant, ...] = tuple(Mutant)[_LAST_OF_THE_LAW + 1 :]
