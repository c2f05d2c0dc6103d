"""How each generation of Gemini thinks, where the API answers 400 to the rest: one table, by version and family.

Facts from https://ai.google.dev/gemini-api/docs/thinking (levels, and ranges of budgets) and
https://firebase.google.com/docs/ai-logic/thinking (the same, model by model); that 3.7 and 3.8 Flash know no MINIMAL is what
the API says: "Allowed values are: medium, low, high".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from ...types import Effort


@dataclass(frozen=True, slots=True)
class GenerationRules:
    """What the models of one generation take. With neither efforts nor budgets they do not think first."""

    efforts: tuple[Effort, ...] = ()
    """Those that there is a ``thinkingLevel`` for."""
    budgets: tuple[int, int] | None = None
    """The least ``thinkingBudget`` that is one, and the most."""
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
"""By what stands behind ``gemini-``; the first that fits. A model that is yet to come is taken for the newest of its family."""
_NAMED = re.compile(r"(?:^|/)gemini-(.+)")


@lru_cache(maxsize=256)
def rules_of(model: str) -> GenerationRules | None:
    """The rules of a model; ``None`` of one that is no Gemini, or is not known by its name."""
    match = _NAMED.search(model)
    return None if match is None else next((rules for pattern, rules in _MODELS if re.match(pattern, match[1])), None)
