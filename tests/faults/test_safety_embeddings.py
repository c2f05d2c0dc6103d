"""Kind: texts to be made into vectors that are held many times over as letters of Python."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest

from polychat.errors import BadInput
from polychat.events import Usage
from polychat.wire import embeddings
from polychat.wire.contract import names
from polychat.wire.embeddings import Embed, Embeddings, Shape, shape_of

from ..support.endpoint_bodies import BODIES
from ..support.large_requests import COPIES, WORDS, sent_and_peak
from ..support.running_gateway import configured, gateway, row
from ..support.scripted_server import Say, Seen

TEXTS = 600
PATHS = [path for path in BODIES if "mbed" in path]


def shapes() -> dict[str, Shape]:
    """The wires that have embeddings, and how."""
    by_path: dict[str, Shape] = {}
    for name in names():
        with suppress(BadInput):
            by_path[name] = shape_of(name)
    return by_path


def filled(path: str, texts: list[str]) -> tuple[str, bytes]:
    """A request of this endpoint for these texts, or for all of them as one, where it takes no more."""
    body = dict(BODIES[path])
    if path == ":batchEmbedContents":
        body["requests"] = [{"content": {"parts": [{"text": text}]}} for text in texts]
    elif path == ":embedContent":
        body["content"] = {"parts": [{"text": "".join(texts)}]}
    else:
        body |= {"prompt": "".join(texts)} if "prompt" in body else {"input": texts}
    place = f"/v1beta/models/house/small{path}" if path[0] == ":" else path
    return place, json.dumps(body, ensure_ascii=False).encode()


def texts_in(value: Any) -> list[str]:
    """The texts of a request in any shape."""
    if "input" in value:
        return [*value["input"]]
    requests = value.get("requests", [value])
    return [part["text"] for request in requests for part in request["content"]["parts"]]


@pytest.mark.parametrize("to", shapes())
@pytest.mark.parametrize("path", PATHS)
async def test_texts_cost_three_times_their_size_at_most(path: str, to: str, serve: Any) -> None:
    """One or many, of two kilobytes and of more than one alphabet; and they arrive as they came."""
    texts = [f"{number}: {WORDS * 35}" for number in range(TEXTS)]
    place, small = filled(path, ["a"] * TEXTS)
    place, body = filled(path, texts)
    single = b'"input"' not in body and b'"requests"' not in body
    reply = Embeddings([[0.5]] * (1 if single else TEXTS), usage=Usage(1, 0))
    answer = embeddings.write_reply(shapes()[to], reply, Embed("m", [], single=single and to == "gemini"))
    peak = await sent_and_peak(to, place, small, body, answer=answer)
    assert peak <= COPIES * len(body), f"{peak / len(body):.2f} times the body"

    async def answering(seen: Seen, say: Say) -> None:
        await say.whole(json.loads(answer))

    backend = await serve(answering)
    async with gateway(configured({"house": row(to, backend.url, embeddings=True)})) as here:
        assert (await here.ask(place, body)).status == 200
    assert texts_in(backend.seen[0].json) == (["".join(texts)] if single else texts)
