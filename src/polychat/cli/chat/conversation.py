"""A conversation that can be retried, changed and taken back: a tree of exchanges, of which one branch is shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ...client import Reply
from ...types import ChatMessage, Part, TextPart


@dataclass(slots=True, eq=False)
class Turn:
    """A question and its reply."""

    question: ChatMessage
    parent: Turn | None
    model: str
    reply: Reply | None = None
    """``None`` until there is one, and where it failed before its first piece."""
    rounds: list[tuple[Reply, ChatMessage]] = field(default_factory=list)
    """The replies before it that called tools, each with the results."""
    later: list[Turn] = field(default_factory=list)

    @property
    def text(self) -> str:
        """What the person typed."""
        parts = self.question.parts
        return parts[-1].text if parts and isinstance(parts[-1], TextPart) else ""

    def messages(self) -> list[ChatMessage]:
        """What comes before its reply: the question, and the calls with their results."""
        return [self.question, *(message for reply, results in self.rounds for message in (reply.turn(), results))]

    def path(self) -> list[Turn]:
        """From the first exchange to this one."""
        found: list[Turn] = []
        turn: Turn | None = self
        while turn is not None:
            found.append(turn)
            turn = turn.parent
        return found[::-1]


class BranchingConversation:
    """All that was asked. ``last`` is the exchange that the next one follows."""

    def __init__(self, model: str, system: str | None = None, earlier: Sequence[ChatMessage] = ()) -> None:
        """``earlier``: the messages before the first question."""
        self.model = model
        self.system = system
        self._earlier = earlier
        self.last: Turn | None = None
        self._before: tuple[Turn | None, str] = None, model
        """``last`` and ``model`` before the latest question."""
        self._first: list[Turn] = []

    def ask(self, parts: Sequence[Part], text: str) -> Turn:
        """A new question after the last exchange."""
        return self._added(ChatMessage("user", [*parts, TextPart(text)]), self.last)

    def retry(self, model: str | None = None) -> Turn | None:
        """The last question once more, beside its reply; ``None`` where nothing was asked."""
        if self.last is None:
            return None
        return self._added(self.last.question, self.last.parent, model)

    def edit(self, text: str) -> Turn | None:
        """The last question with another text, beside it; its attachments stay."""
        if self.last is None:
            return None
        return self._added(ChatMessage("user", [*self.last.question.parts[:-1], TextPart(text)]), self.last.parent)

    def undo(self) -> Turn | None:
        """Take the last exchange back: the next question follows the one before. It stays a branch."""
        undone = self.last
        if undone is not None:
            self.last = undone.parent
        return undone

    def branches(self) -> list[Turn]:
        """The end of each branch, in the order of their beginnings."""
        return [turn for turn in self._all() if not turn.later]

    def switch(self, number: int) -> Turn | None:
        """Go on from the end of that branch, counted from 1; ``None`` if there is none."""
        ends = self.branches()
        if not 1 <= number <= len(ends):
            return None
        self.last = ends[number - 1]
        return self.last

    def messages(self, turn: Turn) -> list[ChatMessage]:
        """What is sent to have ``turn`` answered."""
        sent = list(self._earlier)
        for each in turn.path():
            sent += each.messages()
            if each is not turn and each.reply is not None and each.reply.text:
                sent.append(each.reply.turn())
        return sent

    def forget(self, turn: Turn) -> None:
        """Leave out a question that got no reply at all: the conversation is as it was before."""
        siblings = self._first if turn.parent is None else turn.parent.later
        siblings.remove(turn)
        self.last, self.model = self._before

    def replies(self) -> Iterator[Reply]:
        """Of all branches: each was paid for."""
        for turn in self._all():
            yield from (reply for reply, _ in turn.rounds)
            if turn.reply is not None:
                yield turn.reply

    def _added(self, question: ChatMessage, parent: Turn | None, model: str | None = None) -> Turn:
        turn = Turn(question, parent, model or self.model)
        self._before = self.last, self.model
        self.model = turn.model
        (self._first if parent is None else parent.later).append(turn)
        self.last = turn
        return turn

    def _all(self) -> Iterator[Turn]:
        waiting = self._first[::-1]
        while waiting:
            turn = waiting.pop()
            yield turn
            waiting += turn.later[::-1]
