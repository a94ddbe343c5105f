"""The tokens of the HTTP API, in the store's database, on connections of their own.

They are asked for when somebody calls, never on an order's way, so nothing here touches the store's lanes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from exchange_kernel.errors import StoreUnavailable
from exchange_kernel.state.sql.engine import engine_of
from exchange_kernel.value import Value


class TokenRow(Value, frozen=True):
    """A token as stored. ``digest``: SHA-256 (hex) of its text, which nobody keeps. ``grants``: account, or ``*``, to
    scopes. Times in ms UTC."""

    token_id: str
    name: str
    digest: str
    grants: Mapping[str, tuple[str, ...]]
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None


class SqlTokens:
    """Tokens in the store at ``url``, whose schema must be this release's. Blocking: call it in a thread.

    Every method raises StoreUnavailable."""

    def __init__(self, url: str) -> None:
        self._engine = engine_of(url)

    def add(self, row: TokenRow) -> None:
        """Keep a new one."""
        from exchange_kernel.state.sql.tables import api_token

        values = {name: getattr(row, name) for name in row.__struct_fields__}
        values["grants"] = json.dumps({name: list(scopes) for name, scopes in row.grants.items()}, sort_keys=True)
        self._do(api_token.insert().values(**values))

    def find(self, token_id: str) -> TokenRow | None:
        """The token of this id."""
        from exchange_kernel.state.sql.tables import api_token

        found = self._do(api_token.select().where(api_token.c.token_id == token_id))
        return found[0] if found else None

    def all(self) -> list[TokenRow]:
        """Every token, the oldest first."""
        from exchange_kernel.state.sql.tables import api_token

        return self._do(api_token.select().order_by(api_token.c.created_at, api_token.c.token_id))

    def revoke(self, token_id: str, at: int) -> bool:
        """End a token; False when there is none of this id that is not ended already."""
        from exchange_kernel.state.sql.tables import api_token

        mine = (api_token.c.token_id == token_id) & api_token.c.revoked_at.is_(None)
        before = self.find(token_id)
        self._do(api_token.update().where(mine).values(revoked_at=at))
        return before is not None and before.revoked_at is None

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def _do(self, statement: Any) -> list[TokenRow]:
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with self._engine.connect() as connection:
                # A SQLite connection of ours commits each statement by itself, and takes the commit below for nothing.
                done = connection.execute(statement)
                rows = [_row(dict(each._mapping)) for each in done] if done.returns_rows else []
                connection.commit()
        except SQLAlchemyError as error:
            raise StoreUnavailable(f"the tokens cannot be read or written: {error.__cause__ or error}") from error
        return rows


def _row(values: Mapping[str, Any]) -> TokenRow:
    grants = {name: tuple(scopes) for name, scopes in json.loads(values["grants"]).items()}
    return TokenRow(**{**values, "grants": grants})
