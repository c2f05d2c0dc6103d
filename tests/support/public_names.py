"""The names that a public module offers, read from the module itself."""

from __future__ import annotations

import ast
import inspect
from typing import Any


def offered(module: Any) -> set[str]:
    """What a module offers: to type checkers, where it loads its names late; else what it defines."""
    if "__getattr__" in vars(module):
        return checked_names(module)
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and (defined_in(module, name) or getattr(value, "__module__", None) == module.__name__)
    }


def checked_names(module: Any) -> set[str]:
    """The names that a module imports as themselves, for type checkers alone or for all."""
    nodes = ast.walk(ast.parse(inspect.getsource(module)))
    return {
        alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names if alias.asname == alias.name
    }


def defined_in(module: Any, name: str) -> bool:
    """Whether a top-level assignment of the module makes ``name``: aliases of types carry no module of their own."""
    tree = ast.parse(inspect.getsource(module))
    targets = [node.target for node in tree.body if isinstance(node, ast.AnnAssign)]
    targets += [target for node in tree.body if isinstance(node, ast.Assign) for target in node.targets]
    return any(isinstance(target, ast.Name) and target.id == name for target in targets)
