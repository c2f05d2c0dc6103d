"""The functions of ``polychat ask --tools``: the public ones of a Python module, as tools."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

from ..calls.functions import tool_of
from ..calls.schema_check import schema_fault
from ..errors import BadInput, redact
from ..types import TextPart, Tool
from ..wire.json_text import json_of
from .tool_calls import OfferedTool, ToolOutcome, in_own_thread

Function = Callable[..., Any]


def functions_in(name: str) -> list[OfferedTool]:
    """The tools of a module, or of the file at a path: its public functions, or those that ``__all__`` names.

    Raises ``BadInput`` for a module that cannot be imported, one without functions, and a function that cannot be a tool.
    """
    try:
        module = _module(name)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # the module's code is the person's own, and may raise anything
        fault = f"{type(error).__name__}: {redact(str(error))}{_advice(name, error)}"
        raise BadInput(f"--tools {name} cannot be imported: {fault}", field="tools") from None
    listed = getattr(module, "__all__", None)
    functions = [
        value
        for key, value in vars(module).items()
        if inspect.isfunction(value)
        and (key in listed if listed is not None else not key.startswith("_") and value.__module__ == module.__name__)
    ]
    if not functions:
        raise BadInput(f"--tools {name} has no public functions", field="tools")
    return [_offered(tool_of(function), function) for function in functions]


def _module(name: str) -> ModuleType:
    if not name.endswith(".py") and "/" not in name:
        return importlib.import_module(name)
    path = Path(name)
    spec = importlib.util.spec_from_file_location(f"polychat_tools_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError("it is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # annotations are looked up there
    spec.loader.exec_module(module)
    return module


def _advice(name: str, error: BaseException) -> str:
    """A file beside the person is named as a file: the current folder is not where modules are looked for."""
    file = Path(f"{name.replace('.', '/')}.py")
    if isinstance(error, ModuleNotFoundError) and error.name == name.partition(".")[0] and file.is_file():
        return f"; for the file in this folder, write  --tools {file}"
    return ""


def _offered(tool: Tool, function: Function) -> OfferedTool:
    async def call(values: dict[str, Any]) -> ToolOutcome:
        return ToolOutcome([TextPart(await in_own_thread(lambda: _called(function, values)))])

    return OfferedTool(tool, call, lambda values: schema_fault(values, tool.parameters or {}, "the arguments"))


def _called(function: Function, values: dict[str, Any]) -> str:
    with redirect_stdout(sys.stderr):  # standard output is for the answer
        value = function(**values)
        return _text_of(asyncio.run(_awaited(value)) if inspect.isawaitable(value) else value)


def _text_of(value: Any) -> str:
    """A text as it is, a value as JSON, and what JSON cannot hold as Python writes it."""
    if isinstance(value, str):
        return value
    try:
        return json_of(value)
    except (TypeError, ValueError):
        return str(value)


async def _awaited(value: Any) -> Any:
    return await value
