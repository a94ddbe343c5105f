"""Somebody else on the same account: an API user of his own, whose orders are none of the kernel's business (S15).

His line is good: no fault touches him. Some of his orders have no client id, some have one of his, and some look like
ours: the same prefix, but no key of this store. Where orders have no ids at all, he places the very orders we place.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from random import Random
from typing import Any

from exchange_kernel.events import DriftDetected
from exchange_kernel.models import Origin
from exchange_kernel.schema import canonical
from exchange_kernel.venue import Ticket
from exchange_kernel_paper.exchange import Exchange, Refusal
from exchange_kernel_paper.translate import client_id
from tests.simulation.plan import Plan, order
from tests.simulation.process import Process


class Stranger:
    """``tell``: the story's line; ``counts``: what he did."""

    def __init__(
        self, exchange: Exchange, account: str, plan: Plan, counts: Counter[str], tell: Callable[[str], None]
    ) -> None:
        self._exchange, self._account, self._plan = exchange, account, plan
        self._rng = Random(f"the stranger of {plan.seed}")
        self._counts, self._tell = counts, tell
        self._said = 0
        self._numbers: set[int] = set()
        self._rids: set[str] = set()
        self._canceled: set[int] = set()

    async def trade(self, seconds: float) -> None:
        """Place, change and cancel his own orders for so long; what is left then stays."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while loop.time() < end:
            await asyncio.sleep(self._rng.uniform(0.2, 1.8) * self._plan.stranger)
            working = [record for record in self.orders() if record.live]
            what = self._rng.choice(("place", "place", "cancel", "amend"))
            try:
                if what == "place" or not working:
                    self._place()
                else:
                    self._change(what, self._rng.choice(working))
            except Refusal as refusal:
                self._tell(f"the stranger was refused: {refusal.code}")

    def _place(self) -> None:
        rng = self._rng
        copied = [wish.order for wish in self._plan.wishes if wish.order is not None and wish.order.limit_price]
        wanted = rng.choice(copied) if copied and rng.random() < 0.3 else order(rng)
        limit = wanted.limit_price
        if limit is None:
            return
        request = {
            "symbol": wanted.symbol_id,
            "side": wanted.side.value,
            "amount": canonical(wanted.amount),
            "limit": canonical(limit),
            "tif": wanted.time_in_force.value,
        }
        client = self._client() if self._plan.fence != "none" else None
        if client is not None:
            request["client"] = client
        self._send("order", request)
        self._counts["foreign:placed"] += 1

    def _change(self, what: str, record: Any) -> None:
        request: dict[str, Any] = {"order": record.id}
        if what == "cancel":
            self._canceled.add(record.id)
        else:
            at_venue = self._exchange.engine.orders[record.id]
            half = at_venue.amount / 2
            request |= {"amount": canonical(half - half % Decimal("0.001")), "limit": canonical(at_venue.limit)}
        self._send(what, request)
        self._counts[f"foreign:{what}"] += 1

    def _send(self, op: str, fields: dict[str, Any]) -> None:
        exchange, settings = self._exchange, self._exchange.settings
        exchange.refresh()
        self._said += 1
        request: dict[str, Any] = {"op": op, "account": self._account, **fields}
        if settings.fence != "none":
            rid = request["rid"] = fields.get("client") or f"by-hand-{self._said}"
            self._rids.add(rid)
        if settings.fence == "time_window":
            request["ts"], request["window"] = exchange.now, settings.window_ms
        if exchange.chain is not None:
            request["fee"] = canonical(exchange.chain.base_fee)
            account = exchange.account(self._account)
            if settings.fence == "height":
                request["last_height"] = exchange.chain.head(exchange.now) + settings.valid_blocks
            else:  # as a wallet does it: after what is pending
                request["number"] = next(n for n in range(account.number, 10_000) if n not in account.pool)
        answer = exchange.trade(self._account, request)
        if op == "order":
            views: Any = answer.get("orders", ())
            self._numbers.update(view["id"] for view in views)
        self._tell(f"the stranger: {request}")

    def _client(self) -> str | None:
        rng = self._rng
        look = rng.choice(("none", "his", "key", "odd", "upper", "name"))
        if look == "none":
            return None
        digits = rng.randbytes(16).hex()
        return {
            "his": f"bot-{self._said}",
            "key": f"exk{digits}",
            "odd": f"exk{digits[1:]}",
            "upper": f"exk{digits.upper()}",
            "name": f"exk-{self._said}",
        }[look]

    # ---- what is his ---------------------------------------------------------------------------------------------

    def owns(self, number: int | None, client: str | None) -> bool:
        """Is this order of the account his?"""
        if number in self._numbers or client in self._rids:
            return True
        return client is None and self._plan.fence != "none"

    def orders(self) -> Iterator[Any]:
        """Every order he ever had, by the venue's ledger."""
        for record in self._exchange.ledger.orders():
            if record.account == self._account and self.owns(record.id, record.client):
                yield record

    def name(self, record: Any) -> str:
        """The id by which the adapter knows an order: its client id on a ledger, else the venue's."""
        return record.client if self._exchange.chain is not None and record.client else str(record.id)

    # ---- judges (S15) ----------------------------------------------------------------------------------------------

    def hit_by(self, ticket: Ticket) -> Iterator[str]:
        """Is a ticket that is about to leave meant for an order of his?"""
        request = json.loads(ticket.body.partition(b"\n")[0])
        op, number, client = request["op"], request.get("order"), request.get("client")
        if op == "cancel_all":
            yield "everything on the account was to be canceled (R22)"
        if op not in ("cancel", "amend"):
            return
        # By the ledger, which forgets nothing: the venue may have forgotten an order that we still try to cancel.
        target = next((record for record in self._exchange.ledger.orders() if number == record.id), None)
        if target is not None:
            client = target.client
        if (target is not None or client is not None) and self.owns(number, client):
            yield f"{op} of the stranger's order {number or client}"

    async def unseen(self, processes: Sequence[Process], store: Any) -> list[str]:
        """What the account's owner shows as foreign, against what is: each of his working orders, and nothing else; and
        each was told about."""
        owners = [p for p in processes if not p.dead and p.kernel._session is not None and p.kernel._session.owned]
        if not owners:
            return ["nobody owns the account"]
        states = owners[0].kernel._actual.all(self._account)
        shown = {state.venue_ids[0]: state for state in states if state.origin is not Origin.OURS}
        real = {self.name(record): record for record in self.orders() if record.live}
        out = [f"the stranger's order {name} is not shown" for name in real.keys() - shown.keys()]
        out += [f"no event tells about {name}" for name in real.keys() - await self._told(store)]
        out += [
            f"the stranger's order {name} is shown with {shown[name].filled_base} filled, of {record.base}"
            for name, record in real.items()
            if name in shown and shown[name].filled_base != record.base
        ]
        if self._plan.fence != "none":
            out += [f"{name} is shown as a working foreign order" for name in shown.keys() - real.keys()]
        return out

    async def confused(self, store: Any, ours: Sequence[Any]) -> list[str]:
        """At the end: was anything of his touched or adopted, or anything of ours taken for his?"""
        his = list(self.orders())
        names = {self.name(record) for record in his} | {record.client for record in his if record.client}
        out = [
            f"order {record.id} of the stranger was canceled, not by him"
            for record in his
            if record.status == "CANCELED" and record.id not in self._canceled
        ]
        for intent, _ in await store.intents(self._account):
            record = await store.record(self._account, intent.intent_id)
            taken = {vid.value for attempt in record.attempts for vid in attempt.ids} & names
            taken |= {client_id(attempt.key) for attempt in record.attempts} & names
            out += [f"{intent.intent_id} took {name}, an order of the stranger's" for name in sorted(taken)]
        told = await self._told(store)
        self._counts["foreign:told"] += len(told & names)
        self._counts["foreign:filled"] += sum(record.fills for record in his)
        if self._plan.fence != "none":
            mine = {self.name(record) for record in ours}
            out += [f"{name} is ours and was told as foreign" for name in sorted(told & mine)]
        return out

    async def _told(self, store: Any) -> set[str]:
        events = await store.events(self._account, 0, 100_000)
        return {e.venue_id for e in events if isinstance(e, DriftDetected) and e.what == "foreign order"}
