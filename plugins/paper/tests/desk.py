"""A trading desk for tests: an exchange on a clock that stands still, and accounts that send it signed requests."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from random import Random
from typing import Any

from exchange_kernel_paper.exchange import Exchange, Front, ManualClock, Settings, decode, encode, sign

BTC = "BTC/USD"
RICH = {"USD": "1000000", "BTC": "100", "SOL": "10000", "XAU": "1000"}


class Desk:
    """``main`` and ``other`` are rich; ``poor`` has 100 USD. Nothing is quoted until a test says so."""

    def __init__(self, balances: Mapping[str, str] = RICH, /, **settings: Any) -> None:
        self.clock = ManualClock()
        given = {"maker_fee": "0", "taker_fee": "0", **settings}
        self.exchange = Exchange("test", self.clock, Settings.of(given), rng=Random(7))
        self.front = Front(self.exchange)
        for name in ("main", "other"):
            self.exchange.open_account(name, f"secret of {name}", balances)
        self.exchange.open_account("poor", "secret of poor", {"USD": "100"})
        self._count = 0

    def body(self, op: str, account: str = "main", **fields: Any) -> bytes:
        """A signed request, with what the fence of this exchange wants unless given."""
        settings = self.exchange.settings
        request = {"op": op, "account": account, **fields}
        changes = op in ("order", "group", "amend", "cancel", "cancel_all", "burn")
        if changes and settings.fence == "time_window":
            request = {"ts": self.clock.now_ms(), "window": settings.window_ms, **request}
        if changes and settings.fence != "none" and op != "order":
            self._count += 1
            request = {"rid": f"r{self._count}", **request}
        if changes and settings.ledger:
            request = {"fee": "0.01", **request}
        return sign(encode(request), f"secret of {account}".encode())

    def call(self, op: str, account: str = "main", /, **fields: Any) -> dict[str, Any]:
        """The answer to a request."""
        answer: dict[str, Any] = decode(self.front.answer(self.body(op, account, **fields)))
        return answer

    def order(self, side: str, amount: str, limit: str | None = None, account: str = "main", **fields: Any) -> Any:
        """Place an order in BTC/USD; the order, or the answer if there is none."""
        if "client" not in fields and self.exchange.settings.fence != "none":
            self._count += 1
            fields["client"] = f"c{self._count}"
        if limit is not None:
            fields["limit"] = limit
        answer = self.call("order", account, side=side, amount=amount, **{"symbol": BTC, **fields})
        return answer["orders"][0] if "orders" in answer else answer

    def group(self, kind: str, legs: list[dict[str, Any]], account: str = "main", **fields: Any) -> Any:
        """Place a group in BTC/USD; its legs, or the answer if there are none."""
        for leg in legs:
            if "client" not in leg and self.exchange.settings.fence != "none":
                self._count += 1
                leg["client"] = f"c{self._count}"
        answer = self.call("group", account, kind=kind, symbol=BTC, legs=legs, **fields)
        return answer.get("orders", answer)

    def show(self, order: Mapping[str, Any], account: str = "main") -> dict[str, Any]:
        """What became of an order."""
        found: dict[str, Any] = self.call("find", account, orders=[order["id"]])["orders"][0]
        return found

    def balance(self, asset: str, account: str = "main") -> tuple[Decimal, Decimal]:
        """Free and held."""
        balance = self.exchange.account(account).balance(asset)
        return balance.free, balance.held
