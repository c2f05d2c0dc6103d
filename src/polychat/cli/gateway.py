"""``polychat gateway``: what a gateway keeps."""

from __future__ import annotations

import argparse
from importlib import import_module


def run(arguments: argparse.Namespace) -> int:
    """Run the action; each has a module of its own."""
    return int(import_module(f".{arguments.action}", __package__).run(arguments))
