"""LiteLLM's config.yaml as a polychat.toml: what becomes of what it says, and that nothing of it is lost in silence."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from polychat import config
from polychat.config import Config
from polychat.config.settings import Route
from polychat.config.vendor_spec import VendorSpec
from polychat.errors import BadInput, MissingPackage
from polychat.tools.litellm_import import Imported, imported

FILE = Path("config.yaml")
KNOWN = {
    name: VendorSpec(name=name, wire=wire, base_url=base_url, **more)
    for name, wire, base_url, more in (
        (
            *("openai", "openai-chat", "https://api.openai.com/v1"),
            {"title": "OpenAI", "key": ("OPENAI_API_KEY",), "drop": {"top_k": "no"}},
        ),
        ("anthropic", "anthropic", "https://api.anthropic.com", {"key": ("ANTHROPIC_API_KEY",), "header": "x-api-key"}),
        (
            *("azure-openai", "openai-chat", "https://{resource}.openai.azure.com/openai/v1"),
            {"key": ("AZURE_API_KEY",), "header": "api-key", "params": {"resource": "AZURE_RESOURCE_NAME"}},
        ),
        ("ollama", "ollama", "http://127.0.0.1:11434", {"key_optional": True}),
        ("vllm", "openai-chat", "http://127.0.0.1:8000/v1", {"key": ("VLLM_API_KEY",), "key_optional": True}),
    )
}


def taken(text: str) -> tuple[Config, Imported]:
    result = imported(text, FILE, KNOWN, ["local"])
    return config.parsed(result.toml, Path("polychat.toml")), result


def entry(name: str, **params: Any) -> dict[str, Any]:
    return {"model_name": name, "litellm_params": params}


def taken_of(*entries: dict[str, Any], **settings: Any) -> tuple[Config, Imported]:
    return taken(yaml.safe_dump({"model_list": list(entries), **settings}))


def lost(report: Imported, *words: str) -> bool:
    """Whether one loss has all these words; each loss is a comment of the file as well."""
    assert all(f"#   {loss}\n" in report.toml for loss in report.losses)
    return any(all(word in loss for word in words) for loss in report.losses)


def test_a_vendors_model_is_a_route_with_one_target() -> None:
    """The vendor's own key is no setting; LiteLLM's port is kept, so that clients find it where it was."""
    read, report = taken_of(
        entry("gpt", model="openai/gpt-4o"), entry("claude", model="anthropic/c-4", api_key="os.environ/ANTHROPIC_API_KEY")
    )
    assert read.routes == {"gpt": Route(targets=("openai/gpt-4o",)), "claude": Route(targets=("anthropic/c-4",))}
    assert (read.providers, read.gateway.port, report.losses) == ({}, 4000, ())


@pytest.mark.parametrize(
    ("model", "target"),
    [
        ("gpt-4o", "openai/gpt-4o"),
        ("o3-mini", "openai/o3-mini"),
        ("claude-4", "anthropic/claude-4"),
        ("ollama_chat/llama3", "ollama/llama3"),
        ("hosted_vllm/org/model", "vllm/org/model"),
        ("azure/deployed", "azure-openai/deployed"),
    ],
)
def test_litellms_names_of_vendors_are_ours(model: str, target: str) -> None:
    """With their prefix, and those names that it knows without one."""
    read, _ = taken_of(entry("m", model=model))
    assert read.routes["m"].targets == (target,)


@pytest.mark.parametrize("model", ["bedrock/anthropic.claude", "vertex_ai/gemini-2", "nobody/m", "llama3"])
def test_a_vendor_that_is_not_known_is_reported(model: str) -> None:
    """Its entry is left out; with an address it is taken for OpenAI's API, unless it is known to be none."""
    read, report = taken_of(entry("m", model=model), entry("n", model="gpt-4o"))
    assert list(read.routes) == ["n"]
    assert lost(report, "model_list[0].litellm_params.model", "left out")
    read, report = taken_of(entry("m", model=model, api_base="http://h:1/v1"))
    if model == "nobody/m":
        assert read.routes["m"].targets == ("nobody/m",)
        assert (read.providers["nobody"]["wire"], read.providers["nobody"]["base_url"]) == ("openai-chat", "http://h:1/v1")
        assert lost(report, "model_list[0].litellm_params.model", "OpenAI's API")
    else:
        assert read.routes == {}


@pytest.mark.parametrize(
    ("params", "row"),
    [
        (
            {"model": "azure/d", "api_base": "https://eu.openai.azure.com/", "api_key": "os.environ/EU"},
            {"base_url": "https://eu.openai.azure.com/openai/v1", "header": "api-key", "api_key": "env:EU"},
        ),
        (
            {"model": "azure/d", "api_base": "https://eu.openai.azure.com/openai/deployments/d", "api_key": "os.environ/EU"},
            {"base_url": "https://eu.openai.azure.com/openai/v1"},
        ),
        (
            {"model": "openai/org/m", "api_base": "http://h/v1/", "api_key": "none"},
            {"wire": "openai-chat", "base_url": "http://h/v1", "key_optional": True, "embeddings": True},
        ),
        ({"model": "anthropic/c", "api_base": "http://h/v1/messages"}, {"wire": "anthropic", "base_url": "http://h"}),
        (
            {"model": "ollama/l", "api_base": "os.environ/OLLAMA_AT"},
            {"wire": "ollama", "base_url": "{base}", "params": {"base": "OLLAMA_AT"}},
        ),
        (
            {"model": "openai/gpt", "api_key": "os.environ/OTHER"},
            {"base_url": "https://api.openai.com/v1", "api_key": "env:OTHER", "drop": {"top_k": "no"}},
        ),
    ],
)
def test_an_address_or_key_of_its_own_makes_a_provider(params: dict[str, str], row: dict[str, Any]) -> None:
    """With what is known of the vendor; the vendor's own row stays as it is for others."""
    read, _ = taken_of(entry("m", **params))
    ((name, table),) = read.providers.items()
    assert name not in KNOWN
    assert read.routes["m"].targets == (f"{name}/{params['model'].partition('/')[2]}",)
    assert {key: table.get(key) for key in row} == row


def test_equal_providers_are_one() -> None:
    """Two models of one server are two targets there; no provider gets a name that means another."""
    at = {"api_base": "http://h/v1", "api_key": "os.environ/K"}
    other = entry("c", model="local/c", api_base="http://other/v1")
    read, _ = taken_of(entry("a", model="openai/a", **at), entry("b", model="openai/b", **at), other)
    assert list(read.providers) == ["openai-2", "local-2"]
    assert read.routes["b"].targets == ("openai-2/b",)


def test_a_key_in_the_file_is_not_copied() -> None:
    """A variable takes its place: the vendor's own where nothing else is in it, one for each key; the loss names it."""
    read, report = taken_of(
        entry("a", model="openai/a", api_key="sk-one"),
        entry("b", model="openai/b", api_key="sk-two"),
        entry("c", model="openai/c", api_key="sk-one"),
        general_settings={"master_key": "sk-master"},
        environment_variables={"LITELLM_MASTER_KEY": "sk-three"},
    )
    assert [read.routes[name].targets[0] for name in "abc"] == ["openai/a", "openai-2/b", "openai/c"]
    assert read.providers["openai-2"]["api_key"] == "env:OPENAI_API_KEY_2"
    assert read.gateway.keys == {"master": "env:LITELLM_MASTER_KEY_2"}
    assert lost(report, "model_list[0].litellm_params.api_key", "OPENAI_API_KEY")
    assert lost(report, "model_list[1].litellm_params.api_key", "OPENAI_API_KEY_2")
    assert lost(report, "general_settings.master_key", "LITELLM_MASTER_KEY_2")
    assert lost(report, "environment_variables.LITELLM_MASTER_KEY")
    assert "sk-" not in report.toml


def test_credentials_in_an_address_are_not_copied() -> None:
    """Neither a name and password, nor what follows the path."""
    read, report = taken_of(entry("a", model="openai/a", api_base="http://me:pass@h/v1?api-key=pass"))
    assert read.providers["openai-2"]["base_url"] == "http://h/v1"
    assert lost(report, "model_list[0].litellm_params.api_base")
    assert "pass" not in report.toml


def test_several_entries_are_one_route() -> None:
    """Drawn by weight, else by requests or tokens a minute; in order where there is one; the quickest where that is asked."""
    two = [entry("m", model="openai/a", rpm=6, tpm=1), entry("m", model="anthropic/b", rpm=18)]
    read, report = taken_of(*two)
    assert read.routes["m"] == Route(targets=("openai/a", "anthropic/b"), strategy="random", weights=(6, 18))
    assert lost(report, "model_list[0].litellm_params.rpm", "not used as a limit")
    assert lost(report, "model_list[0].litellm_params.tpm", "not used as a limit")
    read, _ = taken_of(entry("m", model="openai/a", weight=1, rpm=100), entry("m", model="anthropic/b", weight=9))
    assert read.routes["m"].weights == (1, 9)
    read, _ = taken_of(entry("m", model="openai/a"), entry("m", model="anthropic/b"))
    assert (read.routes["m"].strategy, read.routes["m"].weights) == ("random", ())
    read, _ = taken_of(entry("m", model="openai/a", order=2), entry("m", model="anthropic/b", order=1))
    assert read.routes["m"] == Route(targets=("anthropic/b", "openai/a"), strategy="ordered")
    read, report = taken_of(*two, router_settings={"routing_strategy": "latency-based-routing"})
    assert (read.routes["m"].strategy, lost(report, "routing_strategy")) == ("fastest", False)
    read, report = taken_of(*two, router_settings={"routing_strategy": "least-busy"})
    assert (read.routes["m"].strategy, lost(report, "router_settings.routing_strategy", "least-busy")) == ("random", True)


def test_fallbacks_come_after_a_routes_own_targets() -> None:
    """Of weight 0 where targets are drawn; attempts are enough to reach them; default ones where a name has none."""
    entries = [
        entry("m", model="openai/a"),
        entry("m", model="anthropic/b"),
        entry("n", model="gpt-4o"),
        entry("o", model="o3"),
    ]
    read, _ = taken_of(*entries, litellm_settings={"fallbacks": [{"m": ["n", "o"]}], "default_fallbacks": ["o"]})
    assert read.routes["m"] == Route(
        targets=("openai/a", "anthropic/b", "openai/gpt-4o", "openai/o3"), strategy="random", weights=(1, 1, 0, 0), attempts=4
    )
    assert read.routes["n"].targets == ("openai/gpt-4o", "openai/o3")
    assert read.routes["o"].targets == ("openai/o3",)
    read, report = taken_of(*entries, router_settings={"fallbacks": [{"m": ["gone"]}, {"lost": ["n"]}]})
    assert lost(report, "fallbacks of m")
    assert lost(report, "fallbacks of lost")


def test_the_routers_settings_go_over_the_modules() -> None:
    """Retries, timeouts, cooldowns for every route; an entry's own timeout goes over these."""
    read, report = taken_of(
        entry("m", model="openai/a"),
        entry("n", model="openai/b", timeout=7),
        router_settings={"num_retries": 5, "timeout": 60, "cooldown_time": 9, "allowed_fails": 2},
        litellm_settings={"num_retries": 1, "request_timeout": 10, "drop_params": True, "json_logs": True},
    )
    assert read.routes["m"] == Route(targets=("openai/a",), attempts=6, timeout=60, cooldown=9)
    assert read.routes["n"].timeout == 7
    assert (read.gateway.on_loss, read.gateway.log) == ("allow", "json")
    assert lost(report, "router_settings.allowed_fails")
    read, _ = taken_of(entry("m", model="openai/a"), litellm_settings={"num_retries": 0, "request_timeout": 10})
    assert read.routes["m"] == Route(targets=("openai/a",), attempts=1, timeout=10)


def test_aliases_and_names_that_are_targets() -> None:
    """An alias of a group is an alias. A name that is a target's own does not lead back to itself."""
    read, report = taken_of(
        entry("openai/gpt-4o", model="openai/gpt-4o"),
        router_settings={
            "model_group_alias": {"four": "openai/gpt-4o", "hid": {"model": "openai/gpt-4o", "hidden": True}, "x": "y"}
        },
    )
    assert read.aliases == {"four": "openai/gpt-4o", "hid": "openai/gpt-4o"}
    assert read.routes["openai/gpt-4o"].targets == ("openai-2/gpt-4o",)
    assert read.providers["openai-2"]["key"] == ["OPENAI_API_KEY"]
    assert lost(report, "model_group_alias.x")
    assert lost(report, "model_group_alias.hid.hidden")


def test_patterns_are_reported() -> None:
    """Any provider's models can be asked by name without one."""
    read, report = taken_of(entry("*", model="*"), entry("openai/*", model="openai/*"))
    assert (read.routes, len(report.losses)) == ({}, 2)
    assert lost(report, "model_list[1].model_name", "pattern")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("model_list: [", "config.yaml:1: cannot be read as YAML"),
        ("a: b: c", "config.yaml:1: cannot be read as YAML"),
        ("\x00", "config.yaml cannot be read as YAML"),
        ("- 1", "config.yaml is not a LiteLLM configuration"),
        ("model_list: 3", "config.yaml is not a LiteLLM configuration"),
    ],
)
def test_what_is_no_such_file_is_an_error(text: str, says: str) -> None:
    """With its line where it has one."""
    with pytest.raises(BadInput) as caught:
        imported(text, FILE, KNOWN)
    assert str(caught.value).startswith(says)


def test_without_a_yaml_library_its_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says how to have it."""
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(MissingPackage, match=r"polychat\[gateway\]"):
        imported("", FILE, KNOWN)


SECRET = "hunter2-secret"
anything = st.recursive(
    st.sampled_from([None, True, 0, -1, 2.5, "x", SECRET, "os.environ/NAME", "openai/m", "a\nb = 1", float("inf")]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(["a", "model", "b\nc"]), inner, max_size=2)
    ),
    max_leaves=3,
)
PARAMS = ["api_key", "api_base", "base_url", "rpm", "tpm", "weight", "order", "timeout", "temperature", "api_version", "odd"]
MODELS = ["openai/m", "gpt-4o", "azure/d", "nobody/m", "bedrock/m", "ollama/*", "anthropic/c"]
entries = st.builds(
    lambda name, model, params, more: {"model_name": name, "litellm_params": {"model": model, **params}, **more},
    st.sampled_from(["openai/m", "m", "n", "*", "openai-2/m"]),
    st.sampled_from(MODELS),
    st.dictionaries(st.sampled_from(PARAMS), anything, max_size=4),
    st.dictionaries(st.sampled_from(["model_info", "rpm", "odd"]), anything, max_size=2),
)
ROUTER = [
    "routing_strategy",
    "num_retries",
    "timeout",
    "fallbacks",
    "cooldown_time",
    "allowed_fails",
    "model_group_alias",
    "redis_host",
]
MODULE = ["num_retries", "fallbacks", "default_fallbacks", "request_timeout", "drop_params", "json_logs", "callbacks"]
GENERAL = ["master_key", "database_url"]


def sections(names: list[str]) -> st.SearchStrategy[Any]:
    return st.one_of(st.dictionaries(st.sampled_from(names), anything, max_size=4), anything)


files = st.fixed_dictionaries(
    {"model_list": st.lists(st.one_of(entries, entries, anything), max_size=4)},
    optional={
        "router_settings": sections(ROUTER),
        "litellm_settings": sections(MODULE),
        "general_settings": sections(GENERAL),
        "environment_variables": st.one_of(st.dictionaries(st.just("NAME"), anything), anything),
        "odd": anything,
    },
)


@settings(max_examples=100, deadline=None)
@given(files)
def test_for_any_input_the_result_is_valid_and_has_no_secret(content: dict[str, Any]) -> None:
    """It is read without an error; each loss is one comment line; what has no counterpart is reported; no secret is in it."""
    read, report = taken(yaml.safe_dump(content))
    assert SECRET not in report.toml
    assert len(set(report.toml.splitlines())) >= len(set(report.losses))
    assert all(lost(report, loss) for loss in report.losses)
    for section, names in (
        ("router_settings", ["redis_host"]),
        ("litellm_settings", ["callbacks"]),
        ("general_settings", ["database_url"]),
    ):
        section_value = content.get(section)
        for name in names:
            assert (
                not isinstance(section_value, dict)
                or name not in section_value
                or lost(report, f"{section}.{name} has no counterpart")
            )
    assert "odd" not in content or lost(report, "odd has no counterpart")
    model_names = [name for name in (one.get("model_name") for one in content["model_list"] if isinstance(one, dict)) if name]
    assert set(read.routes) <= {str(name) for name in model_names}
