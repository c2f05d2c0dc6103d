"""The tables, as the code reads and writes them; ``migrations`` makes them, and a test compares the two.

``usage`` has a row for each request. Its texts are in ``usage_labels``, one row for all requests that agree in them: a million
requests take a tenth of the room. The id of such a row is computed from the texts, so nobody has to ask for it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, LargeBinary, MetaData, SmallInteger, Table, Text
from sqlalchemy.types import TypeDecorator


def keepable(text: str) -> str:
    """``text`` without what a database does not take: half a surrogate pair, and in PostgreSQL a NUL."""
    if "\0" in text:
        text = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


class KeepableText(TypeDecorator[str]):
    """What strangers write, too, in rows and in what is looked for: it fits into every database, and is the same in all."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return None if value is None else keepable(value)


ROW_NUMBER = BigInteger().with_variant(Integer, "sqlite")
"""A number that the database counts up: ``INTEGER`` has 63 bits in SQLite, which counts up no other type."""
metadata = MetaData(naming_convention={"ix": "ix_%(table_name)s_%(column_0_name)s", "pk": "pk_%(table_name)s"})

changes = Table(
    "changes",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("last", BigInteger, nullable=False),
)
"""One row: the number of the latest change of a key or an owner. Whoever makes a change holds it to the end."""

owners = Table(
    "owners",
    metadata,
    Column("kind", KeepableText, primary_key=True),
    Column("name", KeepableText, primary_key=True),
    Column("parent", KeepableText, nullable=False),
    Column("policy", KeepableText, nullable=False),
    Column("created_at", Float(53), nullable=False),
    Column("deleted_at", Float(53)),
    Column("change", BigInteger, nullable=False),
    Index("ix_owners_change", "change"),
)

keys = Table(
    "keys",
    metadata,
    Column("id", KeepableText, primary_key=True),
    Column("digest", LargeBinary, nullable=False),
    Column("name", KeepableText, nullable=False),
    Column("owner_kind", KeepableText),
    Column("owner_name", KeepableText),
    Column("policy", KeepableText, nullable=False),
    Column("created_at", Float(53), nullable=False),
    Column("expires_at", Float(53)),
    Column("revoked_at", Float(53)),
    Column("ends_streams", Boolean, nullable=False),
    Column("replaced_by", KeepableText, nullable=False),
    Column("last_used_at", Float(53)),
    Column("change", BigInteger, nullable=False),
    Index("ix_keys_digest", "digest", unique=True),
    Index("ix_keys_change", "change"),
    Index("ix_keys_created_at", "created_at", "id"),
)

audit = Table(
    "audit",
    metadata,
    Column("id", KeepableText, primary_key=True),
    Column("at", Float(53), nullable=False),
    Column("actor", KeepableText, nullable=False),
    Column("action", KeepableText, nullable=False),
    Column("subject", KeepableText, nullable=False),
    Column("facts", KeepableText, nullable=False),
    Index("ix_audit_at", "at"),
)

buckets = Table(
    "buckets",
    metadata,
    Column("id", ROW_NUMBER, primary_key=True),
    Column("level", KeepableText, nullable=False),
    Column("owner", KeepableText, nullable=False),
    Column("metric", KeepableText, nullable=False),
    Column("window", KeepableText, nullable=False),
    Column("start", BigInteger, nullable=False),
    Column("end", BigInteger),
    Column("spent", BigInteger, nullable=False),
    Index("ix_buckets_owner", "owner", "level", "metric", "window", "start", unique=True),
    Index("ix_buckets_end", "end"),
)
"""What was used in each window; ``window`` is empty and ``end`` null for what no window ends."""

allotments = Table(
    "allotments",
    metadata,
    Column("id", KeepableText, primary_key=True),
    Column("bucket", BigInteger, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("spent", BigInteger, nullable=False),
    Column("until", Float(53), nullable=False),
    Column("closed", Boolean, nullable=False),
    Index("ix_allotments_bucket", "bucket", "until"),
    Index("ix_allotments_until", "until"),
)
"""Parts of buckets that processes hold."""

processes = Table(
    "processes",
    metadata,
    Column("id", KeepableText, primary_key=True),
    Column("until", Float(53), nullable=False),
)
"""Those that spend buckets, and until when each is there unless it says so again."""

usage_labels = Table(
    "usage_labels",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    *(
        Column(name, KeepableText, nullable=False)
        for name in ("key", "person", "team", "org", "user", "dialect", "model", "route", "target", "verdict", "reason")
    ),
    Column("status", SmallInteger, nullable=False),
    Column("stream", Boolean, nullable=False),
    Column("unpriced", KeepableText, nullable=False),
    Column("failed", KeepableText, nullable=False),
)

usage = Table(
    "usage",
    metadata,
    Column("at", BigInteger, primary_key=True, autoincrement=False),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("labels", BigInteger, nullable=False),
    Column("took", BigInteger, nullable=False),
    Column("attempts", SmallInteger, nullable=False),
    *(
        Column(f"{name}_tokens", BigInteger)
        for name in ("prompt", "completion", "cached", "cache_write", "reasoning", "audio_prompt", "audio_completion")
    ),
    Column("estimated", Boolean, nullable=False),
    Column("cost", BigInteger),
    sqlite_with_rowid=False,
)
"""``at`` is first in the primary key: rows are in the order of time, so a period is read without an index of its own."""

texts = Table(
    "texts",
    metadata,
    Column("kind", KeepableText, primary_key=True),
    Column("owner", KeepableText, primary_key=True),
    Column("name", KeepableText, primary_key=True),
    Column("data", LargeBinary, nullable=False),
    Column("until", Float(53), nullable=False),
    Index("ix_texts_until", "until"),
)
"""``data`` is encrypted, see ``encryption``."""
