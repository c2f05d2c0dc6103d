"""Who is measured, each before five backends: polychat as installed, a careful router, and others where they are there."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from ..gateway import others
from ..gateway.processes import Running, free_port

HERE = Path(__file__).parent
KEY = "sk-bench-0123456789abcdef"
MODEL = "m"
ROUTE = "house"
Command = Callable[[int, list[int], Path], list[str]]
"""Of the port, the backends' ports, and a folder for its files."""


@dataclass(frozen=True, eq=False)
class Gateway:
    name: str
    about: str
    command: Command
    headers: Callable[[list[int]], Mapping[str, str]] = lambda _: {}
    env: Mapping[str, str] = field(default_factory=dict)
    model: str = ROUTE


def _addresses(ports: list[int]) -> list[str]:
    return [f"http://127.0.0.1:{port}/v1" for port in ports]


def configuration(ports: list[int], rules: str = "") -> str:
    """polychat.toml: five backends and a route of them all, in order; ``rules`` are lines of the route."""
    lines = ["[gateway.keys]", 'bench = "env:BENCH_KEY"']
    for number, address in enumerate(_addresses(ports)):
        lines += [f"[providers.b{number}]", 'wire = "openai-chat"', f'base_url = "{address}"', 'api_key = "env:BENCH_KEY"']
    targets = ", ".join(f'"b{number}/{MODEL}"' for number in range(len(ports)))
    return "\n".join([*lines, f"[routes.{ROUTE}]", f"targets = [{targets}]", rules]) + "\n"


def _ours(rules: str = "") -> Command:
    def command(port: int, ports: list[int], folder: Path) -> list[str]:
        file = folder / "polychat.toml"
        file.write_text(configuration(ports, rules))
        serve = ["serve", "--config", str(file), "--host", "127.0.0.1", "--port", str(port)]
        return [sys.executable, "-m", "polychat", *serve]

    return command


def _reference(port: int, ports: list[int], _: Path) -> list[str]:
    return [sys.executable, str(HERE / "reference.py"), str(port), *map(str, ports)]


def _litellm(tuned: Mapping[str, object]) -> Command:
    def command(port: int, ports: list[int], folder: Path) -> list[str]:
        models = [
            {"model_name": ROUTE, "litellm_params": {"model": f"openai/{MODEL}", "api_base": address, "api_key": "k"}}
            for address in _addresses(ports)
        ]
        file = folder / "config.yaml"  # JSON is YAML
        whole = {"model_list": models, "general_settings": {"master_key": KEY}, "router_settings": tuned}
        file.write_text(json.dumps(whole))
        command = [str(others.PROGRAMS / "litellm"), "--config", str(file), "--host", "127.0.0.1", "--port", str(port)]
        return [*command, "--num_workers", "1", "--telemetry", "False"]

    return command


_TUNED = {"num_retries": 4, "timeout": 15, "stream_timeout": 2, "allowed_fails": 2, "cooldown_time": 4}
"""Of LiteLLM's router, for backends such as these: what its documentation offers."""


def _portkey(port: int, _: list[int], __: Path) -> list[str]:
    script = str(HERE.parent / "gateway" / "loopback.cjs")
    return ["node", "--require", script, str(others.PORTKEY), f"--port={port}", "--headless"]


def _portkey_headers(ports: list[int]) -> dict[str, str]:
    targets = [{"provider": "openai", "custom_host": address, "api_key": "k"} for address in _addresses(ports)]
    return {"x-portkey-config": json.dumps({"strategy": {"mode": "fallback"}, "targets": targets, "request_timeout": 10_000})}


OURS = Gateway("polychat", "`polychat serve`, all settings as installed", _ours(), env={"BENCH_KEY": KEY})
_HOLD, _GO_ON = "hold = 40\nhold_seconds = 0.5", "continuation = true"
HELD = Gateway("polychat hold", "with `hold = 40`, `hold_seconds = 0.5`", _ours(_HOLD), env={"BENCH_KEY": KEY})
CONTINUED = Gateway("polychat continuation", "with `continuation = true`", _ours(_GO_ON), env={"BENCH_KEY": KEY})
REFERENCE = Gateway("reference", "`benchmarks/chaos/reference.py`", _reference)
NEAR = (OURS, HELD, CONTINUED, REFERENCE)


def peers() -> Iterator[Gateway]:
    """Those that are installed, or could be."""
    if not others.ready():
        return
    quiet = {"LITELLM_LOG": "CRITICAL"}
    yield Gateway("LiteLLM", "its router as installed", _litellm({}), env=quiet)
    yield Gateway("LiteLLM, tuned", f"with {json.dumps(_TUNED)}", _litellm(_TUNED), env=quiet)
    if others.PORTKEY.exists() and shutil.which("node"):
        trusted = {"TRUSTED_CUSTOM_HOSTS": "127.0.0.1"}
        about = "its strategy `fallback`, with `request_timeout` 10,000"
        yield Gateway("Portkey", about, _portkey, _portkey_headers, trusted, MODEL)


@contextmanager
def started(gateway: Gateway, ports: list[int]) -> Iterator[tuple[Running, int]]:
    """Running, not yet known to answer, and its port."""
    with TemporaryDirectory() as folder:
        port = free_port()
        with Running(gateway.command(port, ports, Path(folder)), env=gateway.env) as running:
            yield running, port
