"""What the model of a call means: a route, an alias, a target or a bare model, a chain of these, or the default."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from .. import config
from ..backends.backend import Backend
from ..backends.registry import Registry, own_registry
from ..config import Config
from ..config.environment import variable
from ..errors import BadInput, UnknownTarget, redact

if TYPE_CHECKING:
    from ..routing import ModelResolver, Plan, Router

DEFAULT_MODEL = "local/smollm2"
"""The embedded model: no key, no account, no network once its weights are here."""

_KNOWN = 1_000
"""Names whose meaning is kept, at most."""


class Targets:
    """The targets that the names of one registry mean, and what is known of their health.

    ``is_own``: the registry is that of the user's own file.
    """

    def __init__(self, registry: Registry, *, is_own: bool = False) -> None:
        self.registry = registry
        self._is_own = is_own
        self._resolved: dict[str, tuple[Backend, str | None]] = {}
        """The backend and model of names that mean one target. Valid as long as the registry."""

    @cached_property
    def _resolver(self) -> ModelResolver:
        from ..routing import ModelResolver  # it loads the table of vendors, which importing the client does not need

        return ModelResolver(self.registry)

    def router(self, api_key: object = None) -> Router:
        """The router that knows the health of targets across calls; a new one for a call with its own ``api_key``."""
        return self._new_router() if api_key else self._router

    @cached_property
    def _router(self) -> Router:
        return self._new_router()

    def _new_router(self) -> Router:
        from ..costs import pricing_of
        from ..routing import Health, Router

        return Router(Health(), pricing=pricing_of(self.registry.config.prices))

    def default_model(self) -> str:
        """``POLYCHAT_MODEL``, else the configuration's ``default_model``, else the embedded model."""
        return variable("POLYCHAT_MODEL").strip() or self.registry.config.default_model or DEFAULT_MODEL

    def meaning_of(self, name: object) -> tuple[Backend, str | None, Plan | None]:
        """The backend and the model that ``name`` means first, and its plan if it has one. Raises as ``plan_of``.

        The error for an unknown name says so if only the ``polychat.toml`` of the current folder has it, which is not read.
        """
        resolved = self._resolved.get(name) if type(name) is str else None
        if resolved is not None:
            return *resolved, None
        try:
            plan = self.plan_of(name)
            if plan is None:
                resolved = self.registry.resolve(str(name))
                if len(self._resolved) < _KNOWN:
                    self._resolved[str(name)] = resolved
                return *resolved, None
        except UnknownTarget as error:
            if not self._is_own or not any(config.is_named_in_folder(part.strip()) for part in str(name).split(",")):
                raise
            file = config.FILE
            raise UnknownTarget(
                f"no model {redact(str(name), 80)!r} in your own configuration. ./{file} has it, but only polychat serve reads "
                f"the file of a folder: pass --config {file}, or move it to {config.folder() / file}"
            ) from error
        return plan.targets[0].backend, plan.targets[0].model or None, plan

    def plan_of(self, name: object) -> Plan | None:
        """The plan of a route, an alias, a bare model or a chain (``"a/x, b/y"``); ``None`` for the name of one target.

        Raises ``UnknownTarget``, and ``BadInput`` for a value that is no name or could mean several targets.
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
        members = [member.strip() for member in name.split(",")]
        if not all(members):
            raise BadInput(f"model {redact(name, 80)!r} has an empty name between two commas: remove a comma", field="model")
        return self._resolver.joined(members)

    def _bare(self, name: str, unknown: UnknownTarget) -> Plan:
        try:
            plan: Plan | None = self._resolver.plan(name)
            near = unknown.near
        except UnknownTarget as error:
            plan, near = None, error.near or unknown.near
        # A service that is known to be gone is only asked when it is named.
        if plan is None or not plan.targets[0].backend.working:
            raise UnknownTarget(
                f"no model {(short := redact(name, 80))!r}: name its provider, such as openai/{short} (see polychat providers)",
                near=near,
            ) from None
        return plan

    def backends_of(self, name: str) -> list[Backend]:
        """The backends that may answer a call to ``name``. Raises as ``plan_of``."""
        backend, _, plan = self.meaning_of(name)
        return [backend] if plan is None else list(dict.fromkeys(target.backend for target in plan.targets))


_own: list[Targets] = []


def own_targets() -> Targets:
    """The targets of the user's own polychat.toml, as the file is now. Raises ``BadInput`` for a file that is invalid."""
    registry = own_registry()
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
