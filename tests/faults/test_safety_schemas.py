"""Kind: a large schema that is held many times over: one that changes on its way, and one whose tokens are counted."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from polychat.backends.vendor import sendable
from polychat.gateway import dialects
from polychat.gateway.dialects.dialect import OPENED, RAW
from polychat.types import ChatRequest, FilePart, ImagePart, TextPart, Tool
from polychat.wire import json_text, placeholders
from polychat.wire.contract import counting, names, wire_named
from polychat.wire.raw_schemas import has_raw

from ..support.large_requests import (
    COPIES,
    LARGE,
    LONG,
    LONG_TEXT,
    PNG,
    each_other,
    forgetful,
    large,
    peak_of,
    request,
    sent_in_pieces,
    with_media,
)
from ..support.running_gateway import configured, gateway, row
from ..support.scripted_server import Say, Seen


def object_of(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def many(member: dict[str, Any]) -> dict[str, Any]:
    """So many of them that they are ``LARGE``."""
    count = LARGE // (len(json_text.encoded({"parameter_100000": member})) - 1) + 1
    return {f"parameter_{100_000 + at}": member for at in range(count)}


def own(number: int) -> dict[str, Any]:
    """A third of as many, whose names nobody else has."""
    members = list(many(OPEN).items())
    return {f"{name}_{number}": member for name, member in members[: len(members) // 3]}


WORD = {"type": "string", "description": "Why is the sky blue, and not “violet”? " * 3}
OPEN = object_of({"x": WORD})
CHANGED_SCHEMAS: dict[str, Callable[[], dict[str, Any]]] = {
    "open objects": lambda: object_of(many(OPEN)),
    "one open object around": lambda: object_of(
        {"a": object_of({"b": object_of(many({**OPEN, "additionalProperties": False}))})}
    ),
    "a choice at the top": lambda: {"type": "object", "anyOf": [object_of(many(OPEN))]},
    "several large choices at the top": lambda: {"type": "object", "anyOf": [object_of(own(number)) for number in range(3)]},
    "a long choice": lambda: object_of({"a": {"anyOf": list(many(OPEN).values())}}),
    "limits that say nothing": lambda: object_of(many({**WORD, "maxItems": None})),
    "lengths": lambda: object_of(many({"type": "array", "items": WORD, "maxItems": 7})),
}
"""Schemas of which each object, or one, becomes another on the way to some wire."""


@pytest.mark.parametrize("kind", sorted(CHANGED_SCHEMAS))
@pytest.mark.parametrize(
    ("to", "spelled"),
    # How a body is spelled is a matter of its reading, which does not know who is asked then.
    [*((to, "compact") for to in names()), ("anthropic", "with blanks"), ("gemini", "with blanks")],
)
async def test_a_schema_that_changes_on_its_way_costs_no_more(to: str, kind: str, spelled: str) -> None:
    """A strict one, of a tool: what becomes of it is not held beside what came and what is sent."""
    tool = Tool("large", "d", CHANGED_SCHEMAS[kind](), strict=True)
    _, body = request("openai-responses", replace(with_media(ImagePart(data=PNG, media_type="image/png")), tools=[tool]))
    body = json.dumps(json.loads(body), ensure_ascii=False).encode() if spelled == "with blanks" else body
    peak = await peak_of("openai-responses", to, body)
    assert peak <= COPIES * len(body), f"{peak / len(body):.2f} times the body"


@pytest.mark.parametrize("kind", sorted(CHANGED_SCHEMAS))
@each_other
def test_a_large_schema_becomes_what_a_small_one_does(to: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sent of a schema that stayed JSON is what is sent of one that was decoded."""
    monkeypatch.setattr(f"{__name__}.LARGE", 3 << 17)
    tool = Tool("large", "d", CHANGED_SCHEMAS[kind](), strict=True)
    _, body = request("openai-responses", replace(with_media(), tools=[tool]))
    sent = []
    for limits in (RAW, OPENED):
        read = wire_named("openai-responses").read_request(body, model="m", limits=limits)
        assert has_raw(read) == (limits is RAW)
        better, _ = wire_named(to).adjusted(read, "vendor")
        sent.append(json.loads(sendable(wire_named(to).write_request(better, vendor="vendor"))))
    assert sent[0] == sent[1]


@each_other
async def test_a_schema_in_the_words_of_gemini_costs_no_more(to: str) -> None:
    """Each of its members becomes another, and then yet another at some wires."""
    schema = json.loads(
        json_text.encoded(object_of(many(OPEN))).replace(b'"object"', b'"OBJECT"').replace(b'"string"', b'"STRING"')
    )
    _, body = request("gemini", with_media(ImagePart(data=PNG, media_type="image/png")))
    value = json.loads(body)
    value["tools"] = [{"functionDeclarations": [{"name": "f", "parameters": schema}]}]
    body = json_text.encoded(value)
    peak = await peak_of("gemini", to, body)
    assert peak <= COPIES * len(body), f"{peak / len(body):.2f} times the body"


def counting_paths() -> dict[str, str]:
    """Where each dialect counts tokens, by its wire: of every module of endpoints that has such an endpoint."""
    paths = {}
    for module in dialects.every("endpoints"):
        served = dict(module.ENDPOINTS)
        served |= {
            f"/v1beta/models/house/small:{word}": endpoint for word, endpoint in getattr(module, "OF_MODELS", {}).items()
        }
        if matching := [path for path, endpoint in served.items() if getattr(endpoint.answer, "__name__", "") == "count"]:
            (paths[module.DIALECT.wire.NAME],) = matching
    return paths


def to_count(come: str, chat_request: ChatRequest) -> bytes:
    """A body of which the tokens are to be counted."""
    _, body = request(come, chat_request)
    return (
        b'{"generateContentRequest":%b}' % body.replace(b"{", b'{"model":"models/house/small",', 1)
        if come == "gemini"
        else body
    )


def test_every_wire_that_counts_has_a_path() -> None:
    """So that none is left out below."""
    assert set(counting_paths()) >= {name for name in names() if counting(name) is not None}


each_counting = pytest.mark.parametrize("to", ["openai-chat", *(name for name in names() if counting(name) is not None)])
each_counted = pytest.mark.parametrize("come", sorted(counting_paths()))


@pytest.mark.parametrize("kind", ["tool", "text"])
@each_counting
@each_counted
async def test_counting_a_large_request_costs_no_more(come: str, to: str, kind: str) -> None:
    """By the backend's own count as by an estimate: it is read and written beside the loop."""
    counts = counting(to)
    body, small = to_count(come, large(kind)), to_count(come, with_media())
    path = counting_paths()[come]
    answer = None if counts is None else counts.write_count(1234)
    async with forgetful(to, answer) as (url, sizes), gateway(configured({"house": row(to, url)})) as here:
        assert b" 200 " in await sent_in_pieces(here, path, small)
        tracemalloc.start()
        try:
            assert b" 200 " in await sent_in_pieces(here, path, body)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak <= COPIES * len(body), f"{peak / len(body):.2f} times the body"
    assert len(sizes) == (0 if counts is None else 2)


@each_counting
@each_counted
async def test_long_texts_are_counted_as_they_came(come: str, to: str, serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the backend, which gets them, and by the estimate; a document's pages and a text that becomes a file are looked at."""
    counts = counting(to)
    expected = json.loads(b"{}" if counts is None else counts.write_count(1234))

    async def answering(seen: Seen, say: Say) -> None:
        await say.whole(expected)

    plain = with_media(TextPart(LONG_TEXT))
    about = "Why is the sky blue? " * 999  # of a schema the estimate counts the JSON, in which an escape is two bytes
    plain.tools = [Tool("f", LONG_TEXT, object_of({"a": {"type": "string", "description": about}}))]
    with_file = with_media(TextPart(LONG_TEXT), FilePart(data=LONG_TEXT.encode(), media_type="text/plain", name="a.txt"))
    bodies = [to_count(come, plain), to_count(come, with_file)]
    counted = []
    for least in (LONG, 10**9):
        monkeypatch.setattr(placeholders, "LONG", least)
        monkeypatch.setattr("polychat.gateway.counting.LARGE", least)
        backend = await serve(answering)
        async with gateway(configured({"house": row(to, backend.url)})) as here:
            answers = [await here.ask(counting_paths()[come], body) for body in bodies]
        counted.append(([(answer.status, answer.body) for answer in answers], [seen.json for seen in backend.seen]))
    assert counted[0] == counted[1]
    assert counted[0][0][0][0] == 200
