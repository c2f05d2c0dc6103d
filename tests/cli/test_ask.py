"""``polychat ask`` as people type it: prompts without a command, code blocks, files as models, the default model."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from polychat.cli.attaching import MOST_FILES, MOST_TEXT
from polychat.cli.code_blocks import first_block
from polychat.cli.schema_argument import schema_from
from polychat.client.targets import as_target
from polychat.config.editing import with_setting
from polychat.errors import BadInput
from polychat.events import Finish, Text
from polychat.types import ImagePart, TextPart

from ..support.command import run
from ..support.scripted_server import Say, Seen
from ..support.scripted_vendors import ScriptedVendor


@pytest.fixture
async def openai(serve: Any, monkeypatch: pytest.MonkeyPatch) -> ScriptedVendor:
    """OpenAI on loopback, with a key in the environment; its model answers if none is named."""
    vendor = ScriptedVendor("openai-chat", [[Text("Hello")], [Finish("complete", "stop")]])
    server = await serve(vendor)
    monkeypatch.setenv("OPENAI_API_KEY", "k-secret")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
    monkeypatch.setenv("POLYCHAT_MODEL", "openai/m")
    return vendor


def prompts(vendor: ScriptedVendor) -> list[str]:
    return ["|".join(part.text for message in ask.messages for part in message.parts) for ask in vendor.asks]  # type: ignore[union-attr]


async def test_a_prompt_needs_no_command(openai: ScriptedVendor) -> None:
    """A text with a blank in it, or options first, are an ask; words after the first are of the prompt."""
    for arguments in (["Why is it?"], ["-s", "Be brief.", "Why?"], ["ask", "Why", "is", "it?"], ["--", "-1 is"]):
        assert (await run(*arguments)).out == "Hello\n"
    assert prompts(openai) == ["Why is it?", "Be brief.|Why?", "Why is it?", "-1 is"]


async def test_only_the_first_code_block_is_printed(openai: ScriptedVendor) -> None:
    """With ``-x``; a reply without one is printed whole, with a note."""
    openai.answer = [[Text("Here:\n```sh\nls\n")], [Text("```\nDone.")], [Finish("complete", "stop")]]
    ran = await run("-x", "List files")
    assert (ran.out, ran.err) == ("ls\n", "")
    openai.answer = [[Text("ls")], [Finish("complete", "stop")]]
    ran = await run("-x", "List files")
    assert (ran.out, ran.err) == ("ls\n", "polychat: note: the reply has no code block: this is all of it\n")


@pytest.mark.parametrize(
    ("text", "block"),
    [
        ("no\nblock", None),
        ("a `b` c", None),
        ("```x``` inline", None),
        ("```\n```", ""),
        ("```py\na\n\nb\n```\nafter\n```\nc\n```", "a\n\nb\n"),
        ("~~~\n```\n~~~~", "```\n"),
        ("````md\n```\ninner\n```\n````", "```\ninner\n```\n"),
        ("```\r\na\r\n```\r\n", "a\n"),
        ("```\nnot closed\n", "not closed\n"),
        ("    ```\nindented code\n    ```", None),
    ],
)
def test_a_block_is_what_markdown_says(text: str, block: str | None) -> None:
    """Fences of either kind and any length, nested ones, and one that the reply did not close."""
    assert first_block(text) == block


async def test_the_default_model_is_set_in_the_persons_own_file(own_config: Callable[[str], Path], tmp_path: Path) -> None:
    """What else is in the file stays; a name that means nothing is refused; a file becomes a name that works from anywhere."""
    file = own_config("# mine\n[aliases]\nfast = 'openai/m'\n")
    assert (await run("default")).out == "local/smollm2  (the embedded model: none is set)\n"
    assert (await run("default", "fast")).err == ""
    assert file.read_text() == "# mine\ndefault_model = \"fast\"\n\n[aliases]\nfast = 'openai/m'\n"
    assert (await run("default")).out == f"fast  ({file})\n"
    ran = await run("default", "opnai/m")
    assert (ran.code, "did you mean openai" in ran.err) == (2, True)
    ran = await run("default", "./model.gguf", cwd=tmp_path, env={"POLYCHAT_MODEL": "openai/x"})
    assert f'default_model = "local/{tmp_path}/model.gguf"\n' in file.read_text()
    assert "POLYCHAT_MODEL is set, and overrides" in ran.err
    assert (await run("default", "--unset")).code == 0
    assert "default_model" not in file.read_text()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", 'm = "x"\n'),
        ("# c", '# c\nm = "x"\n'),
        ('m="y" # c\nb = 1\n', 'm = "x"\nb = 1\n'),
        ('[t]\nm = "y"\n', 'm = "x"\n\n[t]\nm = "y"\n'),
        ('a = """\nm = 1\n"""\n', 'm = "x"\na = """\nm = 1\n"""\n'),
        ('m = """\ny"""\n', None),
    ],
)
def test_one_setting_is_changed_in_a_text(before: str, after: str | None) -> None:
    """Comments and tables stay; where that cannot be, nothing is changed. Removing it gives back the rest."""
    assert with_setting(before, "m", "x") == after
    if after is not None and "y" not in before:
        removed = with_setting(after, "m", None)
        assert removed is not None
        assert removed.strip() == before.strip()


def test_a_path_of_weights_is_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative to the current folder, or to the person's home; other names are what they are."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/h")
    assert as_target("./a.gguf") == f"local/{tmp_path}/a.gguf"
    assert as_target("~/b.GGUF") == "local//h/b.GGUF"
    for name in ("openai/x.gguf", "./a.txt", "a.gguf", "/a, /b.gguf"):
        assert as_target(name) == name


async def test_files_folders_and_pages_are_attached_once_each(openai: ScriptedVendor, serve: Any, tmp_path: Path) -> None:
    """``-f`` sends texts under their names before the prompt, equal contents once; of a folder, what is hidden, linked or no
    text is left out."""

    async def page(seen: Seen, say: Say) -> None:
        await say.whole(b"page", content_type="text/plain")

    url = (await serve(page)).url
    (tmp_path / "a.ts").write_text("a\n")
    for name, data in {"src/b.py": b"b", "src/again.py": b"a\n", "src/.env": b"KEY=1", "src/x.bin": b"\0\1"}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "src/link.py").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "i.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    arguments = ["-f", "a.ts", "-f", "src", "-f", f"{url.replace('//', '//me:pw@')}/p?k=1", "-a", "i.png", "-f", "i.png"]
    ran = await run(*arguments, "Explain", cwd=tmp_path)
    assert (ran.out, ran.err) == ("Hello\n", "polychat: note: src: left out what is not text: 1 file\n")
    parts = openai.asks[0].messages[0].parts
    assert isinstance(parts[0], ImagePart)
    texts = [part.text for part in parts if isinstance(part, TextPart)]
    assert texts == ["a.ts:\n\na\n\n", "src/b.py:\n\nb\n\n", f"{url}/p:\n\npage\n\n", "Explain"]
    assert len(parts) == 5


async def test_what_cannot_be_attached_is_refused_before_anything_is_sent(
    openai: ScriptedVendor, serve: Any, tmp_path: Path
) -> None:
    """More files or text than anyone means, bytes of no known kind, a page that is not there: the message names it."""

    async def gone(seen: Seen, say: Say) -> None:
        await say.whole(b"no", status=404, content_type="text/plain")

    url = (await serve(gone)).url
    (tmp_path / "many").mkdir()
    for number in range(MOST_FILES + 1):
        (tmp_path / f"many/{number}").touch()
    (tmp_path / "large").write_bytes(b"a" * (MOST_TEXT + 1))
    (tmp_path / "x").write_bytes(b"\0\xff")
    for source, code, says in [
        ("many", 2, "-f: many has more than 10,000 files"),
        ("large", 2, "more than 10,000,000 bytes (at large)"),
        ("x", 2, "-f: x is neither UTF-8 text nor a document"),
        ("/no/such", 2, "-f: /no/such cannot be read: No such file"),
        (f"{url}/p", 1, f"-f {url}/p cannot be fetched"),
    ]:
        ran = await run("-f", source, "Explain", cwd=tmp_path)
        assert (ran.code, ran.out) == (code, "")
        assert says in ran.err
    assert openai.seen == []


async def test_an_answer_is_checked_against_the_fields_of_its_schema(openai: ScriptedVendor) -> None:
    """``--schema`` takes fields; an answer that does not meet them is printed, and the exit code is 1."""
    openai.answer = [[Text('{"name": "Ada", "tags": ["a", 3]}')], [Finish("complete", "stop")]]
    ran = await run("--schema", "name, tags: list[str]", "Who?")
    assert (ran.code, ran.out) == (1, '{"name": "Ada", "tags": ["a", 3]}\n')
    assert "tags[1] is 3, which is not of type string" in ran.err
    sent = openai.asks[0].format
    assert sent is not None
    assert (sent.strict, list((sent.schema or {})["properties"])) == (True, ["name", "tags"])
    openai.answer = [[Text('{"name": "Ada", "tags": []}')], [Finish("complete", "stop")]]
    assert (await run("--schema", "name, tags: list[str]", "Who?")).code == 0


def test_fields_are_a_schema(tmp_path: Path) -> None:
    """Types after a blank or a colon, lists of lists; a schema in JSON, and in a file of any name."""
    schema = schema_from("name, age int\nok: bool, grid: list[list[float]]")["schema"]
    string, number = {"type": "string"}, {"type": "number"}
    grid = {"type": "array", "items": {"type": "array", "items": number}}
    assert schema["properties"] == {"name": string, "age": {"type": "integer"}, "ok": {"type": "boolean"}, "grid": grid}
    assert schema_from(' {"type": "object"}') == {"type": "object"}
    (tmp_path / "s").write_text('{"type": "array"}')
    assert schema_from(str(tmp_path / "s")) == {"type": "array"}


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("", "--schema is empty"),
        ("age itn", "the field age has no type 'itn'; did you mean int?"),
        ("x: list[" * 9 + "int" + "]" * 9, "has no type"),
        ("a b c", "has no type 'b c'"),
        ("first-name", "'first-name' is not a field"),
        ("{", "--schema cannot be read as JSON"),
        ("s.json", "--schema s.json cannot be read: No such file"),
    ],
)
def test_what_is_no_schema_is_refused(argument: str, says: str) -> None:
    """The message names the field and the types that there are."""
    with pytest.raises(BadInput) as raised:
        schema_from(argument)
    assert says in str(raised.value)


async def test_models_are_compared_side_by_side(openai: ScriptedVendor) -> None:
    """Each answer is printed under its model's name, in their order; one that fails makes the exit code 1."""
    openai.answer = lambda ask: [[Text(f"I am {ask.model}")], [Finish("complete", "stop")]]
    ran = await run("--usage", "--compare", "openai/a", "openai/b", "Who are you?")
    assert (ran.code, ran.out) == (0, "## openai/a\n\nI am a\n\n## openai/b\n\nI am b\n")
    assert "openai/b: " in ran.err
    openai.answer = lambda ask: [[Text('"x"' if ask.model == "a" else '{"x": "b"}')], [Finish("complete", "stop")]]
    ran = await run("ask", "Who", "--json", "--schema", "x", "--compare", "openai/a", "openai/b")
    assert ran.code == 1
    assert [report["model"] for report in json.loads(ran.out)] == ["a", "b"]
    assert "openai/a: " in ran.err
    for arguments, says in (
        [["openai/a", "a b"], "two models or more"],
        [["a/x", "b/y", "a b", "-m", "c/z"], "without -m, -x"],
    ):
        ran = await run("--compare", *arguments)
        assert (ran.code, says in ran.err) == (2, True)


def at_a_terminal(*arguments: str, typed: bytes) -> tuple[str, int]:
    """The command with a terminal of its own, on which ``typed`` is typed when it asks: the screen, and its exit code."""
    process, terminal = pty.fork()
    if process == 0:  # pragma: no cover  # another process
        os.execv(sys.executable, [sys.executable, "-m", "polychat", *arguments])
    screen = b""
    while True:
        with suppress(OSError):  # which is how a terminal ends
            data = os.read(terminal, 4096)
            screen += data
            if screen.endswith(b"[y/N] ") and typed:
                os.write(terminal, typed)
                typed = b""
            if data:
                continue
        break
    os.close(terminal)
    return screen.decode().replace("\r\n", "\n"), os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


async def test_a_proposed_command_runs_only_when_it_is_confirmed(openai: ScriptedVendor, tmp_path: Path) -> None:
    """``-e`` shows the command; ``y`` runs it in the shell, whose exit code is that of ours; anything else does not."""
    openai.answer = [[Text(f"```sh\necho run > {tmp_path}/ran; exit 3\n```")], [Finish("complete", "stop")]]
    screen, code = await asyncio.to_thread(at_a_terminal, "-e", "Do it now", typed=b"\n")
    assert (code, (tmp_path / "ran").exists()) == (0, False)
    assert screen.startswith(f"echo run > {tmp_path}/ran; exit 3\nRun it? [y/N] ")
    screen, code = await asyncio.to_thread(at_a_terminal, "-e", "Do it now", typed=b"y\n")
    assert (code, (tmp_path / "ran").read_text()) == (3, "run\n")
    ran = await run("-e", "Do it", start_new_session=True)
    assert (ran.code, "no terminal to confirm" in ran.err) == (1, True)
    assert "Answer with one command for" in prompts(openai)[0]
    openai.answer = [[Text("ls \u202e txt")], [Finish("complete", "stop")]]
    screen, code = await asyncio.to_thread(at_a_terminal, "-e", "Do it now", typed=b"y\n")
    assert (code, "a terminal does not show" in screen) == (1, True)
