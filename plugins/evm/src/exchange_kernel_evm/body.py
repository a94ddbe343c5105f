"""The body of a ticket: the signed transaction, and what it is for. Codec version 1.

One line of JSON, a line feed, and 16 hexadecimal digits of the line's hash: a body that was cut or changed is noticed,
as is a transaction in it that this account did not sign.
"""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from eth_utils.crypto import keccak

from exchange_kernel.errors import NotSent
from exchange_kernel.schema import Side
from exchange_kernel.value import Value
from exchange_kernel.venue import Key, Ticket
from exchange_kernel_evm.transactions import Transaction, decode
from exchange_kernel_evm.venue import Terms

__all__ = ["Body", "Op", "read_body", "write_body"]

Op = Literal["order", "cancel", "burn", "enable", "settle"]
_OPS = ("order", "cancel", "burn", "enable", "settle")
_SUM = 16


class Body(Value, frozen=True):
    """``key``: of the order (for an amendment and a cancel too). ``terms``: of an order."""

    op: Op
    key: Key
    tx: Transaction
    terms: Terms | None = None


def write_body(op: Op, key: Key, raw: bytes, terms: Terms | None) -> bytes:
    """The bytes of a body."""
    fields: dict[str, Any] = {"v": 1, "op": op, "key": key.hex(), "raw": raw.hex()}
    if terms is not None:
        fields["terms"] = [
            terms.symbol,
            terms.side.value,
            f"{terms.amount:f}",
            None if terms.price is None else f"{terms.price:f}",
            dict(terms.more),
        ]
    line = json.dumps(fields, separators=(",", ":"), sort_keys=True).encode()
    return line + b"\n" + _sum(line)


def read_body(ticket: Ticket, address: str, chain_id: int) -> Body:
    """Raises NotSent for a body that is not whole, or whose transaction this account did not sign for this chain."""
    line, _, check = ticket.body.partition(b"\n")
    if check != _sum(line):
        raise NotSent("the ticket's body is cut or changed")
    try:
        fields = json.loads(line)
        tx = decode(bytes.fromhex(fields["raw"]))
        op, rows = fields["op"], fields.get("terms")
        terms = None
        if rows is not None:
            symbol, side, amount, price, more = rows
            terms = Terms(symbol, Side(side), Decimal(amount), None if price is None else Decimal(price), more)
        body = Body(op, bytes.fromhex(fields["key"]), tx, terms)
    except (InvalidOperation, KeyError, TypeError, ValueError) as error:
        raise NotSent(f"the ticket's body cannot be read: {error}") from None
    if fields.get("v") != 1 or op not in _OPS or (op == "order") != (terms is not None):
        raise NotSent("the ticket's body is of another format")
    if tx.sender != address or tx.unsigned.chain_id != chain_id:
        raise NotSent(f"its transaction is one of {tx.sender} on chain {tx.unsigned.chain_id}")
    return body


def _sum(line: bytes) -> bytes:
    return keccak(line).hex()[:_SUM].encode()
