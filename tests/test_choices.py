"""Choices of words are written once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import polychat

SOURCE = Path(polychat.__file__).parent


def groups(tree: ast.Module) -> Iterator[tuple[frozenset[str], int, bool]]:
    """The words of each ``Literal``, tuple, list or set of words alone, its line, and whether it is a ``Literal``."""
    for node in ast.walk(tree):
        is_literal = isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Literal"
        group = node.slice if is_literal else node
        if isinstance(group, ast.Tuple | ast.List | ast.Set):
            values = [word.value for word in group.elts if isinstance(word, ast.Constant)]
            words = frozenset(value for value in values if isinstance(value, str))
            if len(words) == len(group.elts):
                yield words, group.lineno, is_literal


def test_a_choice_of_words_is_written_once() -> None:
    """The words of a ``Literal`` of three or more stand in no other place: others import it, or take ``get_args`` of it."""
    places: dict[frozenset[str], set[str]] = {}
    literals: set[frozenset[str]] = set()
    for file in SOURCE.rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        if "``make fix`` writes this file" in (ast.get_docstring(tree) or ""):
            continue
        for words, line, is_literal in groups(tree):
            if len(words) > 2:
                places.setdefault(words, set()).add(f"{file.relative_to(SOURCE)}:{line}")
                literals |= {words} if is_literal else set()
    assert len(literals) > 10
    assert [sorted(places[words]) for words in literals if len(places[words]) > 1] == []
