"""What is determined once for many chats: by the head of a request, and by the name of a model in it.

Both hold for one configuration. A ``PreparedHead`` has a ``PreparedPlan`` for each name of a model: the target, and
how a chat is written for it.
"""

from __future__ import annotations

import re
from asyncio import AbstractEventLoop
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ...backends.backend import Backend
from ...calls.info import CallInfo
from ...costs import ModelPrices
from ...errors import PolychatError
from ...http.pool.connection import WRITE_SIZE
from ...http.pool.pool import Pool, pool
from ...http.server.cycle import FastRun
from ...http.server.timeout_queue import TimeoutQueue
from ...routing import Plan
from ...routing.clocks import LEAST, timeouts_of
from ...routing.constant import ConstantOutcome, constant_outcome, is_constant
from ...routing.facts import Facts
from ...routing.resolve import LONGEST
from ...routing.router import Router
from ...values import mypyc_attr
from ...wire.losses import Loss
from ..admission.guards import Guards
from ..context import RequestContext
from ..dialects.dialect import Dialect
from ..endpoint import Endpoint, handler_of
from ..observe.record import Record, RecordKind
from ..responder import Refused
from .delivery import head_form
from .passing import forwarded, name_for_client
from .preferences import hosted_tools, on_loss
from .run import Chats
from .templates import RequestTemplates
from .traits import ChatTraits
from .translation import Translation, WrittenChat

if TYPE_CHECKING:
    from ...http.server.asgi import Scope
    from ..dialects.dialect import InboundChat
    from ..runtime import Runtime
    from ..service import Service


class Unusual(PolychatError):  # a request is
    """The request is answered in a task."""


_PLANS = 64
"""Maximum names of models that are prepared for one head, or known to be unusual."""
_SLOW = 0.75 * LEAST
"""Seconds that a chat waits without a task if another target may be tried: below the minimum timeout."""
_NAMED = re.compile(rb'"model"\s{0,9}:\s{0,9}"([^"\\]{1,256})"')


_TRACE = re.compile(rb"[!-~]{1,512}").fullmatch


@mypyc_attr(allow_interpreted_subclasses=True)
class PreparedHead:
    """One head of requests to an endpoint for chats, whatever identifies each, and the facts that follow from it alone."""

    __deletable__ = ("context",)
    _slow: TimeoutQueue[FastRun] | None = None

    def __init__(self, service: Service, endpoint: Endpoint, path: str, scope: Scope, guards: Callable[[], Guards]) -> None:
        """``guards`` returns those of the configuration in force."""
        assert isinstance(endpoint.dialect, Dialect)
        self.answer_of = endpoint.answer.answer_of if isinstance(endpoint.answer, Chats) else None
        self.service, self.endpoint, self.path, self.dialect = service, endpoint, path, endpoint.dialect
        self._scope, self._guards_now = scope, guards
        self.guards = Guards()
        self.runtime: Runtime | None = None
        """The configuration for which everything below is valid."""
        self.is_usual = False
        self.is_recorded = False
        """Whether more than the log and the metrics needs the records of these requests, some while they are in progress."""
        self.context: RequestContext
        """One of these requests, for the facts that all have in common."""
        self.query: str = scope["query_string"].decode("latin-1")
        self.most = 0
        """Maximum bytes of a body."""
        self.forwarded: dict[str, str] = {}
        self.patience: tuple[float, bool] | None = None
        """Seconds that the client waits, and whether that is for the complete reply."""
        self._asked: tuple[Callable[[], bool], ...] = ()
        """The guards that may refuse a request at any moment."""
        self._plans: dict[str, PreparedPlan] = {}
        self._templates = RequestTemplates()
        self._unusual: set[bytes] = set()
        """Names of models that are not prepared."""
        self.pool: Pool

    def admits(self, body: bytes) -> bool:
        """Whether a request with this body may be answered without a task, as far as can be said before it is read."""
        try:
            if self.runtime is not self.service.runtime:
                self._prepare()
            if not self.is_usual or len(body) > self.most or (self._unusual and self._is_known_as_unusual(body)):
                return False
            for admits in self._asked:  # a generator takes several times as long
                if not admits():
                    return False
        except Exception:  # noqa: BLE001  # a guard's defect: it is raised again, where the client is told, and defects logged
            return False
        return True

    def _is_known_as_unusual(self, body: bytes) -> bool:
        """Whether a body most likely requests a model that is known as unusual: trying is not worth it."""
        if (place := body.find(b'"model"')) < 0:
            return False
        named = _NAMED.match(body, place)
        return named is not None and named[1] in self._unusual

    def plan(self, model: str) -> PreparedPlan:
        """The plan. Raises ``PolychatError`` for a model that is unusual or unknown."""
        assert self.runtime is not None  # it is prepared
        plan, prepared = self.runtime.resolver.plan(model), self._plans.get(model)
        if prepared is None or prepared.plan is not plan:  # lists of backends may have changed the meaning of a name
            try:
                prepared = PreparedPlan(self.context, self.dialect, self.forwarded, plan, model, self.patience, self._templates)
            except Unusual:
                if len(self._unusual) < _PLANS:
                    self._unusual.add(model.encode())
                raise
            if len(self._plans) >= _PLANS:
                self._plans.clear()
            self._plans[model] = prepared
        return prepared

    def slow(self, loop: AbstractEventLoop) -> TimeoutQueue[FastRun]:
        """Chats whose plans have further targets: one that waits too long gets a task, which tries another in time."""
        if self._slow is None:
            self._slow = TimeoutQueue(loop, lambda: _SLOW, lambda chat: chat.continue_in_task())
        return self._slow

    def forget(self) -> None:
        """Release what the configuration in force was needed for: it would stay until a request with this head comes again."""
        self.runtime, self.guards, self._asked, self.is_usual = None, Guards(), (), False
        self._plans.clear()
        self._templates.clear()
        self._unusual.clear()
        if hasattr(self, "context"):
            del self.context

    def _prepare(self) -> None:
        self.forget()
        self.runtime = runtime = self.service.runtime
        self.pool = pool()
        self.guards = guards = self._guards_now()
        self.context = context = RequestContext(self.service, self.dialect, self.path, self._scope, _send)
        if guards.chat or guards.over or runtime.gateway.log_text or runtime.gateway.cors or context.repeated:
            return
        try:
            for guard in guards.head:
                if guard.by_head and guard.before(context) is not None:
                    return
            self._asked = tuple(guard.admission(context) for guard in guards.head if not guard.by_head)
            handler_of(self.endpoint, context)
            self.forwarded = forwarded(self.dialect, context.headers)
        except (PolychatError, Refused):
            return  # the ordinary path reports why
        if b"content-encoding" in context.headers:
            return
        deadline, record = context.deadline, context.record
        # Some time has passed when a target is called; timeouts are rounded down.
        self.patience = None if deadline is None else (deadline.moment - record.start - 0.001, deadline.of_all)
        self.most = min(runtime.limits.body, WRITE_SIZE)
        service = self.service
        has_owners = service.people is not None or service.signed is not None
        self.is_recorded = bool(guards.model) or has_owners or service.is_traced or service.in_progress is not None
        self.is_usual = True


class PreparedPlan:
    """The meaning of a model's name for requests with one head: the target that is tried first, and how it is called."""

    __slots__ = (
        *("_constant", "_context", "_kinds", "_others", "_passed", "_policy", "_relay", "_requests", "_timeouts"),
        *("_is_plain", "_templates", "is_alone", "model", "name", "plan", "target"),
    )

    def __init__(
        self,
        context: RequestContext,
        dialect: Dialect,
        forwarded: dict[str, str],
        plan: Plan,
        model: str,
        patience: tuple[float, bool] | None,
        templates: RequestTemplates,
    ) -> None:
        """``context`` is that of one request with the head. ``forwarded`` and ``patience``: see ``PreparedHead``; ``templates``
        are those of all its plans.

        Raises ``PolychatError`` if the target cannot be called, or such requests are not usual.
        """
        rules = plan.rules
        if not is_constant(plan) or plan.unlisted or plan.shadow is not None or rules.hedge or rules.continuation:
            raise Unusual
        self.is_alone = len(plan.targets) == 1
        """Whether no other target can be tried when it is slow or fails."""
        if not self.is_alone and patience is not None:
            raise Unusual  # a client that waits only briefly needs another target soon
        self.plan, self.target = plan, plan.targets[0]
        self.model = model[:LONGEST]
        """The name, as it is recorded."""
        backend = self.target.backend
        self._relay = relay = backend.relay(dialect.wire.NAME)
        if (relay is None or not dialect.passes) and type(backend).direct is Backend.direct:
            raise Unusual
        if relay is not None and backend.relay(dialect.wire.NAME) is not relay:
            raise Unusual  # it is prepared again for each request
        self._timeouts = timeouts_of(rules)
        if patience is not None:
            self._timeouts = timeouts_of(rules, patience[0], of_all=patience[1])
        if relay is not None:
            self._requests = tuple(
                partial(relay.request, dialect.path(self.target.model, stream=stream), forwarded, self.target.label)
                for stream in (False, True)
            )
            self._passed = tuple(WrittenChat(made(), self._timeouts, relay.url, [], None) for made in self._requests)
        self._is_plain = relay is not None and not relay.renews and relay.fit is None and not rules.hold
        """Whether chats of the wire that its target speaks are passed as they are, with one request for all."""
        self.name = name_for_client(dialect, model, self.target)
        self._context, self._templates = context, templates
        self._policy: tuple[Any, Any] | None = None
        self._constant: ConstantOutcome | None = None
        self._others: list[Facts] = []
        """The states of the targets after the first."""
        self._kinds: dict[tuple[Any, ...], ReplyKind] = {}

    def written(self, inbound: InboundChat, trace: bytes) -> tuple[WrittenChat, bytes]:
        """What is sent for a chat, with its body. ``trace``: the client's trace context, empty without one.

        Raises ``PolychatError`` for a chat that this target cannot answer.
        """
        relay = self._relay
        if self._is_plain and inbound.may_pass and not trace and relay is not None:
            return self._passed[inbound.stream], inbound.dialect.relayed(inbound, self.target.model, usage=relay.usage)
        if inbound.stream and self.plan.rules.hold:
            raise Unusual
        if relay is None or not inbound.may_pass or not relay.takes(inbound.fields):
            kept = self._templates.written(inbound, self.plan, self._timeouts)
            return self._translated(inbound) if kept is None else kept
        fields, request, losses = None, self._passed[inbound.stream].request, list[Loss]()
        if relay.renews:
            request = self._requests[inbound.stream]()
        if trace:
            if not _TRACE(trace):
                raise Unusual
            request = request.adding("traceparent", trace.decode())
        if relay.fit is not None:
            call_info = self._call_info()
            fields, losses = relay.fit(inbound.fields, call_info), call_info.losses
        written = WrittenChat(request, self._timeouts, relay.url, losses, None)
        return written, inbound.dialect.relayed(inbound, self.target.model, usage=relay.usage, fields=fields)

    def _translated(self, inbound: InboundChat) -> tuple[WrittenChat, bytes]:
        """As ``written``, of a chat that is translated for itself."""
        info, target = self._call_info(), self.target
        direct = target.backend.direct(inbound.request_for(target.model), info, self._timeouts)
        ready = direct.ready
        return WrittenChat(ready.request, ready.timeouts, info.url, info.losses, Translation(direct)), direct.body

    def kind(
        self, key: str, served: str, reason: str | None, passthrough: bool, stream: bool, content_type: str, url: str
    ) -> ReplyKind:
        """The kind of chats by this plan that also have these facts in common, and nothing unusual. ``url``: of the API."""
        differs = key, served, reason, passthrough, stream, content_type, url
        return self._kinds.get(differs) or self._new_kind(*differs)

    def _new_kind(
        self, key: str, served: str, reason: str | None, passthrough: bool, stream: bool, content_type: str, url: str
    ) -> ReplyKind:
        target, context, plan = self.target, self._context, self.plan
        common = Record("", context.dialect.name, "POST", context.path, 0.0)
        common.key, common.model, common.plan, common.route = key, self.model, plan, plan.route
        common.provider, common.served, common.answered, common.attempts = target.label, served, target.name, 1
        common.passthrough, common.stream, common.status = passthrough, stream, 200
        common.verdict, common.reason = "complete", reason
        if len(self._kinds) >= _KINDS:
            self._kinds.clear()
        id_header = context.dialect.id_header
        form = head_form(id_header, content_type, stream, target.label, target.model, 1)
        own, model = target.backend.url, target.model
        prices = ModelPrices(
            context.runtime.configured.prices, target.label, own, served, requested=model, is_elsewhere=url not in ("", own)
        )
        kind = ReplyKind(common, form, prices, has_own_id=bool(id_header))
        self._kinds[key, served, reason, passthrough, stream, content_type, url] = kind
        return kind

    def _call_info(self) -> CallInfo:
        if self._policy is None or self._context.service.people is not None:  # those of people's keys change meanwhile
            context, rules = self._context, self.plan.rules
            self._policy = on_loss(context, rules), hosted_tools(context, rules)
        return CallInfo(*self._policy)

    def suits(self, inbound: InboundChat) -> bool:
        """Whether no condition of a chat excludes any of the targets, of which there are several."""
        traits = ChatTraits(self._context, inbound, self.plan)
        return not traits.is_choosy or not any(traits.unfit(target) for target in self.plan.targets)

    def outcome(self, router: Router, now: float) -> ConstantOutcome | None:
        """The target with its state; ``None`` if the target, or one after it, may not be used now, which is recorded."""
        constant = self._constant
        if constant is not None and self.is_alone and constant.holds():
            return constant
        if constant is None or not constant.is_current:
            constant = self._constant = constant_outcome(router, self.plan)
            self._others = [router.facts(self.plan, target) for target in self.plan.targets[1:]]
            if not all(facts.is_untroubled(now) for facts in self._others):
                self._constant = None
                return None
        return constant if constant is None or self.is_alone or self._none_stalls(constant.facts, now) else None

    def _none_stalls(self, first: Facts, now: float) -> bool:
        return not any(facts.is_stalled(now) for facts in (first, *self._others))


class ReplyKind(RecordKind):
    """Chats whose replies also begin with the same lines, but for ids and times: ``head_form`` has these."""

    __slots__ = ("has_own_id", "head_form", "prices")

    def __init__(self, common: Record, form: bytes, prices: ModelPrices, *, has_own_id: bool) -> None:
        """``has_own_id``: whether ``form`` has a header of the dialect's own for the id too."""
        super().__init__(common)
        self.head_form, self.prices, self.has_own_id = form, prices, has_own_id


_KINDS = 64


async def _send(message: Any) -> None:
    """The ``send`` of a context without a client."""
