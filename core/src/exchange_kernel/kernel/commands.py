"""The user's commands: each is checked, written, and answered after its commit; what follows is the reconciler's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from exchange_kernel.base import DryRun, GroupKind, Resolution
from exchange_kernel.errors import AdmissionDenied, IntentConflict, InvalidOrder, StaleWrite, Unsupported
from exchange_kernel.kernel.account import Account
from exchange_kernel.kernel.checking import check_order, find_symbol, submit_deadline
from exchange_kernel.models import OrderIntent, OrderState
from exchange_kernel.orders.admission import AdmissionRequest
from exchange_kernel.orders.names import check_accountable, check_id, check_labels, new_id
from exchange_kernel.orders.validate import emulated_features
from exchange_kernel.reconcile.outcome import Resolved
from exchange_kernel.reconcile.queue import Priority
from exchange_kernel.reconcile.resolve import by_word
from exchange_kernel.reconcile.session import Session
from exchange_kernel.schema import StandardOrder
from exchange_kernel.state.ops import CancelIntents, CreateIntents, ModifyIntent, NewIntent, SetHalt
from exchange_kernel.state.rows import is_step


class Commands(Account):
    """What a user may ask of one account."""

    async def place_order(
        self, order: StandardOrder, intent_id: str | None = None, *, labels: Mapping[str, str] | None = None
    ) -> str:
        ids = await self._place([order], None if intent_id is None else [intent_id], None, labels)
        return ids[0]

    async def place_order_group(
        self,
        orders: Sequence[StandardOrder],
        kind: GroupKind = GroupKind.BATCH,
        *,
        group_id: str | None = None,
        intent_ids: Sequence[str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> list[str]:
        self._running()
        if GroupKind(kind) is not GroupKind.BATCH:
            raise Unsupported(f"group {kind}", "only BATCH groups exist in this release")
        if not orders:
            raise InvalidOrder("orders", "[]", "a group needs at least one order")
        if intent_ids is not None and (len(intent_ids) != len(orders) or len(set(intent_ids)) != len(orders)):
            raise InvalidOrder(
                "intent_ids", str(len(intent_ids)), f"must be {len(orders)} different ids, one per order"
            )
        if group_id is not None:
            check_id("group_id", group_id)
        return await self._place(list(orders), intent_ids, group_id or self._ids.new(8).hex(), labels)

    async def _place(
        self,
        orders: list[StandardOrder],
        intent_ids: Sequence[str] | None,
        group_id: str | None,
        labels: Mapping[str, str] | None,
    ) -> list[str]:
        session = self._trading()
        tags = check_labels(labels)
        now = self._clock.now_ms()
        names = [new_id(now, self._ids.new(12)) for _ in orders] if intent_ids is None else list(intent_ids)
        new: list[NewIntent] = []
        for order, name in zip(orders, names, strict=True):
            check_id("intent_id", name)
            try:
                checked, _, value = await check_order(session, self._limits, order)
                self._admit(session, checked, name, value, labels=tags)
            except (InvalidOrder, AdmissionDenied):
                if intent_ids is not None and await self._same(name, order):
                    continue
                raise
            intent = OrderIntent(
                account=self.exchange_id,
                intent_id=name,
                order=checked,
                labels=tags,
                group_id=group_id,
                submit_deadline=submit_deadline(session, checked, now),
                max_attempts=self._settings.max_attempts,
                created_at=now,
                first_hash=order.spec_hash(),
            )
            new.append(NewIntent(intent, value))
        if new:
            epoch = session.epoch
            fresh = await self._store.execute(CreateIntents(self.exchange_id, tuple(new), self._actor))
            declared = {item.intent.intent_id: item.intent for item in new}
            for name in fresh:
                session.declared(declared[name], epoch)
                session.queue.mark(name, Priority.SUBMIT)
        return names

    def _admit(
        self,
        session: Session,
        order: StandardOrder,
        intent_id: str,
        notional: Decimal | None,
        *,
        labels: Mapping[str, str] | None = None,
        was: OrderIntent | None = None,
    ) -> None:
        """Raises AdmissionDenied."""
        if not self._admission:
            return
        self._admission.review(
            AdmissionRequest(
                account=self.exchange_id,
                venue=self._venue,
                action="place" if was is None else "modify",
                intent_id=intent_id,
                order=order,
                was=None if was is None else was.order,
                notional=notional,
                market=find_symbol(session, order.symbol_id),
                labels=(labels or {}) if was is None else was.labels,
                actor=self._actor,
                now=self._clock.now_ms(),
            )
        )

    async def _same(self, intent_id: str, order: StandardOrder) -> bool:
        """Was this very order declared before under this id? Then its answer is the same again, even when it would
        not be
        accepted as a new one now (R38)."""
        record = await self._store.record(self.exchange_id, intent_id)
        return record is not None and record.intent.first_hash == order.spec_hash()

    async def modify_order(
        self, intent_id: str, new_order: StandardOrder, *, expected_generation: int | None = None
    ) -> int:
        session = self._trading()
        check_id("intent_id", intent_id)
        checked, _, value = await check_order(session, self._limits, new_order)
        current = await self.get_order_intent(intent_id)
        for name in ("symbol_id", "side", "amount_type", "conditional_mode"):
            was, now = getattr(current.order, name), getattr(checked, name)
            if was != now:
                raise InvalidOrder(
                    name, str(now), f"is {was} in intent {intent_id} and cannot change", "cancel it and place anew"
                )
        self._admit(session, checked, intent_id, value, was=current)
        session.stale((intent_id,))
        generation: int = await self._store.execute(
            ModifyIntent(
                self.exchange_id,
                intent_id,
                checked,
                new_order.spec_hash(),
                self._actor,
                value,
                expected_generation,
                submit_deadline(session, checked, self._clock.now_ms()),
            )
        )
        session.user_wrote([intent_id], Priority.SUBMIT)
        return generation

    async def cancel_order(self, intent_id: str, *, reason: str = "") -> None:
        session = self._trading()
        check_id("intent_id", intent_id)
        # Memory is stale from here on, even if the commit's answer is late: the check before a send must look (R4,
        # R20).
        session.stale((intent_id,))
        await self._store.execute(CancelIntents(self.exchange_id, (intent_id,), self._actor, reason[:200]))
        session.user_wrote([intent_id], Priority.CANCEL)

    async def cancel_all_orders(self, symbol_id: str | None = None, *, reason: str = "") -> list[str]:
        session = self._trading()
        if symbol_id is not None:
            find_symbol(session, symbol_id)
        rows = await self._store.intents(self.exchange_id, symbol=symbol_id, active_only=True)
        ids = tuple(intent.intent_id for intent, _ in rows if not is_step(intent.intent_id))
        session.stale(ids)
        changed: list[str] = []
        for start in range(0, len(ids), 500):
            part = ids[start : start + 500]
            changed += await self._store.execute(CancelIntents(self.exchange_id, part, self._actor, reason[:200]))
        session.user_wrote(ids, Priority.CANCEL)
        return changed

    async def resolve_order(self, intent_id: str, resolution: Resolution, *, actor: str, reason: str) -> OrderState:
        session = self._running()
        check_accountable(actor, reason)
        await self.get_order_intent(intent_id)
        match Resolution(resolution):
            case Resolution.LOOK_AGAIN:
                watch = session.watch(intent_id)
                watch.query_at = 0
                watch.asked = 0
            case Resolution.ABANDON:
                session.stale((intent_id,))
                await self._store.execute(CancelIntents(self.exchange_id, (intent_id,), actor, reason[:200]))
                session.user_wrote([intent_id], Priority.CANCEL)
            case Resolution.NEVER_SENT | Resolution.ENDED as how:
                for _ in range(8):
                    try:
                        await by_word(session, intent_id, how is Resolution.ENDED, actor, reason)
                        break
                    except StaleWrite:
                        session.forget(intent_id)
                else:
                    raise IntentConflict(f"intent {intent_id} keeps changing; try again")
        session.deliver(intent_id, Resolved(actor, f"{Resolution(resolution)}: {reason}"[:200]), Priority.CANCEL)
        return await self.get_order_state(intent_id)

    async def dry_run(self, order: StandardOrder) -> DryRun:
        session = self._running()
        checked, preview, value = await check_order(session, self._limits, order)
        symbol = find_symbol(session, checked.symbol_id)
        self._admit(session, checked, "", value)
        return DryRun(
            order=checked,
            sent_amount=preview.spec.amount,
            sent_price=preview.spec.limit,
            uses=preview.uses,
            emulated=emulated_features(checked, symbol),
            outlay={money.asset: money.amount for money in preview.outlay},
            notional=value,
            warnings=preview.warnings,
            would_wait=session.blocked(),
        )

    async def halt(self, *, actor: str, reason: str) -> None:
        session = self._running()
        check_accountable(actor, reason)
        session.halted = f"{actor}: {reason}"
        await self._store.execute(SetHalt(self.exchange_id, True, actor, reason[:200]))

    async def resume(self, *, actor: str, reason: str) -> None:
        session = self._running()
        check_accountable(actor, reason)
        await self._store.execute(SetHalt(self.exchange_id, False, actor, reason[:200]))
        session.halted = ""
        for live in await self._store.live_intents(self.exchange_id):
            session.queue.mark(live.intent_id, Priority.SUBMIT)
