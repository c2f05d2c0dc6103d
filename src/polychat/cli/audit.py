"""``polychat gateway audit``: who changed which key or owner, and when."""

from __future__ import annotations

import argparse
import json
import sys
from time import time

from ..errors import redact
from ..gateway.admin.facts import audit_facts
from ..gateway.storage import store_of
from ..state.usage_query import moment_of
from . import ANSWERED, print_json
from .usage import kept_by

_PATIENCE = 5.0


def run(arguments: argparse.Namespace) -> int:
    """Print the entries, the latest first. Raises ``BadInput`` where nothing is kept, ``StoreUnavailable``."""
    since = moment_of(arguments.since, time(), "--since") if arguments.since else 0.0
    store = store_of(kept_by(arguments.config), patience=_PATIENCE)
    try:
        entries = [audit_facts(entry) for entry in store.audit(since=since, limit=max(0, arguments.limit))]
    finally:
        store.close()
    if arguments.json:
        print_json(entries, indent=2)
    else:
        sys.stdout.writelines(
            f"{entry['at']}  {redact(entry['actor'], 80)}  {entry['action']}  {redact(entry['subject'], 120)}  "
            f"{redact(json.dumps(entry['facts']), 400)}\n"
            for entry in entries
        )
    return ANSWERED
