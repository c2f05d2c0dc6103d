"""Which models there are: what the configuration names, what backends name themselves, and what they say when asked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from time import monotonic
from typing import TYPE_CHECKING
from urllib.parse import unquote

from ..errors import PolychatError
from ..providers import find, vendors
from ..wire._json import decoded, encoded
from ..wire.models import ModelInfo, write_models
from .visit import Visit

if TYPE_CHECKING:
    from .setup import Setup

_KEPT = 300.0
"""Seconds for which a backend's own list is believed."""
_SECONDS = 5.0
"""How long it may take to give it."""


class Lists:
    """The lists of backends that are set up here, each asked at most every five minutes, and once for all who wait."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, list[ModelInfo]]] = {}
        self._asking: dict[str, asyncio.Task[list[ModelInfo]]] = {}

    async def of(self, names: Iterable[str]) -> list[ModelInfo]:
        """The models of these vendors as targets; a vendor that gives no list in time has none."""
        found = await asyncio.gather(*(self._of(name) for name in names))
        return [model for listed in found for model in listed]

    async def _of(self, name: str) -> list[ModelInfo]:
        known = self._known.get(name)
        if known is not None and monotonic() - known[0] < _KEPT:
            return known[1]
        if name not in self._asking:
            self._asking[name] = asyncio.create_task(self._ask(name))
        return await asyncio.shield(self._asking[name])

    async def _ask(self, name: str) -> list[ModelInfo]:
        listed: list[ModelInfo] = []
        try:
            found = await find(name).list_models(timeout=_SECONDS)
            listed = [ModelInfo(f"{name}/{one.id}", one.owner or name, one.created, one.context, one.title) for one in found]
        except PolychatError:
            pass  # it is asked again in five minutes; its models can be asked for all the same
        finally:
            del self._asking[name]
        self._known[name] = (monotonic(), listed)
        return listed


async def listed(visit: Visit) -> list[ModelInfo]:
    """All that can be asked for by name here."""
    setup = visit.setup
    known = [ModelInfo(name, name.partition("/")[0] if "/" in name else "polychat") for name in setup.names.listed()]
    given = await visit.gateway.lists.of(_ready(setup))
    names = {one.id for one in given}
    return [*(one for one in known if one.id not in names), *given]


def _ready(setup: Setup) -> list[str]:
    """The vendors that the configuration names, and that have lists which are not spelt out there."""
    return [name for name, row in vendors().items() if name in setup.configured.providers and row.models and not row.serves]


def dialect_of(headers: Mapping[bytes, bytes]) -> str:
    """Whose client asks ``/v1/models``: their headers tell."""
    if b"anthropic-version" in headers:
        return "anthropic"
    agent = headers.get(b"user-agent", b"") + headers.get(b"x-goog-api-client", b"")
    if b"x-goog-api-key" in headers or b"google-genai" in agent:
        return "gemini"
    return "openai-chat"


async def models(visit: Visit) -> None:
    """``/v1/models`` and ``/v1/models/{id}`` for clients of OpenAI, Anthropic and Google, each in its own shape."""
    dialect = visit.door.name
    name = unquote(visit.path.partition("/models")[2].lstrip("/"))
    found = await listed(visit)
    if not name:
        await visit.json(write_models(dialect, found))
        return
    one = next((one for one in found if one.id == name), None)
    if one is None:
        target = visit.setup.names.plan(name).targets[0]  # it can be asked for though no list has it
        one = ModelInfo(name, target.label)
    whole = decoded(write_models(dialect, [one]))
    await visit.json(encoded((whole.get("data") or whole["models"])[0]))


async def tags(visit: Visit) -> None:
    """Ollama's ``/api/tags``."""
    await visit.json(write_models("ollama", await listed(visit)))
