"""What is left for the author of an on-chain venue: an order into a call, and a mined transaction into fills.

The frame (:class:`exchange_kernel_evm.adapter.EvmAdapter`) does everything else: numbers, fees, signatures, sending,
looking, finality, reorganisations, cancels, allowances, the stream.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol, runtime_checkable

import msgspec

from exchange_kernel.schema import Side, SymbolMetadata
from exchange_kernel.value import Value
from exchange_kernel.venue import (
    Context,
    Cost,
    Executed,
    Key,
    Money,
    Ms,
    Need,
    NeedsFirst,
    NotNow,
    Prep,
    Preview,
    Spec,
    VenueStatus,
    Why,
)
from exchange_kernel_evm.chains import Chain
from exchange_kernel_evm.endpoint import Answer
from exchange_kernel_evm.finality import Mined
from exchange_kernel_evm.multicall import Read, Result
from exchange_kernel_evm.rpc import Block
from exchange_kernel_evm.tokens import Token
from exchange_kernel_evm.transactions import Unsigned

__all__ = [
    "SIGNATURE",
    "Call",
    "ChainReads",
    "Held",
    "OnChainVenue",
    "OnceOnly",
    "Outcome",
    "Resting",
    "Rests",
    "Terms",
    "Trade",
    "Typed",
]

SIGNATURE = 65
"""Bytes of a signature."""


class Terms(Value, frozen=True):
    """What a transaction orders. ``price``: the order's limit, or None. ``more``: for the venue itself."""

    symbol: str
    side: Side
    amount: Decimal
    price: Decimal | None = None
    more: Mapping[str, str] = msgspec.field(default_factory=dict)


class Typed(Value, frozen=True):
    """EIP-712 data to be signed for a call: ``message`` as signers take it; its signature, :data:`SIGNATURE` bytes,
    belongs into the calldata from byte ``at`` on."""

    message: Mapping[str, Any]
    at: int


class Call(Value, frozen=True):
    """The call that executes an order. The frame adds the tag, the number, the fees and the signature.

    ``value`` in wei. ``gas``: the limit without the tag; None: asked of a node, and a fifth more. ``until``: the
    calldata's own deadline, ledger ms UTC; None: it has none. ``outlay``: the most it may cost besides gas. ``typed``:
    what else is signed, once the policy allows it; such a call names its gas, for no node can estimate it before.
    ``note``: what it does, for people who ask what would be sent (a route, what was quoted).
    """

    to: str
    data: bytes
    terms: Terms
    value: int = 0
    gas: int | None = None
    until: Ms | None = None
    outlay: tuple[Money, ...] = ()
    typed: Typed | None = None
    note: str = ""


class Trade(Value, frozen=True):
    """One execution inside a transaction. Its place in :attr:`Outcome.trades` is its ordinal, and must never change.

    ``by``: the transaction that made it, where that is not the order's own; ``part``: what then tells it from others in
    that transaction, instead of its place.
    """

    base: Decimal
    quote: Decimal
    price: Decimal
    fees: tuple[Cost, ...] = ()
    maker: bool | None = None
    by: Mined | None = None
    part: str = ""


class Outcome(Value, frozen=True):
    """What became of an order whose transaction is in a block.

    ``tentative``: what the market has executed of an order that rests, and may undo until it is withdrawn; in no trade.
    ``ended``: the transaction that ended it, where that is not its own. Until that is final the order is told as
    working, for a reorganisation would bring it back. ``costs``: what it cost or earned besides gas and trades.
    """

    status: VenueStatus
    trades: tuple[Trade, ...] = ()
    why: Why = Why.NONE
    text: str = ""
    need: Need | None = None
    tentative: Executed = Executed()
    ended: Mined | None = None
    costs: tuple[Cost, ...] = ()


class Rests(Value, frozen=True):
    """An order that rests: the transaction that placed it, as it is in its block, and where it stands."""

    tx: Unsigned
    terms: Terms
    mined: Mined
    outcome: Outcome


class Held(Value, frozen=True):
    """What an account's resting orders hold: by asset, not counted in its balances; and by symbol, what of the base
    that is."""

    assets: Mapping[str, Decimal] = msgspec.field(default_factory=dict)
    positions: Mapping[str, Decimal] = msgspec.field(default_factory=dict)


class ChainReads(Protocol):
    """The chain as a venue sees it."""

    @property
    def chain(self) -> Chain:
        """Which one."""
        ...

    @property
    def address(self) -> str:
        """The account."""
        ...

    @property
    def newest(self) -> int:
        """Height of the newest block that any node has shown; 0 before the first read."""
        ...

    @property
    def tip(self) -> str:
        """Hash of the newest header read; "" before the first."""
        ...

    async def read(self, reads: Sequence[Read]) -> tuple[Block, list[Result]]:
        """Contracts, all in the same block: in one request. Raises Unavailable, RateLimited."""
        ...

    async def included(self, hashes: Sequence[str]) -> dict[str, Mined]:
        """Which of these transactions are in blocks, by hash. What was read before is read again only where its block
        may be in the chain no more. Raises Unavailable, RateLimited."""
        ...

    async def mined(self, receipts: Iterable[Answer]) -> dict[str, Mined]:
        """Transactions in blocks, by hash, from receipts as nodes tell them. Raises Unavailable, RateLimited."""
        ...

    async def raw(self, method: str, *params: Any) -> Any:
        """Any other read. Raises Unavailable, RateLimited, NodeError."""
        ...


class OnChainVenue(Protocol):
    """One venue on one chain, for one account. Keeps nothing that is not in its configuration or on the chain."""

    name: str
    """Of the venue; the codec of its tickets begins with it."""
    settings: Sequence[str]
    """Names of its own settings, besides :data:`exchange_kernel_evm.config.SETTINGS`."""

    def configure(self, ctx: Context, chain: Chain, address: str) -> None:
        """Called once, first. Raises ConfigError."""
        ...

    async def load(self, chain: ChainReads) -> Sequence[SymbolMetadata]:
        """Every market, from the chain. Called by open and by markets(). Raises Unavailable."""
        ...

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        """As :meth:`exchange_kernel.venue.VenueAdapter.check`."""
        ...

    async def place(self, key: Key, spec: Spec, prep: Prep, chain: ChainReads) -> Call | NeedsFirst | NotNow:
        """The call for an order that :meth:`check` has previewed. Raises what ``prepare`` may raise.

        ``prep``: the kernel's. Numbers are the frame's business: do not ``take`` any.
        """
        ...

    def terms(self, tx: Unsigned) -> Terms | None:
        """What a transaction orders, from its calldata alone; None: nothing. For a kernel that lost its tickets."""
        ...

    def executed(self, terms: Terms, mined: Mined, address: str) -> Outcome:
        """What a transaction that succeeded did, from its receipt alone. Pure: the same receipt, the same outcome."""
        ...

    @property
    def tokens(self) -> Sequence[Token]:
        """Whose balances are the account's."""
        ...

    @property
    def contracts(self) -> frozenset[str]:
        """What the signer may call; with checksums."""
        ...

    @property
    def spenders(self) -> frozenset[str]:
        """Whom the signer may let spend a token; with checksums."""
        ...


@runtime_checkable
class Resting(Protocol):
    """Optional: a venue whose orders go on living in a contract after their transaction."""

    async def progress(self, terms: Terms, mined: Mined, others: Sequence[Mined], chain: ChainReads) -> Outcome:
        """Where an order stands now. Replaces :meth:`OnChainVenue.executed`.

        ``others``: the account's transactions that were sent to end it and are in a block, as far as they are known.
        """
        ...

    async def withdraw(self, terms: Terms, mined: Mined, chain: ChainReads, *, whole: bool) -> Call:
        """The call that ends it. ``whole``: only to take the proceeds of all of it; it must fail on the chain, too,
        where not all of it is executed any more. A second one must do nothing.

        Raises UnknownTarget where there is nothing to end, OrderRefused where it is not whole.
        """
        ...

    async def open_orders(self, chain: ChainReads) -> Sequence[Rests]:
        """Those that rest now. Asked again in the same block it says the same. Raises Unavailable."""
        ...

    def along(self) -> Sequence[Read]:
        """What is read in every block, together with the account's balances, for :meth:`held`."""
        ...

    async def held(self, results: Sequence[Result], chain: ChainReads) -> Held:
        """What resting orders hold. ``results``: of :meth:`along`. Raises Unavailable."""
        ...


@runtime_checkable
class OnceOnly(Protocol):
    """Optional: a contract of the venue executes an order's key once, whoever hands it in."""

    async def spent(self, key: Key, chain: ChainReads) -> bool:
        """Has it executed this key, in the newest block? Raises Unavailable, RateLimited."""
        ...
