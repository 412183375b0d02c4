"""Where a run was forked from another one."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; runs that are known were never forked."""
    op.add_column("runs", sa.Column("fork_at", sa.String(), nullable=True))
