"""The smallest on-chain venue there is: wrapping and unwrapping ether, as orders at 1 WETH for 1 ETH."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from exchange_kernel.errors import InvalidOrder, Unavailable, Unsupported
from exchange_kernel.orders import round_down
from exchange_kernel.schema import (
    AmountConstraints,
    AmountType,
    AssetType,
    MarketCapabilities,
    PriceConstraints,
    Side,
    SymbolMetadata,
    TickSpacing,
    TimeInForce,
)
from exchange_kernel.schema.numbers import amount as checked
from exchange_kernel.value import revised
from exchange_kernel.venue import Context, Key, Money, NotNow, Prep, Preview, Spec, VenueStatus
from exchange_kernel_evm.abi import Event, Function
from exchange_kernel_evm.adapter import EvmAdapter
from exchange_kernel_evm.chains import Chain
from exchange_kernel_evm.finality import Mined
from exchange_kernel_evm.funds import short_of
from exchange_kernel_evm.multicall import Read
from exchange_kernel_evm.tokens import BALANCE_OF, DECIMALS, Token, to_amount, to_units
from exchange_kernel_evm.transactions import Unsigned
from exchange_kernel_evm.venue import Call, ChainReads, Outcome, Terms, Trade

SYMBOL, ONE = "WETH/ETH", Decimal(1)
DEPOSIT, WITHDRAW = Function.of("deposit"), Function.of("withdraw", ["uint256"])
WRAPPED = Event.of("Deposit(address,uint256)", ["address"], ["uint256"])
UNWRAPPED = Event.of("Withdrawal(address,uint256)", ["address"], ["uint256"])
NATIVE = (
    "market",
    "limit",
    "amount_base",
    "ioc",
    "fok",
    "find_by_key",
    "fills_of_order",
    "stream",
    "orders_outlive_session",
)
GAS = 60_000


class Weth:
    """Implements OnChainVenue."""

    name = "weth"
    settings: Sequence[str] = ()

    def configure(self, ctx: Context, chain: Chain, address: str) -> None:
        self._address = address
        self._token = Token(chain.wrapped, "WETH", 18)

    @property
    def tokens(self) -> Sequence[Token]:
        return (self._token,)

    @property
    def contracts(self) -> frozenset[str]:
        return frozenset({self._token.address})

    @property
    def spenders(self) -> frozenset[str]:
        return frozenset()

    async def load(self, chain: ChainReads) -> Sequence[SymbolMetadata]:
        _, (decimals,) = await chain.read([Read(self._token.address, DECIMALS)])
        assert decimals.values == (18,)
        self._market = SymbolMetadata(
            symbol_id=SYMBOL,
            base="WETH",
            quote="ETH",
            asset_type=AssetType.SPOT,
            amounts=AmountConstraints(Decimal("1e-6"), Decimal("1e-18"), max_amount=Decimal(10**8)),
            prices=PriceConstraints(TickSpacing.FIXED, ONE, min_price=ONE, max_price=ONE),
            capabilities=MarketCapabilities.of(native=NATIVE),
            venue_symbol=self._token.address,
        )
        return (self._market,)

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        market = self._market
        for field, value in (("amount", spec.amount), ("limit", spec.limit), ("guard", spec.guard)):
            if value is not None:
                checked(field, value)
        uses = ["limit" if spec.limit is not None else "market", f"amount_{spec.amount_in.lower()}", spec.tif.lower()]
        for feature, wanted in (
            ("post_only", spec.post_only),
            ("reduce_only", spec.reduce_only),
            ("iceberg", spec.display is not None),
            ("hedge_legs", spec.leg != "NET"),
        ):
            uses += [feature] if wanted else []
        if spec.trigger is not None:
            uses.append(f"source_{spec.trigger.source.lower()}")
        if was is not None:
            uses.append("amend_price" if was.amount == spec.amount else "amend_up")
        for feature in uses:
            if not market.capabilities.offers(feature):
                raise Unsupported(feature)
        if spec.until is not None:
            raise InvalidOrder("until", spec.until, "belongs to an order good till a date")
        if spec.limit not in (None, ONE):
            raise InvalidOrder("limit", spec.limit, "is not 1, the only price there is")
        worst = spec.guard
        if worst is not None and (worst < ONE if spec.side is Side.BUY else worst > ONE):
            raise InvalidOrder("guard", worst, "is never met: the price is 1")
        amount = round_down(spec.amount, market.amounts.step)
        if amount < market.amounts.min_amount:
            raise InvalidOrder("amount", spec.amount, f"is below min_amount {market.amounts.min_amount:f} of {SYMBOL}")
        if market.amounts.max_amount is not None and amount > market.amounts.max_amount:
            raise InvalidOrder("amount", spec.amount, f"is above max_amount {market.amounts.max_amount:f} of {SYMBOL}")
        pays = market.quote if spec.side is Side.BUY else market.base
        support = {feature: market.capabilities.support(feature) for feature in uses}
        return Preview(revised(spec, amount=amount, guard=worst and ONE), support, (Money(pays, amount),))

    async def place(self, key: Key, spec: Spec, prep: Prep, chain: ChainReads) -> Call | NotNow:
        units = to_units("amount", spec.amount, 18)
        terms = Terms(SYMBOL, spec.side, spec.amount, spec.limit)
        if spec.side is Side.BUY:
            outlay = (Money("ETH", spec.amount),)
            return Call(self._token.address, DEPOSIT.call(), terms, value=units, gas=GAS, outlay=outlay)
        _, (balance,) = await chain.read([Read(self._token.address, BALANCE_OF, (chain.address,))])
        if balance.values is None:
            raise Unavailable("the balance of WETH cannot be read")
        short = short_of("WETH", to_amount(balance.values[0], 18), spec.amount, prep, prep.now + chain.chain.block_ms)
        if short is not None:
            return short
        outlay = (Money("WETH", spec.amount),)
        return Call(self._token.address, WITHDRAW.call(units), terms, gas=GAS, outlay=outlay)

    def terms(self, tx: Unsigned) -> Terms | None:
        if tx.to != self._token.address:
            return None
        if DEPOSIT.arguments(tx.data) is not None and tx.value:
            return Terms(SYMBOL, Side.BUY, to_amount(tx.value, 18), ONE)
        taken = WITHDRAW.arguments(tx.data)
        return None if taken is None else Terms(SYMBOL, Side.SELL, to_amount(taken[0], 18), ONE)

    def executed(self, terms: Terms, mined: Mined, address: str) -> Outcome:
        event = WRAPPED if terms.side is Side.BUY else UNWRAPPED
        found = [event.read(log) for log in mined.logs if log["address"].lower() == self._token.address.lower()]
        moved = [row[1] for row in found if row is not None and row[0].lower() == address.lower()]
        trades = tuple(Trade(to_amount(units, 18), to_amount(units, 18), ONE, maker=False) for units in moved)
        return Outcome(VenueStatus.FILLED if trades else VenueStatus.REJECTED, trades)


def order(steps: int = 1, side: Side = Side.BUY) -> Spec:
    """0.01 WETH for each step."""
    return Spec(SYMBOL, side, Decimal("0.01") * steps, AmountType.BASE, limit=ONE, tif=TimeInForce.FOK)


def adapter() -> EvmAdapter:
    """The venue's adapter, not opened."""
    return EvmAdapter(Weth)
