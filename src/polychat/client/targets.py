"""Whom an ask goes to: the names of the gateway (routes, aliases, targets, bare models), chains of them, and a default."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from .. import config
from ..backends.backend import Backend
from ..backends.registry import Registry, own_registry
from ..calls.info import CallInfo
from ..config import Config
from ..config.environment import variable
from ..errors import BadInput, UnknownTarget, redact
from ..events import Event, Finish, Start, Usage
from ..types import ChatRequest, TextPart
from ..wire.reading import failure_in

if TYPE_CHECKING:
    from ..routing import ModelResolver, Plan, Router, Target
    from ..routing.clocks import Kind

DEFAULT_MODEL = "local/smollm2"
"""The embedded model: no key, no account, no network once its weights are here."""

_KNOWN = 1_000
"""Names whose meaning is kept."""
_OF_ONE = ("api_key", "base_url", "cookies", "headers")
"""What belongs to one provider: another is not to get it."""


class Targets:
    """Whom the asks of one registry go to, and how they have been of late.

    ``is_own``: the registry is that of the person's own file.
    """

    def __init__(self, registry: Registry, *, is_own: bool = False) -> None:
        self.registry = registry
        self._is_own = is_own
        self._resolved: dict[str, tuple[Backend, str | None]] = {}
        """What names mean that are one target: the same as long as the registry is."""

    @cached_property
    def _resolver(self) -> ModelResolver:
        from ..routing import ModelResolver  # it loads the vendors' table, which an import of the client does without

        return ModelResolver(self.registry)

    @cached_property
    def _router(self) -> Router:
        """Knows how targets of routes have been of late, and whose turn it is."""
        return self._new_router()

    def _new_router(self) -> Router:
        from ..costs import pricing_of
        from ..routing import Health, Router

        return Router(Health(), pricing=pricing_of(self.registry.config.prices))

    def default_model(self) -> str:
        """``POLYCHAT_MODEL``, else the configuration's ``default_model``, else the embedded model."""
        return variable("POLYCHAT_MODEL").strip() or self.registry.config.default_model or DEFAULT_MODEL

    def meaning_of(self, name: object) -> tuple[Backend, str | None, Plan | None]:
        """Who is asked first by a name, for which model, and the plan behind it, if the name has one. Raises as ``plan_of``.

        An unknown name that the unread ``polychat.toml`` of this folder has is told as such.
        """
        known = self._resolved.get(name) if type(name) is str else None
        if known is not None:
            return *known, None
        try:
            plan = self.plan_of(name)
            if plan is None:
                resolved = self.registry.resolve(str(name))
                if len(self._resolved) < _KNOWN:
                    self._resolved[str(name)] = resolved
                return *resolved, None
        except UnknownTarget as error:
            if not self._is_own or not any(config.is_named_in_folder(one.strip()) for one in str(name).split(",")):
                raise
            file = config.FILE
            raise UnknownTarget(
                f"no model {redact(str(name), 80)!r} in your own configuration. ./{file} has it, but only polychat serve reads "
                f"the file of a folder: pass --config {file}, or move it to {config.folder() / file}"
            ) from error
        return plan.targets[0].backend, plan.targets[0].model or None, plan

    def plan_of(self, name: object) -> Plan | None:
        """What a route, an alias, a bare model or a chain (``"a/x, b/y"``) means; ``None``: it is one target by its own name.

        Raises ``UnknownTarget``, and ``BadInput`` for what is no name or could mean several.
        """
        if not isinstance(name, str):
            raise BadInput(
                f"model is {type(name).__name__}; it must be text: provider/model, local//path/a.gguf", field="model"
            )
        if not name.strip():
            raise UnknownTarget("the model name is empty: use provider/model, or omit it for the default")
        configured = self.registry.config
        if name in configured.routes or name in configured.aliases:
            return self._resolver.plan(name)
        if "," in name:
            return self._chain(name)
        if "/" in name or ":" in name:
            return None
        try:
            self.registry.resolve(name)
        except UnknownTarget as unknown:
            return self._bare(name, unknown)
        return None

    def _chain(self, name: str) -> Plan:
        members = [one.strip() for one in name.split(",")]
        if not all(members):
            raise BadInput(f"model {redact(name, 80)!r} has an empty name between two commas: remove a comma", field="model")
        return self._resolver.joined(members)

    def _bare(self, name: str, unknown: UnknownTarget) -> Plan:
        try:
            plan: Plan | None = self._resolver.plan(name)
            near = unknown.near
        except UnknownTarget as error:
            plan, near = None, error.near or unknown.near
        # Nobody is sent to a service that is known to be gone, unless they name it.
        if plan is None or not plan.targets[0].backend.working:
            raise UnknownTarget(
                f"no model {(short := redact(name, 80))!r}: name its provider, such as openai/{short} (see polychat providers)",
                near=near,
            ) from None
        return plan

    def backends_of(self, name: str) -> list[Backend]:
        """The backends that may answer to a name. Raises as ``plan_of``."""
        backend, _, plan = self.meaning_of(name)
        return [backend] if plan is None else list(dict.fromkeys(target.backend for target in plan.targets))

    async def routed(
        self,
        plan: Plan,
        request: ChatRequest,
        call_info: CallInfo,
        options: dict[str, Any],
        chosen: Callable[[Target, CallInfo], None],
    ) -> AsyncGenerator[list[Event], None]:
        """The events of the first target that begins to answer; ``chosen`` is told which, and its notes, before they come.

        Raises ``BadInput`` for options that only one of several providers could be meant by.
        """
        from ..http.timeouts import Timeouts
        from ..routing.clocks import timeouts_of
        from ..routing.router import Attempts
        from ..routing.traits import RequestTraits

        if len({target.label for target in plan.targets}) > 1 and (private := [one for one in _OF_ONE if options.get(one)]):
            raise BadInput(
                f"{private[0]} applies to one provider only, but {plan.route or 'the chain'} has several", field=private[0]
            )
        if "timeout" in options:
            Timeouts.of(options["timeout"], timeouts_of(plan.rules))  # what is wrong with it is said before anybody is asked

        async def begun(target: Target) -> Begun:
            answered = CallInfo(call_info.on_loss)
            timeouts = attempts.timeouts
            if "timeout" in options:
                timeouts = Timeouts.of(options["timeout"], timeouts)
            batches = target.backend.answers(replace(request, model=target.model), answered, **{**options, "timeout": timeouts})
            try:
                return target, answered, batches, await _first(batches)
            except BaseException:
                await batches.aclose()
                raise
            finally:
                attempts.limits = answered.limits

        attempts, batch = Attempts(), list[Event]()
        router = self._new_router() if options.get("api_key") else self._router  # what is known is of the own key
        kind = None if "timeout" in options else partial(_kind, request)
        traits = RequestTraits(request, call_info.on_loss)
        target, answered, batches, first = await router.run(plan, begun, attempts, traits=traits, kind=kind)
        try:
            chosen(target, answered)
            async with aclosing(batches):
                for batch in first:
                    yield batch
                async for batch in batches:
                    yield batch
        finally:
            attempts.end(failure_in(batch))
            for event in batch:
                if type(event) is Usage:
                    router.chooser.settled(target.name, event)


def _kind(request: ChatRequest) -> Kind:
    """What the time to the first token is learned for."""
    from ..routing.clocks import kind_of

    size = sum(len(part.text) for message in request.turns for part in message.parts if isinstance(part, TextPart))
    return kind_of(streamed=bool(request.stream), size=size, reasons=request.reasoning is not None)


_own: list[Targets] = []


def own_targets() -> Targets:
    """Those of the person's own file, as it is now. Raises ``BadInput`` for a file that means nothing."""
    registry = own_registry()
    targets = _own[0] if _own else None
    if targets is None or targets.registry is not registry:
        targets = Targets(registry, is_own=True)
        _own[:] = [targets]
    return targets


def targets_of(source: object) -> Targets:
    """Those of a configuration, or of the file at a path, read now. Raises ``BadInput``."""
    if isinstance(source, (str, Path)):
        source = config.read(Path(source).absolute())
    if not isinstance(source, Config):
        kind = type(source).__name__
        raise BadInput(f"config is {kind}; it must be the path of a polychat.toml or a polychat.config.Config", field="config")
    return Targets(Registry(source))


Begun: TypeAlias = "tuple[Target, CallInfo, AsyncGenerator[list[Event], None], list[list[Event]]]"


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
