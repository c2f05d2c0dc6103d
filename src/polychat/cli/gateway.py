"""``polychat gateway``: what a gateway keeps."""

from __future__ import annotations

import argparse
from importlib import import_module


def run(arguments: argparse.Namespace) -> int:
    """Run the action: usage, or keys and whose they are."""
    module = "usage" if arguments.action == "usage" else "keys"
    return int(import_module(f".{module}", __package__).run(arguments))
