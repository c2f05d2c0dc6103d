"""``polychat probe``."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, date, datetime
from pathlib import Path
from shutil import get_terminal_size
from textwrap import wrap

from .. import config
from ..backends.backend import Backend
from ..backends.listing import listing
from ..backends.probe import STATES, Probed, probe
from ..backends.registry import Registry
from ..errors import BadInput, NotReady
from ..routing import ModelResolver
from ..state.probes import Probes
from . import ANSWERED, FAILED, complain, print_json

_TOGETHER = 8
"""Probes under way at a time."""
_TARGET = 32
"""Columns of the longest target that others are set beneath."""
_STATE = max(map(len, STATES))


def run(arguments: argparse.Namespace) -> int:
    """Probe the targets, or all that are set up here; 0 where all are reachable."""
    configured = config.load() if arguments.config is None else config.read(Path(arguments.config))
    registry = Registry(configured)
    resolver = ModelResolver(registry)
    targets = [target for name in arguments.targets for target in _meant(resolver, name)] or _set_up(registry)
    results = asyncio.run(_probed(targets, arguments))
    Probes().keep({result.target: _stored(result) for result in results if result.sent})
    if arguments.json:
        print_json([{**asdict(result), "date": _now()} for result in results], indent=2)
    else:
        sys.stdout.writelines(f"{line}\n" for line in _lines(results))
    return ANSWERED if all(result.state == "reachable" for result in results) else FAILED


def _meant(resolver: ModelResolver, name: str) -> Iterator[tuple[str, Backend, str]]:
    """The targets of a route, or the one; a provider alone is probed without a model. Raises ``BadInput``."""
    for target in resolver.plan(name).targets:
        yield target.name, target.backend, target.model


def _set_up(registry: Registry) -> list[tuple[str, Backend, str]]:
    """The services, and the vendors that the configuration names or whose key is set."""
    names = dict.fromkeys([*listing(registry), *(name for name in registry.config.providers)])
    services = [backend for backend in registry.every() if backend.has_page and _has_address(backend)]
    backends = [*services, *(registry.find(name) for name in names)]
    if not backends:
        raise BadInput("no service or vendor is set up: name a target, such as openai, or set a vendor's key", field="TARGET")
    return [(backend.name, backend, backend.default_model) for backend in backends]


def _has_address(backend: Backend) -> bool:
    """Whether a service is known to work, or the environment has its address."""
    try:
        return bool(backend.address())
    except NotReady:
        return False


async def _probed(targets: list[tuple[str, Backend, str]], arguments: argparse.Namespace) -> list[Probed]:
    """In the order of the targets, a few at a time."""
    together = asyncio.Semaphore(_TOGETHER)
    store, today = Probes(), datetime.now(UTC).date()

    async def one(name: str, backend: Backend, model: str) -> Probed:
        async with together:
            ask = arguments.ask and _may_pay(store, today, arguments.budget, name)
            return await probe(backend, model, name, ask=ask, seconds=arguments.timeout)

    return list(await asyncio.gather(*(one(*target) for target in targets)))


def _may_pay(store: Probes, today: date, budget: int, name: str) -> bool:
    try:
        if store.reserve(today, budget):
            return True
        complain(f"{name} gets no request: today's {budget} paid probes are used up (see --budget)", "note")
    except OSError as error:
        complain(f"{name} gets no request, as it could not be counted: {error}", "note")
    return False


def _stored(result: Probed) -> dict[str, str]:
    return {"state": result.state, "step": result.step, "evidence": result.evidence, "date": _now()}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _lines(results: list[Probed]) -> Iterator[str]:
    """A line each; what is wrong is below it, as wide as the terminal."""
    width = min(_TARGET, max((len(result.target) for result in results), default=0))
    columns = get_terminal_size((80, 24)).columns
    for result in results:
        begin = f"{result.target:<{width}}  {result.state:<{_STATE}}  {result.step}, {result.seconds * 1000:.0f} ms"
        if result.state == "reachable" and len(begin) + len(result.evidence) + 2 <= columns:
            yield f"{begin}: {result.evidence}"
            continue
        yield begin
        yield from wrap(result.evidence, max(20, columns), initial_indent="    ", subsequent_indent="    ")
