"""The command amid a hostile environment: encodings, pipes, missing streams and homes, files of other editors, odd names."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from polychat import config
from polychat.calls.call import key_of
from polychat.config.addresses import address_fault
from polychat.errors import BadInput
from polychat.http.proxy import proxy_of
from polychat.user.secrets import secret

from ..support.command import run
from ..support.scripted_server import Say, Seen, Server

LISTINGS = ["providers", "providers --json", "models", "config schema", "config show", "--help"]
WORDS = "done \u2705 \u2192 next"
CHAT = {
    "choices": [{"index": 0, "delta": {"content": WORDS}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}
STREAM = f"data: {json.dumps(CHAT)}\n\ndata: [DONE]\n\n".encode()


async def answer(seen: Seen, say: Say) -> None:
    await say.stream([STREAM])


async def shell(line: str, **env: str) -> tuple[str, str]:
    """What a shell line says on standard output and error; ``POLYCHAT`` in it is the command."""
    command = line.replace("POLYCHAT", f"{sys.executable} -m polychat")
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "OPENAI_API_KEY": "sk-test-12345678", **env},
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    for word in ("Traceback", "Exception ignored", "BrokenPipe"):
        assert word not in err.decode()
    return out.decode(errors="replace"), err.decode()


def ask(server: Server) -> str:
    return f"POLYCHAT ask -m openai/m --base-url {server.url}/v1"


@pytest.mark.parametrize("listing", LISTINGS)
async def test_every_listing_can_be_written_in_any_encoding_and_left_by_its_reader(listing: str) -> None:
    """Letters that the output's encoding lacks are no failure, and neither is a reader that goes: 0 and 141, no traceback."""
    out, err = await shell(f"POLYCHAT {listing} >/dev/null; echo $?", PYTHONIOENCODING="ascii")
    assert (out, err) == ("0\n", "")
    out, _ = await shell(f"POLYCHAT {listing} | true; echo ${{PIPESTATUS[0]}}")
    assert out.strip() in ("141", "0")


@pytest.mark.parametrize("encoding", ["cp1252", "gbk", "ascii"])
async def test_an_answer_is_printed_in_whatever_encoding_the_output_has(serve: Any, encoding: str) -> None:
    """What a narrow encoding lacks becomes ``?`` in text and an escape in JSON; the rest is there."""
    server = await serve(answer)
    out, _ = await shell(f"{ask(server)} Hi; {ask(server)} --json Hi", PYTHONIOENCODING=encoding)
    plain, as_json = out.splitlines()[:2]
    assert "done" in plain
    assert "next" in plain
    assert json.loads(as_json)["text"] == WORDS


async def test_a_full_disk_and_missing_streams_end_in_a_line_and_a_code(serve: Any) -> None:
    """Nowhere to write is 1, nowhere to read the question from is 2, and an output that was never there is no failure."""
    server = await serve(answer)
    out, err = await shell(f"{ask(server)} Hi >/dev/full; echo $?")
    assert (out, err) == ("1\n", "polychat: error: the output cannot be written: No space left on device\n")
    assert (await shell(f"{ask(server)} Hi >&-; echo $?"))[0] == "0\n"
    assert (await shell(f"{ask(server)} Hi 2>&- >/dev/null; echo $?"))[0] == "0\n"
    out, err = await shell(f"{ask(server)} - <&-; echo $?")
    assert out == "2\n"
    assert "no standard input" in err


async def test_what_is_piped_in_is_sent_before_the_prompt(serve: Any) -> None:
    """``cat FILE | polychat ask "Review:"`` sends both; UTF-16 with its mark, as PowerShell writes it, is text as well."""
    server = await serve(answer)
    await shell(f"printf 'a = 1\\n' | {ask(server)} Review:; {ask(server)} Review: it </dev/null; printf Hi | {ask(server)}")
    await shell(f"printf '\\xff\\xfeH\\0i\\0' | {ask(server)} -")
    sent = [seen.json["messages"][0]["content"] for seen in server.seen]
    assert sent == ["a = 1\n\nReview:", "Review: it", "Hi", "Hi"]


async def test_a_user_without_a_home_has_no_configuration_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's random uid is no reason for a traceback: nothing is found, and nothing fails."""

    def homeless(_: object = None) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert not config.folder().exists()
    assert config.folder().is_absolute()


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b""])
def test_a_byte_order_mark_is_no_part_of_a_configuration_or_a_key(tmp_path: Path, mark: bytes) -> None:
    """Editors of Windows put one at the beginning of every file."""
    file, key = tmp_path / "polychat.toml", tmp_path / "key"
    file.write_bytes(mark + b"[gateway]\nport = 1\n")
    key.write_bytes(mark + b"sk-1\r\n")
    assert config.read(file).gateway.port == 1
    assert secret(f"file:{key}", "k") == "sk-1"
    key.write_bytes("sk-2".encode("utf-16"))
    assert secret(f"file:{key}", "k") == "sk-2"


ROW = '\nwire = "openai-chat"\nbase_url = "http://127.0.0.1:1/v1"\nkey_optional = true\n'


@pytest.mark.parametrize("name", ["House", "my.server", "größe", "a/b", "a:b", "a,b", " ", "local", "aichat", "OpenAI"])
async def test_a_provider_that_the_check_calls_good_can_be_asked(tmp_path: Path, name: str) -> None:
    """In any case of its letters; a name that no target can say, or that a provider has already, is refused with its line."""
    file = tmp_path / "polychat.toml"
    file.write_text(f"[providers.{json.dumps(name, ensure_ascii=False)}]{ROW}[aliases]\nx = {json.dumps(name + '/m')}\n")
    ran = await run("config", "check", str(file))
    good = name in ("House", "my.server", "größe", "OpenAI")
    assert ran.code == (0 if good else 2), ran.err
    assert good or f"{file}:1: providers.{name}" in ran.err


async def test_names_that_differ_in_capitals_only_are_one_too_many(tmp_path: Path) -> None:
    """Which of the two was meant is not known."""
    file = tmp_path / "polychat.toml"
    file.write_text(f"[providers.house]{ROW}[providers.House]{ROW}")
    with pytest.raises(BadInput, match=r":5: providers\.House is the same name as house"):
        config.read(file)


BROKEN_ADDRESSES = {
    "no scheme": ["127.0.0.1:1/v1", "localhost:1", "h", "", "//h/v1"],
    "another scheme": ["ftp://h/", "file:///etc/passwd"],
    "no host": ["http://", "http:///v1", "http://:80/v1", "http://u:p@/v1"],
    "half a host": ["http://[::1", "http://[::1]]x/"],
    "a port that is none": ["http://h:99999/v1", "http://h:x/v1", "http://h:-1/v1"],
    "a query": ["http://h/v1?x=1", "http://h/v1?", "http://h?", "{base}?x=1"],
    "a fragment": ["http://h/#a", "http://h/v1#", "http://h#", "{base}#"],
    "a blank": [
        "http://a b/v1",
        " http://h",
        "http://h ",
        "http://h/a\\tb",
        "http://h\\u00a0/v1",
        "http://h/\\u007f",
        "{base} /v1",
    ],
    "braces that do not match": ["{base", "http://{region/v1", "http://h/{a}/{b", "http://h/a}", "{}", "{a b}/v1", "{a-b}/v1"],
}


@pytest.mark.parametrize("url", [url for urls in BROKEN_ADDRESSES.values() for url in urls])
def test_an_address_that_cannot_be_asked_is_refused_where_it_is_written(tmp_path: Path, url: str) -> None:
    """With file and line, before anything is asked; the same rule holds for the argument ``base_url``."""
    file = tmp_path / "polychat.toml"
    file.write_text(f'[providers.house]\nwire = "openai-chat"\nbase_url = "{url}"\n', "utf-8")
    with pytest.raises(BadInput, match=r":3: providers\.house(\.base_url| has no wire or base_url)"):
        config.read(file)
    assert address_fault(json.loads(f'"{url}"'))


@pytest.mark.parametrize(
    "url", ["HTTPS://h", "http://h/", "http://u:p@h:0/v1", "http://[::1]:80/v1", "{base}", "{base}/v1", "http://{a}.h/{b_1}/v1"]
)
def test_an_address_that_can_be_asked_is_none_of_those(url: str) -> None:
    """Whatever its scheme's letters, with a user, a port and an IPv6 host; with names of ``params`` for all of it or parts."""
    assert address_fault(url) == ""


async def test_the_check_refuses_what_serve_refuses(tmp_path: Path) -> None:
    """Callers without keys, a certificate that is none, a model of the sites that is not there, a file without weights."""
    file = tmp_path / "polychat.toml"
    for text in (
        '[gateway]\nhost = "0.0.0.0"\n',
        '[gateway]\ntls_cert = "a.pem"\ntls_key = "b.pem"\n',
        '[gateway]\nsites = "nobody/m"\n',
        "[local.models.mine]\ncontext = 100\n",
        '[local.models.smollm2]\npath = "x.gguf"\n',
        '[local.models."a/b"]\npath = "x.gguf"\n',
    ):
        file.write_text(text)
        assert (await run("config", "check", str(file))).code == 2, text


@pytest.mark.parametrize("url", ["socks://h:1", "SOCKS5H://h:1", "Socks5://h:1"])
def test_a_socks_proxy_is_one_however_it_is_spelled(url: str) -> None:
    """Desktops write ``socks://``, and a scheme has no case."""
    assert proxy_of(url).is_socks


class Secret:
    """As pydantic's ``SecretStr``."""

    def get_secret_value(self) -> str:
        return " sk-1\n"


@pytest.mark.parametrize("key", [" sk-1 ", "sk-1\n", Secret()])
def test_blanks_round_a_key_are_none_of_it(key: object) -> None:
    """Nor is the wrapper that keeps it out of logs; what is no text is refused without being shown."""
    assert key_of(key) == "sk-1"
    with pytest.raises(BadInput) as raised:
        key_of(b"sk-secret")
    assert raised.value.field == "api_key"
    assert "sk-secret" not in str(raised.value)


async def test_an_answer_that_was_cut_or_is_not_of_its_schema_is_reported_as_such(serve: Any, tmp_path: Path) -> None:
    """A limit of tokens is a warning beside 0; a schema that was not met is 1, with the text there all the same."""
    texts = ["hello", "no JSON", "no JSON"]

    async def partial_reply(seen: Seen, say: Say) -> None:
        chunk = {"choices": [{"index": 0, "delta": {"content": texts.pop(0)}, "finish_reason": "length" if texts else "stop"}]}
        await say.stream([f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n".encode()])

    server = await serve(partial_reply)
    schema = tmp_path / "s.json"
    schema.write_text('{"type": "object", "properties": {}}')
    out, err = await shell(f"{ask(server)} Hi; echo $?")
    assert out == "hello\n0\n"
    assert "max_tokens" in err
    out, err = await shell(f"{ask(server)} --schema {schema} Hi; echo $?")
    assert out == "no JSON\n1\n"
    out, err = await shell(f"{ask(server)} --json --schema {schema} Hi; echo $?")
    report, code = out.splitlines()
    assert (json.loads(report)["error"]["type"], json.loads(report)["text"], code) == ("BadReply", "no JSON", "1")
    assert "does not match the schema" in err
