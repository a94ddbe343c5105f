"""Desired state in SQL: SQLite for one machine, PostgreSQL for many processes. One schema, the same operations."""

from __future__ import annotations

from exchange_kernel.state.sql.engine import memory_database
from exchange_kernel.state.sql.schema import upgrade
from exchange_kernel.state.sql.store import SqlIntentStore

__all__ = ["SqlIntentStore", "memory_database", "upgrade"]
