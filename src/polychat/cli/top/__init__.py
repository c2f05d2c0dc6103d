"""``polychat top``: what a running gateway does now."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.util import find_spec
from math import isinf
from shutil import get_terminal_size
from typing import Any
from urllib.parse import urlsplit

from ...config import Config
from ...config.environment import variable
from ...errors import BadInput, MissingPackage
from ...http.server.listening import is_loopback
from ...user.secrets import secret
from .. import ANSWERED, FAILED, complain, print_json
from ..gateway_address import configured_here, gateway_url
from .pages import GatewayPages
from .screen import text_of
from .watching import Watched, Watcher


def run(arguments: argparse.Namespace) -> int:
    """Watch until the person leaves; or print what there is, where nobody watches. Raises ``BadInput``, ``PolychatError``."""
    if not 0.5 <= arguments.interval <= 60:
        raise BadInput("--interval must be from 0.5 to 60 seconds", field="interval")
    configured = configured_here(arguments.config)
    url = gateway_url(configured.gateway, arguments.url)
    watcher = Watcher(GatewayPages(url, _key(configured, url, arguments)))
    if arguments.once or arguments.json or not _is_watched():
        return asyncio.run(_once(watcher, arguments))
    if find_spec("prompt_toolkit") is None:
        raise MissingPackage("prompt_toolkit", extra="chat", purpose="polychat top (polychat top --once works without it)")
    from .live import watched  # for a person at a terminal alone

    return asyncio.run(watched(watcher, arguments.interval))


def _is_watched() -> bool:
    return sys.stdin is not None and sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def _key(configured: Config, url: str, arguments: argparse.Namespace) -> str:
    """That of the variable, or the first of the configuration that may look; empty where there is none.

    Neither goes where a file says that came with a folder, and keys of a configuration only to the address that it names.
    """
    key = variable(arguments.key_variable)
    if configured.from_folder and not arguments.url:
        if key and not is_loopback(urlsplit(url).hostname or ""):
            raise BadInput(
                "./polychat.toml is not trusted with a key: name it as --config polychat.toml, or pass --url", field="config"
            )
        return key
    admin = configured.gateway.admin
    if key or configured.from_folder or (arguments.url and url != gateway_url(configured.gateway.replace(uds=""), None)):
        return key
    name = next((name for name in admin.keys if "read" in admin.scopes.get(name, ("read",))), None)
    return "" if name is None else secret(admin.keys[name], f"gateway.admin.keys.{name}")


async def _once(watcher: Watcher, arguments: argparse.Namespace) -> int:
    """Two looks, between which rates are counted."""
    seen = watcher.seen
    await watcher.look()
    if not seen.lost and "metrics" not in seen.problems:
        await asyncio.sleep(arguments.interval)
        await watcher.look()
    if seen.lost or not seen.is_readable:
        complain(seen.lost or next(iter(seen.problems.values())))
        return FAILED
    now = datetime.now(UTC)
    if arguments.json:
        print_json(_json(seen, now), indent=2)
    else:
        print(text_of(seen, f"{now:%H:%M:%S} UTC", get_terminal_size((120, 24)).columns), end="")
    return ANSWERED


def _json(seen: Watched, now: datetime) -> Mapping[str, Any]:
    rates = seen.rates
    return {
        "gateway": seen.url,
        "time": now.isoformat(timespec="seconds"),
        "version": seen.version,
        "workers": seen.workers,
        "in_flight": seen.in_flight,
        "cost_usd": seen.cost,
        "rates": None
        if rates is None
        else {
            "seconds": round(rates.seconds, 3),
            "requests_per_second": round(rates.requests, 3),
            "prompt_tokens_per_second": round(rates.prompt_tokens, 3),
            "completion_tokens_per_second": round(rates.completion_tokens, 3),
            "time_to_first_token_p50": _finite(rates.p50),
            "time_to_first_token_p95": _finite(rates.p95),
            "verdicts": rates.verdicts,
            "statuses": rates.statuses,
            "fields_dropped": rates.dropped,
            "cost_usd": rates.cost,
        },
        "targets": [{**row._asdict(), "rate": round(row.rate, 3)} for row in seen.targets],
        "running": {"total": seen.running_total, "requests": [row._asdict() for row in seen.running]},
        "spend": None if seen.spend is None else {**seen.spend._asdict(), "names": dict(seen.spend.names)},
        "problems": seen.problems,
    }


def _finite(seconds: float | None) -> float | None:
    return None if seconds is None or isinf(seconds) else round(seconds, 4)
