"""From the transactions that took liquidity out of a range order to its fills.

A fill is the principal: what of the deposit did not come back, and what came of it. The fees that the position earned
are costs below zero, and what the pool rounded away of a deposit that nothing was sold of is a cost. So fills, fees and
costs together are the changes of the balances, to the unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction

from exchange_kernel.schema import Side
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.value import Value
from exchange_kernel.venue import Cost, VenueStatus, Why
from exchange_kernel_evm.abi import Event
from exchange_kernel_evm.finality import Mined
from exchange_kernel_evm.venue import Outcome, Trade
from exchange_kernel_uniswap.deployment import Deployment
from exchange_kernel_uniswap.prices import shown
from exchange_kernel_uniswap.range_orders import RangeOrder, left_of, sold

__all__ = ["DECREASED", "Withdrawal", "executed", "withdrawals", "withdrawn"]

DECREASED = Event.of(
    "DecreaseLiquidity(uint256,uint128,uint256,uint256)", ("uint256",), ("uint128",) + ("uint256",) * 2
)
_COLLECT = Event.of("Collect(uint256,address,uint256,uint256)", ("uint256",), ("address", "uint256", "uint256"))
_PRICE_DIGITS = 30


class Withdrawal(Value, frozen=True):
    """What one transaction took out of a position: its liquidity, the units of token0 and token1 that this was worth,
    and the units of both that it paid out beyond that: fees."""

    by: Mined
    liquidity: int
    paid: tuple[int, int]
    earned: tuple[int, int]


def withdrawals(mined: Iterable[Mined], at: Deployment, token_id: int) -> list[Withdrawal]:
    """Those of a position among transactions in blocks, oldest first; each transaction once."""
    found = []
    for each in sorted({one.hash: one for one in mined}.values(), key=lambda one: one.block):
        liquidity, paid, collected = 0, [0, 0], [0, 0]
        for log in each.logs if each.ok else ():
            if log["address"].lower() != at.v3_positions.lower():
                continue
            decrease, collect = DECREASED.read(log), _COLLECT.read(log)
            if decrease is not None and decrease[0] == token_id:
                liquidity += decrease[1]
                paid = [paid[0] + decrease[2], paid[1] + decrease[3]]
            if collect is not None and collect[0] == token_id:
                collected = [collected[0] + collect[2], collected[1] + collect[3]]
        if liquidity:
            earned = (max(0, collected[0] - paid[0]), max(0, collected[1] - paid[1]))
            found.append(Withdrawal(each, liquidity, (paid[0], paid[1]), earned))
    return found


def withdrawn(order: RangeOrder, token_id: int, rows: Sequence[Withdrawal], *, ours: Iterable[str]) -> Outcome:
    """What a range order of which all was withdrawn came to: FILLED only if nothing of the deposit came back.

    ``ours``: hashes of the transactions that were sent to end it.
    """
    trades, costs, _ = executed(order, token_id, rows)
    known = frozenset(ours)
    if trades and not any(_split(order, row.paid)[0] for row in rows):
        return Outcome(VenueStatus.FILLED, trades, ended=rows[-1].by, costs=costs)
    why = Why.USER if all(row.by.hash in known for row in rows) else Why.OTHER_USER
    return Outcome(VenueStatus.CANCELED, trades, why=why, ended=rows[-1].by, costs=costs)


def executed(
    order: RangeOrder, token_id: int, rows: Sequence[Withdrawal]
) -> tuple[tuple[Trade, ...], tuple[Cost, ...], RangeOrder]:
    """Trades, other costs, and what is left of the order."""
    trades: list[Trade] = []
    costs: list[Cost] = []
    for row in rows:
        rest = left_of(order, order.liquidity - row.liquidity)
        left, got = _split(order, row.paid)
        deposit = order.deposit - rest.deposit
        filled = sold(order, left, got, deposit)
        fees = _earned(order, token_id, row)
        if filled.base and filled.quote:
            price = shown(
                Fraction(filled.quote) / Fraction(filled.base), up=order.side is Side.BUY, digits=_PRICE_DIGITS
            )
            trades.append(Trade(filled.base, filled.quote, price, fees, maker=True, by=row.by, part=str(token_id)))
        else:
            costs += fees
            if deposit != left:
                lost = order.pays.amount(deposit - left)
                costs.append(Cost(f"{row.by.hash}/{token_id}/rounding", order.pays.symbol, lost, "other"))
        order = rest
    return tuple(trades), tuple(costs), order


def _split(order: RangeOrder, paid: tuple[int, int]) -> tuple[int, int]:
    """What came back of the deposit, and what came of the rest."""
    return paid if order.sells_token0 else (paid[1], paid[0])


def _earned(order: RangeOrder, token_id: int, row: Withdrawal) -> tuple[Cost, ...]:
    base_at = 0 if (order.side is Side.SELL) is order.sells_token0 else 1
    rows = ((order.base, row.earned[base_at]), (order.quote, row.earned[1 - base_at]))
    return tuple(
        Cost(f"{row.by.hash}/{token_id}/earned/{token.symbol}", token.symbol, EXACT.minus(token.amount(units)))
        for token, units in rows
        if units
    )
