"""What the arguments of ``polychat ask`` ask, checked, and not sent yet."""

from __future__ import annotations

import argparse
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from ..client import Stream
from ..client.calls import stream_of
from ..client.targets import Targets, targets_of, user_targets
from ..types import ChatMessage, Conversation, Part, TextPart
from .ask_options import options_from
from .attaching import attached
from .prompting import given_input
from .recording import Earlier, earlier_of, keep
from .template_files import Filled, template_at


@dataclass(frozen=True, slots=True)
class Question:
    """One request to one model, or to the default."""

    targets: Targets
    model: str | None
    system: str | None
    prompt: str
    attachments: Sequence[Part]
    options: dict[str, Any]
    earlier: Earlier
    is_kept: bool
    """Whether it is recorded; see ``polychat log``."""

    def stream(self, *more: ChatMessage) -> Stream:
        """The reply, which is requested when it is first read; ``more`` follows the prompt. Raises ``BadInput``."""
        prompt: str | Conversation = self.prompt
        if (self.attachments or self.earlier.messages or more) and self.prompt.strip():
            prompt = [*self.earlier.messages, self.message(), *more]
        return stream_of(self.targets, prompt, self.model, self.system, dict(self.options))

    def message(self) -> ChatMessage:
        """The new message of the user."""
        return ChatMessage("user", [*self.attachments, TextPart(self.prompt)])

    def with_system(self, system: str) -> Question:
        """The question with these instructions before its own."""
        return replace(self, system=f"{system}\n\n{self.system}" if self.system else system)


def questions_from(arguments: argparse.Namespace, models: Sequence[str | None]) -> list[Question]:
    """A question to each model; input and attachments are read once. Raises ``BadInput``, and as ``attached``."""
    targets = user_targets() if arguments.config is None else targets_of(arguments.config)
    given = given_input(arguments.prompt)
    if arguments.template is None:
        filled = Filled(given.text(), arguments.system)
    else:
        filled = template_at(arguments.template).filled(given, arguments)
        arguments.schema = arguments.schema or filled.schema
    earlier = earlier_of(arguments)
    parts = attached(arguments.file, arguments.image, arguments.timeout) if arguments.file or arguments.image else []
    questions = []
    for model in models:
        name = next((name for name in (model, filled.model, earlier.model) if name is not None), None)
        options = options_from(arguments, targets, name, filled.options)
        system = earlier.system if filled.system is None else filled.system
        questions.append(Question(targets, name, system, filled.prompt, parts, options, earlier, not arguments.no_log))
    return questions


@contextmanager
def recorded(question: Question, reply: Stream, more: Sequence[ChatMessage] = ()) -> Generator[None]:
    """Keep what the reply to a question has in the end, also of one that failed or was interrupted.

    ``more`` are the calls and results before it. A reply that calls tools is kept with the one that follows it.
    """
    try:
        yield
    finally:
        if question.is_kept and reply.text and not reply.tool_calls:
            model = question.targets.default_model() if question.model is None else question.model
            keep(question.earlier, model, question.system, question.prompt, [question.message(), *more], reply)
