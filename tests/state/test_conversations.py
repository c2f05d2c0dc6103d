"""Conversations in a file: ids, limits, a disk that is full, and a file of a newer version."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from polychat.errors import BadInput, NotReady
from polychat.state import conversations
from polychat.state.conversations import Conversations, LogEntry


def exchange(at: float, prompt: str = "Why?", answer: str = "So.") -> LogEntry:
    return LogEntry(at, "a/m", None, prompt, answer, "complete", "[]")


def test_the_oldest_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the number that is kept, and beyond the age; one that went on is young again, and its words are found."""
    monkeypatch.setattr(conversations, "MOST", 2)
    conversation_store = Conversations(tmp_path / "c.db")
    first, second = conversation_store.add(exchange(1, "one"), None), conversation_store.add(exchange(2, "two"), None)
    assert first is not None
    assert conversation_store.add(exchange(3, "more"), first) == first
    third = conversation_store.add(exchange(4, "three"), None)
    assert [one.id for one in conversation_store.listed()] == [third, first]
    assert conversation_store.search(["two"], 9) == []
    assert [one.prompt for one in conversation_store.exchanges(first)] == ["one", "more"]
    conversation_store.limit_age(10, 13.5)
    assert [one.id for one in conversation_store.listed()] == [third]
    assert second not in {third, first}


def test_ids_are_found_by_their_beginning(tmp_path: Path) -> None:
    """One that several have, and one that none has, are refused; a pattern's letters are letters."""
    conversation_store = Conversations(tmp_path / "c.db")
    with pytest.raises(BadInput, match="kept yet"):
        conversation_store.found(None)
    names = [conversation_store.add(exchange(at), None) for at in range(40)]
    assert conversation_store.found(None) == names[-1]
    assert conversation_store.found(names[0]) == names[0]
    with pytest.raises(BadInput, match="several"):
        conversation_store.found("")
    with pytest.raises(BadInput, match="no conversation begins"):
        conversation_store.found("%")


def test_half_a_surrogate_pair_is_kept_as_what_can_be(tmp_path: Path) -> None:
    """SQLite refuses such a text, and a model can write one."""
    conversation_store = Conversations(tmp_path / "c.db")
    name = conversation_store.add(exchange(1, answer="a\ud800b"), None)
    assert name is not None
    assert conversation_store.exchanges(name)[0].answer == "a?b"


def test_a_full_disk_loses_nothing_that_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says what is wrong; the next exchange that fits is kept."""
    conversation_store = Conversations(tmp_path / "c.db")
    conversation_store.add(exchange(1), None)
    opened = Conversations._opened

    def small(self: Conversations) -> sqlite3.Connection:
        database = opened(self)
        pages = database.execute("PRAGMA page_count").fetchone()[0]
        database.execute(f"PRAGMA max_page_count = {pages}")
        return database

    monkeypatch.setattr(Conversations, "_opened", small)
    with pytest.raises(NotReady, match="full"):
        conversation_store.add(exchange(2, answer="x" * 1_000_000), None)
    monkeypatch.undo()
    conversation_store.add(exchange(3), None)
    assert len(conversation_store.listed()) == 2


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    """Nor is one kept that is too large."""
    conversation_store = Conversations(tmp_path / "c.db")
    conversation_store.add(exchange(1), None)
    with pytest.raises(NotReady, match="an exchange may have"):
        conversation_store.add(exchange(2, answer="x" * (conversations._LARGEST + 1)), None)
    with sqlite3.connect(conversation_store.file) as database:
        database.execute("PRAGMA user_version = 99")
    with pytest.raises(NotReady, match="newer polychat"):
        conversation_store.add(exchange(2), None)


def test_deleted_words_are_not_in_the_file(tmp_path: Path) -> None:
    """Nor in its index of words; what was not deleted is found as before."""
    file = tmp_path / "c.db"
    conversation_store = Conversations(file)
    first = conversation_store.add(exchange(1, "a chrysanthemum", "and a rhododendron"), None)
    second = conversation_store.add(exchange(2, "a delphinium"), None)
    assert first is not None
    assert conversation_store.delete([first]) == 1
    content = b"".join(part.read_bytes() for part in tmp_path.iterdir())
    assert [word in content for word in (b"chrysanthemum", b"rhododendron", b"delphinium")] == [False, False, True]
    assert [one.id for one in conversation_store.search(["delph"], 9)] == [second]
    conversation_store.limit_age(86_400, 3 + 86_400)
    assert b"delphinium" not in file.read_bytes()
