"""From a model's name to who answers: which targets it means, which of them is asked next, and who is not well just now."""

from .facts import Facts
from .health import Health
from .resolve import ModelResolver, Plan, Target
from .router import Router

__all__ = ["Facts", "Health", "ModelResolver", "Plan", "Router", "Target"]
