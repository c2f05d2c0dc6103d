"""The modules that a build may compile, and whether they run compiled."""

from __future__ import annotations

import ast
import inspect
import tomllib
from importlib import import_module
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import polychat
from polychat.version import is_compiled

ROOT = Path(__file__).parents[1]
PACKAGE = Path(polychat.__file__).parent
HOOK = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]
MODULES = [ROOT / "src" / name for name in HOOK["modules"]]


def test_compiled_modules_have_nothing_that_the_compiler_reads_otherwise() -> None:
    """mypyc has no asynchronous generators, binds the wrong value in nested patterns, knows no classes of msgspec, leaves weak
    references to its objects when these are gone, gives a base class a list of arguments as one, calls the static methods
    of a class where one that derives from it has others, and takes a slice that is an object for a position.
    """
    wrong = [
        f"{file.relative_to(ROOT)}:{node.lineno}: {found}"
        for file in MODULES
        for node in ast.walk(ast.parse(file.read_text()))
        if (found := otherwise(node))
    ]
    assert wrong == []


def otherwise(node: ast.AST) -> str:
    """What is read otherwise, if it is."""
    if isinstance(node, ast.match_case) and not is_flat(node.pattern):
        return "a pattern within a pattern, or one that gives a name"
    if isinstance(node, ast.AsyncFunctionDef) and any(isinstance(inner, ast.Yield) for inner in ast.walk(node)):
        return "an asynchronous generator"
    if isinstance(node, ast.ClassDef):
        bases = {ast.unparse(entry).partition("(")[0] for entry in (*node.bases, *node.decorator_list)}
        decorators = "".join(map(ast.unparse, node.decorator_list))
        if "allow_interpreted_subclasses=True" in decorators and "@staticmethod" in ast.unparse(node):
            return "a static method in a class that others derive from"
        if "'__weakref__'" in ast.unparse(node) and "native_class=False" not in ast.unparse(node):
            return "a class whose objects are referred to weakly"
        return ", ".join(bases & {"Struct", "Value", "dataclass"})
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "slice":
        return "a slice as an object"
    if isinstance(node, ast.Call) and any(isinstance(given, ast.Starred) for given in node.args):
        return "a list of arguments for a base class" if ast.unparse(node.func).startswith("super()") else ""
    return ""


def test_compiled_functions_give_exceptions_of_different_types_different_names() -> None:
    """mypyc gives the name the type of the first, and any other exception becomes a ``TypeError``."""
    wrong = []
    for file in MODULES:
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            handlers = [inner for inner in ast.walk(node) if isinstance(inner, ast.ExceptHandler) and inner.name]
            first: dict[str, str] = {}
            for handler in sorted(handlers, key=lambda handler: handler.lineno):
                kind = ast.unparse(handler.type) if handler.type is not None else ""
                known = first.setdefault(str(handler.name), kind)
                if kind != known and known != "BaseException":
                    wrong.append(f"{file.relative_to(ROOT)}:{handler.lineno}: {handler.name}")
    assert wrong == []


def is_flat(pattern: ast.pattern) -> bool:
    """Whether it says what the value is and nothing of its parts."""
    if isinstance(pattern, ast.MatchOr):
        return all(map(is_flat, pattern.patterns))
    if isinstance(pattern, ast.MatchClass):
        return not (pattern.patterns or pattern.kwd_patterns)
    return isinstance(pattern, (ast.MatchValue, ast.MatchSingleton)) or (
        isinstance(pattern, ast.MatchAs) and pattern.name is None
    )


def test_what_extends_a_class_of_ours_that_is_python_is_python() -> None:
    """It inherits that it may be referred to weakly, and mypyc's own objects leave such references to freed memory."""
    wrong = []
    for file in MODULES:
        name = ".".join(file.relative_to(ROOT / "src").with_suffix("").parts)
        for found in vars(import_module(name)).values():
            if inspect.isclass(found) and found.__module__ == name and _MADE in vars(found):
                python = [base for base in found.__mro__ if base.__module__.startswith("polychat.") and _MADE not in vars(base)]
                wrong += [f"{name}.{found.__name__}"] if python and not issubclass(found, BaseException) else []
    assert wrong == []


_MADE = "__mypyc_attrs__"
"""A member of the classes whose objects are mypyc's own."""


def test_a_build_is_off_unless_it_is_switched_on() -> None:
    """An installation needs no compiler."""
    assert HOOK["enable-by-default"] is False


def test_is_compiled_follows_the_modules_that_run() -> None:
    """It says what runs: an extension module lies beside each source that is compiled, or beside none."""
    found = {file.stem for suffix in EXTENSION_SUFFIXES for file in PACKAGE.rglob(f"*{suffix}")}
    assert is_compiled() is bool(found)
    assert "costs" in {file.stem for file in MODULES}
