"""The examples run unchanged, and are what the documents show."""

from __future__ import annotations

import asyncio
import json
import os
import runpy
import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from polychat.errors import BadReply, ReplyFailed, StatusError, Truncated
from polychat.events import Event, Finish, Text, ToolCallPiece, Usage
from polychat.types import ChatRequest

from ..support.corpus import splits
from ..support.scripted_server import Handler, Say, Seen, Server
from ..support.scripted_vendors import ScriptedVendor

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples"
Serve = Callable[[Handler], Awaitable[Server]]

HEAD = b'{"model":"llama3.2","created_at":"2025-01-01T00:00:00Z","message":{"role":"assistant","content":'
PIECES = ["The ", "sk", "y — \N{LINE SEPARATOR}", "небо"]
REPLY = b"".join(HEAD + json.dumps(piece, ensure_ascii=False).encode() + b'},"done":false}\n' for piece in PIECES)
LAST = HEAD + b'""},"done_reason":"stop","done":true,"total_duration":5,"prompt_eval_count":26,"eval_count":4}\n'
WHOLE = [*map(Text, PIECES), Usage(26, 4), Finish("complete", "stop")]


async def ollama(seen: Seen, say: Say) -> None:
    await say.stream([REPLY, LAST], content_type="application/x-ndjson")


def of_oslo(request: ChatRequest) -> list[list[Event]]:
    """Calls the tool, and answers by what it gave."""
    if request.messages[-1].role == "tool":
        return [[Text('{"city":"Oslo","celsius":4}')], [Finish("complete", "stop")]]
    return [[ToolCallPiece(0, "c", "weather", '{"city":"Oslo"}')], [Finish("complete", "tool_calls")]]


SERVERS: dict[str, tuple[Handler, str]] = {
    "ollama.py": (ollama, "".join(PIECES) + "\n"),
    "own_server.py": (ScriptedVendor("openai-chat", of_oslo), """weather({"city":"Oslo"})\nAnswer(city='Oslo', celsius=4)\n"""),
}
"""What each example is run against, and what it then prints; it is given the server's address as its last argument."""


async def run(*arguments: object, code: str = "") -> tuple[int | None, str, str]:
    """A Python of its own: exit code, output, errors."""
    start = ["-W", "error", *(["-c", code] if code else []), *map(str, arguments)]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    pipe = asyncio.subprocess.PIPE
    python = await asyncio.create_subprocess_exec(sys.executable, *start, stdout=pipe, stderr=pipe, env=environment)
    async with asyncio.timeout(60):
        out, errors = await python.communicate()
    return python.returncode, out.decode(), errors.decode()


@pytest.mark.parametrize("example", sorted(path.name for path in EXAMPLES.glob("*.py")))
async def test_an_example_runs(example: str, serve: Serve) -> None:
    """Each file of the folder is a program that prints the answer of its service."""
    handler, printed = SERVERS[example]
    server = await serve(handler)
    assert await run(EXAMPLES / example, "Why?", server.url) == (0, printed, "")


ADDED = """
import sys
from polychat import cli, providers
providers.__path__.append(sys.argv.pop(1))
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the one provider of the examples."""
    shutil.copy(EXAMPLES / "ollama.py", tmp_path)
    return tmp_path


async def test_a_provider_is_one_file(serve: Serve, folder: Path) -> None:
    """The file among the providers is all: the command lists it and asks it by name, with an option it takes."""
    server = await serve(ollama)
    code, out, errors = await run(folder, "providers", "--json", code=ADDED)
    assert (code, errors) == (0, "")
    assert [form["options"] for form in json.loads(out) if form["name"] == "Ollama"] == [["temperature"]]
    asking = ["ask", "-m", "ollama/mistral", "--base-url", server.url, "-s", "Be brief.", "-o", "temperature=0.5", "Why?"]
    assert await run(folder, *asking, code=ADDED) == (0, "".join(PIECES) + "\n", "")
    assert server.seen[0].path == "/api/chat"
    assert server.seen[0].json == {
        "model": "mistral",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}],
        "stream": True,
        "options": {"temperature": 0.5},
    }


@pytest.fixture
def example() -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLES / "ollama.py"))


def events_of(reader: Any, parts: list[bytes]) -> list[Event]:
    events = [event for part in parts for event in reader.feed(part)]
    return events + reader.end() + reader.feed(REPLY) + reader.end()


def test_the_example_reads_at_every_split(example: dict[str, Any]) -> None:
    """However the network cuts it, the reply is the same; the last line end may be missing."""
    for parts in [*splits(REPLY + LAST), *splits((REPLY + LAST).rstrip())]:
        assert events_of(example["Reader"](), parts) == WHOLE


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (REPLY, Truncated),
        (b"", Truncated),
        (REPLY + b'{"error":"llama runner ended"}\n', ReplyFailed),
        (REPLY + b'{"error":"llama runner ended"', BadReply),
        (b"<html>502</html>", BadReply),
        (b"[" * 100_000, BadReply),
        (b" " * 9_000_000, BadReply),
    ],
)
def test_the_example_takes_no_failure_for_an_answer(example: dict[str, Any], body: bytes, error: type[Exception]) -> None:
    """A reply without its last line, with an error inside, or that is something else ends in its error, once."""
    events = events_of(example["Reader"](), [body])
    assert isinstance(events[-1], Finish)
    assert type(events[-1].error) is error
    assert sum(isinstance(event, Finish) for event in events) == 1


async def test_the_example_raises_the_servers_error(example: dict[str, Any], serve: Serve) -> None:
    """A model that is not there is a status error with the provider's name."""

    async def missing(seen: Seen, say: Say) -> None:
        await say.whole({"error": "model 'x' not found"}, status=404)

    server = await serve(missing)
    with pytest.raises(StatusError) as caught:
        await example["Ollama"].create_async("x", [{"role": "user", "content": "Why?"}], base_url=server.url)
    assert (caught.value.status, caught.value.provider) == (404, "Ollama")


@pytest.mark.parametrize("document", ["CONTRIBUTING.md", "docs/add-a-provider.md"])
def test_the_documents_show_the_example_that_runs(document: str) -> None:
    """What is printed in them is the file, to the letter."""
    text = (ROOT / document).read_text(encoding="utf-8")
    source = (EXAMPLES / "ollama.py").read_text(encoding="utf-8")
    shown = text.partition("```python\n")[2].partition("```")[0]
    assert shown
    assert shown.strip() in source
