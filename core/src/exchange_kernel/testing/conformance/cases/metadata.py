"""What an adapter says of its venue: complete, stable, and true in both directions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from exchange_kernel.errors import InvalidOrder, Rejected, Unsupported
from exchange_kernel.schema import Side, SupportLevel, SymbolMetadata
from exchange_kernel.testing.conformance.bench import Bench, Failed, Inapplicable, Placed
from exchange_kernel.testing.conformance.declared import MOST_PAGES, history_comes, incomplete, prices_come
from exchange_kernel.testing.conformance.evidence import landed
from exchange_kernel.testing.conformance.probes import Probe, native, needs, on_grid, plain, probes, some_symbols
from exchange_kernel.testing.conformance.registry import case
from exchange_kernel.testing.conformance.walk import wrong_numbers
from exchange_kernel.value import revised
from exchange_kernel.venue import (
    Amend,
    CancelAll,
    Command,
    DeadMan,
    Found,
    History,
    OrderReport,
    Place,
    PlaceGroup,
    Prices,
    Quotes,
    Spec,
    Ticket,
    VenueAdapter,
)

_PROTOCOLS: dict[str, type] = {"prices": Prices, "quotes": Quotes, "history": History, "dead_man": DeadMan}
_NEEDS_A_POSITION = frozenset({"reduce_only", "hedge_legs"})


@case("META-01", "every market has units, constraints and every capability answered", grade="bronze", rule="markets()")
async def markets_are_complete(bench: Bench) -> None:
    """What the metadata leaves open the kernel cannot check, and the order fails at the venue, in the market's busiest
    minute."""
    markets = await bench.adapter.markets()
    bench.expect(markets, "markets() lists nothing")
    for symbol in markets:
        bench.expect(isinstance(symbol, SymbolMetadata), f"markets() lists {symbol!r}, no SymbolMetadata")
        wrong = wrong_numbers(symbol)
        bench.expect(not wrong, f"{symbol.symbol_id}: {'; '.join(wrong)}")
        problem = incomplete(symbol)
        bench.expect(not problem, f"{symbol.symbol_id}: {problem}")


@case("META-02", "an optional protocol is there exactly where it is declared", grade="bronze", rule="capabilities")
async def declared_protocols(bench: Bench) -> None:
    """The kernel plans by capabilities: with a price stream that is not there its triggers never fire, and one that is
    there undeclared is never used."""
    adapter = bench.adapter
    for feature, protocol in _PROTOCOLS.items():
        declared = [s.symbol_id for s in bench.symbols.values() if s.capabilities.offers(feature)]
        there = isinstance(adapter, protocol)
        bench.expect(there or not declared, f"{feature} is declared for {declared}, and the adapter has no such method")
        bench.expect(declared or not there, f"the adapter implements {protocol.__name__}, and no symbol declares it")
    if bench.offers("prices"):
        await prices_come(bench)
    if bench.offers("history"):
        await history_comes(bench)
    if bench.offers("quotes"):
        assert isinstance(adapter, Quotes)
        quote = await bench.ask(adapter.quote(bench.harness.crossing()))
        bench.expect(quote is not None, "quote() answers None, though quotes are declared")
    if bench.offers("dead_man"):
        assert isinstance(adapter, DeadMan)
        until, armable = bench.clock.now_ms() + 60_000, frozenset({bench.harness.symbol})
        armed = await bench.ask(adapter.arm(until, armable))
        await bench.ask(adapter.arm(None, armable))
        bench.expect(type(armed) is int and armed <= until, f"arm({until}) answered {armed!r}: what did the venue set?")


@case("META-03", "what is declared unsupported is refused as Unsupported, unsent", grade="bronze", rule="rule 2")
async def unsupported_is_refused(bench: Bench) -> None:
    """An order whose condition the venue does not know is another order: a stop that is none, a hedge that flips."""
    before = await bench.harness.changes()
    for symbol in some_symbols(bench):
        for probe in probes(bench, symbol):
            await _refused_order(bench, symbol, probe)
        await _refused_side(bench, symbol)
    await _refused_commands(bench)
    sent = await bench.harness.changes() - before
    bench.expect(not sent, f"{sent} changes reached the venue for orders it does not support")
    await _refused_amends(bench)


@case("META-04", "asked again, the venue lists the same markets", grade="bronze", rule="markets()")
async def markets_are_stable(bench: Bench) -> None:
    """Orders, limits and positions are kept under a symbol's id; one that changes with a refresh orphans them all."""
    first = {each.symbol_id: each for each in await bench.adapter.markets()}
    spec = bench.harness.resting()
    preview = bench.adapter.check(spec)
    other, _ = await bench.another()
    for source in (bench.adapter, other):
        again = {each.symbol_id: each for each in await source.markets()}
        lost, new = sorted(set(first) - set(again)), sorted(set(again) - set(first))
        bench.expect(not lost and not new, f"asked again, markets() lacks {lost} and adds {new}")
        for name, symbol in again.items():
            for field in ("base", "quote", "asset_type", "venue_symbol"):
                was, now = getattr(first[name], field), getattr(symbol, field)
                bench.expect(was == now, f"asked again, {field} of {name} is {now!r}, it was {was!r}")
    bench.expect(bench.adapter.check(spec) == preview, "after markets(), check() answers otherwise for the same order")


@case("META-05", "a symbol has one name, and reports use it", grade="bronze", rule="symbol_id is unique")
async def one_name_per_symbol(bench: Bench) -> None:
    """Two markets under one name, or one market under two, and fills are booked where nobody looks."""
    markets = await bench.adapter.markets()
    for field in ("symbol_id", "venue_symbol"):
        counts = Counter((getattr(each, field), field == "symbol_id" or each.asset_type) for each in markets)
        twice = sorted(str(name[0]) for name, count in counts.items() if count > 1 and name[0])
        bench.expect(not twice, f"{field} {', '.join(twice)} is listed more than once")
    async with bench.watching() as watch:
        resting, filled = await bench.put(), await bench.put(bench.harness.crossing())
        found = [await bench.found(resting), await bench.found(filled)]
        page = await bench.ask(bench.adapter.open_orders(None))
        await bench.quiet(1)
        for report in (*found, *page.reports, *watch.reports):
            bench.expect(
                report.symbol in bench.symbols, f"a report says {report.symbol!r}, which markets() does not list"
            )
        for report in found:
            bench.expect(report.symbol == bench.harness.symbol, f"the order's report says {report.symbol!r}")


@case("META-06", "lists_foreign is declared exactly where it is so", grade="silver", rule="R22", needs=("foreign",))
async def foreign_orders(bench: Bench) -> None:
    """Where a venue shows what others place on the account, drift is seen and alarmed; one that is said to and does
    not lets strangers trade unseen."""
    foreign = await bench.stranger()
    declared = bench.offers("lists_foreign")

    async def shown() -> bool:
        page: str | None = None
        for _ in range(MOST_PAGES):
            snapshot = await bench.ask(bench.adapter.open_orders(page))
            bench.expect(
                snapshot.owner == ("account" if declared else "ours"),
                f"lists_foreign is {bench.support('lists_foreign').level}, and open_orders() says owner "
                f"{snapshot.owner!r}",
            )
            if any({each.id, *each.links} & set(foreign.ids) for each in snapshot.reports):
                return True
            if snapshot.next is None:
                return False
            page = snapshot.next
        return False

    if declared:
        await bench.until(shown, "open_orders() shows an order that somebody else placed on the account")
    else:
        await shown()


@case("META-07", "what is declared native is taken", grade="bronze", rule="capabilities")
async def native_is_taken(bench: Bench) -> None:
    """A feature that is declared and refused is found out by the user's order, after the kernel has promised it."""
    for symbol in some_symbols(bench):
        for probe in probes(bench, symbol):
            required = needs(probe.spec)
            if probe.feature in required and native(symbol, required) and symbol.active:
                await _taken(bench, symbol, probe)
    for feature, changed in _amendments(bench):
        if bench.support(feature).level is SupportLevel.NATIVE:
            was = bench.adapter.check(bench.harness.resting(2)).spec
            preview = _checked(bench, changed(was), f"an amendment that needs {feature}, declared native,", was)
            bench.expect(feature in preview.uses, f"check() of an amendment does not say that it uses {feature}")
    if bench.support("cancel_all").level is SupportLevel.NATIVE:
        ticket = await bench.draft(CancelAll(bench.key(), bench.harness.symbol))
        bench.expect(
            isinstance(ticket, Ticket), "cancel_all is declared native, and prepare(CancelAll) gives no ticket"
        )


@case("META-08", "what is declared of reports is seen in them", grade="silver", rule="capabilities")
async def reports_keep_what_is_declared(bench: Bench) -> None:
    """How the kernel books depends on these words: fills that are not final at once, keys that are not in reports,
    streams that say nothing."""
    opened = bench.opened
    outlive, die = bench.offers("orders_outlive_session"), opened.orders_die_with_session
    bench.expect(
        outlive != die,
        f"orders_outlive_session is {bench.support('orders_outlive_session').level}, and open() says "
        f"orders_die_with_session={die}",
    )
    fresh, _ = await bench.another()
    async with bench.watching() as watch:
        resting = await bench.put()
        if bench.offers("find_by_key"):
            await _key_is_shown(bench, fresh, resting)
        filled = await bench.put(bench.harness.crossing())
        if bench.offers("fills_final_at_once"):
            report = await bench.until(lambda: _traded(bench, filled), "lookup shows what was filled")
            early = [fill.id for fill in report.fills if not fill.final]
            bench.expect(
                not early and not report.tentative.base,
                f"fills_final_at_once is declared, and fills {early} ({report.tentative.base} base) are not",
            )
        end = await bench.ended(filled)
        if bench.offers("fills_of_order"):
            bench.expect(
                end.fills and end.fills_complete,
                "fills_of_order is declared, and the report of a filled order carries "
                + ("only some of its fills" if end.fills else "none of its fills"),
            )
        if bench.offers("stream"):
            await bench.until(
                lambda: any({each.id, *each.links} & set(resting.ids) for each in watch.reports),
                "the stream, which is declared, reports a new order",
            )


# ------------------------------------------------------------------------------------------------------------------


async def _refused_order(bench: Bench, symbol: SymbolMetadata, probe: Probe) -> None:
    lacking = {each for each in needs(probe.spec) if not symbol.capabilities.offers(each)}
    if probe.spec.post_only and symbol.capabilities.offers("post_only"):
        lacking.discard("gtc")  # such orders rest there, and no others
    if not lacking:
        return
    what = f"an order on {symbol.symbol_id} that needs {', '.join(sorted(lacking))}, declared unsupported,"
    preview = None
    try:
        preview = bench.adapter.check(probe.spec)
    except Unsupported as error:
        _names(bench, error, lacking, f"check() of {what}")
    except Exception as error:
        raise Failed(f"check() of {what} raised {error!r}, not Unsupported") from error
    if preview is not None:
        bench.fail(f"{what} passes check(), which would send {preview.spec}")
    await _refused_command(bench, Place(bench.key(), probe.spec), lacking, what)


async def _refused_command(bench: Bench, command: Command, lacking: set[str], what: str) -> None:
    try:
        ticket = await bench.draft(command)
    except Unsupported as error:
        _names(bench, error, lacking, f"prepare() of {what}")
        return
    except Inapplicable:
        bench.fail(f"prepare() of {what} asks for an Enable first, where it should raise Unsupported")
    except Failed:
        raise
    except Exception as error:
        raise Failed(f"prepare() of {what} raised {error!r}, not Unsupported") from error
    bench.fail(f"prepare() of {what} made a ticket: {ticket.note or ticket.body[:200]!r}")


def _names(bench: Bench, error: Unsupported, lacking: set[str], what: str) -> None:
    # The kernel decides by this name whether it can do it instead.
    bench.expect(
        error.feature in lacking or error.feature.startswith("side"),
        f"{what} raised Unsupported({error.feature!r}); name the capability that is missing: "
        f"{' or '.join(sorted(lacking))}",
    )


async def _refused_side(bench: Bench, symbol: SymbolMetadata) -> None:
    base = plain(bench, symbol)
    for side in Side:
        if base is None or side in symbol.capabilities.sides:
            continue
        spec = revised(base, side=side)
        what = f"a {side} on {symbol.symbol_id}, which does not take that side,"
        error: object = None
        try:
            bench.adapter.check(spec)
        except Unsupported as refusal:
            error = refusal
        bench.expect(error, f"{what} passes check()")
        await _refused_command(bench, Place(bench.key(), spec), {f"side {side}"}, what)


async def _refused_commands(bench: Bench) -> None:
    spec = bench.adapter.check(bench.harness.resting()).spec
    if not bench.offers("cancel_all"):
        await _refused_command(bench, CancelAll(bench.key(), spec.symbol), {"cancel_all"}, "CancelAll")
    kinds: tuple[Any, ...] = ("oco", "oto", "bracket")
    for kind in kinds:
        if not bench.offers(f"group_{kind}"):
            legs = tuple(Place(bench.key(), each) for each in (spec, revised(spec, amount=spec.amount * 2)))
            command = PlaceGroup(bench.key(), kind, legs)
            await _refused_command(bench, command, {f"group_{kind}"}, f"PlaceGroup {kind}, declared unsupported,")


async def _refused_amends(bench: Bench) -> None:
    missing = [(feature, change) for feature, change in _amendments(bench) if not bench.offers(feature)]
    if not missing:
        return
    placed, truth = await landed(bench, bench.harness.resting(2))
    before = await bench.harness.changes()
    for feature, change in missing:
        spec = change(placed.spec)
        what = f"an amendment that needs {feature}, declared unsupported,"
        try:
            bench.adapter.check(spec, placed.spec)
            bench.fail(f"{what} passes check()")
        except Unsupported as error:
            _names(bench, error, {feature}, f"check() of {what}")
        await _refused_command(bench, Amend(bench.key(), bench.ref(placed), spec), {feature}, what)
    bench.expect(await bench.harness.changes() == before, "a refused amendment reached the venue")
    bench.expect(await bench.one(placed) == truth, "a refused amendment changed the order")


def _amendments(bench: Bench) -> list[tuple[str, Callable[[Spec], Spec]]]:
    more, less = bench.adapter.check(bench.harness.resting(3)).spec, bench.adapter.check(bench.harness.resting(1)).spec

    def moved(was: Spec) -> Spec:
        assert was.limit is not None
        better = Decimal("0.9") if was.side is Side.BUY else Decimal("1.1")
        return bench.adapter.check(bench.harness.near(revised(was, limit=was.limit * better))).spec

    if less.limit is None:
        return []
    return [
        ("amend_price", moved),
        ("amend_up", lambda was: revised(was, amount=more.amount)),
        ("amend_down", lambda was: revised(was, amount=less.amount)),
    ]


def _checked(bench: Bench, spec: Spec, what: str, was: Spec | None = None) -> Any:
    try:
        return bench.adapter.check(spec, was)
    except Unsupported as error:
        raise Failed(f"{what} is refused by check(): {error}") from error
    except InvalidOrder as error:
        raise Failed(f"{what} is refused by check(): {error}; {spec} keeps every constraint declared") from error


async def _taken(bench: Bench, symbol: SymbolMetadata, probe: Probe) -> None:
    spec = probe.spec
    if spec.trigger is None and on_grid(spec, symbol):
        return
    what = f"a {spec.side} on {symbol.symbol_id} that needs {probe.feature}, declared native,"
    preview = _checked(bench, spec, what)
    bench.expect(
        probe.feature in preview.uses or probe.feature in _PLAIN,
        f"check() of {what} says it uses {sorted(preview.uses)}, and not {probe.feature}",
    )
    rests = spec.limit is not None and spec.trigger is None and not needs(spec) & _NEEDS_A_POSITION
    if symbol is not bench.market or not rests:
        try:
            await bench.draft(Place(bench.key(), spec))
        except Inapplicable:
            return  # needs an Enable first, which is an answer
        except Rejected as error:
            raise Failed(f"prepare() of {what} raised {error!r}") from error
        return
    placed = await bench.ticket_for(spec)
    outcome = await bench.send(placed)
    bench.expect(outcome.error is None, f"{what} is refused when it is sent: {outcome.error!r}")
    await bench.found(placed)
    await bench.cancel(placed)


async def _traded(bench: Bench, placed: Placed) -> OrderReport | None:
    report = await bench.found(placed)
    return report if report.fills or report.filled.base or report.tentative.base else None


_PLAIN = frozenset({"limit", "market", "amount_base", "gtc"})
"""What every order uses: an adapter may leave it out of a preview."""


async def _key_is_shown(bench: Bench, fresh: VenueAdapter, placed: Placed) -> None:
    ref = revised(bench.ref(placed), ids=(), tickets=())

    async def by_key() -> bool:
        answer = await bench.ask(fresh.lookup(ref))
        return isinstance(answer, Found) and any(
            isinstance(each, OrderReport) and each.key == placed.key for each in answer.reports
        )

    await bench.until(by_key, "find_by_key is declared, and a lookup with nothing but the key finds the order")
