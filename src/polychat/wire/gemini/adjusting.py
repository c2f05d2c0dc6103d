"""An ask of another wire as Gemini's API takes it: what it would answer with 400 is changed, and what changes is told.

Limits and words are those of the API's discovery document (``generativelanguage`` v1beta): ``GenerationConfig.stopSequences``,
``GenerateContentRequest.serviceTier``.
"""

from __future__ import annotations

from dataclasses import replace

from ...types import Ask, ImagePart, Part, TextPart, ToolResult, Turn
from ..ledger import Loss
from ..media import type_named, type_of_bytes
from .names import NAME, VENDOR

MOST_STOPS = 5
_EMPTY = TextPart("")
_TIERS = {"default": "standard", "auto": None, "standard_only": "standard", "scale": "priority"}
"""What others call a tier; ``None`` is for the API to choose."""
_KNOWN = frozenset({"unspecified", "standard", "flex", "priority"})


def adjusted(ask: Ask, vendor: str = VENDOR) -> tuple[Ask, list[Loss]]:
    """The ask with what the API refuses changed, and what of its meaning that cost. ``ask`` itself stays as it is."""
    if ask.wire == NAME:
        return ask, []  # the client's own words
    turns = [_turn(turn) for turn in ask.turns]
    better, losses = replace(ask, turns=[turn for turn in turns if turn.parts]), list[Loss]()
    if len(ask.stop) > MOST_STOPS:
        better.stop = ask.stop[:MOST_STOPS]
        losses.append(
            Loss("stop", "emulated", f"the API takes {MOST_STOPS} texts that end the answer: the first of them go out")
        )
    if ask.service_tier is not None and ask.service_tier not in _KNOWN:
        better.service_tier = _TIERS.get(ask.service_tier)
        if ask.service_tier not in _TIERS:
            losses.append(Loss("service_tier", "dropped", f"the API knows {', '.join(sorted(_KNOWN))}", ask.service_tier))
    return better, losses


def _turn(turn: Turn) -> Turn:
    """Without texts that are empty; images are called what their bytes are. The API refuses all else."""
    if not any(isinstance(part, ImagePart | ToolResult) or part == _EMPTY for part in turn.parts):
        return turn
    return replace(turn, parts=[_part(part) for part in turn.parts if part != _EMPTY])


def _part(part: Part) -> Part:
    if isinstance(part, ImagePart):
        return _image(part)
    if isinstance(part, ToolResult) and any(isinstance(one, ImagePart) for one in part.parts):
        return replace(part, parts=[_image(one) if isinstance(one, ImagePart) else one for one in part.parts])
    return part


def _image(part: ImagePart) -> ImagePart:
    if part.data is None:
        return part
    kind = type_of_bytes(part.data) or type_named(part.media_type or "")
    return part if kind == part.media_type else replace(part, media_type=kind)
