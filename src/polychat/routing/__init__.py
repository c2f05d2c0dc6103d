"""From a model's name to who answers: which targets it means, which of them is asked next, and who is not well just now."""

from .health import Health
from .resolve import ModelResolver, Plan, Target
from .router import Router

__all__ = ["Health", "ModelResolver", "Plan", "Router", "Target"]
