"""A chat against a backend on loopback: what is asked, what is shown, and what a person can do with it."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from rich.console import Console

from polychat import config
from polychat.cli.chat.chat_record import ChatRecord
from polychat.cli.chat.conversation import BranchingConversation
from polychat.cli.chat.prompt import SlashCompleter
from polychat.cli.chat.session import ChatSession
from polychat.client.targets import targets_of
from polychat.events import Event, Finish, Reasoning, Text, Usage
from polychat.state.conversations import Conversations
from polychat.types import ChatMessage, ChatRequest, FilePart, ImagePart, TextPart
from polychat.wire.faults import Fault

from ...support.command import run
from ...support.running_gateway import row
from ...support.scripted_server import Say, Seen
from ...support.scripted_vendors import ScriptedVendor
from ...support.terminal import in_terminal

END: list[Event] = [Usage(11, 7, 18), Finish("complete", "stop")]


def echo(request: ChatRequest) -> list[list[Event]]:
    """Its last question, in Markdown."""
    return [[Text("**You** said ")], [Text(f"`{text_of(request)}`\n")], END]


def text_of(request: ChatRequest) -> str:
    part = request.messages[-1].parts[-1]
    return part.text if isinstance(part, TextPart) else "?"


class Chat:
    """A session, its backend, and what it printed."""

    def __init__(self, vendor: ScriptedVendor, url: str, **more: Any) -> None:
        self.vendor, self.out = vendor, io.StringIO()
        rows = {name: row("openai-chat", url, key_optional=True, **more) for name in ("house", "other")}
        self._targets = targets_of(config.Config(providers=rows))
        self.session = self.recorded(None)

    def recorded(self, record: ChatRecord | None) -> ChatSession:
        console = Console(file=self.out, force_terminal=True, width=80, height=24, color_system=None, highlight=False)
        return ChatSession(self._targets, BranchingConversation("house/small"), {}, record, console=console)

    async def type(self, *lines: str) -> str:
        """What is shown for them, without what steers the terminal."""
        before = len(self.out.getvalue())
        for line in lines:
            await self.session.handle(line)
        return re.sub(r"\x1b\[[\d;]*[A-Za-z]", "", self.out.getvalue()[before:])


@pytest.fixture
async def chat(serve: Any) -> Chat:
    vendor = ScriptedVendor("openai-chat", echo)
    server = await serve(vendor)
    return Chat(vendor, server.url)


async def test_a_reply_is_shown_and_sent_with_the_next_question(chat: Chat) -> None:
    """Markdown is drawn; the second question follows the first reply."""
    assert "You said one" in await chat.type("one")
    await chat.type("two")
    assert [len(request.messages) for request in chat.vendor.asks] == [1, 3]
    assert "11 tokens in, 7 out" in chat.session.status()


async def test_the_status_says_how_much_of_the_context_is_used(serve: Any) -> None:
    """Of as many tokens as the backend's list has for the model; without an entry, the tokens alone. It is requested once."""
    vendor, lists = ScriptedVendor("openai-chat", echo), []

    async def backend(seen: Seen, say: Say) -> None:
        if not seen.path.endswith("/models"):
            await vendor(seen, say)
            return
        lists.append(seen.path)
        await say.whole({"object": "list", "data": [{"id": "small", "object": "model", "context_length": 1_800}]})

    chat = Chat(vendor, (await serve(backend)).url, serves=[])
    while "context 18 of 1,800 (1%)" not in chat.session.status():
        await chat.type("one")  # the list arrives beside the reply
    await chat.type("/retry house/large")
    assert chat.session.status().endswith("context 18")
    assert len(lists) == 1


async def test_escapes_in_a_reply_are_inert(chat: Chat) -> None:
    """They are not sent to the terminal, in text and in code."""
    chat.vendor.answer = [[Text("\x1b[31mred\x1b]0;title\x07\n\n```\n\x1b[2J\n```\n")], END]
    await chat.type("hi")
    assert "\x1b[31m" not in chat.out.getvalue()
    assert "\x1b]0;" not in chat.out.getvalue()
    assert "\x1b[2J" not in chat.out.getvalue()


async def test_reasoning_is_folded(chat: Chat) -> None:
    """Its duration is shown, and the text on request."""
    chat.vendor.answer = [[Reasoning("I think so.")], [Text("Yes.")], END]
    shown = await chat.type("well?")
    assert ("thought for" in shown, "I think so" in shown, "Yes." in shown) == (True, False, True)
    assert "I think so." in await chat.type("/reasoning")


async def test_what_failed_is_told_and_the_question_stays_to_be_sent_again(chat: Chat) -> None:
    """It begins the next prompt, and is not part of the conversation."""
    chat.vendor.fault = Fault("no such key", "authentication", 401)
    assert "no such key" in await chat.type("important question")
    assert chat.session.prefilled == "important question"
    chat.vendor.fault = None
    await chat.type("again")
    assert [text_of(request) for request in chat.vendor.asks] == ["again"]
    assert len(chat.vendor.asks[0].messages) == 1


async def test_a_reply_that_is_cut_off_keeps_what_came(chat: Chat) -> None:
    """And says so."""
    chat.vendor.cut_after = 1
    shown = await chat.type("one")
    assert "You said" in shown
    chat.vendor.cut_after = None
    await chat.type("two")
    assert len(chat.vendor.asks[-1].messages) == 3


async def test_commands_change_what_is_asked(chat: Chat) -> None:
    """Model, system message, retry, edit, undo and comparison."""
    await chat.type(
        "one", "/system be brief", "/model other/small", "/retry", "/edit uno", "/undo", "/edit", "/retry house/small"
    )
    texts = [text_of(request) for request in chat.vendor.asks]
    assert texts == ["one", "one", "uno"]
    assert chat.vendor.asks[1].messages[0].role == "system"
    assert "nothing was asked yet" in await chat.type("/retry")
    await chat.type("two")
    shown = await chat.type("/compare house/small other/small")
    assert (shown.count("You said two"), "── other/small" in shown) == (2, True)
    assert "* " in await chat.type("/branch")
    assert "a number of the list" in await chat.type("/branch 99")


async def test_files_are_attached_to_the_next_question(chat: Chat, tmp_path: Path) -> None:
    """Images and files, once; a file that is missing is told."""
    (tmp_path / "a b.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7")
    await chat.type(f"/attach '{tmp_path}/a b.png' {tmp_path}/a.pdf", "look", "and now?")
    kinds = [{type(part) for message in request.messages[-1:] for part in message.parts} for request in chat.vendor.asks]
    assert kinds == [{ImagePart, FilePart, TextPart}, {TextPart}]
    assert "/attach: " in await chat.type(f"/attach {tmp_path}/a.pdf {tmp_path}/none")
    assert "attached" not in chat.session.status()
    assert "quotation mark" in await chat.type("/attach 'x")


async def test_a_conversation_is_saved(chat: Chat, tmp_path: Path) -> None:
    """As Markdown or JSON, into a new file only."""
    await chat.type("one", f"/save {tmp_path}/a.md", f"/save {tmp_path}/a.json")
    assert (tmp_path / "a.md").read_text().startswith("## You\n\none\n\n## house/small\n\n**You** said `one`")
    assert json.loads((tmp_path / "a.json").read_text())["turns"][0]["verdict"] == "complete"
    assert "exists" in await chat.type(f"/save {tmp_path}/a.md")
    assert "cannot be written" in " ".join((await chat.type(f"/save {tmp_path}/a.md/b")).split())


async def test_the_other_commands(chat: Chat) -> None:
    """Each says what it has, also before the first reply; an unknown one names the nearest, and // begins a prompt."""
    assert "there is no reply yet" in await chat.type("/cost")
    shown = await chat.type("/help")
    assert all(f"/{name}" in shown for name in chat.session.commands)
    commands = shown[: shown.index("Enter sends")].splitlines()
    assert {line[:1] for line in commands} == {"/", " "}, "what does not fit stands below what it belongs to"
    await chat.type("//not a command")
    assert text_of(chat.vendor.asks[-1]) == "/not a command"
    for command, words in (
        ("cost", "conversation: 1 reply, "),
        ("sources", "nothing"),
        ("losses", "nothing"),
        ("copy", "bytes"),
    ):
        assert words in await chat.type(f"/{command}")
    assert "did you mean /model?" in await chat.type("/modle")
    assert "no provider 'nope'" in await chat.type("/model nope/x")
    await chat.type("/quit")
    assert chat.session.is_over


def offered(completer: SlashCompleter, text: str) -> Iterator[str]:
    for completion in completer.get_completions(Document(text), CompleteEvent()):
        yield text[: len(text) + completion.start_position] + completion.text


async def test_a_retry_that_fails_changes_nothing(chat: Chat) -> None:
    """The conversation goes on after the reply that there was, with the model that there was; so does a comparison."""
    await chat.type("one", "two")
    chat.vendor.fault = Fault("not now", "overloaded", 400)
    await chat.type("/retry other/small")
    assert "── other/small" in await chat.type("/compare other/small house/small")
    chat.vendor.fault = None
    assert chat.session.conversation.model == "house/small"
    await chat.type("three")
    assert [message.role for message in chat.vendor.asks[-1].messages] == ["user", "assistant"] * 2 + ["user"]


async def test_paths_that_make_no_sense_end_nothing(chat: Chat, tmp_path: Path) -> None:
    """A home folder of nobody, and a name that is too long."""
    assert "home" in await chat.type("/attach ~nobody-at-all/x")
    await chat.type("one")
    refused = await chat.type(f"/save {tmp_path}/{'x' * 300}")
    assert "name too long" in " ".join(refused.lower().split())  # where the line breaks depends on the folder's name
    assert chat.session.is_over is False


async def test_completion(chat: Chat, tmp_path: Path) -> None:
    """Commands, models where one is to be named, files; nothing in a prompt."""
    (tmp_path / "notes.txt").touch()
    completer = SlashCompleter(chat.session.commands, lambda typed: ["house/small", "other/small"])
    assert list(offered(completer, "/mo")) == ["/model"]
    assert list(offered(completer, "/compare house/small ot")) == ["/compare house/small other/small"]
    assert list(offered(completer, f"/attach {tmp_path}/no")) == [f"/attach {tmp_path}/notes.txt"]
    assert list(offered(completer, "hello")) == list(offered(completer, "/model a\nb")) == []


async def test_exchanges_are_kept(chat: Chat, tmp_path: Path) -> None:
    """Each when its reply has ended; a branch is a conversation of its own, with what came before it."""
    conversations = Conversations(tmp_path / "kept.db")
    chat.session = chat.recorded(ChatRecord(conversations))
    await chat.type("one", "two", "/retry", "three")
    kept = {tuple(entry.prompt for entry in conversations.exchanges(one.id)) for one in conversations.listed()}
    assert kept == {("one", "two"), ("one", "two", "three")}
    (tmp_path / "kept.db").write_bytes(b"damaged" * 1000)
    shown = await chat.type("four", "five")
    assert (shown.count("is not kept"), "You said five" in shown) == (1, True)


async def test_a_branch_of_a_conversation_that_goes_on_has_its_beginning(chat: Chat, tmp_path: Path) -> None:
    """Also where the first new question is asked again."""
    conversations = Conversations(tmp_path / "kept.db")
    chat.session = chat.recorded(ChatRecord(conversations))
    await chat.type("one")
    chat.session = chat.recorded(ChatRecord(conversations, conversations.listed()[0].id))
    await chat.type("two", "/edit deux", "three")
    kept = {tuple(entry.prompt for entry in conversations.exchanges(one.id)) for one in conversations.listed()}
    assert kept == {("one", "two"), ("one", "deux", "three")}


async def test_an_earlier_conversation_goes_on(chat: Chat) -> None:
    """Its messages are sent before the first question."""
    earlier = [ChatMessage("user", [TextPart("one")]), ChatMessage("assistant", [TextPart("1")])]
    chat.session.conversation = BranchingConversation("house/small", None, earlier)
    await chat.type("two")
    assert [message.role for message in chat.vendor.asks[0].messages] == ["user", "assistant", "user"]


async def test_it_needs_a_terminal() -> None:
    """Elsewhere the error names what to use."""
    ran = await run("chat", piped=b"hi")
    assert (ran.code, "use polychat ask" in ran.err) == (2, True)


async def endless(seen: Seen, say: Say) -> None:
    """Begins a reply and goes on until the client leaves."""
    await say.head(200, [("content-type", "text/event-stream")])
    piece = {"id": "x", "object": "chat.completion.chunk", "model": "m", "choices": [{"index": 0, "delta": {"content": "la "}}]}
    while True:
        await say.chunk(f"data: {json.dumps(piece)}\n\n".encode())
        await asyncio.sleep(0.01)


async def test_in_a_terminal(serve: Any, tmp_path: Path) -> None:
    """Ctrl-C stops a reply, what came stays, and Ctrl-D leaves; the history is private."""
    server = await serve(endless)
    environment = {
        **{**os.environ, "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path), "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"},
        **{"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": f"{server.url}/v1"},
    }
    async with in_terminal(sys.executable, "-m", "polychat", "chat", "-m", "openai/m", env=environment) as terminal:
        await terminal.shows(b"/help lists the commands")
        await terminal.shows(b">")
        terminal.press(b"sing\r")
        await terminal.shows(b"la la la")
        terminal.press(b"\x03")
        await terminal.shows(b"(stopped)")
        await terminal.shows(b">")
        terminal.press(b"\x04")
        assert await terminal.ended() == 0
    history = tmp_path / "polychat" / "chat_history"
    assert ("sing" in history.read_text(), history.stat().st_mode & 0o077) == (True, 0)


async def test_a_model_that_does_not_exist_ends_the_chat(tmp_path: Path) -> None:
    """What the first prompt does not need is read while it is there; what is wrong with it is told, and the prompt ends."""
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path), "TERM": "xterm"}
    async with in_terminal(sys.executable, "-m", "polychat", "chat", "-m", "nobody/x", env=environment) as terminal:
        await terminal.shows(b"/help lists the commands")
        await terminal.shows(b"error: no provider 'nobody'")
        assert await terminal.ended() == 2


async def test_the_first_prompt_loads_no_backend_and_no_markdown() -> None:
    """They take as long as the prompt itself."""
    code = "import sys, polychat.cli.chat, polychat.cli.chat.opening, polychat.cli.chat.prompt, polychat.cli.completion; "
    code += "import polychat.state.probes; print(*sys.modules)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    loaded = (await process.communicate())[0].decode().split()
    assert "prompt_toolkit" in loaded
    late = ("rich.console", "polychat.client", "polychat.routing", "polychat.wire", "polychat.http", "msgspec", "sqlite3")
    assert [name for name in loaded if name.startswith(late)] == []
