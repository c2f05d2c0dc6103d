"""The arguments of ``polychat ask``."""

from __future__ import annotations

import argparse

from .connection import add_connection


def add_ask(ask: argparse.ArgumentParser) -> None:
    ask.add_argument(
        "prompt",
        nargs="*",
        metavar="PROMPT",
        help="the prompt; input from a pipe or a file stands before it; - reads standard input alone",
    )
    ask.add_argument(
        "-m",
        "--model",
        metavar="MODEL",
        help="provider/model, a route, an alias, a model name, a file such as ./model.gguf, or several separated by commas as "
        "fallbacks in that order (default: see polychat default)",
    )
    _request(ask.add_argument_group("the request"))
    add_tools(ask.add_argument_group("tools"))
    add_conversation(ask.add_argument_group("the conversation"))
    _output(ask.add_argument_group("the output"))
    add_connection(ask)


def _request(ask: argparse._ArgumentGroup) -> None:
    ask.add_argument(
        "--compare",
        nargs="+",
        metavar="NAME",
        help="ask these models instead, all at once, and print each answer under its model's name",
    )
    ask.add_argument("-t", "--template", metavar="NAME|FILE", help="a template to fill (see: polychat templates)")
    ask.add_argument(
        "-p",
        "--param",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="the value of a template's variable $NAME; repeatable",
    )
    ask.add_argument("-s", "--system", metavar="TEXT", help="a system message to send before the prompt")
    ask.add_argument(
        "-f",
        "--file",
        metavar="FILE|URL|DIR",
        action="append",
        default=[],
        help="a document to attach, or the text files below a folder; repeatable",
    )
    ask.add_argument("-a", "--image", metavar="FILE|URL", action="append", default=[], help="an image to attach; repeatable")
    ask.add_argument(
        "--schema",
        metavar="FILE|FIELDS",
        help="the JSON schema that the reply must meet, or its fields: 'name, age int, tags: list[str]'; the exit code is 1 if "
        "the reply does not meet it",
    )
    ask.add_argument(
        "--reasoning",
        metavar="EFFORT|TOKENS",
        help="reasoning effort: none, minimal, low, medium, high, xhigh, or a number of tokens",
    )
    ask.add_argument(
        "-o",
        "--option",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="a provider option, such as page=/chat/ or temperature=0.2 (see: polychat providers); repeatable",
    )
    ask.add_argument(
        "--on-loss",
        choices=("refuse", "warn", "allow"),
        help=(
            "what to do if the backend does not support a field of the request (default: refuse only what "
            "changes the form of the reply)"
        ),
    )


def add_tools(ask: argparse._ArgumentGroup) -> None:
    """Which tools the model may call, and how."""
    ask.add_argument(
        "--tools",
        metavar="MODULE|FILE.py",
        action="append",
        default=[],
        help="functions that the model may call: the public ones of a Python module, with type hints; repeatable",
    )
    ask.add_argument(
        "--mcp",
        metavar="COMMAND|URL|NAME",
        action="append",
        default=[],
        help="an MCP server whose tools the model may call: a command line in quotes, a URL, or a name from [mcp] of "
        "polychat.toml; repeatable",
    )
    ask.add_argument("--yes", action="store_true", help="run the model's calls without asking; they are shown all the same")
    ask.add_argument(
        "--tool-timeout",
        metavar="SECONDS",
        type=float,
        help="timeout for one call, and for the start of an MCP server (default: 120)",
    )


def add_conversation(ask: argparse._ArgumentGroup) -> None:
    """Which conversation goes on, and whether it is kept."""
    choice = ask.add_mutually_exclusive_group()
    choice.add_argument(
        "-c", "--continue", dest="continues", action="store_true", help="go on with the latest conversation (see: polychat log)"
    )
    choice.add_argument("--conversation", metavar="ID", help="go on with this one; the beginning of its id is enough")
    ask.add_argument("-n", "--no-log", action="store_true", help="keep no record of this")


def _output(ask: argparse._ArgumentGroup) -> None:
    ask.add_argument("--usage", action="store_true", help="print tokens and cost to standard error")
    ask.add_argument("--no-stream", action="store_true", help="print the reply only when it is complete")
    ask.add_argument(
        "--save", metavar="NAME", help="keep the prompt, -m, -s, -o and --schema as a template for -t, and send nothing"
    )
    form = ask.add_mutually_exclusive_group()
    form.add_argument(
        "-e", "--execute", action="store_true", help="ask for a shell command, show it, and run it when you confirm"
    )
    form.add_argument("-x", "--extract", action="store_true", help="print only the first code block of the reply")
    form.add_argument(
        "--json", action="store_true", help="print the whole reply as one JSON object: text, verdict, usage, cost"
    )
