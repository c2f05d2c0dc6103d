"""The changes of a request and its reply if both sides use the same wire and the bytes are passed through."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

from ...errors import BadInput
from ...routing import Target
from ...wire.billing import billed
from ...wire.naming import named_body
from ..dialects.dialect import Dialect
from .delivery import HEADER
from .replies import Outcome, PassthroughBody


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


def passed_whole(dialect: Dialect, body: bytes, name: str | None) -> PassthroughBody:
    """The reply in ``body``, under this name. Raises the failure that it reports, or that it is."""
    finish, usage, served = dialect.ending(body)
    if finish.error is not None and not (finish.verdict == "truncated" and body.rstrip().endswith(b"}")):
        raise billed(finish.error, [], body)
    # A whole reply without a finish reason is forwarded unchanged, and so shows that itself.
    if name is not None:
        body = named_body(body, dialect.model_member, served, name)
    return PassthroughBody(body, Outcome(finish, usage, served))
