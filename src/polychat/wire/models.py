"""Lists of models, in each wire's shape; both halves.

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
"""Ollama's clients look for a model's context under the name of its architecture, so there must be one."""
OLLAMA_DETAILS = {
    **dict.fromkeys(("parent_model", "format", "parameter_size", "quantization_level"), ""),
    "family": OLLAMA_FAMILY,
    "families": [OLLAMA_FAMILY],
}


@dataclass(slots=True)
class ModelInfo:
    """One model that is served; ``None`` where the list does not say."""

    id: str
    owner: str | None = None
    created: int | None = None
    """Seconds since 1970."""
    context: int | None = None
    """Tokens."""
    title: str | None = None
    output: int | None = None
    """Tokens that an answer may have."""
    can: Abilities = field(default_factory=dict)
    """What is known that it can and cannot."""
    anthropic: dict[str, Any] | None = None
    """``capabilities`` as Anthropic's list has it: all or nothing, for its clients read each of its members."""


def read_models(wire: str, body: bytes) -> list[ModelInfo]:
    """The models of a list, in its order. ``wire`` names the shape. Raises ``BadReply``."""
    try:
        said = decoded(body)
        listed = said if isinstance(said, list) else said["models"] if "data" not in said else said["data"]
        return [] if listed is None else [_model(one, wire) for one in listed]  # null is what some write for none
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise BadReply(f"the reply is no list of models: {redact(body) or 'it is empty'}")


def _model(said: Any, wire: str) -> ModelInfo:
    if isinstance(said, str):
        said = {"id": said}
    name = said.get("id") or said.get("name") or said["model"]
    if not isinstance(name, str):
        raise TypeError
    name = name.removeprefix("models/") if wire == "gemini" else name
    if not name:
        raise ValueError  # one that could not be asked
    titles = (said.get(key) for key in ("display_name", "displayName", "name"))
    title = next((title for title in titles if _text(title) and title not in (name, f"models/{name}")), None)
    owners = (_text(said.get(key)) for key in ("owned_by", "organization", "publisher"))
    info = ModelInfo(
        name, next(filter(None, owners), None), _moment(said), _limit(said, _CONTEXTS), title, _limit(said, _OUTPUTS)
    )
    info.can = abilities_of(said)
    if wire == "anthropic" and isinstance(told := said.get("capabilities"), dict):
        info.anthropic = told
    return info


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


_YEAR_10000 = 253_402_300_800
_CONTEXTS = ("context_length", "context_window", "max_context_length", "max_model_len", "inputTokenLimit", "max_input_tokens")


_OUTPUTS = ("max_output_tokens", "max_completion_tokens", "outputTokenLimit", "max_tokens")


def _limit(said: dict[str, Any], names: tuple[str, ...]) -> int | None:
    places = (said, *(inner for name in ("limits", "top_provider") if isinstance(inner := said.get(name), dict)))
    found = (place.get(name) for place in places for name in names)
    return next((tokens for tokens in found if type(tokens) is int and tokens > 0), None)


def _moment(said: dict[str, Any]) -> int | None:
    """Seconds since 1970, of a moment that a calendar has; 0 is what those write who do not know."""
    value = next((found for name in ("created", "created_at", "modified_at") if (found := said.get(name)) is not None), None)
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
        known = [_anthropic(one) for one in listed]
        ends = {"first_id": listed[0].id if listed else None, "last_id": listed[-1].id if listed else None}
        return encoded({"data": known, "has_more": False, **ends})
    if wire == "gemini":
        return encoded({"models": [_gemini(one) for one in listed]})
    if wire == "ollama":
        return encoded({"models": [_ollama(one) for one in listed]})
    context = [
        {**_said(context_length=one.context, max_output_tokens=one.output), **abilities.openrouter(one.can)} for one in listed
    ]
    data: list[dict[str, Any]] = [
        {"id": one.id, "object": "model", "created": one.created or 0, "owned_by": one.owner or "polychat", **more}
        for one, more in zip(listed, context, strict=True)
    ]
    return encoded({"object": "list", "data": data})


def _anthropic(one: ModelInfo) -> dict[str, Any]:
    said: dict[str, Any] = {"type": "model", "id": one.id, "display_name": one.title or one.id}
    said["created_at"] = _written(one.created)
    said |= {"max_input_tokens": one.context, "max_tokens": one.output}  # they must be there, and null where nobody said
    said["capabilities"] = None if one.anthropic is None else {**one.anthropic, "batch": {"supported": False}}
    return said


def _gemini(one: ModelInfo) -> dict[str, Any]:
    said: dict[str, Any] = {
        "name": f"models/{one.id}",
        "displayName": one.title or one.id,
        **abilities.gemini(one.can),
    }
    return {**said, **_said(inputTokenLimit=one.context, outputTokenLimit=one.output)}


def _ollama(one: ModelInfo) -> dict[str, Any]:
    """The digest is the name's: clients tell models apart by it."""
    digest = sha256(one.id.encode("utf-8", "replace")).hexdigest()
    said = {"name": one.id, "model": one.id, "modified_at": _written(one.created), "size": 0, "digest": digest}
    return {**said, "details": OLLAMA_DETAILS}


def _said(**limits: int | None) -> dict[str, int]:
    """The limits that are known."""
    return {name: tokens for name, tokens in limits.items() if tokens is not None}


def _written(created: int | None) -> str:
    return datetime.fromtimestamp(created or 0, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
