"""Alembic's entry: runs the revisions on the connection that :func:`exchange_kernel.state.sql.upgrade` opened."""

from __future__ import annotations

from alembic import context

from exchange_kernel.state.sql.tables import metadata

# One transaction for all revisions, the caller's: a failed upgrade leaves the database as it was.
context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
context.run_migrations()
