"""A request's way: who is asked, in whose words, what comes back, and what is written down of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from polychat.config.settings import Price, Route
from polychat.events import Finish, Start, Text, Usage
from polychat.gateway.paths import DIALECTS
from polychat.providers import find
from polychat.wire.contract import names

from ..support.running_gateway import (
    DONE,
    END,
    FIRST,
    USAGE,
    Answer,
    Running,
    Stage,
    asking,
    chunk,
    completion,
    configured,
    gateway,
    good,
    row,
    streaming,
    text,
)
from ..support.scripted_server import Say, Seen
from ..support.scripted_vendors import ScriptedVendor
from ..support.sites_application import COOKIES, FIVE

SAID = [[Start("x", "small-1")], [Text("Hel")], [Text("lo")], [Usage(3, 2, 5), Finish("complete", "stop")]]


async def answer_of(here: Running, dialect: str, model: str = "house/small", *, stream: bool = False, **more: Any) -> Answer:
    path, body = asking(dialect, model, stream=stream, **more)
    return await here.ask(path, body)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("wire", names())
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_every_dialect_reaches_every_backend(serve: Any, dialect: str, wire: str, stream: bool) -> None:
    """The words arrive, the answer comes back, and the record knows who answered, how it ended and what it cost."""
    backend = ScriptedVendor(wire, SAID)
    served = await serve(backend)
    async with gateway(configured({"house": row(wire, served.url)})) as here:
        answer = await answer_of(here, dialect, stream=stream)
        (record,) = await here.app.recorded()
    assert answer.status == record.status == 200
    assert b"Hel" in answer.body
    assert b"lo" in answer.body
    assert (answer.headers["x-polychat-provider"], answer.headers["x-polychat-model"]) == ("house", "small")
    assert answer.headers["x-request-id"] == record.request_id
    assert answer.headers["cache-control"] == ("no-cache" if stream else "no-store")
    assert float(answer.headers["x-polychat-overhead-ms"]) >= 0
    (request,) = backend.asks
    assert (request.model, request.stream) == ("small", stream)
    assert "hi" in str(request.messages[-1])
    assert (record.dialect, record.model, record.route, record.stream) == (dialect, "house/small", "", stream)
    assert (record.provider, record.served, record.attempts, record.verdict, record.reason) == (
        "house",
        "small",
        1,
        "complete",
        "stop",
    )
    assert (record.prompt_tokens, record.completion_tokens) == (3, 2)
    assert record.passthrough is (DIALECTS[dialect].passes and wire == DIALECTS[dialect].wire.NAME)
    assert record.first is not None
    assert record.start <= record.first <= record.over


async def test_bytes_pass_through(serve: Any) -> None:
    """Same wire, nothing to change: request and reply are byte for byte what was sent, fields that nobody knows with them."""
    sent = b'{ "model": "house/small","messages" :[{"role":"user","content":"h\\u00e4"}], "new": [1.50, null],"stream":false}'
    choice = b'{"index":0,"message":{"role":"assistant","content":"\xc3\xa4"},"finish_reason":"stop"}'
    reply = b'{"id":"c" , "choices":[' + choice + b'],"odd": 1.0}'

    async def backend(seen: Seen, say: Say) -> None:
        await say.whole(reply)

    served = await serve(backend)
    async with gateway(configured({"house": row("openai-chat", served.url)})) as here:
        answer = await here.ask("/v1/chat/completions", sent)
    assert answer.body == reply
    assert json.loads(served.seen[0].body) == {**json.loads(sent), "model": "small"}
    assert b"1.50" in served.seen[0].body, "what is not ours to read is not written anew"


async def test_usage_that_the_client_did_not_ask_for(serve: Any) -> None:
    """Is asked for, counted and kept back; one that did gets it."""
    served = await serve(good)
    async with gateway(configured({"house": row("openai-chat", served.url)})) as here:
        without = await answer_of(here, "openai-chat", stream=True)
        within = await answer_of(here, "openai-chat", stream=True, stream_options={"include_usage": True})
        await here.app.recorded(2)
    came = [FIRST, text("Hel"), text("lo"), END, USAGE, DONE]
    assert without.body == b"".join([*came[:-2], came[-1]])
    assert within.body == b"".join(came)
    assert [(record.prompt_tokens, record.served) for record in here.records] == [(3, "small-1")] * 2
    assert all(seen.json["stream_options"] == {"include_usage": True} for seen in served.seen)


async def test_each_piece_goes_on_at_once(serve: Any) -> None:
    """A piece is with the client before the backend says the next one."""
    for dialect in DIALECTS:
        stage = Stage(FIRST, text("Hel"), rest=[text("lo"), END, DONE])
        served = await serve(stage)
        async with gateway(configured({"house": row("openai-chat", served.url)})) as here:
            path, body = asking(dialect, stream=True)
            caller = await here.caller()
            caller.ask(path, body)
            assert (await caller.head()).headers["x-accel-buffering"] == "no"
            await caller.until(b"Hel")
            stage.go.set()
            assert b"lo" in await caller.rest()


@pytest.mark.parametrize("dialect", ["openai-chat", "anthropic"])
async def test_a_stream_without_its_last_blank_line(serve: Any, dialect: str) -> None:
    """Is whole all the same, be it one chunk or several: nothing of it is kept back."""
    last = chunk({"content": "Hello"}, "stop")[:-2]
    for pieces in ([last], [FIRST, last]):
        served = await serve(streaming(*pieces))
        async with gateway(configured({"house": row("openai-chat", served.url)})) as here:
            answer = await answer_of(here, dialect, stream=True)
            (record,) = await here.app.recorded()
        assert b"Hello" in answer.body
        assert b"error" not in answer.body
        assert (record.verdict, record.reason) == ("complete", "stop")


@pytest.mark.parametrize("dialect", ["openai-chat", "anthropic"])
async def test_a_stream_that_comes_whole(serve: Any, dialect: str) -> None:
    """A backend that does not stream though it was asked to: the client gets a stream all the same."""

    async def backend(seen: Seen, say: Say) -> None:
        await say.whole(completion("Hello"))

    served = await serve(backend)
    async with gateway(configured({"house": row("openai-chat", served.url)})) as here:
        answer = await answer_of(here, dialect, stream=True)
        (record,) = await here.app.recorded()
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert b"Hello" in answer.body
    assert record.verdict == "complete"


async def test_headers_of_the_client(serve: Any) -> None:
    """What means something to the backend goes along; keys, cookies and all else do not."""
    backend = ScriptedVendor("anthropic", SAID)
    served = await serve(backend)
    sent_on = {"anthropic-version": "2023-06-01", "anthropic-beta": "x-1", "traceparent": "00-1-1-01"}
    private = {
        "cookie": "a=b",
        "authorization": "Bearer of-the-client",
        "x-forwarded-for": "10.0.0.1",
        "accept-encoding": "zstd",
    }
    async with gateway(configured({"house": row("anthropic", served.url)})) as here:
        path, body = asking("anthropic")
        assert (await here.ask(path, body, headers={**sent_on, **private})).status == 200
    headers = served.seen[0].headers
    assert {name: headers.get(name) for name in sent_on} == sent_on
    assert not any(value in headers.values() for value in private.values())


# OpenRouter's fields

OPENAI = ("openai-chat", "openai-responses")
"""The dialects that take them."""


class Three:
    """Backends ``a``, ``b``, ``c`` that serve the same, and whom of them was asked."""

    def __init__(self, *failing: str) -> None:
        self.asked: list[str] = []
        self._failing = failing

    async def configured(self, serve: Any, **more: Any) -> Any:
        return configured({name: row("openai-chat", (await serve(self._backend(name))).url) for name in "abc"}, **more)

    def _backend(self, name: str) -> Any:
        async def backend(seen: Seen, say: Say) -> None:
            self.asked.append(f"{name}/{seen.json['model']}")
            assert not {"models", "provider"} & seen.json.keys()
            if name in self._failing:
                await say.whole({"error": {"message": "no"}}, 500)
            else:
                await good(seen, say)

        return backend


PREFERRED: dict[str, tuple[tuple[str, ...], dict[str, Any], list[str]]] = {
    "models": (("a",), {"models": ["b/big", "c/small"]}, ["a/small", "b/big"]),
    "models, the first among them": (("a",), {"models": ["a/small", "b/big"]}, ["a/small", "b/big"]),
    "order": ((), {"provider": {"order": ["c", "a"]}}, ["c/small"]),
    "order, in any case": ((), {"provider": {"order": ["C", "A"]}}, ["c/small"]),
    "order, and who was meant": (("c", "b"), {"provider": {"order": ["c", "b", "a"]}}, ["c/small", "b/small", "a/small"]),
    "order, of a vendor's name": (("c",), {"provider": {"order": ["c"]}}, ["c/a/small", "a/small"]),
    "only": ((), {"provider": {"only": ["b", "a"]}}, ["b/small"]),
    "only, of a vendor's name": ((), {"provider": {"only": ["b"]}}, ["b/a/small"]),
    "only, with an order": (("c",), {"provider": {"order": ["c", "b"], "only": ["b", "c", "a"]}}, ["c/small", "b/small"]),
    "ignore": (("a",), {"models": ["b/small", "c/small"], "provider": {"ignore": ["b", "a"]}}, ["c/small"]),
    "order, of somebody unknown": ((), {"provider": {"order": ["nobody", "b"]}}, ["b/a/small"]),
    "nothing said": ((), {"models": [], "provider": {}}, ["a/small"]),
    "null": ((), {"models": None, "provider": {"order": None, "zdr": None}}, ["a/small"]),
}


@pytest.mark.parametrize("case", PREFERRED)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", OPENAI)
async def test_who_is_preferred(serve: Any, dialect: str, case: str, stream: bool) -> None:
    """``models`` and ``provider`` say who may answer, and in which order; no backend sees them."""
    failing, fields, expected = PREFERRED[case]
    three = Three(*failing)
    async with gateway(await three.configured(serve)) as here:
        answer = await answer_of(here, dialect, "a/small", stream=stream, **fields)
    assert answer.status == 200
    assert three.asked == expected


async def test_no_fallbacks(serve: Any) -> None:
    """``allow_fallbacks: false``: the first target, or none."""
    three = Three("a")
    async with gateway(await three.configured(serve, routes={"one": Route(("a/small",), attempts=1)})) as here:
        answer = await answer_of(here, "openai-chat", "one", models=["b/small"], provider={"allow_fallbacks": False})
        assert answer.status == 502
        answer = await answer_of(here, "openai-chat", "one", models=["b/small"], provider={"allow_fallbacks": True})
        assert answer.status == 200
    assert three.asked == ["a/small", "a/small", "b/small"]


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"provider": {"order": "a"}}, "provider.order"),
        ({"provider": {"order": [1]}}, "provider.order"),
        ({"provider": {"only": ["b"], "ignore": ["b"]}}, "provider"),
        ({"provider": {"ignore": ["a"]}}, "provider"),
        ({"provider": {"allow_fallbacks": "no"}}, "provider.allow_fallbacks"),
        ({"provider": ["a"]}, "provider"),
        ({"models": "b/small"}, "models"),
        ({"models": [1]}, "models[0]"),
        ({"models": ["nobody/x"]}, "model"),
        ({"provider": {"order": ["nobody"], "allow_fallbacks": False}}, "provider"),
    ],
)
@pytest.mark.parametrize("dialect", OPENAI)
async def test_preferences_that_mean_nothing(serve: Any, dialect: str, fields: dict[str, Any], named: str) -> None:
    """Are refused naming the field, and nobody is asked."""
    three = Three()
    async with gateway(await three.configured(serve)) as here:
        answer = await answer_of(here, dialect, "a/small", **fields)
    assert answer.status in (400, 404)
    assert answer.json["error"]["param"] == named
    assert three.asked == []


ROUTE = {"one": Route(("a/small", "b/small", "c/small"), strategy="ordered")}


@pytest.mark.parametrize(
    ("preferences", "target"),
    [
        ({"order": ["c", "b"]}, "c/small"),
        ({"only": ["C"]}, "c/small"),
        ({"ignore": ["a"]}, "b/small"),
        ({"order": ["nobody"]}, "a/small"),
        ({"sort": "price"}, "b/small"),
        ({"sort": {"by": "price", "partition": "none"}, "max_price": {"completion": "2"}}, "c/small"),
    ],
)
async def test_preferences_among_a_routes_targets(serve: Any, preferences: dict[str, Any], target: str) -> None:
    """A provider is a backend's name, and prices are the configuration's; both dialects that read it do as it says."""
    prices = {"a/small": Price(3, 3), "b/small": Price(1, 3), "c/small": Price(4, 1)}
    for path in ("/v1/chat/completions", "/v1/completions"):
        three = Three()
        async with gateway(replace(await three.configured(serve, routes=ROUTE), prices=prices)) as here:
            body = {"messages": [{"role": "user", "content": "hi"}]} if "chat" in path else {"prompt": "hi"}
            answer = await here.ask(path, {"model": "one", **body, "provider": preferences})
        assert (answer.status, three.asked) == (200, [target])
        partition = preferences["sort"]["partition"] if isinstance(preferences.get("sort"), dict) else None
        assert answer.headers.get("x-polychat-losses") == ("provider.sort.partition" if partition == "none" else None)


async def test_the_fastest_writer_of_late(serve: Any) -> None:
    """Tokens per second are those of the answers so far; before any, it is reported that nothing is known."""
    three = Three()
    async with gateway(await three.configured(serve, routes=ROUTE)) as here:
        preferences = {"sort": "throughput", "preferred_min_throughput": {"p50": 1}}
        answer = await answer_of(here, "openai-chat", "one", provider=preferences)
        assert answer.headers["x-polychat-losses"] == "provider.preferred_min_throughput, provider.sort"
        for label in "abc":
            await answer_of(here, "openai-chat", f"{label}/small")
        speeds = {label: here.app.runtime.router.health.target(f"{label}/small").speed for label in "abc"}
        assert "x-polychat-losses" not in (await answer_of(here, "openai-chat", "one", provider=preferences)).headers
    assert three.asked[4][0] == max(speeds, key=speeds.__getitem__)


async def test_parameters_that_are_required(serve: Any) -> None:
    """Only a target that carries all fields is asked; where none does, nobody is, and the error says what to leave out."""
    asked_of: list[str] = []

    def backend(name: str) -> Any:
        async def answer(seen: Seen, say: Say) -> None:
            asked_of.append(name)
            await good(seen, say)

        return answer

    rows = {"a": row("anthropic", (await serve(backend("a"))).url), "b": row("openai-chat", (await serve(backend("b"))).url)}
    async with gateway(configured(rows, routes={"two": ("a/small", "b/small")})) as here:
        more = {"seed": 7, "provider": {"require_parameters": True}}
        assert (await answer_of(here, "openai-chat", "two", **more)).status == 200
        refused = await answer_of(here, "openai-chat", "a/small", **more)
    assert asked_of == ["b"]
    assert (refused.status, refused.json["error"]["param"]) == (404, "provider")
    assert "require_parameters" in refused.json["error"]["message"]


@pytest.mark.parametrize("name", ["openrouter/vendor/model", "theirs"])
async def test_preferences_for_openrouter_itself(serve: Any, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Are its own, by whatever name it is asked."""
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-or-of-the-house")
    served = await serve(good)
    rows = {"openrouter": {"base_url": served.url + "/v1"}}
    async with gateway(configured(rows, aliases={"theirs": "openrouter/vendor/model"})) as here:
        preferences = {"models": ["x/y"], "provider": {"sort": "price", "zdr": True}}
        answer = await answer_of(here, "openai-chat", name, **preferences)
        assert (answer.status, answer.headers.get("x-polychat-losses")) == (200, None)
    assert {name: served.seen[0].json[name] for name in preferences} == preferences
    assert served.seen[0].json["model"] == "vendor/model"


# The chat sites


@pytest.mark.parametrize("provider", FIVE)
async def test_the_sites(serve: Any, provider: type[Any]) -> None:
    """A route answers at the chat sites' own endpoints, requested by the very providers that ask those sites."""
    served = await serve(good)
    config = configured({"house": row("openai-chat", served.url)}, routes={"fast": ("house/small",)}, sites="fast")
    async with gateway(config) as here:
        base = f"{here.url}/sites/{provider.__name__.lower()}"
        assert await provider.create_async(None, [{"role": "user", "content": "hi"}], base_url=base, cookies=COOKIES) == "Hello"
    assert "hi" in str(served.seen[0].json["messages"])


async def test_a_site_before_a_site(serve: Any) -> None:
    """A gateway may be the backend of another: what is asked here goes to a site there, whose answer comes back through
    both.
    """
    served = await serve(good)
    async with gateway(configured({"house": row("openai-chat", served.url)}, sites="house/small")) as far:
        answers = find("gptalk").events(
            None, [{"role": "user", "content": "hi"}], base_url=f"{far.url}/sites/gptalk", cookies=COOKIES
        )
        events = [event async for batch in answers for event in batch]
    assert "".join(event.text for event in events if isinstance(event, Text)) == "Hello"


async def test_no_sites(serve: Any) -> None:
    """``sites = ""`` closes them."""
    async with gateway(configured({})) as here:
        assert (await here.ask("/sites/")).status == 404
        assert (await here.ask("/sites/gptalk")).status == 404


# What is lost on the way


LOSING = {"seed": 7, "logit_bias": {"50256": -100}}
FORMING = {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}, "n": 2}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("on_loss", ["report", "allow", "refuse"])
async def test_losses(serve: Any, on_loss: str, stream: bool) -> None:
    """What the backend's wire cannot carry is reported in a header, refused, or allowed; never silently gone."""
    backend = ScriptedVendor("anthropic", SAID)
    served = await serve(backend)
    async with gateway(configured({"house": row("anthropic", served.url)}, on_loss=on_loss)) as here:
        answer = await answer_of(here, "openai-chat", stream=stream, **LOSING)
        (record,) = await here.app.recorded()
    if on_loss == "refuse":
        assert answer.status == 400
        assert answer.json["error"]["param"] in LOSING
        assert backend.asks == []
        return
    assert answer.status == 200
    assert {"seed", "logit_bias"} <= set(answer.headers["x-polychat-losses"].split(", "))
    assert record.fields_dropped >= 2


async def test_what_changes_the_answers_form(serve: Any) -> None:
    """Is refused where losses are reported, unless another target can carry it; allowed where they are allowed."""
    first, second = ScriptedVendor("anthropic", SAID), ScriptedVendor("openai-chat", SAID)
    providers = {"house": row("anthropic", (await serve(first)).url), "other": row("openai-chat", (await serve(second)).url)}
    routes = {"both": ("house/small", "other/small")}
    async with gateway(configured(providers, routes=routes)) as here:
        refused = await answer_of(here, "openai-chat", n=2)
        assert (refused.status, refused.json["error"]["param"]) == (400, "n")
        answer = await answer_of(here, "openai-chat", "both", n=2)
        assert (answer.status, answer.headers["x-polychat-provider"]) == (200, "other")
        assert "x-polychat-losses" not in answer.headers
    assert (first.asks, len(second.asks)) == ([], 1)
    async with gateway(configured(providers, on_loss="allow")) as here:
        answer = await answer_of(here, "openai-chat", n=2)
        assert answer.status == 200
        assert "n" in answer.headers["x-polychat-losses"].split(", ")


async def test_nothing_lost(serve: Any) -> None:
    """Where all arrived there is no such header, passed through or translated."""
    for wire in ("openai-chat", "anthropic"):
        served = await serve(ScriptedVendor(wire, SAID))
        async with gateway(configured({"house": row(wire, served.url)})) as here:
            answer = await answer_of(here, "openai-chat", max_tokens=9, temperature=0.5)
        assert "x-polychat-losses" not in answer.headers
