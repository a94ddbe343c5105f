"""The exchange: requests in, orders and ledger out. It knows nothing of who trades on it.

Everything that changes it goes through a method marked ``@mutation``. Those are journaled with the venue's time before
they run, and the exchange is a pure function of that journal: replaying it gives the same orders, ids and ledger.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from decimal import Decimal, getcontext, setcontext
from functools import partial
from random import Random

from exchange_kernel_paper.exchange.accounts import Account
from exchange_kernel_paper.exchange.alarms import Alarms
from exchange_kernel_paper.exchange.book import Book
from exchange_kernel_paper.exchange.chain import Chain, Transaction
from exchange_kernel_paper.exchange.clock import VenueClock
from exchange_kernel_paper.exchange.codes import Code, Refusal, Why
from exchange_kernel_paper.exchange.commands import Commands
from exchange_kernel_paper.exchange.corrections import correct
from exchange_kernel_paper.exchange.engine import Engine
from exchange_kernel_paper.exchange.faults import Faults
from exchange_kernel_paper.exchange.fences import check_arrival, check_ids, request_id
from exchange_kernel_paper.exchange.filters import Request, Terms
from exchange_kernel_paper.exchange.lag import Trail
from exchange_kernel_paper.exchange.ledger import Ledger
from exchange_kernel_paper.exchange.markets import Market, default_markets
from exchange_kernel_paper.exchange.mutations import Journal, mutation
from exchange_kernel_paper.exchange.numbers import EXACT, number, text
from exchange_kernel_paper.exchange.orders import EXPIRED, Order
from exchange_kernel_paper.exchange.settings import Settings
from exchange_kernel_paper.exchange.streams import Streams, Subscription

Row = tuple[str, str]
"""One level of a ladder: price and amount, as plain text."""

HOUSE, FLOW = "house", "flow"
_CAUSES = (Why.LIQUIDATION.value, Why.ADL.value, Why.SETTLEMENT.value)


class Exchange:
    """One exchange. ``clock`` is its time; ``rng`` decides its faults; ``settings`` its fence, fees and delays."""

    def __init__(
        self,
        name: str,
        clock: VenueClock,
        settings: Settings | None = None,
        *,
        rng: Random | None = None,
        markets: Iterable[Market] | None = None,
    ) -> None:
        self.name, self.clock = name, clock
        self.settings = settings or Settings()
        self.faults = Faults(rng or Random(0))
        self.skew_ms = 0
        self.down_until = 0
        self.requests = 0  # of any kind, read or change, that arrived
        self.changes = 0  # of these the changes, those the wire refused included
        self.engine = Engine(
            self.settings,
            {market.symbol: market for market in (default_markets() if markets is None else markets)},
            self._touching,
            self._ended,
        )
        self.trail = Trail(self.settings.read_lag_ms) if self.settings.read_lag_ms else None
        self._alarms = Alarms(clock, self._wake)
        self.streams = Streams(
            clock,
            self.faults,
            lambda: self.now,
            lambda symbol: self.engine.books[symbol].top(),
            heartbeat_ms=self.settings.heartbeat_ms,
            queue_size=self.settings.queue_size,
        )
        self.commands = Commands(self.engine, self.settings)
        self.chain = Chain(self.settings, self._alarms, self._mined) if self.settings.ledger else None
        self._journal: Journal | None = None
        self._replay_at: int | None = None
        self._touched: dict[int, tuple[Order, int]] = {}
        self._unfinal: dict[int, dict[int, Order]] = {}
        self._forgetting: deque[tuple[int, Order]] = deque()
        self._telling: set[str] = set()
        self._shown: dict[int, dict[str, object]] = {}
        for house in (HOUSE, FLOW):
            self.engine.accounts[house] = Account(house, b"", house=True)
        self._catch_up()

    # facts ------------------------------------------------------------------------------------------------------

    @property
    def now(self) -> int:
        """The venue's time of the work being done, ms UTC. Never runs backwards."""
        return self.engine.now

    @property
    def ledger(self) -> Ledger:
        """The oracle."""
        return self.engine.ledger

    @property
    def down(self) -> bool:
        """Is it refusing connections?"""
        return self.clock.now_ms() < self.down_until

    def account(self, name: str) -> Account:
        """An account by name. Refusal: UNKNOWN_ACCOUNT."""
        found = self.engine.accounts.get(name)
        if found is None:
            raise Refusal(Code.UNKNOWN_ACCOUNT, f"no account {name!r}")
        return found

    def market(self, symbol: object) -> Market:
        """A market by symbol. Refusal: UNKNOWN_SYMBOL."""
        return self.commands.market(symbol)

    def book(self, symbol: str) -> Book:
        """The book of a symbol. Refusal: UNKNOWN_SYMBOL."""
        return self.engine.books[self.market(symbol).symbol]

    def supply(self) -> dict[str, Decimal]:
        """Everything there is of each asset, over all accounts: changes only by :meth:`deposit`."""
        total: dict[str, Decimal] = {}
        for account in self.engine.accounts.values():
            for asset, balance in account.balances.items():
                total[asset] = EXACT.add(total.get(asset, Decimal(0)), EXACT.add(balance.free, balance.held))
        return total

    # what clients do --------------------------------------------------------------------------------------------

    @mutation
    def trade(self, account: str, request: Request, admitted: bool = False) -> dict[str, object]:
        """Execute a request, or (ledger venues) take it into the pool. Raises Refusal.

        ``admitted``: its arrival was checked before by :meth:`admit`.
        """
        who = self.account(account)
        op, rid = str(request.get("op")), request_id(request)
        self.ledger.arrived(self.now, account, op, rid or "")
        try:
            if not admitted:
                check_arrival(self.settings, request, self.now)
            check_ids(self.settings, request, rid)
            if self.chain is not None:
                self.chain.submit(who, request, self.now)
                return {"held": True}
            orders = self.commands.execute(who, request, rid)
        except Refusal as refusal:
            self.ledger.refused(self.now, account, rid or "", refusal.code)
            raise
        self._watch_expiry(orders)
        self._shown = {order.id: order.view() for order in orders}
        return {"orders": list(self._shown.values())}

    def admit(self, request: Request) -> None:
        """Only the check made when a request arrives. Raises Refusal."""
        self.refresh()
        check_arrival(self.settings, request, self.now)

    def refresh(self) -> None:
        """Do all work that is due, before a read."""
        saved = getcontext()
        setcontext(EXACT)
        try:
            self._catch_up()
        finally:
            self._publish()
            setcontext(saved)

    def subscribe(self, account: str) -> Subscription:
        """The stream of one account's events. Refusal: UNKNOWN_ACCOUNT."""
        self.account(account).changed.clear()
        self._telling.discard(account)
        self._alarms.arm(self.now, anew=True)  # a new subscriber may mean a new event loop
        return self.streams.account(account)

    # what tests and operators do --------------------------------------------------------------------------------

    def open_account(self, name: str, secret: str, balances: Mapping[str, str]) -> Account:
        """Make an account, or give an existing one (say, after a replay) its secret; balances count only when new."""
        if name not in self.engine.accounts:
            self.add_account(name, dict(balances))
        account = self.account(name)
        account.secret = account.secret or secret.encode()
        return account

    @mutation
    def add_account(self, name: str, balances: dict[str, str]) -> None:
        """A new account with these free balances. Its secret is given apart, and never journaled."""
        account = self.engine.accounts[name] = Account(name, b"")
        for asset, amount in balances.items():
            account.add(asset, number(asset, amount))

    @mutation
    def deposit(self, name: str, asset: str, amount: str) -> None:
        """Money from outside."""
        self.account(name).add(asset, number(asset, amount))

    @mutation
    def set_ladder(self, symbol: str, bids: list[Row], asks: list[Row]) -> None:
        """The house now quotes exactly this. Where the new quotes cross resting orders, they trade."""
        market, house = self.market(symbol), self.account(HOUSE)
        self.engine.cancel_all(house, symbol)
        for side, rows in (("BUY", bids), ("SELL", asks)):
            if rows and side == "BUY" and "SELL" not in market.sides:
                raise ValueError(f"{symbol} is one-sided: the house never bids")
            for price, amount in rows:
                self._house_order(house, market, side, price, amount, "GTC")

    @mutation
    def trade_through(self, symbol: str, side: str, price: str, amount: str | None = None) -> None:
        """Somebody else trades ``amount`` (None: everything) of what rests up to ``price``."""
        market = self.market(symbol)
        self._house_order(self.account(FLOW), market, side, price, amount or text(market.max_amount), "IOC")

    @mutation
    def correct(self, order_id: int, trade_id: int, base: str) -> None:
        """The operator restates a trade; ``base`` 0 busts it. Raises as :func:`.corrections.correct`."""
        order, place = correct(self.engine, order_id, trade_id, number("base", base), self.account(FLOW))
        trade, self._touched[order.id] = order.trades[place], (order, place)
        if not trade.base and self.streams.wanted(order.account.name):
            bust = {"symbol": trade.symbol, "id": trade.id, "revision": trade.revision}
            self.streams.publish(order.account.name, {"bust": bust})

    @mutation
    def force(self, account: str, symbol: str, side: str, amount: str, cause: str) -> int:
        """The venue itself trades for an account, at the market: LIQUIDATION, ADL or SETTLEMENT. The order's id.

        Raises Refusal as an order would."""
        if cause not in _CAUSES:
            raise ValueError(f"cause {cause!r} is none of {', '.join(_CAUSES)}")
        terms = Terms(side, number("amount", amount), False, None, None, "IOC", None, False, None)
        return self.engine.place(self.account(account), self.market(symbol), terms, None, None, cause=cause).id

    @mutation
    def set_open(self, symbol: str, is_open: bool) -> None:
        """Open or close a market for new orders."""
        (self.engine.closed.discard if is_open else self.engine.closed.add)(self.market(symbol).symbol)
        for name in self.engine.accounts:
            if self.streams.wanted(name):
                self.streams.publish(name, {"markets": [symbol], "why": "opened" if is_open else "closed"})

    @mutation
    def set_base_fee(self, fee: str) -> None:
        """Ledger venues: transactions with a lower fee wait."""
        assert self.chain is not None, "only ledger venues have fees per transaction"
        self.chain.base_fee = number("fee", fee)
        self.chain.schedule(self.now)

    def skew(self, ms: int) -> None:
        """From now on the venue's clock is this far ahead of its source (or behind). It never runs backwards."""
        self.skew_ms = int(ms)
        self.faults.counts["skew"] += 1

    def outage(self, ms: int) -> None:
        """Refuse every connection for a while, and break the streams."""
        self.down_until = self.clock.now_ms() + int(ms)
        self.faults.counts["outage"] += 1
        self.streams.disconnect()

    def restart(self) -> None:
        """Sessions drop; orders, balances and ledger stay."""
        self.faults.counts["restart"] += 1
        self.streams.disconnect()

    def keep_journal(self, journal: Journal) -> None:
        """Write every mutation from now on."""
        self._journal = journal

    def replay(self, entries: Iterable[tuple[int, str, list[object]]]) -> None:
        """Repeat what a journal says, at its own times."""
        try:
            for at, name, args in entries:
                self._replay_at = at
                with suppress(Refusal):  # what was refused then is refused again
                    getattr(self, name)(*args)
        finally:
            self._replay_at = None

    # inside -----------------------------------------------------------------------------------------------------

    def _house_order(self, who: Account, market: Market, side: str, price: str, amount: str, tif: str) -> None:
        terms = Terms(side, number("amount", amount), False, number("price", price), None, tif, None, False, None)
        self.engine.place(who, market, terms, None, None)

    def _catch_up(self) -> None:
        """Move to the present, doing what fell due on the way at its own time."""
        present = self._replay_at
        if present is None:
            present = max(self.engine.now, self.clock.now_ms() + self.skew_ms)
        while self._alarms.next <= present:
            at, fn = self._alarms.take()
            self._set_time(max(self.engine.now, at))
            fn()
        self._set_time(present)
        while self._forgetting and self._forgetting[0][0] <= present:
            self._forget(self._forgetting.popleft()[1])

    def _set_time(self, now: int) -> None:
        self.engine.now = now
        self.engine.height = self.chain.next_height(now) if self.chain is not None else 0

    def _wake(self) -> None:
        self.refresh()

    def _mined(self, account: Account, tx: Transaction) -> None:
        assert self.chain is not None
        self.engine.height = self.chain.height
        self._watch_expiry(self.commands.mined(account, tx))

    def _watch_expiry(self, orders: Iterable[Order]) -> None:
        for order in orders:
            if order.until is not None and not order.finished:
                self._alarms.at(order.until, partial(self._expire, order))

    def _expire(self, order: Order) -> None:
        if not order.finished:
            self.engine.end(order, EXPIRED, Why.TIME)

    def _touching(self, order: Order, new: bool) -> None:
        if order.id not in self._touched:
            self._touched[order.id] = (order, len(order.trades))
        if self.trail is not None:
            self.trail.note(self.now, order, None if new else order.view())

    def _ended(self, order: Order) -> None:
        if self.settings.retention_ms and not order.trades:
            self._forgetting.append((self.now + self.settings.retention_ms, order))

    def _forget(self, order: Order) -> None:
        del self.engine.orders[order.id]
        if order.client is not None:
            account = order.account
            kept = tuple(other for other in account.by_client[order.client] if other is not order)
            if kept:
                account.by_client[order.client] = kept
            else:
                del account.by_client[order.client]

    def _publish(self) -> None:
        """Tell subscribers what the work just done has changed."""
        if self._touched:
            for order, known in self._touched.values():
                self._tell_order(order, known)
            self._touched.clear()
            self._shown = {}
        if self.streams.anybody:
            self._tell_balances_soon()
            self.streams.publish_prices()
        self._alarms.arm(self.now)

    def _tell_order(self, order: Order, known: int) -> None:
        name = order.account.name
        if self.streams.wanted(name):
            # Which fills are final changes with time, so a ledger venue always sends all of them.
            ledger = {} if self.chain is None else {"ledger": self.chain.view(order.account, self.now)}
            # What the answer to the work just done shows is what there is to tell, unless it shows older fills too.
            view = None if known else self._shown.get(order.id)
            if view is None:
                view = order.view(None if ledger else order.trades[known:])
            self.streams.publish(name, {"order": view, **ledger})
        if self.chain is not None and order.height not in self._unfinal:
            self._unfinal[order.height] = {}
            at = self.chain.time_of(order.height + self.settings.finality)
            self._alarms.at(at, partial(self._now_final, order.height))
        if self.chain is not None:
            self._unfinal[order.height][order.id] = order

    def _now_final(self, height: int) -> None:
        assert self.chain is not None
        for order in self._unfinal.pop(height).values():
            if self.streams.wanted(order.account.name):
                ledger = self.chain.view(order.account, self.now)
                self.streams.publish(order.account.name, {"order": order.view(), "ledger": ledger})

    def _tell_balances_soon(self) -> None:
        """Changes of balances are sent together, a moment later: one event for a burst of fills."""
        for name, account in self.engine.accounts.items():
            if account.changed and not account.house and name not in self._telling and self.streams.wanted(name):
                self._telling.add(name)
                self.clock.call_later(self.settings.balance_event_ms / 1000, partial(self._tell_balances, account))

    def _tell_balances(self, account: Account) -> None:
        self._telling.discard(account.name)
        changed, account.changed = account.changed, set()
        rows = [[asset, text(account.balance(asset).free), text(account.balance(asset).held)] for asset in changed]
        self.streams.publish(account.name, {"balances": sorted(rows)})
