"""Kinds of fault: names that each release of a client makes anew, and lists that say less than is known."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from polychat import config
from polychat.backends.registry import Registry
from polychat.config import Config
from polychat.errors import BadInput, UnknownTarget
from polychat.gateway import catalog
from polychat.gateway.paths import DIALECTS
from polychat.routing import ModelResolver

from ..support.running_gateway import asking, configured, gateway, good, row
from ..support.scripted_server import Say, Seen

ALIASES = {
    "claude-*": "house/small",
    "claude-*-preview": "house/early",
    "claude-opus-*": "house/large-*",
    "claude-opus-4": "house/exact",
    "gemini-*": "fast",
    "*-turbo": "house/turbo",
    "vendor/*": "house/*",
}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("claude-haiku-4-5-20251001", "house/small"),
        ("claude-opus-4-8", "house/large-4-8"),
        ("claude-opus-4", "house/exact"),
        ("claude-3-preview", "house/early"),
        ("gemini-3.8-flash", "house/small"),
        ("gpt-turbo", "house/turbo"),
        ("vendor/a/b", "house/a/b"),
    ],
)
def test_patterns(name: str, meant: str) -> None:
    """A name itself goes before patterns, the pattern with the most letters before others, and ``*`` is carried over."""
    config = configured({"house": row("openai-chat", "http://127.0.0.1:1")}, routes={"fast": ("house/small",)}, aliases=ALIASES)
    names = ModelResolver(Registry(config))
    assert names.plan(name).targets[0].name == meant
    assert names.plan("house/claude-x").targets[0].name == "house/claude-x", "a client that names a provider means it"
    with pytest.raises(UnknownTarget):
        names.plan("claud-3")
    assert not any("*" in one for one in names.listed())


def test_patterns_without_end() -> None:
    """What a pattern makes is looked up once, even if it fits a pattern again."""
    config = Config(aliases={"a-*": "a-a-*"})
    with pytest.raises(UnknownTarget):
        ModelResolver(Registry(config)).plan("a-1")


@pytest.mark.parametrize(("name", "meant"), [("a-*-*", "x/y"), ("a", "x/*"), ("a-*", "x/*-*")])
def test_patterns_that_are_none(name: str, meant: str) -> None:
    """One ``*`` is what a pattern has, and its target has no more than it."""
    with pytest.raises(BadInput, match="is not a valid pattern"):
        config.parsed(f'[aliases]\n"{name}" = "{meant}"', Path("polychat.toml"))


def listing_backend(*models: dict[str, Any], fails: Iterable[bool] = ()) -> Any:
    """A backend that lists these models, and fails at each request for its list for which ``fails`` has ``True``."""
    fails_now = iter(fails)

    async def handler(seen: Seen, say: Say) -> None:
        if not seen.path.endswith("/models"):
            await good(seen, say)
        elif next(fails_now, False):
            await say.whole({"error": {"message": "not now"}}, 500)
        else:
            await say.whole({"object": "list", "data": [{"object": "model", **model} for model in models]})

    return handler


def without_names(url: str) -> dict[str, Any]:
    return row("openai-chat", url, serves=[], models="/models")


@pytest.mark.parametrize("dialect_name", DIALECTS)
async def test_a_bare_name_in_one_list(serve: Any, dialect_name: str) -> None:
    """It is that backend's; a name that two list is refused with both, and one that nobody lists is 404."""
    first = await serve(listing_backend({"id": "tiny"}, {"id": "both"}))
    second = await serve(listing_backend({"id": "huge"}, {"id": "both"}))
    async with gateway(configured({"a": without_names(first.url), "b": without_names(second.url)})) as here:
        answer = await here.ask(*asking(dialect_name, "huge"))
        assert (answer.status, answer.headers["x-polychat-provider"]) == (200, "b")
        assert (await here.ask(*asking(dialect_name, "both"))).status == 400
        assert (await here.ask(*asking(dialect_name, "none"))).status == 404
    assert len([seen for seen in first.seen if seen.path.endswith("/models")]) == 1, "the list is kept"


async def test_a_bare_name_behind_others(serve: Any) -> None:
    """A name that one backend lists is meant by an alias, by a pattern and in a chain; one that two list is not."""
    first = await serve(listing_backend({"id": "tiny"}, {"id": "both"}))
    second = await serve(listing_backend({"id": "huge"}, {"id": "both"}))
    rows = {"a": without_names(first.url), "b": without_names(second.url)}
    aliases = {"mine": "tiny", "my-*": "*", "unclear": "both", "unknown": "none"}
    for name, more, expected in (
        ("mine", {}, (200, "a")),
        ("my-huge", {}, (200, "b")),
        ("tiny", {"models": ["huge"]}, (200, "a")),
        ("huge", {"models": ["b/huge", "tiny"]}, (200, "b")),
        ("unclear", {}, (400, None)),
        ("unknown", {}, (404, None)),
        ("my-none", {}, (404, None)),
        ("tiny", {"models": ["none"]}, (404, None)),
    ):
        async with gateway(configured(rows, aliases=aliases)) as here:
            for _ in range(2):
                answer = await here.ask(*asking("openai-chat", name, **more))
                assert (answer.status, answer.headers.get("x-polychat-provider")) == expected, (name, more)


ROUTES = {
    "one": ("huge",),
    "rest": ("none", "both", "a/tiny"),
    "nested": ("one", "none"),
    "unclear": ("both",),
    "unknown": ("hug",),
}


@pytest.mark.parametrize(
    ("name", "status", "provider", "message"),
    [
        ("one", 200, "b", ""),
        ("rest", 200, "a", ""),
        ("nested", 200, "b", ""),
        ("unclear", 400, None, "use a/both or b/both"),
        ("unknown", 404, None, "did you mean huge?"),
    ],
)
async def test_a_bare_name_in_a_route(serve: Any, name: str, status: int, provider: str | None, message: str) -> None:
    """Is looked up in the backends' lists at the first request. One that none or several have is passed over beside others."""
    first = await serve(listing_backend({"id": "tiny"}, {"id": "both"}))
    second = await serve(listing_backend({"id": "huge"}, {"id": "both"}))
    rows = {"a": without_names(first.url), "b": without_names(second.url)}
    async with gateway(configured(rows, routes=ROUTES)) as here:
        assert not first.seen, "a start asks nobody"
        for _ in range(2):
            answer = await here.ask(*asking("openai-chat", name))
            assert (answer.status, answer.headers.get("x-polychat-provider")) == (status, provider)
            assert message in answer.body.decode()
    assert len([seen for seen in first.seen if seen.path.endswith("/models")]) == 1, "the list is kept"


async def test_a_bare_name_in_a_route_where_nobody_has_lists() -> None:
    """Is an error of the file, at the start: no request would find it."""
    with pytest.raises(UnknownTarget, match="did you mean small"):
        async with gateway(configured({"a": row("openai-chat", "http://127.0.0.1:1")}, routes={"fast": ("smal",)})):
            pass


@pytest.mark.parametrize("dialect_name", DIALECTS)
async def test_an_unknown_name_is_reported_with_the_next_step(serve: Any, dialect_name: str) -> None:
    """In every dialect, in its own form of an error: the nearest names, of lists too, and where the API lists them all."""
    server = await serve(listing_backend({"id": "tiny"}))
    dialect = DIALECTS[dialect_name]
    async with gateway(configured({"a": without_names(server.url)}, aliases={"my-own": "a/tiny"})) as here:
        for name, near in (("tinny", "tiny"), ("my-owm", "my-own"), ("nope", "")):
            answer = await here.ask(*asking(dialect_name, name))
            fault = dialect.wire.read_fault(answer.status, answer.body)
            assert (answer.status, fault.kind) == (404, "not_found")
            assert f"no model '{name}'" in fault.message
            assert f"GET {dialect.models_path} lists the models" in fault.message
            assert ("did you mean" in fault.message) == bool(near)
            assert near in fault.message
        listed = await here.ask(dialect.models_path)
        assert b"a/tiny" in listed.body


async def test_a_list_that_failed_once(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is asked for again soon, and the last good one is kept when a later one fails."""
    now = [1000.0]
    monkeypatch.setattr(catalog, "monotonic", lambda: now[0])
    backend = await serve(listing_backend({"id": "tiny"}, fails=[True, False, True]))
    async with gateway(configured({"a": without_names(backend.url)})) as here:

        async def listed() -> set[str]:
            return {one["id"] for one in (await here.ask("/v1/models")).json["data"]}

        assert "a/tiny" not in await listed()
        now[0] += 11
        assert "a/tiny" in await listed()
        now[0] += 301
        assert "a/tiny" in await listed()
    assert len(backend.seen) == 3, "the last one failed"


async def test_the_smallest_of_a_route(serve: Any) -> None:
    """A route or an alias has the context of its smallest target, in every dialect's list, and none where one is not known."""
    first = await serve(listing_backend({"id": "tiny", "context_length": 8000, "max_output_tokens": 4000}, {"id": "odd"}))
    second = await serve(listing_backend({"id": "huge", "context_length": 200000, "max_output_tokens": 2000}))
    config = configured(
        {"a": without_names(first.url), "b": without_names(second.url)},
        routes={"fast": ("a/tiny", "b/huge"), "open": ("a/odd", "b/huge")},
        aliases={"claude": "fast"},
    )
    async with gateway(config) as here:
        chat = {one["id"]: one for one in (await here.ask("/v1/models")).json["data"]}
        headers = {"anthropic-version": "2023-06-01"}
        anthropic = {one["id"]: one for one in (await here.ask("/v1/models", headers=headers)).json["data"]}
        gemini = {one["name"]: one for one in (await here.ask("/v1beta/models")).json["models"]}
        shown = (await here.ask("/api/show", {"model": "claude"})).json
    for name in ("fast", "claude"):
        assert (chat[name]["context_length"], chat[name]["max_output_tokens"]) == (8000, 2000)
        assert (anthropic[name]["max_input_tokens"], anthropic[name]["max_tokens"]) == (8000, 2000)
        assert gemini[f"models/{name}"]["inputTokenLimit"] == 8000
        assert gemini[f"models/{name}"]["outputTokenLimit"] == 2000
    assert shown["model_info"]["polychat.context_length"] == 8000
    assert chat["open"].get("context_length") is None


async def test_vendors_whose_key_is_set(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are in the list without a table in the file, once for all the wires of a vendor."""
    backend = await serve(listing_backend({"id": "gpt-x"}))
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-test-0000")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{backend.url}/v1")
    async with gateway(configured({})) as here:
        listed = [one["id"] for one in (await here.ask("/v1/models")).json["data"] if one["id"].startswith("openai")]
        answer = await here.ask(*asking("openai-chat", "gpt-x"))
    assert listed == ["openai/gpt-x"]
    assert answer.status == 200
