"""``polychat models``."""

from __future__ import annotations

import argparse

from ..transport import weights
from . import ANSWERED, FAILED, complain


def run(arguments: argparse.Namespace) -> int:
    """List, fetch, find or remove weights."""
    return _ACTIONS[arguments.action or "list"](arguments)
