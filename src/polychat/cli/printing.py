"""What a reply looks like on a terminal, in a pipe, and as JSON."""

from __future__ import annotations

import sys
from base64 import b64encode
from dataclasses import asdict
from importlib.util import find_spec
from typing import Any, TextIO

from ..backends.keys import key_source
from ..client import Reply, Stream
from ..client.targets import Targets
from ..errors import BadInput, BadReply, PolychatError, StatusError, Unauthorized
from . import FAILED, MISUSED, complain


class Printer:
    """Pieces to a terminal at once, without what would steer it; to a pipe as they are."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._terminal = out.isatty()
        self._last = ""

    def write(self, piece: str) -> None:
        if not piece:
            return
        self._out.write(printable(piece) if self._terminal else piece)
        self._out.flush()
        self._last = piece[-1]

    def finish(self) -> None:
        """End the last line, if it is not."""
        if self._last and self._last != "\n":
            self._out.write("\n")
        self._out.flush()


_STEERING = {code: "\N{REPLACEMENT CHARACTER}" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


def printable(text: str) -> str:
    """Without control characters: a reply must not move the cursor, set the title or answer for the user."""
    return text.replace("\r\n", "\n").translate(_STEERING)


def print_sources(reply: Stream) -> None:
    """The sources that the reply cites, on standard error."""
    for number, source in enumerate(reply.sources, 1):
        print(f"[{number}] {printable(source.title)} {printable(source.url)}".replace("\n", " "), file=sys.stderr)


def warn_if_cut(reply: Stream) -> None:
    if reply.reason == "length":
        complain("stopped at max_tokens: the reply may be incomplete; raise it with -o max_tokens=N", "warning")


def checked(reply: Stream) -> tuple[Reply, BadReply | None]:
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
    model = printable(reply.served or reply.model or "this model")
    return f"unpriced (no price is known for {model}: add one to [prices] of polychat.toml)"


def failure_line(error: PolychatError, targets: Targets) -> str:
    """The error with the backend that it came from, and for a rejected key where that key is set."""
    text = str(error)
    host, answered, rest = text.partition(" answered ")
    if not isinstance(error, StatusError) or not answered or " " in host or not error.provider:
        return text
    row = targets.registry.vendors().get(error.provider.lower()) if isinstance(error, Unauthorized) else None
    source = "" if row is None else key_source(row)
    return f"{error.provider} ({host}): {rest}{f' (key from {source})' if source else ''}"


async def read_whole(reply: Stream) -> tuple[Reply, PolychatError | None]:
    """The reply when it has ended, and its failure: that of the backend, or an answer that does not meet its schema."""
    failure: PolychatError | None = None
    try:
        async with reply:
            async for _ in reply:
                pass
    except PolychatError as error:
        failure = error
    else:
        warn_if_cut(reply)
    whole, unfit = checked(reply)
    return whole, failure or unfit


def report_of(whole: Reply, failure: PolychatError | None) -> dict[str, Any]:
    """Everything in a reply as values of JSON, but for bytes; see ``in_json``."""
    report = asdict(whole)
    report["losses"] = [str(loss) for loss in whole.losses]
    if failure is not None:
        report["error"] = {
            "type": type(failure).__name__,
            "message": str(failure),
            "status": failure.status,
            "retry_after": failure.retry_after,
        }
    return report


def in_json(value: object) -> str:
    """Bytes as JSON has them."""
    if isinstance(value, bytes):
        return b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} is no JSON")


def code_of(error: PolychatError) -> int:
    return MISUSED if isinstance(error, BadInput) else FAILED
