"""Responses over WebSocket, with a client of the ``websockets`` library before backends of every wire."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from polychat.config.settings import Limits, Store, WebSocket
from polychat.events import Event, Start, Text
from polychat.types import ChatRequest
from polychat.wire.faults import Fault

from ....support.gateway_for_clients import CALLS, HELLO, KEY, WIRES, Held, before, house
from ....support.patience import PATIENCE
from ....support.running_gateway import asking, streaming
from ....support.scripted_server import Say, Seen
from ....support.scripted_vendors import ScriptedVendor
from ....support.websocket_clients import PATH, connected, head, text_of, texts

each_wire = pytest.mark.parametrize("name", WIRES)
TRANSLATED = "openai-chat"
BEGUN: list[list[Event]] = [[Start("one", "m"), Text("Hel")], *HELLO[2:]]
"""The first batch has text: the reply has begun."""


def _without_chance(event: dict[str, Any]) -> str:
    """An event without what is another in each reply: ids, times, and hiding letters."""

    def steady(value: Any) -> Any:
        if isinstance(value, dict):
            names = ("id", "item_id", "created_at", "completed_at", "obfuscation", "call_id")
            return {name: steady(member) for name, member in value.items() if name not in names}
        return [steady(member) for member in value] if isinstance(value, list) else value

    return json.dumps(steady(event), sort_keys=True)


@each_wire
@pytest.mark.parametrize("answer", [HELLO, CALLS], ids=["text", "calls"])
async def test_events_are_those_of_the_stream(name: str, answer: list[list[Event]]) -> None:
    """Each event of a reply is one text frame: the JSON object that a stream over HTTP has as the event's data."""
    async with house(name, answer) as (here, _):
        path, body = asking("openai-responses", stream=True)
        streamed = [json.loads(event.partition("data: ")[2]) for event in (await here.ask(path, body)).events]
        async with connected(here) as socket:
            await socket.create()
            events = await socket.events()
        assert [_without_chance(event) for event in events] == [_without_chance(event) for event in streamed]
        assert [record.path for record in await here.app.recorded(3)] == [PATH] * 3
        assert {record.verdict for record in here.records} == {None, "complete"}, "the upgrade has none"


@pytest.mark.parametrize("path", ["/v1/responses", "/responses", "/v1//responses", "/v1/responses/", "/v1/v1/responses"])
async def test_every_spelling_of_the_path(path: str) -> None:
    """The upgrade is taken where ``POST`` is."""
    async with house(TRANSLATED, HELLO) as (here, _), connected(here, path) as socket:
        assert text_of(await socket.ask()) == "Hello"


@each_wire
async def test_a_response_goes_on_from_the_one_before(name: str) -> None:
    """With ``store: false`` a request sends only what is new; the backend gets the whole conversation."""
    async with house(name, HELLO) as (here, backend), connected(here) as socket:
        first = await socket.ask("one", store=False)
        second = await socket.ask([{"role": "user", "content": "two"}], store=False, previous_response_id=first["id"])
        await socket.ask("three", store=False, previous_response_id=second["id"])
        assert second["previous_response_id"] == first["id"]
        assert [texts(request) for request in backend.asks] == [
            ["one"],
            ["one", "Hello", "two"],
            ["one", "Hello", "two", "Hello", "three"],
        ]


async def test_calls_are_gone_on_from_with_their_results() -> None:
    """An agent's turn: the calls of the reply before are in the conversation, and their results are all that is sent."""
    async with house(TRANSLATED, CALLS) as (here, backend), connected(here) as socket:
        first = await socket.ask("weather?", store=False)
        calls = [item for item in first["output"] if item["type"] == "function_call"]
        results = [{"type": "function_call_output", "call_id": call["call_id"], "output": "12"} for call in calls]
        await socket.ask(results, store=False, previous_response_id=first["id"])
        roles = [turn.role for turn in backend.asks[1].turns]
        assert roles == ["user", "assistant", "tool", "tool"] or roles == ["user", "assistant", "tool"]


@pytest.mark.parametrize("name", ["openai-chat", "openai-responses"])
async def test_a_response_that_is_not_remembered(name: str) -> None:
    """An id that neither the connection nor the store knows is ``previous_response_not_found`` with status 400."""

    def answer(request: ChatRequest) -> Any:
        return HELLO

    vendor = ScriptedVendor(name, answer)
    if name == "openai-responses":
        vendor.fault = Fault("gone", "not_found", 404, "previous_response_not_found", "previous_response_id")
    async with house(name, vendor) as (here, _), connected(here) as socket:
        error = await socket.ask(previous_response_id="resp_gone", store=False)
        assert (error["status"], error["error"]["code"]) == (400, "previous_response_not_found")
        assert error["error"]["param"] == "previous_response_id"


async def test_only_the_latest_response_is_remembered_unless_stored() -> None:
    """An older response is gone with ``store: false``; a stored one is found where replies are stored."""
    async with house(TRANSLATED, HELLO) as (here, backend), connected(here) as socket:
        older = await socket.ask("one", store=False)
        second = await socket.ask("two")
        latest = await socket.ask("three", store=False)
        assert (await socket.ask("x", previous_response_id=older["id"]))["error"]["code"] == "previous_response_not_found"
        await socket.ask("x", previous_response_id=second["id"])
        assert texts(backend.asks[-1]) == ["two", "Hello", "x"]
        assert latest["id"] not in (older["id"], second["id"])


@pytest.mark.parametrize("wrong", [7, {"role": "user", "content": "two"}, True])
async def test_a_wrong_input_is_refused_also_behind_a_response(wrong: Any) -> None:
    """What is no text and no list is reported as such: it does not vanish before the conversation."""
    async with house(TRANSLATED, HELLO) as (here, backend), connected(here) as socket:
        first = await socket.ask("one", store=False)
        for more in ({}, {"previous_response_id": first["id"]}):
            error = await socket.ask(wrong, store=False, **more)
            assert (error["status"], error["error"]["param"]) == (400, "input")
        assert len(backend.asks) == 1


async def test_another_connection_knows_nothing_of_it() -> None:
    """What a connection remembers is its own, and goes with it."""
    async with house(TRANSLATED, HELLO) as (here, _):
        async with connected(here) as socket:
            first = await socket.ask("one", store=False)
        async with connected(here) as other:
            error = await other.ask("two", previous_response_id=first["id"])
        assert error["error"]["code"] == "previous_response_not_found"
        assert here.app.bodies.held == 0


async def test_a_failed_request_makes_its_lane_forget() -> None:
    """After a 4xx or 5xx what the request went on from is forgotten; what another lane went on from is not."""
    async with house(TRANSLATED, HELLO) as (here, _), connected(here) as socket:
        first = await socket.ask("one", store=False)
        bad = {"store": False, "previous_response_id": first["id"], "temperature": "hot"}
        await socket.create("two", stream_id="fork", **bad)
        assert (await socket.events())[-1]["status"] == 400
        again = await socket.ask("two", store=False, previous_response_id=first["id"])
        assert text_of(again) == "Hello"
        assert (await socket.ask("three", **{**bad, "previous_response_id": again["id"]}))["status"] == 400
        error = await socket.ask("four", store=False, previous_response_id=again["id"])
        assert error["error"]["code"] == "previous_response_not_found"


async def test_a_failed_fork_forgets_nothing_of_its_own() -> None:
    """A lane that went on from another's response, and failed, still remembers its own latest."""
    async with house(TRANSLATED, HELLO) as (here, _), connected(here) as socket:
        main = await socket.ask("one", store=False)
        await socket.create("fork", store=False, stream_id="fork")
        own = (await socket.events())[-1]["response"]
        await socket.create("two", stream_id="fork", store=False, previous_response_id=main["id"], temperature="hot")
        assert (await socket.events())[-1]["status"] == 400
        for stored in (main, own):
            assert text_of(await socket.ask("x", stream_id="more", store=False, previous_response_id=stored["id"])) == "Hello"


async def test_a_request_that_was_cut_makes_its_lane_forget() -> None:
    """As after a refusal, where there was no answer yet and a task is cancelled: 503, and the next one gets the real state."""
    async with house(TRANSLATED, Held(TRANSLATED, HELLO)) as (here, vendor), connected(here) as socket:
        vendor.go.set()
        first = await socket.ask("one", store=False)
        vendor.go.clear()
        await socket.create("two", store=False, previous_response_id=first["id"])
        async with asyncio.timeout(PATIENCE):
            while len(vendor.asks) < 2:
                await asyncio.sleep(0)
        for task in list(here.state.tasks):
            task.cancel()
        assert (await socket.events())[-1]["status"] == 503
        error = await socket.ask("three", store=False, previous_response_id=first["id"])
        assert error["error"]["code"] == "previous_response_not_found"
        vendor.go.set()


@pytest.mark.parametrize("settings", [{"store": Store(bytes=100)}, {"limits": Limits(body_total=1000)}], ids=["store", "total"])
async def test_what_is_too_large_is_not_remembered(settings: Any) -> None:
    """``gateway.store.bytes`` bounds what a connection remembers, ``body_total`` what all do; what is not remembered holds
    no room.
    """
    words: list[list[Event]] = [[Start("one", "m"), Text("word " * 300)], *HELLO[3:]]
    async with house(TRANSLATED, words, **settings) as (here, _), connected(here) as socket:
        first = await socket.ask("one", store=False)
        error = await socket.ask("two", store=False, previous_response_id=first["id"])
        assert error["error"]["code"] == "previous_response_not_found"
        assert here.app.bodies.held == 0


async def test_lanes() -> None:
    """Requests of one lane run in their order, those of different lanes at the same time; events name their lane."""
    vendor = Held(TRANSLATED, BEGUN)
    async with house(TRANSLATED, vendor) as (here, _), connected(here) as socket:
        for lane in ("a", "a", "b"):
            await socket.create(f"to {lane}", stream_id=lane)
        first = [await socket.event() for _ in range(8)]
        lanes = [event["stream_id"] for event in first if event["type"] == "response.created"]
        assert sorted(lanes) == ["a", "b"], "the second of lane a waits"
        vendor.go.set()
        rest: list[dict[str, Any]] = []
        while sum(event["type"] == "response.completed" for event in rest) < 3:
            rest.append(await socket.event())
        events = [event for event in (*first, *rest) if event["stream_id"] == "a"]
        ends = [event["type"] for event in events if event["type"] in ("response.created", "response.completed")]
        assert ends == ["response.created", "response.completed"] * 2


async def test_a_lane_goes_on_from_another() -> None:
    """A response is gone on from in a new lane, and its own lane goes on too."""
    async with house(TRANSLATED, HELLO) as (here, backend), connected(here) as socket:
        first = await socket.ask("one", store=False, stream_id="main")
        await socket.ask("fork", store=False, stream_id="critic", previous_response_id=first["id"])
        await socket.ask("two", store=False, stream_id="main", previous_response_id=first["id"])
        assert [texts(request)[-1] for request in backend.asks] == ["one", "fork", "two"]
        assert all(texts(request)[:2] == ["one", "Hello"] for request in backend.asks[1:])


async def test_no_more_than_16_at_a_time_and_32_names() -> None:
    """The 17th request waits for one of those before it; a 33rd name is ``websocket_stream_limit_reached``."""
    vendor = Held(TRANSLATED, BEGUN)
    async with house(TRANSLATED, vendor) as (here, _), connected(here) as socket:
        for number in range(32):
            await socket.create(stream_id=f"lane-{number}")
        await socket.create(stream_id="one-more")
        events: list[dict[str, Any]] = []
        while (
            not events or events[-1]["type"] != "error" or sum(e["type"] == "response.output_text.delta" for e in events) < 16
        ):
            events.append(await socket.event())
            if events[-1]["type"] == "error":
                break
        error = events[-1]
        assert (error["error"]["code"], error["stream_id"]) == ("websocket_stream_limit_reached", "one-more")
        await socket.create("the lane without a name is not one of them")
        while len(vendor.asks) < 16:
            await socket.event()
        assert here.app.running == 16
        vendor.go.set()
        ends = 0
        while ends < 33:
            ends += (await socket.event())["type"] == "response.completed"


@pytest.mark.parametrize("name", ["", "a b", "é", "x" * 257, 7])
async def test_a_lane_without_a_good_name(name: Any) -> None:
    """``invalid_stream_id``."""
    async with house(TRANSLATED, HELLO) as (here, _), connected(here) as socket:
        assert (await socket.ask(stream_id=name))["error"]["code"] == "invalid_stream_id"
        assert text_of(await socket.ask()) == "Hello"


BAD = {
    "no JSON": "hello",
    "no object": "[]",
    "nothing": "",
    "no type": {"model": "house/small", "input": "hi"},
    "another type": {"type": "response.cancel", "response_id": "resp_1"},
    "no model": {"type": "response.create", "input": "hi"},
    "an unknown model": {"type": "response.create", "model": "nobody/nothing", "input": "hi"},
    "a wrong value": {"type": "response.create", "model": "house/small", "input": "hi", "temperature": "hot"},
    "in the background": {"type": "response.create", "model": "house/small", "input": "hi", "background": True},
    "too deep": '{"type":"response.create","model":"house/small","input":' + "[" * 600 + "]" * 600 + "}",
}


@pytest.mark.parametrize("message", BAD.values(), ids=BAD)
async def test_a_bad_message_is_answered_and_the_next_one_too(message: Any) -> None:
    """Each is an ``error`` event with a status, and an ``error`` that says what is wrong; the connection goes on."""
    async with house(TRANSLATED, HELLO) as (here, backend), connected(here) as socket:
        await socket.send(message)
        event = await socket.event()
        assert event["type"] == "error"
        assert event["status"] in (400, 404)
        assert event["error"]["message"]
        assert event["error"]["type"] in ("invalid_request_error", "not_found_error")
        assert text_of(await socket.ask()) == "Hello"
        assert len(backend.asks) == 1


async def test_a_backends_refusal_has_its_status_and_headers() -> None:
    """What a status and headers say over HTTP is in the event, where Codex and the SDK look for it."""
    vendor = ScriptedVendor(TRANSLATED, HELLO, fault=Fault("slow down", "rate_limit", 429))
    async with house(TRANSLATED, vendor) as (here, _), connected(here) as socket:
        event = await socket.ask()
        assert event["status"] == 429
        assert event["error"]["message"]
        assert event["headers"]["x-request-id"].startswith("req_")
        assert event["headers"] == event["error"]["headers"]
        assert not any(name.startswith("content-") for name in event["headers"])


async def test_what_breaks_amid_a_reply_is_reported_in_it() -> None:
    """The reply ends in ``error`` and ``response.failed``, as a stream does; the connection goes on."""
    vendor = ScriptedVendor(TRANSLATED, HELLO, cut_after=2)
    async with house(TRANSLATED, vendor) as (here, _), connected(here) as socket:
        await socket.create()
        events = await socket.events()
        assert events[-1]["type"] == "error"
        assert (await socket.event())["type"] == "response.failed"
        vendor.cut_after = None
        assert text_of(await socket.ask()) == "Hello"


async def test_an_event_that_breaks_off_is_not_sent() -> None:
    """Where a stream that passes through is cut amid an event, each frame is JSON all the same, and the last the failure."""
    begun = {"type": "response.created", "response": {"id": "r", "status": "in_progress", "output": []}, "sequence_number": 0}
    delta = {"type": "response.output_text.delta", "item_id": "m", "output_index": 0, "content_index": 0, "delta": "Hel"}
    pieces = [f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in (begun, delta, delta)]
    handler = streaming(*pieces[:2], pieces[2][:-20], cut=True)
    async with before({"house": ("openai-responses", handler)}) as here, connected(here) as socket:
        await socket.create()
        events = await socket.events()
        assert [event["type"] for event in events] == ["response.created", "response.output_text.delta", "error"]
        assert (await socket.event())["type"] == "response.failed"


async def test_losses_are_reported_after_the_first_event() -> None:
    """What is a header over HTTP, ``x-polychat-losses``, is an event of its own."""
    async with house(TRANSLATED, HELLO) as (here, _), connected(here) as socket:
        await socket.create(tools=[{"type": "web_search"}, {"type": "function", "name": "f", "parameters": {"type": "object"}}])
        events = await socket.events()
        assert events[0]["type"] == "response.created"
        assert events[1]["type"] == "polychat:losses"
        assert "web_search" in events[1]["losses"]
        await socket.create()
        assert "polychat:losses" not in {event["type"] for event in await socket.events()}


async def test_the_connections_key_is_each_requests() -> None:
    """A wrong key is refused at the upgrade; with the right one each request has the key's name."""
    async with house(TRANSLATED, HELLO, keys={"me": f"env:{KEY_NAME}"}) as (here, _):
        for headers in ({}, {"authorization": "Bearer sk-wrong-wrong"}):
            with pytest.raises(InvalidStatus) as refused:
                async with connected(here, headers=headers):
                    pass
            assert refused.value.response.status_code == 401
        async with connected(here, headers={"authorization": f"Bearer {KEY}"}) as socket:
            assert text_of(await socket.ask()) == "Hello"
        assert [record.key for record in here.records] == ["", "", "me", "me"]


KEY_NAME = "POLYCHAT_TEST_WEBSOCKET_KEY"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_NAME, KEY)
    monkeypatch.setenv("POLYCHAT_TEST_OTHER_KEY", "sk-another-key")


@pytest.mark.parametrize("guarded", [False, True])
async def test_a_page_of_another_site_opens_nothing(guarded: bool) -> None:
    """Browsers let every page open a WebSocket to everywhere, and say only whose page it is: as a request's, it is refused."""
    keys = {"keys": {"me": f"env:{KEY_NAME}"}} if guarded else {}
    async with house(TRANSLATED, HELLO, cors=("https://good.example",), **keys) as (here, _):
        headers = {"authorization": f"Bearer {KEY}"}
        with pytest.raises(InvalidStatus) as refused:
            async with connected(here, headers=headers, origin="https://evil.example"):
                pass
        assert refused.value.response.status_code == 403
        for origin in ("https://good.example", here.url):
            async with connected(here, headers=headers, origin=origin) as socket:
                assert text_of(await socket.ask()) == "Hello"


async def test_the_origin_is_looked_at_once() -> None:
    """A page that was allowed to open a connection may use it, also after a reload that would allow it no other."""
    good = "https://good.example"
    async with house(TRANSLATED, HELLO, cors=(good,)) as (here, _), connected(here, origin=good) as socket:
        configured = here.app.runtime.configured
        here.app.reload(replace(configured, gateway=configured.gateway.replace(cors=())))
        assert text_of(await socket.ask()) == "Hello"


async def test_a_client_that_has_ended_its_side() -> None:
    """It could send no message: the upgrade is refused, with an answer that can be read."""
    async with house(TRANSLATED, HELLO) as (here, _):
        caller = await here.caller()
        caller.raw(head())
        caller.end()
        answer = await caller.whole()
        assert (answer.status, "use POST" in answer.json["error"]["message"]) == (426, True)


TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize("sent", [TRACE, "", "nonsense", TRACE + "\r\nx-evil: 1", "é", 7])
async def test_a_request_has_a_trace_of_its_own(sent: Any) -> None:
    """``client_metadata`` brings what is a header over HTTP, as Codex sends it; what is none leaves the connection's trace."""
    upgrades = "00-11111111111111111111111111111111-2222222222222222-00"
    headers = {"traceparent": upgrades}
    async with house("openai-responses", HELLO) as (here, backend), connected(here, headers=headers) as socket:
        assert text_of(await socket.ask(client_metadata={"ws_request_header_traceparent": sent})) == "Hello"
        assert text_of(await socket.ask(client_metadata={"session_id": "s"})) == "Hello"
        traces = [request.headers["traceparent"] for request in backend.seen]
        assert traces == [TRACE if sent == TRACE else upgrades, upgrades]
        assert "x-evil" not in backend.seen[0].headers


async def test_a_host_that_was_made_to_point_here() -> None:
    """Without keys, a name that is not this machine's is refused at the upgrade."""
    async with house(TRANSLATED, HELLO) as (here, _):
        caller = await here.caller()
        caller.raw(head(host="evil.example"))
        assert (await caller.whole()).status == 403


async def test_each_request_counts() -> None:
    """Requests over WebSocket are among those of ``gateway.limits.concurrent``; the connection itself is not."""
    vendor = Held(TRANSLATED, BEGUN)
    limits = Limits(concurrent=1)
    async with house(TRANSLATED, vendor, limits=limits) as (here, _), connected(here) as idle, connected(here) as socket:
        await socket.create()
        await socket.event()
        error = await idle.ask()
        assert (error["status"], error["error"]["code"]) == (429, "rate_limit_exceeded")
        assert error["headers"]["retry-after"] == "1"
        vendor.go.set()
        await socket.events()
        assert text_of(await idle.ask()) == "Hello"


async def test_a_message_for_which_there_is_no_room() -> None:
    """A request that would exceed ``gateway.limits.body_total`` gets an error, and leaves its room to the next."""
    async with house(TRANSLATED, HELLO, limits=Limits(body_total=2000)) as (here, _), connected(here) as socket:
        for _ in range(2):
            error = await socket.ask("x" * 3000)
            assert (error["status"], error["headers"]["retry-after"]) == (503, "1")
        assert text_of(await socket.ask("one", store=False)) == "Hello"
        assert here.app.bodies.held < 2000


async def test_a_client_that_leaves_cancels_what_it_asked() -> None:
    """The requests under way are cancelled, those that wait are never asked, and no bytes stay held."""
    vendor = Held(TRANSLATED, BEGUN)
    async with house(TRANSLATED, vendor) as (here, _):
        async with connected(here) as socket:
            await socket.create()
            await socket.create("never")
            await socket.create(stream_id="b")
            while len(vendor.asks) < 2:
                await socket.event()
            await socket.event()
            socket.connection.transport.abort()
        records = await here.app.recorded(3)
        assert [record.verdict for record in records[1:]] == ["cancelled", "cancelled"]
        assert (len(vendor.asks), here.app.bodies.held, here.app.running) == (2, 0, 0)
        vendor.go.set()


async def test_a_client_that_closes_cancels_what_it_asked() -> None:
    """A close frame is a leaving, whatever is under way."""
    vendor = Held(TRANSLATED, BEGUN)
    async with house(TRANSLATED, vendor) as (here, _):
        async with connected(here) as socket:
            await socket.create()
            await socket.event()
        assert (await here.app.recorded(2))[1].verdict == "cancelled"
        vendor.go.set()


async def test_the_gateways_end() -> None:
    """What runs is answered to its end, what comes later is refused with 503, and then the connection is closed with 1001."""
    vendor = Held(TRANSLATED, BEGUN)
    async with house(TRANSLATED, vendor) as (here, _), connected(here) as socket, connected(here) as idle:
        await socket.create()
        await socket.event()
        here.app.drain()
        here.state.draining = True
        await socket.create("late", stream_id="b")
        late = await socket.event()
        while late["type"] != "error":
            late = await socket.event()
        assert late["status"] == 503
        for connection in list(here.state.connections):
            connection.shutdown()
        assert (await idle.closed())[0] == 1001
        vendor.go.set()
        assert text_of((await socket.events())[-1]["response"]) == "Hello"
        assert await socket.closed() == (1001, "the gateway is shutting down")


async def test_what_is_cut_at_the_end_of_the_grace_is_reported() -> None:
    """A request whose task is cancelled ends in ``response.failed``."""
    vendor = Held(TRANSLATED, BEGUN)
    async with house(TRANSLATED, vendor) as (here, _), connected(here) as socket:
        await socket.create()
        await socket.event()
        here.app.drain()
        for task in list(here.state.tasks):
            task.cancel()
        events = await socket.events()
        assert events[-1]["type"] == "error"
        assert (await socket.event())["type"] == "response.failed"
        vendor.go.set()


async def test_a_key_that_is_taken_away() -> None:
    """The key is looked up for each request: after a reload without it, 401, on a connection that was opened with it."""
    keys, headers = {"me": f"env:{KEY_NAME}"}, {"authorization": f"Bearer {KEY}"}
    async with house(TRANSLATED, HELLO, keys=keys) as (here, _), connected(here, headers=headers) as socket:
        assert text_of(await socket.ask()) == "Hello"
        configured = here.app.runtime.configured
        other = {"other": "env:POLYCHAT_TEST_OTHER_KEY"}
        here.app.reload(replace(configured, gateway=configured.gateway.replace(keys=other)))
        assert (await socket.ask())["status"] == 401


async def test_other_endpoints_have_none() -> None:
    """An upgrade anywhere else is answered over HTTP, with 426 where the endpoint takes ``POST``."""
    async with house(TRANSLATED, HELLO) as (here, _):
        for path, status in (("/v1/chat/completions", 426), ("/v1/messages", 426), ("/v1/models", 200), ("/nowhere", 404)):
            with pytest.raises(InvalidStatus) as refused:
                async with connected(here, path):
                    pass
            assert refused.value.response.status_code == status


async def test_an_old_connection_takes_no_more() -> None:
    """A connection of more than ``life_seconds`` answers what it began, refuses the next request, and is closed."""
    vendor = Held(TRANSLATED, BEGUN)
    settings = WebSocket(life_seconds=0.1, ping_seconds=60)
    async with house(TRANSLATED, vendor, websocket=settings) as (here, _), connected(here) as socket:
        await socket.create()
        await socket.event()
        await _until(asyncio.get_running_loop().time() + 0.1)
        await socket.create("late")
        events = [await socket.event()]
        while events[-1]["type"] != "error":
            events.append(await socket.event())
        assert events[-1]["error"]["code"] == "websocket_connection_limit_reached"
        vendor.go.set()
        assert text_of((await socket.events())[-1]["response"]) == "Hello"
        assert (await socket.closed())[0] == 1000


async def _until(time: float) -> None:
    """Returns at a time of the loop's clock."""
    loop = asyncio.get_running_loop()
    reached = loop.create_future()
    loop.call_at(time, reached.set_result, None)
    await reached


async def test_thoughts_without_content_are_not_sent_back() -> None:
    """A vendor that keeps its thoughts to itself takes no item that only names them, where nothing is stored."""
    thought = {"type": "reasoning", "id": "rs_1", "summary": []}
    call = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{}", "status": "completed"}
    seen: list[Any] = []

    async def handler(request: Seen, say: Say) -> None:
        seen.append(request.json)
        response = {"id": "resp_up", "object": "response", "status": "completed", "model": "m", "output": [thought, call]}
        await say.head(content_type="text/event-stream")
        for kind in ("response.created", "response.completed"):
            event = json.dumps({"type": kind, "response": response})
            await say.chunk(f"event: {kind}\ndata: {event}\n\n".encode())
        await say.last()

    async with before({"house": ("openai-responses", handler)}) as here, connected(here) as socket:
        first = await socket.ask("one", store=False)
        result = {"type": "function_call_output", "call_id": "c1", "output": "x"}
        await socket.ask([result], store=False, previous_response_id=first["id"])
        items = seen[1]["input"]
        assert [item["type"] for item in items] == ["message", "function_call", "function_call_output"]
        assert "id" not in items[1]
