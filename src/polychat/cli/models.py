"""``polychat models``."""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import asdict
from typing import NamedTuple

from ..backends.backend import Backend
from ..backends.listing import listing
from ..backends.registry import Registry, user_registry
from ..config import Config
from ..costs import cost_of
from ..errors import BadInput, PolychatError
from ..events import Usage
from ..user import weights
from ..wire.models import ModelInfo
from . import ANSWERED, FAILED, complain, print_json
from .printing import printable

_TOKENS = 1_000
"""That a price is computed of: beyond more than so many some models cost more a token."""


def run(arguments: argparse.Namespace) -> int:
    """List what a vendor serves, or list, fetch, find or remove weights."""
    match arguments.what:
        case "pull":
            print(weights.pull(arguments.name))
        case "path":
            return _path(arguments.name)
        case "rm":
            gone = weights.remove(arguments.name)
            complain(f"{arguments.name} is {'removed' if gone else 'not on this machine'}", "note")
        case "list":
            _list()
        case "all":
            return asyncio.run(_all(arguments))
        case vendor:
            asyncio.run(_served(vendor, arguments))
    return ANSWERED


async def _served(name: str, arguments: argparse.Namespace) -> None:
    registry = user_registry()
    backend, _ = registry.resolve(name)
    served = await _models(backend, arguments)
    if not served:
        raise BadInput(f"{name} has no model list: see its documentation", field="name")
    if arguments.json:
        print_json([asdict(model) for model in served])
    else:
        _print([_Listed(name, model, _rates(registry.config, backend, model)) for model in served], arguments)


async def _all(arguments: argparse.Namespace) -> int:
    """The models of all vendors that are set up here; one that does not answer is reported, and the others are listed."""
    if arguments.base_url is not None:
        raise BadInput("--base-url is the address of one vendor: name it in place of all", field="base_url")
    registry = user_registry()
    backends = [registry.find(name) for name in listing(registry)]
    if not backends:
        raise BadInput("no vendor is set up: set a vendor's key (polychat keys), or see polychat setup", field="VENDOR")
    answers = await asyncio.gather(*(_models(backend, arguments) for backend in backends), return_exceptions=True)
    found: list[_Listed] = []
    for backend, answer in zip(backends, answers, strict=True):
        if isinstance(answer, PolychatError):
            complain(f"{backend.label}: {answer}", "warning")
        elif isinstance(answer, BaseException):
            raise answer
        else:
            found += [_Listed(backend.label, model, _rates(registry.config, backend, model)) for model in answer]
    if arguments.json:
        rows = [{"target": one.target, **asdict(one.model), "price": one.rates} for one in found]
        print_json(rows)
    else:
        _print(found, arguments)
    return ANSWERED if found else FAILED


async def _models(backend: Backend, arguments: argparse.Namespace) -> list[ModelInfo]:
    options = {"base_url": arguments.base_url, "proxy": arguments.proxy, "timeout": arguments.timeout}
    return await backend.list_models(**{name: value for name, value in options.items() if value is not None})


class _Listed(NamedTuple):
    """A model in a list."""

    vendor: str
    model: ModelInfo
    rates: tuple[float, float] | None
    """US dollars of a million tokens of prompts, and of replies; ``None`` if no price is known."""

    @property
    def target(self) -> str:
        return f"{self.vendor}/{self.model.id}"


def _rates(configured: Config, backend: Backend, model: ModelInfo) -> tuple[float, float] | None:
    usages = Usage(_TOKENS, 0), Usage(0, _TOKENS)
    prompt, reply = (cost_of(configured.prices, backend.name, backend.url, model.id, usage) for usage in usages)
    scale = 1_000_000 / _TOKENS
    return None if prompt is None or reply is None else (round(prompt * scale, 6), round(reply * scale, 6))


def _print(found: list[_Listed], arguments: argparse.Namespace) -> None:
    """Their names, a line each, or with ``--long`` a table."""
    ordered = sorted(found, key=lambda one: one.target)
    if not arguments.long:
        sys.stdout.writelines(f"{printable(one.target)}\n" for one in ordered)
        return
    width = max((len(one.target) for one in ordered), default=0)
    for one in ordered:
        context = f"{one.model.context:,}" if one.model.context else "?"
        price = "?" if one.rates is None else f"${one.rates[0]:g} / ${one.rates[1]:g}"
        abilities = ", ".join(name for name, has in one.model.can.items() if has)
        print(f"{printable(one.target):<{width}}  {context:>10}  {price:<16}  {abilities}".rstrip())


def _path(name: str) -> int:
    here = weights.path(name)
    if here is None:
        complain(f"the weights of {name} are not on this machine: run  polychat models pull {name}")
        return FAILED
    print(here)
    return ANSWERED


def _list() -> None:
    if not all(backend.is_installed for backend in Registry(Config()).every()):
        complain('none of these can be used here yet: pip install "polychat[local]"', "note")
    for entry in weights.listed():
        model = entry.weights
        location = str(entry.path) if entry.path else f"not here: polychat models pull {model.name}"
        print(f"local/{model.name}  {model.about}, {model.size / 1e6:.0f} MB, {model.licence}\n  {location}")
