"""Keys are listed in pages, in the order in which they were made."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_index("ix_keys_created_at", "keys", ["created_at", "id"])
