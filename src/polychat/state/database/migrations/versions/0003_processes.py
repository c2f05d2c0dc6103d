"""Processes are counted by what they say of themselves, not by what they hold; numbers of buckets do not run out.

Each end user has a bucket a minute: 32 bits are used up by 1,500 users after a thousand days.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "processes",
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("until", sa.Float(53), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_processes"),
    )
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    if is_postgresql:  # SQLite's numbers have 63 bits
        op.alter_column("buckets", "id", type_=sa.BigInteger)
        op.execute("ALTER SEQUENCE buckets_id_seq AS bigint")
    with op.batch_alter_table("allotments") as allotments:
        allotments.drop_column("holder")
        allotments.alter_column("bucket", type_=sa.BigInteger, existing_type=sa.Integer, existing_nullable=False)
