"""Plain futures orders: checked against filters and margin, matched, settled into positions."""

from __future__ import annotations

from decimal import Decimal

from exchange_kernel_binance.simulator.book import crosses, opposite
from exchange_kernel_binance.simulator.errors import ApiError, missing, not_cancelled
from exchange_kernel_binance.simulator.futures.contracts import Contract
from exchange_kernel_binance.simulator.futures.orders import (
    FuturesAccount,
    FuturesOrder,
    FuturesRequest,
    FuturesTrade,
    Modification,
    Position,
)
from exchange_kernel_binance.simulator.futures.state import FuturesState
from exchange_kernel_binance.simulator.matching import Fill, Prevented, available, cost, match
from exchange_kernel_binance.simulator.numbers import ZERO, down, is_multiple, ratio, times
from exchange_kernel_binance.simulator.spot.state import PublicTrade

POST_ONLY = (
    "Due to the order could not be executed as maker, the Post Only order will be rejected. The order will not be "
    "recorded in the order history"
)


class FuturesTrading:
    """The way of a plain order from the request to its last fill."""

    def __init__(self, state: FuturesState) -> None:
        self.state = state

    def place(self, account: str, request: FuturesRequest, *, algo_id: int = 0) -> FuturesOrder:
        """A new order. :raises ApiError: where Binance refuses it."""
        state = self.state
        contract = state.contract(request.symbol)
        self.check(account, request, contract)
        order = self._make(account, request)
        order.algo_id = algo_id
        self._afford(state.accounts[account], order, contract)
        state.admit(order)
        state.report(order, "NEW")
        self.execute(order)
        state.work_off()
        return order

    def check(self, account: str, request: FuturesRequest, contract: Contract) -> None:
        """Parameters, filters and the account's settings."""
        state, owner = self.state, self.state.accounts[account]
        if request.quantity is None:
            raise missing("quantity")
        if request.type == "LIMIT" and request.price is None:
            raise missing("price")
        if request.type == "LIMIT" and request.time_in_force is None:
            raise missing("timeInForce")
        if request.type == "MARKET" and (request.price is not None or request.time_in_force is not None):
            name = "price" if request.price is not None else "timeInForce"
            raise ApiError(-1106, f"Parameter '{name}' sent when not required.")
        if request.time_in_force == "GTD" and request.good_till <= state.clock.now() + 600_000:
            raise ApiError(-1130, "Data sent for parameter 'goodTillDate' is not valid.")
        if owner.hedge is (request.position_side == "BOTH"):
            raise ApiError(-4061, "Order's position side does not match user's setting.")
        if owner.hedge and request.reduce_only:
            raise ApiError(-1106, "Parameter 'reduceonly' sent when not required.")
        if contract.status != "TRADING":
            raise ApiError(-4141, "Symbol is closed.")
        self.filtered(request, contract)
        if request.client_id is not None and any(
            order.client_id == request.client_id for order in state.open_orders(account)
        ):
            raise ApiError(-4116, "ClientOrderId is duplicated.")
        if len(state.open_orders(account, contract.symbol)) >= contract.max_orders:
            raise ApiError(-2025, "Reach max open order limit.")
        if request.reduce_only and not state.reduces(owner, contract.symbol, request.side, request.position_side):
            raise ApiError(-2022, "ReduceOnly Order is rejected.")
        best = state.books[contract.symbol].best(opposite(request.side))
        if request.time_in_force == "GTX" and best is not None and crosses(request.side, request.price, best.price):
            raise ApiError(-5022, POST_ONLY)

    def filtered(self, request: FuturesRequest, contract: Contract) -> None:
        """:raises ApiError: where a filter of the contract refuses the price or the quantity."""
        quantity, price = request.quantity or ZERO, request.price
        if quantity <= 0:
            raise ApiError(-4003, "Quantity less than or equal to zero.")
        if not is_multiple(quantity, contract.step):
            raise ApiError(-1111, "Precision is over the maximum defined for this asset.")
        if quantity < contract.min_qty:
            raise ApiError(-4004, "Quantity less than min quantity.")
        limit = contract.market_max_qty if request.type == "MARKET" else contract.max_qty
        if quantity > limit:
            raise ApiError(-4005, "Quantity greater than max quantity.")
        mark = self.state.mark[contract.symbol]
        if price is not None:
            if price <= 0:
                raise ApiError(-4001, "Price less than 0.")
            if not is_multiple(price, contract.tick):
                raise ApiError(-4014, "Price not increased by tick size.")
            if price > contract.max_price:
                raise ApiError(-4002, "Price greater than max price.")
            if price < contract.min_price:
                raise ApiError(-4013, "Price less than min price.")
            cap, floor = times(mark, contract.multiplier_up), times(mark, contract.multiplier_down)
            if request.side == "BUY" and price > cap:
                raise ApiError(-4016, f"Limit price can't be higher than {contract.price(cap)}.")
            if request.side == "SELL" and price < floor:
                raise ApiError(-4024, f"Limit price can't be lower than {contract.price(floor)}.")
        if not request.reduce_only and times(price or mark, quantity) < contract.min_notional:
            raise ApiError(
                -4164,
                f"Order's notional must be no smaller than {contract.min_notional} (unless you choose reduce only).",
            )

    def _make(self, account: str, request: FuturesRequest) -> FuturesOrder:
        state, now = self.state, self.state.clock.now()
        state.order_id += 1
        return FuturesOrder(
            order_id=state.order_id,
            account=account,
            symbol=request.symbol,
            side=request.side,
            price=request.price or ZERO,
            quantity=request.quantity or ZERO,
            stp=request.stp,
            type=request.type,
            time_in_force=request.time_in_force or "GTC",
            client_id=request.client_id or state.ids.client_id(),
            created=now,
            updated=now,
            position_side=request.position_side,
            reduce_only=request.reduce_only,
            close_position=request.close_position,
            good_till=request.good_till,
        )

    def _afford(self, owner: FuturesAccount, order: FuturesOrder, contract: Contract) -> None:
        state = self.state
        if owner.unlimited:
            return
        amount = abs(owner.position(order.symbol, order.position_side).amount)
        if state.reduces(owner, order.symbol, order.side, order.position_side):
            if owner.hedge and order.remaining > amount:
                raise ApiError(-2022, "ReduceOnly Order is rejected.")
            adding = max(ZERO, order.remaining - amount)
        elif owner.hedge and (order.position_side == "LONG") is (order.side == "SELL"):
            raise ApiError(-2022, "ReduceOnly Order is rejected.")
        else:
            adding = order.remaining
        price = order.price
        if order.type == "MARKET":
            quote, base = cost(state.books[order.symbol], order.side, order.remaining)
            price = ratio(quote, base) if base else state.mark[order.symbol]
        needed = ratio(times(adding, price), Decimal(owner.setting(order.symbol).leverage))
        if order.reduce_only:
            needed = ZERO
        if needed > state.available(owner):
            raise ApiError(-2019, "Margin is insufficient.")

    def _afford_change(self, order: FuturesOrder, price: Decimal, quantity: Decimal) -> None:
        owner = self.state.accounts[order.account]
        if owner.unlimited or order.reduce_only:
            return
        if self.state.reduces(owner, order.symbol, order.side, order.position_side):
            return
        more = times(price, quantity - order.executed) - times(order.price, order.remaining)
        if ratio(more, Decimal(owner.setting(order.symbol).leverage)) > self.state.available(owner):
            raise ApiError(-2019, "Margin is insufficient.")

    def execute(self, order: FuturesOrder) -> None:
        """Match the order, and let the rest of it rest or expire."""
        state, book = self.state, self.state.books[order.symbol]
        limit = None if order.type in ("MARKET", "LIQUIDATION") else order.price
        if order.reduce_only:
            self._cut(order)
        if order.time_in_force == "FOK" and available(book, order, limit) < order.remaining:
            self.end(order, "EXPIRED")
            return
        for prevented in match(book, order, limit, settled=self._settle):
            self._prevented(prevented)
        if not order.is_open:
            return
        if limit is None or order.time_in_force in ("IOC", "FOK"):
            self.end(order, "EXPIRED")
        elif order.remaining > 0:
            book.add(order)
        state.work_off()

    def _cut(self, order: FuturesOrder) -> None:
        """A reduce-only order is never larger than the position."""
        owner = self.state.accounts[order.account]
        amount = abs(owner.position(order.symbol, order.position_side).amount)
        order.quantity = min(order.quantity, order.executed + amount)

    def end(self, order: FuturesOrder, status: str) -> None:
        """Off the book; told as CANCELED or EXPIRED."""
        order.status = status
        self.state.books[order.symbol].remove(order)
        self.state.report(order, "CANCELED" if status == "CANCELED" else "EXPIRED")

    def _prevented(self, event: Prevented) -> None:
        for order, part in ((event.maker, event.maker_quantity), (event.taker, event.taker_quantity)):
            assert isinstance(order, FuturesOrder)
            if part and order.remaining <= 0:
                order.status = "EXPIRED_IN_MATCH"
                self.state.report(order, "TRADE_PREVENTION")

    def _settle(self, fill: Fill) -> None:
        state = self.state
        state.trade_id += 1
        taker, maker = fill.taker, fill.maker
        assert isinstance(taker, FuturesOrder)
        assert isinstance(maker, FuturesOrder)
        for order, is_maker in ((maker, True), (taker, False)):
            first = order.executed == fill.quantity
            self.apply(order, fill.price, fill.quantity, is_maker)
            if first and state.first_fill is not None:
                state.first_fill(order.account, is_maker)
        now = state.clock.now()
        state.tape[taker.symbol].append(
            PublicTrade(state.trade_id, taker.symbol, fill.price, fill.quantity, now, maker.side == "BUY")
        )
        state.last[taker.symbol] = fill.price
        if taker.symbol not in state.pinned:
            state.mark[taker.symbol] = fill.price
        state.todo.append(lambda: self.price_moved(taker.symbol))

    def apply(self, order: FuturesOrder, price: Decimal, quantity: Decimal, is_maker: bool) -> None:
        """Book one side of a trade: position, profit, commission, events."""
        state, owner = self.state, self.state.accounts[order.account]
        position = owner.position(order.symbol, order.position_side)
        quote = times(price, quantity)
        commission = down(times(quote, owner.maker_rate if is_maker else owner.taker_rate))
        signed = quantity if order.side == "BUY" else -quantity
        realized = self._move(owner, position, signed, price)
        position.fees += commission
        position.realized += realized
        position.updated = state.clock.now()
        owner.wallet += realized - commission
        order.quote_executed += quote
        order.status = "FILLED" if order.remaining <= 0 else "PARTIALLY_FILLED"
        trade = FuturesTrade(
            state.trade_id,
            order.account,
            order.symbol,
            order.order_id,
            order.side,
            order.position_side,
            price,
            quantity,
            quote,
            commission,
            realized,
            state.clock.now(),
            is_maker,
        )
        state.trades.append(trade)
        state.report_account(owner, "ORDER", [position])
        state.report(order, "CALCULATED" if order.liquidation else "TRADE", trade)
        if not position.amount:
            position.fees = ZERO
            state.todo.append(lambda: self.position_closed(owner, order.symbol, order.position_side))

    def _move(self, owner: FuturesAccount, position: Position, signed: Decimal, price: Decimal) -> Decimal:
        """Change the position; returns the realized profit."""
        before, isolated = position.amount, owner.setting(position.symbol).isolated
        leverage = Decimal(owner.setting(position.symbol).leverage)
        after = before + signed
        realized = ZERO
        if before == 0 or (before > 0) is (signed > 0):
            total = times(abs(before), position.entry) + times(abs(signed), price)
            position.entry = ratio(total, abs(after))
            if isolated:
                position.margin += down(ratio(times(abs(signed), price), leverage))
        else:
            closing = min(abs(before), abs(signed))
            direction = 1 if before > 0 else -1
            realized = down(times(closing, price - position.entry) * direction)
            position.margin = down(ratio(times(position.margin, abs(before) - closing), abs(before)))
            if abs(signed) > abs(before):
                position.entry = price
                position.margin = down(ratio(times(abs(after), price), leverage)) if isolated else ZERO
            elif after == 0:
                position.entry = ZERO
        position.amount = after
        return realized

    def position_closed(self, owner: FuturesAccount, symbol: str, side: str) -> None:
        """Reduce-only orders without a position expire."""
        if owner.position(symbol, side).amount:
            return
        for order in self.state.open_orders(owner.name, symbol):
            if order.reduce_only and order.position_side == side:
                self.end(order, "EXPIRED")

    def price_moved(self, symbol: str) -> None:
        """Overridden by what watches prices: conditional orders and liquidation."""

    def find(self, account: str, symbol: str, order_id: int | None, client_id: str | None) -> FuturesOrder | None:
        """The newest order with this id."""
        self.state.contract(symbol)
        if order_id is not None:
            found = self.state.orders.get(order_id)
            return found if found is not None and (found.account, found.symbol) == (account, symbol) else None
        for order in reversed(self.state.orders.values()):
            if (order.account, order.symbol, order.client_id) == (account, symbol, client_id):
                return order
        return None

    def cancel(self, account: str, symbol: str, order_id: int | None, client_id: str | None) -> FuturesOrder:
        """:raises ApiError: -2011."""
        order = self.find(account, symbol, order_id, client_id)
        if order is None or not order.is_open:
            raise not_cancelled()
        self.end(order, "CANCELED")
        return order

    def cancel_all(self, account: str, symbol: str) -> None:
        self.state.contract(symbol)
        for order in self.state.open_orders(account, symbol):
            self.end(order, "CANCELED")

    def modify(
        self,
        account: str,
        symbol: str,
        order_id: int | None,
        client_id: str | None,
        side: str,
        quantity: Decimal,
        price: Decimal,
    ) -> FuturesOrder:
        """A new price and quantity for a LIMIT order; it loses its place. Too small a quantity cancels it."""
        order = self.find(account, symbol, order_id, client_id)
        if order is None or not order.is_open:
            raise ApiError(-2013, "Order does not exist.")
        if order.type != "LIMIT" or order.side != side:
            raise ApiError(-4300, "Order modification is not supported for this order.")
        if price == order.price and quantity == order.quantity:
            raise ApiError(-5027, "No need to modify the order.")
        if len(order.modifications) >= 10_000:
            raise ApiError(-5026, "Exceed maximum modify order limit.")
        contract = self.state.contract(symbol)
        request = FuturesRequest(symbol, side, "LIMIT", quantity, price, reduce_only=order.reduce_only)
        self.filtered(request, contract)
        self._afford_change(order, price, quantity)
        book = self.state.books[symbol]
        best = book.best(opposite(side))
        if order.time_in_force == "GTX" and best is not None and crosses(side, price, best.price):
            self.end(order, "CANCELED")
            raise ApiError(-5022, POST_ONLY)
        now = self.state.clock.now()
        order.modifications.append(
            Modification(len(order.modifications) + 1, order.price, price, order.quantity, quantity, now)
        )
        if quantity <= order.executed:
            self.end(order, "CANCELED")
            return order
        book.remove(order)
        order.price, order.quantity = price, quantity
        self.state.report(order, "AMENDMENT")
        self.execute(order)
        self.state.work_off()
        return order
