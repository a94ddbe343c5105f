"""What can be traded: five spot markets, one of each price spacing, and one that only ever sells."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from exchange_kernel_paper.exchange.codes import Code, Refusal
from exchange_kernel_paper.exchange.numbers import text


@dataclass(frozen=True, slots=True)
class Market:
    """One market and its filters.

    ``step``, ``min_amount``, ``max_amount`` in base; ``quote_step``, ``min_notional`` in quote; prices are quote per
    base. ``spacing`` is FIXED (``tick``), DYNAMIC (``bands``: from-price to tick, ascending) or CONTINUOUS (any price
    of at most ``digits`` significant digits). ``sides``: the sides clients may take.
    """

    symbol: str
    base: str
    quote: str
    step: Decimal
    min_amount: Decimal
    max_amount: Decimal
    quote_step: Decimal
    min_notional: Decimal
    min_price: Decimal
    max_price: Decimal
    reference: Decimal
    spacing: str = "FIXED"
    tick: Decimal | None = None
    bands: tuple[tuple[Decimal, Decimal], ...] = ()
    digits: int | None = None
    sides: tuple[str, ...] = ("BUY", "SELL")

    def check_price(self, field: str, price: Decimal) -> None:
        """Raises Refusal(FILTER_PRICE) for a price this market does not take. Needs the exact context."""
        if not self.min_price <= price <= self.max_price:
            low, high = text(self.min_price), text(self.max_price)
            raise Refusal(Code.FILTER_PRICE, f"{field} {text(price)} is outside {low} to {high}")
        if self.spacing == "CONTINUOUS":
            if self.digits is not None and len(price.normalize().as_tuple().digits) > self.digits:
                raise Refusal(
                    Code.FILTER_PRICE, f"{field} {text(price)} has more than {self.digits} significant digits"
                )
            return
        tick = self.tick_at(price)
        if price % tick:
            raise Refusal(Code.FILTER_PRICE, f"{field} {text(price)} is not a multiple of {text(tick)}")

    def tick_at(self, price: Decimal) -> Decimal:
        """The distance to the next price above ``price``."""
        if self.tick is not None:
            return self.tick
        if self.digits is not None and not self.bands:
            return Decimal(1).scaleb(price.adjusted() - self.digits + 1)
        return next(tick for start, tick in reversed(self.bands) if price >= start)

    def view(self, *, open_: bool) -> dict[str, object]:
        """This market as the wire shows it."""
        return {
            "symbol": self.symbol,
            "base": self.base,
            "quote": self.quote,
            "step": text(self.step),
            "min_amount": text(self.min_amount),
            "max_amount": text(self.max_amount),
            "quote_step": text(self.quote_step),
            "min_notional": text(self.min_notional),
            "min_price": text(self.min_price),
            "max_price": text(self.max_price),
            "spacing": self.spacing,
            "tick": None if self.tick is None else text(self.tick),
            "bands": [[text(start), text(tick)] for start, tick in self.bands],
            "digits": self.digits,
            "sides": list(self.sides),
            "open": open_,
        }


def _market(symbol: str, reference: str, step: str, **more: object) -> Market:
    base, quote = symbol.split("/")
    fields: dict[str, object] = {
        "min_amount": Decimal(step),
        "max_amount": Decimal("1000000"),
        "quote_step": Decimal("0.01"),
        "min_notional": Decimal(10),
        "min_price": Decimal("0.0001"),
        "max_price": Decimal("10000000"),
        **more,
    }
    return Market(symbol, base, quote, step=Decimal(step), reference=Decimal(reference), **fields)  # type: ignore[arg-type]


def default_markets() -> Iterable[Market]:
    """The markets every paper exchange lists."""
    cent = Decimal("0.01")
    bands = ((Decimal(0), Decimal("0.0001")), (Decimal(10), cent), (Decimal(100), Decimal("0.1")))
    return (
        _market("BTC/USD", "50000", "0.0001", tick=cent, min_price=cent),
        _market("ETH/USD", "3000", "0.001", tick=cent, min_price=cent),
        _market("SOL/USD", "100", "0.01", spacing="DYNAMIC", bands=bands),
        _market("XAU/USD", "2412.345", "0.001", spacing="CONTINUOUS", digits=8),
        _market("NEW/USD", "2.5", "0.1", tick=Decimal("0.0001"), sides=("BUY",)),
    )
