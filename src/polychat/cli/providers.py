"""``polychat providers``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from ..backends.keys import key_source
from ..backends.registry import user_registry
from ..calls.call import options_of
from ..config.vendor_spec import VendorSpec
from ..errors import redact
from ..providers import every
from ..redact import bare_url
from ..state.probes import Probes
from . import print_json


def run(arguments: argparse.Namespace) -> int:
    """A form of each provider: what it can do, and how that it works is known; then the API vendors."""
    probes = Probes().kept()
    forms = [_form(provider, probes.get(provider.__name__.lower())) for provider in every()]
    rows = sorted(user_registry().vendors().values(), key=lambda row: row.name)
    if arguments.json:
        print_json([*forms, *map(_vendor, rows)], indent=2)
        return 0
    print("\n\n".join(map(_shown, forms)))
    print("\nAPI vendors (vendor/model), with the variable that holds the key:\n")
    width = max(len(row.name) for row in rows)
    for row in rows:
        key = row.key[0] if row.key else "no key"
        key += ", set" if key_source(row) else " (optional)" if row.key and row.key_optional else ""
        print(f"  {row.name:<{width}}  {key:<34}  {bare_url(row.base_url)}")
    print("\nKeys, and where they are set: polychat keys")
    return 0


def _vendor(row: VendorSpec) -> dict[str, Any]:
    return {
        "name": row.name,
        "title": row.title,
        "url": bare_url(row.base_url),
        "wire": row.wire,
        "key": list(row.key),
        "key_set": bool(key_source(row)),
        "can": list(row.can),
        "embeddings": row.embeddings,
        "source": row.source,
        "note": row.note,
    }


def working_by(probed: Mapping[str, Any] | None) -> bool | None:
    """Whether a provider works, by its latest probe; ``None`` if that does not show it.

    That a page exists shows nothing about its chat, and what this machine lacks nothing about the service.
    """
    match probed:
        case {"state": "reachable", "step": "ask"}:
            return True
        case {"state": "challenged" | "gone" | "protocol changed" | "failing"}:
            return False
    return None


def _form(provider: type[Any], probed: Mapping[str, Any] | None) -> dict[str, Any]:
    working, evidence = provider.working, provider.evidence
    if probed is not None and (shown := working_by(probed)) is not None:
        working = shown
        evidence = f"probed {probed['date'][:10]}: {probed['state']}: {redact(str(probed.get('evidence', '')), 200)}"
    return {
        "name": provider.__name__,
        "url": provider.url,
        "working": working,
        "evidence": evidence,
        "stream": provider.supports_stream,
        "system_message": provider.supports_system_message,
        "message_history": provider.supports_message_history,
        "models": provider.models_of(),
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
