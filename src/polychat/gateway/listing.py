"""The available models: those of the configuration, and those in the backends' lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote

from ..backends.listing import listing
from ..errors import PolychatError, UnknownTarget
from ..routing import Plan
from ..wire.abilities import of_all
from ..wire.faults import Fault
from ..wire.json_text import decoded, encoded
from ..wire.models import ModelInfo, write_models
from .context import RequestContext
from .responder import Refused

if TYPE_CHECKING:
    from .admission.accounts import Account
    from .runtime import Runtime


async def listed(context: RequestContext) -> list[ModelInfo]:
    """Every model that the request's key may ask for by name. A route or an alias has the smallest limits of its targets."""
    models = await _all(context)
    account = context.service.account(context.record.key)
    if account is None or not account.chooses_models:
        return models
    return [model for model in models if _may_ask(context, account, model.id)]


def _may_ask(context: RequestContext, account: Account, name: str) -> bool:
    try:
        return not account.wrong_model(context.runtime.resolver.plan(name))
    except PolychatError:  # an alias for a model that a backend does not serve any more
        return False


async def _all(context: RequestContext) -> list[ModelInfo]:
    runtime = context.runtime
    models = {model.id: model for model in await runtime.catalog.of(listing(runtime.registry))}
    names = [name for name in runtime.resolver.listed() if name not in models]
    return [*(_named(runtime, name, models) for name in names), *models.values()]


def _named(runtime: Runtime, name: str, models: Mapping[str, ModelInfo]) -> ModelInfo:
    """What is known of a route, an alias or a served model. Limits are unknown if those of one target are."""
    info = ModelInfo(name, name.partition("/")[0] if "/" in name else "polychat")
    try:
        targets = runtime.resolver.plan(name).targets
    except PolychatError:  # an alias for a model that a backend does not serve any more
        return info
    known = [models.get(target.name) for target in targets]
    info.context = _smallest([None if model is None else model.context for model in known])
    info.output = _smallest([None if model is None else model.output for model in known])
    info.can = of_all({} if model is None else model.can for model in known)
    shapes = [None if model is None else model.anthropic for model in known]
    info.anthropic = shapes[0] if all(model == shapes[0] for model in shapes) else None
    return info


def _smallest(limits: list[int | None]) -> int | None:
    known = [limit for limit in limits if limit]
    return min(known) if len(known) == len(limits) else None


async def planned(context: RequestContext, name: str, *others: str) -> Plan:
    """The plan for a name, as ``ModelResolver.plan`` gives it; a bare name may also be in one backend's own list.

    With ``others`` it is a chain, as ``ModelResolver.joined`` has it. Raises ``UnknownTarget``, which names where the models
    are listed, and ``BadInput`` for a name that several backends list.
    """
    resolver = context.runtime.resolver
    try:
        plan = resolver.joined((name, *others)) if others else resolver.plan(name)
        if not plan.unlisted:
            return plan
    except UnknownTarget as error:
        if not resolver.may_be_listed(error.asked):
            raise _unknown(error, context) from None
    models = await context.runtime.catalog.of(listing(context.runtime.registry))
    resolver.learn(model.id for model in models)
    try:
        return resolver.joined((name, *others)) if others else resolver.plan(name)
    except UnknownTarget as error:
        raise _unknown(error, context) from None


def _unknown(error: UnknownTarget, context: RequestContext) -> UnknownTarget:
    """The error with where the client's API lists the models."""
    message = str(error)
    unknown = UnknownTarget(
        f"{message}{'' if message.endswith('?') else ':'} GET {context.dialect.models_path} lists the models"
    )
    unknown.near, unknown.asked = error.near, error.asked
    return unknown


def dialect_of(headers: Mapping[bytes, bytes]) -> str:
    """The dialect of the client that gets ``/v1/models``, by its headers."""
    if b"anthropic-version" in headers:
        return "anthropic"
    agent = headers.get(b"user-agent", b"") + headers.get(b"x-goog-api-client", b"")
    if b"x-goog-api-key" in headers or b"google-genai" in agent:
        return "gemini"
    return "openai-chat"


async def models(context: RequestContext) -> None:
    """``/v1/models`` and ``/v1/models/{id}`` for clients of OpenAI, Anthropic and Google, each in its own format."""
    dialect = context.dialect.name
    name = unquote(context.path.partition("/models")[2].lstrip("/"))
    entries = await listed(context)
    if not name:
        await context.responder.json(write_models(dialect, entries))
        return
    model = next((model for model in entries if model.id == name), None)
    if model is None:
        plan = await planned(context, name)  # it can be requested though no list has it
        account = context.service.account(context.record.key)
        if account is not None and (wrong := account.wrong_model(plan)):
            raise Refused(Fault(wrong, "permission", 403, param="model"))
        model = ModelInfo(name, plan.targets[0].label)
    whole = decoded(write_models(dialect, [model]))
    await context.responder.json(encoded((whole.get("data") or whole["models"])[0]))


async def tags(context: RequestContext) -> None:
    """Ollama's ``/api/tags``."""
    await context.responder.json(write_models("ollama", await listed(context)))
