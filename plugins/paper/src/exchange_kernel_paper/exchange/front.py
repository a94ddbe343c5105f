"""The front door: checks who asks, runs the operation, encodes the answer. Bytes in, bytes out, synchronously.

A request is JSON and, on a second line, a keyed hash of it: ``{"op":"order","account":"main",…}\\n<hex>``. The secret
never travels. An answer is JSON with the venue's time ``t``, and either the operation's result or ``code`` and
``message``.
"""

from __future__ import annotations

import hashlib
import hmac
from functools import lru_cache
from typing import TYPE_CHECKING

from exchange_kernel_paper.exchange.codec import decode, encode
from exchange_kernel_paper.exchange.codes import Code, Refusal
from exchange_kernel_paper.exchange.exchange import Exchange
from exchange_kernel_paper.exchange.filters import Request
from exchange_kernel_paper.exchange.queries import Queries
from exchange_kernel_paper.exchange.streams import Subscription

if TYPE_CHECKING:
    from hashlib import _Hash as Digest

MUTATIONS = frozenset({"order", "amend", "cancel", "cancel_all", "enable", "settle", "burn", "group"})
LARGEST = 65_536
_BLOCK = 64


def sign(payload: bytes, secret: bytes) -> bytes:
    """A signed request: the payload and the hex of its HMAC-SHA256."""
    return payload + b"\n" + _keyed_hash(payload, secret)


def _keyed_hash(payload: bytes, secret: bytes) -> bytes:
    # Not hmac.digest(): that lets go of the interpreter's lock, and getting it back takes longer than the hash.
    inner, outer = _halves(secret)
    began, ended = inner.copy(), outer.copy()
    began.update(payload)
    ended.update(began.digest())
    return ended.hexdigest().encode()


@lru_cache(maxsize=64)
def _halves(secret: bytes) -> tuple[Digest, Digest]:
    """The inner and the outer hash of HMAC-SHA256 with this secret taken in (RFC 2104): the same for every request."""
    key = (hashlib.sha256(secret).digest() if len(secret) > _BLOCK else secret).ljust(_BLOCK, b"\0")
    return hashlib.sha256(bytes(each ^ 0x36 for each in key)), hashlib.sha256(bytes(each ^ 0x5C for each in key))


class Front:
    """The door of one exchange."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self._reads = Queries(exchange).operations

    def answer(self, body: bytes, *, lag_ms: int = 0, admitted: bool = False) -> bytes:
        """Run one request. ``lag_ms``: how far a read trails; ``admitted``: a change's arrival was checked before."""
        exchange = self.exchange
        try:
            request = self._open(body)
            op, account = str(request["op"]), str(request["account"])
            if op in MUTATIONS:
                result = exchange.trade(account, request, admitted)
            else:
                read = self._reads.get(op)
                if read is None:
                    raise Refusal(Code.BAD_REQUEST, f"no operation {op!r}")
                exchange.refresh()
                result = read(exchange.account(account), request, exchange.now - lag_ms)
        except Refusal as refusal:
            return self.refuse(refusal)
        result["t"] = exchange.now
        return encode(result)

    def admit(self, body: bytes) -> bytes | None:
        """Only what is checked when a change arrives: the refusal, or None if it may go on."""
        try:
            self.exchange.admit(self._open(body))
        except Refusal as refusal:
            return self.refuse(refusal)
        return None

    def subscribe(self, body: bytes) -> Subscription:
        """A stream: of the account's events, or of the prices of ``symbols``. Raises Refusal."""
        request = self._open(body)
        symbols = request.get("symbols")
        self.exchange.refresh()
        if request["op"] == "prices" and isinstance(symbols, list):
            return self.exchange.streams.prices(tuple(self.exchange.market(each).symbol for each in symbols))
        if request["op"] == "events":
            return self.exchange.subscribe(str(request["account"]))
        raise Refusal(Code.BAD_REQUEST, f"no stream {request['op']!r}")

    def refuse(self, refusal: Refusal) -> bytes:
        """The answer that says no."""
        out = {"code": refusal.code.value, "message": refusal.message, "t": self.exchange.now}
        if refusal.retry_ms is not None:
            out["retry_ms"] = refusal.retry_ms
        return encode(out)

    def _open(self, body: bytes) -> Request:
        self.exchange.requests += 1
        payload, _, signature = body.partition(b"\n")
        if len(body) > LARGEST:
            raise Refusal(Code.BAD_REQUEST, f"more than {LARGEST} bytes")
        try:
            request = decode(payload)
        except ValueError:
            raise Refusal(Code.BAD_REQUEST, "not JSON") from None
        if not isinstance(request, dict) or not isinstance(request.get("op"), str):
            raise Refusal(Code.BAD_REQUEST, "op is needed")
        account = request.get("account")
        if not isinstance(account, str):
            raise Refusal(Code.BAD_REQUEST, "account is needed")
        secret = self.exchange.account(account).secret
        expected = _keyed_hash(payload, secret) if secret else b""
        if not secret or not hmac.compare_digest(expected, signature):
            raise Refusal(Code.BAD_SIGNATURE, "the signature does not fit")
        return request
