"""``polychat explain``."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from shutil import get_terminal_size
from textwrap import wrap
from typing import Any

from .. import config
from ..config import Config
from ..config.access import Admin
from ..errors import BadInput, redact
from ..gateway.admission.guards import Guards, in_order
from ..gateway.app import Gateway as App
from ..gateway.chat.forecast import forecast
from ..gateway.context import Guard, RequestContext
from ..gateway.dialects.dialect import Dialect
from ..gateway.observe.recent import explanation
from ..gateway.observe.record import Record
from ..gateway.paths import endpoint_at, usual
from ..http.server.asgi import Scope
from . import ANSWERED, FAILED, print_json

MAX_BODY = 64 * 1024 * 1024
"""Bytes of a request that is read."""
_TARGET = 34
"""Columns of the longest target that others are set beneath."""


def run(arguments: argparse.Namespace) -> int:
    """Send a request as the gateway would, or only look where it would go, and explain why."""
    body = _body(arguments.file)
    configured = _quiet(config.load_here() if arguments.config is None else config.read(Path(arguments.config)))
    explained = asyncio.run(
        _forecast(configured, arguments.path, body) if arguments.dry_run else _answered(configured, arguments.path, body)
    )
    if arguments.json:
        print_json(explained, indent=2)
    else:
        print("\n".join(_lines(explained)))
    return ANSWERED if arguments.dry_run or explained["verdict"] == "complete" else FAILED


def _body(file: str) -> bytes:
    """Raises ``BadInput`` for what cannot be read, or is too large."""
    try:
        with open(file, "rb") if file != "-" else sys.stdin.buffer as opened:
            body = opened.read(MAX_BODY + 1)
    except OSError as error:
        message = f"{file} cannot be read: {error.strerror}; pass a file with a request's body, or - to read standard input"
        raise BadInput(message, field="REQUEST.json") from None
    if len(body) > MAX_BODY:
        raise BadInput(f"{file} has more than {MAX_BODY:,} bytes: use a smaller request", field="REQUEST.json")
    return body


def _quiet(configured: Config) -> Config:
    """The same routes and backends; no keys of clients, no log, and nothing exported."""
    changes: dict[str, Any] = {
        "keys": {},
        "key_settings": {},
        "state": None,
        "admin": Admin(),
        "log": "off",
        "telemetry": False,
        "sites": "",
        "cors": (),
    }
    return replace(configured, gateway=configured.gateway.replace(**changes))


class _RecordKeeper(Guard):
    """Keeps the record of the request."""

    def __init__(self) -> None:
        self.record: Record | None = None

    def after(self, context: RequestContext) -> None:
        self.record = context.record


async def _answered(configured: Config, path: str, body: bytes) -> dict[str, Any]:
    """What became of the request, once it is over."""
    guard = _RecordKeeper()
    app = App(configured, guards=lambda runtime, service: in_order([guard]))
    endpoint_of(path)
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])
    never = asyncio.get_running_loop().create_future()

    async def receive() -> Any:
        message = next(messages, None)
        return message if message is not None else await never

    async def send(message: Any) -> None:
        """The reply is not printed, only how it came about."""

    await app(_scope(path), receive, send)
    await app.close()
    assert guard.record is not None
    return explanation(guard.record)


async def _forecast(configured: Config, path: str, body: bytes) -> dict[str, Any]:
    app = App(configured, guards=lambda runtime, service: Guards())
    dialect = endpoint_of(path)

    async def send(message: Any) -> None:
        """Nothing is answered."""

    context = RequestContext(app, dialect, usual(path), _scope(path), send)
    context.body = body
    return forecast(context, dialect)


def endpoint_of(path: str) -> Dialect:
    """The dialect of a path for chats. Raises ``BadInput``."""
    endpoint = endpoint_at(usual(path), _scope(path))
    if endpoint is None or endpoint.method != "POST" or not isinstance(endpoint.dialect, Dialect):
        raise BadInput(
            f"{redact(path, 80)} is not a chat endpoint of the gateway: use one such as /v1/messages", field="--path"
        )
    return endpoint.dialect


def _scope(path: str) -> Scope:
    head = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")]
    return {
        **{"type": "http", "http_version": "1.1", "method": "POST", "scheme": "http", "path": path, "raw_path": path.encode()},
        **{"query_string": b"", "root_path": "", "headers": head, "server": ("127.0.0.1", 80)},
    }


# What a person reads.


def _lines(explained: dict[str, Any]) -> Iterator[str]:
    """The explanation, as wide as the terminal."""
    route = f"route {explained['route']} ({explained['strategy']})" if explained["route"] else "a target by its own name"
    yield f"{explained['path']}  {explained['model']}: {route}"
    if "status" in explained:
        error = explained["error"] if len(explained["attempts"]) < 2 else ""  # else each has its own reason below
        took = f"in {explained['duration_ms']:.0f} ms"
        if queued := explained.get("queued_ms"):
            took += f", {queued:.0f} of them in the queue for a target"
        yield from _indented(f"{explained['status']} {explained['verdict'] or 'refused'} {took}", error)
    yield ""
    candidates = explained["candidates"]
    width = min(_TARGET, max((len(entry["target"]) for entry in candidates), default=0))
    for entry in candidates:
        reasons = [entry.get("reason", ""), *(f"lost: {loss}" for loss in entry.get("losses", ()))]
        yield from _row(f"  {entry['target']:<{width}}  ", entry["outcome"], reasons)
    if explained.get("attempts"):
        yield from ("", "ms since the request", *_time_line(explained["attempts"]))
    rows = [("dropped", ", ".join(explained.get("losses", ()))), ("tokens", _tokens(explained)), ("cost", _cost(explained))]
    if any(value for _, value in rows):
        yield ""
    for name, value in rows:
        if value:
            yield from _row(f"  {name:<7}  ", value, ())


def _time_line(attempts: Iterable[dict[str, Any]]) -> Iterator[str]:
    for entry in attempts:
        begin, end = (f"{entry[name]:.0f}" if name in entry else "" for name in ("begin_ms", "end_ms"))
        first = f", first token at {entry['time_to_first_token_ms']:.0f}" if "time_to_first_token_ms" in entry else ""
        yield from _row(f"  {begin:>7} - {end:>7}  ", f"{entry['target']}: {entry['outcome']}{first}", ())


def _tokens(explained: dict[str, Any]) -> str:
    prompt, completion = explained.get("prompt_tokens"), explained.get("completion_tokens")
    return "" if prompt is None and completion is None else f"{prompt or 0} + {completion or 0}"


def _cost(explained: dict[str, Any]) -> str:
    cost = explained.get("cost_usd")
    return "" if cost is None else f"${cost:.6f}"


def _row(begin: str, value: str, reasons: Iterable[str]) -> Iterator[str]:
    """``begin`` and the text after it, wrapped with a hanging indent; each reason on lines of its own."""
    indent = " " * len(begin)
    lines = [line for text in (value, *reasons) for line in wrap(text, max(20, _columns() - len(begin)))]
    yield from (f"{begin if number == 0 else indent}{line}".rstrip() for number, line in enumerate(lines))


def _indented(*texts: str) -> Iterator[str]:
    for text in texts:
        yield from wrap(text, _columns() - 2, initial_indent="  ", subsequent_indent="  ")


def _columns() -> int:
    return get_terminal_size((80, 24)).columns
