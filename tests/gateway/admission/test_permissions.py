"""What a key may see: the models that it may ask for, and the metrics."""

from __future__ import annotations

from typing import Any

import pytest

from polychat.config.access import MetricsAccess
from polychat.config.settings import KeySettings

from ...support.gateway_with_people import house
from ...support.running_gateway import asking, configured, gateway, lists, row

KEYS = {"keys": {"all": "env:KEY_ALL", "few": "env:KEY_FEW"}}


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("all", "few", "metrics"):
        monkeypatch.setenv(f"KEY_{name.upper()}", f"the-key-named-{name}")


def bearer(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer the-key-named-{name}"}


async def test_a_key_lists_the_models_that_it_may_ask_for(serve: Any) -> None:
    """In every dialect's list: routes, aliases and targets. One model by its name is refused as a chat with it is."""
    backend = await serve(lists)
    settings = {"few": KeySettings(models=("fast", "other/*"))}
    base = configured(
        {"house": row("openai-chat", backend.url), "other": row("openai-chat", backend.url)},
        routes={"fast": ("house/small",), "slow": ("house/large",)},
        aliases={"quick": "fast", "sluggish": "slow"},
        key_settings=settings,
        **KEYS,
    )
    async with gateway(base) as running:

        async def names(path: str, key: str, **headers: str) -> set[str]:
            reply = (await running.ask(path, headers={**bearer(key), **headers})).json
            return {model.get("id") or model["name"].removeprefix("models/") for model in reply.get("data") or reply["models"]}

        for path, headers in (
            ("/v1/models", {}),
            ("/v1/models", {"anthropic-version": "2023-06-01"}),
            ("/v1beta/models", {}),
            ("/api/tags", {}),
        ):
            everything = {name.removesuffix(":latest") for name in await names(path, "all", **headers)}
            few = {name.removesuffix(":latest") for name in await names(path, "few", **headers)}
            assert {"fast", "slow", "house/small", "other/small"} <= everything
            assert few == {name for name in everything if name in ("fast", "quick") or name.startswith("other/")}, path
        statuses = {}
        for name in ("fast", "house/small", "house/unlisted", "other/unlisted"):
            listed = await running.ask(f"/v1/models/{name}", headers=bearer("few"))
            chat = await running.ask(*asking("openai-chat", name), headers=bearer("few"))
            statuses[name] = (listed.status, chat.status)
        refused = await running.ask("/v1/models/slow", headers=bearer("few"))
    assert statuses == {
        "fast": (200, 200),
        "house/small": (403, 403),
        "house/unlisted": (403, 403),
        "other/unlisted": (200, 200),
    }
    assert refused.json["error"]["message"] == "the key few may not ask for this model, only for fast, other/*"


async def test_metrics_have_a_key_of_their_own(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It opens the metrics and nothing else, and no other key opens these, nor the right one in the address."""
    backend = await serve(lists)
    access = MetricsAccess(key="env:KEY_METRICS")
    async with house(monkeypatch, backend.url, metrics=access, **KEYS) as here:
        _, person = here.admin.create("laptop")
        for headers, status in (
            ({}, 401),
            (bearer("all"), 401),
            ({"authorization": f"Bearer {person.text}"}, 401),
            (bearer("metrics"), 200),
        ):
            assert (await here.here.ask("/metrics", headers=headers)).status == status
        assert (await here.here.ask("/metrics?key=the-key-named-metrics")).status == 401
        assert (await here.ask("the-key-named-metrics")).status == 401
