"""The application: routes, and what an error becomes."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from exchange_kernel import __version__
from exchange_kernel.api import accounts, events, orders
from exchange_kernel.api.guard import Guard
from exchange_kernel.api.problems import MEDIA_TYPE, Problem, to_problem
from exchange_kernel.api.serving import Answer, Server
from exchange_kernel.errors import ExchangeKernelError, RateLimited, Unavailable

__all__ = ["make_app"]

log = logging.getLogger("exchange_kernel.api")

_NAMES = {404: "not-found", 405: "method-not-allowed"}


def make_app(server: Server, hosts: Collection[str], *, probes: bool = False) -> Guard:
    """The ASGI application that serves a platform to those who call it by one of ``hosts``. ``probes``: only what tells
    how it stands."""
    app = FastAPI(
        title="Exchange Kernel",
        version=__version__,
        description="Declare orders; the kernel makes the exchange agree, at most once.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.server = server
    for module in () if probes else (orders, accounts, events):
        app.include_router(module.router)
    app.add_api_route("/metrics", accounts.metrics, methods=["GET"], tags=["health"])
    app.add_api_route("/livez", _live, methods=["GET"], tags=["health"])
    app.add_api_route("/readyz", _ready, methods=["GET"], tags=["health"])
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(ExchangeKernelError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _bug)
    return Guard(app, hosts)


async def _live() -> Answer:
    """The process answers: its event loop turns."""
    return Answer({"live": True})


async def _ready(request: Request) -> Answer:
    """200 when every account works; else 503. Which do not is told to who may ask for their health."""
    ready = request.app.state.server.platform.ready
    return Answer({"ready": ready}, 200 if ready else 503)


def _answer(body: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    answer = Answer(body, body["status"], headers)
    answer.headers["content-type"] = MEDIA_TYPE
    return answer


async def _problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return _answer(error.body(), error.headers)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, ExchangeKernelError)
    headers = {}
    if isinstance(error, (RateLimited, Unavailable)) and error.retry_at is not None:
        wait = max(1, -(-(error.retry_at - request.app.state.server.clock.now_ms()) // 1000))
        headers["retry-after"] = str(wait)
    return _answer(to_problem(error), headers)


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("query", "path", "header"))
    return _answer(Problem(422, "invalid-parameter", f"{where}: {first['msg']}").body())


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = _NAMES.get(error.status_code, "bad-request")
    return _answer(Problem(error.status_code, code, str(error.detail)).body(), dict(error.headers or {}))


async def _bug(request: Request, error: Exception) -> Response:
    log.error("%s %s failed: %s", request.method, request.url.path, type(error).__name__, exc_info=error)
    return _answer(Problem(500, "internal", "this is a bug; the server's log says more").body())
