"""Texts that are kept for a time, encrypted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "texts",
        *(sa.Column(name, sa.Text, nullable=False) for name in ("kind", "owner", "name")),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.Column("until", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("kind", "owner", "name", name="pk_texts"),
    )
    op.create_index("ix_texts_until", "texts", ["until"])
