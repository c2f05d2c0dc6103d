"""What a probe finds of a target: whether it is available, and if not, why."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from polychat.backends.probe import STATES, Probed, probe, state_after
from polychat.backends.registry import Registry
from polychat.config import Config
from polychat.errors import (
    BadInput,
    BadReply,
    ChallengeRequired,
    ConnectionFailed,
    FaultKind,
    LimitReached,
    MissingCookies,
    MissingPackage,
    NotReady,
    PolychatError,
    RateLimited,
    ReplyFailed,
    StatusError,
    TimedOut,
    Unauthorized,
)

from ..support.running_gateway import completion, lists
from ..support.scripted_server import Say, Seen, serving


def a_status(status: int, kind: FaultKind | None = None) -> StatusError:
    error = StatusError("no")
    error.status, error.kind = status, kind
    return error


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (ChallengeRequired("a human check"), "challenged"),
        (Unauthorized("no"), "needs credentials"),
        (a_status(400, "authentication"), "needs credentials"),
        (MissingCookies("x.org", url="https://x.org"), "needs credentials"),
        (RateLimited("no"), "quota"),
        (LimitReached("no"), "quota"),
        (a_status(402, "quota"), "quota"),
        (a_status(404), "gone"),
        (a_status(410), "gone"),
        (a_status(400, "not_found"), "gone"),
        (BadReply("the reply to the login has no expires_at"), "protocol changed"),
        (BadInput("the field was renamed", field="model"), "protocol changed"),
        (a_status(500, "server"), "failing"),
        (a_status(503), "failing"),
        (ReplyFailed("no"), "failing"),
        (ConnectionFailed("no"), "unreachable"),
        (TimedOut("first", 3.0), "unreachable"),
        (MissingPackage("x", extra="y", purpose="z"), "not set up"),
        (NotReady("no"), "not set up"),
    ],
)
def test_each_error_tells_of_a_state(error: PolychatError, state: str) -> None:
    """By the kind that the backend itself reports, else by status, else by the kind of error."""
    assert state_after(error) == state


def test_every_kind_of_fault_has_a_state() -> None:
    """Whatever an API says that it was."""
    assert {state_after(a_status(400, kind)) for kind in get_args(FaultKind)} <= set(STATES)


async def probed(handler: Any, model: str = "small", *, ask: bool = False, **more: Any) -> tuple[Probed, list[Seen]]:
    async with serving(handler) as server:
        row = {"wire": "openai-chat", "base_url": f"{server.url}/v1", "models": "/models", **more}
        backend = Registry(Config(providers={"house": row})).find("house")
        current = await probe(backend, model, f"house/{model}", ask=ask, seconds=5.0)
        return current, list(server.seen)


async def test_a_free_probe_connects_and_lists() -> None:
    """Nothing is asked that could cost, and the list says whether it names the model."""
    current, seen = await probed(lists)
    assert (current.state, current.step, current.sent) == ("reachable", "models", True)
    assert "lists 2 models" in current.evidence
    assert [one.method for one in seen] == ["GET", "GET"]
    other, _ = await probed(lists, "latest")
    assert (other.state, "does not name latest" in other.evidence) == ("reachable", True)


async def test_one_that_asks_reads_a_reply_to_its_end() -> None:
    """One short request, as any caller sends it."""
    current, seen = await probed(lists, ask=True)
    assert (current.state, current.step) == ("reachable", "ask")
    (request,) = [one for one in seen if one.method == "POST"]
    assert request.json["max_tokens" if "max_tokens" in request.json else "max_completion_tokens"] == 16


@pytest.mark.parametrize(
    ("status", "headers", "state"),
    [
        (401, {}, "needs credentials"),
        (403, {"cf-mitigated": "challenge"}, "challenged"),
        (429, {}, "quota"),
        (500, {}, "failing"),
        (200, {}, "protocol changed"),
    ],
)
async def test_what_the_list_answers_is_what_the_target_is(status: int, headers: dict[str, str], state: str) -> None:
    """The list of models is where a key first counts."""

    async def handler(seen: Seen, say: Say) -> None:
        if seen.path == "/v1/models":
            await say.whole({"nothing": "that a list has"}, status=status, headers=list(headers.items()))
        else:
            await say.whole("", status=404)

    current, _ = await probed(handler)
    assert (current.state, current.step) == (state, "models"), current.evidence


async def test_a_changed_protocol_names_what_differs() -> None:
    """In the evidence, with what came instead."""

    async def handler(seen: Seen, say: Say) -> None:
        if seen.method == "POST":
            await say.whole({**completion("x"), "choices": None, "outputs": ["x"]})
        else:
            await lists(seen, say)

    current, _ = await probed(handler, ask=True)
    assert (current.state, current.step) == ("protocol changed", "ask")
    assert current.evidence


async def test_without_its_key_it_needs_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    """The evidence says which variable; its key is asked for only after it was seen to be there."""
    monkeypatch.delenv("HOUSE_KEY", raising=False)
    current, seen = await probed(lists, key=["HOUSE_KEY"])
    assert (current.state, current.step) == ("needs credentials", "models")
    assert "HOUSE_KEY" in current.evidence
    assert [one.path for one in seen] == ["/v1"]


async def test_a_service_that_is_known_to_be_gone_is_not_asked() -> None:
    """What is at its address now is somebody else's."""
    current = await probe(Registry(Config()).find("gptalk"), "", "GPTalk", ask=True, seconds=1.0)
    assert (current.state, current.sent) == ("gone", False)


async def test_a_page_that_is_not_there_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other than an API's address, which need not answer anything but requests."""

    async def missing(seen: Seen, say: Say) -> None:
        await say.whole("no", status=404)

    async with serving(missing) as server:
        monkeypatch.setenv("GPTALK_BASE_URL", server.url)
        current = await probe(Registry(Config()).find("gptalk"), "", "GPTalk", ask=False, seconds=5.0)
    assert (current.state, current.step) == ("gone", "connect")
