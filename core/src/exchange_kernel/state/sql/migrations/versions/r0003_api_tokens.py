"""Tokens of the HTTP API."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this revision: nobody has a token yet."""
    long = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "api_token",
        sa.Column("token_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("grants", sa.Text(), nullable=False),
        sa.Column("created_at", long, nullable=False),
        sa.Column("expires_at", long, nullable=True),
        sa.Column("revoked_at", long, nullable=True),
        sa.PrimaryKeyConstraint("token_id", name="pk_api_token"),
        sqlite_with_rowid=False,
    )
