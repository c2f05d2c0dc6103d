"""The commands of a chat: lines that begin with ``/``. Each method ``do_NAME`` is one; its docstring is its help."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Awaitable, Callable, Iterator
from typing import NamedTuple

from ...errors import BadInput

PREFIX = "do_"
_KINDS = {"MODEL": "model", "FILE": "file", "NAME": "server"}
"""What a word of a usage stands for."""


class SlashCommand(NamedTuple):
    name: str
    usage: str
    about: str
    kind: str
    """What its argument is, for completion: ``model``, ``file``, ``server``, or nothing."""
    run: Callable[[str], Awaitable[None] | None]


def commands_of(owner: object) -> dict[str, SlashCommand]:
    """Those of ``owner``, by name. A docstring begins with the usage: ``MODEL: use another model from here on``."""
    return {command.name: command for command in _found(owner)}


def _found(owner: object) -> Iterator[SlashCommand]:
    for name, method in inspect.getmembers(owner, inspect.ismethod):
        if name.startswith(PREFIX):
            usage, _, about = (inspect.getdoc(method) or "").partition(":")
            kind = next((kind for word, kind in _KINDS.items() if word in usage), "")
            yield SlashCommand(name.removeprefix(PREFIX), usage.strip(), about.strip(), kind, method)


def split(line: str) -> tuple[str, str]:
    """The name of the command and the rest of its line."""
    name, _, rest = line[1:].partition(" ")
    return name, rest.strip()


def words(rest: str) -> list[str]:
    """As a shell splits them. Raises ``BadInput`` for a quotation mark that is not closed."""
    try:
        return shlex.split(rest)
    except ValueError:
        raise BadInput("a quotation mark is not closed", field="command") from None
