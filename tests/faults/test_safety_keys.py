"""Kind: a credential of ours that a backend repeats is shown. A canary key goes through every way out of the process."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import polychat
from polychat import config, errors
from polychat.config.file_errors import FileErrors
from polychat.config.settings import Direct
from polychat.config.vendor_spec import spec_of
from polychat.events import Citation, Event, Finish, Reasoning, Start, Text, ToolCallPiece, Usage
from polychat.gateway.observe.record import RECORD_FIELDS
from polychat.gateway.paths import DIALECTS
from polychat.http.pool.pool import pool
from polychat.providers import every, find
from polychat.redact import MASK, Redaction, Secrets, bare_url, secrets_of
from polychat.transport import StreamSession
from polychat.types import ChatRequest
from polychat.wire.answering import SiteRequest
from polychat.wire.contract import Wire, counting, wire_named
from polychat.wire.contract import names as wires
from polychat.wire.faults import Fault

from ..support.canary_key import CANARY, MARK, all_of, shows
from ..support.gateway_for_clients import before, ran
from ..support.gateway_processes import ROOT
from ..support.linear_time import is_linear
from ..support.running_gateway import ASKS, BASES, DONE, END, FIRST, asking, configured, gateway, row, text
from ..support.scripted_server import Say, Seen
from ..support.scripted_sites import answering
from ..support.scripted_vendors import ScriptedVendor, request_read

WAYS = ("whole", "stream", "refused", "no reply", "failed")
AT_ONCE = Direct(attempts=1, max_wait=0, cooldown=0)
"""Each request reaches the backend, whatever it answered the one before; nobody waits."""


def parrot_events() -> list[list[Event]]:
    return [
        [Start(CANARY, f"m-{CANARY}"), Reasoning(f"The key is {CANARY}. ")],
        [Text(f"It is {CANARY}, "), Text(f'or "{CANARY}".')],
        [ToolCallPiece(0, f"call_{MARK[:0]}1", "tell", json.dumps({"key": CANARY}))],
        [Usage(1, 2, 3), Finish("complete", "tool_calls")],
    ]


@dataclass
class Parrot(ScriptedVendor):
    """A backend that repeats the key wherever it can, in one of ``WAYS``."""

    way: str = "whole"
    heard: list[str] = field(default_factory=list)

    async def __call__(self, seen: Seen, say: Say) -> None:
        self.heard.append(" ".join(seen.headers.values()))
        wire = wire_named(self.name)
        if self.way == "refused":
            body = wire.write_fault(Fault(f"no such key: {CANARY}", "authentication", 401, code=CANARY, param=CANARY))
            await self._said(say, body, 401, "application/json")
        elif self.way == "no reply":
            await self._said(say, b"<html>your key was " + CANARY.encode(), 200, "text/html")
        else:
            await self._replied(wire, request_read(wire, seen), say)

    async def _replied(self, wire: Wire, chat_request: ChatRequest, say: Say) -> None:
        writer = wire.writer(chat_request, CANARY, 1_700_000_000)
        batches = parrot_events()
        if self.way == "failed":
            batches[-1] = [Finish("failed", error=errors.ReplyFailed(f"it broke over {CANARY}"))]
        body = b"".join(writer.write(batch) for batch in batches)
        await self._said(say, body + writer.end(), writer.status, writer.content_type)

    async def _said(self, say: Say, body: bytes, status: int, content_type: str) -> None:
        lines = [f"HTTP/1.1 {status} {CANARY}", f"content-type: {content_type}", f"content-length: {len(body)}"]
        lines += [f"x-ratelimit-remaining-requests: {CANARY}", f"anthropic-ratelimit-{MARK}: {CANARY}", f"x-echo: {CANARY}"]
        lines += [f"x-ratelimit-login: {base64.b64encode(CANARY.encode()).decode()}"]
        await say.raw("\r\n".join([*lines, "", ""]).encode() + body)


def options(name: str, url: str, how: str) -> dict[str, Any]:
    """The key where a caller may put it: as the key, in a header, or as the password of the address or of a proxy."""
    base = url + BASES[name]
    if how == "password":
        base = base.replace("://", f"://me:{quote(CANARY, safe='')}@")
        return {"base_url": base, "api_key": "k-1"}
    if how == "proxy":
        password = quote(CANARY, safe="")
        base = "http://vendor.example" + BASES[name]
        return {"base_url": base, "api_key": "k-1", "proxy": url.replace("://", f"://me:{password}@")}
    if how == "header":
        return {"base_url": base, "api_key": "k-1", "headers": {"x-tenant-pass": CANARY}}
    return {"base_url": base, "api_key": CANARY}


def _login() -> str:
    return base64.b64encode(f"me:{CANARY}".encode()).decode()


def vendor_of(name: str) -> str:
    return {"openai-chat": "openai"}.get(name, name)


@pytest.mark.parametrize("how", ["key", "header", "password", "proxy"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", wires())
async def test_no_reply_or_error_of_the_library_shows_it(serve: Any, name: str, way: str, how: str) -> None:
    """Whatever a backend does with it: replies, their raw bodies, errors, their members, causes, copies and pickles."""
    backend = Parrot(name, way=way)
    server = await serve(backend)
    kwargs = options(name, server.url, how)
    shown: list[str] = []
    for streamed in (False, True):
        try:
            if streamed:
                async with polychat.stream("hi", model=f"{vendor_of(name)}/m", **kwargs) as reply:
                    async for batch in reply.events():
                        shown.append(repr(batch))
                shown.append(repr(reply.reply()))
            else:
                shown.append(repr(await polychat.ask("hi", model=f"{vendor_of(name)}/m", **kwargs)))
        except errors.PolychatError as error:
            shown.append(all_of(error))
    try:
        provider = find(vendor_of(name))
        shown += [piece async for piece in provider.create_async_generator("m", [{"role": "user", "content": "hi"}], **kwargs)]
    except errors.PolychatError as error:
        shown.append(all_of(error))
    assert any(one in " ".join(backend.heard) for one in (CANARY, _login(), "Bearer k-1"))
    assert [one for one in shown if shows(one)] == []
    assert way == "no reply" or any(MASK in one for one in shown)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", wires())
async def test_no_dialect_of_the_gateway_shows_it(
    name: str, way: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Before a backend of every wire: status, headers, bodies and streams of each dialect, translated or passed, whole or not.

    Each is asked twice on one connection: what passes whole is answered without a task then, unless its text is logged.
    """
    monkeypatch.setenv("HOUSE_API_KEY", CANARY)
    backend = Parrot(name, way=way)
    for streamed, log_text in ((False, True), (True, True), (False, False)):
        async with before({"house": (name, backend)}, log="json", log_text=log_text, direct=AT_ONCE) as here:
            for dialect in ASKS:
                caller = await here.caller()
                for _ in range(2):
                    caller.ask(*asking(dialect, "house/m", stream=streamed))
                    answer = await caller.whole()
                    assert not shows(answer.body), (dialect, answer.body)
                    assert not shows(repr(answer.headers)), (dialect, answer.headers)
            metrics = await here.ask("/metrics", headers={"accept": "text/plain"})
            assert not shows(metrics.body)
            assert here.records
            assert not shows(repr([[getattr(record, name) for name in RECORD_FIELDS] for record in here.records]))
    assert backend.heard
    assert all(CANARY in one for one in backend.heard)
    log = capfd.readouterr().err
    assert '"dialect"' in log
    assert not shows(log)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", wires())
async def test_no_span_or_metric_of_telemetry_shows_it(name: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names, attributes, events and status of every span, and every point of a metric, of each dialect's requests."""
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from polychat.gateway.observe.otel import Telemetry

    monkeypatch.setenv("HOUSE_API_KEY", CANARY)
    spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
    observer = Telemetry([SimpleSpanProcessor(spans)], [reader])
    try:
        async with before({"house": (name, Parrot(name, way=way))}, direct=AT_ONCE) as here:
            for dialect in ASKS:
                for streamed in (False, True):
                    await here.ask(*asking(dialect, "house/m", stream=streamed))
            for record in await here.app.recorded(2 * len(ASKS)):
                observer(record)
        exported = [span.to_json() for span in spans.get_finished_spans()]
        metrics = reader.get_metrics_data()
        assert metrics is not None
    finally:
        observer.shutdown()
    assert len(exported) >= 2 * len(ASKS)
    assert [one for one in [*exported, metrics.to_json()] if shows(one)] == []


def test_the_requested_dialects_are_all_there_are() -> None:
    """A new dialect is included."""
    assert ASKS.keys() >= DIALECTS.keys()


@pytest.mark.parametrize("dialect", ["openai-chat", "anthropic"])
async def test_a_key_cut_over_two_reads_is_redacted_where_it_passes(dialect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client has what came before the second part is sent: what could be a key's beginning waits, and no more."""
    monkeypatch.setenv("HOUSE_API_KEY", CANARY)
    backend = _Halves(dialect)
    async with before({"house": (dialect, backend)}) as here:
        caller = await here.caller()
        caller.ask(*asking(dialect, "small", stream=True))  # by the name that the backend knows: nothing else waits
        await caller.head()
        body = await caller.until(b"It is ")
        backend.go.set()
        body += await caller.rest()
    assert here.records[0].passthrough
    assert not shows(body)
    assert MASK.encode() in body


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_key_is_redacted_where_a_stream_is_pushed(serve: Any, dialect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a read of the backend's connection to a write of the client's, passed or translated, whole or cut in two."""
    monkeypatch.setenv("HOUSE_API_KEY", CANARY)
    cut = text(f"and again {CANARY}.")
    at = cut.index(CANARY[:9].encode()) + 9
    pieces = [FIRST + text("Hel"), text("lo"), text(f"It is {CANARY}, "), cut[:at], cut[at:] + END + DONE]
    gate = asyncio.Semaphore(0)
    keys: list[str] = []

    async def backend(seen: Seen, say: Say) -> None:
        keys.append(seen.headers["authorization"])
        await say.head(content_type="text/event-stream")
        for piece in pieces:
            await gate.acquire()
            await say.chunk(piece)
        await say.last()

    server = await serve(backend)
    async with gateway(configured({"house": row("openai-chat", server.url, api_key="env:HOUSE_API_KEY")})) as here:
        caller = await here.caller()
        caller.ask(*asking(dialect, stream=True))
        gate.release()
        await caller.head()
        body = b""
        for mark in (b"Hel", b"lo", MASK.encode()):  # one read each: the first two are taken, and what follows is pushed
            body += await caller.until(mark)
            gate.release()
        gate.release()
        body += await caller.rest()
    assert keys == [f"Bearer {CANARY}"]
    assert not shows(body)
    assert body.count(MASK.encode()) >= 2


@dataclass
class _Halves(Parrot):
    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def _said(self, say: Say, body: bytes, status: int, content_type: str) -> None:
        cut = body.index(f"It is {CANARY[:5]}".encode()) + 11
        await say.head(status, content_type=content_type)
        await say.chunk(body[:cut])
        await self.go.wait()
        await say.chunk(body[cut:])
        await say.last()


async def test_models_and_vectors_do_not_show_it(serve: Any) -> None:
    """The other ways of asking an API use the same code."""

    async def parrot(seen: Seen, say: Say) -> None:
        listed = {"object": "list", "data": [{"id": f"m-{CANARY}", "object": "model", "embedding": [0.5], "index": 0}]}
        await say.whole({**listed, "model": CANARY, "usage": {"prompt_tokens": 1, "total_tokens": 1}})

    server = await serve(parrot)
    options = {"base_url": f"{server.url}/v1", "api_key": CANARY}
    for result in (await find("openai").list_models(**options), await polychat.embed("hi", model="openai/m", **options)):
        assert MASK in repr(result)
        assert not shows(repr(result))


@pytest.mark.parametrize("name", [name for name in wires() if counting(name) is not None])
async def test_refused_lists_counts_and_vectors_do_not_show_it(serve: Any, name: str) -> None:
    """Nor do their errors, on every wire that has them."""
    server = await serve(Parrot(name, way="refused"))
    options = {"base_url": server.url + BASES[name], "api_key": CANARY}
    provider = find(vendor_of(name))
    asks = [provider.list_models(**options), provider.count(ChatRequest("m", []), **options)]
    for ask in [*asks, *([polychat.embed("hi", model=f"{vendor_of(name)}/m", **options)] if name != "anthropic" else [])]:
        with pytest.raises(errors.StatusError) as caught:
            await ask
        assert MASK in str(caught.value)
        assert not shows(all_of(caught.value))
    assert server.seen
    assert all(CANARY in " ".join(seen.headers.values()) for seen in server.seen)


@pytest.mark.parametrize("arguments", [(), ("--json",), ("--no-stream", "--usage")])
@pytest.mark.parametrize("way", WAYS)
async def test_the_command_does_not_print_it(serve: Any, way: str, arguments: tuple[str, ...]) -> None:
    """Answers, errors and JSON, on both outputs."""
    server = await serve(Parrot("openai-chat", way=way))
    command = (sys.executable, "-m", "polychat", "ask", "hi", "-m", "openai/m", "--base-url", f"{server.url}/v1", *arguments)
    _, out, err = await ran(*command, cwd=ROOT, env={"OPENAI_API_KEY": CANARY})
    assert not shows(out + err)
    assert way == "no reply" or MASK in out + err


@pytest.mark.parametrize("option", [f"api_kee={CANARY}", f"api_key:{CANARY}"])
async def test_a_mistyped_option_does_not_print_its_value(option: str) -> None:
    """The text after the equals sign may be the key."""
    _, out, err = await ran(sys.executable, "-m", "polychat", "ask", "hi", "-m", "openai/m", "-o", option, cwd=ROOT)
    assert "-o" in err
    assert not shows(out + err)


def cookie_echo(question: SiteRequest) -> list[list[Event]]:
    """In pieces that cut it, and as a source."""
    return [
        [Text(f"Your cookie is {CANARY[:7]}"), Text(f"{CANARY[7:]}, "), Text("and that was it.")],
        [Citation(CANARY, f"https://example.org/?c={CANARY}", CANARY)],
        [Finish("complete", "stop")],
    ]


SITES = [provider.__name__ for provider in every() if provider.site is not None]


@pytest.mark.parametrize("name", SITES)
async def test_no_chat_site_shows_a_callers_cookie(serve: Any, name: str) -> None:
    """Cookies and headers of one's own, repeated in an answer whose pieces cut them."""
    provider = find(name)
    assert provider.site is not None
    server = await serve(answering(provider.site(), cookie_echo))
    received = []
    page = {"page": "/"} if "page" in (provider.reply.__kwdefaults__ or {}) else {}
    options = {"cookies": {"session": CANARY.replace("/", "_")}, "headers": {"x-pass": CANARY}, "base_url": server.url, **page}
    events = provider.events(None, [{"role": "user", "content": "hi"}], **options)
    async for batch in events:
        received += batch
    text = "".join(event.text for event in received if isinstance(event, Text))
    assert "and that was it." in text
    assert not shows(text)
    assert not shows(repr(received))


async def test_a_sites_refusal_does_not_show_what_was_sent(serve: Any) -> None:
    """The reason phrase and headers of an error, and the page that a message quotes, cut short or not."""

    async def parrot(seen: Seen, say: Say) -> None:
        await say.raw(f"HTTP/1.1 500 {CANARY}\r\nx-ratelimit-a: {CANARY}\r\ncontent-length: 0\r\n\r\n".encode())

    server = await serve(parrot)
    sent = {"authorization": f"Bearer {CANARY}"}
    async with StreamSession(sent) as session, session.get(server.url) as response:
        assert not shows(all_of(response.error(f"it says …{CANARY[:20]}…")))
    pooled = await pool().request("GET", server.url, headers=sent)
    assert "500" in all_of(pooled.error())  # a probe shows it as it is
    assert not shows(all_of(pooled.error()))
    pooled.close()


async def test_a_coding_that_was_not_requested_does_not_show_it(serve: Any) -> None:
    """Not in small letters either, as the names of codings are compared."""

    async def parrot(seen: Seen, say: Say) -> None:
        await say.raw(f"HTTP/1.1 200 OK\r\ncontent-encoding: {CANARY}\r\ncontent-length: 2\r\n\r\n{{}}".encode())

    server = await serve(parrot)
    with pytest.raises(errors.BadReply, match="compressed as") as caught:
        await polychat.ask("hi", model="openai/m", base_url=f"{server.url}/v1", api_key=CANARY)
    assert not shows(all_of(caught.value))
    assert MARK.lower() not in all_of(caught.value)


# The function itself


def test_a_stream_is_redacted_at_every_cut() -> None:
    """The same comes out however it was cut, and nothing is held that cannot be a beginning."""
    secrets = secrets_of([("authorization", f"Bearer {CANARY}"), ("x-api-key", "sk-canary-other-key")])
    assert secrets is not None
    data = f'a {CANARY}{CANARY} "sk-canary-4f9" {CANARY[:9]}{CANARY} sk-canary-other-key {CANARY[:-1]}'.encode()
    expected = data.replace(CANARY.encode(), MASK.encode()).replace(b"sk-canary-other-key", MASK.encode())
    for size in range(1, len(data) + 1):
        redaction = Redaction(secrets)
        came = [redaction.feed(data[start : start + size]) for start in range(0, len(data), size)]
        assert b"".join([*came, redaction.end()]) == expected, size
    redaction = Redaction(secrets)
    assert redaction.feed(b"data: {}\n\n") == b"data: {}\n\n"
    assert redaction.feed(b"half a s") == b"half a "
    assert redaction.feed(b"entence") == b"sentence"


FORMS = {
    "json": json.dumps(CANARY),
    "json with slashes": json.dumps(CANARY).replace("/", "\\/"),
    "json by codes": "".join(f"\\u{ord(letter):04x}" if letter in "+/=&" else letter for letter in CANARY),
    "json by capital codes": "".join(f"\\u{ord(letter):04X}" for letter in CANARY),
    "json with slashes and codes": CANARY.replace("/", "\\/").replace("+", "\\u002b"),
    "url": CANARY.replace("/", "%2F").replace("+", "%2B").replace("=", "%3D"),
    "url in small letters": CANARY.replace("/", "%2f").replace("+", "%2b").replace("=", "%3d"),
    "base64": base64.b64encode(CANARY.encode()).decode(),
    "base64 of URLs": base64.urlsafe_b64encode(CANARY.encode()).decode(),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_usual_ways_to_write_it_are_known(form: str) -> None:
    """In bytes and in text."""
    secrets = secrets_of([("x-api-key", CANARY)])
    assert secrets is not None
    text = f"<{FORMS[form].strip(chr(34))}>"
    assert MARK not in secrets.text(text)
    assert secrets.text(text).rstrip("=>") == f"<{MASK}"
    assert secrets.whole(text.encode()).rstrip(b"=>") == f"<{MASK}".encode()


def test_html_is_known() -> None:
    """A key with letters that a page writes as entities."""
    secrets = secrets_of([("x-api-key", "sk-<canary>-4f9A71bX")])
    assert secrets is not None
    assert secrets.whole(b"<p>sk-&lt;canary&gt;-4f9A71bX</p>") == f"<p>{MASK}</p>".encode()


@pytest.mark.parametrize(
    "secrets",
    [
        secrets_of([], {"session": CANARY}),
        secrets_of([], None, [CANARY]),
        secrets_of([("cookie", f"a=b; session={CANARY}")]),
        secrets_of([("authorization", f"Basic {base64.b64encode(f'me:{CANARY}'.encode()).decode()}")]),
    ],
    ids=["cookie", "password", "header of cookies", "login"],
)
def test_each_place_of_a_credential_is_known(secrets: Secrets | None) -> None:
    """What a caller gives as a cookie or as the password of an address is taken out by itself, not only as it was sent."""
    assert secrets is not None
    assert secrets.text(f"It is {CANARY}.") == f"It is {MASK}."


def test_an_error_is_redacted_in_all_that_it_carries() -> None:
    """Its words, its members of every kind, and the errors that caused it or stood behind it."""
    secrets = secrets_of([("x-api-key", CANARY)])
    assert secrets is not None
    cause, behind, error = ValueError(CANARY.encode(), (CANARY,)), KeyError(CANARY), errors.BadReply(CANARY)
    cause.__context__, error.__cause__ = behind, cause
    vars(error)["members"] = {CANARY: [CANARY, (CANARY.encode(), {"x": CANARY})]}
    redacted = secrets.error(error)
    assert redacted is error
    assert not shows(all_of(error))
    assert vars(error)["members"] == {MASK: [MASK, (MASK.encode(), {"x": MASK})]}
    assert (cause.args, behind.args) == ((MASK.encode(), (MASK,)), (MASK,))


def test_headers_are_redacted_in_names_and_values() -> None:
    """Either of them may repeat it; where none does, the same list is given."""
    secrets = secrets_of([("x-api-key", CANARY)])
    assert secrets is not None
    key, mask = CANARY.encode(), MASK.encode()
    plain = [(b"a", b"b")]
    assert secrets.headers(plain) is plain
    assert secrets.headers([*plain, (b"c", key)]) == [*plain, (b"c", mask)]
    assert secrets.headers([*plain, (key, b"c")]) == [*plain, (mask, b"c")]


@pytest.mark.parametrize(
    "header",
    [
        ("content-type", "application/json"),
        ("anthropic-version", "2023-06-01"),
        ("anthropic-beta", "interleaved-thinking-2025-05-14"),
        ("openai-beta", "responses=experimental"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("user-agent", "polychat/0.1.0"),
        ("authorization", "Bearer k-1"),
        ("authorization", "Bearer lm-studio"),
        ("cookie", "lang=en; consent=accepted"),
    ],
)
def test_what_is_no_secret_stays_in_answers(header: tuple[str, str]) -> None:
    """Versions, dates, placeholders and short words are parts of messages."""
    assert secrets_of([header]) is None


def test_public_headers_of_the_vendors_are_no_secrets() -> None:
    """What vendors.toml itself says is known to everybody."""
    from polychat.backends.builtin import known

    assert [row.name for row in known().values() if secrets_of(row.headers.items()) is not None] == []


def test_redaction_is_linear() -> None:
    """Of bytes that nearly are the key, again and again: each is looked at so often, and no more, however many there are."""
    key = "aaaaaaaaaaaaaaab"
    secrets = Secrets([key])

    def work(data: bytes) -> None:
        redaction = Redaction(secrets)
        came = [redaction.feed(data[start : start + 5000]) for start in range(0, len(data), 5000)]
        assert b"".join([*came, redaction.end()]) == data
        assert secrets.whole(data) == data

    for unit in (b"a", b"\\u0061", b"a" * 15 + b"c"):
        linear, times = is_linear(lambda size, unit=unit: unit * (size // len(unit)), work)  # type: ignore[misc]
        assert linear, (unit, times)


def test_nothing_that_is_made_for_a_request_shows_it_when_it_is_printed() -> None:
    """A debugger, a traceback with locals or a log that prints them shows no key."""
    from polychat.calls.call import Call
    from polychat.http.pool.heads import pool_request as prepared

    call = Call(
        "X", f"https://me:{CANARY}@h", f"http://me:{CANARY}@p", 1.0, 1.0, {"a": CANARY}, {"b": CANARY}, own={"k": CANARY}
    )
    request = prepared("POST", "https://h/", (("authorization", f"Bearer {CANARY}"),), None)
    assert not shows(repr([call, request, request.secrets]))


def test_the_configuration_does_not_show_it_when_it_is_printed() -> None:
    """Headers and addresses may hold what is nobody's business."""
    password = CANARY.replace("/", "%2F")
    table = {"wire": "ollama", "base_url": f"https://me:{password}@h", "headers": {"x-tenant-pass": CANARY}}
    row = spec_of("house", table, FileErrors(Path("polychat.toml")), "providers.house")
    assert not shows(repr([config.Config(providers={"house": table}), row]))


PLACES = {
    "https://me:pass@h.example/v1": "https://h.example/v1",
    "https://token@h.example/v1": "https://h.example/v1",
    "https://h.example/v1?key=pass": "https://h.example/v1",
    "https://me:pa/ss@h.example/v1": MASK,
    "https://me:pa?ss@h.example/v1": MASK,
    "me:pass@h.example": MASK,
    "https://{account}.h.example/v1": "https://{account}.h.example/v1",
}


@pytest.mark.parametrize("url", PLACES)
def test_what_may_be_shown_of_an_address(url: str) -> None:
    """Neither its password nor its query, however badly it is written."""
    assert bare_url(url) == PLACES[url]


@pytest.mark.parametrize("command", [("providers",), ("providers", "--json"), ("config", "show"), ("config", "check")])
async def test_what_tells_of_the_configuration_shows_no_value_that_may_be_secret(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    """Passwords in addresses, and headers under whatever name."""
    (tmp_path / "polychat").mkdir()
    (tmp_path / "polychat/polychat.toml").write_text(
        f'[providers.house]\nwire = "ollama"\nbase_url = "https://me:{CANARY.replace("/", "%2F")}@h.example/v1"\n'
        f'headers = {{ x-tenant-pass = "{CANARY}" }}\n'
    )
    code, out, err = await ran(sys.executable, "-m", "polychat", *command, cwd=ROOT, env={"XDG_CONFIG_HOME": str(tmp_path)})
    assert code == 0
    assert command == ("config", "check") or "h.example/v1" in out
    assert not shows(out + err)
