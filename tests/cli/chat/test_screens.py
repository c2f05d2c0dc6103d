"""``polychat chat`` as a person sees it, in a real terminal: what is typed, and screens that are kept as text.

After a change of what is shown:  RENEW_SCREENS=1 make test T=tests/cli/chat/test_screens.py
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from polychat.events import Event, Finish, Reasoning, Text, Usage
from polychat.state.conversations import Conversations
from polychat.types import ChatRequest, TextPart

from ...support.screen import MISSING, KeptScreens, Screen, on_screen
from ...support.scripted_vendors import ScriptedVendor

pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))

END: list[Event] = [Usage(11, 7, 18), Finish("complete", "stop")]
MARKDOWN = """\
# Bridges

A bridge has **piers** and a *deck*.

1. Beam
2. Arch
   - of stone
   - of steel

> The longest one
> is in Danyang.

| bridge | metres |
|--------|-------:|
| Danyang | 164800 |
| Forth | 2467 |

```python
def span(metres):
    return metres / 2  # each side
```

Done.
"""
WIDE = """\
日本語のテキストは幅が二倍です。漢字とかなが混ざっていても、行の終わりで正しく折り返されなければなりません。

| 語 | word |
|----|------|
| 橋 | bridge |
| 🌉 | bridge at night |

한국어 😀 ok

שלום עולם, مرحبا بالعالم, and back.
"""
ESCAPES = "red \x1b[31mnot red\x1b[0m \x1b]0;a title\x07 \x1b[2J\x1b[H\x9b5A \x07 end\n\n```\n\x1b[41mcode\x1b[0m\n\x1bc\n```\n"
ANSWERS: dict[str, list[list[Event]]] = {
    "Markdown, please": [[Text(MARKDOWN[:180])], [Text(MARKDOWN[180:])], END],
    "Think first": [[Reasoning("Let me think. ")], [Reasoning("So be it.")], [Text("It is so.")], END],
    "Sing": [[Text("A song of " + "many words " * 30)], [Text("and " + "of many more " * 20 + "the end.")], END],
    "Wide": [[Text(WIDE)], END],
    "Escapes": [[Text(ESCAPES)], END],
    "Blocks": [*([Text(f"Step {number}:\n\n```sh\necho {number}\n```\n\n")] for number in range(1, 201)), END],
    "Much": [*[[Text("many words " * 10_000)]] * 95, [Text("\n\nThe end.")], END],
}


def question_of(request: ChatRequest) -> str:
    part = request.messages[-1].parts[-1]
    return part.text if isinstance(part, TextPart) else "?"


def answer(request: ChatRequest) -> list[list[Event]]:
    """What the script has for the question, or the question itself."""
    question = question_of(request)
    return ANSWERS.get(question) or [[Text(f"{request.model} got `{question.splitlines()[0]}`")], END]


class Chat:
    """A chat on a screen, its backend, and what it kept."""

    def __init__(self, screen: Screen, vendor: ScriptedVendor, folder: Path) -> None:
        self.screen, self.vendor, self._folder = screen, vendor, folder

    def questions(self) -> list[str]:
        return [question_of(request) for request in self.vendor.asks]

    def kept(self) -> list[list[tuple[str, str, str]]]:
        """Question, answer and verdict of all exchanges of each conversation, the latest first."""
        conversations = Conversations(self._folder / "polychat" / "conversations.db")
        return [
            [(entry.prompt, entry.answer, entry.verdict) for entry in conversations.exchanges(each.id)]
            for each in conversations.listed()
        ]


@asynccontextmanager
async def chatting(serve: Any, folder: Path, width: int, height: int, **environment: str) -> AsyncGenerator[Chat]:
    vendor = ScriptedVendor("openai-chat", answer)
    server = await serve(vendor)
    env = {
        **{"HOME": str(folder), "XDG_STATE_HOME": str(folder), "XDG_CONFIG_HOME": str(folder), "LC_ALL": "C.UTF-8"},
        **{"PATH": os.environ["PATH"], "TERM": "screen-256color", "OPENAI_API_KEY": "k", "OPENAI_BASE_URL": f"{server.url}/v1"},
        **environment,
    }
    words = (sys.executable, "-m", "polychat", "chat", "-m", "openai/small")
    async with on_screen(*words, env=env, width=width, height=height) as screen:
        await screen.shows("/help lists the commands", "\n>")
        yield Chat(screen, vendor, folder)


def kept_screens(name: str) -> KeptScreens:
    return KeptScreens(Path(__file__).parent / "screens" / f"{name}.txt")


async def test_a_conversation(serve: Any, tmp_path: Path) -> None:
    """From the first prompt to the last: Markdown as it arrives, folded reasoning, branches, comparison, editing, a paste."""
    kept = kept_screens("conversation")
    async with chatting(serve, tmp_path, 80, 24) as chat:
        screen, vendor = chat.screen, chat.vendor
        await screen.is_as(kept, "the first prompt", "/help")
        vendor.pause_before = 1
        await screen.send("Markdown, please")
        await screen.is_as(kept, "Markdown while it arrives", "Danyang")
        vendor.pause_before = None
        vendor.go_on.set()
        await screen.is_as(kept, "Markdown when it has ended", "Done.", "7 out")
        await screen.send("Think first")
        await screen.is_as(kept, "reasoning is folded", "It is so.", "7 out")
        await screen.send("/retry openai/large")
        await screen.shows("openai/large · ")
        await screen.send("/branch")
        await screen.is_as(kept, "branches", "* 2")
        await screen.clear()
        await screen.send("/compare openai/small openai/tiny")
        await screen.is_as(kept, "a comparison", "openai/tiny")
        await screen.send("/edit")
        await screen.shows("> /edit\n> Think first")
        await screen.press("M-Enter")
        await screen.type("and then act")
        await screen.is_as(kept, "a question of two lines is edited", "and then act")
        await screen.press("Enter")
        await screen.shows("got Think first\n\n>")
        await screen.paste("a = 1\n\tb = 2\n/quit\n")
        await screen.is_as(kept, "a pasted file waits to be sent", "/quit")
        await screen.press("Enter")
        await screen.shows("got a = 1\n\n>")
        await screen.clear()
        await screen.type("/re")
        await screen.press("Tab")
        await screen.is_as(kept, "commands are completed", "once more")
        await screen.press("C-c", "C-r")
        await screen.type("Mark")
        await screen.is_as(kept, "the history is searched", "Markdown, please")
        await screen.press("C-g", "C-c")
        await screen.shows("\n>\n>")
        await screen.press("C-d")
        assert await screen.code() == 0
        assert chat.questions() == [
            *("Markdown, please", *["Think first"] * 4),
            *("Think first\nand then act", "a = 1\n\tb = 2\n/quit"),
        ]
        assert sorted(len(exchanges) for exchanges in chat.kept()) == [2, 2, 2, 2, 3]


async def test_a_reply_is_interrupted(serve: Any, tmp_path: Path) -> None:
    """By new sizes of the window, by Ctrl-C, and by a terminal that goes away: what came is kept each time."""
    kept = kept_screens("interrupted")
    async with chatting(serve, tmp_path, 120, 20) as chat:
        screen, vendor = chat.screen, chat.vendor
        vendor.pause_before = 1
        await screen.send("Sing")
        await screen.is_as(kept, "a reply at 120 columns", "A song of")
        await screen.resize(60, 20)
        await screen.is_as(kept, "it goes on at 60 columns", "many words")
        await screen.resize(80, 20)
        vendor.go_on.set()
        await screen.is_as(kept, "it ends at 80 columns", "the end.", "7 out")
        vendor.go_on.clear()
        await screen.clear()
        await screen.send("Sing")
        await screen.shows("A song of many")
        await screen.type("And now?")
        await screen.press("C-c")
        await screen.is_as(kept, "a reply that was stopped, and what was typed meanwhile", "(stopped)", "> And now?")
        vendor.pause_before = None
        await screen.press("Enter")
        await screen.shows("got And now?\n\n>")
        vendor.pause_before = 1
        sent = vendor.asks[-1].messages
        assert [message.role for message in sent] == ["user", "assistant"] * 2 + ["user"]
        assert [len(part.text.split()) for part in sent[3].parts if isinstance(part, TextPart)] == [63]
        await screen.clear()
        await screen.send("Sing")
        await screen.shows("A song of many")
        await screen.hang_up()
        (exchanges,) = chat.kept()
        assert [(question, verdict) for question, _, verdict in exchanges] == [
            *(("Sing", "complete"), ("Sing", "cancelled")),
            *(("And now?", "complete"), ("Sing", "cancelled")),
        ]
        assert exchanges[3][1].startswith("A song of many")


async def test_unusual_replies(serve: Any, tmp_path: Path) -> None:
    """Letters of two columns and from right to left, escapes, 200 blocks of code, and 10 MB; without colours."""
    kept = kept_screens("unusual")
    async with chatting(serve, tmp_path, 60, 40, NO_COLOR="1") as chat:
        screen = chat.screen
        await screen.send("Wide")
        await screen.is_as(kept, "letters of two columns, and from right to left", "7 out", "back")
        await screen.clear()
        await screen.send("Escapes")
        await screen.is_as(kept, "escapes do nothing", "7 out", "end")
        assert await screen.tmux("display-message", "-p", "#{pane_title}") != "a title\n"
        await screen.send("Blocks")
        await screen.shows("echo 200", "7 out")
        drawn = await screen.text(history=True, styled=True)
        shown = re.sub(r"\x1b\[[\d;]*m", "", drawn)
        assert re.findall(r"echo (\d+)", shown) == [str(number) for number in range(1, 201)]
        assert not re.search(r"\x1b\[[\d;]*\b(3[0-7]|4[0-7]|9\d|[34]8;)", drawn)
        await screen.send("Much")
        await screen.shows("The end.\n\n>", "7 out")
        assert highest_memory(await screen.process()) < 250_000_000
        assert [len(reply) for _, reply, _ in chat.kept()[0]][-1] > 10_000_000


def highest_memory(process: int) -> int:
    """Bytes."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    return 0 if found is None else int(found[1]) * 1024
