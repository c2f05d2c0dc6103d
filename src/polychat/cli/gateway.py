"""``polychat gateway``: what a gateway keeps."""

from __future__ import annotations

import argparse
from importlib import import_module


def run(arguments: argparse.Namespace) -> int:
    """Run the action: usage, the audit log, or keys and whose they are."""
    module = arguments.action if arguments.action in ("usage", "audit") else "gateway_keys"
    return int(import_module(f".{module}", __package__).run(arguments))
