"""Telemetry: the spans and metrics of the conventions, in the client's trace, without a word of a conversation."""

from __future__ import annotations

import asyncio
import importlib
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from polychat.errors import BadInput, MissingPackage
from polychat.gateway.observe import otel as module
from polychat.gateway.observe.otel import Telemetry, telemetry
from polychat.gateway.observe.record import Record
from polychat.gateway.openapi import OPERATIONS

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


def record(**facts: Any) -> Record:
    """A chat of two seconds, its first piece after a quarter of one."""
    made = Record("req_1", "openai-chat", "POST", "/v1/chat/completions", 100.0)
    made.started_at, made.first, made.over, made.status, made.verdict, made.reason = 1e9, 100.25, 102.0, 200, "complete", "stop"
    made.key, made.model, made.provider, made.served, made.attempts = "alice", "mistral/large", "mistral", "large-2", 1
    made.prompt_tokens, made.completion_tokens, made.cached_tokens, made.cost, made.stream = 12, 34, 5, 0.25, True
    for name, value in facts.items():
        setattr(made, name, value)
    return made


class Seen:
    """What an observer made, in memory."""

    def __init__(self) -> None:
        self.spans, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.observer = Telemetry([SimpleSpanProcessor(self.spans)], [self.reader])

    def of(self, record: Record) -> list[ReadableSpan]:
        """The spans it makes, the server's first."""
        self.spans.clear()
        self.observer(record)
        return sorted(self.spans.get_finished_spans(), key=lambda span: span.kind.value)

    def points(self, name: str) -> list[Any]:
        data = self.reader.get_metrics_data()
        metrics = [one for of in data.resource_metrics for scope in of.scope_metrics for one in scope.metrics] if data else []
        return [point for one in metrics if one.name == name for point in one.data.data_points]


@pytest.fixture
def seen() -> Any:
    made = Seen()
    yield made
    made.observer.shutdown()


def test_a_request_is_two_spans(seen: Seen) -> None:
    """What the gateway did, and in it what the backend did, with the conventions' names and the record's moments."""
    server, client = seen.of(record())
    assert (server.kind, server.name) == (SpanKind.SERVER, "POST /v1/chat/completions")
    assert (client.kind, client.name) == (SpanKind.CLIENT, "chat large")
    assert client.parent == server.context
    assert [(span.start_time, span.end_time) for span in (server, client)] == [(10**18, 10**18 + 2 * 10**9)] * 2
    assert dict(server.attributes or {}) == {
        **{"http.request.method": "POST", "http.route": "/v1/chat/completions", "url.path": "/v1/chat/completions"},
        **{"http.response.status_code": 200, "polychat.request_id": "req_1", "polychat.dialect": "openai-chat"},
        **{"polychat.key": "alice", "polychat.attempts": 1, "polychat.verdict": "complete"},
    }
    assert dict(client.attributes or {}) == {
        **{"gen_ai.operation.name": "chat", "gen_ai.provider.name": "mistral_ai", "gen_ai.request.model": "large"},
        **{"gen_ai.response.model": "large-2", "gen_ai.request.stream": True, "gen_ai.response.time_to_first_chunk": 0.25},
        **{"gen_ai.usage.input_tokens": 12, "gen_ai.usage.output_tokens": 34, "gen_ai.usage.cache_read.input_tokens": 5},
        **{"gen_ai.response.finish_reasons": ("stop",), "polychat.cost_usd": 0.25},
    }
    assert {span.status.status_code for span in (server, client)} == {StatusCode.UNSET}


def test_they_belong_to_the_clients_trace(seen: Seen) -> None:
    """Where it sent one that is one; else a trace begins here, each request its own."""
    server, client = seen.of(record(traceparent=f"00-{TRACE}-{PARENT}-01"))
    assert f"{server.parent.span_id:016x}" == PARENT if server.parent else False
    assert {f"{span.context.trace_id:032x}" for span in (server, client)} == {TRACE}
    traces = set()
    for wrong in ("", "nonsense", f"00-{'0' * 32}-{PARENT}-01", "00-\x00"):
        server, client = seen.of(record(traceparent=wrong))
        assert server.parent is None
        assert server.context.trace_id == client.context.trace_id
        traces.add(server.context.trace_id)
    assert len(traces) == 4


def test_what_the_client_does_not_sample_is_not_sent(seen: Seen) -> None:
    """Its own decision holds for all of its trace."""
    assert seen.of(record(traceparent=f"00-{TRACE}-{PARENT}-00")) == []


def test_without_a_date_the_moments_are_still_right(seen: Seen) -> None:
    """The record's clock counts from nowhere: its distance from now is what tells."""
    import time

    now = time.monotonic()
    server, _ = seen.of(record(started_at=None, start=now - 3, first=now - 2, over=now - 1))
    assert server.start_time is not None
    assert server.end_time is not None
    assert abs(server.end_time - (time.time_ns() - 10**9)) < 10**9 / 2
    assert abs(server.end_time - server.start_time - 2 * 10**9) < 1000


@pytest.mark.parametrize(
    ("facts", "server_error", "client_error"),
    [
        ({"status": 502, "verdict": "failed", "first": None}, "502", "502"),
        ({"status": 429, "verdict": "failed", "first": None}, None, "429"),
        ({"verdict": "failed"}, "failed", "failed"),
        ({"verdict": "truncated"}, "truncated", "truncated"),
        ({"verdict": "cancelled"}, None, "cancelled"),
    ],
)
def test_failures_are_reported(seen: Seen, facts: dict[str, Any], server_error: str | None, client_error: str | None) -> None:
    """By few words; what a client is to blame for is no failure of the gateway."""
    spans = seen.of(record(**facts, error="it broke at api_key=sk-12345678"))
    assert [(span.attributes or {}).get("error.type") for span in spans] == [server_error, client_error]
    assert [span.status.status_code is StatusCode.ERROR for span in spans] == [server_error is not None, True]
    assert spans[1].status.description == "it broke at api_key=…"
    [duration] = seen.points("gen_ai.client.operation.duration")
    assert duration.attributes["error.type"] == client_error
    assert seen.points("gen_ai.server.time_to_first_token") == []


def test_a_request_for_no_backend_is_one_span(seen: Seen) -> None:
    """A list of models, or a refusal."""
    [span] = seen.of(record(provider="", served="", verdict=None, status=404, model="x"))
    assert (span.kind, span.status.status_code) == (SpanKind.SERVER, StatusCode.UNSET)
    assert seen.points("gen_ai.client.operation.duration") == []


def test_metrics_are_the_conventions(seen: Seen) -> None:
    """Names, units of measure, bounds and labels; the model is what answered, or the route that was meant."""
    for _ in range(2):
        seen.observer(record())
    seen.observer(record(route="fast", model="fast"))
    common = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "mistral_ai", "gen_ai.response.model": "large-2"}
    by_name, by_route = seen.points("gen_ai.client.operation.duration")
    assert (by_name.count, by_name.sum, by_route.count) == (2, 4.0, 1)
    assert dict(by_name.attributes) == {**common, "gen_ai.request.model": "large-2"}
    assert dict(by_route.attributes) == {**common, "gen_ai.request.model": "fast"}
    assert by_name.explicit_bounds[:3] + by_name.explicit_bounds[-1:] == (0.01, 0.02, 0.04, 81.92)
    assert {len(point.exemplars) > 0 for point in (by_name, by_route)} == {True}  # each leads to a trace
    tokens = {
        point.attributes["gen_ai.token.type"]: point.sum
        for point in seen.points("gen_ai.client.token.usage")
        if point.attributes["gen_ai.request.model"] == "fast"
    }
    assert tokens == {"input": 12, "output": 34}
    first = seen.points("gen_ai.server.time_to_first_token")
    assert [(point.count, point.sum) for point in first] == [(2, 0.5), (1, 0.25)]


@pytest.mark.parametrize(
    ("path", "pattern", "operation"),
    [
        ("/v1beta/models/a/b:c:streamGenerateContent", "/v1beta/models/{name}:streamGenerateContent", "chat"),
        ("/v1/models/x:generateContent", "/v1/models/{name}:generateContent", "chat"),
        ("/v1beta/models/x:batchEmbedContents", "/v1beta/models/{name}:batchEmbedContents", "embeddings"),
        ("/v1/models/x:made-up", "/v1/models/{name}", "chat"),
        ("/v1/responses/resp_1", "/v1/responses/{name}", "chat"),
        ("/v1/responses/resp_1/input_items", "/v1/responses/{name}/input_items", "chat"),
        ("/v1/responses", "/v1/responses", "chat"),
        ("/v1/models", "/v1/models", "chat"),
        ("/v1/embeddings", "/v1/embeddings", "embeddings"),
        ("/api/embed", "/api/embed", "embeddings"),
    ],
)
def test_names_of_spans_are_few(seen: Seen, path: str, pattern: str, operation: str) -> None:
    """What a client writes into a path is no part of one."""
    server, client = seen.of(record(path=path))
    assert server.name == f"POST {pattern}"
    assert client.name == f"{operation} large"


@pytest.mark.parametrize("path", sorted({operation.path for operation in OPERATIONS}))
def test_each_endpoint_of_each_dialect_names_a_span(seen: Seen, path: str) -> None:
    """Whatever name a client writes into its path."""
    server, *_ = seen.of(record(path=re.sub(r"\{\w+\}", "house/a:b", path)))
    assert server.name == "POST " + re.sub(r"\{\w+\}", "{name}", path)


def test_no_word_of_a_conversation_is_sent(seen: Seen) -> None:
    """Not even where the log has it."""
    spans = seen.of(record(text=("my diary", "dear diary")))
    assert "diary" not in "".join(span.to_json() for span in spans)


def test_a_client_makes_up_no_label(seen: Seen) -> None:
    """Each would be remembered until the end: what did not answer is in the span only."""
    for number in range(20):
        name = f"x{number}"
        spans = seen.of(record(model=f"house/{name}", served=name, provider="house", status=404, verdict="failed", first=None))
        assert (spans[1].attributes or {})["gen_ai.request.model"] == name
    assert len(seen.points("gen_ai.client.operation.duration")) == 1


def test_each_process_has_a_name_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers' numbers are not taken for each other's; the service is called as the operator says."""
    ours = [module._resource().attributes for _ in range(2)]
    assert [one["service.name"] for one in ours] == ["polychat", "polychat"]
    assert len({one["service.instance.id"] for one in ours}) == 2
    monkeypatch.setenv("OTEL_SERVICE_NAME", "chats")
    assert module._resource().attributes["service.name"] == "chats"


# Over the wire


class Collector(ThreadingHTTPServer):
    """An OTLP endpoint on loopback. While ``stuck`` it takes requests and answers none."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Collecting)
        self.got: dict[str, list[bytes]] = {}
        self.go = threading.Event()
        self.go.set()
        self.came = threading.Event()


class Collecting(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.setdefault(self.path, []).append(body)
        self.server.came.set()
        self.server.go.wait(10)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Any:
    server = Collector()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield server
    server.go.set()
    server.shutdown()
    thread.join()
    server.server_close()


def test_it_is_sent_where_the_variables_say(collector: Collector) -> None:
    """Spans and metrics, by OTLP over HTTP, at the latest at the end."""
    observer = telemetry()
    observer(record(served="half\ud800"))
    observer.shutdown()
    [traces], [metrics] = collector.got["/v1/traces"], collector.got["/v1/metrics"]
    sent = ExportTraceServiceRequest.FromString(traces).resource_spans[0]
    assert sorted(span.name for span in sent.scope_spans[0].spans) == ["POST /v1/chat/completions", "chat large"]
    assert "polychat" in [one.value.string_value for one in sent.resource.attributes if one.key == "service.name"]
    measured = ExportMetricsServiceRequest.FromString(metrics).resource_metrics[0].scope_metrics[0].metrics
    assert {one.name for one in measured} == {
        *("gen_ai.client.operation.duration", "gen_ai.client.token.usage", "gen_ai.server.time_to_first_token")
    }


@pytest.mark.parametrize(("signal", "left"), [("TRACES", "/v1/metrics"), ("METRICS", "/v1/traces")])
def test_either_can_be_left_out(collector: Collector, monkeypatch: pytest.MonkeyPatch, signal: str, left: str) -> None:
    """By the variable that OpenTelemetry has for it."""
    monkeypatch.setenv(f"OTEL_{signal}_EXPORTER", "none")
    observer = telemetry()
    observer(record())
    observer.shutdown()
    assert list(collector.got) == [left]


async def test_the_end_does_not_wait_for_a_collector(collector: Collector) -> None:
    """One that takes and does not answer holds the end up for the given time."""
    collector.go.clear()
    observer = telemetry()
    observer(record())
    async with asyncio.timeout(60):
        await asyncio.to_thread(observer.shutdown, 0.05)
    [ending] = [thread for thread in threading.enumerate() if thread.name == "polychat-telemetry"]
    collector.go.set()
    await asyncio.to_thread(ending.join, 10)
    assert not ending.is_alive()


def test_a_variable_that_does_not_hold_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start, and not as a defect; of most the SDK only warns."""
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "soon")
    with pytest.raises(BadInput, match="soon"):
        telemetry()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the extra that brings it."""
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    monkeypatch.delitem(sys.modules, "polychat.gateway.observe.otel")
    with pytest.raises(MissingPackage, match=r"polychat\[otel\]"):
        importlib.import_module("polychat.gateway.observe.otel")
