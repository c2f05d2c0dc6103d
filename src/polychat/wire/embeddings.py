"""Embedding requests and replies in the three formats in use: OpenAI's, Gemini's and Ollama's; both halves.

Sources: platform.openai.com/docs/api-reference/embeddings, ai.google.dev/api/embeddings, docs.ollama.com/api/embed.
"""

from __future__ import annotations

import math
import sys
from array import array
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias, TypeVar

from ..errors import BadInput, BadReply, redact
from ..events import Usage
from .checks import in_path, item, json_object, several, text, whole
from .extras import remaining, with_extra
from .json_text import decoded, encoded, sendable
from .limits import LIMITS, ReaderLimits
from .placeholders import Placeholders
from .token_counts import token_count

Shape: TypeAlias = Literal["openai", "gemini", "ollama"]
Vector: TypeAlias = list[float]
Listed = TypeVar("Listed", bound=Sequence[Any])


@dataclass(slots=True)
class Embed:
    """Texts to embed."""

    model: str
    inputs: Sequence[str | list[int]]
    """Texts; in OpenAI's format also a text as tokens, by the model's own numbers."""
    dimensions: int | None = None
    """The length of a vector, for models that let the caller choose."""
    user: str | None = None
    base64: bool = False
    """The vectors are requested as base64 of little-endian floats of 4 bytes; OpenAI's format only."""
    single: bool = False
    """From Gemini's ``:embedContent`` or Ollama's ``/api/embeddings``: one text, and an answer with one vector."""
    shape: Shape | None = None
    """The format it was read in, whose names ``extra`` uses."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Fields that only that format has, such as ``taskType`` or ``keep_alive``."""
    placeholders: Placeholders | None = None
    """Placeholders for parts of its texts, which are restored in its body: see ``Backend.restores``."""
    whole: Callable[[], Embed] | None = None
    """Returns the request without placeholders, if it has any."""

    def texts(self) -> list[str]:
        """The inputs. Raises ``BadInput`` for tokens: every model numbers them differently."""
        strings = [entry for entry in self.inputs if isinstance(entry, str)]
        if len(strings) < len(self.inputs):
            raise BadInput("input contains tokens, but this backend accepts text only: send text", field="input")
        return strings


@dataclass(slots=True)
class Embeddings:
    """One vector for each text, in the same order."""

    vectors: list[Vector]
    model: str | None = None
    usage: Usage = field(default_factory=Usage)


def shape_of(wire: str) -> Shape:
    """The format that a wire's vendors use. Raises ``BadInput`` for a wire without embeddings."""
    match wire:
        case "openai-chat" | "openai-responses":
            return "openai"
        case "gemini" | "ollama":
            return wire
    raise BadInput(f"the wire {wire} does not support embeddings: use another model", field="model")


def path(shape: Shape, request: Embed) -> str:
    """The path after the base URL. Raises ``BadInput`` for an invalid model name if the path contains it."""
    if shape == "gemini":
        return f"/models/{in_path(request.model)}:{'embedContent' if request.single else 'batchEmbedContents'}"
    return {"openai": "/embeddings", "ollama": "/api/embed"}[shape]


def write_request(shape: Shape, request: Embed) -> dict[str, Any]:
    """The body, as a value for JSON."""
    native = request.shape == shape
    if shape == "gemini":
        size = {} if request.dimensions is None else {"outputDimensionality": request.dimensions}
        about = with_extra({"model": f"models/{request.model}", **size}, request.extra, native=native)
        requests = [{**about, "content": {"parts": [{"text": text}]}} for text in request.texts()]
        return requests[0] if request.single and len(requests) == 1 else {"requests": requests}
    body: dict[str, Any] = {"model": request.model, "input": request.inputs if shape == "openai" else request.texts()}
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    if shape == "openai":
        if request.user is not None:
            body["user"] = request.user
        body["encoding_format"] = "base64" if request.base64 else "float"
    return with_extra(body, request.extra, native=native)


def body_of(shape: Shape, request: Embed) -> bytes:
    """The body, including the texts behind placeholders."""
    body, aside, whole = sendable(write_request(shape, request)), request.placeholders, request.whole
    if aside is None or whole is None:
        return body
    return aside.completed(body, lambda: sendable(write_request(shape, replace(whole(), model=request.model))))


def read_request(shape: Shape, body: bytes, model: str | None = None, limits: ReaderLimits = LIMITS) -> Embed:
    """The texts of a request. ``model`` is from Gemini's path. Raises ``BadInput`` naming the field."""
    fields = json_object(body, limits)
    if shape == "gemini":
        return _read_gemini(fields, model)
    input_field = fields.pop("input", None)
    listed = [input_field] if isinstance(input_field, str) else several(input_field, "input")
    if shape == "openai" and listed and all(type(entry) is int for entry in listed):
        listed = [listed]  # the tokens of one text
    inputs = [_input(entry, f"input[{place}]", shape) for place, entry in enumerate(listed)]
    request = Embed(text(fields.pop("model", model), "model"), _some(inputs, "input"), shape=shape)
    request.dimensions = _whole_or_none(fields.pop("dimensions", None), "dimensions")
    if shape == "openai":
        user = fields.pop("user", None)
        request.user = None if user is None else text(user, "user")
        request.base64 = _is_base64(fields.pop("encoding_format", None))
    request.extra = remaining(fields) or {}
    return request


def _input(value: object, field: str, shape: Shape) -> str | list[int]:
    if shape == "openai" and isinstance(value, list) and value and all(type(token) is int and token >= 0 for token in value):
        return value
    return text(value, field)


def _whole_or_none(value: object, field: str) -> int | None:
    return None if value is None else whole(value, field)


def _is_base64(form: object) -> bool:
    if form not in (None, "float", "base64"):
        raise BadInput('encoding_format must be "float" or "base64"', field="encoding_format")
    return form == "base64"


def _read_gemini(body: dict[str, Any], model: str | None) -> Embed:
    single = "requests" not in body
    requests = [body] if single else _some(several(body["requests"], "requests"), "requests")
    embeds = [
        _read_text(dict(item(entry, f"requests[{at}]")), "" if single else f"requests[{at}].")
        for at, entry in enumerate(requests)
    ]
    first = embeds[0]
    if any((entry.model, entry.dimensions, entry.extra) != (first.model, first.dimensions, first.extra) for entry in embeds):
        raise BadInput("requests may differ only in content: send the others separately", field="requests")
    name = model or first.model
    if not name:
        raise BadInput("model is missing; it must be text", field="model")
    inputs = [entry.inputs[0] for entry in embeds]
    return Embed(name.removeprefix("models/"), inputs, first.dimensions, single=single, shape="gemini", extra=first.extra)


def _read_text(fields: dict[str, Any], field: str) -> Embed:
    content = item(fields.pop("content", None), f"{field}content")
    parts = several(content.get("parts"), f"{field}content.parts")
    texts = [
        text(item(part, f"{field}content.parts[{at}]").get("text"), f"{field}content.parts[{at}].text")
        for at, part in enumerate(parts)
    ]
    size = fields.pop("outputDimensionality", fields.pop("output_dimensionality", None))
    name = fields.pop("model", None)
    return Embed(
        "" if name is None else text(name, f"{field}model"),
        ["".join(texts)],
        _whole_or_none(size, f"{field}outputDimensionality"),
        extra=remaining(fields) or {},
    )


def _some(listed: Listed, field: str) -> Listed:
    if not listed:
        raise BadInput(f"{field} is empty: send at least one text", field=field)
    return listed


def write_reply(shape: Shape, result: Embeddings, request: Embed) -> bytes:
    """The body of a response to ``request``."""
    count = result.usage.prompt_tokens
    if shape == "gemini":
        values = [{"values": vector} for vector in result.vectors]
        usage = {} if count is None else {"usageMetadata": {"promptTokenCount": count}}
        return encoded(
            {**({"embedding": values[0]} if request.single and len(values) == 1 else {"embeddings": values}), **usage}
        )
    model = result.model or request.model
    if shape == "ollama" and request.single:  # the format of /api/embeddings, which is older than /api/embed
        return encoded({"embedding": result.vectors[0]})
    if shape == "ollama":
        counted = {} if count is None else {"prompt_eval_count": count}
        return encoded({"model": model, "embeddings": result.vectors, **counted})
    data = [
        {"object": "embedding", "index": place, "embedding": _packed(vector) if request.base64 else vector}
        for place, vector in enumerate(result.vectors)
    ]
    # The format requires numbers; servers that do not count write 0.
    counts = {"prompt_tokens": count or 0, "total_tokens": result.usage.total_tokens or count or 0}
    return encoded({"object": "list", "data": data, "model": model, "usage": counts})


def read_reply(shape: Shape, body: bytes, count: int | None = None) -> Embeddings:
    """The vectors of a response. Raises ``BadReply``, also if their number is not ``count``."""
    try:
        result = _read_reply(shape, decoded(body))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        result = None
    if result is None:
        raise BadReply(f"the reply holds no embeddings: {redact(body) or 'it is empty'}")
    if count is not None and len(result.vectors) != count:
        raise BadReply(f"the reply holds {len(result.vectors)} embeddings for {count} texts")
    return result


def _read_reply(shape: Shape, body: Any) -> Embeddings:
    if shape == "gemini":
        listed = body["embeddings"] if "embeddings" in body else [body["embedding"]]
        usage = _usage(body.get("usageMetadata"), "promptTokenCount", "totalTokenCount")
        return Embeddings([_vector(entry["values"]) for entry in listed], None, usage)
    model = body.get("model")
    model = model if isinstance(model, str) else None
    if shape == "ollama":
        return Embeddings([_vector(entry) for entry in body["embeddings"]], model, _usage(body, "prompt_eval_count", "total"))
    data = sorted(body["data"], key=lambda entry: entry.get("index", 0))
    usage = _usage(body.get("usage"), "prompt_tokens", "total_tokens")
    return Embeddings([_vector(entry["embedding"]) for entry in data], model, usage)


def _usage(counts_object: Any, prompt_name: str, total_name: str) -> Usage:
    counts = [counts_object.get(name) if isinstance(counts_object, dict) else None for name in (prompt_name, total_name)]
    prompt, total = map(token_count, counts)
    return Usage(prompt, None, total)


def _vector(value: object) -> Vector:
    if isinstance(value, str):
        vector = _unpacked(value)
    elif isinstance(value, list) and {*map(type, value)} <= {int, float}:
        vector = [float(number) for number in value]
    else:
        raise TypeError
    if not all(map(math.isfinite, vector)):
        raise ValueError  # no text has that position, and JSON could not forward the value
    return vector


def _packed(vector: Vector) -> str:
    numbers = array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return b64encode(numbers.tobytes()).decode()


def _unpacked(packed: str) -> Vector:
    numbers = array("f", b64decode(packed, validate=True))
    if sys.byteorder == "big":
        numbers.byteswap()
    return list(numbers)
