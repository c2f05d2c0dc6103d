"""``polychat setup`` without a program: what of this machine can answer, and a polychat.toml that uses it."""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import re
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import urlsplit

from .. import config
from ..backends.backend import Backend
from ..backends.keys import has_key, key_source
from ..backends.registry import Registry, user_registry
from ..client.targets import DEFAULT_MODEL, Targets
from ..config.vendor_spec import VendorSpec
from ..config.writing import value_text
from ..errors import PolychatError, redact
from ..redact import bare_url
from ..transport import StreamSession
from ..user import weights
from ..user.whole_files import save_whole
from ..wire.models import ModelInfo
from . import ANSWERED

_SECONDS = 5.0
_OTHER = re.compile(
    r"embed|rerank|whisper|tts|audio|realtime|transcri|speech|image|imagen|dall-e|sora|veo|video|moderation|guard|ocr|live"
    r"|babbage|davinci|instruct-0914|search|computer|native|codex|aqa|learnlm|robotics|deep-research",
    re.IGNORECASE,
)
"""In names of models that are for something other than a chat, or for one kind of it."""
_CHEAP = re.compile(r"(^|[-/.:])(mini|flash|haiku|small|instant|lite|chat)($|[-/.:])", re.IGNORECASE)
_SHOWN = 5
"""Models that are named of each backend."""


class Found(NamedTuple):
    """A backend that this machine can use, or could."""

    name: str
    title: str
    place: str
    """Where its key is from, or its address."""
    is_local: bool
    models: Sequence[str] = ()
    problem: str = ""
    """Why it does not answer; empty if it does."""
    proposed: str = ""
    """The one of its models to begin with."""


def set_up(arguments: argparse.Namespace) -> int:
    """Print what was found, and write the file where that is wanted."""
    registry = user_registry()
    found = asyncio.run(_found(registry))
    print("\n".join(_report(found)))
    model = _default_model(arguments.model, found, registry)
    text = "\n".join(_file_text(found, model)) + "\n"
    file = config.folder() / config.FILE
    if file.exists():
        print(f"\n{file} exists and stays as it is. polychat default MODEL changes its default model.")
        return ANSWERED
    print(f"\nProposed for {file}:\n\n{text}")
    if not (arguments.write or _agreed(f"Write {file}?")):
        return ANSWERED
    save_whole(file, text.encode())
    print(f"{file} is written. Try it:  polychat ask 'Hello'")
    return ANSWERED


async def _found(registry: Registry) -> list[Found]:
    """Vendors whose key is set, then servers on this machine, each asked for its models, which costs nothing."""
    rows = [row for row in registry.vendors().values() if row.models and "-" not in row.name.removeprefix("azure-")]
    keyed = [row for row in rows if not _is_here(row) and not row.key_optional and has_key(row)]
    servers = list({row.base_url: row for row in reversed(rows) if _is_here(row)}.values())[::-1]
    looked = await asyncio.gather(*(_looked(registry.find(row.name), row) for row in (*keyed, *servers)))
    return [found for found in looked if not (found.is_local and found.problem)]


async def _looked(backend: Backend, row: VendorSpec) -> Found:
    is_here = _is_here(row)
    found = Found(row.name, row.title, bare_url(backend.address()) if is_here else f"key from {key_source(row)}", is_here)
    try:
        async with asyncio.timeout(_SECONDS):
            models = await backend.list_models(timeout=_SECONDS)
            if is_here and await _is_gateway(found.place):
                return found._replace(problem="it is a gateway of polychat")
    except TimeoutError:
        return found._replace(problem=f"no answer within {_SECONDS:g} s")
    except PolychatError as error:
        return found._replace(problem=redact(str(error), 200))
    return found._replace(models=[model.id for model in models], proposed=proposed_of(models))


def proposed_of(models: Sequence[ModelInfo]) -> str:
    """The newest chat model among those whose names tell that they cost little, or else of all; empty if there is none."""
    chats = [model for model in models if not _OTHER.search(model.id)] or [*models]
    cheap = [model for model in chats if _CHEAP.search(model.id)] or chats
    return max(cheap, key=lambda model: model.created or 0).id if cheap else ""


async def _is_gateway(url: str) -> bool:
    """Whether a gateway answers there: its usual port is that of vLLM too."""
    parts = urlsplit(url)
    async with StreamSession(timeout=_SECONDS) as session, session.get(f"{parts.scheme}://{parts.netloc}/health") as response:
        return await response.read() == b"ok\n"


def _is_here(row: VendorSpec) -> bool:
    """Whether it is a server on this machine."""
    host = urlsplit(row.base_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _report(found: Sequence[Found]) -> Iterator[str]:
    """Lines for a person."""
    for title, is_local in (("API vendors whose key is set", False), ("Servers on this machine", True)):
        yield f"{title}:"
        those = [one for one in found if one.is_local is is_local]
        for one in those:
            yield f"  {one.name:<12} {one.place}: {one.problem or _named(one.models)}"
        if not those:
            yield "  none"
    yield "The embedded model:"
    for entry in weights.listed():
        state = "is on this machine" if entry.path else f"polychat models pull {entry.weights.name}  downloads it"
        yield f"  local/{entry.weights.name}: {state} ({entry.weights.size / 1e6:.0f} MB)"


def _named(models: Sequence[str]) -> str:
    if not models:
        return "no models"
    more = f", … ({len(models)} models)" if len(models) > _SHOWN else ""
    return ", ".join(redact(model, 60) for model in models[:_SHOWN]) + more


def _default_model(wanted: str | None, found: Sequence[Found], registry: Registry) -> str:
    """Raises ``UnknownTarget`` for one that does not exist."""
    if wanted is not None:
        Targets(registry).plan(wanted)
        return wanted
    usable = sorted((one for one in found if one.proposed), key=lambda one: not one.is_local)  # what costs nothing first
    return next((f"{one.name}/{one.proposed}" for one in usable), DEFAULT_MODEL)


def _file_text(found: Sequence[Found], model: str) -> Iterator[str]:
    yield f"# Written by polychat setup on {datetime.now(UTC).date()}. polychat config show lists all settings."
    yield ""
    yield "# The model that answers if none is named."
    yield f"default_model = {value_text(model)}"
    usable = [one for one in found if one.models and not one.problem]
    if usable:
        yield ""
        yield "# These need no entry here. Each is asked as NAME/MODEL:"
        for one in usable:
            yield f"#   {one.name}/{redact(one.proposed, 60)}: {one.title}, {one.place}"
    yield ""
    yield "# A route gives several targets one name, of which the first that works answers:"
    yield "# [routes.main]"
    targets = [f"{one.name}/{one.proposed}" for one in usable][:3] or [DEFAULT_MODEL]
    yield f"# targets = {value_text(targets)}"


def _agreed(question: str) -> bool:
    if not (sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty()):
        print("To write it:  polychat setup --write")
        return False
    try:
        is_agreed = input(f"{question} [Y/n] ").strip().lower() in ("", "y", "yes")
    except EOFError:
        print()
        is_agreed = False
    if not is_agreed:
        print("Nothing was written. To write it:  polychat setup --write")
    return is_agreed
