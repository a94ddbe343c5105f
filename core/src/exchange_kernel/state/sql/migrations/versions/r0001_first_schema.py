"""The first schema.

Written out in full, and never changed once released: what tables.py says today is no business of an old revision.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_UNFINISHED = "status NOT IN ('CANCELED', 'EXPIRED', 'FILLED', 'REJECTED')"
_LIVE = "state IN ('CLOSING', 'LIVE', 'UNKNOWN')"
_REVIVED = "state = 'REVIVED'"


def _long() -> sa.types.TypeEngine[int]:
    return sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _ints(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name.rstrip("?"), _long(), nullable=name.endswith("?")) for name in names]


def _texts(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name.rstrip("?"), sa.Text(), nullable=name.endswith("?")) for name in names]


def _flags(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name.rstrip("?"), sa.Boolean(), nullable=name.endswith("?")) for name in names]


def _bytes(*names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, sa.LargeBinary(), nullable=False) for name in names]


def _identity() -> sa.Column[Any]:
    return sa.Column("id", _long(), sa.Identity(), nullable=False)


def _pk(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=f"pk_{table}")


def _of_account(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["account"], ["account.account"], name=f"fk_{table}_account")


def _of_attempt(table: str, n: str = "attempt") -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["account", "intent_id", n],
        ["attempt.account", "attempt.intent_id", "attempt.n"],
        name=f"fk_{table}_attempt",
    )


def _partial(name: str, table: str, columns: list[str], where: str, unique: bool = False) -> None:
    clause = sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=clause, postgresql_where=clause)


def upgrade() -> None:
    """Create everything in an empty database."""
    _accounts()
    _intents()
    _attempts()
    _fills()
    _log()


def _accounts() -> None:
    op.create_table(
        "store",
        *_ints("id"),
        *_texts("store_id"),
        *_ints("incarnation", "commit_seq"),
        *_texts("halted?", "suspicion?", "server?"),
        _pk("store", "id"),
        sa.CheckConstraint("id = 1", name=op.f("ck_store_one")),
    )
    op.create_table(
        "account",
        *_texts("account", "venue", "identity", "mode"),
        *_ints("event_seq"),
        *_texts("event_hash", "halted?", "limits", "open_notional", "rate_tokens?"),
        *_ints("rate_at"),
        *_texts("recovering?", "history_cursor?"),
        *_ints("created_at"),
        _pk("account", "account"),
    )
    op.create_table(
        "account_lease",
        *_texts("account", "owner"),
        *_ints("epoch", "expires_at"),
        _pk("account_lease", "account"),
    )


def _intents() -> None:
    op.create_table(
        "intent",
        _identity(),
        *_texts("account", "intent_id", "symbol", "spec", "spec_hash", "first_hash", "desired"),
        *_ints("generation"),
        *_texts("labels?", "group_id?"),
        *_ints("submit_deadline?", "max_attempts", "created_at", "version"),
        *_texts("status", "reason"),
        *_ints("observed_generation"),
        *_texts("filled_base", "filled_quote", "conditions?", "reserved"),
        *_ints("next_due?", "amend_refused", "failures"),
        _pk("intent", "id"),
        sa.UniqueConstraint("account", "intent_id", name="uq_intent_account_intent_id"),
        _of_account("intent"),
    )
    _partial("ix_intent_unfinished", "intent", ["account", "next_due", "id"], _UNFINISHED)


def _attempts() -> None:
    op.create_table(
        "attempt",
        *_texts("account", "intent_id"),
        *_ints("n"),
        *_bytes("key"),
        *_ints("placed_at", "generation"),
        *_texts("spec", "state"),
        *_ints("epoch"),
        *_texts("ids?", "venue_status", "why", "text"),
        *_ints("as_of", "version"),
        *_texts("cum_base", "cum_quote", "booked_base", "booked_quote"),
        *_flags("final", "read_final"),
        *_ints("applied"),
        *_texts("applied_amount?", "code"),
        _pk("attempt", "account", "intent_id", "n"),
        sa.UniqueConstraint("key", "account", name="uq_attempt_key_account"),
        sa.ForeignKeyConstraint(
            ["account", "intent_id"], ["intent.account", "intent.intent_id"], name="fk_attempt_intent"
        ),
        sqlite_with_rowid=False,
    )
    _partial("ix_attempt_revived", "attempt", ["state", "account"], _REVIVED)
    _partial("uq_attempt_live", "attempt", ["account", "intent_id"], _LIVE, unique=True)
    op.create_table(
        "attempt_id",
        *_texts("account", "kind", "value", "intent_id"),
        *_ints("n"),
        _pk("attempt_id", "account", "kind", "value"),
        _of_attempt("attempt_id", "n"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "ticket",
        *_texts("account", "intent_id"),
        *_ints("attempt", "seq"),
        *_texts("kind"),
        *_ints("generation"),
        *_bytes("key", "body"),
        *_texts("codec", "identity", "fence", "ids?"),
        *_ints("send_before"),
        *_texts("outlay?", "remark", "spec?"),
        *_ints("committed_at"),
        *_texts("state", "note"),
        _pk("ticket", "account", "intent_id", "attempt", "seq"),
        _of_attempt("ticket"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "sequence_number",
        *_texts("scope", "number", "account", "intent_id"),
        *_ints("attempt"),
        _pk("sequence_number", "scope", "number"),
        _of_attempt("sequence_number"),
        sqlite_with_rowid=False,
    )


def _fills() -> None:
    op.create_table(
        "fill",
        _identity(),
        *_texts("account", "fill_id", "intent_id"),
        *_ints("attempt"),
        *_texts("symbol", "side", "base", "quote", "price"),
        *_ints("at"),
        *_texts("fees?"),
        *_flags("maker?"),
        *_ints("revision"),
        *_flags("voided"),
        _pk("fill", "id"),
        sa.UniqueConstraint("fill_id", "account", name="uq_fill_fill_id_account"),
        _of_attempt("fill"),
    )
    op.create_index("ix_fill_intent", "fill", ["intent_id", "account"])
    op.create_table(
        "position",
        *_texts("account", "symbol", "amount", "entry?", "realized"),
        _pk("position", "account", "symbol"),
        _of_account("position"),
        sqlite_with_rowid=False,
    )


def _log() -> None:
    op.create_table(
        "event",
        *_texts("account"),
        *_ints("seq", "at"),
        *_texts("kind", "intent_id?", "actor", "reason", "body", "patch", "hash"),
        _pk("event", "account", "seq"),
        _of_account("event"),
        sqlite_with_rowid=False,
    )
    if op.get_bind().dialect.name == "sqlite":
        for what in ("update", "delete"):
            op.execute(
                f"CREATE TRIGGER event_no_{what} BEFORE {what.upper()} ON event BEGIN "
                "SELECT RAISE(ABORT, 'the event log is append-only'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION event_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the event log is append-only'; END $$"
    )
    op.execute(
        "CREATE TRIGGER event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON event "
        "FOR EACH STATEMENT EXECUTE FUNCTION event_append_only()"
    )
