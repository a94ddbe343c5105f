"""Orders and trades as the matching engine keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from exchange_kernel_paper.exchange.codes import Why
from exchange_kernel_paper.exchange.numbers import ZERO, text

if TYPE_CHECKING:
    from exchange_kernel_paper.exchange.accounts import Account
    from exchange_kernel_paper.exchange.groups import Group
    from exchange_kernel_paper.exchange.markets import Market

BUY, SELL = "BUY", "SELL"
DORMANT, WORKING = "DORMANT", "WORKING"
FILLED, CANCELED, EXPIRED, REJECTED = "FILLED", "CANCELED", "EXPIRED", "REJECTED"
OPEN = frozenset({DORMANT, WORKING})


class Trade(NamedTuple):
    """One execution between two orders. ``id`` counts per symbol. ``base``, ``quote``: before fees. ``at``: venue ms
    UTC.

    ``height``: block of a ledger venue that holds it, else 0. ``fees``: what the maker and the taker paid, in the asset
    beside the amount. ``revision`` rises with every correction.
    """

    id: int
    symbol: str
    price: Decimal
    base: Decimal
    quote: Decimal
    at: int
    height: int
    maker: int
    taker: int
    maker_fee: tuple[str, Decimal]
    taker_fee: tuple[str, Decimal]
    revision: int = 0

    def row(self, order_id: int) -> tuple[object, ...]:
        """This trade as the owner of one of its two orders sees it: id, price, base, quote, at, height, fee, its asset,
        and whether the order was the maker; last, once it was corrected, its revision."""
        maker = order_id == self.maker
        asset, fee = self.maker_fee if maker else self.taker_fee
        price, base, quote = text(self.price), text(self.base), text(self.quote)
        row = self.id, price, base, quote, self.at, self.height, text(fee), asset, maker
        return (*row, self.revision) if self.revision else row


class Order:
    """One order. ``amount`` is a total, in quote when ``in_quote``, else in base; ``filled`` in base, ``spent`` in
    quote.

    ``limit``: None for a market order, whose worst price may be ``guard``. ``until``: end of its life, venue ms UTC.
    ``display``: base shown at a time (an iceberg), of which ``visible`` is left. ``held``: reserved for it, of the
    asset it pays. ``applied``: id of the last command it shows. ``height``: block of its last change. ``costs``:
    network fees. ``due``: executed in full, and waits to be settled. ``group``: of which it is a leg; DORMANT while it
    waits for another leg. ``cause``: why the venue itself made it (a liquidation), else "".
    """

    __slots__ = (
        "account",
        "amount",
        "applied",
        "cause",
        "client",
        "costs",
        "created",
        "display",
        "due",
        "filled",
        "group",
        "guard",
        "height",
        "held",
        "id",
        "in_quote",
        "limit",
        "market",
        "post_only",
        "side",
        "spent",
        "status",
        "tif",
        "trades",
        "until",
        "updated",
        "version",
        "visible",
        "why",
    )

    def __init__(
        self,
        number: int,
        account: Account,
        client: str | None,
        market: Market,
        side: str,
        amount: Decimal,
        *,
        now: int,
        in_quote: bool = False,
        limit: Decimal | None = None,
        guard: Decimal | None = None,
        tif: str = "GTC",
        until: int | None = None,
        post_only: bool = False,
        display: Decimal | None = None,
        applied: str | None = None,
    ) -> None:
        self.id, self.account, self.client, self.market, self.side = number, account, client, market, side
        self.amount, self.in_quote, self.limit, self.guard = amount, in_quote, limit, guard
        self.tif, self.until, self.post_only, self.display = tif, until, post_only, display
        self.visible = display
        self.applied = applied
        self.created = self.updated = now
        self.filled = self.spent = self.held = ZERO
        self.due = False
        self.status, self.why = WORKING, ""
        self.trades: list[Trade] = []
        self.costs: tuple[tuple[str, str, Decimal], ...] = ()
        self.group: Group | None = None
        self.cause = ""
        self.version = self.height = 0

    @property
    def finished(self) -> bool:
        """True once nothing can happen to it any more."""
        return self.status not in OPEN

    @property
    def left(self) -> Decimal:
        """What is not executed yet, in the unit of ``amount``."""
        return self.amount - (self.spent if self.in_quote else self.filled)

    def room(self, price: Decimal, left: Decimal | None = None) -> Decimal:
        """Base it may still trade at ``price``, in whole steps; ``left`` stands in for what is not executed."""
        rest = self.left if left is None else left
        if not self.in_quote:
            return rest
        step = self.market.step
        return rest // (price * step) * step if rest else ZERO

    def show(self) -> None:
        """Put the next slice of an iceberg on display."""
        if self.display is not None and self.limit is not None:
            self.visible = min(self.display, self.room(self.limit))

    def finish(self, status: str, why: str = Why.NONE) -> None:
        """End it. The caller takes it off the book and releases what it held."""
        self.status, self.why = status, str(why)

    def view(self, trades: Sequence[Trade] | None = None) -> dict[str, object]:
        """This order as the wire shows it, with the given trades or all of them."""
        shown = self.trades if trades is None else trades
        out: dict[str, object] = {
            "id": self.id,
            "symbol": self.market.symbol,
            "side": self.side,
            "status": self.status,
            "amount": text(self.amount),
            "filled": text(self.filled),
            "spent": text(self.spent),
            "updated": self.updated,
            "version": self.version,
            "trades": [trade.row(self.id) for trade in shown],
        }
        if len(shown) != len(self.trades):
            out["partial"] = True
        if self.client is not None:
            out["client"] = self.client
        if self.applied is not None and self.applied != self.client:
            out["applied"] = self.applied
        if self.in_quote:
            out["in"] = "QUOTE"
        if self.limit is not None:
            out["limit"] = text(self.limit)
        if self.due and not self.finished:
            out["due"] = True
        if self.why or self.cause:
            out["why"] = self.why or self.cause
        if self.cause:
            out["origin"] = "venue"
        if self.group is not None:
            out["group"] = self.group.name
        if self.height:
            out["height"] = self.height
        if self.costs:
            out["costs"] = [[tx, asset, text(fee)] for tx, asset, fee in self.costs]
        return out
