"""``polychat providers``."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ..providers import every, options_of


def run(arguments: argparse.Namespace) -> int:
    """A form of each provider: what it can do, and how that it works is known."""
    forms = [_form(provider) for provider in every()]
    print(json.dumps(forms, indent=2, ensure_ascii=False) if arguments.json else "\n\n".join(map(_shown, forms)))
    return 0


def _form(provider: type[Any]) -> dict[str, Any]:
    return {
        "name": provider.__name__,
        "url": provider.url,
        "working": provider.working,
        "evidence": provider.evidence,
        "stream": provider.supports_stream,
        "system_message": provider.supports_system_message,
        "message_history": provider.supports_message_history,
        "models": provider.get_models() if hasattr(provider, "get_models") else [],
        "options": list(options_of(provider)),
        "served_by_sites": provider.site is not None,
    }


def _shown(form: dict[str, Any]) -> str:
    can = [word for key, word in _WORDS.items() if form[key]]
    rows = [
        ("", f"{form['name']}  {form['url']}".rstrip()),
        ("working", ("yes" if form["working"] else "no") + (f": {form['evidence']}" if form["evidence"] else "")),
        ("can", ", ".join(can)),
        ("models", ", ".join(form["models"])),
        ("options", ", ".join(form["options"])),
    ]
    return "\n".join(f"  {key:<8} {value}" if key else value for key, value in rows if value)


_WORDS = {
    "stream": "streaming",
    "system_message": "system messages",
    "message_history": "history",
    "served_by_sites": "answered by `polychat sites`",
}
