"""``polychat templates`` and ``polychat ask -t``: files with variables, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polychat.events import Finish, Text
from polychat.types import ChatRequest

from ..support.command import run
from ..support.scripted_vendors import ScriptedVendor


@pytest.fixture
async def vendor(serve: Any, monkeypatch: pytest.MonkeyPatch, own_config: Callable[[str], Path]) -> ScriptedVendor:
    """OpenAI on loopback, and a configuration folder of this test."""
    own_config("")
    vendor = ScriptedVendor("openai-chat", [[Text("Hello")], [Finish("complete", "stop")]])
    monkeypatch.setenv("OPENAI_API_KEY", "k-secret")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{(await serve(vendor)).url}/v1")
    return vendor


@pytest.fixture
def folder(vendor: ScriptedVendor, tmp_path: Path) -> Path:
    place = tmp_path / "own-configuration/polychat/templates"
    place.mkdir()
    return place


def sent(request: ChatRequest) -> tuple[str, list[str]]:
    return request.model, [part.text for message in request.messages for part in message.parts]  # type: ignore[union-attr]


async def test_a_saved_ask_is_a_template(vendor: ScriptedVendor, folder: Path) -> None:
    """``--save`` sends nothing and replaces nothing; ``-t`` asks with what was kept; arguments override it."""
    ran = await run("--save", "review", "-s", "Be strict.", "-m", "openai/m", "-o", "temperature=0.5", "Review for $topic:")
    assert (ran.code, vendor.seen) == (0, [])
    assert "there is a template review" in (await run("--save", "review", "-m", "openai/x")).err
    ran = await run("-t", "review", "-p", "topic=$taste", "and bugs", piped=b"a = 1\n")
    assert ran.out == "Hello\n"
    assert sent(vendor.asks[0]) == ("m", ["Be strict.", "a = 1\n\nReview for $taste:\n\nand bugs"])
    assert vendor.asks[0].temperature == 0.5
    await run("-t", "review", "-p", "topic=x", "-m", "openai/other", "-s", "Kind.", "-o", "temperature=1")
    assert sent(vendor.asks[1]) == ("other", ["Kind.", "Review for x:"])
    assert vendor.asks[1].temperature == 1
    assert (await run("templates")).out == "review  Review for $topic:\n"
    assert 'system = "Be strict."' in (await run("templates", "show", "review")).out
    assert (await run("templates", "rm", "review")).code == 0
    assert (await run("templates")).out == ""


async def test_a_file_is_a_template_and_input_stands_where_it_says(vendor: ScriptedVendor, folder: Path) -> None:
    """Markdown is the prompt alone; a dollar that names nothing is itself; a value is not filled in again."""
    file = folder / "cost.md"
    file.write_text("Is $$x ($5) much for: ${input}?\n")
    await run("-m", "openai/m", "-t", "cost", "a $lamp")
    await run("-m", "openai/m", "-t", str(file), "-", piped=b"tea\n")
    assert [sent(ask)[1] for ask in vendor.asks] == [["Is $x ($5) much for: a $lamp?"], ["Is $x ($5) much for: tea?"]]


@pytest.mark.parametrize(
    ("text", "arguments", "says"),
    [
        ('prompt = "In $language"', [], "t.toml: the variable $language has no value: pass -p language=…"),
        ('prompt = "In $language"', ["-p", "langage=de"], "has no variable $langage; did you mean language?"),
        ('prompt = "a"', ["-p", "x"], "-p 'x' is not NAME=VALUE"),
        ('promt = "a"', [], "promt is not a key of a template; did you mean prompt?"),
        ("prompt = 1", [], "prompt must be text"),
        ("prompt = ", [], "cannot be read as TOML"),
        ('prompt = "a"\n[options]\ntemprature = 1', [], "openai has no such option; did you mean temperature?"),
        ('system = "a"', [], "no prompt: pass PROMPT"),
    ],
)
async def test_what_is_wrong_with_a_template_is_named(
    vendor: ScriptedVendor, folder: Path, text: str, arguments: list[str], says: str
) -> None:
    """The file, the key or the variable; nothing is sent."""
    (folder / "t.toml").write_text(text)
    ran = await run("-m", "openai/m", "-t", "t", *arguments)
    assert (ran.code, vendor.seen) == (2, [])
    assert says in ran.err


async def test_a_template_that_there_is_not_is_refused_with_the_nearest(folder: Path) -> None:
    """A mistyped name, and a path of nothing."""
    (folder / "review.md").write_text("x")
    assert "no template 'reveiw'; did you mean review?" in (await run("-t", "reveiw", "a b")).err
    assert "no/such.md cannot be read: No such file" in (await run("-t", "no/such.md", "a b")).err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["-o", "api_key=sk-very-secret-1234"], "keeps no api_key"),
        (["-o", "temprature=1"], "did you mean temperature"),
        (["-o", "seed=null"], "no value of a template"),
        (["--schema", "name: [what"], "schema"),
    ],
)
async def test_what_is_saved_is_checked_and_holds_no_secret(arguments: list[str], says: str, folder: Path) -> None:
    """Nothing is written, and the secret is not shown."""
    ran = await run("--save", "mine", "-m", "openai/m", "Hello", *arguments)
    assert (ran.code, says in ran.err, "very-secret" in ran.err) == (2, True, False)
    assert not list(folder.glob("**/mine.toml"))


async def test_options_that_do_not_go_together_are_refused() -> None:
    """Rather than ignored."""
    for arguments in (["-e", "--usage"], ["-e", "--mcp", "sh"]):
        ran = await run(*arguments, "-m", "openai/m", "list files")
        assert (ran.code, "-e goes without" in ran.err) == (2, True)
