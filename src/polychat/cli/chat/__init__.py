"""``polychat chat``: a conversation in the terminal."""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from ...errors import BadInput, MissingPackage
from .. import ANSWERED
from ..stopping import ENDS, run_to_end, stopped_by

if TYPE_CHECKING:
    from .opening import ChatOpening


def run(arguments: argparse.Namespace) -> int:
    """Talk until the person leaves. Raises ``BadInput`` without a terminal, ``MissingPackage`` without the extra."""
    if not (sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()):
        raise BadInput("polychat chat needs a terminal: use polychat ask in a script or a pipe", field="COMMAND")
    gc.disable()  # until all is loaded: collections meanwhile find nothing
    try:
        import prompt_toolkit  # noqa: F401
        import rich  # noqa: F401
    except ImportError as error:
        raise MissingPackage(error.name or "rich", extra="chat", purpose="polychat chat") from None
    return run_to_end(_talk(arguments))


async def _talk(arguments: argparse.Namespace) -> int:
    from .opening import ChatOpening

    opening = ChatOpening(arguments)
    try:
        await _conversation(arguments, opening)
    finally:
        await opening.close()
    with suppress(OSError):
        sys.stdout.flush()
    return ANSWERED


async def _conversation(arguments: argparse.Namespace, opening: ChatOpening) -> None:
    """Until the person leaves."""
    from ...state.probes import folder
    from ..completion import target_names
    from .prompt import SlashCompleter, typing_session

    if arguments.continues or arguments.conversation is not None or arguments.tools or arguments.mcp:
        await opening.session()  # where there is no such conversation or tool, no prompt is shown
    history = None if arguments.no_log else folder() / "chat_history"
    completer = SlashCompleter(opening.commands, target_names, opening.server_names)
    typing = typing_session(completer, opening.status, history)
    model = f"{arguments.model}. " if arguments.model else ""
    print(f"{model}/help lists the commands; Ctrl-D leaves.")
    task = asyncio.current_task()
    assert task is not None  # it runs in one
    prefilled = ""
    while True:
        try:
            with stopped_by(task.cancel, *ENDS):
                typed = await typing.prompt_async("> ", default=prefilled, pre_run=partial(opening.begin, typing))
        except KeyboardInterrupt:
            continue
        except EOFError:
            break
        session = await opening.session()
        if typed.strip():
            await session.handle(typed.strip())
        if session.is_over:
            break
        prefilled, session.prefilled = session.prefilled, ""
