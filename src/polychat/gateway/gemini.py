"""Gemini's generateContent and streamGenerateContent, countTokens, and its embeddings."""

from __future__ import annotations

from urllib.parse import parse_qs

from ..types import Ask
from ..wire import gemini
from ..wire.answering import Writer
from ..wire.wires import wire
from .counting import counted
from .door import Door, Object, Question, shallow, with_model
from .embedding import embedded
from .visit import Visit

ACTIONS = ("generateContent", "streamGenerateContent")


class Gemini(Door):
    """``/v1beta/models/{model}:…``, and the same under ``/v1``. A model's name may hold slashes."""

    name = "gemini"
    wire = wire("gemini")
    beat = b""
    """None: Google's own client takes a comment for the beginning of a reply."""

    def question(self, visit: Visit) -> Question:
        limits = visit.setup.limits
        model, action = named(visit.path)
        stream = action == "streamGenerateContent"
        fields = shallow(visit.body, limits)
        question = Question(self, visit.body, fields, model, stream=stream, limits=limits)
        if stream and parse_qs(visit.query).get("alt") != ["sse"]:
            question.own_form = "array"
            question.may_pass = False
        return question

    def read(self, question: Question) -> Ask:
        return gemini.read_request(question.body, model=question.model, stream=question.stream)

    def writer(self, question: Question, ask: Ask, name: str, created: int) -> Writer:
        return gemini.writer(ask, name, created, question.model, array=question.own_form == "array")

    def path(self, model: str, *, stream: bool) -> str:
        return gemini.path(Ask(model, [], stream=stream))

    def relayed(self, question: Question, model: str, *, usage: bool, fields: Object | None = None) -> bytes:
        return with_model(question.fields if fields is None else fields, None)  # the path says it


def named(path: str) -> tuple[str, str]:
    """Model and action of a path such as ``/v1beta/models/house/small:generateContent``."""
    model, _, action = path.partition("/models/")[2].rpartition(":")
    return model, action


async def count(visit: Visit) -> None:
    """``:countTokens``."""
    ask = gemini.read_count_request(visit.body, model=named(visit.path)[0])
    await visit.json(gemini.write_count(await counted(visit, ask)))


async def embed(visit: Visit) -> None:
    """``:embedContent`` and ``:batchEmbedContents``."""
    await embedded(visit, "gemini", named(visit.path)[0])
