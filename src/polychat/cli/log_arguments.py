"""The arguments of ``polychat log``."""

from __future__ import annotations

import argparse
from typing import Any

_KEPT: dict[str, Any] = {"default": argparse.SUPPRESS}
LATEST = 20
"""Conversations in a list, if nothing else is said."""


def add_log(log: argparse.ArgumentParser) -> None:
    actions = log.add_subparsers(dest="action", metavar="ACTION", title="actions")
    _several(log)
    log.set_defaults(limit=LATEST)
    _several(actions.add_parser("list", help="list the latest conversations (default)"), **_KEPT)
    show = actions.add_parser("show", help="print a conversation")
    show.add_argument("ids", nargs="*", metavar="ID", help="its id, or the beginning of it (default: the latest)")
    search = actions.add_parser("search", help="find conversations by words, or beginnings of words")
    search.add_argument("words", nargs="+", metavar="WORD", help="words that one prompt with its answer must have")
    _several(search, **_KEPT)
    export = actions.add_parser("export", help="print conversations as Markdown or JSON")
    export.add_argument("ids", nargs="*", metavar="ID", help="which (default: all)")
    export.add_argument("--json", action="store_true", help="as one JSON array, with all messages, tokens and costs")
    delete = actions.add_parser("delete", help="delete conversations")
    which = delete.add_mutually_exclusive_group(required=True)
    which.add_argument("ids", nargs="*", default=[], metavar="ID", help="which")
    which.add_argument("--all", action="store_true", help="delete all")
    delete.add_argument("--yes", action="store_true", help="do not ask before all are deleted")
    actions.add_parser("off", help="keep no conversations from now on")
    actions.add_parser("on", help="keep conversations again")
    keep = actions.add_parser("keep", help="show or set for how long a conversation is kept after its last change")
    keep.add_argument("age", nargs="?", metavar="AGE", help="such as 90d; forever removes the limit")
    actions.add_parser("path", help="print the file that conversations are in")


def _several(action: argparse.ArgumentParser, **default: Any) -> None:
    """``default`` of an action's options keeps what stands before the action."""
    action.add_argument("--limit", type=int, metavar="N", help=f"at most so many (default: {LATEST})", **default)
    action.add_argument("--most", dest="limit", type=int, help=argparse.SUPPRESS, **default)  # its earlier name
    action.add_argument("--json", action="store_true", help="print one JSON array", **default)
