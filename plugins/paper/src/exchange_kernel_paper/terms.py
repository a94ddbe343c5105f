"""What the exchange said about itself when it was asked, and what that means for its symbols' capabilities."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from exchange_kernel.schema import (
    AmountConstraints,
    AssetType,
    MarketCapabilities,
    PriceConstraints,
    Side,
    SymbolMetadata,
    TickBand,
    TickSpacing,
)

_ALWAYS = (
    "market",
    "limit",
    "amount_base",
    "amount_quote",
    "gtc",
    "ioc",
    "fok",
    "day",
    "gtd",
    "post_only",
    "iceberg",
    "cancel_provable",
    "cancel_all",
    "lists_foreign",
    "fills_of_order",
    "stream",
    "partial_fills",
    "orders_outlive_session",
    "prices",
    "history",
)


_LIMITS_ONLY = "legs are limit orders of one symbol: no price is watched, so no leg can be a stop"
_RESTING = frozenset({"gtc", "day", "gtd", "post_only", "iceberg"})


@dataclass(frozen=True, slots=True)
class VenueTerms:
    """The answer to ``hello``: how this exchange works. Times in ms, fees as fractions."""

    fence: str
    window_ms: int
    future_ms: int
    engine_delay_ms: int
    read_lag_ms: int
    retention_ms: int
    heartbeat_ms: int
    block_ms: int
    valid_blocks: int
    finality: int
    gas_asset: str
    amend: str
    groups: tuple[str, ...]
    maker_fee: Decimal
    taker_fee: Decimal
    fee_in: str
    enable: str
    settle: str
    rests: str

    @property
    def ledger(self) -> bool:
        """Is the ledger the authority, not the exchange's API?"""
        return self.fence in ("sequence", "height")

    @property
    def client_ids(self) -> bool:
        """Does the exchange know ids the client chose?"""
        return self.fence != "none"

    @property
    def amends(self) -> str:
        """``full``, ``down`` or ``off``. Without client ids nobody could tell whether an unanswered amend arrived."""
        return self.amend if self.client_ids else "off"

    @classmethod
    def read(cls, reply: Mapping[str, Any]) -> VenueTerms:
        """From the wire."""
        plain = {name: reply[name] for name in cls.__slots__}
        plain["groups"] = tuple(plain["groups"])
        return cls(**{**plain, **{name: Decimal(reply[name]) for name in ("maker_fee", "taker_fee")}})

    def capabilities(self, sides: tuple[Side, ...]) -> MarketCapabilities:
        """Every capability answered, for a market that takes these sides."""
        native = [name for name in _ALWAYS if self.rests == "on" or name not in _RESTING]
        partial: dict[str, str] = {}
        if self.client_ids:
            native.append("find_by_key")
        native += ["cancel_free"] if not self.ledger else []
        native += ["fills_final_at_once"] if not self.ledger or not self.finality else []
        if self.amends != "off":
            native.append("amend_down")
        if self.amends == "full":
            native += ["amend_price", "amend_up"]
            partial["amend_keeps_queue"] = "only when the price stays and the amount falls"
        elif self.amends == "down":
            native.append("amend_keeps_queue")
        partial |= {f"group_{kind}": _LIMITS_ONLY for kind in self.groups}
        return MarketCapabilities.of(native=native, partial=partial, sides=sides)


def read_symbol(market: Mapping[str, Any], terms: VenueTerms) -> SymbolMetadata:
    """One market of the wire as the kernel's metadata."""
    spacing = TickSpacing(market["spacing"])
    return SymbolMetadata(
        symbol_id=market["symbol"],
        base=market["base"],
        quote=market["quote"],
        asset_type=AssetType.SPOT,
        amounts=AmountConstraints(
            min_amount=Decimal(market["min_amount"]),
            step=Decimal(market["step"]),
            max_amount=Decimal(market["max_amount"]),
            min_notional=Decimal(market["min_notional"]),
            quote_step=Decimal(market["quote_step"]),
        ),
        prices=PriceConstraints(
            spacing=spacing,
            tick=None if market["tick"] is None else Decimal(market["tick"]),
            bands=tuple(TickBand(Decimal(start), Decimal(tick)) for start, tick in market["bands"]),
            significant_digits=market["digits"],
            min_price=Decimal(market["min_price"]),
            max_price=Decimal(market["max_price"]),
        ),
        capabilities=terms.capabilities(tuple(Side(side) for side in market["sides"])),
        active=market["open"],
    )
