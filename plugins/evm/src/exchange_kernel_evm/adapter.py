"""The frame of an on-chain venue: the ten methods of the contract over what :mod:`exchange_kernel_evm.venue` asks for.

It keeps nothing that must be remembered: that is in tickets, or on the chain.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from decimal import Decimal

from exchange_kernel.errors import NotAuthorized, NotRunning, NotSent, Refused, Unavailable, UnknownSymbol
from exchange_kernel.schema import SymbolMetadata
from exchange_kernel.schema.numbers import EXACT
from exchange_kernel.venue import (
    FOREVER,
    AccountSnapshot,
    Ack,
    Balance,
    Command,
    Context,
    Lookup,
    Opened,
    OrderReport,
    Prep,
    Prepared,
    Preview,
    Ref,
    Scope,
    Snapshot,
    Spec,
    Ticket,
    VenueEvent,
    VenuePosition,
    Watermark,
)
from exchange_kernel_evm import reports
from exchange_kernel_evm.answers import Meaning
from exchange_kernel_evm.body import read_body
from exchange_kernel_evm.config import EvmConfig
from exchange_kernel_evm.endpoint import Request
from exchange_kernel_evm.fees import history_request
from exchange_kernel_evm.follow import Follow
from exchange_kernel_evm.funds import funds_needs
from exchange_kernel_evm.heads import Heads
from exchange_kernel_evm.keys import Signer, signer_of
from exchange_kernel_evm.ledger import Ledger, State
from exchange_kernel_evm.lookups import Lookups
from exchange_kernel_evm.multicall import ETH_BALANCE, Read, read_results, request
from exchange_kernel_evm.policy import Guard, Policy
from exchange_kernel_evm.rpc import Rpc
from exchange_kernel_evm.spending import FileSpending
from exchange_kernel_evm.tickets import Tickets
from exchange_kernel_evm.tokens import BALANCE_OF, to_amount
from exchange_kernel_evm.transactions import key_of
from exchange_kernel_evm.venue import Held, OnChainVenue, Resting

__all__ = ["EvmAdapter"]

CLOSED = "the adapter is not open"
CODEC_VERSION = 1
ETHER_DECIMALS = 18
_FOR_ITS_FEES = frozenset({Meaning.REPLACEMENT_UNDERPRICED, Meaning.UNDERPRICED, Meaning.BELOW_BASE_FEE})
_DEVELOPMENT = ("anvil", "hardhat", "ganache")


class EvmAdapter:
    """Implements VenueAdapter for one address on one chain.

    ``venue`` makes the venue's own part; a distribution names a subclass, or a function of no arguments, as its
    factory. ``signer``: instead of the key in the account's secrets.
    """

    _ctx: Context
    _config: EvmConfig
    _rpc: Rpc
    _heads: Heads
    _ledger: Ledger
    _lookups: Lookups
    _tickets: Tickets
    _identity: str

    def __init__(self, venue: Callable[[], OnChainVenue], signer: Signer | None = None) -> None:
        self._venue = venue()
        self._signer = signer
        self._open = False
        self._symbols: dict[str, SymbolMetadata] = {}
        self._account: tuple[str, AccountSnapshot] | None = None

    # session ----------------------------------------------------------------------------------------------------

    async def open(self, ctx: Context) -> Opened:
        try:
            return await self._opened(ctx)
        except BaseException:  # a session that was not opened is closed by nobody else
            await self.close()
            raise

    async def _opened(self, ctx: Context) -> Opened:
        config = EvmConfig.of(ctx.config, self._venue.settings)
        signer = self._signer or await signer_of(
            ctx.secrets, config.keystore, watched=config.address if ctx.observe else ""
        )
        if config.address and config.address != signer.address:
            raise NotAuthorized(f"the key signs for {signer.address}, not for {config.address}")
        chain, address = config.chain, signer.address
        self._ctx, self._config = ctx, config
        self._venue.configure(ctx, chain, address)
        self._rpc = Rpc(chain.id, config.rpc, clock=ctx.clock, broadcasts=config.broadcast, timeout_s=config.timeout_s)
        self._heads = Heads(config.ws, poll_ms=config.poll_ms, block_ms=chain.block_ms, sleep=ctx.sleep)
        self._open = True
        self._ledger = Ledger(self._rpc, chain, address)
        # Two venues at one address would be two sequencers of one sequence: they have one identity (R26).
        self._identity = f"evm:{chain.id}:{address.lower()}"
        codec = f"evm-{self._venue.name}/{CODEC_VERSION}"
        self._lookups = Lookups(self._ledger, self._venue, self._identity, codec)
        await self._rpc.open()
        await self.markets()
        policy = Policy(
            chain.id,
            self._venue.contracts | {chain.permit2},
            frozenset(token.address for token in self._venue.tokens),
            self._venue.spenders,
            config.max_value,
            config.max_value_per_day,
            config.limits.max_fee,
        )
        spending = FileSpending(config.spending, chain.id, address) if config.spending else None
        guard = Guard(policy, address, spending)
        self._tickets = Tickets(
            self._ledger, self._venue, self._lookups, signer, guard, config.limits, self._identity, codec, ctx.clock
        )
        state = await self._ledger.state([("web3_clientVersion", ()), _pending(address)])
        client, waiting = state.answers
        development = isinstance(client, str) and client.lower().startswith(_DEVELOPMENT)
        # A block's time trails the chain's clock by up to a block; beyond that the clocks differ.
        behind = state.head.time - ctx.clock()
        floor = max(state.next, int(waiting, 16) if isinstance(waiting, str) else 0)
        return Opened(
            identity=self._identity,
            mode="fork" if development else chain.mode,
            scopes=(Scope(self._identity, "gapless", floor),),
            retention=FOREVER,
            read_lag=0,
            clock_offset=behind if abs(behind) > 2 * chain.block_ms else 0,
            clock_error=2 * chain.block_ms,
        )

    async def close(self) -> None:
        if self._open:
            self._open = False
            await self._heads.close()
            await self._rpc.close()

    async def markets(self) -> Sequence[SymbolMetadata]:
        self._reads()
        found = await self._venue.load(self._ledger)
        self._symbols = {each.symbol_id: each for each in found}
        return tuple(found)

    # changes ----------------------------------------------------------------------------------------------------

    def check(self, spec: Spec, was: Spec | None = None) -> Preview:
        if not self._symbols:
            raise NotRunning(CLOSED)
        if spec.symbol not in self._symbols:
            raise UnknownSymbol("symbol", spec.symbol, "is not listed here", f"there are {', '.join(self._symbols)}")
        preview = self._venue.check(spec, was)
        return replace(preview, needs={**funds_needs(preview.outlay), **preview.needs})

    async def prepare(self, command: Command, prep: Prep) -> Prepared:
        if not self._open:
            raise NotSent(CLOSED)
        return await self._tickets.prepare(command, prep, self.check)

    async def submit(self, ticket: Ticket) -> Ack:
        if not self._open:
            raise NotSent(CLOSED)
        if ticket.codec != self._tickets.codec or ticket.identity != self._identity:
            theirs, ours = f"{ticket.codec} for {ticket.identity}", f"{self._tickets.codec} for {self._identity}"
            raise NotSent(f"this ticket is {theirs}; this session takes {ours}")
        body = read_body(ticket, self._ledger.address, self._ledger.chain.id)
        if self._ctx.clock() > ticket.send_before:
            raise NotSent(f"too old: it was to be sent before {ticket.send_before} ms")
        try:
            sent = await self._rpc.send(body.tx.raw)
        except Refused as error:
            if error.code in _FOR_ITS_FEES:
                self._lookups.priced_out(body.tx.hash)
            raise
        self._lookups.taken(body.tx.unsigned, body.tx.hash)
        return Ack("duplicate" if sent.known else "sent")

    # reads ------------------------------------------------------------------------------------------------------

    async def lookup(self, ref: Ref) -> Lookup:
        self._reads()
        return await self._lookups.find(ref)

    async def open_orders(self, page: str | None) -> Snapshot:
        self._reads()
        state = await self._ledger.state()
        seen = state.seen(self._ledger.chain.native)
        found: dict[str, OrderReport] = {}
        for tx, tx_hash in await self._lookups.pool():
            terms = self._venue.terms(tx)
            if terms is not None:
                found[str(tx.nonce)] = reports.pending(key_of(tx.data), tx.nonce, [tx_hash], terms, seen)
        if isinstance(self._venue, Resting):  # of what a block took between the two reads, that it rests
            rows = [reports.rests(each, seen) for each in await self._venue.open_orders(self._ledger)]
            found |= {row.id.value: row for row in rows}
        return Snapshot(tuple(found.values()), _mark(state), True, None, "account")

    async def account(self) -> AccountSnapshot:
        self._reads()
        if self._account is not None:
            head, _ = await self._rpc.read([])
            at, snapshot = self._account
            if at == head.hash:
                return snapshot
        chain, address, tokens = self._ledger.chain, self._ledger.address, self._venue.tokens
        reads = [
            Read(chain.multicall3, ETH_BALANCE, (address,)),
            *(Read(token.address, BALANCE_OF, (address,), may_fail=True) for token in tokens),
        ]
        resting = self._venue if isinstance(self._venue, Resting) else None
        after = len(reads)
        reads += [] if resting is None else resting.along()
        # What every order of this block will ask for is read along.
        along: list[Request] = [history_request(), ("eth_getBalance", (address, "latest"))]
        asked: Request = request(chain.multicall3, reads, "latest")
        state = await self._ledger.state([asked, *along])
        self._ledger.share(state.head, along, state.answers[1:])
        results = read_results(state.answers[0], reads)
        held = Held() if resting is None else await resting.held(results[after:], self._ledger)
        native, *rest = results[:after]
        rows = [(chain.native, native, ETHER_DECIMALS)]
        rows += [(token.asset, result, token.decimals) for token, result in zip(tokens, rest, strict=True)]
        balances = []
        for asset, result, decimals in rows:
            if result.values is None:
                raise Unavailable(f"the balance of {asset} cannot be read")
            amount = to_amount(result.values[0], decimals)
            balances.append(Balance(asset, EXACT.add(amount, held.assets.get(asset, Decimal(0))), amount))
        positions = tuple(VenuePosition(symbol, "NET", base, None) for symbol, base in held.positions.items())
        floors = {self._identity: state.next}
        found = AccountSnapshot(_mark(state), True, tuple(balances), positions, floors=floors)
        self._account = state.head.hash, found
        return found

    def events(self, cursor: str | None) -> AsyncIterator[VenueEvent]:
        self._reads()
        follow = Follow(self._ledger, self._lookups, self._venue, self._heads, lambda: self._open, self.account)
        return follow.events()

    def _reads(self) -> None:
        if not self._open:
            raise Unavailable(CLOSED)


def _pending(address: str) -> Request:
    return "eth_getTransactionCount", (address, "pending")


def _mark(state: State) -> Watermark:
    return Watermark(ledger_ms=state.final.time, height=state.final.number)
