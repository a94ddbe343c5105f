"""From commands to signed transactions. Reads first, then the number, then the policy, then the signature, last."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from exchange_kernel.errors import InsufficientFunds, NotSent, OrderRefused, Unavailable, UnknownTarget, Unsupported
from exchange_kernel.schema.numbers import canonical
from exchange_kernel.value import revised
from exchange_kernel.venue import (
    FOREVER,
    Amend,
    Burn,
    Cancel,
    CancelAll,
    Command,
    Enable,
    Fence,
    Key,
    Money,
    Ms,
    NotNow,
    Place,
    PlaceGroup,
    Prep,
    Prepared,
    Preview,
    Ref,
    Settle,
    Slot,
    SlotEnd,
    Spec,
    Ticket,
    TimeEnd,
    VenueId,
)
from exchange_kernel_evm.abi import revert_reason
from exchange_kernel_evm.allowances import wish_of
from exchange_kernel_evm.answers import Meaning, NodeError, revert_data
from exchange_kernel_evm.body import Body, Op, read_body, write_body
from exchange_kernel_evm.endpoint import Answer
from exchange_kernel_evm.fees import Fees, Limits, estimate, history_request, is_stuck, read_history, replace
from exchange_kernel_evm.finality import Mined
from exchange_kernel_evm.funds import short_of
from exchange_kernel_evm.keys import Signer
from exchange_kernel_evm.ledger import Ledger
from exchange_kernel_evm.lookups import Lookups
from exchange_kernel_evm.policy import Guard
from exchange_kernel_evm.reports import tx_id
from exchange_kernel_evm.tokens import to_amount
from exchange_kernel_evm.transactions import TAG_GAS, Unsigned, decode, self_transfer, tag
from exchange_kernel_evm.venue import SIGNATURE, Call, OnChainVenue, Resting, Terms, Typed

__all__ = ["Tickets"]

ETHER_DECIMALS = 18
APPROVAL_GAS = 100_000
"""The limit of an approval: 46,000 is usual, and what is not used is not paid."""
SPARE_NUMERATOR, SPARE_DENOMINATOR = 6, 5
"""A limit is a fifth above the node's estimate: the state moves between the estimate and the block."""


class Tickets:
    """Makes every ticket of one account."""

    def __init__(
        self,
        ledger: Ledger,
        venue: OnChainVenue,
        lookups: Lookups,
        signer: Signer,
        guard: Guard,
        limits: Limits,
        identity: str,
        codec: str,
        clock: Callable[[], Ms],
    ) -> None:
        self._ledger, self._venue, self._lookups, self._signer = ledger, venue, lookups, signer
        self._guard, self._limits, self._identity, self.codec, self._clock = guard, limits, identity, codec, clock

    async def prepare(self, command: Command, prep: Prep, check: Callable[[Spec, Spec | None], Preview]) -> Prepared:
        """As :meth:`exchange_kernel.venue.VenueAdapter.prepare`."""
        match command:
            case Place(key, spec):
                return await self._order(key, key, check(spec, None).spec, prep, prep.instead_of)
            case Amend(key, ref, spec):
                exact = check(spec, ref.spec).spec
                base, body = await self._waiting(ref, prep.instead_of)
                return await self._order(key, body.key, exact, prep, base)
            case Cancel(key, ref, _):
                return await self._cancel(key, ref, prep)
            case Settle(key, ref):
                return await self._settle(key, ref, prep)
            case Burn(key, slot) if slot.scope == self._identity:
                return await self._nothing("burn", key, key, slot, prep, prep.instead_of)
            case Enable():
                return await self._enable(command, prep)
            case PlaceGroup(_, kind, _):
                raise Unsupported(f"group_{kind}")
            case CancelAll():
                raise Unsupported("cancel_all")
            case _:
                raise Unsupported(type(command).__name__)

    # orders -----------------------------------------------------------------------------------------------------

    async def _order(self, key: Key, order: Key, spec: Spec, prep: Prep, base: Ticket | None) -> Prepared:
        call = await self._venue.place(order, spec, prep, self._ledger)
        if not isinstance(call, Call):
            return call
        return await self._call("order", key, order, call, prep, base)

    async def _call(self, op: Op, key: Key, order: Key, call: Call, prep: Prep, base: Ticket | None) -> Ticket | NotNow:
        # What only ends an order has a tag of its own: at most one transaction of each tag ever succeeds.
        data = call.data + tag(order if op == "order" else key)
        ground = await self._ledger.shared([history_request(), ("eth_getBalance", (self._ledger.address, "latest"))])
        gas = call.gas + TAG_GAS if call.gas is not None else 0
        if call.gas is None:
            draft = {
                "from": self._ledger.address,
                "to": call.to,
                "value": hex(call.value),
                "input": "0x" + data.hex(),
            }
            _, (answer,) = await self._ledger.rpc.read([("eth_estimateGas", (draft,))])
            gas = _limit(answer)
        fees = self._fees(ground[0], base)
        has, needs = _number(ground[1]), call.value + gas * fees.max_fee
        short = short_of(
            self._ledger.chain.native,
            to_amount(has, ETHER_DECIMALS),
            to_amount(needs, ETHER_DECIMALS),
            prep,
            prep.now + self._ledger.chain.block_ms,
            ", gas included,",
        )
        if short is not None:
            return short
        slot = self._slot(prep, base)
        chain = self._ledger.chain.id
        unsigned = Unsigned(chain, slot.number, call.to, call.value, data, gas, fees.max_fee, fees.tip)
        before = min(prep.give_up, FOREVER if call.until is None else self._local(call.until))
        ends = (SlotEnd(slot),) if call.until is None else (SlotEnd(slot), TimeEnd(call.until, "ledger"))
        terms = call.terms if op == "order" else None
        return await self._seal(op, key, order, unsigned, terms, prep, ends, before, call.outlay, call.typed, call.note)

    def _local(self, until: Ms) -> Ms:
        """A moment of the ledger's clock by the local one, where they differ by more than blocks do."""
        newest = self._ledger.rpc.header
        ahead = 0 if newest is None else self._clock() - newest.time
        return until + ahead if abs(ahead) > 2 * self._ledger.chain.block_ms else until

    async def _cancel(self, key: Key, ref: Ref, prep: Prep) -> Prepared:
        rows = self._lookups.rows(ref)
        if prep.instead_of is None and not any(body.op == "order" for _, body in rows):
            raise UnknownTarget("no transaction of this order is known")
        if isinstance(self._venue, Resting):
            resting = await self._withdraw(self._venue, key, ref, prep, "cancel")
            if resting is not None:
                return resting
        base, body = await self._waiting(ref, prep.instead_of)
        slot = base.slot
        assert slot is not None
        return await self._nothing("cancel", key, body.key, slot, prep, base)

    async def _settle(self, key: Key, ref: Ref, prep: Prep) -> Prepared:
        if not isinstance(self._venue, Resting):
            raise Unsupported("settle", "nothing rests here")
        found = await self._withdraw(self._venue, key, ref, prep, "settle")
        if found is None:
            raise UnknownTarget("none of its transactions has succeeded")
        return found

    async def _withdraw(self, venue: Resting, key: Key, ref: Ref, prep: Prep, op: Op) -> Ticket | NotNow | None:
        """End an order that lives in a contract, under a number of its own; None: it does not live in one.

        One that waits in the pool for no bad fee is waited for; else its number is taken again, for a higher one.
        """
        rows = self._lookups.rows(ref)
        state, mined, pooled = await self._lookups.places([body for _, body in rows])
        placed = [body for _, body in rows if body.op == "order" and _succeeded(mined.get(body.tx.hash))]
        if not placed:
            return None
        before = prep.instead_of
        if before is not None and before.slot is not None and before.slot.number < state.next:
            raise UnknownTarget(f"number {before.slot.number} is used already")
        again, newest = prep.now + self._ledger.chain.block_ms, None
        for ticket, body in rows:
            at = mined.get(body.tx.hash)
            if body.op in ("cancel", "settle") and at is not None and at.ok and at.block > state.final.number:
                return NotNow(again, f"{at.hash} has ended it, and is not final yet")
            if body.tx.unsigned.nonce >= state.next:
                newest = ticket, body, body.tx.hash in pooled
        if newest is not None and before is None:
            before, body, waits = newest
            fees = Fees(body.tx.unsigned.max_fee, body.tx.unsigned.tip)
            good = body.op in ("cancel", "settle") and waits and self._clock() < before.send_before
            if good and not is_stuck(fees, state.head.base_fee, 0):
                return NotNow(again, f"{body.tx.hash} is to end it, and waits for its block")
        gone = UnknownTarget("nothing of it rests")
        for body in placed:  # more than one only where somebody signed with the key besides
            assert body.terms is not None
            try:
                call = await venue.withdraw(body.terms, mined[body.tx.hash], self._ledger, whole=op == "settle")
            except UnknownTarget as error:
                gone = error
                continue
            return await self._call(op, key, body.key, call, prep, before)
        raise gone

    async def _waiting(self, ref: Ref, instead_of: Ticket | None) -> tuple[Ticket, Body]:
        """The newest ticket under a number of the attempt that is not used yet. Raises UnknownTarget."""
        rows = self._lookups.rows(ref)
        state = await self._ledger.state()
        if instead_of is not None:
            body = read_body(instead_of, self._ledger.address, self._ledger.chain.id)
            rows = [*rows, (instead_of, body)]
        for ticket, body in reversed(rows):
            if body.tx.unsigned.nonce >= state.next:
                return ticket, body
        raise UnknownTarget("every transaction of this order is in a block, or its number is used")

    # other transactions -----------------------------------------------------------------------------------------

    async def _nothing(self, op: Op, key: Key, order: Key, slot: Slot, prep: Prep, base: Ticket | None) -> Ticket:
        """Use up a number."""
        (history,) = await self._ledger.shared([history_request()])
        fees = self._fees(history, base)
        tagged = order if op == "cancel" else None
        chain, address = self._ledger.chain.id, self._ledger.address
        unsigned = self_transfer(chain, slot.number, address, fees.max_fee, fees.tip, tagged)
        return await self._seal(op, key, order, unsigned, None, prep, (SlotEnd(slot),), prep.give_up)

    async def _enable(self, command: Enable, prep: Prep) -> Ticket:
        """An allowance, set to what everything that lives and waits needs."""
        wish = wish_of(command, self._ledger.chain.permit2, prep.now)
        if all(token.address != wish.token for token in self._venue.tokens):
            raise Unsupported(command.name, f"{wish.token} is no token of this account")
        step = wish.approval()
        (history,) = await self._ledger.shared([history_request()])
        fees = self._fees(history, prep.instead_of)
        slot = self._slot(prep, prep.instead_of)
        data = step.data + tag(command.key)
        chain = self._ledger.chain.id
        unsigned = Unsigned(chain, slot.number, step.to, 0, data, APPROVAL_GAS, fees.max_fee, fees.tip)
        ends = (SlotEnd(slot),)
        return await self._seal("enable", command.key, command.key, unsigned, None, prep, ends, prep.give_up)

    # signing ----------------------------------------------------------------------------------------------------

    async def _seal(
        self,
        op: Op,
        key: Key,
        order: Key,
        unsigned: Unsigned,
        terms: Terms | None,
        prep: Prep,
        ends: tuple[SlotEnd | TimeEnd, ...],
        send_before: Ms,
        outlay: tuple[Money, ...] = (),
        typed: Typed | None = None,
        note: str = "",
    ) -> Ticket:
        if typed is not None:
            self._guard.check_typed(typed.message)
        if prep.dry:
            self._guard.check(unsigned, prep.now)
        else:
            await self._guard.admit(unsigned, prep.now)
        if typed is not None and not prep.dry:
            unsigned = await self._completed(unsigned, typed)
        body: bytes = b""
        ids: tuple[VenueId, ...] = ()
        if not prep.dry:
            raw = await self._signer.sign(unsigned)
            try:
                signed = decode(raw)
            except ValueError as error:
                raise NotSent(f"the signer's answer is no transaction: {error}") from None
            if signed.unsigned != unsigned or signed.sender != self._ledger.address:
                raise NotSent("the signer signed another transaction, or for another address")
            body = write_body(op, order, raw, terms)
            ids = (tx_id(signed.hash),)
        native = Money(self._ledger.chain.native, to_amount(unsigned.gas * unsigned.max_fee, ETHER_DECIMALS))
        return Ticket(
            key,
            body,
            self.codec,
            self._identity,
            Fence(True, ends, "ledger"),
            ids,
            min(FOREVER, send_before),
            _summed((*outlay, native)),
            _planned(op, unsigned, note) if prep.dry else f"{op}, number {unsigned.nonce}",
        )

    async def _completed(self, unsigned: Unsigned, typed: Typed) -> Unsigned:
        """With the signature of what is signed for it."""
        found = await self._signer.sign_typed(typed.message)
        if len(found) != SIGNATURE:
            raise NotSent(f"the signer's answer has {len(found)} bytes and is no signature")
        data = unsigned.data
        return revised(unsigned, data=data[: typed.at] + found + data[typed.at + SIGNATURE :])

    def _slot(self, prep: Prep, base: Ticket | None) -> Slot:
        """The number of what is replaced, else the next one (rule 17)."""
        if base is not None and base.slot is not None and prep.instead_of is None:
            return base.slot
        return prep.take(self._identity)

    def _fees(self, history: Answer, base: Ticket | None) -> Fees:
        now = estimate(read_history(history), self._limits)
        if base is None:
            return now
        old = read_body(base, self._ledger.address, self._ledger.chain.id).tx.unsigned
        return replace(Fees(old.max_fee, old.tip), now, self._limits)


def _planned(op: Op, unsigned: Unsigned, note: str) -> str:
    """A transaction that nobody has signed, for people."""
    ether = canonical(to_amount(unsigned.value, ETHER_DECIMALS))
    gwei = canonical(to_amount(unsigned.max_fee, 9))
    calldata = f"{len(unsigned.data)} bytes of calldata"
    what = f"{op}: transaction {unsigned.nonce} to {unsigned.to}, {calldata}, value {ether}"
    fee = f"at most {unsigned.gas} gas at {gwei} gwei"
    return "; ".join(each for each in (what, note, fee) if each)


def _succeeded(at: Mined | None) -> bool:
    return at is not None and at.ok


def _limit(answer: object) -> int:
    """A node's estimate, and a fifth. Raises OrderRefused for a call that would revert, InsufficientFunds."""
    if not isinstance(answer, NodeError):
        return _number(answer) * SPARE_NUMERATOR // SPARE_DENOMINATOR
    if answer.meaning is Meaning.REVERTED:
        raise OrderRefused(f"it would revert: {revert_reason(revert_data(answer))}", why="reverted")
    if answer.meaning is Meaning.FUNDS:
        raise InsufficientFunds(answer.message, why="funds")
    raise Unavailable(str(answer))


def _number(answer: object) -> int:
    try:
        return int(str(answer), 16)
    except ValueError:
        raise Unavailable(f"a node's answer is no number: {answer}"[:200]) from None


def _summed(outlay: tuple[Money, ...]) -> tuple[Money, ...]:
    total: dict[str, Decimal] = {}
    for each in outlay:
        total[each.asset] = total.get(each.asset, Decimal(0)) + each.amount
    return tuple(Money(asset, amount) for asset, amount in total.items())
