"""``POST /v1/responses/compact``: a shorter version of a conversation.

The result is an item that only its vendor can read. So the request is sent unchanged to a backend that supports the Responses
API; a summary by another model would not be such an item.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from time import monotonic

import msgspec

from ....errors import BadInput
from ....routing import Target
from ....routing.attempts import Attempts
from ....routing.resolve import LONGEST
from ....state.responses import StoredResponse
from ....types import ChatRequest
from ....wire import openai_responses
from ....wire.json_text import encoded
from ...admission.demand import ASSUMED_COMPLETION, TextDemand
from ...chat.delivery import note_usage
from ...chat.passing import forwarded
from ...chat.replies import Outcome
from ...chat.run import MAX_REPLY
from ...context import RequestContext
from ...listing import planned
from ..bodies import Object, leniently, shallow, value_of, with_model
from .conversation import items_of
from .dialect import OpenAIResponses
from .kept import response_of

_PATH = "/responses/compact"


async def compacted(context: RequestContext, dialect: OpenAIResponses) -> None:
    """Answer with the backend's compacted conversation. Raises ``PolychatError``."""
    record, runtime = context.record, context.runtime
    fields = leniently(lambda body: shallow(body, runtime.limits), context.body)
    model, name = value_of(fields, "model"), value_of(fields, "previous_response_id")
    if not isinstance(model, str) or not model:
        raise BadInput("model is missing: name one whose backend supports the Responses API", field="model")
    record.model = model[:LONGEST]
    plan = await planned(context, model)
    record.route = plan.route
    plan = replace(plan, targets=_able(plan.targets, dialect), members=())
    for guard in context.model_guards:
        if (waiting := guard.before(context, plan, TextDemand(len(context.body), reply=ASSUMED_COMPLETION))) is not None:
            await waiting
    previous = await response_of(context, name) if isinstance(name, str) else None
    attempts = Attempts()

    async def ask(target: Target) -> bytes:
        asked = with_model(fields if previous is None else _with_previous(fields, previous, target), target.model)
        return await _compacted_at(context, dialect, target, asked, attempts)

    with context.asking(attempts):
        body = await runtime.router.run(plan, ask, attempts, repeated=context.repeated, deadline=context.deadline)
    record.first = monotonic()
    headers = [*context.responder.whole_headers("application/json"), (b"x-polychat-provider", record.provider.encode())]
    await context.responder.whole(200, [*headers, (b"x-polychat-attempts", b"%d" % attempts.count)], body)


def _able(targets: Iterable[Target], dialect: OpenAIResponses) -> tuple[Target, ...]:
    """The targets whose backend supports the Responses API. Raises ``BadInput`` if none does."""
    able = tuple(target for target in targets if target.backend.relay(dialect.wire.NAME) is not None)
    if not able:
        labels = ", ".join(dict.fromkeys(target.label for target in targets))
        raise BadInput(
            f"{labels} cannot compact a conversation, which requires a backend with the Responses API: ask a model for a "
            "summary with POST /v1/responses, and continue from that",
            field="model",
        )
    return able


async def _compacted_at(
    context: RequestContext, dialect: OpenAIResponses, target: Target, asked: bytes, attempts: Attempts
) -> bytes:
    relay = target.backend.relay(dialect.wire.NAME)
    assert relay is not None
    began = monotonic()
    headers = forwarded(dialect, context.headers)
    response = await relay.ask(_PATH, asked, headers, timeouts=attempts.timeouts, provider=target.label)
    try:
        if not response.ok:
            raise await relay.refusal(response)
        body = await response.read(MAX_REPLY)
    finally:
        response.close()
    finish, usage, served = dialect.ending(body)
    note_usage(context.record, context.runtime, Outcome(finish, usage, served), target, began, relay.url)
    return body


def _with_previous(fields: Object, previous: StoredResponse, target: Target) -> Object:
    """``fields`` with the conversation of a reply that is stored here: the backend does not know its id."""
    before = ChatRequest(target.model, previous.messages)
    items = openai_responses.write_request(before, vendor=target.backend.tag())["input"]
    together = b",".join(part for part in (encoded(items)[1:-1], items_of(fields.get("input"))) if part)
    return {name: value for name, value in fields.items() if name != "previous_response_id"} | {
        "input": msgspec.Raw(b"[%b]" % together)
    }
