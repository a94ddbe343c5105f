"""Workers, and what they say of themselves."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this revision: nobody works yet."""
    long = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "worker",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("started_at", long, nullable=False),
        sa.Column("expires_at", long, nullable=False),
        sa.Column("draining", long, nullable=False),
        sa.Column("serves", sa.Text(), nullable=False),
        sa.Column("ready", sa.Text(), nullable=False),
        sa.Column("heard", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_worker"),
        sqlite_with_rowid=False,
    )
