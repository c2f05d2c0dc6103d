"""What a reply has in two places, or of a file: written once in every dialect, and never left out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from polychat.events import Citation, Event, Reasoning
from polychat.wire.contract import names, wire_named

from ..support.gateway_for_clients import HELLO, before, house
from ..support.running_gateway import asking, chunk, completion
from ..support.scripted_server import Say, Seen

THOUGHT = "Let me think."
DETAILS = [{"type": "reasoning.text", "text": THOUGHT, "signature": "c2lnbmVk", "index": 0}]
MODES = [pytest.param(True, id="stream"), pytest.param(False, id="whole")]
TRANSLATED = [name for name in names() if name != "openai-chat"]


def read_as_client(dialect: str, body: bytes, *, stream: bool) -> list[Event]:
    wire = wire_named(dialect)
    reader = wire.Reader()
    return [*reader.feed(body), *reader.end()] if stream else wire.read_reply(body)


async def thinks_twice(seen: Seen, say: Say) -> None:
    """As OpenRouter and others say a thought: as one text, and as a block with its signature."""
    twice = {"reasoning": THOUGHT, "reasoning_details": DETAILS}
    if not seen.json.get("stream"):
        body = completion("42")
        body["choices"][0]["message"] |= twice
        await say.whole(body)
        return
    await say.head(content_type="text/event-stream")
    for delta in (twice, {"content": "42"}):
        await say.chunk(chunk(delta))
    await say.chunk(chunk({}, "stop") + b"data: [DONE]\n\n")
    await say.last()


@pytest.mark.parametrize("stream", MODES)
@pytest.mark.parametrize("dialect", TRANSLATED)
async def test_a_thought_in_two_formats_is_written_once(dialect: str, stream: bool) -> None:
    """Whoever reads it in another dialect reads it once."""
    async with before({"house": ("openai-chat", thinks_twice)}) as here:
        answer = await here.ask(*asking(dialect, stream=stream))
    events = read_as_client(dialect, answer.body, stream=stream)
    assert "".join(event.text for event in events if isinstance(event, Reasoning)) == THOUGHT


@pytest.mark.parametrize("backend", names())
async def test_a_thought_that_comes_back_in_two_shapes_is_sent_once(backend: str) -> None:
    """A client that hands a message back as it came has the thought in both: a backend of another wire does not get it
    twice.
    """
    message = {"role": "assistant", "content": "42", "reasoning_content": THOUGHT, "reasoning_details": DETAILS}
    turns = [{"role": "user", "content": "hi"}, message, {"role": "user", "content": "and now?"}]
    async with house(backend, HELLO) as (here, dialect):
        await here.ask(*asking("openai-chat", messages=turns))
    sent = dialect.seen[0].body.decode()
    if backend == "openai-chat":
        assert dialect.seen[0].json["messages"] == turns, "where it passes as it came"
    else:
        assert sent.count(THOUGHT) <= 1


ANNOTATED = {
    "openai-chat": completion("x")
    | {
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "x", "annotations": [{"type": "file", "file": {"name": "a.pdf"}}]},
                "finish_reason": "stop",
            }
        ]
    },
    "openai-responses": {
        "id": "r",
        "object": "response",
        "status": "completed",
        "output": [
            {
                "type": "message",
                "role": "assistant",
                "content": [
                    {
                        "type": "output_text",
                        "text": "x",
                        "annotations": [
                            {"type": "file_citation", "file_id": "file-1", "filename": "a.pdf", "index": 0},
                            {"type": "container_file_citation", "container_id": "c", "file_id": "cfile-1", "filename": "b.csv"},
                            {"type": "file_path", "file_id": "file-2", "index": 0},
                        ],
                    }
                ],
            }
        ],
    },
    "anthropic": {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "content": [
            {
                "type": "text",
                "text": "x",
                "citations": [{"type": "char_location", "cited_text": "y", "document_index": 0, "document_title": "a.pdf"}],
            }
        ],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 1, "output_tokens": 1},
    },
    "gemini": {
        "candidates": [
            {
                "content": {"role": "model", "parts": [{"text": "x"}]},
                "finishReason": "STOP",
                "groundingMetadata": {"groundingChunks": [{"retrievedContext": {"title": "a.pdf", "text": "y"}}]},
            }
        ]
    },
}
"""A whole reply that cites a file, on each wire that has such."""
NAMES = {"openai-responses": ["a.pdf", "b.csv", "file-2"]}


@pytest.mark.parametrize("name", ANNOTATED)
def test_a_cited_file_is_named(name: str) -> None:
    """It has no address that anybody could open, and is a source all the same."""
    events = wire_named(name).read_reply(json.dumps(ANNOTATED[name]).encode())
    cited = [event for event in events if isinstance(event, Citation)]
    assert [source.title for source in cited] == NAMES.get(name, ["a.pdf"])
    assert {source.url for source in cited} == {""}


@pytest.mark.parametrize("dialect", [name for name in names() if name != "openai-responses"])
@pytest.mark.parametrize("stream", MODES)
async def test_a_cited_file_in_every_dialect(dialect: str, stream: bool) -> None:
    """A stream tells it as the whole reply does, and its words come whole whatever the dialect has for files."""
    part = ANNOTATED["openai-responses"]["output"][0]["content"][0]

    async def cites(seen: Seen, say: Say) -> None:
        if not seen.json.get("stream"):
            await say.whole(ANNOTATED["openai-responses"])
            return
        place: dict[str, Any] = {"item_id": "m", "output_index": 0, "content_index": 0}
        events: list[dict[str, Any]] = [{"type": "response.output_text.delta", "delta": "x", **place}]
        for at, note in enumerate(part["annotations"]):
            noted = {"annotation_index": at, "annotation": note, **place}
            events.append({"type": "response.output_text.annotation.added", **noted})
        item = ANNOTATED["openai-responses"]["output"][0]
        events.append({"type": "response.output_item.done", "output_index": 0, "item": item})
        events.append({"type": "response.completed", "response": ANNOTATED["openai-responses"]})
        await say.head(content_type="text/event-stream")
        for event in events:
            await say.chunk(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())
        await say.last()

    async with before({"house": ("openai-responses", cites)}) as here:
        answer = await here.ask(*asking(dialect, stream=stream))
    events = read_as_client(dialect, answer.body, stream=stream)
    titles = [event.title for event in events if isinstance(event, Citation)]
    assert titles == ([] if dialect == "ollama" else NAMES["openai-responses"])
    assert b'"x"' in answer.body
