"""``polychat ask --compare``: one prompt to several models at once."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence

from ..errors import BadInput
from . import ANSWERED, FAILED, complain, print_json
from .printing import Printer, failure_line, in_json, print_sources, read_whole, report_of, usage_line
from .question import Question, recorded
from .terminal import is_piped


def split_models(arguments: argparse.Namespace) -> tuple[list[str], list[str]]:
    """The models and the words of the prompt among the values of ``--compare``: no model's name has a blank in it.

    Raises ``BadInput`` for fewer than two models, and beside arguments that are for one.
    """
    names = ("model", "extract", "execute", "continues", "conversation", "tools", "mcp")
    if any(getattr(arguments, name) for name in names):
        raise BadInput("--compare goes without -m, -x, -e, -c, --conversation, --tools and --mcp", field="compare")
    values = arguments.compare
    cut = next((place for place, value in enumerate(values) if len(value.split()) > 1), len(values))
    if cut < 2:
        raise BadInput("--compare needs two models or more: --compare openai/gpt-4o-mini groq/llama-3.3-70b", field="compare")
    if cut == len(values) and not arguments.prompt and not arguments.template and not is_piped():
        raise BadInput(
            "--compare takes words without a blank as models: write the prompt before it, polychat ask Why? --compare a/x b/y",
            field="prompt",
        )
    return list(values[:cut]), list(values[cut:])


async def compare(questions: Sequence[Question], arguments: argparse.Namespace) -> int:
    """Ask all at once, and print each answer under its model's name, in their order; 0 if all have answered."""
    replies = [question.stream() for question in questions]  # what is wrong with one is raised before any is sent
    tasks = [asyncio.create_task(read_whole(reply)) for reply in replies]
    printer, reports, failed = Printer(sys.stdout), [], False
    for question, reply, task in zip(questions, replies, tasks, strict=True):
        with recorded(question, reply):
            whole, failure = await task
        failed = failed or failure is not None
        if arguments.json:
            reports.append(report_of(whole, failure))
        else:
            printer.write(f"## {question.model}\n\n{whole.text}")
            printer.finish()
            printer.write("" if question is questions[-1] else "\n")
            print_sources(reply)
        if arguments.usage:
            print(f"polychat: {question.model}: {usage_line(whole)}", file=sys.stderr)
        if failure is not None:
            complain(f"{question.model}: {failure_line(failure, question.targets)}")
    if arguments.json:
        print_json(reports, default=in_json)
    return FAILED if failed else ANSWERED
