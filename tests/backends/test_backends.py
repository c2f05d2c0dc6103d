"""A registry's backends: each by its name, with the same contract, whether it is made from a class or from a row."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest

from polychat.backends.backend import Backend
from polychat.backends.registry import Registry
from polychat.backends.service import ServiceBackend
from polychat.backends.vendor import VendorBackend
from polychat.config import Config
from polychat.config.settings import LocalModel
from polychat.errors import BadInput, UnknownTarget
from polychat.events import Event, Finish, Text
from polychat.providers import AsyncGeneratorProvider, AsyncProvider, Call, CallInfo, every, vendors
from polychat.types import ChatMessage, ChatRequest, Messages, TextPart
from polychat.wire.embeddings import Embed

HOUSE = {"wire": "openai-chat", "base_url": "http://127.0.0.1:9/v1", "serves": ["small"]}
CONFIG = Config(providers={"house": HOUSE})
ASK = ChatRequest("m", [ChatMessage("user", [TextPart("hi")])])


def test_every_backend_is_found_by_its_label() -> None:
    """All services and all vendors, those of the configuration too; in any case, and the same object each time."""
    registry = Registry(CONFIG)
    backends = registry.every()
    assert [one.label for one in backends] == [*(one.__name__.lower() for one in every()), *vendors(), "house"]
    for backend in backends:
        assert registry.find(backend.label) is registry.find(backend.name.upper()) is backend
        assert registry.resolve(f"{backend.label}/a:b/c") == (backend, "a:b/c")
        assert registry.resolve(f"{backend.label}:a/b") == (backend, "a/b")
        assert registry.resolve(backend.label) == registry.resolve(f"{backend.label}/") == (backend, None)


def test_what_is_known_of_each_without_a_request() -> None:
    """Its kind, its options, its models; nobody opens anything to others that it does not name for them."""
    for backend in Registry(CONFIG).every():
        assert isinstance(backend, VendorBackend | ServiceBackend)
        assert isinstance(backend, Backend)
        assert set(backend.models()) >= ({backend.default_model} - {""})
        assert backend.offers("no-such-model") == (backend.label != "local")
        assert ("api_key" in backend.options) == isinstance(backend, VendorBackend)
        assert backend.relay("no-such-wire") is None


@pytest.mark.parametrize(("name", "near"), [("antropic", "anthropic"), ("hous", "house"), ("locl", "Local")])
def test_an_unknown_name_has_its_nearest(name: str, near: str) -> None:
    """Among this registry's; services that do not work are not recommended."""
    with pytest.raises(UnknownTarget) as caught:
        Registry(CONFIG).resolve(f"{name}/m")
    assert near in caught.value.near
    with pytest.raises(UnknownTarget) as caught:
        Registry(Config()).find("opchatgpt")
    assert "Opchatgpts" not in caught.value.near


@pytest.mark.parametrize(
    ("providers", "says"),
    [
        ({"house": {**HOUSE, "wire": 7}}, "providers.house.wire"),
        ({"local": HOUSE}, "providers.local is the name of a built-in provider"),
    ],
)
def test_a_row_that_means_nothing(providers: dict[str, Any], says: str) -> None:
    """Is an error of the file for all that request a vendor; services are found all the same."""
    registry = Registry(Config(providers=providers))
    for ask in (registry.every, registry.vendors, lambda: registry.find("openai")):
        with pytest.raises(BadInput, match=says):
            ask()
    assert registry.find("local").name == "Local"


class Elsewhere(AsyncProvider):
    """As other programs write theirs: one method of the contract, and what they are given in ``kwargs``."""

    working = True
    given: dict[str, Any]

    @classmethod
    async def create_async(cls, model: str | None, messages: Messages, proxy: str | None = None, **kwargs: Any) -> str:
        cls.given = kwargs
        return f"{model} heard {messages[-1]['content']}"


class Reading(AsyncGeneratorProvider):
    """One that reads a configuration."""

    @classmethod
    async def reply(cls, model: str | None, messages: Messages, call: Call) -> AsyncGenerator[list[Event], None]:
        assert call.config is not None
        yield [Text(", ".join(call.config.providers)), Finish("complete", "stop")]


async def text_of(batches: AsyncGenerator[list[Event], None]) -> str:
    return "".join([event.text async for batch in batches for event in batch if isinstance(event, Text)])


async def test_a_class_from_elsewhere() -> None:
    """Is a backend unchanged: it gets the caller's arguments, and none that it does not know."""
    backend = ServiceBackend(Elsewhere, CONFIG)
    assert (backend.name, backend.label, backend.models(), backend.offers("any")) == ("Elsewhere", "elsewhere", [], True)
    assert await text_of(backend.answers(ASK, CallInfo("allow"), timeout=3)) == "m heard hi"
    assert Elsewhere.given == {"timeout": 3}
    assert await text_of(backend.events("m", [{"role": "user", "content": "ho"}])) == "m heard ho"
    assert Elsewhere.given == {}
    with pytest.raises(BadInput, match="Elsewhere does not support embeddings: use another model"):
        await backend.embed(Embed("m", ["hi"]))
    assert await backend.list_models() == []


async def test_a_class_reads_the_configuration_of_its_registry() -> None:
    """By ``call.config``, whichever way it is asked."""
    backend = ServiceBackend(Reading, CONFIG)
    assert await text_of(backend.answers(ASK, CallInfo("allow"))) == "house"
    assert await text_of(backend.events("m", [{"role": "user", "content": "ho"}])) == "house"
    assert await Reading.create_async("m", [{"role": "user", "content": "hi"}], config=CONFIG) == "house"
    with pytest.raises(BadInput, match="config is dict") as caught:
        await Reading.create_async("m", [{"role": "user", "content": "hi"}], config={})
    assert caught.value.field == "config"


async def test_local_models_of_a_registry_are_listed() -> None:
    """When the backend is asked for its list, too."""
    local = Registry(Config(local_models={"mine": LocalModel()})).find("local")
    assert "mine" in [one.id for one in await local.list_models()]
