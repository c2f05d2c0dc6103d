"""What a chat needs besides its prompt: it is loaded while the person begins to type, as it takes as long as the prompt."""

from __future__ import annotations

import argparse
import asyncio
import gc
from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from ..connection import connection_options

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

    from ...client.targets import Targets
    from ..recording import Earlier
    from .chat_record import ChatRecord
    from .session import ChatSession
    from .slash_commands import SlashCommand


class _Loaded(NamedTuple):
    targets: Targets
    earlier: Earlier
    model: str


class ChatOpening:
    """A chat's session, from the first prompt on. Raises ``BadInput`` for options that are wrong."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.commands: dict[str, SlashCommand] = {}
        """Those of the session, once it is there."""
        self._arguments, self._options = arguments, connection_options(arguments)
        self._opened: ChatSession | None = None
        self._opening: asyncio.Future[ChatSession] | None = None

    def status(self) -> str:
        """The line below the prompt."""
        return self._arguments.model or "" if self._opened is None else self._opened.status()

    def server_names(self) -> Iterable[str]:
        """The MCP servers of the configuration, once it is there."""
        return () if self._opened is None else self._opened.server_names()

    def begin(self, typing: PromptSession[str]) -> None:
        """A prompt is about to be drawn: load after that. A failure ends the prompt."""
        if self._opening is not None:
            return

        def told(opening: asyncio.Future[ChatSession]) -> None:
            if opening.cancelled():
                return
            if (error := opening.exception()) is not None and typing.app.is_running:
                typing.app.exit(exception=error)
            typing.app.invalidate()  # the line below it has changed

        self._opening = asyncio.ensure_future(self._open())
        self._opening.add_done_callback(told)

    async def session(self) -> ChatSession:
        """When it is loaded. Raises what is wrong with the model, the configuration, or the conversation that goes on."""
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._open())
        return await self._opening

    async def close(self) -> None:
        """The chat is over."""
        if self._opened is not None:
            await self._opened.close()

    async def _open(self) -> ChatSession:
        arguments = self._arguments
        try:
            loaded = await asyncio.to_thread(_load, arguments)
            from ..tool_calls import seconds_of
            from .conversation import BranchingConversation
            from .session import ChatSession
        finally:
            gc.enable()
        conversation = BranchingConversation(loaded.model, arguments.system or loaded.earlier.system, loaded.earlier.messages)
        record = None if arguments.no_log else _record(loaded.earlier.id)
        self._opened = ChatSession(loaded.targets, conversation, self._options, record)
        if arguments.tools or arguments.mcp or arguments.yes or arguments.tool_timeout is not None:
            seconds = seconds_of(arguments.tool_timeout)
            await self._opened.use_tools(arguments.tools, arguments.mcp, allows_all=arguments.yes, seconds=seconds)
        self.commands.update(self._opened.commands)
        asyncio.get_running_loop().run_in_executor(None, import_module, f"{__package__}.reply_view")
        return self._opened


def _load(arguments: argparse.Namespace) -> _Loaded:
    from ...client.targets import targets_of, user_targets
    from ..recording import earlier_of

    import_module(".session", __package__)
    targets = user_targets() if arguments.config is None else targets_of(arguments.config)
    earlier = earlier_of(arguments)
    model = arguments.model or earlier.model or targets.default_model()
    targets.plan(model)
    return _Loaded(targets, earlier, model)


def _record(conversation: str | None) -> ChatRecord | Any:
    """Among the conversations of ``polychat log``; ``None`` where this Python has no SQLite."""
    try:
        from ...state.conversations import Conversations
        from .chat_record import ChatRecord
    except ImportError:
        return None
    return ChatRecord(Conversations(), conversation)
