"""Kind: a key or a prompt goes to the wrong address. Every way of asking is walked; nothing but loopback is reached."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import polychat
from polychat import config, errors
from polychat.backends.builtin import known
from polychat.backends.keys import address, key_header
from polychat.backends.registry import Registry
from polychat.config.settings import GatewaySettings
from polychat.events import Finish, Text
from polychat.gateway.paths import DIALECTS
from polychat.gateway.process.source import ConfigSource
from polychat.gateway.runtime import Runtime
from polychat.providers import Vendor, every, find, resolve
from polychat.routing import Health, ModelResolver
from polychat.types import ChatMessage, ChatRequest, TextPart
from polychat.wire.embeddings import Embed

from ..support.command import run
from ..support.running_gateway import ASKS, BASES, asking, configured, gateway
from ..support.scripted_server import Say, Seen
from ..support.scripted_vendors import ScriptedVendor

HELLO = [{"role": "user", "content": "hi"}]
ANSWER = [[Text("hello")], [Finish("complete", "stop")]]
DEAD = [provider for provider in every() if not provider.working]
KEY = "sk-from-the-environment"


class Everything(ScriptedVendor):
    """A vendor's API with its lists, counts and vectors too."""

    async def __call__(self, seen: Seen, say: Say) -> None:
        if seen.method == "GET":
            self.seen.append(seen)
            await say.whole({"object": "list", "data": [{"id": "m", "object": "model"}], "models": []})
        elif seen.path.endswith("/embeddings"):
            self.seen.append(seen)
            await say.whole({"data": [{"embedding": [0.5], "index": 0}], "model": "m", "usage": {"prompt_tokens": 1}})
        elif seen.path.endswith("count_tokens"):
            self.seen.append(seen)
            await say.whole({"input_tokens": 3})
        else:
            await super().__call__(seen, say)


async def _pieces(vendor: type[Vendor]) -> object:
    return [piece async for piece in vendor.create_async_generator("m", HELLO)]


async def _events(vendor: type[Vendor]) -> object:
    return [batch async for batch in vendor.events("m", HELLO)]


async def _streamed(vendor: type[Vendor]) -> object:
    async with polychat.stream("hi", model=f"{vendor.row.name}/m") as reply:
        return [piece async for piece in reply]


WAYS: dict[str, Callable[[type[Vendor]], Any]] = {
    "ask": lambda vendor: polychat.ask("hi", model=f"{vendor.row.name}/m"),
    "stream": _streamed,
    "Client": lambda vendor: polychat.Client(f"{vendor.row.name}/m").chat.completions.create(messages=HELLO),
    "create_async": lambda vendor: vendor.create_async("m", HELLO),
    "create_async_generator": _pieces,
    "create_completion": lambda vendor: asyncio.to_thread(lambda: list(vendor.create_completion("m", HELLO))),
    "events": _events,
    "list_models": lambda vendor: vendor.list_models(),
    "embed": lambda vendor: vendor.embed(Embed("m", ["hi"])),
    "count": lambda vendor: vendor.count(ChatRequest("m", [ChatMessage("user", [TextPart("hi")])])),
}
"""Every public way to ask a vendor."""


def test_the_ways_are_all_there_are() -> None:
    """Whatever coroutine or generator a vendor offers is walked here."""
    offered = {
        name
        for name, method in inspect.getmembers(Vendor, inspect.ismethod)
        if not name.startswith("_") and "proxy" in inspect.signature(method).parameters
    }
    assert offered - WAYS.keys() == {"answers"}, "`ask` and `stream` go by answers"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["openai", "anthropic", "openai-responses"])
async def test_the_environment_moves_every_way_of_asking(
    serve: Any, monkeypatch: pytest.MonkeyPatch, name: str, way: str
) -> None:
    """``<VENDOR>_BASE_URL``: nothing else is asked, with or without an argument."""
    vendor = find(name)
    assert issubclass(vendor, Vendor)
    if (way == "embed" and not vendor.row.embeddings) or (way == "count" and name != "anthropic"):
        pytest.skip("the vendor has nothing of the kind")
    dialect = Everything(vendor.row.wire, ANSWER)
    server = await serve(dialect)
    monkeypatch.setenv(f"{name.upper().replace('-', '_')}_BASE_URL", server.url + BASES[vendor.row.wire])
    monkeypatch.setenv(vendor.row.key[0], KEY)
    await WAYS[way](vendor)
    assert len(dialect.seen) == 1
    assert KEY in " ".join(dialect.seen[0].headers.values())


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_the_environment_moves_what_the_gateway_asks(serve: Any, monkeypatch: pytest.MonkeyPatch, dialect: str) -> None:
    """Relays and translations, and the chat sites' endpoints."""
    backend = Everything("openai-chat", ANSWER)
    server = await serve(backend)
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server.url}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    async with gateway(configured({}, sites="openai/m")) as here:
        for streamed in (False, True):
            answer = await here.ask(*asking(dialect, "openai/m", stream=streamed))
            assert answer.status == 200
        form = {"content-type": "application/x-www-form-urlencoded"}
        site_answer = await here.ask("/sites/chatgptduo/", b"prompt=hi&search=hi&purpose=ask", headers=form)
        assert json.loads(site_answer.body)["answer"] == "hello"
    assert len(backend.seen) == 3


HOSTS = {
    "box": "http://box:11434",
    "box:99": "http://box:99",
    "0.0.0.0": "http://127.0.0.1:11434",
    "0.0.0.0:99": "http://127.0.0.1:99",
    ":99": "http://127.0.0.1:99",
    "[::1]:99": "http://[::1]:99",
    "::": "http://[::1]:11434",
    "http://box": "http://box:80",
    "https://box/ollama/": "https://box:443/ollama",
    '"box:99"': "http://box:99",
    "box:nonsense": "http://box:11434",
}


@pytest.mark.parametrize("value", HOSTS)
def test_ollamas_own_variable_is_read_as_ollama_reads_it(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """Host, port, scheme and path; what a server listens on everywhere is reached on this machine."""
    monkeypatch.setenv("OLLAMA_HOST", value)
    assert address(known()["ollama"]) == HOSTS[value]
    assert address(known()["ollama-openai"]) == f"{HOSTS[value]}/v1"
    assert address(known()["ollama-cloud"]) == "https://ollama.com"


@pytest.mark.parametrize(
    ("variable", "value", "vendor"),
    [
        ("OPENAI_BASE_URL", "ftp://h", "openai"),
        ("OPENAI_BASE_URL", "h/v1", "openai-responses"),
        ("OLLAMA_HOST", "http://[::1", "ollama"),
        ("OLLAMA_HOST", "a b", "ollama-openai"),
        ("OLLAMA_BASE_URL", "http://h?x", "ollama"),
    ],
)
def test_an_address_of_the_environment_that_is_none_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, vendor: str
) -> None:
    """And does not show its value, which may hold a password; the operator's mistake is no client's."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(errors.NotReady, match=rf"{variable}.* must") as raised:
        address(known()[vendor])
    assert value not in str(raised.value)


def test_polychats_variable_overrides_ollamas(monkeypatch: pytest.MonkeyPatch, own_config: Any) -> None:
    """``OLLAMA_BASE_URL``, and one's own file: the variable may be meant for the server."""
    monkeypatch.setenv("OLLAMA_HOST", "0.0.0.0")
    own_config('[providers.ollama]\nbase_url = "http://mine:1"\n')
    assert find("ollama").address() == "http://mine:1"
    monkeypatch.setenv("OLLAMA_BASE_URL", "http://moved:2")
    assert address(known()["ollama"]) == "http://moved:2"


# Files that came with a folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """``folder(text)``: the current folder then has such a polychat.toml."""
    (tmp_path / "cloned").mkdir()
    monkeypatch.chdir(tmp_path / "cloned")

    def write(text: str) -> Path:
        (tmp_path / "cloned/polychat.toml").write_text(text)
        return tmp_path / "cloned/polychat.toml"

    return write


async def test_no_library_or_command_reads_a_folders_file(serve: Any, folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a key nor a prompt goes where it says: the vendor is asked where it is."""
    wrong = ScriptedVendor("openai-chat", ANSWER)
    right = ScriptedVendor("openai-chat", ANSWER)
    elsewhere, here = await serve(wrong), await serve(right)
    folder(f'[providers.openai]\nbase_url = "{elsewhere.url}/v1"\n[aliases]\nmine = "openai/m"\n')
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert find("openai").address() == "https://api.openai.com/v1"
    await polychat.ask("hi", model="openai/m", base_url=f"{here.url}/v1")
    assert (len(wrong.seen), len(right.seen)) == (0, 1)


TABLES = {
    "api_key": '[providers.openai]\napi_key = "file:/etc/hostname"',
    "key": '[providers.openai]\nkey = ["GITHUB_TOKEN"]',
    "params": '[providers.x]\nwire = "ollama"\nbase_url = "https://x.example/{a}"\nparams = { a = "GITHUB_TOKEN" }',
    "base_url": '[providers.openai]\nbase_url = "https://x.example/v1"',
    "models": '[providers.openai]\nmodels = "https://x.example/v1/models"',
    "base_url with a built-in row's placeholder": '[providers.azure-openai]\nbase_url = "https://x.example/{resource}"',
    "host_env": '[providers.ollama]\nhost_env = "GITHUB_TOKEN"',
}


@pytest.mark.parametrize("table", TABLES)
def test_a_file_of_the_folder_leads_no_secret_out(folder: Any, monkeypatch: pytest.MonkeyPatch, table: str) -> None:
    """``serve`` ends and says file, line, key, and what to do; the same file is taken where it is named."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    file, key = folder(f"{TABLES[table]}\n"), table.partition(" ")[0]
    read = ConfigSource().read()
    assert read.from_folder
    with pytest.raises(errors.BadInput) as caught:
        Runtime(read, Health())
    lines = TABLES[table].split("\n")
    line = lines.index(next(line for line in lines if line.startswith(f"{key} "))) + 1
    assert str(caught.value).startswith(f"{file}:{line}: providers.")
    assert f".{key} " in str(caught.value)
    assert "--config" in str(caught.value)
    Runtime(ConfigSource(file).read(), Health())


def test_the_address_of_such_a_row_is_never_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """However the row was reached: the variable's value would be sent with the address."""
    monkeypatch.setenv("AZURE_RESOURCE_NAME", "mine")
    row = known()["azure-openai"].replace(base_url="https://x.example/{resource}")
    assert address(row) == "https://x.example/mine"
    with pytest.raises(errors.NotReady, match="placeholder"):
        address(row.replace(untrusted=frozenset({"base_url"})))


async def test_the_check_of_a_folders_file_tells_what_serve_would(folder: Any) -> None:
    """Without a name it is the folder's, and it is refused; named it is trusted, and good."""
    file = folder('[providers.openai]\nkey = ["GITHUB_TOKEN"]\n')
    refused = await run("config", "check")
    assert (refused.code, "--config" in refused.err) == (2, True)
    assert (await run("config", "check", str(file))).code == 0


def test_a_file_of_the_folder_may_name_servers_without_keys(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what the environment says of an address is the person's word: there its key may go."""
    folder('[providers.house]\nwire = "ollama"\nbase_url = "http://127.0.0.1:9"\n')
    row = Runtime(ConfigSource().read(), Health()).registry.vendors()["house"]
    assert key_header(row, None) == {}
    monkeypatch.setenv("HOUSE_API_KEY", KEY)
    with pytest.raises(errors.NotReady, match=r"HOUSE_API_KEY is not sent to"):
        key_header(row, None)
    monkeypatch.setenv("HOUSE_BASE_URL", "http://127.0.0.1:8")
    assert KEY in key_header(row, None)["authorization"]


def test_a_persons_own_file_is_trusted(own_config: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its addresses get the keys of the environment, and those it refers to."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    own_config('[providers.openai]\nbase_url = "http://127.0.0.1:9/v1"\n')
    read = ConfigSource().read()
    assert not read.from_folder
    Runtime(read, Health())
    openai = find("openai")
    assert issubclass(openai, Vendor)
    assert KEY in key_header(openai.row, None)["authorization"]


# Providers that do not work


@pytest.mark.parametrize("provider", DEAD, ids=lambda provider: provider.__name__)
async def test_a_site_that_is_gone_is_not_asked(provider: Any, serve: Any) -> None:
    """Whoever has its address now gets no prompt; a proxy would see even the attempt."""

    async def never(seen: Seen, say: Say) -> None:
        raise AssertionError("it was asked")

    proxy = await serve(never)
    for attempt in (
        lambda: provider.create_async(None, HELLO, proxy.url),
        lambda: _all(provider.create_async_generator(None, HELLO, proxy.url)),
        lambda: polychat.ask("hi", model=provider.__name__.lower(), proxy=proxy.url),
        lambda: asyncio.to_thread(lambda: list(provider.create_completion(None, HELLO, proxy.url))),
    ):
        with pytest.raises(errors.NotReady, match="does not work.*base_url"):
            await attempt()
    assert proxy.connections == 0


async def _all(pieces: Any) -> list[str]:
    return [piece async for piece in pieces]


def test_a_site_that_is_gone_is_in_no_list() -> None:
    """No bare name means it, no list has it, and no slip of the finger leads to it."""
    names = ModelResolver(Registry(config.Config(gateway=GatewaySettings())))
    dead = {provider.__name__.lower() for provider in DEAD}
    assert dead
    assert [name for name in names.listed() if name.partition("/")[0] in dead] == []
    for model in {model for provider in DEAD if hasattr(provider, "get_models") for model in provider.get_models()}:
        with pytest.raises(errors.UnknownTarget):
            names.plan(model)
    for name in dead:
        for ask in (names.plan, resolve):
            with pytest.raises(errors.UnknownTarget) as caught:
                ask(f"{name}x/m")
            assert not dead & {near.partition("/")[0].lower() for near in caught.value.near}


@pytest.mark.parametrize("provider", DEAD, ids=lambda provider: provider.__name__)
def test_a_site_that_is_gone_may_run_elsewhere(provider: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its variable, or in a subclass with an address of its own; ``base_url`` is asked in each provider's tests."""
    monkeypatch.setenv(f"{provider.__name__.upper()}_BASE_URL", "http://127.0.0.1:9")
    assert provider.address() == "http://127.0.0.1:9"
    monkeypatch.delenv(f"{provider.__name__.upper()}_BASE_URL")
    assert type("Mine", (provider,), {"url": "http://127.0.0.1:8"}).address() == "http://127.0.0.1:8"  # type: ignore[attr-defined]


def test_every_dialect_is_asked() -> None:
    """A new dialect is included."""
    assert ASKS.keys() >= DIALECTS.keys()
