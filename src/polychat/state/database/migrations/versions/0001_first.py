"""The first schema: owners, keys, the audit log, buckets with their allotments, and usage."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    _keys()
    _ledger()
    _usage()


def _text(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]


def _moment(name: str, *, nullable: bool = True) -> sa.Column[float]:
    return sa.Column(name, sa.Float(53), nullable=nullable)


def _whole(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=nullable)


def _flag(name: str) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean, nullable=False)


def _keys() -> None:
    changes = op.create_table(
        "changes", sa.Column("id", sa.Integer, autoincrement=False), _whole("last"), _primary("changes", "id")
    )
    op.bulk_insert(changes, [{"id": 1, "last": 0}])
    op.create_table(
        "owners",
        *_text("kind", "name", "parent", "policy"),
        *(_moment("created_at", nullable=False), _moment("deleted_at")),
        _whole("change"),
        _primary("owners", "kind", "name"),
    )
    op.create_index("ix_owners_change", "owners", ["change"])
    op.create_table(
        "keys",
        *_text("id", "name", "policy", "replaced_by"),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        *(sa.Column("owner_kind", sa.Text), sa.Column("owner_name", sa.Text)),
        *(_moment("created_at", nullable=False), _moment("expires_at"), _moment("revoked_at"), _moment("last_used_at")),
        _flag("ends_streams"),
        _whole("change"),
        _primary("keys", "id"),
    )
    op.create_index("ix_keys_digest", "keys", ["digest"], unique=True)
    op.create_index("ix_keys_change", "keys", ["change"])
    op.create_table(
        "audit",
        *_text("id", "actor", "action", "subject", "facts"),
        _moment("at", nullable=False),
        _primary("audit", "id"),
    )
    op.create_index("ix_audit_at", "audit", ["at"])


def _ledger() -> None:
    op.create_table(
        "buckets",
        sa.Column("id", sa.Integer, nullable=False),
        *_text("level", "owner", "metric", "window"),
        *(_whole("start"), _whole("end", nullable=True), _whole("spent")),
        _primary("buckets", "id"),
    )
    op.create_index("ix_buckets_owner", "buckets", ["owner", "level", "metric", "window", "start"], unique=True)
    op.create_index("ix_buckets_end", "buckets", ["end"])
    op.create_table(
        "allotments",
        *_text("id", "holder"),
        sa.Column("bucket", sa.Integer, nullable=False),
        *(_whole("amount"), _whole("spent"), _moment("until", nullable=False), _flag("closed")),
        _primary("allotments", "id"),
    )
    op.create_index("ix_allotments_bucket", "allotments", ["bucket", "until"])
    op.create_index("ix_allotments_until", "allotments", ["until"])


def _usage() -> None:
    op.create_table(
        "usage_labels",
        sa.Column("id", sa.BigInteger, autoincrement=False),
        *_text("key", "person", "team", "org", "user", "dialect", "model", "route", "target", "verdict", "reason"),
        *_text("unpriced", "failed"),
        sa.Column("status", sa.SmallInteger, nullable=False),
        _flag("stream"),
        _primary("usage_labels", "id"),
    )
    op.create_table(
        "usage",
        *(sa.Column("at", sa.BigInteger, autoincrement=False), sa.Column("id", sa.BigInteger, autoincrement=False)),
        *(_whole("labels"), _whole("took"), sa.Column("attempts", sa.SmallInteger, nullable=False)),
        *(_whole(f"{name}_tokens", nullable=True) for name in ("prompt", "completion", "cached", "cache_write", "reasoning")),
        *(_whole(f"{name}_tokens", nullable=True) for name in ("audio_prompt", "audio_completion")),
        *(_flag("estimated"), _whole("cost", nullable=True)),
        _primary("usage", "at", "id"),
        sqlite_with_rowid=False,
    )


def _primary(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=f"pk_{table}")
