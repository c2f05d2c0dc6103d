"""Every snippet of the README and the documentation is run or checked; what is not, is listed here with its reason."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import re
import shlex
import shutil
import sys
import tomllib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from textwrap import indent
from types import SimpleNamespace
from typing import NamedTuple

import pytest

from polychat import config
from polychat.cli import parsed, parser
from polychat.events import Event, Finish, Text
from polychat.gateway.sites import Sites, echo
from polychat.routing import choice
from polychat.types import ChatRequest
from polychat.wire import fields

from ..support.running_gateway import configured, gateway, row
from ..support.scripted_server import Handler, Say, Seen, Server
from ..support.scripted_vendors import ScriptedVendor
from ..support.sites_application import running

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
Serve = Callable[[Handler], Awaitable[Server]]

CHECKED = ("python", "sh", "toml", "json", "yaml")
UNCHECKED = {
    "": "lines of a log",
    "text": "drawings and signatures",
    "js": "needs node and its packages, which the tests do without",
    "nginx": "a part of examples/gateway/nginx.conf, which tests/gateway/test_deployment.py gives to nginx",
    "caddy": "needs Caddy",
    "promql": "needs Prometheus",
}
"""Languages of snippets that nothing here reads."""
FRAGMENTS = {"docs/library.md": 5}
"""How many Python snippets of a page are lines of the ``main`` that the page begins with; they are run in one."""
ELSEWHERE = {
    "docs/add-a-provider.md": "tests/docs/test_examples.py runs it",
    "CONTRIBUTING.md": "a part of examples/ollama.py, which tests/docs/test_examples.py runs; the others are made below",
}
SYNOPSES = {"docs/command.md": "lines with [what may be left out], which no shell reads"}


class Snippet(NamedTuple):
    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def snippets() -> Iterator[Snippet]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in re.finditer(r"(?m)^( *)```(\w*)\n((?:.*\n)*?)\1```$", text):
            line = text.count("\n", 0, match.start()) + 1
            yield Snippet(page.relative_to(ROOT).as_posix(), line, match[2], match[3])


SNIPPETS = list(snippets())
PYTHON = [one for one in SNIPPETS if one.language == "python"]


def of(language: str) -> list[Snippet]:
    return [one for one in SNIPPETS if one.language == language]


def is_program(snippet: Snippet) -> bool:
    """Whether it runs unchanged: it imports, and awaits nothing outside a function."""
    try:
        tree = ast.parse(snippet.text)
        compile(tree, str(snippet), "exec")
    except SyntaxError:
        return False
    return any(isinstance(one, ast.Import | ast.ImportFrom) for one in tree.body) and len(tree.body) > 1


RUN = [one for one in PYTHON if one.page not in ELSEWHERE]
IN_MAIN = """import asyncio

import polychat


async def main():
{}

asyncio.run(main())
"""


def program(snippet: Snippet) -> str:
    """The snippet, in a ``main`` where it is none by itself."""
    return snippet.text if is_program(snippet) else IN_MAIN.format(indent(snippet.text, "    "))


def test_each_language_is_checked_or_named() -> None:
    """A snippet says its language, which is one that is checked here or one with a reason why not."""
    assert {one.language for one in SNIPPETS} - {*CHECKED} == {*UNCHECKED}


def test_the_list_of_fragments_is_true() -> None:
    """A page that is not listed has programs only, each of which runs."""
    assert Counter(one.page for one in RUN if not is_program(one)) == FRAGMENTS


def test_the_row_of_a_request_field_can_be_made() -> None:
    """What CONTRIBUTING.md shows is a ``Field`` as ``wire/fields.py`` makes them."""
    (row_shown,) = [one.text for one in PYTHON if one.page == "CONTRIBUTING.md" and one.text.startswith("Field(")]
    assert isinstance(eval(row_shown.rstrip().removesuffix(","), vars(fields).copy()), fields.Field)


def test_the_strategy_of_the_page_orders() -> None:
    """What CONTRIBUTING.md shows is a ``Strategy``, which puts the target with the fewest requests first."""
    (shown,) = [one.text for one in PYTHON if one.page == "CONTRIBUTING.md" and "(Strategy)" in one.text]
    names = vars(choice).copy()
    exec(shown, names)
    candidates = [SimpleNamespace(facts=SimpleNamespace(in_flight=number)) for number in (2, 0, 1)]
    strategy = names["Emptiest"].__new__(names["Emptiest"])
    assert isinstance(strategy, choice.Strategy)
    assert [one.facts.in_flight for one in strategy.order(candidates, 0.0, None, first=True)] == [0, 1, 2]


def answer(request: ChatRequest) -> list[list[Event]]:
    form = request.format is not None and request.format.kind == "schema"
    return [[Text('{"name": "Oslo", "country": "Norway"}' if form else "Because.")], [Finish("complete", "stop")]]


async def vendor(seen: Seen, say: Say) -> None:
    """Answers chats, and gives each text of an embedding the same vector."""
    if not seen.path.endswith("/embeddings"):
        await ScriptedVendor("openai-chat", answer)(seen, say)
        return
    rows = [{"object": "embedding", "index": index, "embedding": [0.5]} for index in range(len(seen.json["input"]))]
    await say.whole(json.dumps({"object": "list", "data": rows, "model": "small"}).encode())


async def run(code: str, home: Path) -> tuple[int | None, str, str]:
    """A Python of its own whose configuration is ``home``: exit code, output, errors."""
    names = ("PATH", "SYSTEMROOT", "LANG")
    environment = {name: os.environ[name] for name in names if name in os.environ} | {"XDG_CONFIG_HOME": str(home)}
    pipe = asyncio.subprocess.PIPE
    python = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=pipe, stderr=pipe, env=environment)
    async with asyncio.timeout(60):
        out, errors = await python.communicate()
    return python.returncode, out.decode(), errors.decode()


@pytest.mark.parametrize("snippet", RUN, ids=str)
async def test_a_program_runs(snippet: Snippet, serve: Serve, tmp_path: Path) -> None:
    """It ends well and prints what it says it prints, with addresses and models of this test in place of the page's."""
    modules = re.findall(r"(?m)^(?:from|import) (\w+(?:\.genai)?)", snippet.text)
    if missing := [name for name in modules if find_spec(name.partition(".")[0]) is None]:
        pytest.skip(f"{', '.join(missing)} is not installed")
    backend = await serve(vendor)
    (tmp_path / "polychat").mkdir()
    (tmp_path / "polychat" / "polychat.toml").write_text(
        f'default_model = "house/small"\n[providers.house]\nwire = "openai-chat"\nbase_url = "{backend.url}/v1"\n'
    )
    served = configured({"house": row("openai-chat", backend.url)}, routes={"fast": ("house/small",)})
    code = re.sub(r'"(?:openai|anthropic|groq|local)/[\w.-]+"', '"house/small"', program(snippet))
    async with gateway(served) as front, running(Sites(echo)) as sites:
        code = code.replace("http://127.0.0.1:8000", front.url).replace("http://127.0.0.1:8899", sites)
        code = code.replace("https://example.com", f"{sites}/opchatgpts")
        code = re.sub(r"(GPTalk\..*messages=messages)", rf'\1, base_url="{sites}/gptalk"', code)
        status, out, errors = await run(code, tmp_path)
    assert (status, errors) == (0, "")
    assert re.search("Because|Oslo|Hello|echo|cookies", out) or "print(" not in code


@pytest.mark.parametrize("snippet", of("toml"), ids=str)
def test_toml_is_valid(snippet: Snippet, tmp_path: Path) -> None:
    """It is TOML; where it is a polychat.toml, the strict reader takes it."""
    keys = tomllib.loads(snippet.text).keys()
    if keys <= {"default_model", "gateway", "routes", "aliases", "providers", "prices", "local"}:
        (tmp_path / "polychat.toml").write_text(snippet.text, encoding="utf-8")
        config.read(tmp_path / "polychat.toml")


@pytest.mark.parametrize("snippet", [*of("json"), *of("yaml")], ids=str)
def test_data_is_valid(snippet: Snippet) -> None:
    """JSON and YAML are read by their readers."""
    yaml = pytest.importorskip("yaml")
    assert json.loads(snippet.text) if snippet.language == "json" else yaml.safe_load(snippet.text)


BASH = shutil.which("bash")


@pytest.mark.skipif(BASH is None, reason="bash is not installed")
@pytest.mark.parametrize("snippet", [one for one in of("sh") if one.page not in SYNOPSES], ids=str)
async def test_a_shell_reads_it(snippet: Snippet) -> None:
    """Its syntax is the shell's."""
    assert BASH is not None
    shell = await asyncio.create_subprocess_exec(BASH, "-n", "-c", snippet.text, stderr=asyncio.subprocess.PIPE)
    _, errors = await shell.communicate()
    assert (shell.returncode, errors) == (0, b"")


def commands(text: str) -> Iterator[list[str]]:
    """The arguments of each ``polychat`` that a snippet calls."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.shlex(line, posix=True, punctuation_chars=True)
        words.whitespace_split, words.commenters = True, "#"
        command: list[str] = []
        for word in [*words, ";"]:
            if re.fullmatch("[;|&<>]+", word):
                while command and re.match(r"\w+=", command[0]):
                    command.pop(0)
                if command and command[0].rpartition("/")[2] == "polychat":
                    yield command[1:]
                command = []
            else:
                command.append(word)


def test_commands_are_found() -> None:
    """Behind assignments and pipes, before a comment."""
    lines = list(commands("A=1 x/polychat serve --port 1 &  # now\ngit diff | polychat ask -s 'a # b' - | jq ."))
    assert lines == [["serve", "--port", "1"], ["ask", "-s", "a # b", "-"]]


CALLS = [one for one in of("sh") if "polychat " in one.text]


@pytest.mark.parametrize("snippet", [one for one in CALLS if one.page not in SYNOPSES], ids=str)
def test_each_command_is_one_that_there_is(snippet: Snippet) -> None:
    """The command's own parser takes the arguments of each line that calls it."""
    for arguments in commands(snippet.text):
        parsed(arguments)


@pytest.mark.parametrize("line", [line for one in CALLS if one.page in SYNOPSES for line in one.text.splitlines()])
def test_a_synopsis_names_options_that_there_are(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each is in the help of its command."""
    command, *rest = line.removeprefix("polychat ").split()
    deeper = {"config": 1, "gateway": 2, "keys": 1, "log": 1}.get(command, 0)
    with pytest.raises(SystemExit):
        parser().parse_args([command, *(word.split("|")[0] for word in rest[:deeper]), "--help"])
    help_text = capsys.readouterr().out
    assert [one for one in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", line.partition("#")[0]) if one not in help_text] == []
