"""``polychat log``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from ..errors import BadInput, redact
from ..state.conversations import Conversations, LogEntry, Summary
from ..state.usage_query import age_in
from ..wire.json_text import decoded
from . import ANSWERED, complain, print_json
from .log_arguments import LATEST
from .printing import printable
from .terminal import confirmed

_DAY = 86_400.0


def run(arguments: argparse.Namespace) -> int:
    """One action. Raises ``BadInput`` for what is not kept, ``NotReady`` where the file cannot be used."""
    conversations = Conversations()
    match arguments.action:
        case "show":
            _print(_text(conversations, [conversations.found(name) for name in arguments.ids or [None]]))
        case "export":
            _export(conversations, arguments)
        case "search":
            _print_list(conversations.search(arguments.words, arguments.limit), arguments)
        case "delete":
            _delete(conversations, arguments)
        case "off" | "on":
            conversations.switch(off=arguments.action == "off")
            complain(f"conversations are {'not ' if arguments.action == 'off' else ''}kept from now on", "note")
        case "keep":
            _keep(conversations, arguments.age)
        case "path":
            print(conversations.file)
        case _:
            _print_list(conversations.listed(arguments.limit), arguments)
            if conversations.is_off():
                complain("conversations are not kept: polychat log on", "note")
    return ANSWERED


def _print_list(summaries: Sequence[Summary], arguments: argparse.Namespace) -> None:
    if arguments.json:
        print_json([{**asdict(one), "changed_at": _moment(one.changed_at)} for one in summaries], indent=2)
        return
    for one in summaries:
        count = f"{one.exchanges:>3}"
        _print([f"{one.id}  {_moment(one.changed_at)}  {count}  {one.model}  {one.title}"])
        if one.excerpt:
            _print([f"    {redact(one.excerpt, 120)}"])
    if not arguments.json and arguments.limit == len(summaries) == LATEST:
        complain(f"the latest {LATEST}; --limit N shows more", "note")


def _text(conversations: Conversations, ids: Sequence[str]) -> Iterator[str]:
    """Conversations as Markdown, line by line."""
    for name in ids:
        exchanges = conversations.exchanges(name)
        yield f"# Conversation {name}"
        for number, one in enumerate(exchanges):
            if one.system and (number == 0 or one.system != exchanges[number - 1].system):
                yield from ("", "## System", "", one.system)
            ended = "" if one.verdict == "complete" else f" ({one.verdict})"
            yield from ("", f"## You, {_moment(one.at)}", "", one.prompt, "", f"## {one.model}{ended}", "", one.answer)
        yield ""


def _export(conversations: Conversations, arguments: argparse.Namespace) -> None:
    ids = [conversations.found(name) for name in arguments.ids] or [one.id for one in reversed(conversations.listed())]
    if arguments.json:
        print_json(
            [{"id": name, "exchanges": [_facts(one) for one in conversations.exchanges(name)]} for name in ids], indent=2
        )
    else:
        _print(_text(conversations, ids))


def _facts(exchange: LogEntry) -> dict[str, Any]:
    return {**asdict(exchange), "at": _moment(exchange.at), "messages": decoded(exchange.messages.encode())}


def _delete(conversations: Conversations, arguments: argparse.Namespace) -> None:
    if arguments.all and not arguments.yes and not confirmed("Delete all conversations?"):
        raise BadInput("nothing is deleted: confirm at the terminal, or pass --yes", field="--all")
    count = conversations.delete(None if arguments.all else [conversations.found(name) for name in arguments.ids])
    complain(f"{count:,} deleted", "note")


def _keep(conversations: Conversations, text: str | None) -> None:
    if text is not None:
        age = None if text == "forever" else age_in(text)
        if age is None and text != "forever":
            raise BadInput(f"AGE is {redact(text, 40)!r}: write an age such as 90d, or forever", field="AGE")
        if age is not None and age < _DAY:
            raise BadInput("AGE is less than a day: to delete conversations, see polychat log delete", field="AGE")
        conversations.limit_age(age, time.time())
    limit = conversations.age()
    print("forever" if limit is None else f"{limit / 86_400:g} days")


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().isoformat(" ", "minutes")[:16]


def _print(lines: Sequence[str] | Iterator[str]) -> None:
    """Lines on standard output; on a terminal without what would steer it."""
    is_terminal = sys.stdout.isatty()
    sys.stdout.writelines(f"{printable(line) if is_terminal else line}\n" for line in lines)
