"""Alembic's way in: it is handed an open connection, there is no ini file."""

from __future__ import annotations

from alembic import context

from tidemill.history.tables import metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True
)
with context.begin_transaction():
    context.run_migrations()
