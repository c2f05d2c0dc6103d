"""What a large body costs, passed on and translated: memory, CPU, and how long the gateway's loop is held."""

from __future__ import annotations

import base64
import gzip
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ..report import Table, progress
from . import dialects
from .bench import Bench
from .upstream import WIRES, whole
from .ways import HERE, MINE, Gateway, Live, Way, started

MIB = 1 << 20
SIZES = (1, 8, 32)
"""MiB of the bodies."""
ROUNDS = 2
"""Requests of which the cheapest is told, of each size."""
_PATHS = {**dialects.PATHS, "gemini": "/v1beta/models/{model}:generateContent", "openai-responses": "/v1/responses"}
_BACKENDS = {"house": ("openai-chat", "/v1"), "annex": ("anthropic", "")}
_PNG = b"\x89PNG\r\n\x1a\n"
_SCHEMA: dict[str, object] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
_WORDS = "Why is the sky blue, and not “violet”? "
_PAIRS = (
    ("openai-chat", "house"),
    ("openai-chat", "annex"),
    ("anthropic", "house"),
    ("gemini", "house"),
    ("openai-responses", "annex"),
)


def measure(bench: Bench, number: float | None = None) -> Iterator[Table]:
    """Two tables: a large image, in bodies of several sizes; and bodies of other kinds. ``number``: the largest, in MiB."""
    most = int(number or max(SIZES))
    sizes = [size for size in SIZES if size <= most] or [most]
    with _Upstream() as upstream:
        yield _images(bench, upstream.port, sizes)
        yield _others(bench, upstream.port, most)


def _images(bench: Bench, upstream: int, sizes: list[int]) -> Table:
    table = Table("Large bodies: an image and a tool", _COLUMNS)
    for dialect, backend in _PAIRS:
        for size in sizes:
            table.rows.append(_row(bench, upstream, dialect, backend, size, "image"))
    table.notes.append(_NOTE)
    return table


def _others(bench: Bench, upstream: int, size: int) -> Table:
    table = Table("Large bodies of other kinds", [_COLUMNS[0], "body", *_COLUMNS[1:]])
    for kind in _KINDS:
        for dialect, backend in _PAIRS:
            if kind != "image":
                path, *row = _row(bench, upstream, dialect, backend, size, kind)
                table.rows.append([path, kind, *row])
    table.notes.append("Inflated: an image whose body came in gzip, of as many bytes when it is inflated.")
    return table


_COLUMNS = ["", "MiB", "memory, times the body", "loop held, ms/MB", "CPU, ms/MB"]
_NOTE = (
    "Memory: the most that was resident above what was before, in a gateway's first large request. Loop held: the most CPU "
    "time of the gateway's process, all threads, between two turns of its loop (`held_by.py`), so that what else the machine "
    f"does counts for nothing; over the whole body's size. Of that and of CPU the least of {ROUNDS} requests."
)


# A request, and what it costs.


@dataclass(frozen=True)
class _Cost:
    memory: float
    held: float
    cpu: float


def _row(bench: Bench, upstream: int, dialect: str, backend: str, size: int, kind: str) -> list[str]:
    wire = _BACKENDS[backend][0]
    progress(f"gateway/bodies: {dialect} to {backend}, {kind}, {size} MiB")
    body, sent = _body(dialect, f"{backend}/plain", size * MIB - 4096, kind)
    # A fresh one: of memory that an earlier body took, a later one is served.
    with started(_gateway(bench.folder / "held"), upstream) as live:
        bench.answered(live)
        out = bench.folder / "held"
        costs = [_cost(live, dialect, f"{backend}/plain", body, sent, out) for _ in range(ROUNDS)]
    told = (
        costs[0].memory / len(body),
        min(cost.held for cost in costs) * 1e3 / (len(body) / 1e6),
        min(cost.cpu for cost in costs) * 1e3 / (len(body) / 1e6),
    )
    way = Way(dialect, wire)
    kept = ", kept" if dialect == "openai-responses" else ""
    return [way.label + kept, str(size), f"{told[0]:.2f}", f"{told[1]:.1f}", f"{told[2]:.1f}"]


def _cost(live: Live, dialect: str, model: str, body: bytes, sent: bytes, out: Path) -> _Cost:
    process = Path(f"/proc/{live.running.child.pid}")
    headers = dialects.headers(dialect, {"content-encoding": "gzip"} if sent is not body else {})
    request = dialects.request(live.port, _PATHS[dialect].format(model=model), headers, sent)
    (process / "clear_refs").write_text("5")  # VmHWM begins anew
    before, cpu = _status(process, "VmRSS"), live.running.cpu()
    _ask(live.port, request)
    cpu = live.running.cpu() - cpu
    return _Cost(_status(process, "VmHWM") - before, _held(live, request, out), cpu)


def _held(live: Live, request: bytes, out: Path) -> float:
    """The most CPU time between two turns of the loop, in seconds, while this is asked."""
    live.running.child.send_signal(signal.SIGUSR2)
    _ask(live.port, request)
    live.running.child.send_signal(signal.SIGUSR2)
    while not out.exists():
        time.sleep(0.01)
    held = float(out.read_text())
    out.unlink()
    return held


def _status(process: Path, name: str) -> int:
    line = next(line for line in (process / "status").read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024


def _ask(port: int, request: bytes) -> None:
    """Raises ``RuntimeError`` unless it is answered with 200."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        got = connection.recv(65536)
        if not got.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(got.decode(errors="replace"))


# The backend: it keeps nothing of what it is sent.


class _Upstream:
    """``with`` it: a backend that reads a request into one buffer of 1 MiB and answers. Blocking, a thread a connection:

    no loop of this process stands between the gateway and the clock.
    """

    def __enter__(self) -> _Upstream:
        sys.setswitchinterval(0.0002)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        buffer = bytearray(MIB)
        with connection:
            while (got := _head(connection)) is not None:
                head, rest = got
                left = _length(head) - len(rest)
                while left > 0:
                    read = connection.recv_into(buffer, min(left, MIB))
                    if not read:
                        return
                    left -= read
                wire = "anthropic" if b"/messages" in head.partition(b"\r\n")[0] else "openai-chat"
                connection.sendall(whole(WIRES[wire][0]("plain")))


def _head(connection: socket.socket) -> tuple[bytes, bytes] | None:
    heard = b""
    while b"\r\n\r\n" not in heard:
        try:
            data = connection.recv(65536)
        except OSError:
            return None
        if not data:
            return None
        heard += data
    head, _, rest = heard.partition(b"\r\n\r\n")
    return head, rest


def _length(head: bytes) -> int:
    found = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return int(found[0].partition(b":")[2]) if found else 0


def _command(out: Path, port: int, upstream: int, folder: Path) -> list[str]:
    lines = ["[gateway.keys]", 'bench = "env:BENCH_KEY"']
    for name, (wire, base) in _BACKENDS.items():
        lines += [f"[providers.{name}]", f'wire = "{wire}"', f'base_url = "http://127.0.0.1:{upstream}{base}"']
        lines += ['api_key = "env:BENCH_KEY"', 'serves = ["plain"]']
    lines += ["[routes.my-plain]", 'targets = ["house/plain"]']
    file = folder / "polychat.toml"
    file.write_text("\n".join(lines) + "\n")
    serve = ["serve", "--config", str(file), "--host", "127.0.0.1", "--port", str(port)]
    return [sys.executable, str(HERE / "held_by.py"), str(out), *serve]


def _gateway(out: Path) -> Gateway:
    return Gateway("polychat", partial(_command, out), (MINE,), {"BENCH_KEY": dialects.KEY})


# Bodies.


class _Content(NamedTuple):
    """What a request has: all of it is small but for one part."""

    texts: list[str]
    about: str
    """What its tool is said to do."""
    schema: dict[str, object]
    image: str


_SMALL = _Content(["What is it?"], "d", _SCHEMA, base64.b64encode(_PNG).decode())


def _body(dialect: str, model: str, size: int, kind: str) -> tuple[bytes, bytes]:
    """A request's body, and the bytes that are sent of it: compressed, where that is its kind."""
    body = json.dumps(_WRITTEN[dialect](model, _KINDS[kind](size)), ensure_ascii=False, separators=(",", ":")).encode()
    return body, gzip.compress(body, 1) if kind == "inflated" else body


def _image(size: int) -> _Content:
    return _SMALL._replace(image=base64.b64encode(_PNG + os.urandom(size // 4 * 3)).decode())


def _text(size: int) -> _Content:
    return _SMALL._replace(texts=[_WORDS * (size // len(_WORDS.encode()))])


def _texts(each: int, size: int) -> _Content:
    """Very many texts of so many bytes each."""
    text = _WORDS * (each // len(_WORDS.encode()))
    return _SMALL._replace(texts=[text] * (size // (len(text.encode()) + 60)))


def _about(size: int) -> _Content:
    return _SMALL._replace(about=_WORDS * (size // len(_WORDS.encode())))


def _tools(size: int) -> _Content:
    """A tool of very many parameters."""
    member: dict[str, object] = {"type": "string", "description": _WORDS, "enum": ["a", "b"]}
    each = len(json.dumps(member, ensure_ascii=False).encode()) + 12
    properties = {f"p{number}": member for number in range(size // each)}
    return _SMALL._replace(schema={"type": "object", "properties": properties})


_KINDS: dict[str, Callable[[int], _Content]] = {
    "image": _image,
    "text": _text,
    "texts of 16 KB": partial(_texts, 16 * 1024),
    "texts of 1 KB": partial(_texts, 1024),
    "description": _about,
    "schema": _tools,
    "inflated": _image,
}


def _chat(model: str, content: _Content) -> object:
    texts, about, schema, image = content
    parts: list[object] = [{"type": "text", "text": text} for text in texts]
    parts += [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{image}"}}]
    tools = [{"type": "function", "function": {"name": "f", "description": about, "parameters": schema}}]
    return {"model": model, "messages": [{"role": "user", "content": parts}], "tools": tools}


def _messages(model: str, content: _Content) -> object:
    texts, about, schema, image = content
    parts: list[object] = [{"type": "text", "text": text} for text in texts]
    parts += [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": image}}]
    tools = [{"name": "f", "description": about, "input_schema": schema}]
    return {"model": model, "max_tokens": 99, "messages": [{"role": "user", "content": parts}], "tools": tools}


def _gemini(model: str, content: _Content) -> object:
    texts, about, schema, image = content
    parts: list[object] = [{"text": text} for text in texts]
    parts += [{"inlineData": {"mimeType": "image/png", "data": image}}]
    tools = [{"functionDeclarations": [{"name": "f", "description": about, "parametersJsonSchema": schema}]}]
    return {"contents": [{"role": "user", "parts": parts}], "tools": tools}


def _responses(model: str, content: _Content) -> object:
    texts, about, schema, image = content
    parts: list[object] = [{"type": "input_text", "text": text} for text in texts]
    parts += [{"type": "input_image", "image_url": f"data:image/png;base64,{image}"}]
    tools = [{"type": "function", "name": "f", "description": about, "parameters": schema, "strict": False}]
    return {"model": model, "input": [{"role": "user", "content": parts}], "tools": tools}


_WRITTEN = {"openai-chat": _chat, "anthropic": _messages, "gemini": _gemini, "openai-responses": _responses}
