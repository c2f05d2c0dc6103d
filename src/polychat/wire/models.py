"""Lists of models in each wire's format; both halves.

Sources: platform.openai.com/docs/api-reference/models, docs.anthropic.com/en/api/models-list, ai.google.dev/api/models,
docs.ollama.com/api/tags; for the dialects docs.together.ai (a plain list, ``organization``), docs.cohere.com and
docs.github.com (``models``, ``limits``), openrouter.ai/docs (``name`` as the title), docs.vllm.ai (``max_model_len``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from ..errors import BadReply, redact
from . import abilities
from .abilities import Abilities, abilities_of
from .json_text import decoded, encoded

OLLAMA_FAMILY = "polychat"
"""Ollama's clients look up a model's context length under its architecture's name, so there must be one."""
OLLAMA_DETAILS = {
    **dict.fromkeys(("parent_model", "format", "parameter_size", "quantization_level"), ""),
    "family": OLLAMA_FAMILY,
    "families": [OLLAMA_FAMILY],
}


@dataclass(slots=True)
class ModelInfo:
    """One model of a list; ``None`` for members that the list does not have."""

    id: str
    owner: str | None = None
    created: int | None = None
    """Seconds since 1970."""
    context: int | None = None
    """Tokens."""
    title: str | None = None
    output: int | None = None
    """Maximum tokens of an answer."""
    can: Abilities = field(default_factory=dict)
    """Capabilities that are known to be there or not."""
    anthropic: dict[str, Any] | None = None
    """``capabilities`` as in Anthropic's list: complete or absent, because its clients read each of its members."""


def read_models(wire: str, body: bytes) -> list[ModelInfo]:
    """The models of a list, in order. ``wire`` names the format. Raises ``BadReply``."""
    try:
        reply = decoded(body)
        listed = reply if isinstance(reply, list) else reply["models"] if "data" not in reply else reply["data"]
        return [] if listed is None else [_model(entry, wire) for entry in listed]  # some servers write null for an empty list
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise BadReply(f"the reply is not a model list: {redact(body) or 'it is empty'}")


def _model(entry: Any, wire: str) -> ModelInfo:
    if isinstance(entry, str):
        entry = {"id": entry}
    name = entry.get("id") or entry.get("name") or entry["model"]
    if not isinstance(name, str):
        raise TypeError
    name = name.removeprefix("models/") if wire == "gemini" else name
    if not name:
        raise ValueError  # a provider that could not be queried
    titles = (entry.get(key) for key in ("display_name", "displayName", "name"))
    title = next((title for title in titles if _text(title) and title not in (name, f"models/{name}")), None)
    owners = (_text(entry.get(key)) for key in ("owned_by", "organization", "publisher"))
    info = ModelInfo(
        name, next(filter(None, owners), None), _moment(entry), _limit(entry, _CONTEXTS), title, _limit(entry, _OUTPUTS)
    )
    info.can = abilities_of(entry)
    if wire == "anthropic" and isinstance(capabilities := entry.get("capabilities"), dict):
        info.anthropic = capabilities
    return info


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


_YEAR_10000 = 253_402_300_800
_CONTEXTS = ("context_length", "context_window", "max_context_length", "max_model_len", "inputTokenLimit", "max_input_tokens")


_OUTPUTS = ("max_output_tokens", "max_completion_tokens", "outputTokenLimit", "max_tokens")


def _limit(entry: dict[str, Any], names: tuple[str, ...]) -> int | None:
    places = (entry, *(inner for name in ("limits", "top_provider") if isinstance(inner := entry.get(name), dict)))
    limits = (place.get(name) for place in places for name in names)
    return next((tokens for tokens in limits if type(tokens) is int and tokens > 0), None)


def _moment(entry: dict[str, Any]) -> int | None:
    """Seconds since 1970 of a valid date; 0 is what servers write that do not know it."""
    value = next((moment for name in ("created", "created_at", "modified_at") if (moment := entry.get(name)) is not None), None)
    try:
        seconds = datetime.fromisoformat(value).timestamp() if isinstance(value, str) else value
    except (ValueError, OverflowError):
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        return None
    return int(seconds) if 0 < seconds < _YEAR_10000 else None


def write_models(wire: str, listed: list[ModelInfo]) -> bytes:
    """The body of a list."""
    if wire == "anthropic":
        entries = [_anthropic(model) for model in listed]
        ends = {"first_id": listed[0].id if listed else None, "last_id": listed[-1].id if listed else None}
        return encoded({"data": entries, "has_more": False, **ends})
    if wire == "gemini":
        return encoded({"models": [_gemini(model) for model in listed]})
    if wire == "ollama":
        return encoded({"models": [_ollama(model) for model in listed]})
    context = [
        {**_known_limits(context_length=model.context, max_output_tokens=model.output), **abilities.openrouter(model.can)}
        for model in listed
    ]
    data: list[dict[str, Any]] = [
        {"id": model.id, "object": "model", "created": model.created or 0, "owned_by": model.owner or "polychat", **members}
        for model, members in zip(listed, context, strict=True)
    ]
    return encoded({"object": "list", "data": data})


def _anthropic(model: ModelInfo) -> dict[str, Any]:
    entry: dict[str, Any] = {"type": "model", "id": model.id, "display_name": model.title or model.id}
    entry["created_at"] = _written(model.created)
    entry |= {"max_input_tokens": model.context, "max_tokens": model.output}  # required, and null if unknown
    entry["capabilities"] = None if model.anthropic is None else {**model.anthropic, "batch": {"supported": False}}
    return entry


def _gemini(model: ModelInfo) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": f"models/{model.id}",
        "displayName": model.title or model.id,
        **abilities.gemini(model.can),
    }
    return {**entry, **_known_limits(inputTokenLimit=model.context, outputTokenLimit=model.output)}


def _ollama(model: ModelInfo) -> dict[str, Any]:
    """The digest is the name's: clients distinguish models by it."""
    digest = sha256(model.id.encode("utf-8", "replace")).hexdigest()
    entry = {"name": model.id, "model": model.id, "modified_at": _written(model.created), "size": 0, "digest": digest}
    return {**entry, "details": OLLAMA_DETAILS}


def _known_limits(**limits: int | None) -> dict[str, int]:
    """The limits that are known."""
    return {name: tokens for name, tokens in limits.items() if tokens is not None}


def _written(created: int | None) -> str:
    return datetime.fromtimestamp(created or 0, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
