"""Tools that people have, pointed at the gateway: curl, the llm command, LangChain, the Vercel ai SDK on node."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest

from polychat.wire.faults import Fault

from ..support.gateway_for_clients import (
    ASKED,
    BROKEN,
    CALLS,
    CITY,
    HELLO,
    KEY,
    PARAMETERS,
    WIRES,
    Held,
    before,
    house,
    ran,
    site,
)
from ..support.patience import PATIENCE
from ..support.running_gateway import DONE, END, FIRST, Running, Stage, asking, text
from ..support.scripted_vendors import ScriptedVendor
from ..support.vendor_clients import City, vectors, vendor_client

NODE = Path(__file__).parent.parent / "node"


class TestCurl:
    """``curl``."""

    @pytest.fixture(autouse=True)
    def _there(self) -> None:
        if shutil.which("curl") is None:
            pytest.skip("no curl: apt-get install curl")

    async def test_plain(self) -> None:
        """``-d`` without a content type is JSON all the same; ``-i`` shows who answered."""
        async with house("anthropic", HELLO) as (here, _):
            path, body = asking("openai-chat")
            code, out, _ = await ran("curl", "-sS", "-i", f"{here.url}{path}", "-d", json.dumps(body))
        head, _, answer = out.partition("\r\n\r\n")
        assert code == 0
        assert json.loads(answer)["choices"][0]["message"]["content"] == "Hello"
        assert "x-polychat-provider: house" in head

    async def test_a_stream_as_it_comes(self) -> None:
        """With ``-N`` the first piece is printed before the backend has sent the second."""
        stage = Stage(FIRST, text("Hel"), rest=[text("lo"), END, DONE])
        async with before({"house": ("openai-chat", stage)}) as here:
            path, body = asking("openai-chat", stream=True)
            curl = await asyncio.create_subprocess_exec(
                *("curl", "-sSN", f"{here.url}{path}", "-H", f"authorization: Bearer {KEY}", "-d", json.dumps(body)),
                stdout=asyncio.subprocess.PIPE,
            )
            assert curl.stdout is not None
            async with asyncio.timeout(PATIENCE):
                first = await curl.stdout.readuntil(b"Hel")
                stage.go.set()
                rest = await curl.stdout.read()
            assert await curl.wait() == 0
        assert b"lo" not in first
        assert rest.endswith(b"data: [DONE]\n\n")

    async def test_errors(self) -> None:
        """``--fail-with-body`` fails, and prints what is wrong in the dialect's terms."""
        async with house("openai-chat", HELLO) as (here, _):
            for path, field in (("/v1/chat/completions", "model"), ("/v1/messages", "model"), ("/v1/nothing", "/v1/nothing")):
                code, out, _ = await ran("curl", "-sS", "--fail-with-body", f"{here.url}{path}", "-d", '{"messages": []}')
                assert (code, field in json.loads(out)["error"]["message"]) == (22, True)

    async def test_one_that_is_ended(self) -> None:
        """Ctrl-C in the middle of an answer ends the backend's too."""
        stage = Stage(FIRST, text("Hel"))
        async with before({"house": ("openai-chat", stage)}) as here:
            path, body = asking("openai-chat", stream=True)
            curl = await asyncio.create_subprocess_exec(
                *("curl", "-sSN", f"{here.url}{path}", "-d", json.dumps(body)), stdout=asyncio.subprocess.PIPE
            )
            assert curl.stdout is not None
            async with asyncio.timeout(PATIENCE):
                await curl.stdout.readuntil(b"Hel")
                curl.terminate()
                await curl.wait()
                await stage.left.wait()
            (record,) = await here.app.recorded()
        assert record.verdict == "cancelled"


class TestLLM:
    """``llm`` with models of ``extra-openai-models.yaml``."""

    @pytest.fixture(autouse=True)
    def _there(self, tmp_path: Path) -> None:
        pytest.importorskip("llm", reason="no llm: pip install llm")
        self.env = {"LLM_USER_PATH": str(tmp_path), "LLM_LOAD_PLUGINS": ""}
        self.file = tmp_path / "extra-openai-models.yaml"

    async def llm(self, here: Running, *args: str) -> tuple[int, str, str]:
        model = {"model_id": "mine", "model_name": "house/small", "api_base": f"{here.url}/v1", "api_key_name": "polychat"}
        self.file.write_text(json.dumps([{**model, "supports_schema": True, "supports_tools": True}]))
        return await ran(sys.executable, "-m", "llm", *args, env=self.env)

    async def test_asked(self) -> None:
        """Streamed to the terminal, and whole; with a system's word, and the key it was given."""
        os_key = {"keys": {"me": "env:KEY_ONE"}}
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("KEY_ONE", KEY)
            async with house("anthropic", HELLO, **os_key) as (here, dialect):
                for more in ([], ["--no-stream"]):
                    code, out, err = await self.llm(here, "prompt", "-m", "mine", "--key", KEY, "-s", "Be brief.", *more, "hi")
                    assert (code, out) == (0, "Hello\n"), err
            assert [record.stream for record in here.records] == [True, False]
            assert [turn.role for turn in dialect.asks[0].messages] == ["system", "user"]

    async def test_a_schema(self) -> None:
        """``--schema`` reaches the backend, and the answer is JSON of it."""
        async with house("gemini", CITY) as (here, dialect):
            code, out, err = await self.llm(here, "-m", "mine", "--key", KEY, "--schema", "name,people int", "hi")
        assert code == 0, err
        assert json.loads(out) == {"name": "Oslo", "people": 7}
        assert set(dialect.asks[0].format.schema["properties"]) == {"name", "people"}

    async def test_its_tools(self) -> None:
        """A function of one's own is called with what the backend says, and its result goes back with the next ask."""
        answers = iter([CALLS[:3] + CALLS[-1:], HELLO])
        async with house("anthropic", lambda request: next(answers)) as (here, dialect):
            function = "def weather(city: str) -> str:\n    return f'{city}: rain'\n"
            code, out, err = await self.llm(here, "-m", "mine", "--key", KEY, "--functions", function, "hi")
        assert code == 0, err
        assert "Hello" in out
        results = [part for turn in dialect.asks[1].messages for part in turn.parts if type(part).__name__ == "ToolResult"]
        assert ["".join(getattr(one, "text", "") for one in result.parts) for result in results] == ["Oslo: rain"]

    async def test_refused(self) -> None:
        """What the backend says of it is what is printed."""
        dialect = ScriptedVendor("anthropic", fault=Fault("nothing for you", "invalid_request", 400))
        async with house("anthropic", dialect) as (here, _):
            code, _, err = await self.llm(here, "-m", "mine", "--key", KEY, "hi")
        assert code == 1
        assert "nothing for you" in err


class TestLangChain:
    """``langchain-openai``: ``ChatOpenAI``."""

    @pytest.fixture(autouse=True)
    def _there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LANGSMITH_TRACING", "false")
        self.made = vendor_client("langchain_openai", "langchain-openai")

    @asynccontextmanager
    async def chat(self, here: Running, **more: Any) -> AsyncGenerator[Any, None]:
        # It keeps its HTTP clients by address and timeout for good, closed ones too, and a later gateway may get the same port:
        # a timeout that cannot be a key gives it one of its own.
        timeout = openai.Timeout(30)
        options = {"model": "house/small", "api_key": KEY, "base_url": f"{here.url}/v1", "max_retries": 0, "timeout": timeout}
        made = self.made.ChatOpenAI(**{**options, **more})
        yield made
        await made.root_async_client.close()

    @pytest.mark.parametrize("responses", [False, True])
    @pytest.mark.parametrize("wire", WIRES)
    async def test_asked(self, wire: str, responses: bool) -> None:
        """Whole and streamed, with what it took; by chat completions, and by Responses."""
        more = {"stream_usage": True, "use_responses_api": responses}
        async with house(wire, HELLO) as (here, _), self.chat(here, **more) as chat:
            reply = await chat.ainvoke("hi")
            chunks = [chunk async for chunk in chat.astream("hi")]
        whole = sum(chunks[1:], chunks[0])
        for one in (reply, whole):
            assert one.text == "Hello"
            assert (one.usage_metadata["input_tokens"], one.usage_metadata["output_tokens"]) == (11, 7)
        if not responses:
            assert reply.response_metadata["finish_reason"] == whole.response_metadata["finish_reason"] == "stop"

    @pytest.mark.parametrize("wire", WIRES)
    async def test_tools_there_and_back(self, wire: str) -> None:
        """Calls of a bound tool, streamed and whole; their results go back with the next ask."""
        schemas = [
            {"type": "function", "function": {"name": name, "parameters": parameters}}
            for name, parameters in (("weather", PARAMETERS), ("now", {"type": "object", "properties": {}}))
        ]
        async with house(wire, CALLS) as (here, dialect), self.chat(here) as plain:
            chat = plain.bind_tools(schemas)
            chunks = [chunk async for chunk in chat.astream("hi")]
            reply = await chat.ainvoke("hi")
            results = [{"role": "tool", "tool_call_id": call["id"], "content": "7"} for call in reply.tool_calls]
            await chat.ainvoke([*ASKED, reply, *results])
        for one in (reply, sum(chunks[1:], chunks[0])):
            assert [(call["name"], call["args"]) for call in one.tool_calls] == [("weather", {"city": "Oslo"}), ("now", {})]
        parts = [type(part).__name__ for turn in dialect.asks[-1].messages for part in turn.parts]
        assert (parts.count("ToolCall"), parts.count("ToolResult")) == (2, 2)

    async def test_structured_output(self) -> None:
        """A value of one's own type, by a schema or by a tool."""
        async with house("anthropic", CITY) as (here, _), self.chat(here) as chat:
            assert await chat.with_structured_output(City).ainvoke("hi") == City(name="Oslo", people=7)

    async def test_a_stream_that_fails_midway(self) -> None:
        """Is raised: what came is no whole answer."""
        held = Held("anthropic", BROKEN)
        async with house("anthropic", held) as (here, _), self.chat(here) as chat:
            text = ""
            with pytest.raises(Exception, match="it broke"):
                async for chunk in chat.astream("hi"):
                    text += chunk.text
                    held.go.set() if text else None
        assert text == "so far"

    async def test_embeddings(self) -> None:
        """Texts as such, where its own cutting into tokens is switched off."""
        async with before({"house": ("ollama", vectors("ollama"))}) as here:
            made = self.made.OpenAIEmbeddings(
                model="house/small", api_key=KEY, base_url=f"{here.url}/v1", check_embedding_ctx_length=False
            )
            assert await made.aembed_documents(["a", "b"]) == [[0.5, 1.0], [0.5, 1.0]]
            await made.async_client._client.close()

    async def test_a_chat_site(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Answers it as any vendor does."""
        async with site(monkeypatch) as here, self.chat(here, model="chatgptduo") as chat:
            assert (await chat.ainvoke("hi")).text == "echo: hi"


class TestVercel:
    """The ``ai`` SDK with ``@ai-sdk/openai-compatible``."""

    @pytest.fixture(autouse=True)
    def _there(self) -> None:
        if shutil.which("node") is None:
            pytest.skip("no node: apt-get install nodejs npm")
        if not (NODE / "node_modules" / "ai").is_dir():
            pytest.skip(f"no ai SDK: npm install --no-package-lock, in {os.path.relpath(NODE)}")

    async def node(self, here: Running, what: str, model: str = "house/small") -> Any:
        code, out, err = await ran("node", "ask.mjs", f"{here.url}/v1", model, what, cwd=NODE, env={"KEY": KEY})
        assert code == 0, err
        return json.loads(out)

    async def test_text(self) -> None:
        """Whole and streamed, with reason and usage, by a backend of another wire and by one of the same."""
        for wire in ("anthropic", "openai-chat"):
            async with house(wire, HELLO) as (here, _):
                whole, streamed = await asyncio.gather(self.node(here, "whole"), self.node(here, "stream"))
            assert (whole["text"], streamed["pieces"]) == ("Hello", ["Hel", "lo"])
            for one in (whole, streamed):
                assert (one["finishReason"], one["usage"]["inputTokens"], one["usage"]["outputTokens"]) == ("stop", 11, 7)

    async def test_tools(self) -> None:
        """It runs the tools that are called, one of them without parameters, and asks again with what they gave."""
        for wire in ("anthropic", "gemini"):
            first = [True]
            async with house(wire, lambda request, first=first: CALLS if first and first.pop() else HELLO) as (here, dialect):
                out = await self.node(here, "tools")
            assert out["calls"] == [["weather", {"city": "Oslo"}], ["now", {}]]
            assert (out["results"], out["steps"], out["finishReason"]) == (["Oslo: rain", "7"], 2, "tool-calls")
            parts = [type(part).__name__ for turn in dialect.asks[-1].messages for part in turn.parts]
            assert parts.count("ToolResult") == 2

    async def test_an_object(self) -> None:
        """By a schema, which the backend gets."""
        async with house("gemini", CITY) as (here, dialect):
            assert await self.node(here, "object") == {"name": "Oslo", "people": 7}
        assert set(dialect.asks[0].format.schema["properties"]) == {"name", "people"}

    async def test_embeddings(self) -> None:
        """A vector for each value."""
        async with before({"house": ("ollama", vectors("ollama"))}) as here:
            assert await self.node(here, "embed") == [[0.5, 1.0], [0.5, 1.0]]

    async def test_failures(self) -> None:
        """A refusal is an error with its status and words; a failure midway is reported in the stream, after what came."""
        dialect = ScriptedVendor("anthropic", fault=Fault("slow down", "rate_limit", 429))
        async with house("anthropic", dialect) as (here, _):
            refused = await self.node(here, "whole")
        assert (refused["status"], refused["retryable"]) == (429, True)
        assert "slow down" in refused["message"]
        async with house("anthropic", BROKEN) as (here, _):
            parts = await self.node(here, "failing")
        assert parts[0] == ["text", "so far"]
        assert parts[1][0] == "error"
        assert "it broke" in parts[1][1]
        assert parts[2:] in ([], [["finish", "error"]])
