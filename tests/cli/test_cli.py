"""The command as a person and a script meet it: real processes, real pipes, exit codes."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from polychat.gateway.sites import Sites, echo
from polychat.version import build_name

from ..support.command import Ran, run, started
from ..support.patience import PATIENCE
from ..support.scripted_server import Say, Seen, Server
from ..support.sites_application import running


@pytest.fixture
async def sites() -> AsyncGenerator[str, None]:
    """The five services, echoing."""
    async with running(Sites(echo)) as url:
        yield url


ASK = ["ask", "-m", "opchatgpts", "--base-url"]
FIVE = [
    "ChatgptDuo/gpt-3.5-turbo",
    "Aichat/gpt-3.5-turbo",
    "Opchatgpts/gpt-3.5-turbo",
    "ChatGptt/gpt-4o",
    "GPTalk/gpt-3.5-turbo",
]


@pytest.mark.parametrize("target", FIVE)
async def test_ask_reaches_every_service_end_to_end(sites: str, target: str, tmp_path: Any) -> None:
    """``polychat ask -m … --base-url …`` prints the service's answer and exits 0."""
    jar = tmp_path / "cookies.txt"
    jar.write_text("127.0.0.1\tFALSE\t/\tFALSE\t0\tsession\tabc\nchat-gpt.org\tFALSE\t/\tFALSE\t0\tsession\tabc\n")
    jar.chmod(0o600)
    name = target.partition("/")[0].lower()
    ran = await run("ask", "-m", target, "--base-url", f"{sites}/{name}", "Привет, мир", env={"POLYCHAT_COOKIES": str(jar)})
    assert (ran.code, ran.out, ran.err) == (0, "echo: Привет, мир\n", "")


async def test_the_prompt_may_come_from_a_pipe(sites: str) -> None:
    """``-`` reads standard input as UTF-8, with its mark and its line ends."""
    ran = await run("ask", "-m", "gptalk", "--base-url", f"{sites}/gptalk", "-", piped="\ufeffодин\nдва\n".encode())
    assert (ran.code, ran.out) == (0, "echo: один\nдва\n")


async def test_json_is_one_object_for_scripts(sites: str) -> None:
    """``--json`` prints the text, the verdict and the model as one JSON object."""
    ran = await run("ask", "--json", "-m", "chatgptt/gpt-4", "--base-url", f"{sites}/chatgptt", "hi", "-s", "be kind")
    reply = json.loads(ran.out)
    assert (ran.code, reply["verdict"], reply["provider"], reply["model"]) == (0, "complete", "ChatGptt", "gpt-4")
    assert "hi" in reply["text"]
    assert "be kind" in reply["text"]


async def test_a_cookie_on_the_command_line(sites: str) -> None:
    """``--cookie`` goes to the service; what is no NAME=VALUE is refused without being shown."""
    ran = await run("ask", "-m", "aichat", "--base-url", f"{sites}/aichat", "--cookie", "a=b", "--cookie", "c=", "hi")
    assert (ran.code, ran.out) == (0, "echo: hi\n")
    ran = await run("ask", "-m", "aichat", "--base-url", f"{sites}/aichat", "--cookie", "s3cr3t", "hi")
    assert ran.code == 2
    assert "NAME=VALUE" in ran.err
    assert "s3cr3t" not in ran.err


async def test_no_stream_prints_the_same(sites: str) -> None:
    """``--no-stream`` changes when it is printed, not what."""
    ran = await run("ask", "--no-stream", "-m", "gptalk", "--base-url", f"{sites}/gptalk", "hi")
    assert (ran.code, ran.out) == (0, "echo: hi\n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["ask", ""], "prompt is empty"),
        (["ask", " \n"], "prompt is empty"),
        (["ask", "-m", "opnai/x", "hi"], "did you mean openai"),
        (["ask", "-m", "", "hi"], "the model name is empty"),
        (["ask", "-m", "gptalk", "--base-url", "nonsense", "hi"], "base_url must be a URL"),
        (["ask", "-m", "gptalk", "--timeout", "0", "hi"], "timeout is 0"),
        (["ask", "-m", "gptalk", "--timeout", "soon", "hi"], "--timeout"),
        (["ask", "-m", "gptalk", "--base-url", "http://127.0.0.1:9", "--proxy", "nonsense", "hi"], "proxy"),
        (["ask", "-m", "gptalk", "-o", "page=/chat", "hi"], "GPTalk has no such option; it takes"),
        (["ask", "-m", "gptalk", "-o", "s3cr3t-key", "hi"], "-o is not NAME=VALUE"),
        (["ask", "-m", "local//no/such/file.gguf", "hi"], "/no/such/file.gguf"),
        (["ask", "-m", "local/smollm2", "-o", f"max_tokens={'9' * 5000}", "hi"], "it must be a whole number"),
        (["ask", "--reasoning", "9" * 5000, "hi"], "reasoning"),
        (["ask", "--schema", f'{{"a": {"9" * 5000}}}', "hi"], "a number has 5,000 digits"),
        (["ask"], "no prompt: pass PROMPT"),
        (["nonsense"], "no command 'nonsense'. To send it as a prompt: polychat ask 'nonsense'"),
        (["servr", "--port", "1"], "did you mean serve?"),
        (["Serve"], "did you mean serve?"),
        (["./model.gguf"], "polychat -m ./model.gguf PROMPT"),
        (["sites", "--model", "nope/x"], "no provider 'nope'"),
        (["sites", "--host", "0.0.0.0"], "a loopback address"),
        (["sites", "--port", "70000"], "0 to 65535"),
        (["models", "pull", "smolm2"], "smollm2"),
    ],
)
async def test_bad_usage_is_2_and_the_error_names_it(arguments: list[str], says: str) -> None:
    """Exit code 2, nothing on stdout, and a message that names the part at fault."""
    ran = await run(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err


async def test_standard_input_that_is_no_text_is_bad_usage() -> None:
    """Bytes that are not UTF-8 are refused by their place."""
    ran = await run("ask", "-", piped=b"ab\xff")
    assert (ran.code, ran.out) == (2, "")
    assert "byte 2" in ran.err


async def test_ten_megabytes_are_refused_by_the_services_limit(sites: str) -> None:
    """A message too long for the service is refused here, with both sizes, before it is sent."""
    ran = await run("ask", "-m", "opchatgpts", "--base-url", f"{sites}/opchatgpts", "-", piped=b"word " * 2_000_000)
    assert (ran.code, ran.out) == (2, "")
    assert "65,536" in ran.err


async def _shut(seen: Seen, say: Say) -> None:
    await say.whole(b"no", status=503, content_type="text/plain")


async def _half(seen: Seen, say: Say) -> None:
    await say.head(content_type="text/event-stream")
    await say.chunk('data: {"type":"live","data":"so far \\u00e9"}\n\ndata: {"type":"live","data":"й'.encode()[:-1])
    await say.cut()


async def _silent(seen: Seen, say: Say) -> None:
    await say.gone()


async def _endless(seen: Seen, say: Say) -> None:
    await say.head(content_type="text/event-stream")
    while True:
        await say.chunk(b'data: {"type":"live","data":"x"}\n\n')


@pytest.mark.parametrize(
    ("handler", "out", "says"),
    [
        (_shut, "", "503"),
        (_half, "so far é\n", "ended early"),
        (_silent, "", "0.5 s"),
    ],
)
async def test_a_backend_that_fails_is_1(serve: Any, handler: Any, out: str, says: str) -> None:
    """Exit code 1, what came on stdout, the reason on stderr."""
    server: Server = await serve(handler)
    ran = await run(
        "ask", "-m", "opchatgpts", "--base-url", server.url, "--timeout", "0.5" if handler is _silent else "30", "hi"
    )
    assert (ran.code, ran.out) == (1, out)
    assert says in ran.err


async def test_a_failure_in_json_keeps_what_came(serve: Any) -> None:
    """``--json`` reports the failure as a value too: verdict, error and the text so far."""
    server: Server = await serve(_half)
    ran = await run("ask", "--json", "-m", "opchatgpts", "--base-url", server.url, "hi")
    reply = json.loads(ran.out)
    assert (ran.code, reply["verdict"], reply["text"], reply["error"]["type"]) == (
        1,
        "truncated",
        "so far é",
        "Truncated",
    )


async def test_a_proxy_that_refuses_is_1_and_keeps_its_password(sites: str) -> None:
    """A closed port as proxy fails the ask, and the password is nowhere."""
    ran = await run("ask", "-m", "gptalk", "--base-url", f"{sites}/gptalk", "--proxy", "http://me:hunter2@127.0.0.1:1", "hi")
    assert (ran.code, ran.out) == (1, "")
    assert "proxy" in ran.err.lower()
    assert "hunter2" not in ran.err


async def test_a_page_without_a_chat_is_1(serve: Any) -> None:
    """The message names the page and the option that names another."""

    async def empty(seen: Seen, say: Say) -> None:
        await say.whole(b"<html>nothing here</html>", content_type="text/html")

    server: Server = await serve(empty)
    ran = await run("ask", "-m", "chatgptt", "--base-url", server.url, "hi")
    assert (ran.code, ran.out) == (1, "")
    assert "page" in ran.err


async def test_ctrl_c_ends_with_130(serve: Any) -> None:
    """Interrupted in the middle of a reply: what came stays, the line is ended, no traceback, and the server sees it go."""
    server: Server = await serve(_endless)
    async with asyncio.timeout(60), started(*ASK, server.url, "hi", stdin=asyncio.subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert await process.stdout.readexactly(3) == b"xxx"
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
        ran = Ran(process.returncode, out, err)
    assert (ran.code, ran.err) == (130, "")
    assert set(ran.out) == {"x", "\n"}
    assert ran.out.endswith("x\n")


async def test_a_reader_that_leaves_is_no_error(serve: Any) -> None:
    """``polychat ask … | head -c 3`` ends quietly although the reply never would."""
    server: Server = await serve(_endless)
    async with asyncio.timeout(60), started(*ASK, server.url, "hi", stdin=asyncio.subprocess.DEVNULL) as process:
        assert process.stdout is not None
        await process.stdout.readexactly(3)
        process.stdout._transport.close()  # type: ignore[attr-defined]  # the only way to close our end of the pipe
        assert process.stderr is not None
        assert await process.stderr.read() == b""
        assert await process.wait() == 141


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_sites_serve_and_end_on_a_signal(number: signal.Signals) -> None:
    """The printed addresses answer at once; a signal ends the server with 0."""
    async with asyncio.timeout(2 * PATIENCE), started("sites", "--port", "0", "--echo") as process:  # two are started
        assert process.stdout is not None
        head = await process.stdout.readline()
        assert b"echo" in head
        bases = [(await process.stdout.readline()).decode().strip() for _ in FIVE]
        base = next(base for base in bases if base.endswith("/gptalk"))
        ran = await run("ask", "-m", "gptalk", "--base-url", base, "hi")
        assert (ran.code, ran.out) == (0, "echo: hi\n")
        process.send_signal(number)
        out, err = await process.communicate()
        assert (process.returncode, out, err) == (0, b"", b"")


async def test_a_taken_port_is_reported(sites: str) -> None:
    """A port in use names itself and the option."""
    ran = await run("sites", "--echo", "--port", sites.rpartition(":")[2])
    assert ran.code == 2
    assert "choose another --port" in ran.err


async def test_providers_lists_what_there_is() -> None:
    """Each provider with its state and how it is known; as JSON too."""
    ran = await run("providers", "--json")
    forms = {form["name"]: form for form in json.loads(ran.out)}
    assert {"ChatgptDuo", "Aichat", "Opchatgpts", "ChatGptt", "GPTalk", "Local"} <= set(forms)
    for form in forms.values():
        assert "wire" in form or form["working"] or form["evidence"]
    assert forms["openai"]["key"] == ["OPENAI_API_KEY"]
    plain = await run("providers")
    assert all(name in plain.out for name in forms)


async def test_version_and_help() -> None:
    """``--version`` and ``--help`` answer and exit 0; a command alone shows the help and is bad usage."""
    assert (await run("--version")).out == f"polychat 0.1.0, {build_name()}\n"
    for arguments in (["--help"], ["ask", "--help"], ["models", "--help"]):
        ran = await run(*arguments)
        assert (ran.code, ran.err) == (0, "")
    assert (await run()).code == 2
