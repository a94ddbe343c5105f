"""The schema. Money is canonical decimal text, never a float; JSON is text; times are ms UTC.

Alembic's first revision creates the same schema by itself (a test compares the two); a change here needs a revision.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    DDL,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    event,
    text,
)

from exchange_kernel.state.sql.columns import LIVE, REVIVED, UNFINISHED

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

# Only INTEGER becomes the rowid in SQLite; it holds 64 bits there.
Long = BigInteger().with_variant(Integer(), "sqlite")

# Where a table has several indexes, only its first begins with the account: an account holds nearly every row, and a
# planner without statistics would read them all through another index's prefix.


def _int(name: str, *, null: bool = False) -> Column[int]:
    return Column(name, Long, nullable=null)


def _text(name: str, *, null: bool = False) -> Column[str]:
    return Column(name, Text, nullable=null)


def _partial(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    clause = text(where)
    return Index(name, *columns, unique=unique, sqlite_where=clause, postgresql_where=clause)


store = Table(
    "store",
    metadata,
    _int("id"),
    _text("store_id"),
    _int("incarnation"),
    _int("commit_seq"),
    _text("halted", null=True),
    _text("suspicion", null=True),
    _text("server", null=True),
    PrimaryKeyConstraint("id"),
    CheckConstraint("id = 1", name="one"),
)

account = Table(
    "account",
    metadata,
    _text("account"),
    _text("venue"),
    _text("identity"),
    _text("mode"),
    _int("event_seq"),
    _text("event_hash"),
    _text("halted", null=True),
    _text("limits"),
    _text("open_notional"),
    _text("rate_tokens", null=True),
    _int("rate_at"),
    _text("recovering", null=True),
    _text("history_cursor", null=True),
    _int("created_at"),
    PrimaryKeyConstraint("account"),
)

account_lease = Table(
    "account_lease",
    metadata,
    _text("account"),
    _text("owner"),
    _int("epoch"),
    _int("expires_at"),
    PrimaryKeyConstraint("account"),
)

# `id` is the order of creation; the user's columns come first, then the reconciler's.
intent = Table(
    "intent",
    metadata,
    Column("id", Long, Identity(), nullable=False),
    _text("account"),
    _text("intent_id"),
    _text("symbol"),
    _text("spec"),
    _text("spec_hash"),
    _text("first_hash"),
    _text("desired"),
    _int("generation"),
    _text("labels", null=True),
    _text("group_id", null=True),
    _int("submit_deadline", null=True),
    _int("max_attempts"),
    _int("created_at"),
    _int("version"),
    _text("status"),
    _text("reason"),
    _int("observed_generation"),
    _text("filled_base"),
    _text("filled_quote"),
    _text("conditions", null=True),
    _text("reserved"),
    _int("next_due", null=True),
    _int("amend_refused"),
    _int("failures"),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("account", "intent_id"),
    ForeignKeyConstraint(["account"], ["account.account"]),
    _partial("ix_intent_unfinished", "account", "next_due", "id", where=UNFINISHED),
)

attempt = Table(
    "attempt",
    metadata,
    _text("account"),
    _text("intent_id"),
    _int("n"),
    Column("key", LargeBinary, nullable=False),
    _int("placed_at"),
    _int("generation"),
    _text("spec"),
    _text("state"),
    _int("epoch"),
    _text("ids", null=True),
    _text("venue_status"),
    _text("why"),
    _text("text"),
    _int("as_of"),
    _int("version"),
    _text("cum_base"),
    _text("cum_quote"),
    _text("booked_base"),
    _text("booked_quote"),
    Column("final", Boolean, nullable=False),
    Column("read_final", Boolean, nullable=False),
    _int("applied"),
    _text("applied_amount", null=True),
    _text("code"),
    _text("costs", null=True),
    PrimaryKeyConstraint("account", "intent_id", "n"),
    UniqueConstraint("key", "account"),
    ForeignKeyConstraint(["account", "intent_id"], ["intent.account", "intent.intent_id"]),
    _partial("uq_attempt_live", "account", "intent_id", where=LIVE, unique=True),
    _partial("ix_attempt_revived", "state", "account", where=REVIVED),
    sqlite_with_rowid=False,
)

attempt_id = Table(
    "attempt_id",
    metadata,
    _text("account"),
    _text("kind"),
    _text("value"),
    _text("intent_id"),
    _int("n"),
    PrimaryKeyConstraint("account", "kind", "value"),
    ForeignKeyConstraint(["account", "intent_id", "n"], ["attempt.account", "attempt.intent_id", "attempt.n"]),
    sqlite_with_rowid=False,
)

ticket = Table(
    "ticket",
    metadata,
    _text("account"),
    _text("intent_id"),
    _int("attempt"),
    _int("seq"),
    _text("kind"),
    _int("generation"),
    Column("key", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
    _text("codec"),
    _text("identity"),
    _text("fence"),
    _text("ids", null=True),
    _int("send_before"),
    _text("outlay", null=True),
    _text("remark"),
    _text("spec", null=True),
    _int("committed_at"),
    _text("state"),
    _text("note"),
    PrimaryKeyConstraint("account", "intent_id", "attempt", "seq"),
    ForeignKeyConstraint(["account", "intent_id", "attempt"], ["attempt.account", "attempt.intent_id", "attempt.n"]),
    sqlite_with_rowid=False,
)

# `number` is text: some venues' numbers have 256 bits. Its first two digits are its length, so that text order is
# numeric order.
sequence_number = Table(
    "sequence_number",
    metadata,
    _text("scope"),
    _text("number"),
    _text("account"),
    _text("intent_id"),
    _int("attempt"),
    PrimaryKeyConstraint("scope", "number"),
    ForeignKeyConstraint(["account", "intent_id", "attempt"], ["attempt.account", "attempt.intent_id", "attempt.n"]),
    sqlite_with_rowid=False,
)

fill = Table(
    "fill",
    metadata,
    Column("id", Long, Identity(), nullable=False),
    _text("account"),
    _text("fill_id"),
    _text("intent_id"),
    _int("attempt"),
    _text("symbol"),
    _text("side"),
    _text("base"),
    _text("quote"),
    _text("price"),
    _int("at"),
    _text("fees", null=True),
    Column("maker", Boolean, nullable=True),
    _int("revision"),
    Column("voided", Boolean, nullable=False),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("fill_id", "account"),
    ForeignKeyConstraint(["account", "intent_id", "attempt"], ["attempt.account", "attempt.intent_id", "attempt.n"]),
    Index("ix_fill_intent", "intent_id", "account"),
)

position = Table(
    "position",
    metadata,
    _text("account"),
    _text("symbol"),
    _text("amount"),
    _text("entry", null=True),
    _text("realized"),
    PrimaryKeyConstraint("account", "symbol"),
    ForeignKeyConstraint(["account"], ["account.account"]),
    sqlite_with_rowid=False,
)

event_log = Table(
    "event",
    metadata,
    _text("account"),
    _int("seq"),
    _int("at"),
    _text("kind"),
    _text("intent_id", null=True),
    _text("actor"),
    _text("reason"),
    _text("body"),
    _text("patch"),
    _text("hash"),
    PrimaryKeyConstraint("account", "seq"),
    ForeignKeyConstraint(["account"], ["account.account"]),
    sqlite_with_rowid=False,
)

# Only the digest of a token is kept. `grants` is JSON: account (or *) to scopes.
api_token = Table(
    "api_token",
    metadata,
    _text("token_id"),
    _text("name"),
    _text("digest"),
    _text("grants"),
    _int("created_at"),
    _int("expires_at", null=True),
    _int("revoked_at", null=True),
    PrimaryKeyConstraint("token_id"),
    sqlite_with_rowid=False,
)

# Who works on accounts now. JSON lists of accounts: those it can run (`serves`), those that it stands by for (`ready`),
# those that it runs and that began with the store's suspicion (`heard`). No truth: leases and epochs decide who owns.
worker = Table(
    "worker",
    metadata,
    _text("name"),
    _int("started_at"),
    _int("expires_at"),
    _int("draining"),
    _text("serves"),
    _text("ready"),
    _text("heard"),
    PrimaryKeyConstraint("name"),
    sqlite_with_rowid=False,
)

APPEND_ONLY = {
    "sqlite": (
        "CREATE TRIGGER event_no_update BEFORE UPDATE ON event BEGIN "
        "SELECT RAISE(ABORT, 'the event log is append-only'); END",
        "CREATE TRIGGER event_no_delete BEFORE DELETE ON event BEGIN "
        "SELECT RAISE(ABORT, 'the event log is append-only'); END",
    ),
    "postgresql": (
        "CREATE FUNCTION event_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the event log is append-only'; END $$",
        "CREATE TRIGGER event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON event "
        "FOR EACH STATEMENT EXECUTE FUNCTION event_append_only()",
    ),
}

for _dialect, _statements in APPEND_ONLY.items():
    for _statement in _statements:
        # SQLAlchemy leaves the signature of DDL untyped.
        _ddl: Any = DDL(_statement)  # type: ignore[no-untyped-call]
        event.listen(event_log, "after_create", _ddl.execute_if(dialect=_dialect))
