"""The conversations of ``polychat ask``, in an SQLite file of the person's: kept, found, continued, deleted, thinned.

Python's own ``sqlite3`` is enough for one file of one person, and is loaded in a few milliseconds, where a database layer takes
longer than the rest of the command.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from ..errors import BadInput, NotReady, redact
from .probes import folder

FILE = "conversations.db"
_VERSION = 1
_PATIENCE = 2.0
"""Seconds to wait for another process that writes."""
MOST = 10_000
"""Conversations that are kept; the oldest go first."""
_LARGEST = 64 * 1024 * 1024
"""Bytes of one exchange."""
_ID = "23456789abcdefghjkmnpqrstuvwxyz"
"""The letters of ids: none is taken for another."""
_SCHEMA = """
CREATE TABLE conversations (id TEXT PRIMARY KEY, title TEXT NOT NULL, created_at REAL NOT NULL, changed_at REAL NOT NULL);
CREATE INDEX by_change ON conversations (changed_at);
CREATE TABLE exchanges (
    number INTEGER PRIMARY KEY,
    conversation TEXT NOT NULL REFERENCES conversations (id) ON DELETE CASCADE,
    at REAL NOT NULL, model TEXT NOT NULL, system TEXT, prompt TEXT NOT NULL, answer TEXT NOT NULL, verdict TEXT NOT NULL,
    messages TEXT NOT NULL, prompt_tokens INTEGER, completion_tokens INTEGER, cost REAL, seconds REAL
);
CREATE INDEX of_conversation ON exchanges (conversation, number);
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE VIRTUAL TABLE words USING fts5 (prompt, answer, content='exchanges', content_rowid='number');
CREATE TRIGGER words_in AFTER INSERT ON exchanges BEGIN
    INSERT INTO words (rowid, prompt, answer) VALUES (new.number, new.prompt, new.answer);
END;
CREATE TRIGGER words_out AFTER DELETE ON exchanges BEGIN
    INSERT INTO words (words, rowid, prompt, answer) VALUES ('delete', old.number, old.prompt, old.answer);
END;
"""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One request and its reply."""

    at: float
    model: str
    """The model as it was named."""
    system: str | None
    prompt: str
    answer: str
    verdict: str
    messages: str
    """The messages of both, in OpenAI's form, as JSON; without a system message."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost: float | None = None
    """US dollars."""
    seconds: float | None = None


_COLUMNS = ", ".join(field.name for field in fields(LogEntry))


@dataclass(frozen=True, slots=True)
class Summary:
    """A conversation in a list."""

    id: str
    title: str
    changed_at: float
    exchanges: int
    model: str
    """Of the latest exchange."""
    excerpt: str = ""
    """Where a search found its words."""


class Conversations:
    """Those in one file, which is made when there is something to keep.

    Every method raises ``NotReady`` where the file is locked, full or damaged, and what was kept before stays.
    """

    def __init__(self, file: Path | None = None, *, patience: float = _PATIENCE) -> None:
        self.file = folder() / FILE if file is None else file
        self._patience = patience

    def add(self, exchange: LogEntry, conversation: str | None) -> str | None:
        """Keep an exchange, as the latest of ``conversation`` or the first of a new one, and thin out what is old.

        Gives the conversation's id; ``None`` where keeping is switched off. Raises ``NotReady`` for one that is too large.
        """
        if sum(len(text) for text in (exchange.prompt, exchange.answer, exchange.messages)) > _LARGEST:
            raise NotReady(f"the conversation is not kept: an exchange may have {_LARGEST:,} bytes")
        with self._writing() as database:
            if _setting(database, "off"):
                return None
            exists = database.execute("SELECT 1 FROM conversations WHERE id = ?", [conversation]).fetchone()
            name = conversation if conversation and exists else _new_id(database)
            title = redact(exchange.prompt.rstrip().rpartition("\n\n")[2], 60)  # what was piped in stands before it
            database.execute(
                "INSERT INTO conversations VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET changed_at = excluded.changed_at",
                [name, title, exchange.at, exchange.at],
            )
            places = ", ".join("?" * (len(fields(LogEntry)) + 1))
            row = [name, *astuple(exchange)]
            database.execute(f"INSERT INTO exchanges (conversation, {_COLUMNS}) VALUES ({places})", [_storable(v) for v in row])  # noqa: S608
            _thin(database, exchange.at)
            return name

    def is_off(self) -> bool:
        """Whether keeping is switched off."""
        with self._reading() as database:
            return database is not None and _setting(database, "off") is not None

    def switch(self, *, off: bool) -> None:
        """Switch keeping off, or on again; what is kept stays."""
        with self._writing() as database:
            _set(database, "off", "off" if off else None)

    def limit_age(self, seconds: float | None, now: float) -> None:
        """Delete conversations that have not changed for so long, now and at each later one; ``None``: keep them."""
        with self._writing() as database:
            _set(database, "age", None if seconds is None else str(seconds))
            _thin(database, now)

    def age(self) -> float | None:
        """The seconds of ``limit_age``."""
        with self._reading() as database:
            value = None if database is None else _setting(database, "age")
            return None if value is None else float(value)

    def found(self, prefix: str | None) -> str:
        """The id of the conversation whose id begins so, or of the latest. Raises ``BadInput`` if there is none or several."""
        with self._reading() as database:
            if database is None:
                ids = []
            elif prefix is None:
                ids = database.execute("SELECT id FROM conversations ORDER BY changed_at DESC LIMIT 1").fetchall()
            else:
                query = "SELECT id FROM conversations WHERE substr(id, 1, ?) = ? LIMIT 2"
                ids = database.execute(query, [len(prefix), prefix]).fetchall()
        if len(ids) == 1:
            return str(ids[0][0])
        if prefix is None:
            raise BadInput("no conversation is kept yet", field="conversation")
        which = "several conversations begin" if ids else "no conversation begins"
        raise BadInput(f"{which} with {redact(prefix, 40)!r} (polychat log lists them)", field="conversation")

    def exchanges(self, conversation: str) -> list[LogEntry]:
        """All of one conversation, the oldest first."""
        with self._reading() as database:
            query = f"SELECT {_COLUMNS} FROM exchanges WHERE conversation = ? ORDER BY number"  # noqa: S608  # our columns
            return [] if database is None else [LogEntry(*row) for row in database.execute(query, [conversation])]

    def listed(self, most: int = -1) -> list[Summary]:
        """The latest conversations first; all of them if ``most`` is negative."""
        with self._reading() as database:
            query = f"{_SUMMARIES} ORDER BY changed_at DESC, created_at DESC LIMIT ?"
            return [] if database is None else [Summary(*row) for row in database.execute(query, [most])]

    def search(self, words: Sequence[str], most: int) -> list[Summary]:
        """Conversations with an exchange that has all the words, or begins of words; the latest first."""
        with self._reading() as database:
            if database is None:
                return []
            match = " ".join('"{}"*'.format(word.replace('"', '""')) for word in words)
            rows = database.execute(_BY_WORDS, [match, most]).fetchall() or database.execute(
                _BY_LETTERS, [_pattern(" ".join(words)), _pattern(" ".join(words)), most]
            )
            return [Summary(*row) for row in rows]

    def delete(self, ids: Sequence[str] | None) -> int:
        """Delete these conversations, or all; gives how many there were. Their space in the file is freed and overwritten."""
        with self._writing() as database:
            if ids is None:
                count = database.execute("DELETE FROM conversations").rowcount
            else:
                count = sum(database.execute("DELETE FROM conversations WHERE id = ?", [name]).rowcount for name in ids)
            _forget_words(database, count)
            return int(count)

    @contextmanager
    def _reading(self) -> Generator[sqlite3.Connection | None]:
        """``None`` where nothing was kept yet."""
        with self._errors():
            if not self.file.exists():
                yield None
                return
            with closing(self._opened()) as database:
                yield database if _version(database) else None

    @contextmanager
    def _writing(self) -> Generator[sqlite3.Connection]:
        """One transaction: all of it is kept, or nothing."""
        with self._errors():
            self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.file.touch(mode=0o600)
            with closing(self._opened()) as database:
                database.execute("BEGIN IMMEDIATE")
                try:
                    if not _version(database):
                        for statement in _statements(_SCHEMA):
                            database.execute(statement)
                        database.execute(f"PRAGMA user_version = {_VERSION}")
                    yield database
                    database.execute("COMMIT")
                except BaseException:
                    if database.in_transaction:
                        database.execute("ROLLBACK")
                    raise

    def _opened(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.file, timeout=self._patience, isolation_level=None)
        try:
            database.execute("PRAGMA foreign_keys = ON")
            database.execute("PRAGMA secure_delete = ON")
            if (version := _version(database)) > _VERSION:
                raise NotReady(
                    f"{self.file} is of a newer polychat (version {version}): update polychat, or move the file away"
                )
        except BaseException:
            database.close()
            raise
        return database

    @contextmanager
    def _errors(self) -> Generator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise NotReady(f"{self.file}: {_reason(error)}") from None
        except OSError as error:
            raise NotReady(f"{error.filename or self.file}: {error.strerror}") from None


_SUMMARIES = """
SELECT id, title, changed_at, (SELECT count(*) FROM exchanges WHERE conversation = id),
    coalesce((SELECT model FROM exchanges WHERE conversation = id ORDER BY number DESC LIMIT 1), '')
FROM conversations"""
_BY_WORDS = """
WITH hits AS MATERIALIZED (SELECT rowid AS hit, snippet(words, -1, '', '', '…', 12) AS excerpt FROM words WHERE words MATCH ?)
SELECT id, title, changed_at, count(*), max(model), max(excerpt) FROM hits
JOIN exchanges ON number = hit JOIN conversations ON id = conversation GROUP BY id ORDER BY changed_at DESC LIMIT ?"""
_BY_LETTERS = """
SELECT id, title, changed_at, count(*), max(model), '' FROM exchanges JOIN conversations ON id = conversation
WHERE prompt LIKE ? ESCAPE '!' OR answer LIKE ? ESCAPE '!' GROUP BY id ORDER BY changed_at DESC LIMIT ?"""
"""For languages without blanks between words."""


def _pattern(text: str) -> str:
    return "%" + "".join(f"!{letter}" if letter in "!%_" else letter for letter in text) + "%"


def _reason(error: sqlite3.Error) -> str:
    """What is wrong, and what to do."""
    text = str(error)
    if "locked" in text:
        return "another process is writing to it: try again"
    if "not a database" in text or "malformed" in text:
        return f"the file is damaged ({text}): move it away, and a new one is begun"
    return text


def _version(database: sqlite3.Connection) -> int:
    return int(database.execute("PRAGMA user_version").fetchone()[0])


def _statements(script: str) -> list[str]:
    """Each by itself: ``executescript`` would end the transaction."""
    statements, begun = [], ""
    for line in script.splitlines(keepends=True):
        begun += line
        if sqlite3.complete_statement(begun):
            statements.append(begun)
            begun = ""
    return statements


def _setting(database: sqlite3.Connection, name: str) -> str | None:
    row = database.execute("SELECT value FROM settings WHERE name = ?", [name]).fetchone() if _version(database) else None
    return None if row is None else str(row[0])


def _set(database: sqlite3.Connection, name: str, value: str | None) -> None:
    database.execute("DELETE FROM settings WHERE name = ?", [name])
    if value is not None:
        database.execute("INSERT INTO settings VALUES (?, ?)", [name, value])


def _thin(database: sqlite3.Connection, now: float) -> None:
    count, age = 0, _setting(database, "age")
    if age is not None:
        count += database.execute("DELETE FROM conversations WHERE changed_at < ?", [now - float(age)]).rowcount
    count += database.execute(
        "DELETE FROM conversations WHERE id IN (SELECT id FROM conversations ORDER BY changed_at DESC LIMIT -1 OFFSET ?)",
        [MOST],
    ).rowcount
    _forget_words(database, count)


def _forget_words(database: sqlite3.Connection, deleted: int) -> None:
    """Write the index of words anew after so many deletions: its old parts would still have the deleted words."""
    if deleted > 0:
        database.execute("INSERT INTO words (words) VALUES ('rebuild')")


def _new_id(database: sqlite3.Connection) -> str:
    while True:
        name = "".join(secrets.choice(_ID) for _ in range(8))
        if database.execute("SELECT 1 FROM conversations WHERE id = ?", [name]).fetchone() is None:
            return name


def _storable(value: object) -> object:
    """Text without half surrogate pairs, which SQLite refuses."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
