"""Guards decide about a request before it is answered, and are notified of its end: keys, origins, limits, budgets.

There are three lists. Guards of ``head`` run when a request's head is read and its body is not, for every kind of request;
those of ``model`` when its model is known, whether it is a chat, texts to embed or tokens to count; those of ``chat`` when a
chat was read and no backend has been called; the chat is in ``context.chat``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ...wire.faults import Fault
from ..context import Guard, ModelGuard, RequestContext
from ..responder import Refused
from ..runtime import Runtime
from ..service import Service
from .guesses import Guesses
from .idempotency import RepeatedRequests
from .keys import Keys, keys_in, unauthorized
from .origins import OriginPolicy


class Guards(NamedTuple):
    """The guards of one configuration, in the order in which they are called."""

    head: tuple[Guard, ...] = ()
    chat: tuple[Guard, ...] = ()
    over: tuple[Guard, ...] = ()
    """The guards of both lists that define ``after``."""
    model: tuple[ModelGuard, ...] = ()
    repeated: RepeatedRequests | None = None
    """What answers requests that a client sends again, when their bodies are read."""


def in_order(head: Sequence[Guard], chat: Sequence[Guard] = ()) -> Guards:
    """Both lists without the guards that define no ``before``: those cost nothing."""
    over = tuple(guard for guard in (*head, *chat) if type(guard).after is not Guard.after)
    return Guards(_asked(head), _asked(chat), over)


def _asked(guards: Sequence[Guard]) -> tuple[Guard, ...]:
    return tuple(guard for guard in guards if type(guard).before is not Guard.before)


def guards_of(runtime: Runtime, service: Service) -> Guards:
    """The guards that a configuration needs."""
    keys: list[Guard] = [KeyGuard(runtime.keys)] if runtime.guarded else []
    if service.people is not None or service.signed is not None:
        from .people_guard import PeopleKeyGuard  # only where there is a database, or keys are signed

        keys = [PeopleKeyGuard(runtime.keys, service.people, service.signed, guarded=runtime.guarded)]
    return in_order([*keys, OriginGuard(runtime.origins, guarded=runtime.guarded), LoadGuard(service, runtime)])


class KeyGuard(Guard):
    """Refuses requests without a known key, and records the key's name."""

    by_head = True

    def __init__(self, keys: Keys) -> None:
        self._keys, self._guesses = keys, Guesses()
        if keys.renews:
            self.by_head = False  # type: ignore[misc]  # of this guard

    def admission(self, context: RequestContext) -> Callable[[], bool]:
        return lambda: self._passes(context)

    def _passes(self, context: RequestContext) -> bool:
        context.record.key = self._keys.name_of(context.headers, context.query_string)
        return bool(context.record.key)

    def before(self, context: RequestContext) -> None:
        if not self._passes(context):
            if keys_in(context.headers, context.query_string):
                self._guesses.check(context.address)
                self._guesses.add(context.address)
            raise unauthorized()


class OriginGuard(Guard):
    """Refuses requests that a web page of another site makes a browser send."""

    by_head = True

    def __init__(self, origins: OriginPolicy, *, guarded: bool) -> None:
        self._origins, self._guarded = origins, guarded

    def before(self, context: RequestContext) -> None:
        headers = context.headers
        if self._guarded and b"origin" not in headers:
            return
        if (wrong := self._origins.wrong(headers)) is not None:
            raise Refused(Fault(wrong, "permission", 403))


class LoadGuard(Guard):
    """Refuses requests while the gateway is stopping, and those above the limit of concurrent requests."""

    def __init__(self, service: Service, runtime: Runtime) -> None:
        self._service, self._most = service, runtime.limits.concurrent

    def admits(self) -> bool:
        return not self._service.draining and self._service.running < self._most

    def before(self, context: RequestContext) -> None:
        service, most = self._service, self._most
        if service.draining:
            message = "the gateway is shutting down: retry the request"
            raise Refused(Fault(message, "overloaded", 503, retry_after=1.0), [(b"connection", b"close")])
        if service.running > most:
            message = f"the limit of {most:,} concurrent requests (gateway.limits.concurrent) is reached: retry later"
            raise Refused(Fault(message, "rate_limit", 429, retry_after=1.0))
