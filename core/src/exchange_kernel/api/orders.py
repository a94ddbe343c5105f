"""Orders over HTTP: declared by name, changed under a generation, listed by page."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query

from exchange_kernel.api import shapes
from exchange_kernel.api.grants import Scope
from exchange_kernel.api.guard import strict_text
from exchange_kernel.api.problems import Problem
from exchange_kernel.api.serving import Access, Answer, Body, Calling, fields_of
from exchange_kernel.api.wire import event_line, plain
from exchange_kernel.base import GroupKind, Resolution
from exchange_kernel.errors import IntentConflict, InvalidOrder, UnknownIntent
from exchange_kernel.models import OrderIntent, Origin
from exchange_kernel.orders.names import check_id
from exchange_kernel.orders.selector import Selector
from exchange_kernel.reconcile.states import light_state
from exchange_kernel.schema import StandardOrder
from exchange_kernel.schema.fields import choice, identifier
from exchange_kernel.state.rows import is_step

router = APIRouter(prefix="/v1/accounts/{account}", tags=["orders"])

MOST = 2**53
SCANNED = 5_000
"""Intents that one page looks through; a selector that chooses few gives a short page, and where to go on."""

After = Annotated[str, Query(max_length=64, description="the name with which the page before ended")]
Limit = Annotated[int, Query(ge=1, le=500)]
Reason = Annotated[str, Query(max_length=200)]
Name = Annotated[str, Path(description="made by the caller; unique in the account, for ever")]
_GENERATION = re.compile(r'"?([1-9][0-9]{0,15})"?', re.ASCII).fullmatch


def _order(value: Any, field: str = "order") -> StandardOrder:
    if not isinstance(value, dict):
        raise InvalidOrder(field, type(value).__name__ if value is not None else None, "must be an order")
    return StandardOrder.from_dict(value)


def _answer(intent: OrderIntent, status: int, result: str) -> Answer:
    body = {"result": result, "intent": plain(intent)}
    return Answer(body, status, {"etag": f'"{intent.generation}"'})


async def _found(access: Access, account: str, name: str) -> OrderIntent | None:
    check_id("name", name)
    try:
        return await access.kernel(account).get_order_intent(name)
    except UnknownIntent:
        return None


@router.put("/orders/{name}", openapi_extra=shapes.body(shapes.DECLARED), responses=shapes.ANSWERS)
async def declare(
    account: str,
    name: Name,
    body: Body,
    access: Calling,
    if_match: Annotated[str | None, Header(description="change only this generation; * whichever it is")] = None,
    if_none_match: Annotated[str | None, Header(description="* : never change an order that exists")] = None,
) -> Answer:
    """Declare the order of this name: 201 when it is new, 200 when it stands as it is, or was changed to this.

    Repeating it after a lost answer is safe: it is the same order. With If-None-Match: * an order that exists is never
    changed (409 where it was declared otherwise); with If-Match nothing new is declared."""
    kernel = access.kernel(account, Scope.PLACE)
    said = fields_of(body, order=dict, labels=dict)
    order = _order(said["order"])
    if if_none_match not in (None, "*") or (if_none_match and if_match):
        raise Problem(400, "bad-request", "If-None-Match can only be *, and without If-Match")
    was = await _found(access, account, name)
    with access.acting():
        if was is None or if_none_match:
            if if_match is not None:
                raise UnknownIntent(f"intent_id {name}: account {account} has no such intent")
            await kernel.place_order(order, name, labels=said["labels"])
            intent = await kernel.get_order_intent(name)
            return _answer(intent, 201 if was is None else 200, "created" if was is None else "unchanged")
        if said["labels"] is not None and dict(was.labels) != said["labels"]:
            hint = "leave them out, or declare a new order under a new name"
            raise IntentConflict(f"labels of intent {name} differ from {json.dumps(dict(was.labels))[:200]}; {hint}")
        expected = await _expected(access, account, was, order, if_match)
        if expected == 0:
            return _answer(was, 200, "unchanged")
        generation = await kernel.modify_order(name, order, expected_generation=None if expected < 0 else expected)
    intent = await kernel.get_order_intent(name)
    return _answer(intent, 200, "unchanged" if generation == was.generation else "changed")


async def _expected(access: Access, account: str, was: OrderIntent, order: StandardOrder, if_match: str | None) -> int:
    """The generation that may be changed; 0: nothing is to be; -1: whichever it is."""
    if if_match is None:
        first = was.generation == 1 and was.first_hash == order.spec_hash()
        return 0 if first or was.order == order else was.generation
    if if_match.strip() == "*":
        return -1
    given = _GENERATION(if_match.strip())
    if given is None:
        raise Problem(400, "bad-request", 'If-Match must be a generation, like "3", or *')
    return int(given[1])


@router.get("/orders", responses=shapes.ANSWERS)
async def listed(
    account: str,
    access: Calling,
    selector: Annotated[str, Query(max_length=1000, description="labels: app=mean-rev,!manual")] = "",
    symbol: Annotated[str, Query(max_length=64)] = "",
    active: bool = False,
    after: After = "",
    limit: Limit = 100,
) -> Answer:
    """Intents with their states, oldest first. ``next``: what to give as ``after`` for the next page; null: the end."""
    access.kernel(account)
    chosen = Selector.parse(selector) if selector else None
    if symbol:
        identifier("symbol", symbol)
    store = access.server.platform.store
    if after and await _found(access, account, after) is None:
        raise InvalidOrder("after", after, "is no intent of this account", "begin again without it")
    items: list[dict[str, Any]] = []
    looked = 0
    last: str | None = after
    while len(items) < limit and looked < SCANNED:
        rows = await store.page(account, last or "", 500)
        for intent, progress in rows:
            looked += 1
            last = intent.intent_id
            if is_step(last) or (active and progress.status.terminal) or symbol not in ("", intent.order.symbol_id):
                continue
            if chosen is None or chosen.chooses(intent.labels):
                items.append({"intent": plain(intent), "state": plain(light_state(intent, progress))})
                if len(items) == limit:
                    break
        else:
            if len(rows) < 500:
                last = None
                break
    return Answer({"items": items, "next": last})


@router.get("/orders/{name}", responses=shapes.ANSWERS)
async def one(account: str, name: Name, access: Calling) -> Answer:
    """What is wanted of an order, and what is true of it."""
    kernel = access.kernel(account)
    check_id("name", name)
    intent, state = await kernel.get_order_intent(name), await kernel.get_order_state(name)
    return Answer({"intent": plain(intent), "state": plain(state)}, 200, {"etag": f'"{intent.generation}"'})


@router.get("/orders/{name}/history", responses=shapes.ANSWERS)
async def history(
    account: str,
    name: Name,
    access: Calling,
    after: Annotated[int, Query(ge=0, le=MOST)] = 0,
    limit: Limit = 100,
) -> Answer:
    """The order's events, oldest first. ``next``: what to give as ``after`` for the next page, null at the end."""
    check_id("name", name)
    await access.kernel(account).get_order_intent(name)
    rows = await access.server.platform.store.history(account, name, after, limit)
    items = [json.loads(event_line(row)) for row in rows]
    return Answer({"items": items, "next": rows[-1].seq if len(rows) == limit else None})


@router.delete("/orders/{name}", status_code=202, responses=shapes.ANSWERS)
async def cancel(account: str, name: Name, access: Calling, reason: Reason = "") -> Answer:
    """Want an order gone. It is CANCELED only when that is proved; one that is finished stays as it is."""
    kernel = access.kernel(account, Scope.CANCEL)
    check_id("name", name)
    with access.acting():
        await kernel.cancel_order(name, reason=strict_text(reason))
    return Answer({"state": plain(await kernel.get_order_state(name))}, 202)


@router.post("/cancel-all", status_code=202, openapi_extra=shapes.body(shapes.CANCEL_ALL), responses=shapes.ANSWERS)
async def cancel_all(account: str, body: Body, access: Calling) -> Answer:
    """Want all active orders of the account (of one symbol) gone; never those of others."""
    kernel = access.kernel(account, Scope.CANCEL)
    said = fields_of(body, symbol_id=str, reason=str)
    with access.acting():
        names = await kernel.cancel_all_orders(said["symbol_id"], reason=said["reason"] or "")
    return Answer({"canceled": names}, 202)


@router.post("/orders/{name}/resolve", openapi_extra=shapes.body(shapes.RESOLVED), responses=shapes.ANSWERS)
async def resolve(account: str, name: Name, body: Body, access: Calling) -> Answer:
    """Decide about an order that is parked or of unknown outcome, under the rules of proof."""
    kernel = access.kernel(account, Scope.ADMIN)
    check_id("name", name)
    said = fields_of(body, resolution=str, actor=str, reason=str)
    how = choice("resolution", said["resolution"], Resolution)
    actor = access.actor(said["actor"] or "")
    state = await kernel.resolve_order(name, how, actor=actor, reason=said["reason"] or "")
    return Answer({"state": plain(state)})


@router.post("/dry-run", openapi_extra=shapes.body(shapes.DECLARED), responses=shapes.ANSWERS)
async def dry_run(account: str, body: Body, access: Calling) -> Answer:
    """What declaring this order would do; leaves no trace."""
    kernel = access.kernel(account)
    return Answer(plain(await kernel.dry_run(_order(fields_of(body, order=dict)["order"]))))


@router.put("/groups/{group}", openapi_extra=shapes.body(shapes.GROUP), responses=shapes.ANSWERS)
async def declare_group(account: str, group: str, body: Body, access: Calling) -> Answer:
    """Declare several orders, all or none. Each has its name, so that repeating it after a lost answer is safe."""
    kernel = access.kernel(account, Scope.PLACE)
    check_id("group", group)
    said = fields_of(body, kind=str, orders=list, labels=dict)
    orders, names = [], []
    for number, each in enumerate(said["orders"] or ()):
        if not isinstance(each, dict):
            raise InvalidOrder(f"orders[{number}]", type(each).__name__, "must be an object with name and order")
        one_of = fields_of(each, name=str, order=dict)
        names.append(one_of["name"])
        orders.append(_order(one_of["order"], f"orders[{number}].order"))
    kind = choice("kind", said["kind"] or "BATCH", GroupKind)
    with access.acting():
        made = await kernel.place_order_group(orders, kind, group_id=group, intent_ids=names, labels=said["labels"])
    return Answer({"names": made})


@router.get("/foreign-orders", responses=shapes.ANSWERS)
async def foreign(account: str, access: Calling, symbol: Annotated[str, Query(max_length=64)] = "") -> Answer:
    """States of the account's orders that are not ours."""
    states = await access.kernel(account).get_all_orders(symbol_id=symbol or None)
    return Answer({"items": [plain(state) for state in states if state.origin is not Origin.OURS]})
