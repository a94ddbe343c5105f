"""New orders: checked, held, executed; stops that start to work; trades settled."""

from __future__ import annotations

from decimal import Decimal
from functools import partial

from exchange_kernel_binance.simulator.accounts import Lock
from exchange_kernel_binance.simulator.book import crosses, opposite
from exchange_kernel_binance.simulator.errors import (
    DUPLICATE,
    INSUFFICIENT_BALANCE,
    MARKET_CLOSED,
    WOULD_MATCH,
    WOULD_TRIGGER,
    rejected,
)
from exchange_kernel_binance.simulator.matching import Fill, Prevented, affordable, available, cost, match
from exchange_kernel_binance.simulator.numbers import ZERO, down, ratio, times, up
from exchange_kernel_binance.simulator.spot.orders import (
    STOP_MARKETS,
    STOPS,
    Order,
    OrderRequest,
    PreventedMatch,
    Trade,
)
from exchange_kernel_binance.simulator.spot.rules import composed, filtered
from exchange_kernel_binance.simulator.spot.state import PublicTrade, SpotState
from exchange_kernel_binance.simulator.spot.symbols import SpotSymbol
from exchange_kernel_binance.simulator.spot.triggers import follows, reached


class Trading:
    """The way of an order from the request to its last fill."""

    def __init__(self, state: SpotState) -> None:
        self.state = state

    def check(self, account: str, request: OrderRequest, *, adding: int = 1) -> SpotSymbol:
        """What the API refuses before the matching engine sees it; `adding` orders are about to come."""
        state = self.state
        symbol = state.symbol(request.symbol)
        composed(request)
        orders = state.open_orders(account, request.symbol).values()
        filtered(
            request,
            symbol,
            average=state.average(request.symbol),
            open_orders=len(orders) + adding - 1,
            open_algo_orders=sum(order.type in STOPS for order in orders),
        )
        return symbol

    def place(self, account: str, request: OrderRequest) -> Order:
        """A new order on its own. :raises ApiError: where Binance refuses it."""
        symbol = self.check(account, request)
        self.refuse(account, request, symbol)
        order = self.make(account, request)
        self.fund(order, self._needed(order))
        self.state.admit(order)
        self.accept(order)
        self.state.work_off()
        return order

    def refuse(self, account: str, request: OrderRequest, symbol: SpotSymbol) -> None:
        """What the matching engine refuses (-2010), funds apart."""
        state = self.state
        if symbol.status != "TRADING":
            raise rejected(MARKET_CLOSED)
        if request.client_id is not None and state.is_used(account, symbol.symbol, request.client_id):
            raise rejected(DUPLICATE)
        self.refuse_price(request)

    def refuse_price(self, request: OrderRequest) -> None:
        """A maker that would take, a stop that would start at once."""
        book, last = self.state.books[request.symbol], self.state.last[request.symbol]
        if request.type == "LIMIT_MAKER" and request.price is not None:
            best = book.best(opposite(request.side))
            if best is not None and crosses(request.side, request.price, best.price):
                raise rejected(WOULD_MATCH)
        if request.stop_price is not None and reached(request.side, request.type, request.stop_price, last):
            raise rejected(WOULD_TRIGGER)
        if request.quote_quantity is not None and book.best(opposite(request.side)) is None:
            raise rejected("Order book liquidity is less than symbol minimum quantity.")

    def make(self, account: str, request: OrderRequest) -> Order:
        """The order, not yet known to anybody."""
        state = self.state
        symbol = state.symbol(request.symbol)
        now = state.clock.now()
        quantity = request.quantity or ZERO
        if request.quote_quantity is not None:
            quantity = affordable(state.books[symbol.symbol], request.side, request.quote_quantity, symbol.step)
            if quantity < symbol.min_qty:
                raise rejected("Order book liquidity is less than `LOT_SIZE` filter minimum quantity.")
        return Order(
            order_id=state.next_order_id(),
            account=account,
            symbol=symbol.symbol,
            side=request.side,
            price=request.price or ZERO,
            quantity=quantity,
            iceberg=request.iceberg or ZERO,
            stp=request.stp or symbol.default_stp,
            type=request.type,
            time_in_force=request.time_in_force or "GTC",
            client_id=request.client_id or state.ids.client_id(),
            created=now,
            updated=now,
            lock=Lock(symbol.base if request.side == "SELL" else symbol.quote),
            quote_quantity=request.quote_quantity or ZERO,
            stop_price=request.stop_price,
            trailing_delta=request.trailing_delta,
            strategy_id=request.strategy_id,
            strategy_type=request.strategy_type,
        )

    def _needed(self, order: Order) -> Decimal:
        """What must be free to place the order, in the asset it pays with."""
        if order.type == "MARKET":
            quote, base = cost(self.state.books[order.symbol], order.side, order.remaining)
            return up(quote) if order.side == "BUY" else base
        return self.held(order)

    def held(self, order: Order) -> Decimal:
        """What the open order locks."""
        if not order.is_open:
            return ZERO
        if order.side == "SELL":
            return order.remaining
        price = order.price
        if order.type in STOP_MARKETS:
            price = order.stop_price or self.state.last[order.symbol]
        return up(times(price, order.remaining))

    def fund(self, order: Order, needed: Decimal) -> None:
        """:raises ApiError: -2010, insufficient balance."""
        if not self.state.accounts[order.account].can_pay(order.lock.asset, needed - order.lock.amount):
            raise rejected(INSUFFICIENT_BALANCE)

    def accept(self, order: Order) -> None:
        """Tell NEW and let the order work, or wait for its trigger."""
        if order.type != "MARKET":
            self.state.accounts[order.account].set_lock(order.lock, self.held(order))
        if order.is_stop:
            self.wait(order)
            self.state.report(order, "NEW")
            return
        self._works(order)
        self.state.report(order, "NEW")
        self._execute(order)

    def wait(self, order: Order) -> None:
        """A stop waits; a trailing one without a stop price follows the market from now."""
        self.state.stops[order.symbol][order.order_id] = order
        if order.trailing_delta is not None and order.stop_price is None:
            order.extreme, order.trailing_time = self.state.last[order.symbol], self.state.clock.now()

    def _works(self, order: Order) -> None:
        order.working, order.working_time = True, self.state.clock.now()

    def start(self, order: Order) -> None:
        """The stop's price has come."""
        if not order.is_open or order.working:
            return
        state = self.state
        state.stops[order.symbol].pop(order.order_id, None)
        self.leg_started(order)
        if order.type in STOP_MARKETS:
            state.accounts[order.account].set_lock(order.lock, ZERO)
            quote, base = cost(state.books[order.symbol], order.side, order.remaining)
            needed = up(quote) if order.side == "BUY" else base
            if not state.accounts[order.account].can_pay(order.lock.asset, needed):
                self.expire(order, "REJECTED")
                return
        self._works(order)
        state.report(order, "NEW")
        self._execute(order)

    def leg_started(self, order: Order) -> None:
        """Overridden by the order lists: a leg that starts to work ends its sibling."""

    def order_changed(self, order: Order) -> None:
        """Overridden by the order lists: an order has traded or ended."""

    def _execute(self, order: Order) -> None:
        state = self.state
        book = state.books[order.symbol]
        if order.time_in_force == "FOK" and available(book, order, order.limit) < order.remaining:
            self.expire(order, "UNFILLED_FOK_ORDER_EXPIRED")
            return
        for prevented in match(book, order, order.limit, settled=partial(self._settle, now=state.clock.now())):
            self._prevented(prevented)
        if not order.is_open:
            return
        if order.limit is None:
            self.expire(order, "INSUFFICIENT_LIQUIDITY")
        elif order.time_in_force == "IOC":
            self.expire(order, "UNFILLED_IOC_QUANTITY_EXPIRED")
        else:
            book.add(order)

    def expire(self, order: Order, reason: str, status: str = "EXPIRED") -> None:
        """End the order by the exchange's rules."""
        order.status, order.reason = status, reason
        self.state.ended(order)
        self.state.accounts[order.account].set_lock(order.lock, ZERO)
        self.state.report(order, "EXPIRED")
        self.order_changed(order)

    def _prevented(self, event: Prevented) -> None:
        state = self.state
        taker, maker = event.taker, event.maker
        assert isinstance(taker, Order)
        assert isinstance(maker, Order)
        record = PreventedMatch(
            len(state.prevented) + 1,
            taker.account,
            taker.symbol,
            taker.order_id,
            maker.order_id,
            event.mode,
            event.price,
            event.taker_quantity,
            event.maker_quantity,
            state.clock.now(),
        )
        state.prevented.append(record)
        for order, part in ((maker, event.maker_quantity), (taker, event.taker_quantity)):
            if not part:
                continue
            order.prevented_match = record.match_id
            if order.remaining <= 0:
                order.status = "EXPIRED_IN_MATCH"
                state.ended(order)
            if order.type != "MARKET":
                state.accounts[order.account].set_lock(order.lock, self.held(order))
            state.report(order, "TRADE_PREVENTION", match=record)
            if not order.is_open:
                self.order_changed(order)

    def _settle(self, fill: Fill, now: int) -> None:
        """``now``: of the whole order's matching, which is one moment of the engine."""
        state = self.state
        state.trade_id += 1
        taker, maker = fill.taker, fill.maker
        assert isinstance(taker, Order)
        assert isinstance(maker, Order)
        quote = down(times(fill.price, fill.quantity))
        symbol = state.symbols[taker.symbol]
        for order, is_maker in ((maker, True), (taker, False)):
            first = order.executed == fill.quantity
            trade = self._pay(order, fill, quote, symbol, is_maker, now)
            order.fills.append(trade)
            state.trades.append(trade)
            order.quote_executed += quote
            order.status = "FILLED" if order.remaining <= 0 else "PARTIALLY_FILLED"
            if order.status == "FILLED":
                state.ended(order)
            if order.lock.amount:
                state.accounts[order.account].set_lock(order.lock, self.held(order))
            if first:
                state.first_fill(order.account, is_maker)
            state.report(order, "TRADE", trade=trade)
            self.order_changed(order)
        public = PublicTrade(state.trade_id, symbol.symbol, fill.price, fill.quantity, now, maker.side == "BUY")
        state.tape[symbol.symbol].append(public)
        self.price_moved(symbol.symbol, fill.price)
        for listener in tuple(state.market_listeners):
            listener(public)

    def price_moved(self, symbol: str, price: Decimal) -> None:
        """A trade price: stops that it reaches start once the running order is done."""
        state = self.state
        state.last[symbol] = price
        for order in tuple(state.stops[symbol].values()):
            if follows(order, price, state.clock.now()):
                state.todo.append(partial(self.start, order))

    def _pay(self, order: Order, fill: Fill, quote: Decimal, symbol: SpotSymbol, is_maker: bool, now: int) -> Trade:
        account = self.state.accounts[order.account]
        if order.side == "BUY":
            account.pay(symbol.quote, quote, order.lock)
            received, asset = fill.quantity, symbol.base
        else:
            account.pay(symbol.base, fill.quantity, order.lock)
            received, asset = quote, symbol.quote
        account.credit(asset, received)
        rate = account.rates.maker if is_maker else account.rates.taker
        commission, paid_in = self._commission(order.account, asset, received, rate)
        account.pay(paid_in, commission, None)
        return Trade(
            self.state.trade_id,
            order.account,
            symbol.symbol,
            order.order_id,
            order.list_id,
            order.side,
            fill.price,
            fill.quantity,
            quote,
            commission,
            paid_in,
            now,
            is_maker,
        )

    def _commission(self, account: str, asset: str, received: Decimal, rate: Decimal) -> tuple[Decimal, str]:
        """(amount, asset): in BNB where the account wants it and has it (faqs/commission_faq.md)."""
        wallet = self.state.accounts[account]
        commission = down(times(received, rate))
        if not wallet.pays_in_bnb or asset == "BNB":
            return commission, asset
        price = self._bnb_price(asset)
        if price is None:
            return commission, asset
        in_bnb = down(times(ratio(times(received, rate), price), wallet.discount))
        if wallet.free("BNB") < in_bnb:
            return commission, asset
        return in_bnb, "BNB"

    def _bnb_price(self, asset: str) -> Decimal | None:
        """What one BNB costs in the asset, by the last price of a symbol of the two or over a common quote."""
        last = self.state.last
        if f"BNB{asset}" in last:
            return last[f"BNB{asset}"]
        for symbol in self.state.symbols.values():
            if symbol.base == asset and f"BNB{symbol.quote}" in last:
                return ratio(last[f"BNB{symbol.quote}"], last[symbol.symbol])
        return None
