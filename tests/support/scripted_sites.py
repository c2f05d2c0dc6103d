"""A chat site on loopback: the server half of its wire, answering with events that the test chooses."""

from __future__ import annotations

from collections.abc import Callable

from polychat.events import Event, Text
from polychat.wire.answering import Request, Response, Site, SiteRequest
from polychat.wire.reading import complete

from .scripted_server import Handler, Say, Seen

Answer = Callable[[SiteRequest], list[list[Event]]]
"""The batches of an answer."""


def echo(question: SiteRequest) -> list[list[Event]]:
    """``echo: `` and the question, a word a batch."""
    words = f"echo: {question.text}".split(" ")
    return [[Text(f" {word}" if number else word)] for number, word in enumerate(words)] + [[complete()]]


def request(seen: Seen) -> Request:
    return Request(seen.method, seen.path, seen.query, seen.headers, seen.body, "http://127.0.0.1")


def written_reply(question: SiteRequest, answer: Answer = echo) -> list[bytes]:
    """The bytes of an answer as its service's writer gives them, a batch a piece."""
    pieces = [question.writer.write(batch) for batch in answer(question)]
    return [piece for piece in [*pieces, question.writer.end()] if piece]


def answering(site: Site, answer: Answer = echo) -> Handler:
    """A handler for ``serve``."""

    async def handler(seen: Seen, say: Say) -> None:
        question = site.receive(request(seen))
        if isinstance(question, Response):
            await say.whole(question.body, question.status, question.content_type, question.headers)
            return
        pieces = written_reply(question, answer)
        if question.writer.streams:
            await say.stream(pieces, question.writer.content_type)
        else:
            await say.whole(b"".join(pieces), question.writer.status, question.writer.content_type)

    return handler
