"""What the wires' server sides write, read by the vendors' own clients: what their tests at the gateway do not meet."""

from __future__ import annotations

from typing import Any

import pytest

from polychat.events import Citation, Finish, Refusal, Text
from polychat.wire.faults import STATUS, Fault

from ..support.gateway_for_clients import ASKED, thoughts
from ..support.scripted_vendors import ScriptedVendor
from ..support.vendor_clients import vendor_client

anthropic, openai = (vendor_client(name) for name in ("anthropic", "openai"))


class TestOpenAIChat:
    """``openai``: chat completions."""

    @pytest.fixture
    async def ask(self, serve: Any) -> Any:
        clients = []

        async def start(dialect: ScriptedVendor) -> Any:
            server = await serve(dialect)
            clients.append(openai.AsyncOpenAI(api_key="k", base_url=f"{server.url}/v1", max_retries=0))
            return clients[-1].chat.completions

        yield start
        for client in clients:
            await client.close()

    async def test_a_refusal(self, ask: Any) -> None:
        """In its own field."""
        chat = await ask(
            ScriptedVendor("openai-chat", [[Refusal("I would "), Refusal("rather not")], [Finish("complete", "stop")]])
        )
        reply = await chat.create(model="m", messages=ASKED)
        assert reply.choices[0].message.refusal == "I would rather not"

    @pytest.mark.parametrize(
        ("kind", "error"),
        [
            ("invalid_request", openai.BadRequestError),
            ("authentication", openai.AuthenticationError),
            ("permission", openai.PermissionDeniedError),
            ("not_found", openai.NotFoundError),
            ("rate_limit", openai.RateLimitError),
            ("server", openai.InternalServerError),
        ],
    )
    async def test_errors(self, ask: Any, kind: Any, error: type[Exception]) -> None:
        """Each is the class their users catch, with our words."""
        chat = await ask(ScriptedVendor("openai-chat", fault=Fault("nothing for you", kind, STATUS[kind])))
        with pytest.raises(error, match="nothing for you"):
            await chat.create(model="m", messages=ASKED)


class TestOpenAIResponses:
    """``openai``: Responses."""

    @pytest.fixture
    async def ask(self, serve: Any) -> Any:
        clients = []

        async def start(dialect: ScriptedVendor) -> Any:
            server = await serve(dialect)
            clients.append(openai.AsyncOpenAI(api_key="k", base_url=f"{server.url}/v1", max_retries=0))
            return clients[-1].responses

        yield start
        for client in clients:
            await client.close()

    async def test_thoughts_with_what_must_come_back(self, ask: Any) -> None:
        """A reasoning item with its summary and encrypted content; sent back with the next ask it is what it was."""
        dialect = ScriptedVendor("openai-responses", thoughts("openai"))
        responses = await ask(dialect)
        reply = await responses.create(model="m", input="?", store=False, include=["reasoning.encrypted_content"])
        item = next(item for item in reply.output if item.type == "reasoning")
        assert item.encrypted_content == "c2lnbmF0dXJl"
        history = [{"role": "user", "content": "?"}, *(item.model_dump(exclude_none=True) for item in reply.output)]
        await responses.create(model="m", input=[*history, {"role": "user", "content": "and?"}], store=False)
        opaque = [part.opaque for turn in dialect.asks[-1].messages for part in turn.parts if getattr(part, "opaque", None)]
        assert [(one.vendor, one.data) for one in opaque if one is not None] == [("openai", "c2lnbmF0dXJl")]

    async def test_a_source_is_an_annotation(self, ask: Any) -> None:
        """With its title and address."""
        page = Citation("A page", "https://example.org/a", start=0, end=2)
        responses = await ask(ScriptedVendor("openai-responses", [[Text("so"), page], [Finish("complete", "stop")]]))
        reply = await responses.create(model="m", input="hi")
        note = reply.output[0].content[0].annotations[0]
        assert (note.type, note.title, note.url) == ("url_citation", "A page", "https://example.org/a")


class TestAnthropic:
    """``anthropic``: Messages."""

    @pytest.fixture
    async def ask(self, serve: Any) -> Any:
        clients = []

        async def start(dialect: ScriptedVendor) -> Any:
            server = await serve(dialect)
            clients.append(anthropic.AsyncAnthropic(api_key="k", base_url=server.url, max_retries=0))
            return clients[-1].messages

        yield start
        for client in clients:
            await client.close()

    @pytest.mark.parametrize(
        ("kind", "error"),
        [
            ("invalid_request", anthropic.BadRequestError),
            ("authentication", anthropic.AuthenticationError),
            ("not_found", anthropic.NotFoundError),
            ("rate_limit", anthropic.RateLimitError),
            ("server", anthropic.InternalServerError),
        ],
    )
    async def test_errors(self, ask: Any, kind: Any, error: type[Exception]) -> None:
        """Each is the class their users catch, with our words."""
        messages = await ask(ScriptedVendor("anthropic", fault=Fault("nothing for you", kind, STATUS[kind])))
        with pytest.raises(error, match="nothing for you"):
            await messages.create(model="m", max_tokens=9, messages=ASKED)
