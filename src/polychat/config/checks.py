"""Checks across keys: whether the settings of one file fit each other."""

from __future__ import annotations

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter

from .file_errors import FileErrors
from .settings import GatewaySettings, Route


def check_gateway(gateway: GatewaySettings, errors: FileErrors) -> None:
    """Raises ``BadInput``."""
    for has, lacks in (("tls_cert", "tls_key"), ("tls_key", "tls_cert")):
        if getattr(gateway, has) and not getattr(gateway, lacks):
            raise errors.error(f"gateway.{has}", f"requires gateway.{lacks} as well")
    for name in gateway.key_settings:
        if name not in gateway.keys:
            raise errors.error(
                f"gateway.key_settings.{name}", "names no key of gateway.keys: add the key there, or remove this entry"
            )
    for name in gateway.admin.scopes:
        if name not in gateway.admin.keys:
            raise errors.error(
                f"gateway.admin.scopes.{name}", "names no key of gateway.admin.keys: add the key there, or remove this entry"
            )


def check_names(routes: Mapping[str, Route], aliases: Mapping[str, str], errors: FileErrors) -> None:
    """Raises ``BadInput`` for a route without targets, a name that means two things, or one that leads back to itself."""
    for name, route in routes.items():
        if not route.targets:
            raise errors.error(f"routes.{name}", 'has no targets; it needs at least one: targets = ["provider/model"]')
        for key in ("weights", "priorities", "conditions"):
            entries, targets = len(getattr(route, key)), len(route.targets)
            if entries not in (0, targets):
                values = "texts" if key == "conditions" else "numbers"
                raise errors.error(
                    f"routes.{name}.{key}", f"has {entries} {values}; it must have one for each of the {targets} targets"
                )
    for name in aliases:
        if name in routes:
            raise errors.error(f"aliases.{name}", "is also the name of a route: rename one of them")
        if name.count("*") > 1 or aliases[name].count("*") > name.count("*"):
            raise errors.error(
                f"aliases.{name}", 'is not a valid pattern: it may contain one *, and so may its target, such as "claude-*"'
            )
    _check_circles(routes, aliases, errors)


def check_provider_name(name: str, errors: FileErrors) -> None:
    """Raises ``BadInput`` for a name that no target can contain: ``NAME/model``, ``NAME:model``, or with commas."""
    if not name.strip() or name != name.strip() or not name.isprintable() or set(name) & set("/:,"):
        raise errors.error(
            f"providers.{name}",
            "is not a valid model name: it must not contain / : or a comma, nor begin or end with a space",
        )


def check_same_names(providers: Mapping[str, object], errors: FileErrors) -> None:
    """Raises ``BadInput`` for two names that differ in case only: names in targets are case-insensitive."""
    seen: dict[str, str] = {}
    for name in providers:
        if (other := seen.setdefault(name.lower(), name)) != name:
            raise errors.error(f"providers.{name}", f"is the same name as {other}: names are case-insensitive")


def check_price_name(name: str, errors: FileErrors) -> None:
    """Whether a price is one of a target."""
    provider, _, model = name.partition("/")
    if not provider or not model:
        raise errors.error(f"prices.{name}", 'is not "provider/model", such as [prices."house/llama-70b"]')


def check_model_name(name: str, errors: FileErrors) -> None:
    """Raises ``BadInput`` for a local model that could not be requested by its name, which would be read as a path."""
    if not name.strip() or set(name) & set("/\\,") or name.endswith(".gguf"):
        raise errors.error(
            f"local.models.{name}",
            "is not a valid model name: it must not contain a slash or a comma, nor end in .gguf",
        )


def _is_itself(target: str, route: str) -> bool:
    """Whether a route named like one of its targets means that very target: a fallback for a name that clients use already."""
    return target == route and "/" in target


def _check_circles(routes: Mapping[str, Route], aliases: Mapping[str, str], errors: FileErrors) -> None:
    leads = {name: route.targets for name, route in routes.items()} | {name: (target,) for name, target in aliases.items()}
    try:
        TopologicalSorter(
            {
                name: [other for other in targets if other in leads and not _is_itself(other, name)]
                for name, targets in leads.items()
            }
        ).prepare()
    except CycleError as error:
        circle = error.args[1][::-1]  # graphlib lists predecessors
        key = f"routes.{circle[0]}.targets" if circle[0] in routes else f"aliases.{circle[0]}"
        raise errors.error(key, f"refers to itself: {' -> '.join(circle)}") from None
