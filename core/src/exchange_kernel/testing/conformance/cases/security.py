"""Bad input, bad answers, bad tickets; and secrets, which are nowhere but where they are used."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal
from typing import Any

from exchange_kernel.errors import (
    InvalidOrder,
    NoEffect,
    NotSent,
    Unavailable,
    UnknownSymbol,
    Unsupported,
)
from exchange_kernel.testing.conformance.bench import Bench, Failed
from exchange_kernel.testing.conformance.eavesdrop import eavesdropping, named_tasks
from exchange_kernel.testing.conformance.harness import Fault
from exchange_kernel.testing.conformance.registry import case
from exchange_kernel.testing.conformance.sessions import mine, open_reports
from exchange_kernel.testing.conformance.surroundings import new_variables
from exchange_kernel.testing.conformance.telling import MOST_PAGES, all_open, all_past
from exchange_kernel.testing.conformance.tour import tour
from exchange_kernel.testing.conformance.walk import SHORTEST_SECRET, leaks
from exchange_kernel.value import revised
from exchange_kernel.venue import (
    Cancel,
    Command,
    Found,
    History,
    Place,
    Prep,
    Slot,
    Spec,
    Ticket,
)

LARGEST = 64 * 1024
REQUESTS = 6
"""Of how many requests one read may consist, each of which is made to fail once."""
_NAN, _SNAN, _INF = Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity")
_BAD_NUMBERS = (_NAN, _SNAN, _INF, -_INF, Decimal(0), Decimal("-0"), Decimal(-1), Decimal("-1E-8"))
_HUGE = (Decimal("1E+60"), Decimal("1E+999999"), Decimal("9" * 90))
_FIELDS = {
    "amount": ("amount", "notional", "quantity", "size"),
    "limit": ("limit", "price"),
    "guard": ("guard", "price", "limit"),
    "display": ("display", "iceberg"),
    "symbol": ("symbol",),
}


@case("BAD-01", "impossible orders are refused before the wire", grade="bronze", rule="check()")
async def impossible_orders(bench: Bench) -> None:
    """What reaches an adapter has passed many hands. NaN compares false with every limit, and a decimal of a million
    digits stops the loop: neither may get as far as a request."""
    before = await bench.harness.changes()
    for what, _, spec in _impossible(bench):
        for name in ("check()", "prepare()"):
            try:
                answer: object = (
                    bench.adapter.check(spec) if name == "check()" else await bench.draft(Place(bench.key(), spec))
                )
            except InvalidOrder as error:
                bench.seen.append(error)
                bench.expect(
                    spec.symbol in bench.symbols or isinstance(error, (UnknownSymbol, Unsupported)),
                    f"{name} of {what} raised {error!r}, not UnknownSymbol",
                )
                continue
            except Failed:
                raise
            except Exception as error:
                raise Failed(f"{name} of {what} raised {error!r}, not InvalidOrder") from error
            bench.fail(f"{name} of {what} answered {answer!r}")
    sent = await bench.harness.changes() - before
    bench.expect(not sent, f"{sent} changes reached the venue for impossible orders")


@case("BAD-02", "a refusal names the field, the value and the rule", grade="bronze", rule="errors")
async def refusals_explain(bench: Bench) -> None:
    """At three in the morning "invalid order" helps nobody: which field, what was in it, which rule does."""
    for what, field, spec in _impossible(bench):
        error = _refusal(bench, spec)
        if error is None:
            bench.fail(f"check() takes {what}")
        named = error.field.lower()
        bench.expect(
            any(word in named for word in _FIELDS[field]),
            f"the refusal of {what} names the field {error.field!r}: {error}",
        )
        bench.expect(error.rule.strip(), f"the refusal of {what} says no rule: {error}")
        text = str(error)
        bench.expect(error.field in text and error.rule in text, f"{text!r} lacks its field or its rule")
        bench.expect(len(text) <= 600 and "\n" not in text, f"the refusal of {what} is {len(text)} characters long")
    base, amounts = bench.harness.resting(), bench.market.amounts
    small = revised(base, amount=amounts.min_amount / 2)
    error = _refusal(bench, small)
    bench.expect(error is not None, f"check() takes half of min_amount {amounts.min_amount}")
    assert error is not None
    bench.expect(
        any(char.isdigit() for char in error.rule),
        f"the refusal of an amount that is too small does not say how small it may be: {error}",
    )


@case(
    "BAD-03",
    "an answer that cannot be read is no answer",
    grade="bronze",
    rule="Unavailable is never absence",
    needs=(Fault.READ_FAILS, Fault.READ_GARBLED),
)
async def unreadable_answers(bench: Bench) -> None:
    """Half an answer read as an empty list says that there are no orders and no money: the kernel places everything
    anew."""
    placed = await bench.put()
    done = await bench.put(bench.harness.crossing())
    await bench.ended(done)
    right: list[tuple[str, Callable[[], Awaitable[Any]], Callable[[Any], object]]] = [
        ("lookup()", lambda: bench.look(placed), lambda answer: isinstance(answer, Found)),
        ("open_orders()", lambda: open_reports(bench.adapter), lambda answer: mine(answer, placed.ids, placed.key)),
        ("account()", bench.adapter.account, _same((await bench.adapter.account()).balances)),
        ("markets()", bench.adapter.markets, lambda answer: {s.symbol_id for s in answer} == set(bench.symbols)),
        ("prepare()", lambda: _drafted(bench), lambda answer: True),
        ("open()", lambda: _opened(bench), lambda answer: answer == bench.opened.identity),
    ]
    if isinstance(bench.adapter, History):
        history = bench.adapter
        right.append(("history()", lambda: _all_history(history), _same_size(len(await _all_history(history)))))
    for fault in (Fault.READ_FAILS, Fault.READ_GARBLED):
        for name, call, holds in right:
            for number in range(REQUESTS):
                await bench.harness.inject(fault, after=number)
                await _unavailable_or_right(bench, f"{name}, request {number + 1} of which is {fault},", call, holds)
                await bench.harness.clear()
            answer = await call()
            bench.expect(holds(answer), f"{name} after a failure answered {answer!r}")
    await bench.found(placed)


@case("BAD-04", "secrets show nowhere", grade="bronze", rule="rule 21")
async def secrets_show_nowhere(bench: Bench) -> None:
    """Errors go to the event log, tickets to the database, logs to another company. A key that is in one of them is a
    key that was given away."""
    secrets = dict(bench.harness.secrets)
    long = [value for value in secrets.values() if len(value) >= SHORTEST_SECRET]
    bench.expect(long, f"give the harness secrets of at least {SHORTEST_SECRET} characters, so that they can be found")
    if bench.harness.offers("wrong_secrets"):
        long += [value for value in bench.harness.wrong_secrets().values() if len(value) >= SHORTEST_SECRET]
    with eavesdropping() as heard, named_tasks() as names:
        try:
            await tour(bench)
            await _many_pages(bench)
        finally:
            said = list(bench.seen)
    context = bench.harness.context()
    for where, things in (
        ("what the adapter answered or raised", said),
        ("what was logged or printed", heard),
        ("the name of a task or a thread", [*names, *(each.name for each in threading.enumerate())]),
        ("the environment", new_variables(bench.surroundings)),
        ("a repr", [repr(bench.adapter), str(bench.adapter), repr(context), repr(bench.opened)]),
        ("the tickets", [each.tickets for each in bench.placed]),
    ):
        found = leaks(things, long)
        bench.expect(not found, f"a secret shows in {where}: {'; '.join(sorted(set(found))[:5])}")


@case("BAD-05", "a ticket that is not one's own is not sent", grade="bronze", rule="rule 3")
async def foreign_tickets(bench: Bench) -> None:
    """After a restart tickets come from a database. One of another account, of another release or half written must
    stay where it is, and say so: the kernel then knows that nothing happened."""
    placed = await bench.ticket_for(bench.harness.resting())
    ticket = placed.ticket
    half = ticket.body[: len(ticket.body) // 2]
    not_ours = [
        ("of another identity", revised(ticket, identity=f"{ticket.identity}x")),
        ("of another account of the venue", revised(ticket, identity=ticket.identity[:-1] or "x")),
        ("without an identity", revised(ticket, identity="")),
        ("of an unknown codec", revised(ticket, codec="unknown/1")),
        ("of a later codec", revised(ticket, codec=f"{ticket.codec}9")),
        ("without a codec", revised(ticket, codec="")),
        ("without a body", revised(ticket, body=b"")),
        ("with half a body", revised(ticket, body=half)),
        ("with a body that lacks its last byte", revised(ticket, body=ticket.body[:-1])),
        ("with a body that is no request", revised(ticket, body=b"\x00\xff not a request")),
    ]
    changes, requests = await bench.harness.changes(), await _requests(bench)
    for what, strange in not_ours:
        await bench.raises(NotSent, bench.adapter.submit(strange), f"submit of a ticket {what}")
        bench.expect(await bench.harness.changes() == changes, f"a ticket {what} reached the venue as a change")
    asked = await _requests(bench) - requests
    bench.expect(asked <= 0, f"{asked} requests reached the venue for tickets that are not to be sent")
    try:
        second, _ = await bench.another("second")
    except NotImplementedError:
        pass
    else:
        await bench.raises(NotSent, second.submit(ticket), "submit of a ticket by another account's session")
        bench.expect(await bench.harness.changes() == changes, "another account's session sent the ticket")
    dry = await _dry(bench)
    if dry is not None:
        await bench.raises(NotSent, bench.adapter.submit(dry), "submit of a ticket that was prepared dry")
        bench.expect(await bench.harness.changes() == changes, "a ticket that was prepared dry reached the venue")
    outcome = await bench.send(placed)
    bench.expect(outcome.effect != "none", f"after all that its own ticket is refused: {outcome.error!r}")
    await bench.found(placed)


@case("BAD-06", "tickets are small, complete and legal", grade="bronze", rule="rule 3")
async def tickets_are_legal(bench: Bench) -> None:
    """Tickets are stored before they are sent and read by later releases; one that does not fit its column, or whose
    ids nobody can print, is lost when it is needed."""
    working = await bench.put()
    commands: list[Command] = [
        Place(key, bench.adapter.check(bench.harness.resting(1 + number % 5)).spec)
        for number, key in enumerate((bytes(16), b"\xff" * 16, *(bench.key() for _ in range(10))))
    ]
    commands.append(Cancel(bench.key(), bench.ref(working)))
    ids: set[object] = set()
    for command in commands:
        ticket = await bench.draft(command)
        problem = _illegal(bench, command, ticket)
        bench.expect(not problem, f"the ticket of a {type(command).__name__}: {problem}")
        again = ids & set(ticket.ids)
        bench.expect(not again, f"two tickets have the ids {again}")
        ids |= set(ticket.ids)
    late, ticket = await _in_short(bench)
    bench.expect(ticket.send_before <= late, f"nobody wants it after {late}, and send_before is {ticket.send_before}")


# ------------------------------------------------------------------------------------------------------------------


async def _in_short(bench: Bench) -> tuple[int, Ticket]:
    """A ticket that is wanted for a moment only, and until when. Where ends are whole seconds the first may be over."""
    refusal: InvalidOrder | None = None
    for ms in (500, 1_500, 2_500):
        late = bench.clock.now_ms() + ms
        spec = bench.adapter.check(bench.harness.resting()).spec
        try:
            return late, await bench.draft(Place(bench.key(), spec), give_up=late)
        except InvalidOrder as error:
            refusal = error
    raise Failed(f"an order that is wanted for 2.5 s more gets no ticket: {refusal!r}")


async def _many_pages(bench: Bench) -> None:
    """As many orders and as much of the past as it takes to go on to another page: cursors are seen as well."""
    for number in range(1, 8):
        await bench.put(bench.harness.resting(number))
    await all_open(bench)
    if isinstance(bench.adapter, History):
        await all_past(bench)


def _impossible(bench: Bench) -> Iterator[tuple[str, str, Spec]]:
    """What it is, the field that is wrong, and the order."""
    base = bench.harness.resting()
    for symbol in ("NO/SUCH", "", base.symbol.lower() + "x", f"{base.symbol} ", "'; --", "\x00", base.symbol * 400):
        if symbol not in bench.symbols:
            yield f"an order on the symbol {symbol[:40]!r}", "symbol", revised(base, symbol=symbol)
    for number in _BAD_NUMBERS:
        yield f"an amount of {number}", "amount", revised(base, amount=number)
        if base.limit is not None:
            yield f"a limit of {number}", "limit", revised(base, limit=number)
        if bench.offers("market"):
            yield f"a guard of {number}", "guard", revised(base, limit=None, guard=number)
        if bench.offers("iceberg"):
            yield f"a display of {number}", "display", revised(base, display=number)
    for number in _HUGE:
        yield f"an amount of {number:.3E}", "amount", revised(base, amount=number)


def _refusal(bench: Bench, spec: Spec) -> InvalidOrder | None:
    try:
        bench.adapter.check(spec)
    except InvalidOrder as error:
        return error
    except Exception as error:
        raise Failed(f"check() raised {error!r}, not InvalidOrder") from error
    return None


def _same(balances: Any) -> Callable[[Any], bool]:
    return lambda answer: answer.balances == balances


def _same_size(size: int) -> Callable[[Any], bool]:
    return lambda answer: len(answer) >= size


async def _drafted(bench: Bench) -> Ticket:
    try:
        return await bench.draft(Place(bench.key(), bench.adapter.check(bench.harness.resting(2)).spec))
    except NotSent as error:
        raise Unavailable(str(error)) from error


async def _opened(bench: Bench) -> str:
    adapter = bench.harness.adapter()
    try:
        opened = await adapter.open(bench.harness.context())
        return opened.identity
    finally:
        await adapter.close()


async def _all_history(adapter: History) -> list[object]:
    items: list[object] = []
    cursor: str | None = None
    for _ in range(MOST_PAGES):
        page, cursor = await adapter.history(cursor)
        items += page
        if not page:
            return items
    raise Failed(f"history() has more than {MOST_PAGES} pages")


async def _unavailable_or_right(
    bench: Bench, what: str, call: Callable[[], Awaitable[Any]], holds: Callable[[Any], object]
) -> None:
    try:
        answer = await call()
    except Unavailable as error:
        bench.seen.append(error)
        return
    except Exception as error:
        raise Failed(f"{what} raised {error!r}, not Unavailable") from error
    bench.expect(holds(answer), f"{what} answered {answer!r}, which is not so: raise Unavailable")


async def _requests(bench: Bench) -> int:
    return await bench.harness.requests() if bench.harness.offers("requests") else 0


async def _dry(bench: Bench) -> Ticket | None:
    """A ticket made without a signer, or None where the adapter refuses to make one."""

    def take(scope: str) -> Slot:
        return Slot(scope, next(each.floor for each in bench.opened.scopes if each.name == scope) + 1000)

    prep = Prep(bench.clock.now_ms(), bench.clock.now_ms() + 60_000, take, dry=True)
    spec = bench.adapter.check(bench.harness.resting()).spec
    try:
        ticket = await bench.ask(bench.adapter.prepare(Place(bench.key(), spec), prep))
    except (NoEffect, Unavailable):
        return None
    if not isinstance(ticket, Ticket):
        return None
    bench.expect(not ticket.body, "a ticket that was prepared dry has a body: it must be signed nowhere")
    return ticket


def _illegal(bench: Bench, command: Command, ticket: Ticket) -> str:
    if ticket.key != command.key:
        return f"its key is {ticket.key.hex()}, the command's is {command.key.hex()}"
    if not ticket.body or len(ticket.body) > LARGEST:
        return f"its body has {len(ticket.body)} bytes; it takes 1 to {LARGEST}"
    if ticket.identity != bench.opened.identity:
        return f"its identity is {ticket.identity!r}, open() said {bench.opened.identity!r}"
    if not ticket.codec.strip() or not ticket.codec.isprintable():
        return f"its codec {ticket.codec!r} is no name"
    if "\n" in ticket.note or len(ticket.note) > 500:
        return f"its note is no short line: {ticket.note[:80]!r}"
    for each in ticket.ids:
        if not each.kind or not each.value or not (each.kind + each.value).isprintable() or len(each.value) > 256:
            return f"its id {each} is not printable text of 1 to 256 characters"
    if ticket.send_before <= bench.clock.now_ms():
        return f"send_before is {ticket.send_before}, which is over"
    if ticket.slot is not None and ticket.slot.scope not in {each.name for each in bench.opened.scopes}:
        return f"its slot {ticket.slot} is of a scope that open() did not name"
    return ""
