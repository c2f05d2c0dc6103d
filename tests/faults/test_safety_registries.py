"""Kind: two gateways, or two clients, of one process answer from each other's backends. Each has a file of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import polychat
from polychat import errors
from polychat.backends.backend import Backend
from polychat.backends.registry import Registry, user_registry
from polychat.config import Config
from polychat.config.settings import LocalModel, Price
from polychat.events import Finish, Text, Usage
from polychat.gateway.paths import DIALECTS
from polychat.providers import find
from polychat.wire.contract import names

from ..support.patience import PATIENCE
from ..support.running_gateway import ASKS, asking, configured, gateway, row
from ..support.scripted_server import Say, Seen, serving
from ..support.scripted_vendors import ScriptedVendor

KEYS = {"openai-chat": "authorization", "openai-responses": "authorization", "anthropic": "x-api-key"}
KEYS |= {"gemini": "x-goog-api-key", "ollama": "authorization"}


class House(ScriptedVendor):
    """A vendor's API that answers in words of its own, with lists, counts and vectors too."""

    def __init__(self, wire: str, words: str) -> None:
        super().__init__(wire, [[Text(words)], [Usage(10, 1, 11), Finish("complete", "stop")]])
        self.words = words

    async def __call__(self, seen: Seen, say: Say) -> None:
        if seen.method == "GET":
            self.seen.append(seen)
            await say.whole({"object": "list", "data": [{"id": self.words, "object": "model"}]})
        elif seen.path.endswith("/embeddings"):
            self.seen.append(seen)
            await say.whole({"data": [{"embedding": [0.5], "index": 0}], "model": "m", "usage": {"prompt_tokens": 1}})
        elif seen.path.endswith("count_tokens"):
            self.seen.append(seen)
            await say.whole({"input_tokens": len(self.words)})
        else:
            await super().__call__(seen, say)

    def keys(self) -> set[str]:
        """Those that it was shown since the last look."""
        shown = {seen.headers[KEYS[self.name]].removeprefix("Bearer ") for seen in self.seen}
        self.seen.clear()
        return shown


def config_of(wire: str, url: str, key: str, **more: Any) -> Config:
    """A file in which the very same names mean this address and this key."""
    return configured(
        {"house": row(wire, url, api_key=f"env:{key}", header=KEYS[wire], **more)}, routes={"fast": ("house/small",)}
    )


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FIRST", "SECOND", "THIRD"):
        monkeypatch.setenv(f"{name}_OF_THE_KEYS", name.lower())


async def both(gateways: list[Any], dialect: str, words: list[str]) -> None:
    """Each answers in its own words: a target and a route, whole and streamed, all at once."""
    requests = [asking(dialect, model, stream=stream) for model in ("house/small", "fast") for stream in (False, True)]
    answers = await asyncio.gather(*(one.ask(*ask) for ask in requests for one in gateways))
    for place, answer in enumerate(answers):
        assert answer.status == 200, answer.body
        assert words[place % 2].encode() in answer.body


@pytest.mark.usefixtures("keys")
@pytest.mark.parametrize("dialect", ASKS)
@pytest.mark.parametrize("wire", names())
async def test_two_gateways_of_one_loop(serve: Any, wire: str, dialect: str) -> None:
    """Passed or translated, each asks its own address with its own key; also after one of them has read another file."""
    houses = [House(wire, words) for words in ("alpha", "bravo", "charlie")]
    first, second, third = [await serve(house) for house in houses]
    async with (
        gateway(config_of(wire, first.url, "FIRST_OF_THE_KEYS")) as one,
        gateway(config_of(wire, second.url, "SECOND_OF_THE_KEYS")) as two,
    ):
        await both([one, two], dialect, ["alpha", "bravo"])
        assert [house.keys() for house in houses] == [{"first"}, {"second"}, set()]
        one.app.reload(config_of(wire, third.url, "THIRD_OF_THE_KEYS"))
        await both([one, two], dialect, ["charlie", "bravo"])
        assert [house.keys() for house in houses] == [set(), {"second"}, {"third"}]


def test_every_dialect_is_asked() -> None:
    """A new one is walked as well."""
    assert ASKS.keys() >= DIALECTS.keys()


@pytest.mark.usefixtures("keys")
async def test_what_is_beside_the_chats(serve: Any) -> None:
    """Lists of models, vectors and counts come from the gateway's own backends, before and after a reload."""
    houses = [House("anthropic", words) for words in ("al", "bra", "char")]
    servers = [await serve(house) for house in houses]
    files = [
        config_of("anthropic", server.url, f"{name}_OF_THE_KEYS", serves=[])
        for server, name in zip(servers, ("FIRST", "SECOND", "THIRD"), strict=True)
    ]

    async def seen(running: Any) -> tuple[set[str], int]:
        listed = (await running.ask("/v1/models")).json["data"]
        _, body = asking("anthropic")
        counted = (await running.ask("/v1/messages/count_tokens", body)).json["input_tokens"]
        return {one["id"] for one in listed if one["id"].startswith("house/")}, counted

    async with gateway(files[0]) as one, gateway(files[1]) as two:
        assert await seen(one) == ({"house/al"}, 2)
        assert await seen(two) == ({"house/bra"}, 3)
        one.app.reload(files[2])
        assert await seen(one) == ({"house/char"}, 4)
        assert await seen(two) == ({"house/bra"}, 3)
    assert [house.keys() for house in houses] == [{"first"}, {"second"}, {"third"}]


@pytest.mark.usefixtures("keys")
async def test_vectors(serve: Any) -> None:
    """As the chats."""
    houses = [House("openai-chat", words) for words in ("alpha", "bravo")]
    first, second = [await serve(house) for house in houses]
    files = [
        config_of("openai-chat", server.url, f"{name}_OF_THE_KEYS") for server, name in ((first, "FIRST"), (second, "SECOND"))
    ]
    async with gateway(files[0]) as one, gateway(files[1]) as two:
        for running in (one, two):
            assert (await running.ask("/v1/embeddings", {"model": "house/small", "input": "hi"})).status == 200
    assert [house.keys() for house in houses] == [{"first"}, {"second"}]


@pytest.mark.usefixtures("keys")
def test_two_gateways_of_two_threads() -> None:
    """Each in a loop of its own, at the same time; what both meet at are moments, not backends."""
    barrier = threading.Barrier(2, timeout=PATIENCE)
    answered: dict[str, list[set[str]]] = {}
    failed: list[BaseException] = []

    async def served(name: str, key: str) -> None:
        house = House("openai-chat", name)
        async with serving(house) as server, gateway(config_of("openai-chat", server.url, key)) as here:
            answered[name] = []
            for _ in range(3):
                await asyncio.to_thread(barrier.wait)
                answer = await here.ask(*asking("openai-chat"))
                assert name.encode() in answer.body
                answered[name].append(house.keys())
                await asyncio.to_thread(barrier.wait)
                here.app.reload(config_of("openai-chat", server.url, key))

    def run(name: str, key: str) -> None:
        try:
            asyncio.run(served(name, key))
        except BaseException as error:
            failed.append(error)
            barrier.abort()

    threads = [
        threading.Thread(target=run, args=arguments)
        for arguments in (("alpha", "FIRST_OF_THE_KEYS"), ("bravo", "SECOND_OF_THE_KEYS"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert answered == {"alpha": [{"first"}] * 3, "bravo": [{"second"}] * 3}


@pytest.fixture
async def clients(serve: Any, keys: None, own_config: Any, tmp_path: Path) -> Any:
    """By two files, one of them a path and the other a ``Config``, and code that uses the person's own file."""
    houses = [House("openai-chat", words) for words in ("alpha", "bravo", "charlie")]
    servers = [await serve(house) for house in houses]
    text = (
        '[providers.house]\nwire = "openai-chat"\nbase_url = "{0}/v1"\napi_key = "env:{1}_OF_THE_KEYS"\nserves = ["small"]\n'
        '[routes.fast]\ntargets = ["house/small"]\n[prices."house/small"]\nprompt = {2}\n'
    )
    file = tmp_path / "first.toml"
    file.write_text(text.format(servers[0].url, "FIRST", 1))
    second = replace(config_of("openai-chat", servers[1].url, "SECOND_OF_THE_KEYS"), prices={"house/small": Price(prompt=2)})
    own_config(text.format(servers[2].url, "THIRD", 3))
    return houses, [polychat.Client(config=file), polychat.Client(config=second), polychat.Client()]


async def _asked(client: polychat.Client, model: str) -> str:
    return (await client.ask("hi", model=model)).text


async def _streamed(client: polychat.Client, model: str) -> str:
    async with client.stream("hi", model=model) as reply:
        return "".join([piece async for piece in reply])


async def _completed(client: polychat.Client, model: str) -> str:
    reply = await client.chat.completions.create(model=model, messages=[{"role": "user", "content": "hi"}])
    return str(reply.choices[0].message.content)


@pytest.mark.parametrize("model", ["house/small", "fast", "small", "house/small, house/other"])
@pytest.mark.parametrize("ask", [_asked, _streamed, _completed])
async def test_two_clients(clients: Any, ask: Callable[..., Any], model: str) -> None:
    """Every way of asking, every form of a name: each by its own file, all at once."""
    houses, asking_by = clients
    assert await asyncio.gather(*(ask(client, model) for client in asking_by)) == ["alpha", "bravo", "charlie"]
    assert [house.keys() for house in houses] == [{"first"}, {"second"}, {"third"}]


async def test_two_clients_have_their_own_vectors_and_prices(clients: Any) -> None:
    """And the module's own functions go by the person's file."""
    houses, asking_by = clients
    for client in asking_by:
        await client.embed("hi", model="house/small")
    assert [house.keys() for house in houses] == [{"first"}, {"second"}, {"third"}]
    replies = [await client.ask("hi", model="house/small") for client in asking_by]
    replies.append(await polychat.ask("hi", model="house/small"))
    assert [reply.cost for reply in replies] == [pytest.approx(dollars * 10 / 1e6) for dollars in (1, 2, 3, 3)]


async def test_a_failure_is_of_one_client(serve: Any) -> None:
    """A target that is to be left alone by one client is asked by another, whose target of that name is well."""

    async def busy(seen: Seen, say: Say) -> None:
        await say.whole({"error": {"message": "no"}}, 429, headers=[("retry-after", "60")])

    good = House("openai-chat", "well")
    down, up = await serve(busy), await serve(good)
    one, two = (
        polychat.Client("fast", config=config_of("openai-chat", url, "HOUSE_KEY", key_optional=True))
        for url in (down.url, up.url)
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOUSE_KEY", "k")
        for _ in range(2):
            with pytest.raises(errors.BackendError):
                await one.ask("hi")
        assert (await two.ask("hi")).text == "well"
    assert len(down.seen) == 1


def test_local_models_are_those_of_the_file(tmp_path: Path) -> None:
    """A name of one file is unknown, and not served, by another."""
    with_one = Registry(Config(local_models={"mine": LocalModel(tmp_path / "mine.gguf")}))
    without = Registry(Config())

    def named(registry: Registry) -> tuple[bool, bool]:
        local = registry.find("local")
        return "mine" in local.models(), local.offers("mine")

    assert (named(with_one), named(without)) == ((True, True), (False, False))


async def test_a_local_model_is_looked_for_in_the_clients_file(tmp_path: Path) -> None:
    """Not in the person's own."""
    client = polychat.Client("local/mine", config=Config(local_models={"mine": LocalModel(tmp_path / "not-here.gguf")}))
    with pytest.raises(errors.PolychatError) as known:
        await client.ask("hi")
    assert not isinstance(known.value, errors.UnknownTarget)
    with pytest.raises((errors.UnknownTarget, errors.MissingPackage)):
        await polychat.ask("hi", model="local/mine")


def address_of(registry: Registry) -> str:
    return registry.find("openai").address()


def test_the_library_sees_what_changes(monkeypatch: pytest.MonkeyPatch, own_config: Any, tmp_path: Path) -> None:
    """A variable that is set or taken away later, a file with a key that is written anew. A gateway's are as they were."""
    library, unchanging = Registry(Config()), Registry(Config(), fixed=True)
    seen = [(address_of(library), address_of(unchanging))]
    for url in ("http://127.0.0.1:1", "http://127.0.0.1:2"):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        seen.append((address_of(library), address_of(unchanging)))
    monkeypatch.delenv("OPENAI_BASE_URL")
    seen.append((address_of(library), address_of(unchanging)))
    vendor = "https://api.openai.com/v1"
    assert seen == [(vendor, vendor), ("http://127.0.0.1:1", vendor), ("http://127.0.0.1:2", vendor), (vendor, vendor)]
    secret = tmp_path / "key"
    providers = {"openai": {"api_key": f"file:{secret}"}}
    registries: list[Any] = [Registry(Config(providers=providers), fixed=fixed).find("openai") for fixed in (False, True)]
    shown = []
    for key in ("old", "newer"):
        secret.write_text(key)
        shown.append([backend._endpoint.headers()["authorization"] for backend in registries])
    assert shown == [["Bearer old", "Bearer old"], ["Bearer newer", "Bearer old"]]


def test_the_same_backend_as_long_as_the_file_is(own_config: Any) -> None:
    """A registry makes each once, whatever the case of its name; the person's own registry lives as long as the file."""
    file = own_config('[providers.house]\nwire = "ollama"\nbase_url = "http://127.0.0.1:9"\n')
    own = user_registry()
    house = own.find("house")
    assert isinstance(house, Backend)
    assert user_registry().find("HOUSE") is house
    assert find("house").address() == "http://127.0.0.1:9"  # type: ignore[attr-defined]
    file.write_text(file.read_text().replace(":9", ":10"))
    assert user_registry().find("house") is not house
    assert find("house").address() == "http://127.0.0.1:10"  # type: ignore[attr-defined]
    assert house.address() == "http://127.0.0.1:9", "whoever has it goes on with it"


@pytest.mark.parametrize("config", [7, {"providers": {}}, b"polychat.toml"])
def test_a_configuration_that_is_none(config: Any) -> None:
    """Is an error when the client is made."""
    with pytest.raises(errors.BadInput, match=r"path of a polychat\.toml") as caught:
        polychat.Client(config=config)
    assert caught.value.field == "config"


async def test_a_configuration_belongs_to_a_client() -> None:
    """A single call has none: the error says where it goes."""
    with pytest.raises(errors.BadInput, match=r"polychat\.Client"):
        await polychat.ask("hi", model="local/smollm2", config=Config())
