"""Names in the command and the library are the gateway's: routes, aliases, chains, bare names, and a default."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

import polychat
from polychat import config, errors

from ..support.command import run
from ..support.scripted_server import Say, Seen


def stream_of(text: str) -> bytes:
    chunk = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": "stop"}]}
    return f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode()


async def backend(serve: Any, text: str, status: int = 200) -> Any:
    """A backend that says ``text``, or fails with ``status``."""

    async def answer(seen: Seen, say: Say) -> None:
        if status != 200:
            await say.whole({"error": {"message": "no"}}, status)
        elif seen.json.get("stream"):
            await say.stream([stream_of(text)])
        else:
            message = {"role": "assistant", "content": text}
            await say.whole({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})

    return await serve(answer)


@pytest.fixture
async def two(serve: Any, own_config: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A backend that is overloaded, one that answers, and a configuration that names both in several ways."""
    bad, good = await backend(serve, "", 503), await backend(serve, "from good")
    row = '[providers.{0}]\nwire = "openai-chat"\nbase_url = "{1}/v1"\nkey_optional = true\nserves = ["{0}-model"]\n'
    text = 'default_model = "small"\n[routes.fast]\ntargets = ["bad/m", "good/m"]\nstrategy = "ordered"\n'
    text += '[aliases]\nsmall = "fast"\nfine = "good/m"\n'
    own_config(text + row.format("bad", bad.url) + row.format("good", good.url))
    monkeypatch.delenv("POLYCHAT_MODEL", raising=False)
    return bad, good


@pytest.mark.parametrize("name", ["fast", "small", "fine", "bad/m, good/m", "bad/m,good/m", "good-model", "good/m", None])
async def test_every_name_of_the_gateway_is_one_of_the_library(two: Any, name: str | None) -> None:
    """Routes with their policy, aliases, chains, a model that one backend serves, and the default; whole and streamed."""
    options = {} if name is None else {"model": name}
    reply = await polychat.ask("hi", **options)
    assert (reply.text, reply.provider) == ("from good", "good")
    async with polychat.stream("hi", **options) as pieces:
        assert "".join([piece async for piece in pieces]) == "from good"
    completion = await polychat.Client(**options).chat.completions.create(messages=[{"role": "user", "content": "hi"}])
    assert completion.choices[0].message.content == "from good"


async def test_the_environment_names_the_default_before_the_file(two: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """``POLYCHAT_MODEL`` goes first."""
    monkeypatch.setenv("POLYCHAT_MODEL", "bad/m")
    with pytest.raises(errors.StatusError):
        await polychat.ask("hi")


async def test_a_key_goes_to_no_second_provider(two: Any) -> None:
    """What belongs to one provider is refused where several may answer, before anything is sent."""
    bad, good = two
    for option in ({"api_key": "sk-test-12345678"}, {"headers": {"x-key": "k"}}, {"cookies": {"a": "b"}}):
        with pytest.raises(errors.BadInput, match="applies to one provider"):
            await polychat.ask("hi", model="bad/m, good/m", **option)
    assert not bad.seen
    assert not good.seen


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gpt-4o", "openai/gpt-4o"),
        ("nobody", "openai/nobody"),
        ("gpt-4o,", "remove a comma"),
        (", ", "remove a comma"),
        ("nobody/m, good/m", "no model 'nobody/m'"),
    ],
)
async def test_a_name_that_means_nothing_names_what_to_write(two: Any, name: str, words: str) -> None:
    """A bare model is reported with a provider before it, and nothing is asked of a service that is gone."""
    with pytest.raises(errors.BadInput) as raised:
        await polychat.ask("hi", model=name)
    assert words in str(raised.value)
    assert not [*two[0].seen, *two[1].seen]


async def test_the_command_takes_the_same_names() -> None:
    """Exit 2, and the line names what to write."""
    ran = await run("ask", "-m", "gpt-4o", "hi")
    assert ran.code == 2
    assert "openai/gpt-4o" in ran.err


async def test_missing_members_are_none_and_all_can_be_dumped(two: Any) -> None:
    """As OpenAI's client has it; a name that it does not have is an ``AttributeError`` there, too."""
    client = polychat.Client("good/m")
    messages = [{"role": "user", "content": "hi"}]
    whole = await client.chat.completions.create(messages=messages, model="other")  # of the client's own provider
    assert [whole.choices[0].message.tool_calls, whole.choices[0].logprobs, whole.system_fingerprint] == [None] * 3
    assert json.loads(whole.model_dump_json()) == whole.model_dump() == whole.to_dict() == json.loads(whole.to_json())
    with pytest.raises(AttributeError):
        _ = whole.choises
    async for chunk in await client.chat.completions.create(messages=messages, stream=True):
        for choice in chunk.choices:
            assert choice.delta.tool_calls is None


async def test_code_without_a_loop_asks_as_well(two: Any) -> None:
    """Beside a loop that runs, too; what is wrong with the arguments is raised at the call."""
    reply = await asyncio.to_thread(polychat.ask_sync, "hi", model="fast")
    assert reply.text == "from good"
    assert "".join(await asyncio.to_thread(lambda: list(polychat.stream_sync("hi", model="fast")))) == "from good"
    with pytest.raises(errors.BadInput):
        polychat.stream_sync("hi", model="nobody/m")


async def test_a_route_may_be_named_like_one_of_its_targets(two: Any, own_config: Any, tmp_path: Path) -> None:
    """It means that very target, with another to fall back on; the command reads it from the file that ``--config`` names."""
    text = (config.folder() / config.FILE).read_text().replace("[routes.fast]", '[routes."bad/m"]').replace('"fast"', '"bad/m"')
    file = tmp_path / "named.toml"
    file.write_text(text)
    ran = await run("ask", "--config", str(file), "-m", "bad/m", "hi")
    assert (ran.code, ran.out) == (0, "from good\n")
    assert (await run("config", "check", str(file))).code == 0


@pytest.mark.parametrize("name", ["house/m", "House:m", "fast", "small", "nobody/x, fast"])
async def test_a_name_of_the_unread_file_of_this_folder_is_reported_as_such(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library and the command use nothing of ``./polychat.toml``, and say how it is read; any other name has no hint."""
    row = '[providers.House]\nwire = "openai-chat"\nbase_url = "http://127.0.0.1:9/v1"\nkey_optional = true\n'
    (tmp_path / "polychat.toml").write_text(row + '[routes.fast]\ntargets = ["house/m"]\n[aliases]\nsmall = "fast"\n')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.UnknownTarget, match=r"pass --config polychat\.toml"):
        await polychat.ask("hi", model=name)
    ran = await run("ask", "-m", name, "hi")
    assert ran.code == 2
    assert "pass --config polychat.toml" in ran.err
    with pytest.raises(errors.UnknownTarget) as other:
        await polychat.ask("hi", model="nobody/x")
    assert "--config" not in str(other.value)


@pytest.mark.parametrize("content", [b"", b"[providers", b"\xff", b"routes = 1\nproviders = [1]\n", b"a=" + b"[" * 100_000])
async def test_an_unread_file_that_is_broken_gives_no_hint(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is about the name that was asked, whatever lies in the folder."""
    (tmp_path / "polychat.toml").write_bytes(content)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.UnknownTarget, match="no provider 'house'"):
        await polychat.ask("hi", model="house/m")
