"""A full disk, a locked database, a terminal that goes away: a clear message, the conversation kept, nothing half written."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sqlite3
import sys
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from polychat.events import Event, Finish, Text
from polychat.gateway.process import last_good
from polychat.state.conversations import Conversations

from ..support.command import run, started
from ..support.mcp_servers import raw_command
from ..support.scripted_vendors import ScriptedVendor
from ..support.terminal import in_terminal

ANSWER: list[list[Event]] = [[Text("All ")], [Text("is well.")], [Finish("complete", "stop")]]


class Home:
    """A folder with everything of a person's, whose default model is a scripted backend."""

    def __init__(self, folder: Path, vendor: ScriptedVendor, url: str) -> None:
        self.folder, self.vendor = folder, vendor
        self.env: Mapping[str, str] = {
            **{name: str(folder) for name in ("HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME")},
            **{"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": f"{url}/v1", "POLYCHAT_MODEL": "openai/m"},
        }
        self.database = folder / "polychat" / "conversations.db"

    def files(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}

    def kept(self) -> list[tuple[str, str]]:
        conversations = Conversations(self.database)
        return [(entry.answer, entry.verdict) for each in conversations.listed() for entry in conversations.exchanges(each.id)]


@pytest.fixture
async def home(serve: Any, tmp_path: Path) -> Home:
    vendor = ScriptedVendor("openai-chat", ANSWER)
    return Home(tmp_path, vendor, (await serve(vendor)).url)


def fill_disk() -> None:
    """In a process: no file can grow, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


async def test_a_full_disk_leaves_every_file_as_it_was(home: Home) -> None:
    """An answer is printed all the same; what cannot be written is named, with exit code 1 and nothing half written."""
    await run("ask", "one", env=home.env)
    await run("default", "openai/m", env=home.env)
    codex = home.folder / ".codex" / "config.toml"
    codex.parent.mkdir()
    codex.write_text("# mine\n")
    foreign, good = home.folder / "config.yaml", home.folder / "good.toml"
    foreign.write_text("model_list: []\n")
    good.write_text("# good\n")
    kept = home.folder / "polychat" / "last-good"
    kept.mkdir()
    (kept / last_good.place_of(good).name).write_text('default_model = "openai/m"\n')
    before = home.files()
    ran = await run("ask", "two", env=home.env, preexec_fn=fill_disk)
    assert (ran.code, ran.out, "this conversation is not kept" in ran.err) == (0, "All is well.\n", True)
    for words, file in (
        (["default", "openai/n"], "polychat.toml"),
        (["ask", "--save", "t", "Hello"], "t.toml"),
        (["keys", "set", "openai", "--file"], "keys.toml"),
        (["setup", "codex", "--write", "--no-test", "--url", "http://127.0.0.1:1", "-m", "a/b"], "config.toml"),
        (["log", "off"], "conversations.db"),
        (["config", "import", str(foreign), "-o", str(home.folder / "converted.toml")], "converted.toml"),
        (["config", "last-good", str(good), "-o", str(home.folder / "copy.toml")], "copy.toml"),
    ):
        ran = await run(*words, piped=b"k-new", env=home.env, preexec_fn=fill_disk)
        assert (ran.code, file in ran.err) == (1, True), (words, ran.err)
    assert home.files().keys() - before.keys() <= {home.database.with_name(f"conversations.db-{end}") for end in ("shm", "wal")}
    assert {path: content for path, content in home.files().items() if content} == before


async def test_a_chat_goes_on_with_a_full_disk(home: Home) -> None:
    """It says once that it is not kept."""
    words = ("sh", "-c", 'ulimit -f 0; exec "$@"', "sh", sys.executable, "-m", "polychat", "chat")
    environment = {**os.environ, **home.env, "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", "PYTHONWARNINGS": ""}
    async with in_terminal(*words, env=environment) as terminal:
        for question in (b"one", b"two"):
            await terminal.shows(b">")
            terminal.press(question + b"\r")
            await terminal.shows(b"All is well.")
        await terminal.shows(b">")
        terminal.press(b"\x04")
        assert await terminal.ended() == 0
    assert len(home.vendor.asks) == 2


async def test_a_locked_database_costs_no_answer(home: Home) -> None:
    """The answer is printed, and that it is not kept; what needs the database says who has it."""
    await run("ask", "one", env=home.env)
    with closing(sqlite3.connect(home.database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        asked, listed = await asyncio.gather(run("ask", "two", env=home.env), run("log", "list", env=home.env))
    assert (asked.code, asked.out) == (0, "All is well.\n")
    assert "this conversation is not kept" in asked.err
    for ran in (asked, listed):
        assert "another process is writing to it: try again" in ran.err
    assert (listed.code, home.kept()) == (1, [("All is well.", "complete")])


@pytest.mark.parametrize("ending", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
async def test_a_terminal_that_goes_away_keeps_what_came(home: Home, ending: signal.Signals) -> None:
    """So does the end of the session, and Ctrl-C; the conversation can go on."""
    home.vendor.pause_before = 1
    async with started("ask", "one", stdin=asyncio.subprocess.DEVNULL, env=home.env) as process, asyncio.timeout(60):
        assert process.stdout is not None
        assert await process.stdout.readexactly(4) == b"All "
        process.send_signal(ending)
        assert await process.wait() == 130
    assert home.kept() == [("All ", "cancelled")]
    home.vendor.pause_before = None
    assert (await run("ask", "-c", "and?", env=home.env)).code == 0
    assert [message.role for message in home.vendor.asks[-1].messages] == ["user", "assistant", "user"]


async def test_ctrl_c_again_and_again_ends_by_its_code(home: Home) -> None:
    """Also while an MCP server is ended that does not want to, and while the interpreter ends; the server does not stay."""
    home.vendor.pause_before = 1
    server = home.folder / "server"
    deed = f"signal.signal(15, signal.SIG_IGN), open({str(server)!r}, 'w').write(str(os.getpid())), answer({{'tools': TOOLS}})"
    stubborn = raw_command("tools/list", f"{deed}, time.sleep(600)")
    options: dict[str, Any] = {"stdin": asyncio.subprocess.DEVNULL, "env": home.env}
    async with started("ask", "--mcp", stubborn, "one", **options) as process, asyncio.timeout(60):
        assert process.stdout is not None
        assert await process.stdout.readexactly(4) == b"All "
        ending = asyncio.ensure_future(process.wait())
        while not ending.done():
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGINT)  # send_signal would take the exit code of one that has ended
            await asyncio.wait({ending}, timeout=0.02)
        assert ending.result() == 130
        assert process.stderr is not None
        assert await process.stderr.read() == b""
        while Path(f"/proc/{server.read_text()}").exists():
            await asyncio.sleep(0)
    assert home.kept() == [("All ", "cancelled")]


async def test_a_prompt_of_10_mb_is_sent_whole(home: Home) -> None:
    """From a pipe, before the words of the command."""
    ran = await run("ask", "Summarize:", piped=b"word " * 2_000_000, env=home.env)
    assert (ran.code, ran.out) == (0, "All is well.\n")
    assert len(home.vendor.seen[-1].body) > 10_000_000


async def test_a_word_is_a_prompt_where_it_can_be_nothing_else(home: Home) -> None:
    """No command is written so, or text is piped in; a command that is mistyped is still none."""
    for words, piped in ((["Why?"], None), (["review"], b"a diff")):
        ran = await run(*words, piped=piped, env=home.env)
        assert (ran.code, ran.out) == (0, "All is well.\n"), words
    ran = await run("lgo", piped=b"a diff", env=home.env)
    assert (ran.code, "did you mean log?" in ran.err) == (2, True)
