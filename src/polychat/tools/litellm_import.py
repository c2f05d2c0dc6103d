"""LiteLLM's ``config.yaml`` as a polychat.toml: what has a counterpart is carried over, what has none is reported."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec import structs

from ..config.addresses import address_fault
from ..config.vendor_spec import VendorSpec
from ..config.writing import table
from ..errors import BadInput, MissingPackage, redact

VENDORS = {
    **{"azure": "azure-openai", "hosted_vllm": "vllm", "together_ai": "together", "fireworks_ai": "fireworks"},
    **{"nvidia_nim": "nvidia", "perplexity": "perplexity-sonar", "github": "github-models", "cohere_chat": "cohere"},
    **{"ollama_chat": "ollama", "lm_studio": "lm-studio", "dashscope": "dashscope-intl", "friendliai": "friendli"},
    **{"featherless_ai": "featherless", "vercel_ai_gateway": "vercel", "ai21_chat": "ai21", "litellm_proxy": "litellm"},
}
"""LiteLLM's names of vendors by ours, where they differ."""
_FOREIGN = ("bedrock", "sagemaker", "vertex_ai", "watsonx", "replicate", "oci", "snowflake", "text-completion-", "azure_text")
"""Beginnings of vendors' names that none of our wires reaches, at any address."""
_BARE = {"openai": r"gpt-|chatgpt-|o\d|text-embedding-|ft:gpt-", "anthropic": r"claude"}
"""How names begin that LiteLLM takes for a vendor's without its prefix."""
_REFERENCE = re.compile(r"os\.environ/(\w+)")
_NO_KEY = ("", "none", "null", "empty", "fake", "dummy")
"""Placeholders that people write if a server requires no key."""
_OTHER_STRATEGIES = ("least-busy", "usage-based-routing", "usage-based-routing-v2", "cost-based-routing")
"""Strategies of LiteLLM without a counterpart."""
_STRATEGIES = {"simple-shuffle": "random", "latency-based-routing": "fastest"}
_MOST_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Imported:
    toml: str
    losses: tuple[str, ...]
    """A line each, which is a comment in ``toml`` too. None shows a value."""


def imported(text: str, file: Path, vendors: Mapping[str, VendorSpec], taken: Collection[str] = ()) -> Imported:
    """``text`` is what ``file`` holds, ``vendors`` the vendors' rows; ``taken`` are other names that no table may have.

    Raises ``BadInput`` for what is no such file.
    """
    document = _yaml(text, file)
    if not isinstance(document, dict) or not isinstance(document.get("model_list", []), list):
        raise BadInput(f"{file} is not a LiteLLM configuration: it has no model_list", field="model_list")
    work = _Import(vendors, taken, set(_REFERENCE.findall(text)))
    lines = work.lines(_Taken(document, "", work.losses))
    losses = tuple(redact(loss, 300) for loss in work.losses)
    head = [f"# From {redact(file.name)} of LiteLLM."]
    head += ["# Not imported, or changed:", *(f"#   {loss}" for loss in losses)] if losses else []
    return Imported("\n".join([*head, "", *lines[:-1]]) + "\n", losses)


def _yaml(text: str, file: Path) -> Any:
    try:
        import yaml
    except ImportError:
        raise MissingPackage("pyyaml", extra="gateway", purpose="reading LiteLLM's config.yaml") from None
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise BadInput(f"{file}{line}: cannot be read as YAML: {redact(error.problem or '')}", field=file.name) from None
    except yaml.YAMLError as error:
        raise BadInput(f"{file} cannot be read as YAML: {redact(str(error))}", field=file.name) from None


class _Taken:
    """A table of the YAML that is taken key by key; keys that are not taken are reported as lost."""

    def __init__(self, value: object, path: str, losses: list[str]) -> None:
        self.path, self.losses = path, losses
        self.left = {str(name): inner for name, inner in value.items()} if isinstance(value, dict) else {}
        if not isinstance(value, dict | None):
            losses.append(f"{path.rstrip('.')} is not supported")

    def take(self, name: str, kind: type | tuple[type, ...]) -> Any:
        """``None`` where there is nothing of this kind."""
        value = self.left.pop(name, None)
        if value is None or (isinstance(value, kind) and (kind is bool or not isinstance(value, bool))):
            return value
        self.drop(name, "is not supported")
        return None

    def text(self, name: str) -> str:
        return self.take(name, str) or ""

    def number(self, name: str) -> float | None:
        """Not below 0."""
        value: float | None = self.take(name, (int, float))
        if value is not None and not 0 <= value < 1e9:
            self.drop(name, "is not supported")
            return None
        return value

    def table(self, name: str) -> _Taken:
        return _Taken(self.left.pop(name, None), f"{self.path}{name}.", self.losses)

    def drop(self, name: str, why: str) -> None:
        self.losses.append(f"{self.path}{name} {why}")

    def drop_rest(self) -> None:
        for name in self.left:
            self.drop(name, "has no counterpart")


@dataclass(frozen=True, slots=True)
class _Deployment:
    """One entry of ``model_list``."""

    target: str
    weights: tuple[float | None, float | None, float | None]
    """``weight``, ``rpm``, ``tpm``: LiteLLM uses the first of these that any entry has."""
    order: float | None
    timeout: float | None


@dataclass(slots=True)
class _Rules:
    """Settings that are common to all routes."""

    strategy: str = "random"
    retries: int = 2
    """LiteLLM's own default."""
    common: dict[str, Any] = field(default_factory=dict)
    fallbacks: dict[str, list[str]] = field(default_factory=dict)
    default_fallbacks: list[str] = field(default_factory=list)


class _Import:
    def __init__(self, known: Mapping[str, VendorSpec], taken: Collection[str], variables: set[str]) -> None:
        self.losses: list[str] = []
        self._known = known
        self._taken = {*known, *taken}
        self._variables = variables
        """Names in the environment that the file means something by already."""
        self._keys: dict[str, str] = {}
        """API keys that were in the file itself, each with the variable to put it into."""
        self._providers: dict[str, dict[str, Any]] = {}
        self._names: set[str] = set()
        """What clients may ask for: a target of the same name would lead back to its route."""

    def lines(self, content: _Taken) -> list[str]:
        """The file, without its head; the last line is empty."""
        variables = content.take("environment_variables", dict) or {}
        self._variables |= set(map(str, variables))
        router, module = content.table("router_settings"), content.table("litellm_settings")
        groups = self._groups(content.take("model_list", list) or [], router.left.get("model_group_alias"))
        gateway: dict[str, Any] = {"port": 4000}  # LiteLLM's own: clients find it where it was
        rules = self._rules(router, module)
        aliases = dict(self._aliases(router, groups))
        gateway |= self._gateway(module, content.table("general_settings"))
        for name in variables:
            self.losses.append(f"environment_variables.{name} is not copied; set {name} in the environment of polychat")
        for name in rules.fallbacks:
            if name not in groups and name != "*":
                self.losses.append(f"fallbacks of {name}, which was not imported, have no counterpart")
        for table_left in (router, module, content):
            table_left.drop_rest()
        lines = table(["gateway"], gateway)
        for name, values in self._providers.items():
            lines += table(["providers", name], values)
        for name, deployments in groups.items():
            lines += table(["routes", name], self._route(name, deployments, groups, rules))
        return lines + (table(["aliases"], aliases) if aliases else [])

    def _gateway(self, module: _Taken, general: _Taken) -> dict[str, Any]:
        gateway: dict[str, Any] = {}
        if module.take("drop_params", bool):
            gateway["on_loss"] = "allow"
        if module.take("json_logs", bool):
            gateway["log"] = "json"
        if master := general.text("master_key"):
            gateway["keys"] = {"master": self._reference(master, "LITELLM_MASTER_KEY", f"{general.path}master_key")}
        general.drop_rest()
        return gateway

    def _aliases(self, router: _Taken, groups: Mapping[str, object]) -> Iterator[tuple[str, str]]:
        for name, meant in (router.take("model_group_alias", dict) or {}).items():
            model = meant.get("model") if isinstance(meant, dict) else meant
            if isinstance(meant, dict) and meant.get("hidden"):
                router.drop(f"model_group_alias.{name}.hidden", "has no counterpart; it is listed")
            if isinstance(model, str) and model in groups and name not in groups:
                yield str(name), str(model)
            else:
                router.drop(f"model_group_alias.{name}", "does not lead to an imported model")

    def _rules(self, router: _Taken, module: _Taken) -> _Rules:
        rules = _Rules()
        strategy = router.text("routing_strategy") or "simple-shuffle"
        if strategy not in _STRATEGIES:
            named = f"{strategy} " if strategy in _OTHER_STRATEGIES else ""  # any other value may be misplaced, even a key
            router.drop("routing_strategy", f"{named}has no counterpart; random is used instead")
        rules.strategy = _STRATEGIES.get(strategy, "random")
        for settings in (module, router):  # the router's override the module's
            retries = settings.number("num_retries")
            rules.retries = rules.retries if retries is None else int(retries)
            rules.fallbacks |= dict(_fallbacks(settings))
            rules.default_fallbacks = settings.take("default_fallbacks", list) or rules.default_fallbacks
            if settings.left.get("allowed_fails") is not None:
                settings.left.pop("allowed_fails")
                settings.drop("allowed_fails", "has no counterpart; a target is skipped after 3 failures in a row")
        seconds = {
            "timeout": _first(router.number("timeout"), module.number("request_timeout")),
            "cooldown": 0.0 if router.take("disable_cooldowns", bool) else router.number("cooldown_time"),
        }
        rules.common = {name: number for name, number in seconds.items() if number is not None}
        return rules

    def _groups(self, entries: list[Any], aliases: object) -> dict[str, list[_Deployment]]:
        """The deployments by the name that clients ask for."""
        self._names = {str(entry.get("model_name")) for entry in entries if isinstance(entry, dict)}
        self._names |= set(map(str, aliases)) if isinstance(aliases, dict) else set()
        groups: dict[str, list[_Deployment]] = {}
        for number, value in enumerate(entries):
            entry = _Taken(value, f"model_list[{number}].", self.losses)
            name = entry.text("model_name")
            params = entry.table("litellm_params")
            deployment = self._deployment(name, entry, params)
            if deployment is not None:
                groups.setdefault(name, []).append(deployment)
                params.drop_rest()
                entry.drop_rest()
        return groups

    def _deployment(self, name: str, entry: _Taken, params: _Taken) -> _Deployment | None:
        model = params.text("model")
        if not name or not model:
            entry.drop("model_name", "or its model is missing")
            return None
        if "*" in name or "*" in model:
            entry.drop("model_name", "is a pattern; clients use provider/model directly, without a route")
            return None
        target = self._target(model, entry, params)
        if target is None:
            return None
        weights = [_first(params.number(kind), entry.number(kind)) for kind in ("weight", "rpm", "tpm")]
        for kind, limit in zip(("rpm", "tpm"), weights[1:], strict=True):
            if limit is not None:
                params.drop(kind, "is not used as a limit; it is only the target's weight")
        return _Deployment(target, (weights[0], weights[1], weights[2]), params.number("order"), params.number("timeout"))

    def _target(self, model: str, entry: _Taken, params: _Taken) -> str | None:
        vendor, model = _vendor_of(params.text("custom_llm_provider"), model)
        base = params.text("api_base") or params.text("base_url")
        if base and address_fault(_address(base, vendor)[0]):
            params.drop("api_base", "is not a URL that begins with http:// or https:// and names a host; it is not copied")
            base = ""
        row = self._known.get(VENDORS.get(vendor, vendor.replace("_", "-")))
        if vendor.startswith(_FOREIGN) or not vendor or (row is None and not base):
            entry.drop("litellm_params.model", f"is of an unknown vendor ({vendor or model}); the entry is left out")
            return None
        if vendor == "azure" and params.left.pop("api_version", None):
            params.drop("api_version", "is not needed; the URL without a version is used")
        key = params.text("api_key")
        if row is None:
            params.drop("model", f"is of {vendor}, which is treated as a server with OpenAI's API")
            row = _server(vendor, base)
        elif vendor == "openai" and base:
            row = _server(vendor, base, row.key)
        if base:
            address, variables = _address(base, vendor)
            if "@" in base or "?" in base:
                params.drop("api_base", "is copied without possible credentials")
            row = row.replace(base_url=address, params=variables)
        provider = self._provider(vendor, row, key, model, moved=bool(base), path=f"{params.path}api_key")
        return f"{provider}/{model}"

    def _provider(self, vendor: str, row: VendorSpec, key: str, model: str, *, moved: bool, path: str) -> str:
        """The provider's name: the vendor's own where nothing differs, else that of a table made for it."""
        overrides: dict[str, Any] = {}
        if key.lower() in _NO_KEY:
            row = row.replace(key_optional=row.key_optional or bool(key))
        else:
            variable = row.key[0] if row.key else f"{_upper(vendor)}_API_KEY"
            overrides["api_key"] = self._reference(key, variable, path)
        usual = overrides.get("api_key", "env:").removeprefix("env:")
        if not moved and usual in ("", *row.key) and f"{row.name}/{model}" not in self._names:
            return row.name
        values = _differences(row) | overrides
        if overrides:
            values = {name: value for name, value in values.items() if name not in ("key", "key_optional")}
        return self._named(row.name, values)

    def _named(self, stem: str, values: dict[str, Any]) -> str:
        for name, table_of in self._providers.items():
            if table_of == values:
                return name
        number = 2
        stem = re.sub(r"[^\w-]", "-", stem).lower()  # a target names its provider in any case
        name = stem
        providers = {target.partition("/")[0] for target in self._names}  # or a route could lead back to itself
        while name in self._providers or name in self._taken or name in providers:
            name, number = f"{stem}-{number}", number + 1
        self._providers[name] = values
        return name

    def _reference(self, key: str, variable: str, path: str) -> str:
        """``env:NAME``: as in the file, or a name for the key that was in it."""
        if match := _REFERENCE.fullmatch(key):
            return f"env:{match[1]}"
        name = self._keys.get(key)
        if name is None:
            name, number = variable, 2
            while name in self._variables:
                name, number = f"{variable}_{number}", number + 1
            self._variables.add(name)
            self._keys[key] = name
        self.losses.append(f"{path} is in the file itself and is not copied; put it into the variable {name}")
        return f"env:{name}"

    def _route(
        self, name: str, deployments: list[_Deployment], groups: Mapping[str, list[_Deployment]], rules: _Rules
    ) -> dict[str, Any]:
        ordered = any(deployment.order is not None for deployment in deployments)
        if ordered:
            if len({deployment.order for deployment in deployments}) < len(deployments):
                self.losses.append(f"entries of {name} that have the same order are tried in the file's order")
            deployments = sorted(
                deployments, key=lambda deployment: float("inf") if deployment.order is None else deployment.order
            )
        own_targets = [deployment.target for deployment in deployments]
        fallbacks = [target for target in self._after(name, groups, rules) if target not in own_targets]
        route: dict[str, Any] = {"targets": [*own_targets, *fallbacks]}
        if len(own_targets) > 1 and not ordered:
            route["strategy"] = rules.strategy
            weights = _weights(deployments)
            if rules.strategy == "random" and (fallbacks or weights):
                route["weights"] = [*(weights or [1] * len(own_targets)), *([0] * len(fallbacks))]
            elif fallbacks:
                self.losses.append(f"fallbacks of {name} are among the targets that the fastest is chosen from")
        elif len(route["targets"]) > 1:
            route["strategy"] = "ordered"
        attempts = max(rules.retries + 1, len(own_targets) + len(fallbacks))
        if attempts != 3:
            route["attempts"] = min(attempts, _MOST_ATTEMPTS)
        return route | rules.common | self._timeout(name, deployments)

    def _timeout(self, name: str, deployments: list[_Deployment]) -> dict[str, Any]:
        timeouts = {deployment.timeout for deployment in deployments}
        if timeouts == {None}:
            return {}
        if len(timeouts) > 1:
            self.losses.append(f"timeout of {name} is set for some of its entries only, or differs; the longest applies to all")
        return {"timeout": max(seconds for seconds in timeouts if seconds is not None)}

    def _after(self, name: str, groups: Mapping[str, list[_Deployment]], rules: _Rules) -> Iterator[str]:
        """Targets for when the route's own fail."""
        for other in rules.fallbacks.get(name, rules.fallbacks.get("*", rules.default_fallbacks)):
            if not isinstance(other, str) or other not in groups:
                self.losses.append(f"fallbacks of {name} name entries that were not imported")
            elif other != name:
                yield from (deployment.target for deployment in groups[other])


def _fallbacks(settings: _Taken) -> Iterator[tuple[str, list[str]]]:
    for entry in settings.take("fallbacks", list) or ():
        for name, others in entry.items() if isinstance(entry, dict) else ():
            yield str(name), others if isinstance(others, list) else [others]


def _server(vendor: str, base: str, key: tuple[str, ...] = ()) -> VendorSpec:
    """A server with OpenAI's API at ``base``."""
    return VendorSpec(name=vendor.lower(), wire="openai-chat", base_url=base, key=key, key_optional=True, embeddings=True)


def _vendor_of(provider: str, model: str) -> tuple[str, str]:
    vendor, slash, rest = model.partition("/")
    if provider:
        return provider, rest if vendor == provider else model
    if slash:
        return vendor, rest
    return next((name for name, begins in _BARE.items() if re.match(begins, model)), ""), model


_TAILS = ("/chat/completions", "/v1/messages", "/messages", "/api/chat", "/api/generate")


def _address(base: str, vendor: str) -> tuple[str, dict[str, str]]:
    """The base URL, and the variable for the placeholder in it where LiteLLM takes it from one."""
    reference = _REFERENCE.fullmatch(base)
    url = "{base}" if reference else re.sub(r"(?<=://)[^/@]*@", "", base.partition("?")[0]).rstrip("/")
    for tail in _TAILS:
        url = url.removesuffix(tail)
    if vendor == "azure":
        url = f"{url.partition('/openai')[0]}/openai/v1"
    return url, {"base": reference[1]} if reference else {}


def _differences(row: VendorSpec) -> dict[str, Any]:
    """A row as a table of its own: what differs from what every row has."""
    about = {"name", "title", "source", "checked", "note"}
    plain = VendorSpec(name="")
    return {name: value for name, value in structs.asdict(row).items() if name not in about and value != getattr(plain, name)}


def _weights(deployments: list[_Deployment]) -> list[float]:
    for kind in range(3):
        weights = [deployment.weights[kind] or 0 for deployment in deployments]
        if any(weights):
            return weights
    return []


def _first(*numbers: float | None) -> float | None:
    return next((number for number in numbers if number is not None), None)


def _upper(name: str) -> str:
    return re.sub(r"\W", "_", name).upper()
