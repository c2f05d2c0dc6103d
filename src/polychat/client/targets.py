"""The meaning of a call's model: a route, an alias, a target or a bare model, a chain of these, or the default."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import TYPE_CHECKING, Any

from .. import config
from ..backends.backend import Backend
from ..backends.compiled import STAND_IN
from ..backends.registry import Registry, user_registry
from ..calls.info import CallInfo
from ..calls.plain_conversation import PlainPrompt
from ..config import Config
from ..config.environment import variable
from ..errors import BadInput, UnknownTarget, redact
from ..wire.checks import item, several, text
from .prepared import PreparedCall, are_lasting, call_key

if TYPE_CHECKING:
    from ..config.settings import Route
    from ..routing import ModelResolver, Plan, Router, Target
    from ..routing.provider_preferences import Preferred
    from ..types import ChatRequest
    from .routed import RoutedCall

DEFAULT_MODEL = "local/smollm2"
"""The embedded model: no key, no account, and no network after its weights were downloaded."""

_KNOWN = 1_000
"""Maximum number of names whose meaning is kept."""
_OPENROUTERS = ("models", "provider")
"""Fields of OpenRouter's API that are obeyed here, unless it is asked itself."""
_MODELS = 64
"""Maximum number of fallbacks of one call."""
_ROUTERS = 256
"""Maximum number of accounts and addresses whose targets' health is kept."""


class Targets:
    """The targets that the names of one registry mean, and their health.

    ``is_own``: the registry is that of the user's own file.
    """

    def __init__(self, registry: Registry, *, is_own: bool = False) -> None:
        self.registry, self.config = registry, registry.config
        self._is_own = is_own
        self._plans: dict[str, Plan] = {}
        """The plans of names that mean one target. Valid as long as the registry."""
        self._prepared: dict[tuple[object, ...], PreparedCall] = {}
        """Calls by their target, system message, and options."""
        self._lock = Lock()
        """Held while a router is made: threads with the same account share one."""
        self._routers: dict[tuple[object, ...], Router] = {}
        """The health of targets, by the options that select another account or another address."""

    @cached_property
    def _resolver(self) -> ModelResolver:
        from ..routing import ModelResolver  # it loads the table of vendors, which importing the client does not need

        return ModelResolver(self.registry)

    @cached_property
    def _direct(self) -> Route:
        """The rules for a target that a caller names. It is called even if it failed recently, because there is no other;
        but not before the retry time that it sent.
        """
        rules = self.registry.config.gateway.direct.as_route()
        return rules.replace(all_down="least-bad") if rules.all_down == "refuse" else rules

    @cached_property
    def _routed_call(self) -> type[RoutedCall]:
        from .routed import RoutedCall  # it loads the router, which importing the client does not need

        return RoutedCall

    def call(self, plan: Plan, request: ChatRequest, call_info: CallInfo, options: dict[str, Any]) -> RoutedCall:
        """One request to the targets of ``plan``, not sent yet. Raises as ``RoutedCall``."""
        return self._routed_call(self.router(options), plan, request, call_info, options)

    def prepared(self, target: str, system: str | None, options: dict[str, Any], *, streamed: bool) -> PreparedCall:
        """A call to ``target`` with these options, which is kept if nothing of it may change. Raises as ``plan`` does, and
        ``BadInput`` for invalid options of a call that is kept.
        """
        key = None
        if type(target) is str and (system is None or type(system) is str):
            if (kept := self.kept(target, system, options, streamed=streamed)) is not None:
                return kept
            key = call_key(target, system, streamed, options)
        plan = self.plan(target)
        prepared = PreparedCall(plan, system, options, streamed=streamed)
        if prepared.wanted is not None:
            self._narrow(prepared, target)
        if key is not None and are_lasting(options) and self._plans.get(target) is plan:
            prepared.request(STAND_IN)  # raises the errors that these options cause with any prompt
            prepared.keep(self.router(prepared.options))
            if len(self._prepared) >= _KNOWN:
                self._prepared.clear()
            self._prepared[key] = prepared
        return prepared

    def kept(self, target: str | None, system: str | None, options: dict[str, Any], *, streamed: bool) -> PreparedCall | None:
        """What ``prepared`` made for an earlier call, if it is kept: its options are valid, and not changed since."""
        values = options.values()
        try:  # what ``call_key`` gives, without a call; a test compares them
            name = self.default_model() if target is None else target
            return self._prepared.get((name, system, streamed, *options, *values, *map(type, values)))
        except TypeError:  # calls that may change are not kept
            return None

    def _narrow(self, prepared: PreparedCall, name: str) -> None:
        """Keep the targets that the call's ``provider`` allows, in its order. Raises ``BadInput`` and ``UnknownTarget``."""
        plan, unknown = self.wanted(prepared.plan, name, prepared.wanted, prepared.options, prepared.carries)
        prepared.narrow(plan, unknown)

    def chain(self, model: str, options: dict[str, Any]) -> str:
        """The name of ``model`` and its fallbacks, ``models`` in ``options``, which is removed from there.

        Where OpenRouter itself answers, ``models`` and ``provider`` are its own: they become members of ``extra``. Raises
        ``BadInput`` and ``UnknownTarget``.
        """
        named = {name: options.pop(name) for name in _OPENROUTERS if options.get(name) is not None}
        if not named:
            options.pop("models", None)
            return model
        from ..routing.provider_preferences import is_for_openrouter  # it loads the router

        if is_for_openrouter(self.plan(model)):
            options["extra"] = {**named, **item(options.get("extra") or {}, "extra")}
            return model
        models = named.pop("models", ())
        options.update(named)
        return chain_of(model, models)

    @staticmethod
    def preferences_in(body: dict[str, Any], plan: Plan) -> tuple[object, object]:
        """``models`` and ``provider`` of a request in OpenAI's format, removed from ``body``; ``None`` if OpenRouter itself is
        to get them.
        """
        if body.keys().isdisjoint(_OPENROUTERS):
            return None, None
        from ..routing.provider_preferences import is_for_openrouter  # it loads the router

        return (None, None) if is_for_openrouter(plan) else (body.pop("models", None), body.pop("provider", None))

    def wanted(
        self, plan: Plan, name: str, provider: object, options: dict[str, Any], carries: Callable[[Target], bool]
    ) -> Preferred:
        """The plan that ``name`` means, restricted by ``provider``. ``carries``: see ``preferred``.

        Raises ``BadInput`` and ``UnknownTarget``.
        """
        from ..routing import provider_preferences as preferences  # it loads the router

        fields = item(provider, "provider")
        wanted, unknown = preferences.preferences_in(fields), preferences.unknown_members(fields)
        if wanted is not None:
            if not plan.route and len(plan.targets) == 1:
                plan = preferences.with_named(plan, name, wanted, self._resolver)
            plan, more = preferences.preferred(plan, wanted, self.router(options).chooser, monotonic(), carries)
            unknown += more
        return preferences.Preferred(plan, unknown)

    def prepared_call(self, prepared: PreparedCall, request: ChatRequest | None, prompt: PlainPrompt = "") -> RoutedCall:
        """One request, not sent yet, of a call that is kept: ``request``, or that with ``prompt``."""
        return self._routed_call(
            prepared.router, prepared.plan, request, CallInfo(*prepared.policy), prepared.options, prepared, prompt
        )

    def router(self, options: dict[str, Any]) -> Router:
        """The router that tracks the health of targets across calls: one for each account and address in ``options``."""
        get = options.get
        account: tuple[object, ...] = (get("api_key"), get("base_url"), get("cookies"), get("headers"))
        try:
            router = self._routers.get(account)
        except TypeError:
            try:
                account = tuple([frozenset(value.items()) if isinstance(value, Mapping) else value for value in account])
                router = self._routers.get(account)
            except TypeError:  # an invalid option, which its reader reports
                return self._new_router()
        return self._router_for(account) if router is None else router

    def _router_for(self, account: tuple[object, ...]) -> Router:
        with self._lock:
            router = self._routers.get(account)
            if router is None:
                if len(self._routers) >= _ROUTERS:
                    del self._routers[next(iter(self._routers))]
                    self._prepared.clear()  # they would continue with it, and others with a new one
                router = self._routers[account] = self._new_router()
            return router

    def _new_router(self) -> Router:
        from ..costs import pricing_of
        from ..routing import Health, Router

        return Router(Health(), pricing=pricing_of(self.registry.config.prices))

    def default_model(self) -> str:
        """``POLYCHAT_MODEL``, else the configuration's ``default_model``, else the embedded model."""
        return variable("POLYCHAT_MODEL").strip() or self.registry.config.default_model or DEFAULT_MODEL

    def plan(self, name: object) -> Plan:
        """The targets that ``name`` means: a target, a route, an alias, a bare model, or a chain of these (``"a/x, b/y"``).

        Raises ``UnknownTarget``, and ``BadInput`` for a value that is no name or could mean several targets. The error for an
        unknown name says so if only the ``polychat.toml`` of the current folder has it, which is not read.
        """
        plan = self._plans.get(name) if type(name) is str else None
        if plan is not None:
            return plan
        try:
            return self._meant(name)
        except UnknownTarget as error:
            if not self._is_own or not any(config.is_named_in_folder(part.strip()) for part in str(name).split(",")):
                raise
            file = config.FILE
            raise UnknownTarget(
                f"no model {redact(str(name), 80)!r} in your own configuration. ./{file} has it, but only polychat serve reads "
                f"the file of a folder: pass --config {file}, or move it to {config.folder() / file}"
            ) from error

    def _meant(self, name: object) -> Plan:
        if not isinstance(name, str):
            raise BadInput(
                f"model is {type(name).__name__}; it must be text: provider/model, local//path/a.gguf", field="model"
            )
        if not name.strip():
            raise UnknownTarget("the model name is empty: use provider/model, or omit it for the default")
        name = as_target(name)
        configured = self.registry.config
        if name in configured.routes or name in configured.aliases:
            return self._resolver.plan(name)
        if "," in name:
            return self._chain(name)
        try:
            return self._of_one(name)
        except UnknownTarget as unknown:
            if "/" in name or ":" in name:
                raise
            return self._bare(name, unknown)

    def _of_one(self, name: str) -> Plan:
        """The plan of one target by its own name. Raises ``UnknownTarget``."""
        from ..routing import Plan, Target

        backend, model = self.registry.resolve(name)
        label = backend.label
        plan = Plan("", (Target(f"{label}/{model}" if model else label, backend, label, model or ""),), self._direct)
        if len(self._plans) < _KNOWN:
            self._plans[name] = plan
        return plan

    def _chain(self, name: str) -> Plan:
        members = [as_target(member.strip()) for member in name.split(",")]
        if not all(members):
            raise BadInput(f"model {redact(name, 80)!r} has an empty name between two commas: remove a comma", field="model")
        return self._resolver.joined(members)

    def _bare(self, name: str, unknown: UnknownTarget) -> Plan:
        try:
            plan: Plan | None = self._resolver.plan(name)
            near = unknown.near
        except UnknownTarget as error:
            plan, near = None, error.near or unknown.near
        # A service that is known to be gone is only tried when it is named.
        if plan is None or not plan.targets[0].backend.working:
            raise UnknownTarget(
                f"no model {(short := redact(name, 80))!r}: name its provider, such as openai/{short} (see polychat providers)",
                near=near,
            ) from None
        return plan

    def backends_of(self, name: str) -> list[Backend]:
        """The backends that may answer a call to ``name``. Raises as ``plan``."""
        return list(dict.fromkeys(target.backend for target in self.plan(name).targets))


def as_target(name: str) -> str:
    """The target that a model's name is if it is the path of a GGUF file, such as ``./model.gguf``; else the name itself."""
    is_path = name.startswith(_PATHS) and name.lower().endswith(".gguf") and "," not in name
    return f"local/{os.path.abspath(os.path.expanduser(name))}" if is_path else name


def chain_of(model: str, models: object) -> str:
    """One name for a model and its fallbacks. Raises ``BadInput`` for ``models`` that are no list of names."""
    names = several(models, "models")
    if len(names) > _MODELS:
        raise BadInput(f"models has {len(names):,} names; the limit is {_MODELS}: pass fewer", field="models")
    return ",".join(dict.fromkeys([model, *(text(name, f"models[{place}]") for place, name in enumerate(names))]))


_PATHS = ("./", "../", "/", "~/", ".\\", "..\\")
"""How a model's name begins that is the path of a file: no provider's name does."""

_own: list[Targets] = []
_LOCK = Lock()
"""Held while they are made: the threads of synchronous calls share them."""


def user_targets() -> Targets:
    """The targets of the user's own polychat.toml, as the file is now. Raises ``BadInput`` for a file that is invalid."""
    targets = _own[0] if _own else None
    if targets is not None and targets.config is config.load():
        return targets
    registry = user_registry()
    if targets is None or targets.registry is not registry:
        with _LOCK:
            targets = _own[0] if _own else None
            if targets is None or targets.registry is not registry:
                targets = Targets(registry, is_own=True)
                _own[:] = [targets]
    return targets


def targets_of(source: object) -> Targets:
    """The targets of a ``Config``, or of the file at a path, which is read now. Raises ``BadInput``."""
    if isinstance(source, (str, Path)):
        source = config.read(Path(source).absolute())
    if not isinstance(source, Config):
        kind = type(source).__name__
        raise BadInput(f"config is {kind}; it must be the path of a polychat.toml or a polychat.config.Config", field="config")
    return Targets(Registry(source))
