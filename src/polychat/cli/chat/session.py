"""A chat in the terminal: prompts, replies and commands, until the person leaves."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any, TypeVar

from rich.console import Console

from ...client import Stream
from ...client.calls import stream_of
from ...client.reply import Reply
from ...client.targets import Targets
from ...config.file_errors import near
from ...errors import BadInput, NotReady, PolychatError
from ...types import ImagePart, Part
from ...user.whole_files import create_whole
from ..attaching import attached
from ..printing import printable, usage_line
from ..stopping import ENDS, stopped_by
from ..terminal import without_echo
from ..tool_calls import MOST_ROUNDS, SECONDS
from .conversation import BranchingConversation, Turn
from .slash_commands import commands_of, split, words

if TYPE_CHECKING:
    from .chat_record import ChatRecord
    from .chat_tools import ChatTools
    from .context_window import ContextWindows
    from .reply_view import ReplyView

T = TypeVar("T")
_IMAGES = (".png", ".jpg", ".jpeg", ".gif", ".webp")
_COPIED = 100_000
"""Bytes that terminals accept for the clipboard."""
_ABOUT = 20
"""Columns of a command's help at least."""


class ChatSession:
    """One chat. ``handle`` takes what the person typed."""

    def __init__(
        self,
        targets: Targets,
        conversation: BranchingConversation,
        options: dict[str, Any],
        record: ChatRecord | None = None,
        *,
        console: Console | None = None,
        answer: Callable[[str], Awaitable[str | None]] | None = None,
    ) -> None:
        """``options`` are keywords of each request; ``record`` keeps the exchanges; ``console`` is by default on stdout.

        ``answer`` gives what is typed after a question, by default at the terminal.
        """
        self.conversation = conversation
        self.commands = commands_of(self)
        self.is_over = False
        self.prefilled = ""
        """What the next prompt begins with."""
        self._targets, self._options, self._record = targets, options, record
        self._console = Console(highlight=False) if console is None else console
        self._answer = answer
        self._attached: list[Part] = []
        self._windows: ContextWindows | None = None
        self._tools: ChatTools | None = None

    async def use_tools(
        self, modules: Sequence[str], servers: Sequence[str], *, allows_all: bool = False, seconds: float = SECONDS
    ) -> None:
        """Begin with these tools. Raises ``PolychatError`` for what cannot be used."""
        tools = self._tools = self._new_tools(allows_all=allows_all, seconds=seconds)
        for module in dict.fromkeys(modules):
            await tools.add_module(module)
        for server in dict.fromkeys(servers):
            await tools.add_server(server)

    def _new_tools(self, *, allows_all: bool = False, seconds: float = SECONDS) -> ChatTools:
        from .chat_tools import ChatTools  # for those who use tools

        def say(text: str, kind: str) -> None:
            self.tell(f"{kind}: {text}" if kind else text, "cyan" if kind == "tool" else "dim")

        return ChatTools(self._targets.registry.config.mcp, say, seconds, allows_all=allows_all, answer=self._answer)

    def server_names(self) -> Iterable[str]:
        """The MCP servers of the configuration."""
        return self._targets.registry.config.mcp

    async def close(self) -> None:
        """Nothing follows: no server is left running."""
        if self._tools is not None:
            await self._tools.close()

    async def handle(self, typed: str) -> None:
        """Ask, or run a command. Errors are printed."""
        try:
            if typed.startswith("/") and not typed.startswith("//"):
                await self._command(typed)
            elif text := typed.removeprefix("/") if typed.startswith("//") else typed:
                turn = self.conversation.ask(self._attached, text)
                self._attached = []
                await self._ask(turn)
        except PolychatError as error:
            self.tell(str(error), "red")
        except (OSError, RuntimeError) as error:  # of a path that a command was given
            self.tell(getattr(error, "strerror", None) or str(error), "red")

    def tell(self, text: str, style: str = "dim") -> None:
        """One line, or more, of the chat itself."""
        self._console.print(printable(text), style=style, markup=False, highlight=False)

    async def _command(self, line: str) -> None:
        name, rest = split(line)
        command = self.commands.get(name)
        if command is None:
            guess = near(f"/{name}", (f"/{known}" for known in self.commands), "; ") or ". /help lists them"
            raise BadInput(f"no command /{name[:40]}{guess} (// begins a prompt with a slash)", field="command")
        outcome = command.run(rest)
        if outcome is not None:
            await outcome

    async def _ask(self, turn: Turn) -> None:
        """Get the reply to a question, and run the calls of tools in it, until one has none; Ctrl-C keeps what came.

        So does a terminal that goes away.
        """
        failure, whole = await self._answered(turn)
        while failure is None and whole.tool_calls and await self._called(turn, whole):
            failure, whole = await self._answered(turn)
        if turn.rounds or whole.text or (failure is None and not whole.tool_calls):
            turn.reply = replace(whole, tool_calls=[])  # calls without results cannot be sent
            self._keep(turn)
        else:
            self.conversation.forget(turn)
            self.prefilled = _typed(turn.text)  # nothing that was typed is lost
        if failure:
            self.tell(failure, "red")
        elif whole.reason == "length":
            self.tell("(stopped at max_tokens)")

    async def _answered(self, turn: Turn) -> tuple[str | None, Reply]:
        """What failed, and what came of one reply."""
        options = dict(self._options)
        if self._tools is not None and (tools := self._tools.offered()):
            options["tools"] = tools
        messages = self.conversation.messages(turn)
        try:
            reply = stream_of(self._targets, messages, turn.model, self.conversation.system, options)
        except PolychatError:
            self.conversation.forget(turn)
            raise
        try:
            async with self._context_windows().learning(turn.model):
                failure = await self._shown(reply)
        except OSError:  # nothing can be drawn any more
            self.is_over, failure = True, None
        return failure, reply.reply()

    async def _called(self, turn: Turn, whole: Reply) -> bool:
        """Run the calls of a reply; whether another reply follows them."""
        if whole.verdict != "complete" or self.is_over:
            return False
        if self._tools is None:
            self.tell(f"(the reply only calls {whole.tool_calls[0].name}: /tools and /mcp add tools)")
            return False
        if len(turn.rounds) == MOST_ROUNDS:
            self.tell(f"(stopped after {MOST_ROUNDS} rounds of tool calls)")
            return False
        results = await self._interruptible(self._tools.results_of(whole.tool_calls))
        if results is not None:
            turn.rounds.append((whole, results))
        return results is not None

    async def _interruptible(self, work: Coroutine[Any, Any, T]) -> T | None:
        """What ``work`` gives; ``None`` where Ctrl-C stopped it, which is told."""
        running = asyncio.ensure_future(work)

        def leave() -> None:
            self.is_over = True
            running.cancel()

        with stopped_by(running.cancel, "SIGINT"), stopped_by(leave, *ENDS):
            try:
                return await running
            except asyncio.CancelledError:
                if not running.cancelled():
                    running.cancel()
                    raise
                self.tell("(stopped)")
        return None

    def _context_windows(self) -> ContextWindows:
        if self._windows is None:
            from .context_window import ContextWindows  # with the first question: the prompt does not wait for it

            self._windows = ContextWindows(self._targets)
        return self._windows

    def _keep(self, turn: Turn) -> None:
        if self._record is None or turn.reply is None or not (turn.reply.text or turn.reply.tool_calls):
            return  # to go on with an empty reply is an error at some backends
        try:
            self._record.add(turn, self.conversation.system)
        except NotReady as error:
            self.tell(f"this conversation is not kept: {error}", "yellow")
            self._record = None  # it would be told after each reply

    async def _shown(self, reply: Stream[Any]) -> str | None:
        """Draw the reply; gives what failed, or ``None``."""
        from .reply_view import ReplyView  # drawing Markdown takes longer to load than the prompt

        try:
            with without_echo():
                await self._interruptible(self._read(reply, ReplyView(self._console)))
        except PolychatError as error:
            return str(error)
        return None

    async def _read(self, reply: Stream[Any], view: ReplyView) -> None:
        async with reply:
            await view.show(reply)

    def status(self) -> str:
        """The model, the tokens and the cost of the last exchange and of all, and how much of the context is used."""
        last = self.conversation.last
        parts = [self.conversation.model]
        if last is not None and (reply := last.reply) is not None:
            parts.append(usage_line(reply).split("; unpriced")[0])
            if self._windows is not None and (used := self._windows.used(last.model, reply)):
                parts.append(used)
        total = self._total_cost()
        if total:
            parts.append(f"${total:.4f} in all")
        if self._attached:
            parts.append(f"{len(self._attached)} attached")
        if self._tools is not None and (count := len(self._tools.offered())):
            parts.append(f"{count} {'tool' if count == 1 else 'tools'}")
        return " · ".join(parts)

    def _total_cost(self) -> float:
        return sum(reply.cost or 0.0 for reply in self.conversation.replies())

    def _last_reply(self) -> Reply:
        last = self.conversation.last
        if last is None or last.reply is None:
            raise BadInput("there is no reply yet", field="command")
        return last.reply

    def _last_turn(self) -> Turn:
        if self.conversation.last is None:
            raise BadInput("nothing was asked yet", field="command")
        return self.conversation.last

    # Commands: their docstrings are their help

    def do_help(self, rest: str) -> None:
        """: list these commands"""
        beside = max(len(f"/{command.name} {command.usage}") for command in self.commands.values()) + 2
        room = max(_ABOUT, self._console.width - beside)
        for command in self.commands.values():
            about = f"\n{'':<{beside}}".join(wrap(command.about, room))
            self.tell(f"{f'/{command.name} {command.usage}':<{beside}}{about}")
        self.tell("Enter sends, Alt-Enter begins a new line, Ctrl-R searches the history, Ctrl-C stops a reply, Ctrl-D leaves.")

    def do_model(self, rest: str) -> None:
        """[MODEL]: use another model from here on, or show which one is used"""
        if rest:
            self._targets.plan(rest)
            self.conversation.model = rest
        self.tell(f"model: {self.conversation.model}")

    def do_system(self, rest: str) -> None:
        """[TEXT]: set the system message, or show it; - removes it"""
        if rest:
            self.conversation.system = None if rest == "-" else rest
        self.tell(f"system message: {self.conversation.system or 'none'}")

    async def do_retry(self, rest: str) -> None:
        """[MODEL]: ask the last question once more, of another model if one is named"""
        if rest:
            self._targets.plan(rest)
        turn = self.conversation.retry(rest or None)
        if turn is None:
            raise BadInput("nothing was asked yet", field="command")
        await self._ask(turn)

    async def do_edit(self, rest: str) -> None:
        """[TEXT]: ask the last question with another text; without one, the prompt begins with it"""
        last = self._last_turn()
        if not rest:
            self.conversation.undo()
            self._attached = list(last.question.parts[:-1])
            self.prefilled = _typed(last.text)
            return
        turn = self.conversation.edit(rest)
        if turn is not None:
            await self._ask(turn)

    def do_undo(self, rest: str) -> None:
        """: take back the last question and its reply"""
        self._last_turn()
        undone = self.conversation.undo()
        self.tell(f"taken back: {_excerpt(undone.text) if undone else ''}")

    def do_branch(self, rest: str) -> None:
        """[N]: list the branches that retries, edits and undos left, or go on from one"""
        if rest and (not rest.isdecimal() or self.conversation.switch(int(rest)) is None):
            raise BadInput(f"/branch takes a number of the list, not {rest[:40]}", field="command")
        for number, turn in enumerate(self.conversation.branches(), 1):
            mark = "*" if self.conversation.last is not None and self.conversation.last in turn.path() else " "
            count = len(turn.path())
            self.tell(f"{mark} {number}  {count} question{'s' if count > 1 else ''}, {turn.model}: {_excerpt(turn.text)}")

    async def do_compare(self, rest: str) -> None:
        """MODEL MODEL…: ask the last question of several models; the conversation goes on with the last of them"""
        models = words(rest)
        if not models:
            raise BadInput("/compare takes models: /compare a/x b/y", field="command")
        for model in models:
            self._targets.plan(model)
        self._last_turn()
        before = self.conversation.model
        try:
            for model in models:
                turn = self.conversation.retry(model)
                self.tell(f"── {model}")
                if turn is not None:
                    await self._ask(turn)
        finally:
            self.conversation.model = before

    async def do_attach(self, rest: str) -> None:
        """FILE…: attach files, folders, URLs or images to the next question; without one, forget what is attached"""
        names = list(map(_place, words(rest)))
        images = [name for name in names if name.lower().endswith(_IMAGES)]
        try:
            parts = await asyncio.to_thread(attached, [name for name in names if name not in images], images, None)
        except BadInput as error:
            raise BadInput(re.sub(r"^-[af]\b", "/attach", str(error)), field="command") from None
        self._attached = [*self._attached, *(part for part in parts if part not in self._attached)] if names else []
        kinds = ", ".join("an image" if isinstance(part, ImagePart) else "a file" for part in self._attached)
        self.tell(f"attached to the next question: {kinds or 'nothing'}")

    async def do_tools(self, rest: str) -> None:
        """[MODULE|FILE.py]: let the model call the functions of a module; - MODULE removes them; without one, list the tools"""
        tools = self._tools = self._tools or self._new_tools()
        await tools.change(rest, tools.add_module)

    async def do_mcp(self, rest: str) -> None:
        """[COMMAND|URL|NAME]: let the model call the tools of an MCP server; - NAME removes it; without one, list the tools"""
        tools = self._tools = self._tools or self._new_tools()
        await self._interruptible(tools.change(rest, tools.add_server))

    def do_save(self, rest: str) -> None:
        """FILE: write the conversation to a new file, as Markdown, or as JSON if its name ends with .json"""
        if not rest:
            raise BadInput("/save takes the name of a file", field="command")
        path = Path(rest).expanduser()
        text = self._as_json() if path.suffix == ".json" else "\n\n".join(self._as_markdown()) + "\n"
        create_whole(path, text.encode("utf-8", "surrogatepass"), field="command")
        self.tell(f"written to {path}")

    def do_copy(self, rest: str) -> None:
        """: copy the last reply to the clipboard, if the terminal allows it"""
        data = self._last_reply().text.encode("utf-8", "replace")
        if len(data) > _COPIED:
            raise BadInput(f"the reply has {len(data):,} bytes; terminals copy up to {_COPIED:,}: use /save", field="command")
        self._console.file.write(f"\x1b]52;c;{base64.b64encode(data).decode()}\x07")
        self.tell(f"{len(data):,} bytes were sent to the clipboard")

    def do_cost(self, rest: str) -> None:
        """: tokens and cost of the last reply and of the whole conversation"""
        self.tell(f"last reply: {usage_line(self._last_reply())}")
        replies = list(self.conversation.replies())
        unpriced = sum(reply.cost is None for reply in replies)
        count = "1 reply" if len(replies) == 1 else f"{len(replies)} replies"
        cost = "unpriced" if unpriced == len(replies) else f"${self._total_cost():.6f}"
        note = f", {unpriced} without a price" if 0 < unpriced < len(replies) else ""
        self.tell(f"conversation: {count}, {cost}{note}")

    def do_reasoning(self, rest: str) -> None:
        """: show the reasoning of the last reply"""
        self.tell(self._last_reply().reasoning or "the last reply has no reasoning")

    def do_sources(self, rest: str) -> None:
        """: list the sources that the last reply cites"""
        sources = self._last_reply().sources
        for number, source in enumerate(sources, 1):
            self.tell(f"[{number}] {source.title} {source.url}")
        if not sources:
            self.tell("the last reply cites nothing")

    def do_losses(self, rest: str) -> None:
        """: what of the last request the backend does not support"""
        losses = self._last_reply().losses
        for loss in losses:
            self.tell(f"- {loss}")
        if not losses:
            self.tell("nothing was lost")

    def do_quit(self, rest: str) -> None:
        """: leave"""
        self.is_over = True

    def _as_markdown(self) -> Iterator[str]:
        if self.conversation.system:
            yield f"**System:** {self.conversation.system}"
        for turn in self._last_turn().path():
            yield f"## You\n\n{turn.text}"
            yield f"## {turn.model}\n\n{turn.reply.text if turn.reply is not None else '(no reply)'}"

    def _as_json(self) -> str:
        turns = [
            {
                "question": turn.text,
                "model": turn.model,
                "reply": None if turn.reply is None else turn.reply.text,
                "verdict": None if turn.reply is None else turn.reply.verdict,
            }
            for turn in self._last_turn().path()
        ]
        return json.dumps({"system": self.conversation.system, "turns": turns}, indent=2, ensure_ascii=False) + "\n"


def _typed(text: str) -> str:
    """A question as it has to be typed."""
    return f"/{text}" if text.startswith("/") else text


def _place(name: str) -> str:
    """A URL, or the path of a file. Raises ``RuntimeError`` for the home of nobody."""
    return name if "://" in name else str(Path(name).expanduser())


def _excerpt(text: str) -> str:
    first = " ".join(text.split())
    return first if len(first) <= 60 else f"{first[:59]}…"
