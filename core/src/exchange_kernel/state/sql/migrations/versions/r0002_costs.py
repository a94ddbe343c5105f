"""What an attempt costs besides its fills."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """To this revision: nothing was booked before it."""
    op.add_column("attempt", sa.Column("costs", sa.Text(), nullable=True))
