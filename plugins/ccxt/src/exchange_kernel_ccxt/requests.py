"""Requests that ccxt signs and nobody but us sends: what is planned, what ccxt made of it, and that both are the same.

ccxt rounds, adds and drops fields silently. Here it only signs: the plan holds every field as it will be on the wire,
and a request that says anything else is never sent.
"""

from __future__ import annotations

import gc
import importlib
import sys
import threading
import warnings
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from exchange_kernel.errors import NotSent
from exchange_kernel.value import Value


class Plan(Value, frozen=True):
    """One request before it is signed. ``api``: ccxt's name of the section that has its address (``private``);
    ``params``: every field of it, as on the wire, its timestamp included."""

    method: str
    api: str
    path: str
    params: tuple[tuple[str, str], ...] = ()


class Request(Value, frozen=True):
    """A request as it will be sent. ``query``: its fields and signature; ``headers`` name the account's key."""

    method: str
    url: str
    query: str
    body: bytes | None
    headers: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Request({self.method} {urlsplit(self.url).path})"


class Signer:
    """Signs with one ccxt exchange. ``adds``: the fields that it may add to a plan."""

    def __init__(self, exchange: Any, adds: frozenset[str] = frozenset({"signature"})) -> None:
        self._exchange, self._adds = exchange, adds

    def sign(self, plan: Plan) -> Request:
        """The plan, signed. Raises NotSent where ccxt made something else of it."""
        made = self._exchange.sign(plan.path, [plan.api], plan.method, dict(plan.params))
        url, body = str(made["url"]), made["body"]
        query = body if body else urlsplit(url).query
        if made["method"] != plan.method or not urlsplit(url).path.endswith("/" + plan.path):
            raise NotSent(f"{plan.method} {plan.path} became {made['method']} {urlsplit(url).path}")
        said = parse_qsl(query, keep_blank_values=True) if query else []
        rest = [field for field in said if field[0] not in self._adds]
        if sorted(rest) != sorted(plan.params):
            odd = sorted({name for name, _ in set(rest) ^ set(plan.params)})
            raise NotSent(f"{plan.method} {plan.path} is not as planned: {', '.join(odd) or 'a field comes twice'}")
        data = body.encode() if body else None
        return Request(plan.method, url, query, data, made["headers"] or {})

    def again(self, method: str, api: str, path: str, query: str) -> Request:
        """The request that once was signed as ``query``. Raises NotSent where it is not whole, or not this key's."""
        try:
            said = parse_qsl(query, keep_blank_values=True, strict_parsing=True)
        except ValueError:
            raise NotSent("the ticket's body is no whole request") from None
        fields = tuple(field for field in said if field[0] not in self._adds)
        request = self.sign(Plan(method, api, path, fields))
        if request.query != query:
            raise NotSent("the ticket's body is not what this account signed")
        return request


_LOADING = threading.Lock()


def load(name: str) -> Any:
    """ccxt's class of this exchange. Takes a while the first time: call it in a thread, or early.

    ccxt's 200,000 objects stay for good. They are frozen (:func:`gc.freeze`), once per process: a full collection that
    looks through them holds up everything for 125 to 200 ms. Whatever else there is by then is frozen with them, which
    is not known apart: cycles of it that become garbage later are not found any more. What is garbage already is
    collected first; a program to which the rest matters calls :func:`gc.unfreeze` afterwards.
    """
    # Several accounts begin at once: while one imports it, ccxt is in sys.modules already, and not whole.
    with _LOADING:
        if "ccxt" not in sys.modules:
            collects = gc.isenabled()
            gc.collect()
            gc.disable()
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    importlib.import_module("ccxt")
            finally:
                gc.freeze()
                if collects:
                    gc.enable()
    return getattr(sys.modules["ccxt"], name)


def redirected(urls: Any, hosts: Mapping[str, str]) -> Any:
    """ccxt's table of addresses with other origins: ``hosts`` maps a host name to the origin that takes its place."""
    if isinstance(urls, dict):
        return {name: redirected(each, hosts) for name, each in urls.items()}
    if not isinstance(urls, str):
        return urls
    parts = urlsplit(urls)
    origin = hosts.get(parts.hostname or "")
    return urls if origin is None else origin.rstrip("/") + parts.path
