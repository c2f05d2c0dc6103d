"""``polychat chat``: a conversation in the terminal."""

from __future__ import annotations

import argparse
import asyncio
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any

from ...client.targets import targets_of, user_targets
from ...errors import BadInput, MissingPackage
from ...state.probes import folder
from .. import ANSWERED
from ..connection import connection_options
from ..recording import earlier_of


def run(arguments: argparse.Namespace) -> int:
    """Talk until the person leaves. Raises ``BadInput`` without a terminal, ``MissingPackage`` without the extra."""
    if not (sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()):
        raise BadInput("polychat chat needs a terminal: use polychat ask in a script or a pipe", field="COMMAND")
    try:
        import prompt_toolkit  # noqa: F401
        import rich  # noqa: F401
    except ImportError as error:
        raise MissingPackage(error.name or "rich", extra="chat", purpose="polychat chat") from None
    return asyncio.run(_talk(arguments))


async def _talk(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from ..completion import target_names
    from .conversation import BranchingConversation
    from .prompt import SlashCompleter, typing_session
    from .session import ChatSession

    targets = user_targets() if arguments.config is None else targets_of(arguments.config)
    earlier = earlier_of(arguments)
    model = arguments.model or earlier.model or targets.default_model()
    targets.plan(model)
    options: dict[str, Any] = connection_options(arguments)
    conversation = BranchingConversation(model, arguments.system or earlier.system, earlier.messages)
    record = None if arguments.no_log else _record(earlier.id)
    session = ChatSession(targets, conversation, Console(highlight=False), options, record)
    history = None if arguments.no_log else folder() / "chat_history"
    typing = typing_session(SlashCompleter(session.commands, target_names), session.status, history)
    asyncio.get_running_loop().run_in_executor(None, import_module, f"{__name__}.reply_view")  # while the person types
    session.tell(f"{model}. /help lists the commands; Ctrl-D leaves.")
    while not session.is_over:
        prefilled, session.prefilled = session.prefilled, ""
        try:
            typed = await typing.prompt_async("> ", default=prefilled)
        except KeyboardInterrupt:
            continue
        except EOFError:
            break
        if typed.strip():
            await session.handle(typed.strip())
    with suppress(OSError):
        sys.stdout.flush()
    return ANSWERED


def _record(conversation: str | None) -> Any:
    """Among the conversations of ``polychat log``; ``None`` where this Python has no SQLite."""
    try:
        from ...state.conversations import Conversations
        from .chat_record import ChatRecord
    except ImportError:
        return None
    return ChatRecord(Conversations(), conversation)
