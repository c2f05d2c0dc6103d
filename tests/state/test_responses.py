"""The store of replies against a plain model of it: bounds, what goes first, how long a reply lives, and whose it is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from polychat.state.responses import ResponseStore
from polychat.types import ChatMessage

NAMES = st.sampled_from([f"resp_{number}" for number in range(6)])
KEYS = st.sampled_from(["", "alice", "bob"])
SIZES = st.integers(0, 60)


@dataclass(frozen=True)
class Bounds:
    replies: int = 3
    bytes: int = 100
    seconds: float = 10.0


@dataclass(frozen=True)
class Entry:
    """What the model knows of a reply."""

    name: str
    key: str
    body: bytes
    messages: list[ChatMessage]
    size: int
    until: float


class StoreMachine(RuleBasedStateMachine):
    """Any order of puts, gets, drops, reloads of the bounds and passing seconds."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.bounds = Bounds()
        self.store = ResponseStore(lambda: self.now)
        self.entries: list[Entry] = []
        """The newest last."""

    @rule(name=NAMES, key=KEYS, body=SIZES, request=SIZES, lazy=st.booleans())
    def put(self, name: str, key: str, body: int, request: int, lazy: bool) -> None:
        """The newest is kept if it fits at all, and the oldest go until all fit."""
        turns = [ChatMessage("assistant", [])]
        entry = Entry(name, key, b"x" * body, turns, body + request, self.now + self.bounds.seconds)
        self.store.put(name, key, entry.body, (lambda: turns) if lazy else turns, request, self.bounds)
        if entry.size <= self.bounds.bytes and self.bounds.replies:
            self.entries = [*(other for other in self.entries if other.name != name), entry]
            while len(self.entries) > self.bounds.replies or sum(other.size for other in self.entries) > self.bounds.bytes:
                del self.entries[0]

    @rule(name=NAMES, key=KEYS)
    def get(self, name: str, key: str) -> None:
        """A reply is given whole, to its own key, before its time is up; asking does not make it younger."""
        entry = next((entry for entry in self.entries if entry.name == name), None)
        if entry is not None and entry.until <= self.now:
            self.entries.remove(entry)
            entry = None
        response = self.store.get(name, key)
        if entry is None or entry.key != key:
            assert response is None
        else:
            assert response is not None
            assert (response.key, response.body, response.messages) == (entry.key, entry.body, entry.messages)

    @rule(name=NAMES)
    def drop(self, name: str) -> None:
        """What is dropped is gone, and what is not there may be dropped."""
        self.store.drop(name)
        self.entries = [entry for entry in self.entries if entry.name != name]

    @rule(seconds=st.sampled_from([0.5, 1.0, 9.5, 10.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(replies=st.integers(0, 4), size=st.sampled_from([0, 50, 100]), seconds=st.sampled_from([1.0, 10.0]))
    def reload(self, replies: int, size: int, seconds: float) -> None:
        """New bounds count from the next reply; the time of one that is kept does not change."""
        self.bounds = replace(self.bounds, replies=replies, bytes=size, seconds=seconds)

    @invariant()
    def it_counts_what_it_keeps(self) -> None:
        """The size is the sum of what is kept, so it neither drifts nor outlives what it counts."""
        assert self.store.size == sum(entry.size for entry in self.entries)


TestStore = StoreMachine.TestCase
TestStore.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_the_oldest_goes_first() -> None:
    """The bound in number and the bound in bytes each put out the oldest, though it was asked for last."""
    for bounds in (Bounds(replies=2, bytes=1000), Bounds(replies=1000, bytes=20)):
        store = ResponseStore(lambda: 0.0)
        for name in ("first", "second"):
            store.put(name, "", b"0123456789", [], 0, bounds)
        assert store.get("first", "") is not None
        store.put("third", "", b"0123456789", [], 0, bounds)
        assert [name for name in ("first", "second", "third") if store.get(name, "")] == ["second", "third"]
        assert store.size == 20


def test_one_that_is_too_large_puts_nothing_out() -> None:
    """A reply that alone is more than the bound is not kept, nor does it cost the others their place; at the bound it is."""
    store = ResponseStore(lambda: 0.0)
    store.put("small", "", b"0", [], 0, Bounds(bytes=10))
    store.put("large", "", b"0", [], 10, Bounds(bytes=10))
    assert (store.get("large", ""), store.size) == (None, 1)
    assert store.get("small", "") is not None
    store.put("full", "", b"0", [], 9, Bounds(bytes=10))
    assert (store.get("small", ""), store.size) == (None, 10)
    assert store.get("full", "") is not None


@pytest.mark.parametrize(("passed", "lives"), [(9.9, True), (10.0, False)])
def test_a_reply_lives_its_seconds(passed: float, lives: bool) -> None:
    """Until its time is up it is there, and from then on it is neither given nor counted."""
    now = 0.0
    store = ResponseStore(lambda: now)
    store.put("reply", "", b"0", [], 4, Bounds(seconds=10.0))
    now = passed
    assert (store.get("reply", "") is not None, store.size) == (lives, 5 if lives else 0)


def test_another_key_neither_sees_nor_removes_it() -> None:
    """Who asks with another key gets nothing, and the reply is there for its own key afterwards."""
    store = ResponseStore(lambda: 0.0)
    store.put("reply", "alice", b"0", [], 0, Bounds())
    assert store.get("reply", "bob") is None
    assert store.get("reply", "") is None
    assert store.get("reply", "alice") is not None


def test_a_conversation_is_read_when_it_is_asked_for() -> None:
    """What reads a conversation from its bytes is not called by keeping or finding the reply."""
    read: list[str] = []

    def turns() -> list[ChatMessage]:
        read.append("conversation")
        return [ChatMessage("assistant", [])]

    store = ResponseStore(lambda: 0.0)
    store.put("reply", "", b"0", turns, 0, Bounds())
    response = store.get("reply", "")
    assert (response is not None, read) == (True, [])
    assert response is not None
    assert (response.messages, read) == ([ChatMessage("assistant", [])], ["conversation"])
