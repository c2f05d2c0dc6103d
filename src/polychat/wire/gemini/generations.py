"""What thinking each generation of Gemini supports, where the API otherwise answers 400: one table, by version and family.

Facts from https://ai.google.dev/gemini-api/docs/thinking (levels, and ranges of budgets) and
https://firebase.google.com/docs/ai-logic/thinking (the same, by model). That 3.7 and 3.8 Flash reject MINIMAL is the API's own
message: "Allowed values are: medium, low, high".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from ...types import Effort


@dataclass(frozen=True, slots=True)
class GenerationRules:
    """What the models of one generation accept. Models with neither efforts nor budgets do not think first."""

    efforts: tuple[Effort, ...] = ()
    """The efforts that have a ``thinkingLevel``."""
    budgets: tuple[int, int] | None = None
    """The smallest valid ``thinkingBudget``, and the largest."""
    off: bool = False
    """Thinking can be turned off, by a budget of 0."""


_NONE = GenerationRules()
_TWO = GenerationRules(("low", "high"))
_THREE = GenerationRules(("low", "medium", "high"))
_FOUR = GenerationRules(("minimal", "low", "medium", "high"))

_MODELS: tuple[tuple[str, GenerationRules], ...] = (
    (r"(1\.\d|2\.[0-4])\b", _NONE),
    (r"2\.5-.*(image|tts)", _NONE),
    (r"2\.5-pro", GenerationRules(budgets=(128, 32_768))),
    (r"2\.5-flash-lite", GenerationRules(budgets=(512, 24_576), off=True)),
    (r"2\.5-flash", GenerationRules(budgets=(1, 24_576), off=True)),
    (r"3(\.\d+)?-flash(-lite)?-image", GenerationRules(("minimal", "high"))),
    (r"3-pro", _TWO),
    (r"(\d+(\.\d+)?-)?pro", _THREE),
    (r"(\d+(\.\d+)?-)?flash-lite", _FOUR),
    (r"3(\.[0-6])?-flash", _FOUR),
    (r"(\d+(\.\d+)?-)?flash", _THREE),
)
"""By what follows ``gemini-``; the first match counts. A newer, unknown model is treated as the latest of its family."""
_NAMED = re.compile(r"(?:^|/)gemini-(.+)")


@lru_cache(maxsize=256)
def rules_of(model: str) -> GenerationRules | None:
    """The rules of a model; ``None`` for a model that is not Gemini, or whose name is unknown."""
    match = _NAMED.search(model)
    return None if match is None else next((rules for pattern, rules in _MODELS if re.match(pattern, match[1])), None)
