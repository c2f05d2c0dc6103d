"""``polychat models``."""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import asdict

from ..backends.registry import user_registry
from ..errors import BadInput
from ..user import weights
from ..wire.models import ModelInfo
from . import ANSWERED, FAILED, complain, print_json


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
        case vendor:
            asyncio.run(_served(vendor, arguments))
    return ANSWERED


async def _served(name: str, arguments: argparse.Namespace) -> None:
    backend, _ = user_registry().resolve(name)
    options = {"base_url": arguments.base_url, "proxy": arguments.proxy, "timeout": arguments.timeout}
    served = await backend.list_models(**{name: value for name, value in options.items() if value is not None})
    if not served:
        raise BadInput(f"{name} has no model list: see its documentation", field="name")
    if arguments.json:
        print_json([asdict(model) for model in served])
    else:
        sys.stdout.writelines(f"{name}/{model.id}\n" for model in sorted(served, key=_by_name))


def _by_name(model: ModelInfo) -> str:
    return model.id


def _path(name: str) -> int:
    here = weights.path(name)
    if here is None:
        complain(f"the weights of {name} are not on this machine: run  polychat models pull {name}")
        return FAILED
    print(here)
    return ANSWERED


def _list() -> None:
    for entry in weights.listed():
        model = entry.weights
        location = str(entry.path) if entry.path else f"not here: polychat models pull {model.name}"
        print(f"local/{model.name}  {model.about}, {model.size / 1e6:.0f} MB, {model.licence}\n  {location}")
