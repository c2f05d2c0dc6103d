"""``polychat log`` and ``polychat ask -c``: conversations are kept, found, continued and deleted."""

from __future__ import annotations

import json
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest

from polychat.events import Finish, Text
from polychat.types import ChatRequest

from ..support.command import run
from ..support.scripted_vendors import ScriptedVendor


@pytest.fixture
async def vendor(serve: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ScriptedVendor:
    """OpenAI on loopback, and a folder of this test's own for what is kept."""
    vendor = ScriptedVendor("openai-chat", [[Text("Because.")], [Finish("complete", "stop")]])
    monkeypatch.setenv("OPENAI_API_KEY", "k-secret")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{(await serve(vendor)).url}/v1")
    monkeypatch.setenv("POLYCHAT_MODEL", "openai/m")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return vendor


def sent(request: ChatRequest) -> list[tuple[str, str]]:
    """The roles and texts of a request's messages."""
    return [(one.role, "".join(getattr(part, "text", "(image)") for part in one.parts)) for one in request.messages]


async def test_a_conversation_goes_on(vendor: ScriptedVendor, tmp_path: Path) -> None:
    """``-c`` sends what was said before, to the same model with the same system message; the file is the person's alone."""
    (tmp_path / "i.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    await run("-s", "Brief.", "-m", "openai/first", "-a", str(tmp_path / "i.png"), "Why is it?")
    await run("-n", "Not kept at all")
    ran = await run("-c", "And then?")
    assert (ran.out, ran.err) == ("Because.\n", "")
    before = [("system", "Brief."), ("user", "(image)Why is it?"), ("assistant", "Because.")]
    assert (vendor.asks[2].model, sent(vendor.asks[2])) == ("first", [*before, ("user", "And then?")])
    await run("Something else")
    (second, first) = json.loads((await run("log", "list", "--json")).out)
    assert (first["title"], first["exchanges"], second["title"]) == ("Why is it?", 2, "Something else")
    await run("--conversation", first["id"][:5], "-m", "openai/other", "Third")
    assert (vendor.asks[-1].model, len(vendor.asks[-1].messages)) == ("other", 6)
    file = Path((await run("log", "path")).out.strip())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    ran = await run("--conversation", "none", "A question")
    assert (ran.code, "no conversation begins with 'none'" in ran.err) == (2, True)


async def test_what_is_kept_is_shown_found_exported_and_deleted(vendor: ScriptedVendor) -> None:
    """By words and beginnings of words, in languages without blanks too; as Markdown and JSON."""
    await run("Why is the sky blue?")
    vendor.answer = [[Text("これは空です"), Finish("truncated", None)]]
    await run("Again, please", piped=b"first\n")
    listed = await run("log", "search", "blu", "WHY")
    assert "Why is the sky blue?" in listed.out
    assert (await run("log", "search", "空で")).out.count("Again, please") == 1
    assert (await run("log", "search", 'no"thing')).out == ""
    shown = (await run("log", "show")).out
    assert "first\n\nAgain, please\n\n## openai/m (failed)\n\nこれは空です\n" in shown
    exported = json.loads((await run("log", "export", "--json")).out)
    assert [one["exchanges"][0]["verdict"] for one in exported] == ["complete", "failed"]
    assert exported[0]["exchanges"][0]["messages"][0] == {"role": "user", "content": "Why is the sky blue?"}
    assert (await run("log", "export")).out.count("# Conversation ") == 2
    ran = await run("log", "delete", "--all", start_new_session=True)
    assert (ran.code, "nothing is deleted" in ran.err) == (2, True)
    assert (await run("log", "delete", exported[0]["id"])).err == "polychat: note: 1 deleted\n"
    assert (await run("log", "search", "blue")).out == ""
    await run("log", "delete", "--all", "--yes")
    assert (await run("log")).out == ""
    assert (await run("-c", "A question")).err == "polychat: error: no conversation is kept yet\n"


async def test_keeping_is_switched_off_and_limited(vendor: ScriptedVendor) -> None:
    """``log off`` keeps nothing; ``log keep`` takes an age of a day at least: less would delete what was just asked."""
    assert (await run("log", "keep")).out == "forever\n"
    await run("log", "off")
    await run("Not kept, is it?")
    assert (await run("log")).err == "polychat: note: conversations are not kept: polychat log on\n"
    await run("log", "on")
    await run("This is kept")
    assert (await run("log", "keep", "90d")).out == "90 days\n"
    assert "This is kept" in (await run("log")).out
    assert "polychat log delete" in (await run("log", "keep", "0s")).err
    assert "This is kept" in (await run("log")).out
    assert (await run("log", "keep", "soon")).code == 2


async def test_an_answer_is_given_where_it_cannot_be_kept(vendor: ScriptedVendor, tmp_path: Path) -> None:
    """A locked file, a damaged one, a folder that cannot be made: a warning beside the answer, and 0."""
    await run("First of all")
    file = tmp_path / "state/polychat/conversations.db"
    with sqlite3.connect(file) as database:
        database.execute("BEGIN IMMEDIATE")
        ran = await run("Is it locked?")
        database.rollback()
    assert (ran.code, ran.out) == (0, "Because.\n")
    assert ran.err == f"polychat: warning: this conversation is not kept: {file}: another process is writing to it: try again\n"
    file.write_bytes(b"x" * 5000)
    ran = await run("Is it damaged?")
    assert (ran.code, ran.out, "the file is damaged" in ran.err) == (0, "Because.\n", True)
    assert (await run("log")).code == 1
    (tmp_path / "none").write_text("")
    ran = await run("Is it there?", env={"XDG_STATE_HOME": str(tmp_path / "none")})
    assert (ran.code, ran.out, "is not kept" in ran.err) == (0, "Because.\n", True)
