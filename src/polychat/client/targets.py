"""Whom an ask goes to: the names of the gateway (routes, aliases, targets, bare models), chains of them, and a default."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from .. import config
from ..config import Config
from ..errors import BadInput, UnknownTarget, shown
from ..events import Event, Finish, Start
from ..providers import Notes, Provider, resolve
from ..types import Ask

if TYPE_CHECKING:
    from ..routing import Health, Names, Plan, Target

DEFAULT_MODEL = "local/smollm2"
"""The embedded model: no key, no account, no network once its weights are here."""

_OF_ONE = ("api_key", "base_url", "cookies", "headers")
"""What belongs to one provider: another is not to get it."""
_names: list[tuple[Config, Names]] = []
_health: list[Health] = []
"""How targets of routes have been of late in this process."""


def default_model() -> str:
    """``POLYCHAT_MODEL``, else the configuration's ``default_model``, else the embedded model."""
    return os.environ.get("POLYCHAT_MODEL", "").strip() or config.current().default_model or DEFAULT_MODEL


def meaning_of(name: object) -> tuple[type[Provider], str | None, Plan | None]:
    """Who is asked first by a name, for which model, and the plan behind it, if the name has one. Raises as ``plan_of``.

    An unknown name that the unread ``polychat.toml`` of this folder has is told as such.
    """
    try:
        plan = plan_of(name)
        if plan is None:
            return *resolve(str(name)), None
    except UnknownTarget as error:
        if not any(config.is_named_in_folder(one.strip()) for one in str(name).split(",")):
            raise
        file = config.FILE
        raise UnknownTarget(
            f"no model {shown(str(name), 80)!r} in your own configuration. ./{file} has it, but only polychat serve reads the "
            f"file of a folder: pass --config {file}, or move it to {config.folder() / file}"
        ) from error
    return plan.targets[0].provider, plan.targets[0].model or None, plan


def plan_of(name: object) -> Plan | None:
    """What a route, an alias, a bare model or a chain (``"a/x, b/y"``) means; ``None``: it is one target by its own name.

    Raises ``UnknownTarget``, and ``BadInput`` for what is no name or could mean several.
    """
    if not isinstance(name, str):
        raise BadInput(f"model is {type(name).__name__}; it must be text: provider/model, local//path/a.gguf", field="model")
    if not name.strip():
        raise UnknownTarget("the model's name is empty: say provider/model, or leave it out for the default")
    configured = config.current()
    if name in configured.routes or name in configured.aliases:
        return _named(configured).plan(name)
    if "," in name:
        return _chain(name, configured)
    if "/" in name or ":" in name:
        return None
    try:
        resolve(name)
    except UnknownTarget as unknown:
        return _bare(name, configured, unknown)
    return None


def _chain(name: str, configured: Config) -> Plan:
    members = [one.strip() for one in name.split(",")]
    if not all(members):
        raise BadInput(f"model {shown(name, 80)!r} has an empty name between its commas", field="model")
    return _named(configured).joined(members)


def _bare(name: str, configured: Config, unknown: UnknownTarget) -> Plan:
    try:
        plan: Plan | None = _named(configured).plan(name)
        near = unknown.near
    except UnknownTarget as error:
        plan, near = None, error.near or unknown.near
    # Nobody is sent to a service that is known to be gone, unless they name it.
    if plan is None or not plan.targets[0].provider.working:
        raise UnknownTarget(
            f"no model {shown(name, 80)!r}: say whose it is, such as openai/{shown(name, 80)} (see polychat providers)",
            near=near,
        ) from None
    return plan


def _named(configured: Config) -> Names:
    """The names of the configuration in force, read once while it does not change."""
    from ..routing import Names  # it loads the vendors' table, which an import of the client does without

    if not _names or _names[0][0] is not configured:
        _names[:] = [(configured, Names(configured))]
    return _names[0][1]


def providers_of(name: str) -> list[type[Provider]]:
    """The providers that may answer to a name. Raises as ``plan_of``."""
    provider, _, plan = meaning_of(name)
    return [provider] if plan is None else list(dict.fromkeys(target.provider for target in plan.targets))


Begun: TypeAlias = "tuple[Target, Notes, AsyncGenerator[list[Event], None], list[list[Event]]]"


async def routed(
    plan: Plan, ask: Ask, notes: Notes, options: dict[str, Any], chosen: Callable[[Target, Notes], None]
) -> AsyncGenerator[list[Event], None]:
    """The events of the first target that begins to answer; ``chosen`` is told which, and its notes, before they come.

    Raises ``BadInput`` for options that only one of several providers could be meant by.
    """
    from ..http.timeouts import Timeouts
    from ..routing import Health, Router
    from ..routing.router import Attempts

    if len({target.label for target in plan.targets}) > 1 and (private := [one for one in _OF_ONE if options.get(one)]):
        raise BadInput(f"{private[0]} belongs to one provider, and {plan.route or 'the chain'} has several", field=private[0])
    rules = plan.rules
    given = {
        "timeout": rules.timeout or None,
        "timeouts": Timeouts(rules.connect_timeout, rules.first_timeout, rules.idle_timeout),
    }

    async def begun(target: Target) -> Begun:
        heard = Notes(notes.on_loss)
        batches = target.provider.answers(replace(ask, model=target.model), heard, **{**given, **options})
        try:
            return target, heard, batches, await _first(batches)
        except BaseException:
            await batches.aclose()
            raise

    if not _health:
        _health.append(Health())
    target, heard, batches, first = await Router(_health[0]).run(plan, begun, Attempts())
    chosen(target, heard)
    async with aclosing(batches):
        for batch in first:
            yield batch
        async for batch in batches:
            yield batch


async def _first(batches: AsyncGenerator[list[Event], None]) -> list[list[Event]]:
    """The batches up to the first piece. Raises what the reply failed with before it."""
    held: list[list[Event]] = []
    async for batch in batches:
        held.append(batch)
        for event in batch:
            if type(event) is Finish and event.error is not None:
                raise event.error
            if type(event) is not Start:
                return held
    return held
