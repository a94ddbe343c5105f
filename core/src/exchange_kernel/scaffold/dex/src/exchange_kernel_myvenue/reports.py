"""From the chain's words to the kernel's: markets, orders, fills, balances. What is not final is never ``filled``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from exchange_kernel.schema import (
    AmountConstraints,
    AssetType,
    MarketCapabilities,
    PriceConstraints,
    Side,
    SymbolMetadata,
    TickSpacing,
)
from exchange_kernel.venue import (
    Balance,
    Cost,
    Executed,
    Fill,
    FillVoided,
    Key,
    OrderReport,
    StepReport,
    VenueId,
    VenueStatus,
    Why,
)

from .venue import GAS

NATIVE = (
    "limit",
    "amount_base",
    "gtc",
    "cancel_provable",
    "find_by_key",
    "lists_foreign",
    "fills_of_order",
    "stream",
    "partial_fills",
    "orders_outlive_session",
)
"""What this venue can do; everything else is declared unsupported, and must be refused."""

_STATUS = {"open": VenueStatus.WORKING, "filled": VenueStatus.FILLED, "cancelled": VenueStatus.CANCELED}
_NOTHING = Executed()
_REPORTS_PER_BLOCK = 1_000


def market(view: Mapping[str, Any]) -> SymbolMetadata:
    """One market."""
    step = Decimal(view["step"])
    tick = Decimal(view["tick"])
    return SymbolMetadata(
        symbol_id=view["symbol"],
        base=view["base"],
        quote=view["quote"],
        asset_type=AssetType.SPOT,
        amounts=AmountConstraints(
            step, step, max_amount=Decimal(view["max_amount"]), min_notional=Decimal(view["min_notional"])
        ),
        prices=PriceConstraints(TickSpacing.FIXED, tick, min_price=tick, max_price=Decimal(view["max_price"])),
        capabilities=MarketCapabilities.of(native=NATIVE),
        active=view["open"],
    )


def order(view: Mapping[str, Any], head: Mapping[str, Any]) -> OrderReport:
    """One order of the contract, as a node at ``head`` shows it."""
    named, status, final = _named(view["key"]), _STATUS[view["status"]], head["final"]
    fills = tuple(_fill(trade, named, final) for trade in view["trades"])
    return OrderReport(
        id=named,
        symbol=view["symbol"],
        side=Side(view["side"]),
        status=status,
        as_of=view["updated"],
        key=key_of(view["key"]),
        links=(VenueId("tx", view["tx"]),),
        why=Why.USER if status is VenueStatus.CANCELED else Why.NONE,
        amount=Decimal(view["amount"]),
        price=Decimal(view["limit"]),
        filled=_sum(fill for fill in fills if fill.final),
        tentative=_sum(fill for fill in fills if not fill.final),
        fills=fills,
        fills_complete=True,
        costs=tuple(_cost(tx, fee) for tx, fee in view["costs"]),
        final=view["closed"] is not None and view["closed"] <= final,
        version=head["height"] * _REPORTS_PER_BLOCK + len(view["costs"]) + view["steps"],
    )


def pending(view: Mapping[str, Any], head: Mapping[str, Any]) -> OrderReport:
    """A placing transaction that waits for its block."""
    return _unplaced(view, VenueStatus.PENDING, head["t"], Why.NONE, final=False)


def reverted(receipt: Mapping[str, Any], head: Mapping[str, Any]) -> OrderReport:
    """A placing transaction that failed in its block: it cost its fee, and there is no order."""
    final = receipt["height"] <= head["final"]
    return _unplaced(receipt, VenueStatus.REJECTED, receipt["at"], Why.REVERTED, final=final)


def step(receipt: Mapping[str, Any], head: Mapping[str, Any]) -> StepReport:
    """What became of a transaction that places no order."""
    key = key_of(receipt["key"])
    assert key is not None
    return StepReport(
        id=VenueId("tx", receipt["tx"]),
        key=key,
        state="failed" if receipt["error"] else "done",
        final=receipt["height"] <= head["final"],
        as_of=receipt["at"],
        why=Why.REVERTED if receipt["error"] else Why.NONE,
        text=receipt["error"],
        costs=(_cost(receipt["tx"], receipt["fee"]),),
    )


def balances(rows: Sequence[Sequence[str]]) -> tuple[Balance, ...]:
    """Rows of asset, free and held."""
    return tuple(Balance(asset, Decimal(free) + Decimal(held), Decimal(free)) for asset, free, held in rows)


def key_of(text: str) -> Key | None:
    """The key an order was placed under; None for one that is not ours."""
    try:
        key = bytes.fromhex(text)
    except ValueError:
        return None
    return key if key and key.hex() == text else None


def _named(key: str) -> VenueId:
    return VenueId("order", key)


def _unplaced(view: Mapping[str, Any], status: VenueStatus, at: int, why: Why, *, final: bool) -> OrderReport:
    return OrderReport(
        id=_named(view["key"]),
        symbol=view["symbol"],
        side=Side(view["side"]),
        status=status,
        as_of=at,
        key=key_of(view["key"]),
        links=(VenueId("tx", view["tx"]),),
        why=why,
        text=view.get("error", ""),
        amount=Decimal(view["amount"]),
        price=Decimal(view["limit"]),
        fills_complete=True,
        costs=(_cost(view["tx"], view["fee"]),) if status is VenueStatus.REJECTED else (),
        final=final,
    )


def voided(trade: Mapping[str, Any]) -> FillVoided:
    """A trade that is not there any more, since its block was made anew."""
    return FillVoided(_trade_id(trade), trade["revision"], Why.OTHER)


def _trade_id(trade: Mapping[str, Any]) -> str:
    # Transaction and ordinal in it: a log index would change when the block is made anew (rule 12).
    return f"{trade['tx']}/{trade['number']}"


def _fill(trade: Mapping[str, Any], of: VenueId, final: int) -> Fill:
    base, price, settled = Decimal(trade["base"]), Decimal(trade["price"]), trade["height"] <= final
    name, revision = _trade_id(trade), trade["revision"]
    return Fill(name, of, base, base * price, price, trade["at"], revision=revision, final=settled)


def _sum(fills: Iterable[Fill]) -> Executed:
    total = _NOTHING
    for fill in fills:
        total = Executed(total.base + fill.base, total.quote + fill.quote)
    return total


def _cost(tx: str, fee: str) -> Cost:
    return Cost(f"{tx}/fee", GAS, Decimal(fee), "network")
