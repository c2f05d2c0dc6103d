"""The webhook: events in the form of Standard Webhooks, sent again where that may help, and never in a request's way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest
from openai import OpenAI

from polychat.config.settings import Webhook
from polychat.errors import BadInput, NotReady
from polychat.gateway import webhook
from polychat.gateway.webhook import WebhookSender, destination_of

from ..support.scripted_server import Say, Seen

SECRET = "a-secret-of-the-operator-s-own"
NOON = "2027-01-15T12:00:00Z"


def answering(statuses: Iterable[int]) -> Any:
    """A receiver that responds with these, and with the last of them from then on; 0 breaks the connection."""
    left = list(statuses)

    async def receive(seen: Seen, say: Say) -> None:
        status = left.pop(0) if len(left) > 1 else left[0]
        await (say.whole({}, status=status) if status else say.cut())

    return receive


class Sender:
    """A webhook, with what it logged and counted, and how long it paused."""

    def __init__(self, url: str, **settings: Any) -> None:
        self.logged: list[dict[str, Any]] = []
        self.counted: list[str] = []
        self.pauses: list[float] = []
        self.settings: Webhook | None = Webhook(url=url, **settings)
        self.webhook = WebhookSender(lambda: self.settings, self._log, self.counted.append, sleep=self._sleep)

    def _log(self, message: str, **facts: Any) -> None:
        self.logged.append({"message": message, **facts})

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)

    async def send(self, count: int = 1) -> None:
        for number in range(count):
            self.webhook.add("limit.warning", NOON, {"number": number})
        await self.webhook.close(10.0)


@pytest.mark.parametrize("secret", [SECRET, "whsec_YS1zZWNyZXQtaW4tYmFzZTY0LW9mLTI0"])
async def test_a_receiver_verifies_events(serve: Any, monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    """Events come in order, and the vendors' own client verifies their signatures; one that was changed it refuses."""
    monkeypatch.setenv("HOOK_SECRET", secret)
    receiver = await serve(answering([200]))
    sender = Sender(f"{receiver.url}/hook?team=red", secret="env:HOOK_SECRET")
    await sender.send(2)
    client = OpenAI(api_key="unused")
    for number, seen in enumerate(receiver.seen):
        assert (seen.path, seen.headers["content-type"]) == ("/hook", "application/json")
        client.webhooks.verify_signature(seen.body, seen.headers, secret=secret)
        with pytest.raises(ValueError, match="signature"):
            client.webhooks.verify_signature(seen.body + b" ", seen.headers, secret=secret)
        assert seen.json == {"type": "limit.warning", "timestamp": NOON, "data": {"number": number}}
    assert len({seen.headers["webhook-id"] for seen in receiver.seen}) == 2
    assert (sender.counted, sender.logged) == (["sent", "sent"], [])


async def test_events_are_sent_again_where_that_may_help(serve: Any) -> None:
    """After a broken connection and after 503 and 429 the same event comes again, under the same id, with longer pauses; 404
    is final, and so is the fourth failure. Each failed event is logged once, with the host and nothing else of the URL."""
    again = await serve(answering([0, 503, 429, 204]))
    sender = Sender(f"{again.url}/secret-path")
    await sender.send()
    assert (len(again.seen), sender.counted, sender.pauses) == (4, ["sent"], [1.0, 5.0, 25.0])
    assert len({seen.headers["webhook-id"] for seen in again.seen}) == 1
    assert "webhook-signature" not in again.seen[0].headers

    for statuses, asked, why in (([404], 1, "responded with 404"), ([500], 4, "responded with 500"), ([301], 1, "with 301")):
        receiver = await serve(answering(statuses))
        sender = Sender(f"{receiver.url}/secret-path")
        await sender.send()
        assert (len(receiver.seen), sender.counted) == (asked, ["failed"])
        assert [why in entry["error"] for entry in sender.logged] == [True]
        assert "secret-path" not in str(sender.logged)


async def test_what_waits_is_bounded_and_ends_with_the_gateway(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a receiver that does not answer, events beyond the queue are dropped, and at the end the rest is: each is
    counted. Without the table nothing is sent."""
    asked = asyncio.Event()

    async def silent(seen: Seen, say: Say) -> None:
        asked.set()
        await asyncio.Event().wait()

    receiver = await serve(silent)
    monkeypatch.setattr(webhook, "_QUEUED", 3)
    sender = Sender(receiver.url)
    sender.webhook.add("limit.warning", NOON, {})
    await asked.wait()
    for _ in range(4):
        sender.webhook.add("limit.warning", NOON, {})
    assert sender.counted == ["dropped"]
    await sender.webhook.close(0.0)
    assert sender.counted == ["dropped"] * 5
    sender.settings = None
    await sender.send()
    assert (sender.counted, len(receiver.seen)) == (["dropped"] * 5, 1)


def test_settings_that_cannot_be_used_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each error names the setting and the next step, and shows neither the URL nor the secret."""
    monkeypatch.setenv("SHORT", "too-short-a-secret")
    monkeypatch.setenv("HALF", "whsec_half-of-a-secret-that-is-not-base64")
    monkeypatch.setenv("PLACE", "hooks.example/a-secret-path")
    for settings, kind, message in (
        (Webhook(url="env:MISSING"), NotReady, r"gateway\.webhook\.url refers to env:MISSING"),
        (Webhook(url="env:PLACE"), BadInput, r"gateway\.webhook\.url must be a URL that begins with https://"),
        (Webhook(url="https://h/", secret="env:SHORT"), BadInput, "fewer than 24 characters: make one with"),
        (Webhook(url="https://h/", secret="env:HALF"), BadInput, "begins with whsec_, and what follows is not base64"),
    ):
        with pytest.raises(kind, match=message) as failure:
            destination_of(settings)
        assert not any(text in str(failure.value) for text in ("secret-path", "too-short", "half-of"))
