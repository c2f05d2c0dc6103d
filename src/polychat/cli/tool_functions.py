"""The functions of ``polychat ask --tools``: found in a module, shown before they are called, and called with a time limit."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import json
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

from ..calls.functions import tool_of
from ..calls.schema_check import schema_fault
from ..errors import BadInput, redact
from ..types import TextPart, ToolCall, ToolResult
from ..wire.json_text import decoded, json_of
from . import complain
from .terminal import confirmed

SECONDS = 120.0
"""Seconds that a call may take, unless the command says otherwise."""
MOST_ROUNDS = 50
"""Replies with calls, one after another."""
_LONGEST = 1_000_000
"""Characters of a result."""

Function = Callable[..., Any]


def functions_in(name: str) -> dict[str, Function]:
    """The tools of a module, or of the file at a path: its public functions, or those that ``__all__`` names.

    Raises ``BadInput`` for a module that cannot be imported, one without functions, and a function that cannot be a tool.
    """
    try:
        module = _module(name)
    except Exception as error:  # noqa: BLE001  # the code of the module is the person's own, and may raise anything
        raise BadInput(
            f"--tools {name} cannot be imported: {type(error).__name__}: {redact(str(error))}", field="tools"
        ) from None
    listed = getattr(module, "__all__", None)
    functions = {
        key: value
        for key, value in vars(module).items()
        if inspect.isfunction(value)
        and (key in listed if listed is not None else not key.startswith("_") and value.__module__ == module.__name__)
    }
    if not functions:
        raise BadInput(f"--tools {name} has no public functions", field="tools")
    return {tool_of(function).name: function for function in functions.values()}


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


def result_of(call: ToolCall, functions: Mapping[str, Function], *, is_allowed: bool, seconds: float) -> ToolResult:
    """Show a call, run it if it is allowed or confirmed, and give what the model gets: a value, or what went wrong."""
    function, fault = functions.get(call.name), ""
    values: dict[str, Any] = {}
    if function is None:
        fault = f"there is no tool {call.name}"
    else:
        try:
            values = decoded((call.arguments or "{}").encode())
            fault = schema_fault(values, tool_of(function).parameters or {}) or ""
        except ValueError as error:
            fault = f"the arguments are not JSON: {error}"
    complain(f"{call.name}({_words(values, call)})", "tool")
    if not fault and function is not None:
        answer = True if is_allowed else confirmed("Call it?")
        if answer:
            return _ran(call, function, values, seconds)
        fault = "the user declined this call"
        if answer is None:
            complain("not called: there is no terminal to confirm it on; --yes allows all calls", "note")
    return _failed(call, fault)


def _words(values: Any, call: ToolCall) -> str:
    """The arguments as one reads them, all of them: they are what is confirmed. What a terminal does not show is escaped."""
    if isinstance(values, dict) and values:
        text = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in values.items())
    else:
        text = "" if call.arguments.strip() in ("", "{}") else call.arguments
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _failed(call: ToolCall, fault: str) -> ToolResult:
    complain(redact(f"{call.name}: {fault}", 500), "note")
    return ToolResult(call.id, [TextPart(fault[:_LONGEST])], call.name, is_error=True)


def _ran(call: ToolCall, function: Function, values: Mapping[str, Any], seconds: float) -> ToolResult:
    outcome: list[str | BaseException] = []

    def work() -> None:
        try:
            value = function(**values)
            value = asyncio.run(_awaited(value)) if inspect.isawaitable(value) else value
            outcome.append(_text_of(value))
        except (Exception, SystemExit) as error:  # noqa: BLE001  # the model gets it, whatever it is
            outcome.append(error)

    # A thread cannot be ended: this one does not keep the command from ending, as one of a pool would.
    thread = threading.Thread(target=work, daemon=True)
    with redirect_stdout(sys.stderr):  # standard output is for the answer
        thread.start()
        thread.join(seconds)
    if not outcome:
        return _failed(call, f"it has not returned within {seconds:g} s")
    if isinstance(outcome[0], BaseException):
        return _failed(call, f"{type(outcome[0]).__name__}: {outcome[0]}")
    text = outcome[0]
    if len(text) > _LONGEST:
        text = f"{text[:_LONGEST]}\n(the rest of the result, {len(text) - _LONGEST:,} characters, is left out)"
    return ToolResult(call.id, [TextPart(text)], call.name)


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
