"""``polychat ask``."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from typing import Any, TextIO

from ..client import Stream, stream
from ..errors import BadInput, PolychatError
from ..providers import options_of, resolve
from . import ANSWERED, FAILED, MISUSED, complain

STDIN_LIMIT = 64 * 1024 * 1024
"""Bytes of a question on standard input."""


def run(arguments: argparse.Namespace) -> int:
    """Ask and print. What is wrong with the arguments raises ``BadInput`` before anything is sent."""
    prompt = _from_stdin() if arguments.prompt == "-" else arguments.prompt
    reply = stream(prompt, model=arguments.model, system=arguments.system, **_options(arguments))
    return asyncio.run(_whole_json(reply) if arguments.json else _plain(reply, wait=arguments.no_stream))


def _from_stdin() -> str:
    data = sys.stdin.buffer.read(STDIN_LIMIT + 1)
    if len(data) > STDIN_LIMIT:
        raise BadInput(f"the question on standard input is larger than {STDIN_LIMIT:,} bytes: send less", field="prompt")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"standard input is not UTF-8 text (byte {error.start:,}): convert it first", field="prompt") from None


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    common = {"base_url": arguments.base_url, "proxy": arguments.proxy, "timeout": arguments.timeout}
    options = {name: value for name, value in common.items() if value is not None}
    if arguments.cookie:
        options["cookies"] = dict(_cookie(given) for given in arguments.cookie)
    provider, _ = resolve(arguments.model)
    known = options_of(provider)
    for given in arguments.option:
        name, equals, value = given.partition("=")
        if not equals or name not in known:
            takes = ", ".join(known) or "none"
            raise BadInput(f"-o {given!r} is not NAME=VALUE with an option of {provider.__name__} ({takes})", field="option")
        options[name] = _value(value)
    return options


def _cookie(given: str) -> tuple[str, str]:
    name, equals, value = given.partition("=")
    if not equals or not name:
        raise BadInput("--cookie is not NAME=VALUE", field="cookie")  # what was given may be the value: it is not shown
    return name, value


def _value(text: str) -> Any:
    """A number, a list or true and false where it reads as such in JSON; text else."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


async def _plain(reply: Stream, *, wait: bool) -> int:
    printer = Printer(sys.stdout)
    try:
        async with reply:
            async for piece in reply:
                if not wait:
                    printer.write(piece)
    except PolychatError as error:
        if wait:
            printer.write(reply.text)
        printer.finish()
        complain(str(error))
        return _code(error)
    except asyncio.CancelledError:
        printer.finish()  # Ctrl-C: the shell's prompt begins on a line of its own
        raise
    if wait:
        printer.write(reply.text)
    printer.finish()
    for number, source in enumerate(reply.sources, 1):
        print(f"[{number}] {_tame(source.title)} {_tame(source.url)}".replace("\n", " "), file=sys.stderr)
    return ANSWERED


async def _whole_json(reply: Stream) -> int:
    failure: PolychatError | None = None
    try:
        async with reply:
            async for _ in reply:
                pass
    except PolychatError as error:
        failure = error
    report = asdict(reply.reply())
    if failure is not None:
        report["error"] = {
            "type": type(failure).__name__,
            "message": str(failure),
            "status": failure.status,
            "retry_after": failure.retry_after,
        }
        complain(str(failure))
    print(json.dumps(report, ensure_ascii=False))
    return ANSWERED if failure is None else _code(failure)


def _code(error: PolychatError) -> int:
    return MISUSED if isinstance(error, BadInput) else FAILED


class Printer:
    """Pieces to a terminal at once, without what would steer it; to a pipe as they are."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._terminal = out.isatty()
        self._last = ""

    def write(self, piece: str) -> None:
        if not piece:
            return
        self._out.write(_tame(piece) if self._terminal else piece.encode("utf-8", "replace").decode())
        self._out.flush()
        self._last = piece[-1]

    def finish(self) -> None:
        """End the last line, if it is not."""
        if self._last and self._last != "\n":
            self._out.write("\n")
        self._out.flush()


_STEERING = {code: "\N{REPLACEMENT CHARACTER}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def _tame(text: str) -> str:
    """Without control characters: a reply must not move the cursor, set the title or answer for the user."""
    return text.replace("\r\n", "\n").translate(_STEERING)
