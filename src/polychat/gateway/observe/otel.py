"""OpenTelemetry: a span for each request, a child span for its backend, and metrics, by the conventions for generative AI.

They are made from a request's ``Record`` when it is over, and hold no text of a conversation. The SDK reads where to send them,
how often, and at which sampling rate from the ``OTEL_…`` variables.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from threading import Thread
from time import monotonic, time
from typing import TypeAlias
from uuid import uuid4

from ...errors import BadInput, MissingPackage, redact
from ...version import __version__
from ..openapi import OPERATIONS
from .metrics import LabelSets
from .record import Record

try:
    from opentelemetry.context import Context
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.trace import NoOpTracer, Span, SpanKind, Status, StatusCode, set_span_in_context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as error:
    raise MissingPackage(error.name or "opentelemetry-sdk", extra="otel", purpose="telemetry = true") from None

_Value: TypeAlias = str | bool | int | float | list[str]

_DURATION = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
_FIRST_TOKEN = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0]
_TOKENS = [float(4**power) for power in range(14)]
"""The bucket bounds of these three are those of the conventions."""
_VENDORS = {
    "openai-responses": "openai",
    "azure-openai": "azure.ai.openai",
    "azure-openai-responses": "azure.ai.openai",
    "gemini": "gcp.gemini",
    "gemini-openai": "gcp.gemini",
    "mistral": "mistral_ai",
    "deepseek-anthropic": "deepseek",
    "xai": "x_ai",
    "xai-responses": "x_ai",
    "perplexity-sonar": "perplexity",
    "moonshot": "moonshot_ai",
    "moonshot-cn": "moonshot_ai",
    "moonshot-anthropic": "moonshot_ai",
    "groq-responses": "groq",
}
"""Vendors that the conventions call by another name than ours."""


def _with_names(paths: Iterable[str]) -> list[re.Pattern[str]]:
    """Patterns for the paths that contain a name (``/v1/models/{model}``), with groups for the parts before and after it.

    Google's clients use ``/v1`` and ``/v1beta`` for the same endpoints.
    """
    ends: dict[str, set[str]] = {}
    for path in paths:
        before, brace, rest = path.partition("{")
        if brace:
            ends.setdefault(before.replace("/v1beta/", "/v1/"), {""}).add(rest.partition("}")[2])
    return [
        re.compile(rf"({_escaped(before)}).+?({'|'.join(map(re.escape, sorted(behind, reverse=True)))})", re.DOTALL)
        for before, behind in ends.items()
    ]


def _escaped(before: str) -> str:
    return re.escape(before).replace("/v1/", "/v1(?:beta)?/")


_PLACES = _with_names(operation.path for operation in OPERATIONS)
_WITHOUT_NAMES = frozenset(operation.path for operation in OPERATIONS if "{" not in operation.path)
_EMBEDDING = re.compile(r"/embed(?:dings)?$|mbedContents?$")
_propagator = TraceContextTextMapPropagator()


def telemetry() -> Telemetry:
    """An observer that exports by OTLP over HTTP. ``OTEL_TRACES_EXPORTER=none`` (``…METRICS…``) switches it off.

    Raises ``BadInput`` if a variable has an invalid value.
    """
    try:
        spans: list[SpanProcessor] = [] if _none("TRACES") else [BatchSpanProcessor(OTLPSpanExporter())]
        readers: list[MetricReader] = [] if _none("METRICS") else [PeriodicExportingMetricReader(OTLPMetricExporter())]
        return Telemetry(spans, readers)
    except ValueError as error:
        raise BadInput(
            f"telemetry cannot start; check the OTEL_… environment variables: {redact(str(error))}", field="telemetry"
        ) from None


def _none(signal: str) -> bool:
    return os.environ.get(f"OTEL_{signal}_EXPORTER", "").strip().lower() == "none"


class Telemetry:
    """Takes every request's ``Record``."""

    def __init__(self, spans: Sequence[SpanProcessor], readers: Sequence[MetricReader]) -> None:
        resource = _resource()
        # ``shutdown`` is called when the process ends, with a limit; the SDK's own exit handler would wait without one.
        self._tracers = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._meters = MeterProvider(readers, resource=resource, shutdown_on_exit=False)
        for processor in spans:
            self._tracers.add_span_processor(processor)
        self._tracer = self._tracers.get_tracer("polychat", __version__) if spans else NoOpTracer()
        meter = self._meters.get_meter("polychat", __version__)
        self._duration = meter.create_histogram(
            "gen_ai.client.operation.duration", "s", "GenAI operation duration.", explicit_bucket_boundaries_advisory=_DURATION
        )
        self._usage = meter.create_histogram(
            "gen_ai.client.token.usage",
            "{token}",
            "Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )
        self._first = meter.create_histogram(
            "gen_ai.server.time_to_first_token",
            "s",
            "Time to generate first token for successful responses.",
            explicit_bucket_boundaries_advisory=_FIRST_TOKEN,
        )
        self._names = LabelSets()

    def __call__(self, record: Record) -> None:
        begun, over = _moments(record)
        parent = _propagator.extract({"traceparent": record.traceparent}) if record.traceparent else Context()
        server = self._tracer.start_span(
            f"{record.method} {_place(record.path)}", parent, SpanKind.SERVER, _of_server(record), start_time=begun
        )
        inside = set_span_in_context(server, parent)
        if record.provider:
            self._client(record, inside, begun, over)
        if (error := _server_error(record)) is not None:
            _fail(server, error, record)
        server.end(over)

    def shutdown(self, seconds: float = 5.0) -> None:
        """Export what is pending, and wait at most ``seconds`` for that."""
        ending = Thread(target=self._end, name="polychat-telemetry", daemon=True)
        ending.start()
        ending.join(seconds)

    def _end(self) -> None:
        self._tracers.shutdown()
        self._meters.shutdown()

    def _client(self, record: Record, inside: Context, begun: int, over: int) -> None:
        """The child span and the metrics of the backend's part."""
        operation = "embeddings" if _EMBEDDING.search(record.path) else "chat"
        model = redact(record.model.removeprefix(f"{record.provider}/"), 120)
        name = f"{operation} {model}" if model else operation
        span = self._tracer.start_span(name, inside, SpanKind.CLIENT, _of_client(record, operation, model), start_time=begun)
        error = _client_error(record)
        if error is not None:
            _fail(span, error, record)
        span.end(over)
        self._measure(record, operation, error, set_span_in_context(span, inside))

    def _measure(self, record: Record, operation: str, error: str | None, context: Context) -> None:
        named = self._names.of(record)
        # A client may request any model name, and each label value costs memory: use the route, or the model that answered.
        known = {"gen_ai.request.model": named.route or named.model, "gen_ai.response.model": named.model}
        attributes = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": _VENDORS.get(named.provider, named.provider),
            **{name: value for name, value in known.items() if value},
        }
        ended = attributes if error is None else {**attributes, "error.type": error}
        self._duration.record(record.over - record.start, ended, context)
        for kind, tokens in (("input", record.prompt_tokens), ("output", record.completion_tokens)):
            if tokens is not None:
                self._usage.record(tokens, {**attributes, "gen_ai.token.type": kind}, context)
        if record.stream and record.first is not None and error is None:
            self._first.record(record.first - record.start, attributes, context)


def _resource() -> Resource:
    # Each worker counts separately; without an instance id the backend would merge their numbers.
    ours: dict[str, str | int] = {
        "service.version": __version__,
        "service.instance.id": str(uuid4()),
        "process.pid": os.getpid(),
    }
    resource = Resource.create(ours)
    if str(resource.attributes.get("service.name", "")).startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": "polychat"}))
    return resource


def _moments(record: Record) -> tuple[int, int]:
    """Start and end, in nanoseconds since 1970."""
    started = record.started_at
    if started is None:
        started = time() - (monotonic() - record.start)
    begun = int(started * 1e9)
    return begun, begun + int((record.over - record.start) * 1e9)


def _place(path: str) -> str:
    """The path with ``{name}`` in place of what a client wrote: a span's name must have few values."""
    if path in _WITHOUT_NAMES:
        return path
    for pattern in _PLACES:
        if (match := pattern.fullmatch(path)) is not None:
            return redact(f"{match[1]}{{name}}{match[2]}", 120)
    return redact(path, 120)


def _of_server(record: Record) -> dict[str, _Value]:
    known: Mapping[str, _Value | None] = {
        "http.request.method": record.method,
        "http.route": _place(record.path),
        "url.path": redact(record.path, 200),
        "http.response.status_code": record.status or None,
        "polychat.request_id": record.request_id,
        "polychat.dialect": record.dialect,
        "polychat.key": record.key or None,
        "polychat.route": record.route or None,
        "polychat.attempts": record.attempts or None,
        "polychat.passthrough": record.passthrough or None,
        "polychat.fields_dropped": record.fields_dropped or None,
        "polychat.verdict": record.verdict,
    }
    return {name: value for name, value in known.items() if value is not None}


def _of_client(record: Record, operation: str, model: str) -> dict[str, _Value]:
    known: Mapping[str, _Value | None] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": _VENDORS.get(record.provider, record.provider),
        "gen_ai.request.model": model or None,
        "gen_ai.response.model": None if record.first is None else redact(record.served, 120) or None,
        "gen_ai.request.stream": record.stream or None,
        "gen_ai.usage.input_tokens": record.prompt_tokens,
        "gen_ai.usage.output_tokens": record.completion_tokens,
        "gen_ai.usage.cache_read.input_tokens": record.cached_tokens,
        "gen_ai.response.finish_reasons": None if record.reason is None else [redact(record.reason, 60)],
        "gen_ai.response.time_to_first_chunk": (
            record.first - record.start if record.stream and record.first is not None else None
        ),
        "polychat.cost_usd": record.cost,
    }
    return {name: value for name, value in known.items() if value is not None}


def _server_error(record: Record) -> str | None:
    """The error type of the server span: one of few values. A client error (4xx) is no error of the server."""
    if record.status >= 500:
        return str(record.status)
    return record.verdict if record.verdict in ("failed", "truncated") and record.status < 400 else None


def _client_error(record: Record) -> str | None:
    if record.status >= 400:
        return str(record.status)
    return None if record.verdict in (None, "complete") else record.verdict


def _fail(span: Span, error: str, record: Record) -> None:
    span.set_attribute("error.type", error)
    span.set_status(Status(StatusCode.ERROR, redact(record.error) or None))
