"""From manifests to the store: looked at, checked against the venues, and written, all of a file or nothing of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from exchange_kernel.cli.declare import Checked, Counter, binding, changed_intent, counter, new_intent
from exchange_kernel.cli.desk import Desk, default_actor
from exchange_kernel.cli.output import money
from exchange_kernel.errors import AdmissionDenied, IntentConflict, IntentFinished, InvalidOrder, LimitExceeded
from exchange_kernel.manifests import APPLIED, Action, Declared, Fault, ManifestError, Step, changes, fixed_faults, plan
from exchange_kernel.orders.selector import Selector
from exchange_kernel.state.ops import CancelIntents, CreateIntents, NewIntent, check_order_limits
from exchange_kernel.state.together import LookAt, Seen, Together

TRIES: Final = 8
"""Times that somebody else may change the same intents between our look and our write."""
PART: Final = 500


@dataclass(frozen=True, slots=True)
class Ready:
    """A step with what its venue said of the order. ``checked`` None: there is nothing to write."""

    step: Step
    checked: Checked | None = None
    differs: Mapping[str, tuple[object, object]] = field(default_factory=dict)
    preview: Mapping[str, Any] = field(default_factory=dict)

    def row(self, action: str | None = None) -> dict[str, Any]:
        """For people and programs."""
        each, order = self.step.declared, self.step.declared.order
        place = each.place("metadata.name")
        return {
            "account": each.account,
            "name": each.name,
            "action": action or self.step.action.value,
            "symbol": order.symbol_id,
            "side": order.side.value,
            "amount": f"{money(order.amount)}{' quote' if order.amount_type.value == 'QUOTE' else ''}",
            "price": "market" if order.limit_price is None else money(order.limit_price),
            "status": "" if self.step.seen is None else self.step.seen.status.value,
            "changes": {name: f"{was} -> {now}" for name, (was, now) in self.differs.items()},
            "file": f"{place.file}:{place.line}",
            **self.preview,
        }


class Counters:
    """Each account's venue, opened when an order is first to be checked there."""

    def __init__(self, at: Desk, opened: AsyncExitStack) -> None:
        self._at, self._opened = at, opened
        self._found: dict[str, Counter] = {}

    async def of(self, account: str) -> Counter:
        """Raises ConfigError, NotAuthorized, Unavailable."""
        if account not in self._found:
            configured = self._at.config.account(account)
            self._found[account] = await self._opened.enter_async_context(
                counter(self._at.config, configured, self._at.clock)
            )
        return self._found[account]


@asynccontextmanager
async def counters(at: Desk) -> AsyncIterator[Counters]:
    """Closed together at the end."""
    async with AsyncExitStack() as opened:
        yield Counters(at, opened)


async def ready(at: Desk, shops: Counters, declared: Sequence[Declared], *, preview: bool = False) -> list[Ready]:
    """What is to be done about each order, checked as far as it can be without writing. ``preview``: with what would be
    sent. Raises ManifestError with everything that stands in the way."""
    known = at.config.accounts
    strangers = [each for each in declared if each.account not in known]
    if strangers:
        raise ManifestError([_stranger(each, known) for each in strangers])
    keys = tuple((each.account, each.name) for each in declared)
    seen: dict[tuple[str, str], Seen] = await at.store.execute(LookAt(keys))
    steps, faults = plan(declared, seen)
    found: list[Ready] = []
    for step in steps:
        each = step.declared
        was = None
        if step.action is Action.MODIFY:
            record = await at.store.record(each.account, each.name)
            assert record is not None
            was = record.intent.order
            wrong = fixed_faults(each, was)
            faults += wrong
            if wrong:
                continue
        if step.action is Action.UNCHANGED:
            found.append(Ready(step))
            continue
        shop = await shops.of(each.account)
        try:
            checked = await shop.check(each.order)
            check_order_limits(known[each.account].limits, each.order.symbol_id, checked.notional)
            shop.admit(checked, each.name, each.labels, was)
        except (InvalidOrder, LimitExceeded, AdmissionDenied) as error:
            faults.append(Fault.of(each.place(error.field), error.field, error))
            continue
        differs = {} if was is None else changes(was, checked.order)
        found.append(Ready(step, checked, differs, await shop.preview(checked) if preview else {}))
    if faults:
        raise ManifestError(sorted(faults, key=lambda fault: (fault.place.file, fault.place.line, fault.place.column)))
    return found


def _stranger(each: Declared, known: Mapping[str, object]) -> Fault:
    place = each.place("metadata.name")
    return Fault.at(place, "metadata.account", each.account, "no such account", f"there are {', '.join(known)}")


async def apply(at: Desk, shops: Counters, declared: Sequence[Declared]) -> list[Ready]:
    """Write it, each file in one transaction of its own. What somebody else writes meanwhile is looked at again.

    Raises ManifestError (nothing was written), and as the store does."""
    done: dict[tuple[str, str], Ready] = {}
    for _ in range(TRIES):
        found = await ready(at, shops, declared)
        try:
            for file in dict.fromkeys(each.file for each in declared):
                those = [each for each in found if each.step.declared.file == file]
                await _write(at, shops, [each for each in those if each.checked is not None])
                for each in those:
                    # What an earlier turn wrote is unchanged by now; it was this call that did it.
                    done.setdefault((each.step.declared.account, each.step.declared.name), each)
        except (IntentConflict, IntentFinished):
            continue
        return [done[(each.account, each.name)] for each in declared]
    raise IntentConflict("the same intents keep being changed by others: apply again")


async def _write(at: Desk, shops: Counters, those: Sequence[Ready]) -> None:
    if not those:
        return
    now, operations = at.clock.now_ms(), []
    for account in sorted({each.step.declared.account for each in those}):
        if await at.store.account_row(account) is None:
            operations.append(binding(at.config.account(account), await shops.of(account)))
    if operations:
        # An account is made in a transaction of its own: it says nothing of orders.
        for each_binding in operations:
            await at.store.execute(each_binding)
    writes: list[Any] = []
    new: dict[str, list[NewIntent]] = {}
    for each in those:
        declared, checked = each.step.declared, each.checked
        assert checked is not None
        if each.step.action is Action.CREATE:
            intent = new_intent(declared.account, declared.name, checked, declared.labels, declared.group, now)
            new.setdefault(declared.account, []).append(intent)
        else:
            assert each.step.seen is not None
            writes.append(changed_intent(declared.account, declared.name, checked, each.step.seen.generation, now))
    creations = [CreateIntents(account, tuple(intents), default_actor()) for account, intents in sorted(new.items())]
    await at.store.execute(Together((*creations, *writes)))


async def prune(
    at: Desk, declared: Sequence[Declared], selector: Selector, *, dry: bool = False
) -> list[dict[str, Any]]:
    """Want those gone that manifests made, that the selector chooses, and that no manifest of these names.

    Only in accounts that these manifests name."""
    named = {(each.account, each.name) for each in declared}
    rows: list[dict[str, Any]] = []
    for account in sorted({each.account for each in declared}):
        gone = [
            intent
            for intent, _ in await at.store.intents(account, active_only=True)
            if APPLIED in intent.labels
            and intent.desired.value == "ACTIVE"
            and selector.chooses(intent.labels)
            and (account, intent.intent_id) not in named
        ]
        for start in range(0, len(gone) if not dry else 0, PART):
            ids = tuple(intent.intent_id for intent in gone[start : start + PART])
            await at.store.execute(CancelIntents(account, ids, default_actor(), "pruned: in no manifest"))
        rows += [
            {
                "account": account,
                "name": intent.intent_id,
                "action": Action.PRUNE.value,
                "symbol": intent.order.symbol_id,
                "side": intent.order.side.value,
                "amount": money(intent.order.amount),
                "price": "market" if intent.order.limit_price is None else money(intent.order.limit_price),
            }
            for intent in gone
        ]
    return rows


__all__ = ["Action", "Counters", "Ready", "Step", "apply", "counters", "prune", "ready"]
