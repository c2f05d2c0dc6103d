"""What the arguments of ``polychat ask`` ask, checked, and not sent yet."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..client import Stream
from ..client.calls import stream_of
from ..client.targets import Targets, targets_of, user_targets
from ..types import ChatMessage, Conversation, Part, TextPart
from .ask_options import options_from
from .attaching import attached
from .prompting import given_input
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

    def stream(self) -> Stream:
        """The reply, which is requested when it is first read. Raises ``BadInput``."""
        prompt: str | Conversation = self.prompt
        if self.attachments and self.prompt.strip():
            prompt = [ChatMessage("user", [*self.attachments, TextPart(self.prompt)])]
        return stream_of(self.targets, prompt, self.model, self.system, dict(self.options))

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
    parts = attached(arguments.file, arguments.image, arguments.timeout) if arguments.file or arguments.image else []
    questions = []
    for model in models:
        name = filled.model if model is None else model
        options = options_from(arguments, targets, name, filled.options)
        questions.append(Question(targets, name, filled.system, filled.prompt, parts, options))
    return questions
