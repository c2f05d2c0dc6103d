"""The changes of a request and its reply if both sides use the same wire and the bytes are passed through."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from ...errors import BadInput
from ...http.body import media_type
from ...redact import Secrets
from ...routing import Target
from ...wire.billing import billed
from ...wire.naming import Naming, named_body
from ..dialects.dialect import Dialect, InboundChat
from ..responder import end_of
from .delivery import HEADER, closing
from .replies import JSON_TYPE, PassthroughStream, WholeReply


@cache
def _sent(names: tuple[str, ...]) -> tuple[tuple[str, bytes], ...]:
    """Names of headers, each as bytes."""
    return tuple((name, name.encode()) for name in names)


def forwarded(dialect: Dialect, headers: Mapping[bytes, bytes]) -> dict[str, str]:
    """The client's headers that are sent to the backend too. Raises ``BadInput`` for one that is too long."""
    passed = {}
    for name, sent in _sent(dialect.forwards):
        value = headers.get(sent)
        if value is not None:
            if len(value) > HEADER:
                message = f"the header {name} has {len(value):,} bytes; at most {HEADER:,} are forwarded: shorten it"
                raise BadInput(message, field=name)
            passed[name] = value.decode("latin-1")
    if (trace := headers.get(b"traceparent")) is not None and len(trace) <= HEADER:
        passed["traceparent"] = trace.decode("latin-1")
    return passed


def name_for_client(dialect: Dialect, model: str, target: Target) -> str | None:
    """The model name that a reply must carry, if clients compare it and the backend was called with another name."""
    return None if not dialect.compares or model == target.model else model


def passed_stream(
    inbound: InboundChat, content_type: bytes, data: bytes, secrets: Secrets | None, name: str | None
) -> WholeReply | None:
    """A stream that came whole, ``data``, under this name; ``None`` if its end is missing, or it is no stream."""
    dialect = inbound.dialect
    if secrets is not None:
        content_type = secrets.whole(content_type)
    if media_type(content_type) != dialect.stream_type:
        return None
    sent_type = content_type.decode("latin-1")
    if name is None and (usual := dialect.passed_at_once(inbound, data)) is not None:
        return *usual, sent_type
    reply = PassthroughStream(None, dialect.monitor(inbound), b"", naming_for(dialect, name))  # type: ignore[arg-type]
    first = reply.passing()(data)
    if reply.monitor.finish is None:
        return None
    rest = reply.rest()
    body, outcome = first + rest + closing(sent_type, end_of(first, rest)), reply.outcome
    return None if outcome.finish is None else (body, outcome.finish, outcome.usage, outcome.model, sent_type)


def naming_for(dialect: Dialect, name: str | None) -> Naming | None:
    """What replaces the model's name in a stream by ``name``, if there is one."""
    return None if name is None else Naming(dialect.model_member, name, dialect.piece_end)


def passed_whole(dialect: Dialect, body: bytes, name: str | None) -> WholeReply:
    """The reply in ``body``, under this name. Raises the failure that it reports, or that it is."""
    finish, usage, served = dialect.ending(body)
    if finish.error is not None and not (finish.verdict == "truncated" and body.rstrip().endswith(b"}")):
        raise billed(finish.error, [], body)
    # A whole reply without a finish reason is forwarded unchanged, and so shows that itself.
    if name is not None:
        body = named_body(body, dialect.model_member, served, name)
    return body, finish, usage, served, JSON_TYPE
