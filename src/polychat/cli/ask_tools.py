"""``polychat ask`` with tools: replies are shown, and their calls run, until one has none."""

from __future__ import annotations

import argparse
from collections.abc import Awaitable, Callable

from ..client import Stream
from ..errors import BadInput
from ..types import ChatMessage
from . import ANSWERED, FAILED, complain
from .mcp_tools import McpServers
from .printing import checked
from .question import Question, recorded
from .stopping import run_to_end
from .terminal import typed_answer
from .tool_calls import MOST_ROUNDS, Consent, Toolbox, ToolRunner, in_own_thread, seconds_of
from .tool_functions import functions_in

Show = Callable[[Question, Stream, argparse.Namespace], Awaitable[int]]
"""Prints a reply, and gives the exit code."""


def ask_with_tools(question: Question, arguments: argparse.Namespace, show: Show) -> int:
    """Print the replies and run the calls in them. Raises ``BadInput``, and what keeps a server from being used."""
    if arguments.json or arguments.extract:
        raise BadInput("--tools and --mcp go without --json and -x", field="tools")
    toolbox, seconds = Toolbox(), seconds_of(arguments.tool_timeout)
    for module in dict.fromkeys(arguments.tools):
        toolbox.add(module, functions_in(module))
    runner = ToolRunner(toolbox, Consent(_answer, allows_all=arguments.yes), complain, seconds)
    return run_to_end(_connected(question, arguments, runner, show))


async def _connected(question: Question, arguments: argparse.Namespace, runner: ToolRunner, show: Show) -> int:
    servers = McpServers(question.targets.registry.config.mcp, runner.toolbox, runner.seconds)
    try:
        for name in dict.fromkeys(arguments.mcp):
            await servers.add(name)
        return await _rounds(question, arguments, runner, show)
    finally:
        await servers.close()


async def _rounds(question: Question, arguments: argparse.Namespace, runner: ToolRunner, show: Show) -> int:
    question.options["tools"] = [tool.tool for tool in runner.toolbox.tools.values()]
    more: list[ChatMessage] = []
    for _ in range(MOST_ROUNDS):
        reply = question.stream(*more)
        with recorded(question, reply, more):
            code = await show(question, reply, arguments)
        if code != ANSWERED or not reply.tool_calls:
            return code
        calls = reply.tool_calls
        more += [checked(reply)[0].turn(), await runner.results_of(calls)]
    complain(f"stopped after {MOST_ROUNDS} rounds of tool calls")
    return FAILED


async def _answer(question: str) -> str | None:
    return await in_own_thread(lambda: typed_answer(question))
