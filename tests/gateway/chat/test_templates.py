"""Requests that differ only in their texts are translated once; each is sent as if it had been translated for itself."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from polychat.backends.compiled import STAND_IN, stand_ins
from polychat.backends.registry import Registry
from polychat.calls.info import CallInfo
from polychat.config.settings import Limits
from polychat.errors import BadInput, PolychatError
from polychat.gateway.chat.templates import RequestTemplates
from polychat.gateway.dialects.anthropic.dialect import Anthropic
from polychat.gateway.dialects.dialect import Dialect, InboundChat
from polychat.gateway.dialects.openai_chat.dialect import OpenAIChat, OpenAICompletions
from polychat.http.timeouts import STEPS
from polychat.routing import Plan
from polychat.routing.resolve import ModelResolver
from polychat.wire.contract import names
from polychat.wire.estimating import prompt_size
from polychat.wire.losses import BILLING

from ...support.running_gateway import asking, configured, gateway, good, row

DIALECTS = [OpenAIChat(), Anthropic()]
RESOLVER = ModelResolver(Registry(configured({f"its-{name}": row(name, "http://127.0.0.1:9") for name in names()})))
PLANS = {name: RESOLVER.plan(f"its-{name}/small") for name in names()}

TEXTS = st.one_of(
    st.text(min_size=1),
    st.sampled_from(["Hi", " \n", "half \ud83d", f"{BILLING}: cc=1\nHi", f"{BILLING}: cc=1", "", *stand_ins(2)]),
)
MESSAGES = st.lists(st.tuples(st.sampled_from(["user", "assistant", "system", "developer"]), TEXTS, TEXTS), max_size=3).map(
    lambda messages: [*messages, ("user", "And now?", "Why?")]
)
NUMBERS = st.sampled_from([1, 9, 1.0, 0.5, True, None, -1, "9", 2**70])
FIELDS = st.dictionaries(
    st.sampled_from(
        ["max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "seed", "n", "presence_penalty", "own"]
    ),
    NUMBERS,
    max_size=3,
)
RARE = st.fixed_dictionaries(
    {},
    optional={
        "system": st.sampled_from(["Be brief.", f"{BILLING}: cc=1", "", [{"type": "text", "text": "Be kind."}], None]),
        "stream": st.sampled_from([True, True, False, None, 1]),
        "stream_options": st.sampled_from([{"include_usage": True}, {"include_usage": False}, None]),
        "stop": st.sampled_from(["END", ["END"], [" "], None]),
        "user": st.sampled_from(["u", "u" * 70]),
        "metadata": st.sampled_from([{"user_id": "u"}, {"user_id": "u" * 70}, {"a": "b"}]),
        "reasoning_effort": st.sampled_from(["low", "max", "none"]),
        "thinking": st.sampled_from([{"type": "enabled", "budget_tokens": 2000}, {"type": "disabled"}]),
        "response_format": st.sampled_from([{"type": "json_object"}, {"type": "text"}]),
        "tools": st.just([]),
    },
)


def chat(dialect: Dialect, body: bytes) -> InboundChat:
    """The chat of a request with this body."""
    runtime = SimpleNamespace(limits=Limits(), resolver=RESOLVER)
    request: Any = SimpleNamespace(opened=None, body=body, runtime=runtime, request_id="r")
    return dialect.inbound(request)


def body_of(messages: list[tuple[str, str]], fields: dict[str, Any]) -> bytes:
    asked = [{"role": role, "content": text} for role, text in messages]
    return json.dumps({"model": "small", "messages": asked, **fields}).encode()


def translated(inbound: InboundChat, plan: Plan) -> tuple[Any, ...] | None:
    """What is sent for a chat that is translated for itself; ``None`` if it is refused."""
    info, target = CallInfo("report"), plan.targets[0]
    try:
        direct = target.backend.direct(inbound.request_for(target.model), info, STEPS)
    except BadInput:
        return None
    return direct.body, direct.ready.request.begins, direct.ready.timeouts, info.url, info.losses


def kept(templates: RequestTemplates, inbound: InboundChat, plan: Plan) -> tuple[Any, ...] | None:
    """What a template sends for it; ``None`` without one."""
    if (sent := templates.written(inbound, plan, STEPS)) is None:
        return None
    written, body = sent
    assert written.translation is not None
    assert written.translation.direct.change is None
    return body, written.request.begins, written.timeouts, written.url, written.losses


@settings(max_examples=150, deadline=None)
@example([("system", "Hi", f"{BILLING}: cc=1\nHi"), ("user", "a", "b")], {}, {"metadata": {"user_id": "u"}})
@example([("user", "a", "b")], {"max_tokens": 1}, {"system": "Be brief.", "stream": True})
@example([("user", "a", "b")], {"max_tokens": 1}, {"system": STAND_IN})
@given(MESSAGES, FIELDS, RARE)
@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_what_a_template_sends_is_what_translating_sends(
    dialect: Dialect, messages: list[tuple[str, str, str]], fields: dict[str, Any], rare: dict[str, Any]
) -> None:
    """To every wire, whatever the texts and the settings; a template loses nothing, and knows the size of the prompt."""

    async def run() -> None:
        earlier = body_of([(role, text) for role, text, _ in messages], {**fields, **rare})
        later = body_of([(role, text) for role, _, text in messages], {**fields, **rare})
        for plan in PLANS.values():
            templates = RequestTemplates()
            try:
                for _ in range(3):
                    assert kept(templates, chat(dialect, earlier), plan) is None
                inbound = chat(dialect, later)
            except BadInput:
                return
            if (sent := kept(templates, inbound, plan)) is not None:
                assert sent == translated(chat(dialect, later), plan)
                assert not sent[-1]
                assert inbound.prompt_size == (prompt_size(inbound.request()) if inbound.stream else None)

    asyncio.run(run())


@pytest.mark.parametrize("wire", ["openai-chat", "anthropic"])
@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
async def test_the_third_such_request_makes_a_template(dialect: Dialect, wire: str) -> None:
    """Else nothing would be gained. It is for these settings, of these types, and these roles."""
    templates, plan = RequestTemplates(), PLANS[wire]

    def is_kept(*messages: tuple[str, str], **fields: Any) -> bool:
        return kept(templates, chat(dialect, body_of(list(messages), {"max_tokens": 9, **fields})), plan) is not None

    assert [is_kept(("user", text)) for text in ("a", "b", "c", "d")] == [False, False, False, True]
    assert not is_kept(("user", "a"), ("assistant", "b"), ("user", "c"))
    assert not is_kept(("user", "a"), max_tokens=9.0)
    assert not is_kept(("user", "a"), stream=True)
    assert not is_kept(("user", " "))
    assert is_kept(("user", "a"))
    assert [is_kept(("system", text), ("user", text)) for text in "abcd"] == [False, False, False, True]
    assert not is_kept(("assistant", "a"), ("user", "b"))


async def test_what_is_asked_for_each_time_has_no_template() -> None:
    """A long request, one with much besides its texts, one with tools, one that loses something, and one without messages."""
    plan, texts = PLANS["anthropic"], [("user", "a")]
    for dialect, body in (
        (DIALECTS[0], body_of([("user", "a" * 20_000)], {})),
        (DIALECTS[0], body_of([("user", "a"), ("assistant", "b")] * 9 + texts, {})),
        (DIALECTS[0], body_of(texts, {"user": "u" * 1_100})),
        (DIALECTS[0], body_of(texts, {"tools": []})),
        (DIALECTS[0], body_of(texts, {"seed": 1})),
        (OpenAICompletions(), body_of(texts, {"prompt": "a"})),
    ):
        templates = RequestTemplates()
        assert [kept(templates, chat(dialect, body), plan) for _ in range(5)] == [None] * 5


async def test_a_template_is_of_one_plan() -> None:
    """A name that means another target from now on is translated for that."""
    templates, body = RequestTemplates(), body_of([("user", "a")], {})
    sent = [kept(templates, chat(DIALECTS[0], body), PLANS["anthropic"]) for _ in range(4)]
    assert sent[-1] is not None
    other = [kept(templates, chat(DIALECTS[0], body), PLANS["ollama"]) for _ in range(4)]
    assert other[0] is None
    assert other[-1] is not None
    assert other[-1][3] != sent[-1][3] or other[-1][0] != sent[-1][0]


async def test_each_client_gets_its_own_answer_by_a_template(serve: Any) -> None:
    """Texts that only one request has are in that request, and all are answered in the client's format."""
    asked: list[Any] = []

    async def backend(seen: Any, say: Any) -> None:
        asked.append(seen.json["messages"])
        await good(seen, say)

    house = await serve(backend)
    async with gateway(configured({"house": row("openai-chat", house.url)})) as here:
        caller = await here.caller()
        for number in range(6):
            path, body = asking("anthropic", messages=[{"role": "user", "content": f"number {number}"}])
            caller.ask(path, body)
            answer = await caller.whole()
            assert (answer.status, answer.json["content"][0]["text"]) == (200, "Hello")
    assert asked == [[{"role": "user", "content": f"number {number}"}] for number in range(6)]


async def test_a_key_that_is_missing_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """As translating does, also when it was there before."""
    monkeypatch.setenv("HOUSE_KEY", "sk-the-key-of-a-test")
    rows = {"house": row("anthropic", "http://127.0.0.1:9", key=["HOUSE_KEY"])}
    plan = ModelResolver(Registry(configured(rows))).plan("house/small")
    templates, body = RequestTemplates(), body_of([("user", "a")], {})
    assert [kept(templates, chat(DIALECTS[0], body), plan) is not None for _ in range(4)] == [False, False, False, True]
    monkeypatch.delenv("HOUSE_KEY")
    with pytest.raises(PolychatError, match="HOUSE_KEY"):
        kept(templates, chat(DIALECTS[0], body), plan)
