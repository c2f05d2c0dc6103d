"""From a model's name to the answer: which targets it means, which of them is tried next, and which are unhealthy."""

from .facts import Facts
from .health import Health
from .resolve import ModelResolver, Plan, Target
from .router import Router

__all__ = ["Facts", "Health", "ModelResolver", "Plan", "Router", "Target"]
