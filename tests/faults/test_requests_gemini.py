"""Kind: requests of other wires that Gemini's API answers with 400, though little has to change in them."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

import pytest

from polychat.providers import CallInfo
from polychat.types import ChatMessage, ChatRequest, FilePart, Format, ImagePart, TextPart, Tool, ToolCall, ToolResult
from polychat.wire import gemini
from polychat.wire.contract import names, wire_named
from polychat.wire.losses import Loss
from polychat.wire.losses import losses as losses_of

from ..support import vendor_schemas

PIXEL = b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")
JPEG = b"\xff\xd8\xff\xe0" + bytes(20)


def sent(request: ChatRequest) -> tuple[dict[str, Any], list[Loss]]:
    """The body as a vendor of this wire gets it, which its own document allows; and the losses."""
    before = repr(request)
    better, losses = gemini.adjusted(request)
    assert repr(request) == before, "the ask that was given stays as it is"
    body = gemini.write_request(better)
    assert vendor_schemas.wrong(*vendor_schemas.REQUESTS["gemini"], {"model": "models/m", **body}) == []
    return body, losses


def request_of(*parts: Any, **more: Any) -> ChatRequest:
    return ChatRequest("gemini-3-pro", [ChatMessage("user", list(parts) or [TextPart("hi")])], wire="openai-chat", **more)


@pytest.mark.parametrize("count", [0, 1, 5, 6, 9])
def test_no_more_stops_go_out_than_are_taken(count: int) -> None:
    """The first five do, and the rest is reported."""
    stops = [f"stop {place}" for place in range(count)]
    body, losses = sent(request_of(stop=stops))
    assert body.get("generationConfig", {}).get("stopSequences", []) == stops[:5]
    assert [loss.field for loss in losses] == ["stop"] * (count > 5)


@pytest.mark.parametrize(
    ("tier", "goes", "lost"),
    [("flex", "flex", 0), ("priority", "priority", 0), ("default", "standard", 0), ("auto", None, 0), ("turbo", None, 1)],
)
def test_a_tier_goes_out_in_the_apis_words(tier: str, goes: str | None, lost: int) -> None:
    """One that it has no word for is left out and reported."""
    body, losses = sent(request_of(service_tier=tier))
    assert body.get("serviceTier") == goes
    assert [loss.field for loss in losses] == ["service_tier"] * lost


@pytest.mark.parametrize(
    ("data", "called", "goes"),
    [
        (JPEG, "image/jpg", "image/jpeg"),
        (PIXEL, "image/jpeg", "image/png"),
        (b"?", "image/jpg", "image/jpeg"),
        (b"?", "image/heic", "image/heic"),
    ],
)
@pytest.mark.parametrize("within", [False, True], ids=["of a user", "of a tool"])
def test_an_image_is_called_what_it_is(data: bytes, called: str, goes: str, within: bool) -> None:
    """By its bytes, else by the registered name of what it is called; in results of tools too."""
    image = ImagePart(data=data, media_type=called)
    request = request_of(image)
    if within:
        request.messages = [
            *request_of().messages,
            ChatMessage("assistant", [ToolCall("c", "f")]),
            ChatMessage("tool", [ToolResult("c", [image])]),
        ]
    body, losses = sent(request)
    assert f"'mimeType': '{goes}'" in str(body)
    assert losses == []


def test_no_message_goes_out_empty() -> None:
    """Empty texts are left out, and with them the turns that hold nothing else."""
    request = request_of()
    request.messages = [
        ChatMessage("user", [TextPart("hi")]),
        ChatMessage("assistant", [TextPart("")]),
        ChatMessage("user", [TextPart(""), TextPart("go on")]),
    ]
    body, losses = sent(request)
    assert [[part["text"] for part in one["parts"]] for one in body["contents"]] == [["hi"], ["go on"]]
    assert losses == []


@pytest.mark.parametrize("wire", [name for name in names() if name != "gemini"])
def test_geminis_explicit_defaults_are_no_loss_elsewhere(wire: str) -> None:
    """One answer, of text: every backend gives that. An image asked for is a loss."""
    body = {
        "contents": [{"parts": [{"text": "hi"}]}],
        "generationConfig": {"candidateCount": 1, "responseModalities": ["TEXT"]},
    }
    support_table, vendor = wire_named(wire).SUPPORT, wire_named(wire).VENDOR
    request = gemini.read_request(json.dumps(body).encode(), model="m")
    assert losses_of(request, support_table, wire, vendor) == []
    body["generationConfig"] = {"responseModalities": ["TEXT", "IMAGE"]}
    request = gemini.read_request(json.dumps(body).encode(), model="m")
    assert [loss.field for loss in losses_of(request, support_table, wire, vendor)] == ["extra.foreign"]


@pytest.mark.parametrize("wire", names())
def test_a_file_that_another_vendor_holds_is_not_sent(wire: str) -> None:
    """Where it is allowed to be lost it is reported, and its id goes to nobody: of a user and of a tool."""
    file = FilePart(id="file-of-another")
    turns = [
        *[ChatMessage("user", [TextPart("hi"), file]), ChatMessage("assistant", [ToolCall("c", "f", "{}")])],
        *[ChatMessage("tool", [ToolResult("c", [TextPart("x"), file], "f")]), ChatMessage("user", [TextPart("and?")])],
    ]
    request, call_info = ChatRequest("m", turns, wire="anthropic" if wire != "anthropic" else "openai-chat"), CallInfo("allow")
    better = call_info.apply_loss_policy(request, wire_named(wire).SUPPORT, wire, wire_named(wire).VENDOR)
    assert "parts.file.id.foreign" in [loss.field for loss in call_info.losses]
    assert "file-of-another" not in str(wire_named(wire).write_request(better))


def test_the_clients_own_words_go_as_they_are() -> None:
    """What came on Gemini's own wire is for the API to judge."""
    request = request_of(ImagePart(data=JPEG, media_type="image/jpg"), stop=list("abcdefg"), service_tier="turbo")
    request.wire = gemini.NAME
    assert gemini.adjusted(request) == (request, [])


def test_limits_that_are_null_are_left_out() -> None:
    """At any depth, in lists of schemas too; a property of such a name, and values that may be null, stay."""
    inner = {
        "type": ["array", "null"],
        "items": {"anyOf": [{"type": "integer", "maximum": None}, {"type": "null"}]},
        "maxItems": None,
    }
    schema = {
        "type": "object",
        "properties": {"maxItems": inner, "x": {"enum": [None], "default": None, "pattern": None}},
        "$defs": {"A": {"oneOf": [{"minItems": None, "const": None}]}},
        "prefixItems": [{"minLength": None}],
    }
    expected = {
        "type": "object",
        "properties": {
            "maxItems": {"type": ["array", "null"], "items": {"anyOf": [{"type": "integer"}, {"type": "null"}]}},
            "x": {"enum": [None], "default": None},
        },
        "$defs": {"A": {"oneOf": [{"const": None}]}},
        "prefixItems": [{}],
    }
    body, losses = sent(request_of(tools=[Tool("f", None, schema)], format=Format("schema", schema)))
    assert body["tools"][0]["functionDeclarations"][0]["parametersJsonSchema"] == expected
    assert body["generationConfig"]["responseJsonSchema"] == expected
    assert losses == []


@pytest.mark.parametrize(("count", "lost"), [(9, False), (10, True)])
def test_lengths_of_arrays_that_come_to_too_much_are_left_out(count: int, lost: bool) -> None:
    """The API answers 400 without a word of which field: what goes out has none of them then, and that is reported."""
    schema = {"type": "object", "properties": {f"x{at}": {"type": "array", "maxItems": 100} for at in range(count)}}
    body, losses = sent(request_of(tools=[Tool("f", None, schema)], format=Format("schema", schema)))
    assert ("maxItems" in json.dumps(body)) is not lost
    assert [(loss.field, loss.kind) for loss in losses] == [("tools", "emulated"), ("format.schema", "emulated")] * lost
