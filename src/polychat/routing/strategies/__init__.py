"""The strategies, a file each, known by being there: ``round_robin.py`` is ``strategy = "round-robin"``.

Their names are ``config.strategy_names.STRATEGIES``.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from inspect import isabstract, isclass

from ..choice import Strategy


@cache
def strategy(name: str) -> type[Strategy]:
    """The class of a strategy."""
    module = import_module(f"{__name__}.{name.replace('-', '_')}")
    (only,) = (
        member
        for member in vars(module).values()
        if isclass(member) and issubclass(member, Strategy) and not isabstract(member) and member.__module__ == module.__name__
    )
    return only
