"""The matching engine: orders in, trades and balances out. Knows no requests, no clients' clocks, no faults."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from decimal import Decimal

from exchange_kernel_paper.exchange.accounts import Account
from exchange_kernel_paper.exchange.book import Book, Match, Plan
from exchange_kernel_paper.exchange.codes import Code, Refusal, Why
from exchange_kernel_paper.exchange.filters import RESTING, Terms, check_amount
from exchange_kernel_paper.exchange.ledger import Ledger
from exchange_kernel_paper.exchange.markets import Market
from exchange_kernel_paper.exchange.numbers import ZERO
from exchange_kernel_paper.exchange.orders import (
    BUY,
    CANCELED,
    DORMANT,
    EXPIRED,
    FILLED,
    REJECTED,
    WORKING,
    Order,
    Trade,
)
from exchange_kernel_paper.exchange.settings import Settings

FEES = "fees"
_NO_FEE = ("", ZERO)


class Engine:
    """Books, orders and money. Every method needs the exact decimal context and does all of its work or raises Refusal.

    ``now``: venue ms UTC of the work being done; ``height``: the block its changes belong to (0: not a ledger venue).
    ``touching`` is told of each client order just before it changes; ``ended`` of each that just finished.
    """

    def __init__(
        self,
        settings: Settings,
        markets: dict[str, Market],
        touching: Callable[[Order, bool], None],
        ended: Callable[[Order], None],
    ) -> None:
        self.settings, self.markets = settings, markets
        self.books = {symbol: Book() for symbol in markets}
        self.closed: set[str] = set()
        self.accounts: dict[str, Account] = {}
        self.orders: dict[int, Order] = {}
        self.ledger = Ledger()
        self.fees = self.accounts[FEES] = Account(FEES, b"", house=True)
        self.now = self.height = 0
        self._touching, self._ended = touching, ended
        self._next_id = 1
        self._waking: deque[Order] = deque()

    # orders -----------------------------------------------------------------------------------------------------

    def place(
        self,
        account: Account,
        market: Market,
        terms: Terms,
        client: str | None,
        applied: str | None,
        *,
        cause: str = "",
    ) -> Order:
        """Match a new order and let it rest if it may. ``cause``: why the venue itself makes it.

        Refusal: MARKET_CLOSED, WOULD_CROSS, INSUFFICIENT_FUNDS."""
        order = self.draft(account, market, terms, client, applied)
        order.cause = cause
        self.match(order, lambda: self.enter(order))
        self.wake()
        return order

    def match(self, order: Order, opened: Callable[[], None]) -> None:
        """Trade what can be traded, and rest or end. ``opened`` is called once nothing can refuse it any more."""
        market = order.market
        if market.symbol in self.closed:
            raise Refusal(Code.MARKET_CLOSED, f"{market.symbol} takes no orders now")
        plan = self.books[market.symbol].plan(order, order.amount, order.guard if order.limit is None else order.limit)
        if order.post_only and (plan.matches or plan.stop in ("SELF", "DUST")):
            raise Refusal(Code.WOULD_CROSS, "a post-only order would trade at once")
        killed = order.tif == "FOK" and not _fills_whole(plan)
        matches = [] if killed else plan.matches
        rests = order.limit is not None and order.tif in RESTING and plan.stop in ("EMPTY", "PRICE")
        self._check_funds(order, matches, rests=rests, held=ZERO)
        opened()
        for match in matches:
            self._trade(order, match)
        self._settle(order, plan.stop, rests=rests, killed=killed)

    def reject(self, account: Account, market: Market, terms: Terms | None, client: str | None, code: str) -> Order:
        """Record an order that failed for good, so that whoever looks for it finds its end."""
        terms = terms or Terms(BUY, ZERO, False, None, None, "GTC", None, False, None)
        order = self.draft(account, market, terms, client, client)
        self.enter(order)
        self._finish(order, REJECTED, code)
        return order

    def amend(self, order: Order, total: Decimal, limit: Decimal | None, applied: str | None) -> None:
        """Give a working order a new total and price. Less at the same price keeps its place in the queue.

        Refusal: AMEND_OFF, AMEND_NOT_DOWN, AMEND_BELOW_FILLED, filters, WOULD_CROSS, INSUFFICIENT_FUNDS; all leave it
        as it was.
        """
        market, mode = order.market, self.settings.amend
        if order.status == DORMANT:
            raise Refusal(Code.AMEND_OFF, "a leg that still waits for another is not amended")
        if mode == "off":
            raise Refusal(Code.AMEND_OFF, "this exchange does not amend orders")
        moves = limit != order.limit
        if mode == "down" and (moves or total > order.amount):
            raise Refusal(Code.AMEND_NOT_DOWN, "only the quantity may change, and only downwards")
        if order.due or total <= order.amount - order.left:
            raise Refusal(Code.AMEND_BELOW_FILLED, "the new total is not above what is filled: cancel instead")
        check_amount(market, total, limit, in_quote=order.in_quote)
        if market.symbol in self.closed:
            raise Refusal(Code.MARKET_CLOSED, f"{market.symbol} takes no orders now")
        changed = self._with(order, total, limit)
        if not moves and total <= order.amount and changed.room(order.limit or ZERO):
            self.touch(order)
            order.amount, order.applied = total, applied
            if order.visible is not None and order.limit is not None:
                order.visible = min(order.visible, order.room(order.limit))
            self._hold(order)
            self.ledger.amended(self.now, order)
            return
        book = self.books[market.symbol]
        plan = book.plan(changed, changed.left, limit)
        if order.post_only and (plan.matches or plan.stop in ("SELF", "DUST")):
            raise Refusal(Code.WOULD_CROSS, "the amended post-only order would trade at once")
        rests = plan.stop in ("EMPTY", "PRICE")
        self._check_funds(changed, plan.matches, rests=rests, held=order.held)
        self.touch(order)
        book.side_of(order).remove(order)
        order.account.hold(order, self.pays(order), ZERO)
        order.amount, order.limit, order.applied = total, limit, applied
        self.ledger.amended(self.now, order)
        for match in plan.matches:
            self._trade(order, match)
        self._settle(order, plan.stop, rests=rests, killed=False)
        self.wake()

    def end(self, order: Order, status: str, why: str) -> None:
        """Take an open order off the book: CANCELED or EXPIRED. Of a group the other legs go with it."""
        self.touch(order)
        if order.status == WORKING and not order.due:
            self.books[order.market.symbol].side_of(order).remove(order)
        self._finish(order, status, why)

    def settle(self, order: Order, applied: str | None) -> None:
        """End an order that has executed in full, and waits for this. Refusal: UNKNOWN_ORDER."""
        if not order.due:
            raise Refusal(Code.UNKNOWN_ORDER, "there is nothing to settle")
        self.touch(order)
        order.applied = applied
        self._finish(order, FILLED)

    def cancel_all(self, account: Account, symbol: str | None) -> list[Order]:
        """Cancel every working order of the account (in one market)."""
        mine = [order for order in account.open.values() if symbol in (None, order.market.symbol)]
        for order in mine:
            if not order.finished:  # another leg of its group may have taken it along
                self.end(order, CANCELED, Why.USER)
        return mine

    # groups -----------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Let legs rest that waited for one that is now wholly filled. Only between two matchings: it trades itself."""
        while self._waking:
            order = self._waking.popleft()
            if order.status != DORMANT:
                continue
            self.touch(order)
            order.status = WORKING
            self.ledger.woken(self.now, order)
            try:
                self.match(order, lambda: None)
            except Refusal as refusal:
                self._finish(order, REJECTED, refusal.code)

    def _end_others(self, doomed: Sequence[Order]) -> None:
        for other in doomed:
            if not other.finished:
                self.end(other, CANCELED, Why.GROUP)

    # one order's way through ------------------------------------------------------------------------------------

    def draft(self, account: Account, market: Market, terms: Terms, client: str | None, applied: str | None) -> Order:
        """An order as asked for, not entered yet."""
        return Order(
            self._next_id,
            account,
            client,
            market,
            terms.side,
            terms.amount,
            now=self.now,
            in_quote=terms.in_quote,
            limit=terms.limit,
            guard=terms.guard,
            tif=terms.tif,
            until=terms.until,
            post_only=terms.post_only,
            display=terms.display,
            applied=applied,
        )

    def _with(self, order: Order, total: Decimal, limit: Decimal | None) -> Order:
        """What ``order`` would be with another total and price: same account and fills, on no book."""
        twin = Order(order.id, order.account, order.client, order.market, order.side, total, now=self.now)
        twin.in_quote, twin.limit, twin.filled, twin.spent = order.in_quote, limit, order.filled, order.spent
        return twin

    def enter(self, order: Order) -> None:
        """Take an order in: from here on it exists."""
        self._next_id = max(self._next_id, order.id) + 1
        self.orders[order.id] = order
        account = order.account
        account.open[order.id] = order
        if order.client is not None:
            account.by_client[order.client] = (*account.by_client.get(order.client, ()), order)
        if not account.house:
            self._touching(order, True)
            order.height = self.height
            self.ledger.created(self.now, order)

    def _settle(self, order: Order, stop: str, *, rests: bool, killed: bool) -> None:
        """After the matching: rest, or end for the reason the matching stopped."""
        if killed:
            self._finish(order, EXPIRED, Why.SELF_TRADE if stop == "SELF" else Why.FOK)
        elif stop == "FULL" or (stop == "DUST" and order.filled):
            self._finish(order, FILLED)
        elif not rests:
            self._finish(order, EXPIRED, Why.SELF_TRADE if stop == "SELF" else Why.NO_LIQUIDITY)
        elif order.limit is not None and not order.room(order.limit):
            self._finish(order, FILLED if order.filled else EXPIRED, Why.NONE if order.filled else Why.NO_LIQUIDITY)
        else:
            order.show()
            self.books[order.market.symbol].side_of(order).add(order)
            self._hold(order)

    def _finish(self, order: Order, status: str, why: str = Why.NONE) -> None:
        account = order.account
        order.finish(status, why)
        if order.held:
            account.hold(order, self.pays(order), ZERO)
        del account.open[order.id]
        if account.house:
            del self.orders[order.id]
            return
        account.past.append((self.now, order, None))
        self.ledger.finished(self.now, order)
        self._ended(order)
        if order.group is not None:
            self._end_others(order.group.doomed(order))
            if order.status == FILLED:
                self._waking.extend(order.group.waiting_for(order))

    def touch(self, order: Order) -> None:
        """An order of a client is about to change."""
        if order.account.house:
            return
        self._touching(order, False)
        order.updated, order.height = self.now, self.height
        order.version += 1

    # money ------------------------------------------------------------------------------------------------------

    def _trade(self, taker: Order, match: Match) -> None:
        maker, base, price = match.maker, match.base, match.price
        market = taker.market
        book = self.books[market.symbol]
        book.trade_count += 1
        book.last = price
        quote = base * price
        maker_fee = self.fee_of(maker, base, quote, self.settings.maker_fee)
        taker_fee = self.fee_of(taker, base, quote, self.settings.taker_fee)
        number, at, height = book.trade_count, self.now, self.height
        trade = Trade(number, market.symbol, price, base, quote, at, height, maker.id, taker.id, maker_fee, taker_fee)
        self._pay(maker, trade, maker_fee)
        self._pay(taker, trade, taker_fee)
        self._after_maker(maker, base)
        for order in (maker, taker):
            if order.group is not None:
                self._end_others(order.group.rivals(order))

    def _pay(self, order: Order, trade: Trade, fee: tuple[str, Decimal]) -> None:
        account, market = order.account, order.market
        first = not order.filled
        if not account.house:
            self.touch(order)
            order.trades.append(trade)
            account.past.append((self.now, order, trade))
            self.ledger.traded(self.now, order, trade)
        order.filled = trade.base if first else order.filled + trade.base
        order.spent = trade.quote if first else order.spent + trade.quote
        base, quote = account.balance(market.base), account.balance(market.quote)
        if order.side == BUY:
            base.free += trade.base
            quote.free -= trade.quote
        else:
            base.free -= trade.base
            quote.free += trade.quote
        account.changed.update((market.base, market.quote))
        asset, amount = fee
        if amount:
            account.add(asset, -amount)
            self.fees.add(asset, amount)

    def _after_maker(self, maker: Order, base: Decimal) -> None:
        assert maker.limit is not None
        ladder = self.books[maker.market.symbol].side_of(maker)
        if not maker.room(maker.limit):
            ladder.remove(maker)
            if self.settings.settle == "on" and not maker.account.house:
                maker.due = True
                self._hold(maker)
                return
            self._finish(maker, FILLED)
            return
        self._hold(maker)
        if maker.visible is not None:
            maker.visible -= base
            if not maker.visible:  # the next slice queues up behind everybody at this price
                ladder.remove(maker)
                maker.show()
                ladder.add(maker)

    def fee_of(self, order: Order, base: Decimal, quote: Decimal, rate: Decimal) -> tuple[str, Decimal]:
        """The asset and the amount of a fee."""
        if order.account.house:
            return _NO_FEE
        asset = self._fee_asset(order)
        return asset, (base if asset == order.market.base else quote) * rate

    def _fee_asset(self, order: Order) -> str:
        market, chosen = order.market, self.settings.fee_in
        in_base = chosen == "base" or (chosen == "received" and order.side == BUY)
        return market.base if in_base else market.quote

    def pays(self, order: Order) -> str:
        """The asset an order pays."""
        return order.market.quote if order.side == BUY else order.market.base

    def _cost(self, order: Order, base: Decimal, quote: Decimal, rate: Decimal) -> Decimal:
        """What trading ``base`` for ``quote`` takes of the asset the order pays, a fee in that asset included."""
        paid = quote if order.side == BUY else base
        return paid + paid * rate if self._fee_asset(order) == self.pays(order) else paid

    def _hold(self, order: Order) -> None:
        if not order.account.house:
            order.account.hold(order, self.pays(order), self.needed(order, order.left))

    def needed(self, order: Order, left: Decimal) -> Decimal:
        """What an order that rests with ``left`` must hold; enough for whichever of the two fees is higher."""
        assert order.limit is not None
        base = order.room(order.limit, left)
        return self._cost(order, base, base * order.limit, max(self.settings.maker_fee, self.settings.taker_fee))

    def _check_funds(self, order: Order, matches: list[Match], *, rests: bool, held: Decimal) -> None:
        if order.account.house:
            return
        base = quote = ZERO
        for match in matches:
            base += match.base
            quote += match.base * match.price
        needed = self._cost(order, base, quote, self.settings.taker_fee)
        if rests:
            needed += self.needed(order, order.left - (quote if order.in_quote else base))
        asset = self.pays(order)
        free = order.account.balance(asset).free + held
        if needed > free:
            raise Refusal(Code.INSUFFICIENT_FUNDS, f"needs {needed} {asset}, free are {free}")


def _fills_whole(plan: Plan) -> bool:
    return plan.stop == "FULL" or (plan.stop == "DUST" and bool(plan.matches))
