"""The capabilities of models as lists of models report them, named as in ``vendors.toml``; what a list omits is unknown.

Sources: openrouter.ai/docs/models (``architecture.input_modalities``, ``supported_parameters``), docs.github.com (the catalog's
``supported_input_modalities``, ``capabilities`` as a list), docs.mistral.ai (``capabilities`` as flags), lmstudio.ai/docs
(``type``, ``capabilities``), platform.claude.com/docs/en/api/models (``capabilities`` with ``supported``),
ai.google.dev/api/models (``supportedGenerationMethods``, ``thinking``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

Abilities: TypeAlias = Mapping[str, bool]
"""Whether the model supports ``tools``, ``schema``, ``images``, ``audio``, ``files``, ``reasoning``, ``chat``, and so on."""

_MODALITIES = {"images": "image", "audio": "audio", "files": "file"}
_PARAMETERS = {"tools": ("tools", "tool_choice"), "schema": ("structured_outputs",), "reasoning": ("reasoning",)}
"""OpenRouter's names of each capability: the first decides, the others are aliases."""
_FLAGS = {
    **{"function_calling": "tools", "tool_use": "tools", "tool-calling": "tools", "tools": "tools"},
    **{"vision": "images", "image_input": "images", "pdf_input": "files", "audio": "audio"},
    **{"thinking": "reasoning", "reasoning": "reasoning", "structured_outputs": "schema"},
}
"""Names in ``capabilities``, for all lists that have that member."""
_METHODS = {"chat": ("generateContent", "streamGenerateContent", "countTokens"), "embeddings": ("embedContent",)}
"""Gemini's methods for each capability: the first decides."""


def abilities_of(entry: Mapping[str, Any]) -> dict[str, bool]:
    """The capabilities in one entry of a list, whatever its shape. Never raises."""
    abilities: dict[str, bool] = {}
    architecture = entry.get("architecture")
    inner = architecture.get("input_modalities") if isinstance(architecture, dict) else None
    for listed in (inner, entry.get("supported_input_modalities")):
        abilities |= _listed(listed, {name: (marker,) for name, marker in _MODALITIES.items()})
    abilities |= _listed(entry.get("supported_parameters"), _PARAMETERS)
    abilities |= _listed(entry.get("supportedGenerationMethods"), _METHODS)
    if isinstance(entry.get("thinking"), bool):
        abilities["reasoning"] = entry["thinking"]
    if entry.get("type") == "vlm":
        abilities["images"] = True
    return abilities | _flags(entry.get("capabilities"))


def _listed(listed: Any, markers_of: Mapping[str, tuple[str, ...]]) -> dict[str, bool]:
    """The capabilities in a list that names all of them: what it omits is not supported."""
    texts = [marker for marker in listed if isinstance(marker, str)] if isinstance(listed, list) else []
    return {name: markers[0] in texts for name, markers in markers_of.items()} if texts else {}


def _flags(capabilities: Any) -> dict[str, bool]:
    if isinstance(capabilities, list):  # what the list omits is unknown
        return {_FLAGS[marker]: True for marker in capabilities if isinstance(marker, str) and marker in _FLAGS}
    flags = {}
    for marker, name in _FLAGS.items() if isinstance(capabilities, dict) else ():
        value = capabilities.get(marker)
        value = value.get("supported") if isinstance(value, dict) else value
        if isinstance(value, bool):
            flags[name] = value
    return flags


def of_all(all_abilities: Iterable[Abilities]) -> dict[str, bool]:
    """The capabilities that hold for any of several models: what all support, and what at least one does not."""
    several = list(all_abilities)
    common: dict[str, bool] = {}
    for name in dict.fromkeys(name for abilities in several for name in abilities):
        values = [abilities.get(name) for abilities in several]
        if False in values or None not in values:
            common[name] = False not in values
    return common


def openrouter(can: Abilities) -> dict[str, Any]:
    """Members that describe capabilities in an entry of OpenAI's list, as OpenRouter and Mistral add them; lists only if
    complete.
    """
    members: dict[str, Any] = {}
    if all(name in can for name in _MODALITIES):
        modalities = ["text", *(marker for name, marker in _MODALITIES.items() if can[name])]
        members["architecture"] = {"input_modalities": modalities}
    if all(name in can for name in _PARAMETERS):
        members["supported_parameters"] = [
            marker for name, parameters in _PARAMETERS.items() if can[name] for marker in parameters
        ]
    flags = {marker: can[name] for name, marker in _OWN.items() if name in can}
    return {**members, **({"capabilities": flags} if flags else {})}


_OWN = {"tools": "function_calling", "images": "vision", "reasoning": "reasoning", "schema": "structured_outputs"}
"""``capabilities`` as Mistral has them: a flag for each that is known."""


def gemini(can: Abilities) -> dict[str, Any]:
    """Members that describe capabilities in an entry of Gemini's list. A model that may be for chats is listed as one."""
    methods = [*(_METHODS["chat"] if can.get("chat", True) else ()), *(_METHODS["embeddings"] if can.get("embeddings") else ())]
    return {"supportedGenerationMethods": methods, **({"thinking": can["reasoning"]} if "reasoning" in can else {})}
