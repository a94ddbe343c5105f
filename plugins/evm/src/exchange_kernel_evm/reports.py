"""From transactions in blocks and pools to the kernel's reports. What can still go is never ``filled``."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.value import Value
from exchange_kernel.venue import (
    Cost,
    Executed,
    Fill,
    Key,
    Ms,
    Need,
    OrderReport,
    StepReport,
    VenueId,
    VenueStatus,
    Why,
)
from exchange_kernel_evm.finality import Mined
from exchange_kernel_evm.tokens import to_amount
from exchange_kernel_evm.transactions import key_of
from exchange_kernel_evm.venue import Outcome, Rests, Terms, Trade

__all__ = [
    "Seen",
    "canceled",
    "fill_id",
    "gas",
    "order",
    "pending",
    "rests",
    "reverted",
    "slot_id",
    "step",
    "tx_id",
    "waiting",
]

ETHER_DECIMALS = 18
_RANKS = 4


class Seen(Value, frozen=True):
    """From where a report is made: the newest block, its time, the newest final height, and the native currency."""

    height: int
    at: Ms
    final: int
    native: str


def slot_id(nonce: int) -> VenueId:
    """The id of an order: the account's number. Whatever replaces a transaction has the same."""
    return VenueId("slot", str(nonce))


def tx_id(transaction_hash: str) -> VenueId:
    """The id of one transaction."""
    return VenueId("tx", transaction_hash)


def fill_id(mined: Mined, ordinal: int | str) -> str:
    """Transaction and ordinal in it: a log's index would change when the block is made anew (rule 12)."""
    return f"{mined.hash}/{ordinal}"


def gas(mined: Mined, native: str) -> Cost:
    """What the transaction paid, whether it succeeded or not."""
    return Cost(f"{mined.hash}/gas", native, to_amount(mined.gas, ETHER_DECIMALS), "network")


def pending(
    key: Key | None, nonce: int, hashes: Iterable[str], terms: Terms, seen: Seen, need: Need | None = None
) -> OrderReport:
    """An order whose transaction waits in a pool."""
    return OrderReport(
        id=slot_id(nonce),
        symbol=terms.symbol,
        side=terms.side,
        status=VenueStatus.PENDING,
        as_of=seen.at,
        key=key,
        links=tuple(tx_id(each) for each in hashes),
        amount=terms.amount,
        price=terms.price,
        fills_complete=True,
        version=seen.height * _RANKS,
        need=need,
    )


def order(
    key: Key | None,
    nonce: int,
    hashes: Iterable[str],
    terms: Terms,
    mined: Mined,
    outcome: Outcome,
    seen: Seen,
    *,
    applied: Key | None = None,
    also: tuple[Cost, ...] = (),
) -> OrderReport:
    """An order whose transaction is in a block. Of what other transactions did to it only what is final is told as
    fills: what a reorganisation brings back rests on, and an end cannot be taken back."""
    final = (outcome.ended or mined).block <= seen.final
    status, why, text = outcome.status, outcome.why, outcome.text
    if outcome.ended is not None and not final:
        status, why, text = VenueStatus.WORKING, Why.NONE, f"{outcome.ended.hash} ends it, and is not final yet"
    fills, done = [], outcome.tentative
    for n, trade in enumerate(outcome.trades):
        by = trade.by or mined
        certain = by.block <= seen.final
        if trade.by is None or certain:
            fills.append(_fill(by, trade.part or n, slot_id(nonce), trade, certain))
        if not certain:
            done = _added(done, trade)
    return OrderReport(
        id=slot_id(nonce),
        symbol=terms.symbol,
        side=terms.side,
        status=status,
        as_of=mined.at,
        key=key,
        links=tuple(dict.fromkeys((*(tx_id(each) for each in hashes), tx_id(mined.hash)))),
        why=why,
        text=text,
        amount=terms.amount,
        price=terms.price,
        applied=applied,
        filled=_sum(fill for fill in fills if fill.final),
        tentative=done,
        fills=tuple(fills),
        fills_complete=True,
        costs=_costs(mined, outcome, seen, also),
        final=final and outcome.status.terminal,
        confirmations=max(0, seen.height - mined.block),
        version=seen.height * _RANKS + 1 + final,
        need=outcome.need,
        drawn=True,
    )


def rests(each: Rests, seen: Seen) -> OrderReport:
    """An order that rests, as its venue found it."""
    return order(key_of(each.tx.data), each.tx.nonce, (), each.terms, each.mined, each.outcome, seen)


def _fill(by: Mined, ordinal: int | str, of: VenueId, trade: Trade, final: bool) -> Fill:
    return Fill(
        fill_id(by, ordinal),
        of,
        trade.base,
        trade.quote,
        trade.price,
        by.at,
        trade.fees,
        maker=trade.maker,
        revision=by.block,
        final=final,
    )


def _costs(mined: Mined, outcome: Outcome, seen: Seen, also: tuple[Cost, ...]) -> tuple[Cost, ...]:
    others = (outcome.ended, *(trade.by for trade in outcome.trades))
    rows = (gas(mined, seen.native), *(gas(each, seen.native) for each in others if each is not None), *also)
    return tuple({cost.id: cost for cost in (*rows, *outcome.costs)}.values())


def _added(done: Executed, trade: Trade) -> Executed:
    return Executed(EXACT.add(done.base, trade.base), EXACT.add(done.quote, trade.quote))


def reverted(text: str = "") -> Outcome:
    """Of a transaction that failed in its block: it cost its gas, and there is no order."""
    return Outcome(VenueStatus.REJECTED, why=Why.REVERTED, text=text or "the transaction reverted")


def canceled() -> Outcome:
    """Of an order whose number a cancel of ours has used."""
    return Outcome(VenueStatus.CANCELED, why=Why.USER)


def step(key: Key, mined: Mined, seen: Seen) -> StepReport:
    """What became of a transaction that is no order."""
    return StepReport(
        id=tx_id(mined.hash),
        key=key,
        state="done" if mined.ok else "failed",
        final=mined.block <= seen.final,
        as_of=mined.at,
        why=Why.NONE if mined.ok else Why.REVERTED,
        costs=(gas(mined, seen.native),),
    )


def waiting(key: Key, transaction_hash: str, seen: Seen) -> StepReport:
    """The same, while it waits in a pool."""
    return StepReport(tx_id(transaction_hash), key, "pending", False, seen.at)


def _sum(fills: Iterable[Fill]) -> Executed:
    base = quote = Decimal(0)
    for fill in fills:
        base, quote = EXACT.add(base, fill.base), EXACT.add(quote, fill.quote)
    return Executed(base, quote)
