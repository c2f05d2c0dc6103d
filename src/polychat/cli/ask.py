"""``polychat ask``."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import asdict
from importlib.util import find_spec
from typing import Any, TextIO

from ..client import Reply, Stream
from ..client.calls import stream_of
from ..client.targets import Targets, targets_of, user_targets
from ..config.file_errors import near
from ..errors import BadInput, BadReply, PolychatError, redact
from ..types import ChatMessage, Conversation, TextPart
from . import ANSWERED, FAILED, MISUSED, complain, print_json
from .attaching import attached
from .code_blocks import first_block
from .connection import connection_options
from .prompting import prompt_from
from .schema_argument import schema_from

_TEXTS = ("user", "stop", "service_tier", "verbosity", "previous", "api_key")
"""Options whose value is text in any case; a list for ``stop`` is JSON: ``--option stop=["a", "b"]``."""


def run(arguments: argparse.Namespace) -> int:
    """Ask and print. What is wrong with the arguments raises ``BadInput`` before anything is sent."""
    targets = user_targets() if arguments.config is None else targets_of(arguments.config)
    prompt = _with_attachments(prompt_from(arguments.prompt), arguments)
    reply = stream_of(targets, prompt, arguments.model, arguments.system, _options(arguments, targets))
    return asyncio.run(_whole_json(reply) if arguments.json else _plain(reply, arguments))


def _with_attachments(prompt: str, arguments: argparse.Namespace) -> str | Conversation:
    parts = attached(arguments.file, arguments.image, arguments.timeout) if arguments.file or arguments.image else []
    return [ChatMessage("user", [*parts, TextPart(prompt)])] if parts and prompt.strip() else prompt


def _options(arguments: argparse.Namespace, targets: Targets) -> dict[str, Any]:
    options = connection_options(arguments) | _answer_keywords(arguments)
    backends = targets.backends_of(targets.default_model() if arguments.model is None else arguments.model)
    names = list(dict.fromkeys(name for backend in backends for name in backend.options))
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
    return int(level) if level is not None and level.lstrip("-").isdecimal() else level


def _value(text: str) -> Any:
    """A number, a list or true and false where it reads as such in JSON; text else."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


async def _plain(reply: Stream, arguments: argparse.Namespace) -> int:
    printer = Printer(sys.stdout)
    extract: bool = arguments.extract
    wait: bool = arguments.no_stream or extract
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
        printer.write(_extracted(reply.text) if extract else reply.text)
    printer.finish()
    for number, source in enumerate(reply.sources, 1):
        print(f"[{number}] {_printable(source.title)} {_printable(source.url)}".replace("\n", " "), file=sys.stderr)
    _warn_if_cut(reply)
    whole, failure = _checked(reply)
    if arguments.usage:
        print(f"polychat: {usage_line(whole)}", file=sys.stderr)
    if failure is not None:
        complain(str(failure))
    return ANSWERED if failure is None else FAILED


def _extracted(text: str) -> str:
    block = first_block(text)
    if block is None:
        complain("the reply has no code block: this is all of it", "note")
    return text if block is None else block


def _warn_if_cut(reply: Stream) -> None:
    if reply.reason == "length":
        complain("the reply reached its token limit and may be incomplete: raise it with -o max_tokens=N", "warning")


def _checked(reply: Stream) -> tuple[Reply, BadReply | None]:
    """The reply, and why it does not match the requested schema, if it does not."""
    try:
        return reply.reply(), None
    except BadReply as error:
        reply.shape = None
        return reply.reply(), error


def usage_line(reply: Reply) -> str:
    """Tokens and cost in one line; what is estimated or has no price is marked so."""
    cost = _unpriced(reply) if reply.cost is None else f"${reply.cost:.6f}"
    usage = reply.usage
    if usage is None:
        return f"tokens unknown; {cost}"
    how = " (estimated)" if usage.estimated else ""
    parts = {"cached": usage.cached_tokens, "of thought": usage.reasoning_tokens}
    extra = "".join(f", {count:,} {name}" for name, count in parts.items() if count)
    sent, answered = ("?" if count is None else f"{count:,}" for count in (usage.prompt_tokens, usage.completion_tokens))
    return f"{sent} tokens in, {answered} out{extra}{how}; {cost}"


def _unpriced(reply: Reply) -> str:
    """Why the cost is not known."""
    if reply.usage is None or reply.usage.prompt_tokens is None:
        return "unpriced (the backend did not count)"
    if find_spec("genai_prices") is None:
        return 'unpriced (prices come with  pip install "polychat[prices]", or from [prices] of polychat.toml)'
    model = _printable(reply.served or reply.model or "this model")
    return f"unpriced (no price is known for {model}: add one to [prices] of polychat.toml)"


async def _whole_json(reply: Stream) -> int:
    failure: PolychatError | None = None
    try:
        async with reply:
            async for _ in reply:
                pass
    except PolychatError as error:
        failure = error
    else:
        _warn_if_cut(reply)
    whole, unfit = _checked(reply)
    failure = failure or unfit
    report = asdict(whole)
    report["losses"] = [str(loss) for loss in whole.losses]
    if failure is not None:
        report["error"] = {
            "type": type(failure).__name__,
            "message": str(failure),
            "status": failure.status,
            "retry_after": failure.retry_after,
        }
        complain(str(failure))
    print_json(report, default=_bytes)
    return ANSWERED if failure is None else _code(failure)


def _bytes(value: object) -> str:
    """Bytes as JSON has them."""
    if isinstance(value, bytes):
        return b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} is no JSON")


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
        self._out.write(_printable(piece) if self._terminal else piece)
        self._out.flush()
        self._last = piece[-1]

    def finish(self) -> None:
        """End the last line, if it is not."""
        if self._last and self._last != "\n":
            self._out.write("\n")
        self._out.flush()


_STEERING = {code: "\N{REPLACEMENT CHARACTER}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def _printable(text: str) -> str:
    """Without control characters: a reply must not move the cursor, set the title or answer for the user."""
    return text.replace("\r\n", "\n").translate(_STEERING)
