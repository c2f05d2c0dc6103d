"""The options of a call that the arguments of ``polychat ask`` and its template set."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..client.targets import Targets
from ..config.file_errors import near
from ..errors import BadInput, redact
from ..wire.json_text import whole_number
from .connection import connection_options
from .schema_argument import schema_from

_TEXTS = ("user", "stop", "service_tier", "verbosity", "previous", "api_key")
"""Options whose value is text in any case; a list for ``stop`` is JSON: ``--option stop=["a", "b"]``."""

_BUDGET = re.compile(r"-?[0-9]{1,18}")
"""``--reasoning`` as a number of tokens."""


def options_from(
    arguments: argparse.Namespace, targets: Targets, model: str | None, preset: Mapping[str, Any]
) -> dict[str, Any]:
    """Keywords of ``polychat.stream``; ``preset`` are options of a template, which ``-o`` overrides. Raises ``BadInput``."""
    given = given_options(arguments, targets, model, preset)
    return connection_options(arguments) | _answer_keywords(arguments) | dict(preset) | given


def given_options(
    arguments: argparse.Namespace, targets: Targets, model: str | None, preset: Iterable[str] = ()
) -> dict[str, Any]:
    """Those of ``-o``, as values. Raises ``BadInput`` for one that the model's backend does not take, of ``preset`` too."""
    backends = targets.backends_of(targets.default_model() if model is None else model)
    names = list(dict.fromkeys(name for backend in backends for name in backend.options))
    for name in preset:
        if name not in names:
            raise _unknown_option(name, names, backends[0].name)
    options: dict[str, Any] = {}
    for pair in arguments.option:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier():  # what was given may be a key: it is not shown
            raise BadInput("-o is not NAME=VALUE, such as -o temperature=0.2", field="option")
        if name not in names:
            raise _unknown_option(name, names, backends[0].name)
        options[name] = value if name in _TEXTS and not value.startswith("[") else _value(value)
    return options


def _unknown_option(name: str, names: Sequence[str], backend: str) -> BadInput:
    advice = near(name, names, "; ") or f"; it takes {', '.join(names) or 'none'}"
    return BadInput(f"-o {redact(name, 40)}: {backend} has no such option{advice}", field="option")


def _answer_keywords(arguments: argparse.Namespace) -> dict[str, Any]:
    keywords = {
        "schema": None if arguments.schema is None else schema_from(arguments.schema),
        "reasoning": _reasoning(arguments.reasoning),
        "on_loss": arguments.on_loss,
    }
    return {name: value for name, value in keywords.items() if value is not None}


def _reasoning(level: str | None) -> str | int | None:
    return int(level) if level is not None and _BUDGET.fullmatch(level) else level


def _value(text: str) -> Any:
    """A number, a list or true and false where it reads as such in JSON; text else."""
    try:
        return json.loads(text, parse_int=whole_number)
    except (ValueError, RecursionError):
        return text
