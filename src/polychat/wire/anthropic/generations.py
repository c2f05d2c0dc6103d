"""What each generation of Claude accepts, where the API otherwise answers 400: one table, by family and version.

Facts from https://platform.claude.com/docs/en/about-claude/models/migration-guide (4.1 to 4.7: one sampling parameter, no
prefill, no budget, no sampling), …/models/opus-5-5/migration-guide, …/models/sonnet-5-5/whats-new-sonnet-5-5 and
…/models/haiku-5-5/migration-guide (thinking that cannot be turned off, no forced tools), …/build-with-claude/extended-thinking
(budgets, forced tools and sampling with thinking enabled) and …/build-with-claude/effort.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal


@dataclass(frozen=True, slots=True)
class GenerationRules:
    """What the models of one generation accept."""

    sampling: Literal["both", "one", "none"] = "both"
    """``temperature`` and ``top_p``: both, one of them, or neither; ``top_k`` is accepted if ``temperature`` is."""
    budget: bool = True
    """Thinking with a budget of tokens. A model with neither this nor adaptive thinking does not think first."""
    adaptive: bool = False
    """Adaptive thinking, with an effort."""
    thinks: bool = False
    """Thinks by default."""
    off: Literal["omit", "disabled", "between_tools", "never"] = "disabled"
    """How thinking is turned off."""
    forced: bool = True
    """``tool_choice`` may force a tool."""
    prefill: bool = True
    """The conversation may end with an assistant message."""
    xhigh: bool = False
    """The effort ``xhigh``."""


_FIRST = GenerationRules(budget=False)
_OLD = GenerationRules()
_ONE = replace(_OLD, sampling="one")
_46 = replace(_ONE, adaptive=True, prefill=False)
_47 = replace(_46, sampling="none", budget=False, off="omit", xhigh=True)
_5 = replace(_47, thinks=True, off="disabled")
_ALWAYS = replace(_5, off="never", forced=False)

_GENERATIONS: dict[str, tuple[tuple[tuple[int, int], GenerationRules], ...]] = {
    "opus": (((4, 1), _ONE), ((4, 6), _46), ((4, 7), _47), ((5, 0), _5), ((5, 5), _ALWAYS)),
    "sonnet": (((4, 5), _ONE), ((4, 6), _46), ((4, 7), _47), ((5, 0), _5), ((5, 5), replace(_ALWAYS, off="between_tools"))),
    "haiku": (((4, 5), _ONE), ((4, 6), _46), ((4, 7), _47), ((5, 0), _5)),
    "fable": (((0, 0), _ALWAYS),),
    "mythos": (((0, 0), _ALWAYS),),
}
"""The rules of each family, from each version on; a newer, unknown version is treated as the latest one."""

_NAMED = re.compile(r"claude-(opus|sonnet|haiku|fable|mythos)-(?:(\d{1,2})(?!\d)(?:[-.](\d{1,2})(?!\d))?|preview|latest)")
_NUMBERED = re.compile(r"claude-(\d)(?:[-.](\d{1,2})(?!\d))?-(opus|sonnet|haiku)")
_NEWEST = 99


@lru_cache(maxsize=256)
def rules_of(model: str) -> GenerationRules | None:
    """The rules of a model; ``None`` for a model that is not Claude, or whose name is unknown."""
    if match := _NAMED.search(model):
        family, major, minor = match[1], int(match[2] or (_NEWEST if match[0].endswith("latest") else 0)), int(match[3] or 0)
    elif match := _NUMBERED.search(model):
        family, major, minor = match[3], int(match[1]), int(match[2] or 0)
    else:
        return None
    rules = _FIRST if major > 0 and (major, minor) < (3, 7) else _OLD
    for since, its in _GENERATIONS[family]:
        if (major, minor) >= since:
            rules = its
    return rules


def continues(model: str) -> bool:
    """Whether a model accepts the beginning of its answer; ``False`` for an unknown model."""
    rules = rules_of(model)
    return rules is not None and rules.prefill
