"""``polychat probe`` as a person and a script meet it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ..support.command import run
from ..support.running_gateway import lists
from ..support.scripted_server import Say, Seen, serving


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


def configuration(url: str) -> str:
    return (
        '[routes.fast]\ntargets = ["house/small", "annex/small"]\n'
        f'[providers.house]\nwire = "openai-chat"\nbase_url = "{url}/v1"\nmodels = "/models"\n'
        '[providers.annex]\nwire = "openai-chat"\nbase_url = "http://127.0.0.1:9/v1"\n'
    )


async def test_a_route_is_all_of_its_targets(own_config: Any) -> None:
    """One line each, with what is wrong below; 1 where one is not reachable, 0 where all are."""
    async with serving(lists) as server:
        own_config(configuration(server.url))
        both = await run("probe", "fast", env={"COLUMNS": "80"})
        one = await run("probe", "house/small", "--json")
        without = await run("probe", "--json")
    assert both.code == 1
    assert max(map(len, both.out.splitlines())) <= 80
    first, second, *reason = both.out.splitlines()
    assert first.startswith("house/small  reachable          models, ")
    assert second.startswith("annex/small  unreachable        connect, ")
    assert "cannot connect" in " ".join(reason)
    (probed,) = json.loads(one.out)
    assert (one.code, probed["state"], probed["target"]) == (0, "reachable", "house/small")
    assert {entry["target"] for entry in json.loads(without.out)} == {"house", "annex"}


async def test_paid_probes_keep_to_the_budget_of_the_day(own_config: Any) -> None:
    """Over all runs; what is over it is probed for free, and a note says so."""
    requests = 0

    async def handler(seen: Seen, say: Say) -> None:
        nonlocal requests
        requests += seen.method == "POST"
        await lists(seen, say)

    async with serving(handler) as server:
        own_config(configuration(server.url))
        ran = [await run("probe", "house/small", "--ask", "--budget", "1", "--json") for _ in range(2)]
    assert requests == 1
    assert [json.loads(one.out)[0]["step"] for one in ran] == ["ask", "models"]
    assert (ran[0].err, "used up (see --budget)" in ran[1].err) == ("", True)


async def test_providers_go_by_the_latest_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service is known to work, or not, by what was seen of it last, with the date; a page alone shows nothing."""

    async def blocked(seen: Seen, say: Say) -> None:
        await say.whole("no", status=403, headers=[("cf-mitigated", "challenge")])

    async def page(seen: Seen, say: Say) -> None:
        await say.whole("<html></html>")

    declared = json.loads((await run("providers", "--json")).out)[0]
    forms = []
    for handler in (blocked, page):
        async with serving(handler) as server:
            env = {"AICHAT_BASE_URL": server.url}
            await run("probe", "Aichat", env=env)
            listed = json.loads((await run("providers", "--json", env=env)).out)
            forms.append(next(form for form in listed if form["name"] == "Aichat"))
    assert forms[0]["working"] is False
    assert "probed 20" in forms[0]["evidence"]
    assert "challenged" in forms[0]["evidence"]
    assert forms[1] == declared if declared["name"] == "Aichat" else forms[1]["evidence"]


async def test_with_nothing_set_up_it_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than to succeed at nothing."""
    ran = await run("probe", env={"OPENAI_API_KEY": ""})
    assert (ran.code, ran.out) == (2, "")
    assert "name a target" in ran.err
