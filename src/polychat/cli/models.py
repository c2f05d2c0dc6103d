"""``polychat models``."""

from __future__ import annotations

import argparse

from ..transport import weights
from . import ANSWERED, FAILED, complain


def run(arguments: argparse.Namespace) -> int:
    """List, fetch, find or remove weights."""
    match arguments.action:
        case "pull":
            print(weights.pull(arguments.name))
        case "path":
            return _path(arguments.name)
        case "rm":
            gone = weights.remove(arguments.name)
            complain(f"{arguments.name} is {'removed' if gone else 'not here'}", "note")
        case _:
            _list()
    return ANSWERED


def _path(name: str) -> int:
    here = weights.path(name)
    if here is None:
        complain(f"the weights of {name} are not here: run  polychat models pull {name}")
        return FAILED
    print(here)
    return ANSWERED


def _list() -> None:
    for entry in weights.listed():
        known = entry.weights
        where = str(entry.path) if entry.path else f"not here: polychat models pull {known.name}"
        print(f"local/{known.name}  {known.about}, {known.size / 1e6:.0f} MB, {known.licence}\n  {where}")
