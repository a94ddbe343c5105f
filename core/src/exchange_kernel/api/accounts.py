"""Accounts over HTTP: what they hold, whether they work, and whether they may."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path
from fastapi.responses import Response

from exchange_kernel.api import shapes
from exchange_kernel.api.grants import EVERY, Scope, allows
from exchange_kernel.api.guard import strict_text
from exchange_kernel.api.serving import Access, Answer, Body, Calling, fields_of
from exchange_kernel.api.wire import plain
from exchange_kernel.metrics import CONTENT_TYPE

router = APIRouter(prefix="/v1", tags=["accounts"])


@router.get("/accounts", responses=shapes.ANSWERS)
async def accounts(access: Calling) -> Answer:
    """The accounts that this token reaches, and whether each is running."""
    running = access.server.platform.running
    return Answer({"items": [{"account": name, "running": name in running} for name in access.accounts()]})


@router.get("/accounts/{account}", responses=shapes.ANSWERS)
async def state(account: str, access: Calling) -> Answer:
    """Balances, positions, margin, halt and conditions, as of the venue's last snapshot."""
    return Answer(plain(await access.kernel(account).get_account_state()))


@router.get("/accounts/{account}/balances", responses=shapes.ANSWERS)
async def balances(account: str, access: Calling) -> Answer:
    """What the account holds of each asset."""
    found = await access.kernel(account).get_account_state()
    return Answer({"items": [plain(asset) for asset in found.assets], "as_of": found.as_of})


@router.get("/accounts/{account}/positions", responses=shapes.ANSWERS)
async def positions(account: str, access: Calling) -> Answer:
    """What its fills have built in each symbol."""
    return Answer({"items": [plain(each) for each in await access.kernel(account).get_positions()]})


@router.get("/accounts/{account}/health", responses=shapes.ANSWERS)
async def health(account: str, access: Calling) -> Answer:
    """Is everything connected and working, and if not, what is not?"""
    access.need(account, Scope.READ)
    return Answer(plain((await access.server.platform.health_check())[account]))


@router.get("/accounts/{account}/symbols/{symbol:path}", responses=shapes.ANSWERS)
async def symbol(account: str, symbol: Annotated[str, Path(max_length=64)], access: Calling) -> Answer:
    """Constraints and capabilities of a market."""
    return Answer(plain(await access.kernel(account).get_symbol_metadata(strict_text(symbol))))


@router.get("/accounts/{account}/assets/{asset:path}", responses=shapes.ANSWERS)
async def asset(account: str, asset: Annotated[str, Path(max_length=64)], access: Calling) -> Answer:
    """Description of an asset."""
    return Answer(plain(await access.kernel(account).get_asset_metadata(strict_text(asset))))


@router.post("/accounts/{account}/reconcile", responses=shapes.ANSWERS)
async def reconcile(account: str, access: Calling) -> Answer:
    """Answers when a snapshot of the venue that began after this call is in the states."""
    await access.kernel(account, Scope.PLACE).force_reconciliation()
    return Answer({"reconciled": True})


async def metrics(access: Calling) -> Response:
    """For Prometheus: the accounts that this token reaches; what is about no account for one that reaches all."""
    server = access.server
    whole = allows(access.caller.grants, EVERY, Scope.READ)
    page = await server.metrics.text(access.accounts(), whole, server.readers, server.keyring.refused)
    return Response(page, headers={"content-type": CONTENT_TYPE, "cache-control": "no-store"})


def _accountable(access: Access, body: dict[str, Any]) -> dict[str, str]:
    said = fields_of(body, actor=str, reason=str)
    return {"actor": access.actor(said["actor"] or ""), "reason": said["reason"] or ""}


@router.post("/accounts/{account}/halt", openapi_extra=shapes.body(shapes.ACCOUNTABLE), responses=shapes.ANSWERS)
async def halt(account: str, body: Body, access: Calling) -> Answer:
    """Refuse and send no order of this account, durably. Cancels still work."""
    await access.kernel(account, Scope.ADMIN).halt(**_accountable(access, body))
    return Answer({"halted": True})


@router.post("/accounts/{account}/resume", openapi_extra=shapes.body(shapes.ACCOUNTABLE), responses=shapes.ANSWERS)
async def resume(account: str, body: Body, access: Calling) -> Answer:
    """Lift the account's halt."""
    await access.kernel(account, Scope.ADMIN).resume(**_accountable(access, body))
    return Answer({"halted": False})


@router.post("/halt", openapi_extra=shapes.body(shapes.ACCOUNTABLE), responses=shapes.ANSWERS)
async def halt_all(body: Body, access: Calling) -> Answer:
    """Refuse and send no order of any account, durably. Cancels still work."""
    access.need(EVERY, Scope.ADMIN)
    await access.server.platform.halt(**_accountable(access, body))
    return Answer({"halted": True})


@router.post("/resume", openapi_extra=shapes.body(shapes.ACCOUNTABLE), responses=shapes.ANSWERS)
async def resume_all(body: Body, access: Calling) -> Answer:
    """Lift the halt of all accounts. Those that were halted by themselves stay halted."""
    access.need(EVERY, Scope.ADMIN)
    await access.server.platform.resume(**_accountable(access, body))
    return Answer({"halted": False})
