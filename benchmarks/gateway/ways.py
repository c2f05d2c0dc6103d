"""Who is measured: how each is started on loopback, and in which dialects it is asked for which backend."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from .. import builds
from . import dialects, others
from .processes import Running, free_port
from .upstream import SCENARIOS

HERE = Path(__file__).parent


@dataclass(frozen=True, eq=False)
class Way:
    """One dialect to one backend. ``prefix`` makes a scenario the model's name in that dialect."""

    dialect: str
    backend: str
    prefix: str = ""
    path: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    tools: bool = False
    """Whether its requests have a tool, as those of agents do."""

    @property
    def label(self) -> str:
        label = f"{self.dialect}, passed" if self.dialect == self.backend else f"{self.dialect} to {self.backend}"
        return f"{label}, with a tool" if self.tools else label

    def request(self, port: int, scenario: str) -> bytes:
        content = dialects.body(self.dialect, self.prefix + scenario, stream=SCENARIOS[scenario].pieces > 0, tools=self.tools)
        return dialects.request(
            port, self.path or dialects.PATHS[self.dialect], dialects.headers(self.dialect, self.headers), content
        )


PASSED = Way("openai-chat", "openai-chat")
MINE = Way("openai-chat", "openai-chat", "my-")
FROM_ANTHROPIC = Way("anthropic", "openai-chat", "my-")
TO_ANTHROPIC = Way("openai-chat", "anthropic", "its-")

Command = Callable[[int, int, Path], list[str]]
"""Of the port, the upstream's port, and a folder for its files."""


@dataclass(frozen=True, eq=False)
class Gateway:
    name: str
    command: Command
    ways: tuple[Way, ...] = (PASSED,)
    env: Mapping[str, str] = field(default_factory=dict)
    picks_port: bool = False
    """Whether it listens where it wants, and says so in a line with ``http://``."""
    ours: bool = False
    standin: bool = False
    compiled: bool = False
    """Whether it runs extension modules, which no profiler sees into."""
    slow: bool = False
    """Whether it is measured in fewer rounds, as a round takes long."""
    packages: tuple[str, ...] = ()
    """What of ``others.PINS`` it is made of."""


class Live:
    """One that runs."""

    def __init__(self, gateway: Gateway, running: Running, port: int) -> None:
        self.gateway, self.running, self.port = gateway, running, port

    def request(self, way: Way, scenario: str) -> bytes:
        return way.request(self.port, scenario)


@contextmanager
def started(gateway: Gateway, upstream: int) -> Iterator[Live]:
    """Running, not yet known to answer."""
    with TemporaryDirectory() as folder:
        port = free_port()
        with Running(gateway.command(port, upstream, Path(folder)), env=gateway.env) as running:
            if gateway.picks_port:
                port = int(running.line_with("http://").rpartition(":")[2].partition("/")[0])
            yield Live(gateway, running, port)


_NGINX = """
worker_processes 1; daemon off; pid {folder}/pid; error_log stderr crit; worker_rlimit_nofile {files};
events {{ worker_connections {connections}; }}
http {{
  access_log off; keepalive_requests 100000000; client_body_temp_path {folder}; proxy_temp_path {folder};
  fastcgi_temp_path {folder}; uwsgi_temp_path {folder}; scgi_temp_path {folder};
  upstream house {{ server 127.0.0.1:{upstream}; keepalive 1024; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ proxy_pass http://house; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }}
  }}
}}
"""


def _nginx(port: int, upstream: int, folder: Path) -> list[str]:
    import resource

    # Twice as many connections as files: nginx closes some when fewer than a sixteenth of them are left.
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    file = folder / "nginx.conf"
    file.write_text(_NGINX.format(folder=folder, port=port, upstream=upstream, files=files, connections=2 * files))
    folder.chmod(0o755)
    return ["nginx", "-e", "stderr", "-c", str(file)]


def _standin(port: int, upstream: int, _: Path) -> list[str]:
    return [sys.executable, str(HERE / "standin.py"), str(port), str(upstream)]


def configuration(upstream: int) -> str:
    """polychat.toml with a key, two backends and a route for every scenario to each; all else is as installed."""
    lines = ["[gateway.limits]", "concurrent = 20000", "[gateway.keys]", 'bench = "env:BENCH_KEY"']
    for name, wire, base in (("house", "openai-chat", "/v1"), ("annex", "anthropic", "")):
        lines += [f"[providers.{name}]", f'wire = "{wire}"', f'base_url = "http://127.0.0.1:{upstream}{base}"']
        lines += ['api_key = "env:BENCH_KEY"']
    for scenario in SCENARIOS:
        for prefix, name in (("my-", "house"), ("its-", "annex")):
            lines += [f"[routes.{prefix}{scenario}]", f'targets = ["{name}/{scenario}"]']
    return "\n".join(lines) + "\n"


def _ours(port: int, upstream: int, folder: Path) -> list[str]:
    file = folder / "polychat.toml"
    file.write_text(configuration(upstream))
    serve = ["serve", "--config", str(file), "--host", "127.0.0.1", "--port", str(port)]
    return [sys.executable, "-m", "polychat", *serve]


@cache
def has_gateway() -> bool:
    """Whether this tree has ``polychat serve``."""
    asked = [sys.executable, "-m", "polychat", "serve", "--help"]
    return subprocess.run(asked, capture_output=True, check=False).returncode == 0


NGINX = Gateway("nginx", _nginx)
_WAYS = (MINE, FROM_ANTHROPIC, TO_ANTHROPIC)
OURS = Gateway("polychat", _ours, _WAYS, {"BENCH_KEY": dialects.KEY, "POLYCHAT_PURE": "1"}, ours=True)
COMPILED = Gateway(
    "polychat compiled", _ours, _WAYS, {"BENCH_KEY": dialects.KEY, "PYTHONPATH": str(builds.PLACE)}, ours=True, compiled=True
)
STANDIN = Gateway("stand-in", _standin, ours=True, standin=True)


def ours(wanted: list[str]) -> list[Gateway]:
    """That of the sources, and that of a build of them that this Python compiled, which is built if it is wanted by name."""
    if not builds.is_current():
        if COMPILED.name not in wanted:
            print(f"There is no build of these sources for {COMPILED.name}; naming it in ONLY makes one.", file=sys.stderr)
            return [OURS]
        print("Building the compiled modules for this Python; this takes a few minutes …", file=sys.stderr)
        try:
            builds.build()
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"They cannot be built ({error}); their row is left out.", file=sys.stderr)
            return [OURS]
    return [OURS, COMPILED]


def _litellm(port: int, upstream: int, folder: Path) -> list[str]:
    house = {"api_base": f"http://127.0.0.1:{upstream}/v1", "api_key": "k"}
    annex = {"api_base": f"http://127.0.0.1:{upstream}", "api_key": "k"}
    # Or every request raises, and logs, that this model's price is unknown.
    priced = {"input_cost_per_token": 1e-7, "output_cost_per_token": 1e-7}
    models = [
        {"model_name": f"{prefix}{scenario}", "litellm_params": {"model": f"{vendor}/{scenario}", **where, **priced}}
        for scenario in SCENARIOS
        for prefix, vendor, where in (("my-", "openai", house), ("its-", "anthropic", annex))
    ]
    file = folder / "config.yaml"  # JSON is YAML
    # Else it asks OpenAI's other API, /v1/responses, for requests in Anthropic's dialect.
    settings = {"use_chat_completions_url_for_anthropic_messages": True}
    whole = {"model_list": models, "general_settings": {"master_key": dialects.KEY}, "litellm_settings": settings}
    file.write_text(json.dumps(whole))
    command = [str(others.PROGRAMS / "litellm"), "--config", str(file), "--host", "127.0.0.1", "--port", str(port)]
    return [*command, "--num_workers", "1", "--telemetry", "False"]


def _portkey(port: int, _: int, __: Path) -> list[str]:
    started = ["--require", str(HERE / "loopback.cjs"), str(others.PORTKEY), f"--port={port}", "--headless"]
    return ["node", *started]


def _smg(port: int, upstream: int, _: Path) -> list[str]:
    command = [str(others.PROGRAMS / "smg"), "launch", "--host", "127.0.0.1", "--port", str(port), "--backend", "openai"]
    watched = ["--prometheus-host", "127.0.0.1", "--prometheus-port", str(free_port()), "--log-level", "warn"]
    return [
        *command,
        "--worker-urls",
        f"http://127.0.0.1:{upstream}",
        "--api-key",
        dialects.KEY,
        *watched,
        "--max-concurrent-requests",
        "20000",
    ]


def _tensorzero(_: int, upstream: int, folder: Path) -> list[str]:
    lines = ["[gateway]", "observability.enabled = false"]
    for scenario in SCENARIOS:
        lines += [f"[models.my-{scenario}]", 'routing = ["house"]', f"[models.my-{scenario}.providers.house]"]
        lines += ['type = "openai"', f'model_name = "{scenario}"', f'api_base = "http://127.0.0.1:{upstream}/v1/"']
        lines += ['api_key_location = "none"']
    file = folder / "tensorzero.toml"
    file.write_text("\n".join(lines) + "\n")
    return [str(others.PROGRAMS / "python"), str(HERE / "tensorzeros.py"), str(file)]


def _g4f(port: int, upstream: int, folder: Path) -> list[str]:
    return [str(others.PROGRAMS / "python"), str(HERE / "g4fs.py"), str(port), str(upstream), *SCENARIOS]


def peers(upstream: int) -> list[Gateway]:
    """Those that installed."""
    if not others.ready():
        return []
    where = {"x-portkey-custom-host": f"http://127.0.0.1:{upstream}/v1"}
    portkey = (
        Way("openai-chat", "openai-chat", headers={**where, "x-portkey-provider": "openai"}),
        Way("openai-chat", "anthropic", headers={**where, "x-portkey-provider": "anthropic"}),
    )
    found = [
        Gateway(
            "LiteLLM",
            _litellm,
            (MINE, FROM_ANTHROPIC, TO_ANTHROPIC),
            {"LITELLM_LOG": "ERROR"},
            slow=True,
            packages=("litellm[proxy]",),
        ),
        Gateway("smg", _smg, packages=("smg",)),
        Gateway(
            "TensorZero",
            _tensorzero,
            (Way("openai-chat", "openai-chat", "tensorzero::model_name::my-", "/openai/v1/chat/completions"),),
            picks_port=True,
            packages=("tensorzero",),
        ),
        Gateway("g4f", _g4f, slow=True, packages=("g4f[api]",)),
    ]
    if others.PORTKEY.exists() and shutil.which("node"):
        made_of = (*others.FROM_NPM, *others.OVERRIDES)
        found.insert(1, Gateway("Portkey", _portkey, portkey, {"TRUSTED_CUSTOM_HOSTS": "127.0.0.1"}, packages=made_of))
    return found


def versions(measured: list[Gateway]) -> str:
    """Of what was measured and of what ours stands on, as a line."""
    libraries = [f"{name} {version(name)}" for name in ("starlette", "uvloop", "httptools", "msgspec")]
    peers = [f"{name} {others.PINS[name]}" for gateway in measured for name in gateway.packages]
    return ", ".join([*libraries, *([_nginx_version()] if NGINX in measured else []), *peers])


def _nginx_version() -> str:
    output = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=False).stderr
    return f"nginx {output.strip().rpartition('/')[2].partition(' ')[0]}"
