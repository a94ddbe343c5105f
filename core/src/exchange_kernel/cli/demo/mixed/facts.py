"""What the venues say at the end: Binance's own ledger, and the chain's own blocks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from exchange_kernel.cli.demo.mixed.stage import FUTURES, SPOT, TRADER
from exchange_kernel.cli.demo.mixed.wire import get, rpc
from exchange_kernel.schema.numbers import EXACT

TRANSFER: Final = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
_BALANCE_OF: Final = "0x70a08231"
_OPEN: Final = ("NEW", "PARTIALLY_FILLED")


@dataclass(frozen=True, slots=True)
class VenueOrder:
    """An order of ours as its venue knows it. ``base``, ``quote``: executed. ``left``: of it, still wanted."""

    account: str
    client: str
    live: bool
    base: Decimal
    quote: Decimal
    left: Decimal
    price: Decimal


async def binance_orders(admin: str) -> list[VenueOrder]:
    """Every order that was ever placed with the trader's key, on both markets."""
    found = [_order(SPOT, row, "cummulativeQuoteQty") for row in await get(f"{admin}/truth/orders") if _ours(row)]
    plain = {row["clientOrderId"]: row for row in await get(f"{admin}/truth/futures-orders") if _ours(row)}
    for row in await get(f"{admin}/truth/futures-algos"):
        # What a conditional order has placed has its id: together they are one.
        if _ours(row) and row["clientAlgoId"] not in plain:
            amount = Decimal(row["quantity"])
            zero, live = Decimal(0), row["algoStatus"] == "NEW"
            price = Decimal(row["triggerPrice"])
            found.append(VenueOrder(FUTURES, row["clientAlgoId"], live, zero, zero, amount, price))
    return found + [_order(FUTURES, row, "cumQuote") for row in plain.values()]


def _ours(row: Mapping[str, Any]) -> bool:
    return bool(row["account"] == TRADER)


def _order(account: str, row: Mapping[str, Any], quote: str) -> VenueOrder:
    base = Decimal(row["executedQty"])
    return VenueOrder(
        account,
        row["clientOrderId"],
        row["status"] in _OPEN,
        base,
        Decimal(row[quote]),
        EXACT.subtract(Decimal(row["origQty"]), base),
        Decimal(row["price"]),
    )


@dataclass(slots=True)
class Sent:
    """A transaction of the account that is in a block: its hash, whether it succeeded, and what it moved by token."""

    hash: str
    ok: bool
    moved: dict[str, int] = field(default_factory=dict)


class Chain:
    """The account on the chain, from the block at which it was looked at first."""

    def __init__(self, url: str, address: str, tokens: Mapping[str, Mapping[str, Any]]) -> None:
        self._url, self._address = url, address
        self._tokens = {str(token["address"]).lower(): name for name, token in tokens.items()}
        self._places = {name: int(token["decimals"]) for name, token in tokens.items()}
        self._since = 0
        self._before: dict[str, int] = {}

    async def begin(self) -> None:
        """From here on."""
        self._since = int(await rpc(self._url, "eth_blockNumber"), 16)
        self._before = await self._balances()

    async def changed(self) -> dict[str, Decimal]:
        """By how much each balance is another one now."""
        now = await self._balances()
        return {name: self.amount(name, now[name] - before) for name, before in self._before.items()}

    def amount(self, token: str, units: int) -> Decimal:
        """Units of a token as an amount of it."""
        return Decimal(units).scaleb(-self._places[token], EXACT)

    async def waiting(self) -> int:
        """Transactions of the account that are in no block."""
        counts = [
            int(await rpc(self._url, "eth_getTransactionCount", self._address, at), 16) for at in ("pending", "latest")
        ]
        return counts[0] - counts[1]

    async def sent(self) -> list[Sent]:
        """Every transaction of the account since, in order."""
        found = []
        newest = int(await rpc(self._url, "eth_blockNumber"), 16)
        for height in range(self._since + 1, newest + 1):
            block = await rpc(self._url, "eth_getBlockByNumber", hex(height), True)
            for transaction in block["transactions"]:
                if transaction["from"].lower() == self._address.lower():
                    found.append(await self._read(transaction["hash"]))
        return found

    async def _read(self, name: str) -> Sent:
        receipt = await rpc(self._url, "eth_getTransactionReceipt", name)
        moved: defaultdict[str, int] = defaultdict(int)
        for log in receipt["logs"]:
            token = self._tokens.get(log["address"].lower())
            if token is None or log["topics"][0] != TRANSFER or len(log["topics"]) != 3:
                continue
            for topic, sign in ((log["topics"][1], -1), (log["topics"][2], 1)):
                if topic[-40:].lower() == self._address[2:].lower():
                    moved[token] += sign * int(log["data"], 16)
        return Sent(name, receipt["status"] == "0x1", {name: units for name, units in moved.items() if units})

    async def _balances(self) -> dict[str, int]:
        data = _BALANCE_OF + self._address[2:].lower().rjust(64, "0")
        return {
            name: int(await rpc(self._url, "eth_call", {"to": token, "data": data}, "latest"), 16)
            for token, name in self._tokens.items()
        }
