"""A conversation with branches: what is sent of it, whatever was retried, changed and taken back."""

from __future__ import annotations

from polychat.cli.chat.conversation import BranchingConversation, Turn
from polychat.client import Reply


def answered(turn: Turn | None, text: str) -> Turn:
    assert turn is not None
    turn.reply = Reply("p", "m", text, "complete")
    return turn


def sent(conversation: BranchingConversation, turn: Turn) -> list[str]:
    return [getattr(message.parts[-1], "text", "?") for message in conversation.messages(turn)]


def test_questions_follow_each_other() -> None:
    """Each with the replies before it; one without a reply leaves no gap."""
    conversation = BranchingConversation("a/x")
    answered(conversation.ask([], "one"), "1")
    conversation.ask([], "two")
    assert sent(conversation, conversation.ask([], "three")) == ["one", "1", "two", "three"]


def test_a_retry_stands_beside_the_reply() -> None:
    """The first reply is not sent, and stays a branch; another model stays the model."""
    conversation = BranchingConversation("a/x")
    answered(conversation.ask([], "one"), "1")
    again = answered(conversation.retry("b/y"), "uno")
    assert (again.model, conversation.model) == ("b/y", "b/y")
    assert sent(conversation, again) == ["one"]
    assert sent(conversation, conversation.ask([], "two")) == ["one", "uno", "two"]
    assert [turn.text for turn in conversation.branches()] == ["one", "two"]


def test_edit_undo_and_switch() -> None:
    """An edit replaces the last question, an undo goes one back, a switch to the end of another branch."""
    conversation = BranchingConversation("a/x")
    answered(conversation.ask([], "one"), "1")
    answered(conversation.ask([], "two"), "2")
    answered(conversation.edit("zwei"), "II")
    assert sent(conversation, conversation.ask([], "three")) == ["one", "1", "zwei", "II", "three"]
    assert conversation.undo() is not None
    assert conversation.undo() is not None
    assert sent(conversation, conversation.ask([], "drei")) == ["one", "1", "drei"]
    switched = conversation.switch(1)
    assert switched is not None
    assert switched.text == "two"
    assert conversation.switch(0) is conversation.switch(9) is None
    assert len(list(conversation.replies())) == 3


def test_nothing_to_retry() -> None:
    """Before the first question, and after a question without any reply is forgotten."""
    conversation = BranchingConversation("a/x")
    assert conversation.retry() is conversation.edit("x") is conversation.undo() is None
    conversation.forget(conversation.ask([], "one"))
    assert (conversation.last, conversation.branches()) == (None, [])
