"""``exk token``: who may use the HTTP API."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from exchange_kernel.cli.desk import Desk, config_option, desk, forms_option, run, tell
from exchange_kernel.cli.exits import Failed
from exchange_kernel.cli.output import show, utc

if TYPE_CHECKING:
    from exchange_kernel.state.sql.tokens import SqlTokens

DAY_MS = 86_400_000


@click.group("token")
def command() -> None:
    """Tokens of the HTTP API: opaque, with scopes per account, shown once."""


@command.command("create")
@click.argument("name")
@click.option(
    "--allow",
    "allowed",
    multiple=True,
    required=True,
    help="ACCOUNT:SCOPE,SCOPE of read, place, cancel, admin; * for every account. May be repeated.",
)
@click.option("--days", type=click.IntRange(1, 3650), default=90, show_default=True, help="How long it holds.")
@config_option
@run
async def create(name: str, allowed: tuple[str, ...], days: int, config_path: Path) -> None:
    """Make a token and print it: the only time it is shown. NAME stands in the event log for what it does.

    read: look. place: declare and change orders. cancel: want them gone. admin: all of these, halt, resume, resolve.
    """
    from exchange_kernel.api.grants import EVERY, parse_grants
    from exchange_kernel.api.tokens import mint
    from exchange_kernel.clock import SystemIds
    from exchange_kernel.errors import ConfigError
    from exchange_kernel.orders.names import check_id

    check_id("name", name, ConfigError)
    grants = parse_grants(allowed)
    async with desk(config_path, make=True) as at:
        for account in grants:
            if account != EVERY:
                await at.accounts(account)
        text, row = mint(SystemIds(), name, grants, at.clock.now_ms(), days * DAY_MS)
        _tokens(at).add(row)
    tell(f"token {row.token_id} of {name}, until {utc(row.expires_at)}; it is not shown again")
    click.echo(text)


@command.command("list")
@config_option
@forms_option
@run
async def listed(config_path: Path, form: str) -> None:
    """List tokens: whose they are, and what they allow; never what they are."""
    async with desk(config_path) as at:
        rows = [
            {
                "id": row.token_id,
                "name": row.name,
                "allows": [f"{account}:{'+'.join(scopes)}" for account, scopes in row.grants.items()],
                "created": utc(row.created_at),
                "expires": utc(row.expires_at),
                "revoked": utc(row.revoked_at),
            }
            for row in _tokens(at).all()
        ]
    show(rows, ("id", "name", "allows", "created", "expires", "revoked"), form, "no tokens", kind="token")


@command.command("revoke")
@click.argument("token_id")
@config_option
@run
async def revoke(token_id: str, config_path: Path) -> None:
    """End a token; servers refuse it within a second. TOKEN_ID as `exk token list` shows it, or the token itself."""
    if token_id.startswith("exk_"):
        token_id = token_id.split("_")[1]
    async with desk(config_path) as at:
        if not _tokens(at).revoke(token_id, at.clock.now_ms()):
            raise Failed(f"there is no token {token_id} that is not revoked already", 4)
    click.echo(f"token {token_id} is revoked")


def _tokens(at: Desk) -> SqlTokens:
    from exchange_kernel.state.sql.tokens import SqlTokens

    return SqlTokens(at.config.store_url)
