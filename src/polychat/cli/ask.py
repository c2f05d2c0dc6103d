"""``polychat ask``."""

from __future__ import annotations

import argparse
import asyncio
import sys

from ..client import Stream
from ..errors import BadInput, PolychatError
from . import ANSWERED, FAILED, complain, print_json
from .code_blocks import first_block
from .printing import (
    Printer,
    checked,
    code_of,
    failure_line,
    in_json,
    print_sources,
    read_whole,
    report_of,
    usage_line,
    warn_if_cut,
)
from .question import Question, questions_from, recorded
from .stopping import run_to_end


def run(arguments: argparse.Namespace) -> int:
    """Ask and print. What is wrong with the arguments raises ``BadInput`` before anything is sent."""
    if arguments.save is not None:
        from .template_files import save_template

        return save_template(arguments)
    if arguments.compare:
        from .compare import compare, split_models

        models, words = split_models(arguments)
        arguments.prompt += words
        return run_to_end(compare(questions_from(arguments, models), arguments))
    if arguments.execute and (arguments.tools or arguments.mcp or arguments.usage):
        raise BadInput("-e goes without --tools, --mcp and --usage", field="execute")
    question = questions_from(arguments, [arguments.model])[0]
    if arguments.execute:
        from .shell_command import propose

        return propose(question)
    if arguments.tools or arguments.mcp:
        from .ask_tools import ask_with_tools

        return ask_with_tools(question, arguments, _plain)
    reply = question.stream()
    with recorded(question, reply):
        return run_to_end(_whole_json(question, reply) if arguments.json else _plain(question, reply, arguments))


async def _plain(question: Question, reply: Stream, arguments: argparse.Namespace) -> int:
    printer = Printer(sys.stdout)
    extract: bool = arguments.extract
    wait: bool = arguments.no_stream or extract
    try:
        async with reply:
            async for piece in reply:
                if not wait:
                    printer.write(piece)
    except PolychatError as error:
        if wait:
            printer.write(reply.text)
        printer.finish()
        complain(failure_line(error, question.targets))
        return code_of(error)
    except asyncio.CancelledError:
        printer.finish()  # Ctrl-C: the shell's prompt begins on a line of its own
        raise
    if wait:
        printer.write(_extracted(reply.text) if extract else reply.text)
    printer.finish()
    print_sources(reply)
    warn_if_cut(reply)
    whole, failure = checked(reply)
    if arguments.usage:
        print(f"polychat: {usage_line(whole)}", file=sys.stderr)
    if failure is not None:
        complain(failure_line(failure, question.targets))
    return ANSWERED if failure is None else FAILED


def _extracted(text: str) -> str:
    block = first_block(text)
    if block is None:
        complain("the reply has no code block: this is all of it", "note")
    return text if block is None else block


async def _whole_json(question: Question, reply: Stream) -> int:
    whole, failure = await read_whole(reply)
    if failure is not None:
        complain(failure_line(failure, question.targets))
    print_json(report_of(whole, failure), default=in_json)
    return ANSWERED if failure is None else code_of(failure)
