"""What the rules of a route say holds in the library and the command as it does in the gateway."""

from __future__ import annotations

from typing import Any

import pytest

from polychat import Client, Reply
from polychat.config.settings import Route
from polychat.errors import BadInput, LossWarning, PolychatError, UnknownTarget
from polychat.events import Event, Finish, Text, Usage
from polychat.routing.clocks import Kind
from polychat.routing.hedging import HedgeBudget

from ..support.running_gateway import DONE, END, FIRST, Stage, configured, good, row, streaming, text, until
from ..support.scripted_vendors import ScriptedVendor


async def failing(seen: Any, say: Any) -> None:
    await say.whole({"error": {"message": "out of order"}}, 500)


async def vectors_too(seen: Any, say: Any) -> None:
    vectors = {"object": "list", "model": "m", "data": [{"object": "embedding", "index": 0, "embedding": [1.0]}], "usage": {}}
    await (say.whole(vectors) if seen.path.endswith("/embeddings") else good(seen, say))


CUT = streaming(FIRST, text("Once upon "), cut=True)


def routed(first: Any, second: Any, wire: str = "openai-chat", **rules: Any) -> Client:
    """A client with a route of two targets, the first before the second."""
    providers = {"house": row(wire, first.url), "other": row(wire, second.url)}
    route = Route(("house/small", "other/small"), strategy="ordered", **rules)
    return Client("fast", config=configured(providers, routes={"fast": route}))


async def streamed(client: Client, **keywords: Any) -> tuple[str, Reply, PolychatError | None]:
    """The text as it came, the reply, and what cut it off."""
    pieces, failure = [], None
    async with client.stream("Tell a story.", **keywords) as reply:
        try:
            async for piece in reply:
                pieces.append(piece)
        except PolychatError as error:
            failure = error
    return "".join(pieces), reply.reply(), failure


async def test_a_hold_retries_an_early_failure_unseen(serve: Any) -> None:
    """The next target's answer is all that comes; without a hold, what came is given and then the failure."""
    first, second = await serve(CUT), await serve(streaming(FIRST, text("All of it"), END, DONE))
    words, reply, failure = await streamed(routed(first, second, hold=100, hold_seconds=60.0))
    assert (words, reply.verdict, reply.provider, failure) == ("All of it", "complete", "other", None)
    words, reply, failure = await streamed(routed(first, second))
    assert (words, reply.verdict, reply.provider) == ("Once upon ", "truncated", "house")
    assert failure is not None


async def test_a_reply_longer_than_the_hold_is_given_as_it_comes(serve: Any) -> None:
    """Behind what was kept back the rest follows, in order and once."""
    pieces = [text(f"{number} ") for number in range(50)]
    first, second = await serve(streaming(FIRST, *pieces, END, DONE)), await serve(good)
    words, reply, failure = await streamed(routed(first, second, hold=20, hold_seconds=60.0))
    assert words == "".join(f"{number} " for number in range(50))
    assert (reply.verdict, reply.provider, failure, second.seen) == ("complete", "house", None, [])


async def test_a_continuation_goes_on_with_another_targets_words(serve: Any) -> None:
    """In one reply, whose seam is reported; the other target gets what there is of it."""
    first, second = await serve(CUT), await serve(streaming(FIRST, text("a time."), END, DONE))
    words, reply, failure = await streamed(routed(first, second, continuation=True))
    assert (words, reply.text, failure) == ("Once upon a time.", "Once upon a time.", None)
    assert (reply.verdict, reply.seams) == ("complete", ["by other/small after 10 characters"])
    assert b"Once upon" in second.seen[0].body


@pytest.mark.parametrize(
    ("more", "is_marked"), [({"prefill": "prefix"}, True), ({"prefill": "prefix", "prefill_models": ["large*"]}, False)]
)
async def test_a_vendor_that_goes_on_with_a_beginning(serve: Any, more: dict[str, Any], is_marked: bool) -> None:
    """Gets it marked as its API has it, be the beginning repeated or not; a model that does not is asked to go on."""
    first, second = await serve(CUT), await serve(streaming(FIRST, text("Once upon a time."), END, DONE))
    providers = {"house": row("openai-chat", first.url), "other": {**row("openai-chat", second.url), **more}}
    route = Route(("house/small", "other/small"), strategy="ordered", continuation=True)
    words, _, failure = await streamed(Client("fast", config=configured(providers, routes={"fast": route})))
    assert (words, failure) == ("Once upon a time.", None)
    last = second.seen[0].json["messages"][-1]
    marked = {"role": "assistant", "content": "Once upon", "prefix": True}
    assert last == marked if is_marked else last["role"] == "user"


@pytest.mark.parametrize("keywords", [{"schema": {"type": "object"}}, {"reasoning": "low"}])
async def test_only_plain_text_goes_on(serve: Any, keywords: dict[str, Any]) -> None:
    """A reply to a schema, or with reasoning, stays cut off."""
    first, second = await serve(CUT), await serve(good)
    words, reply, failure = await streamed(routed(first, second, continuation=True), on_loss="allow", **keywords)
    assert (words, reply.verdict, reply.seams) == ("Once upon ", "truncated", [])
    assert failure is not None
    assert second.seen == []


@pytest.mark.parametrize("stream", [True, False])
async def test_a_second_target_is_asked_while_the_first_is_slow(serve: Any, stream: bool) -> None:
    """It answers, and the first one's connection is closed; nothing stays in flight."""
    stage = Stage(None)
    first, second = await serve(stage), await serve(good)
    client = routed(first, second, hedge=True)
    router = client._targets().router({})
    for _ in range(64):
        router.health.facts("fast", "house/small").learn(Kind(stream, 0, False), 0.001)
    budget = router.hedges["fast"] = HedgeBudget()
    for _ in range(100):
        budget.count_request(router.clock())
    reply = (await streamed(client))[1] if stream else await client.ask("hi")
    await until(stage.left)
    assert (reply.verdict, reply.provider) == ("complete", "other")
    assert [router.health.facts("fast", f"{name}/small").in_flight for name in ("house", "other")] == [0, 0]


@pytest.mark.parametrize(
    ("expected", "provider"),
    [({}, "house"), ({"order": ["other"]}, "other"), ({"only": ["OTHER"]}, "other"), ({"ignore": ["house"]}, "other")],
)
async def test_provider_selects_who_may_answer(serve: Any, expected: dict[str, Any], provider: str) -> None:
    """Of a route, and of a target that is named; the one it wants is the only one that is asked."""
    first, second = await serve(good), await serve(good)
    client = routed(first, second)
    assert (await client.ask("hi", provider=expected)).provider == provider
    if expected.keys() & {"order", "only"}:
        assert (await client.ask("hi", model="house/small", provider=expected)).provider == provider


async def test_provider_in_openais_shape_and_for_vectors(serve: Any) -> None:
    """Says who may answer there too; what cannot be obeyed is refused where losses are."""
    first, second = await serve(vectors_too), await serve(vectors_too)
    client = routed(first, second)
    messages = [{"role": "user", "content": "hi"}]
    await client.chat.completions.create(model="fast", messages=messages, provider={"order": ["other"]})
    assert "provider" not in second.seen[0].json
    assert (await client.embed("hi", model="fast", provider={"ignore": ["house"]})).vectors == [[1.0]]
    assert (len(first.seen), len(second.seen)) == (0, 2)
    for refused in (
        client.chat.completions.create(model="fast", messages=messages, provider={"zdr": True}, on_loss="refuse"),
        client.embed("hi", model="fast", provider={"zdr": True}, on_loss="refuse"),
    ):
        with pytest.raises(BadInput, match="zdr"):
            await refused


async def test_models_are_fallbacks(serve: Any) -> None:
    """They are called in order where ``model`` fails, by ``ask``, ``stream`` and OpenAI's shape; no backend gets the field."""
    first, second = await serve(failing), await serve(vectors_too)
    client, messages = routed(first, second), [{"role": "user", "content": "hi"}]
    named: dict[str, Any] = {"model": "house/small", "models": ["house/small", "other/big"]}
    assert (await client.ask("hi", **named)).provider == "other"
    assert (await streamed(client, **named))[1].provider == "other"
    await client.chat.completions.create(messages=messages, **named)
    await client.chat.completions.create(messages=messages, model="house/small", extra_body={"models": ["other/big"]})
    assert (await client.embed("hi", **named)).vectors == [[1.0]]
    assert [seen.json["model"] for seen in second.seen] == ["big"] * 5
    assert not any("models" in seen.json for seen in (*first.seen, *second.seen))
    count = len(first.seen)
    assert (await client.ask("hi", **named, provider={"ignore": ["house"]})).provider == "other"
    assert len(first.seen) == count
    for models, field in (("other/big", "models"), ([1], r"models\[0\]"), (["other/big"] * 65, "models")):
        with pytest.raises(BadInput, match=field):
            await client.ask("hi", model="house/small", models=models)  # type: ignore[arg-type]  # what it refuses
        with pytest.raises(BadInput, match=field):
            await client.embed("hi", model="house/small", models=models)  # type: ignore[arg-type]  # what it refuses
    with pytest.raises(UnknownTarget):
        await client.ask("hi", model="house/small", models=["nobody/x"])


async def test_openrouter_gets_its_own_fields(serve: Any) -> None:
    """``models`` and ``provider`` mean its own names, where it alone answers."""
    server = await serve(good)
    openrouter = Client("openrouter/a/x", api_key="sk-or", base_url=server.url, config=configured({}))
    own: dict[str, Any] = {"models": ["b/y"], "provider": {"order": ["deepinfra"]}}
    await openrouter.ask("hi", **own)
    await openrouter.chat.completions.create(messages=[{"role": "user", "content": "hi"}], **own)
    for seen in server.seen:
        assert {name: seen.json[name] for name in own} == own


async def test_what_of_provider_cannot_be_obeyed_is_a_loss(serve: Any) -> None:
    """What is known of no backend is reported, or refused; a wish that leaves nobody, or means nothing, is refused by name."""
    first, second = await serve(good), await serve(good)
    client = routed(first, second)
    reply = await client.ask("hi", provider={"zdr": True}, on_loss="report")
    assert [loss.field for loss in reply.losses] == ["provider.zdr"]
    with pytest.raises(BadInput, match="zdr"):
        await client.ask("hi", provider={"zdr": True}, on_loss="refuse")
    with pytest.raises(BadInput, match="provider.order"):
        await client.ask("hi", provider={"order": "house"})
    with pytest.raises(UnknownTarget, match="excludes every target"):
        await client.ask("hi", provider={"ignore": ["house", "other"]})
    assert len(first.seen) + len(second.seen) == 1


LOST: dict[str, Any] = {"presence_penalty": 0.5}
HOSTED: dict[str, Any] = {
    "tools": [{"type": "web_search"}, {"type": "function", "name": "f", "parameters": {"type": "object"}}]
}


async def _asked(client: Client, way: str, **keywords: Any) -> None:
    if way == "openai":
        await client.chat.completions.create(messages=[{"role": "user", "content": "hi"}], **keywords)
    elif way == "ask":
        await client.ask("hi", **keywords)
    else:
        _, _, failure = await streamed(client, **keywords)
        if failure is not None:
            raise failure


@pytest.mark.parametrize("way", ["ask", "stream", "openai"])
async def test_a_route_decides_about_losses(serve: Any, way: str) -> None:
    """Its ``on_loss`` and ``hosted_tools`` hold where the call does not say; the call's own word goes first."""
    words: list[list[Event]] = [[Text("Hello")], [Usage(1, 2, 3), Finish("complete", "stop")]]
    server = await serve(ScriptedVendor("anthropic", words))

    def client(**rules: Any) -> Client:
        return routed(server, server, wire="anthropic", **rules)

    await _asked(client(on_loss="report"), way, **LOST)  # without a warning, which would be an error here
    await _asked(client(on_loss="report", hosted_tools="drop"), way, **HOSTED)
    with pytest.raises(BadInput, match="web_search"):
        await _asked(client(on_loss="report"), way, **HOSTED)
    with pytest.raises(BadInput, match="presence_penalty"):
        await _asked(client(on_loss="refuse"), way, **LOST)
    with pytest.raises(BadInput, match="hosted_tools is refuse"):
        await _asked(client(on_loss="report", hosted_tools="refuse"), way, **HOSTED)
    await _asked(client(on_loss="refuse"), way, on_loss="allow", **LOST)
    with pytest.warns(LossWarning, match="presence_penalty"):
        await _asked(client(), way, **LOST)
