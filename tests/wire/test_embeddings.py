"""Embeddings in the three shapes, asked for and answered."""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from typing import Any

import httpx
import ollama
import openai
import pytest
from google import genai
from google.genai import types as genai_types
from hypothesis import given, settings
from hypothesis import strategies as st

from polychat.errors import BadInput, BadReply
from polychat.events import Usage
from polychat.wire.contract import names
from polychat.wire.embeddings import (
    Embed,
    Embeddings,
    Shape,
    path,
    read_reply,
    read_request,
    shape_of,
    write_reply,
    write_request,
)
from polychat.wire.json_text import encoded

SHAPES: list[Shape] = ["openai", "gemini", "ollama"]
FLOATS = st.floats(-8, 8, width=32)  # what 4 bytes hold
VECTORS = st.integers(1, 3).flatmap(
    lambda size: st.lists(st.lists(FLOATS, min_size=size, max_size=size), min_size=1, max_size=3)
)
TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), min_size=1, max_size=3)


@st.composite
def embeds(draw: Any, shape: Shape) -> Embed:
    request = Embed("model-1", draw(TEXTS), draw(st.none() | st.integers(1, 99)), shape=shape)
    request.extra = draw(st.dictionaries(st.sampled_from(["x_one", "x_two"]), st.integers() | st.text("ab"), max_size=2))
    if shape == "openai":
        request.user = draw(st.none() | st.just("u"))
        request.base64 = draw(st.booleans())
    if shape == "gemini":
        request.single = len(request.inputs) == 1 and draw(st.booleans())
    return request


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_request_comes_back(shape: Shape, data: Any) -> None:
    """With what only its own shape says."""
    request = data.draw(embeds(shape))
    assert read_request(shape, encoded(write_request(shape, request))) == request


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=40, deadline=None)
@given(data=st.data(), vectors=VECTORS)
def test_an_answer_comes_back(shape: Shape, data: Any, vectors: list[list[float]]) -> None:
    """Its vectors to the last bit, as numbers and as base64; its model and its count where the shape tells them."""
    request = data.draw(embeds(shape))
    request.single = request.single and len(vectors) == 1
    reply = read_reply(shape, write_reply(shape, Embeddings(vectors, "model-2", Usage(7)), request), count=len(vectors))
    assert reply.vectors == vectors
    assert reply.usage.prompt_tokens == 7
    assert reply.model == (None if shape == "gemini" else "model-2")


def test_extras_are_sent_in_no_other_format() -> None:
    """A task type is Gemini's; nobody else would know it."""
    request = read_request("gemini", b'{"content":{"parts":[{"text":"a"}]},"taskType":"RETRIEVAL_QUERY"}', model="m")
    assert request.extra == {"taskType": "RETRIEVAL_QUERY"}
    assert write_request("gemini", request)["taskType"] == "RETRIEVAL_QUERY"
    assert write_request("openai", request) == {"model": "m", "input": ["a"], "encoding_format": "float"}
    assert write_request("ollama", request) == {"model": "m", "input": ["a"]}


def test_where_they_are_asked() -> None:
    """Each shape has its path; Gemini's two, for one text and for several."""
    assert path("openai", Embed("m", ["a"])) == "/embeddings"
    assert path("ollama", Embed("m", ["a"])) == "/api/embed"
    assert path("gemini", Embed("m", ["a"])) == "/models/m:batchEmbedContents"
    assert path("gemini", Embed("m", ["a"], single=True)) == "/models/m:embedContent"
    shapes = {name: shape_of(name) for name in names() if name != "anthropic"}
    assert shapes == {"openai-chat": "openai", "openai-responses": "openai", "gemini": "gemini", "ollama": "ollama"}
    with pytest.raises(BadInput, match="anthropic does not support embeddings: use another model"):
        shape_of("anthropic")


@pytest.mark.parametrize("model", ["", "..", "../../secret", "small/../..", "/small", "small//x", "."])
def test_a_name_that_leads_elsewhere_is_refused(model: str) -> None:
    """Nothing is sent to a path that the vendor's key was not meant for."""
    with pytest.raises(BadInput, match="it must be a model's name"):
        path("gemini", Embed(model, ["x"]))


def test_a_name_stays_in_its_place_of_the_path() -> None:
    """What would begin a query, a fragment, or another line is written so that it cannot."""
    assert path("gemini", Embed("a?b#c\r\nd e", ["x"])) == "/models/a%3Fb%23c%0D%0Ad%20e:batchEmbedContents"


def test_one_text_is_a_list_of_one() -> None:
    """As OpenAI's and Ollama's clients may send it."""
    for shape in ("openai", "ollama"):
        assert read_request(shape, b'{"model":"m","input":"a"}').inputs == ["a"]


@pytest.mark.parametrize(
    ("shape", "sent", "field"),
    [
        ("openai", b"", "body"),
        ("openai", b"[]", "body"),
        ("openai", b'{"model":"m"}', "input"),
        ("openai", b'{"model":"m","input":[]}', "input"),
        ("openai", b'{"input":"a"}', "model"),
        ("openai", b'{"model":"m","input":"a","encoding_format":"int8"}', "encoding_format"),
        ("openai", b'{"model":"m","input":"a","dimensions":"many"}', "dimensions"),
        ("openai", b'{"model":"m","input":"a","user":5}', "user"),
        ("ollama", b'{"model":"m","input":{}}', "input"),
        ("gemini", b"{}", "content"),
        ("gemini", b'{"requests":[]}', "requests"),
        ("gemini", b'{"requests":[5]}', "requests[0]"),
        ("gemini", b'{"requests":[{"content":{"parts":[{"inlineData":{}}]}}]}', "requests[0].content.parts[0].text"),
        ("gemini", b'{"content":{"parts":[{"text":"a"}]}}', "model"),
        (
            "gemini",
            b'{"requests":[{"model":"m","content":{"parts":[]}},{"model":"m","content":{"parts":[]},"taskType":"X"}]}',
            "requests",
        ),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(shape: Shape, sent: bytes, field: str) -> None:
    """And the field is named."""
    with pytest.raises(BadInput) as caught:
        read_request(shape, sent)
    assert caught.value.field == field


def test_published_answers() -> None:
    """Examples of the vendors' pages; OpenAI's may come in any order, and as base64."""
    packed = b64encode(struct.pack("<2f", 0.5, -0.25)).decode()
    data = [{"object": "embedding", "index": 1, "embedding": packed}, {"object": "embedding", "index": 0, "embedding": [1, 2]}]
    body = {"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": 8, "total_tokens": 9}}
    assert read_reply("openai", encoded(body)) == Embeddings([[1.0, 2.0], [0.5, -0.25]], "m", Usage(8, None, 9))
    body = {
        "model": "all-minilm",
        "embeddings": [[0.010071029, -0.0017594862]],
        "total_duration": 14143917,
        "prompt_eval_count": 8,
    }
    assert read_reply("ollama", encoded(body)) == Embeddings([[0.010071029, -0.0017594862]], "all-minilm", Usage(8))
    assert read_reply("gemini", b'{"embedding":{"values":[0.5]}}').vectors == [[0.5]]
    assert read_reply("gemini", b'{"embeddings":[{"values":[0.5]},{"values":[1]}]}').vectors == [[0.5], [1.0]]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"data":5}',
        b'{"data":[{"embedding":["1"]}]}',
        b'{"data":[{"embedding":"AAA="}]}',
        b'{"data":[{"embedding":"?"}]}',
        b'{"data":[{"embedding":"AADAfw=="}]}',
        b'{"data":[{"embedding":[1],"index":"a"},{"embedding":[1],"index":0}]}',
        b'{"embeddings":[[true]]}',
        b'{"embeddings":[{"values":[null]}]}',
        b'{"embeddings":[{"values":5}]}',
        b'{"embeddings":[[[1]]]}',
        b'{"error":"no"}',
    ],
)
def test_what_is_no_answer_is_a_bad_reply(shape: Shape, body: bytes) -> None:
    """It shows what came."""
    with pytest.raises(BadReply, match="holds no embeddings"):
        read_reply(shape, body)


def test_fewer_vectors_than_texts_are_a_bad_reply() -> None:
    """Else a vector would belong to another text."""
    with pytest.raises(BadReply, match="1 embeddings for 2 texts"):
        read_reply("ollama", b'{"embeddings":[[1]]}', count=2)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "data",
                    "embedding",
                    "embeddings",
                    "values",
                    "index",
                    "usage",
                    "model",
                    "input",
                    "requests",
                    "content",
                    "parts",
                    "text",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@pytest.mark.parametrize("shape", SHAPES)
@settings(max_examples=60, deadline=None)
@given(value=ANY)
def test_any_json_is_read_or_refused(shape: Shape, value: Any) -> None:
    """Nothing but our own errors is raised."""
    body = json.dumps(value).encode()
    for read in (read_request, read_reply):
        try:
            read(shape, body)
        except (BadInput, BadReply):
            continue


# The vendors' own clients.


def server(shape: Shape, seen: list[Embed]) -> httpx.MockTransport:
    def answer(request: httpx.Request) -> httpx.Response:
        model = request.url.path.rpartition("/models/")[2].partition(":")[0] if shape == "gemini" else None
        embed = read_request(shape, request.content, model)
        seen.append(embed)
        vectors = [[float(len(one)), 0.5] for one in embed.inputs]
        body = write_reply(shape, Embeddings(vectors, usage=Usage(3)), embed)
        return httpx.Response(200, content=body, headers={"content-type": "application/json"})

    return httpx.MockTransport(answer)


@pytest.mark.parametrize("form", ["float", "base64", None])
def test_openais_client(form: Any) -> None:
    """It asks for base64 by default, and gets its numbers either way."""
    seen: list[Embed] = []
    options = {} if form is None else {"encoding_format": form}
    with httpx.Client(transport=server("openai", seen)) as http:
        sdk = openai.OpenAI(api_key="k", base_url="http://a.test/v1", http_client=http)
        embeddings = sdk.embeddings.create(model="m", input=["a", "bcd"], dimensions=2, **options)
    expected: Any = [[1.0, 0.5], [3.0, 0.5]]
    if form == "base64":
        expected = [b64encode(struct.pack("<2f", *vector)).decode() for vector in expected]
    assert [one.embedding for one in embeddings.data] == expected
    assert (embeddings.model, embeddings.usage.prompt_tokens) == ("m", 3)
    assert seen == [Embed("m", ["a", "bcd"], 2, base64=form != "float", shape="openai")]


def test_ollamas_client() -> None:
    """Its options stay with the ask."""
    seen: list[Embed] = []
    with ollama.Client(host="http://a.test", transport=server("ollama", seen), trust_env=False) as sdk:
        embeddings = sdk.embed("m", ["a", "bcd"], truncate=False, dimensions=2)
    assert (embeddings.embeddings, embeddings.model, embeddings.prompt_eval_count) == ([[1.0, 0.5], [3.0, 0.5]], "m", 3)
    assert seen == [Embed("m", ["a", "bcd"], 2, shape="ollama", extra={"truncate": False})]


def test_geminis_client() -> None:
    """It asks for all texts at once."""
    seen: list[Embed] = []
    with httpx.Client(transport=server("gemini", seen)) as http:
        sdk = genai.Client(api_key="k", http_options=genai_types.HttpOptions(base_url="http://a.test", httpx_client=http))
        config = genai_types.EmbedContentConfig(output_dimensionality=2, task_type="RETRIEVAL_QUERY")
        embeddings = sdk.models.embed_content(model="m", contents=["a", "bcd"], config=config)
    assert [one.values for one in embeddings.embeddings or []] == [[1.0, 0.5], [3.0, 0.5]]
    assert seen == [Embed("m", ["a", "bcd"], 2, shape="gemini", extra={"taskType": "RETRIEVAL_QUERY"})]
